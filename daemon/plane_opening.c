/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_opening.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/log.h"
#include "daemon/limits.h"
#include "daemon/plane_await.h"
#include "daemon/plane_close.h"
#include "daemon/plane_take.h"
#include "daemon/plane_image.h"
#include "daemon/plane_resumed.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_socket.h"
#include "daemon/plane_state.h"
#include "daemon/plane_wait.h"
#include "daemon/protocol.h"

/* So often is looked whether a disk that comes back waits for what was under way before. */
#define RESTORE_LOOK_MS 100u

/* At the start of the daemon nobody waits for an answer: log all of it. */
static void restore_failed(struct plane *plane, struct err *err)
{
    limits_hint(err);
    plane_retry_after(plane, err);
    plane_state_failed(plane, err);
}

/* Who reads the log wants the first reason, and another one. */
static void failed_again(struct plane *plane, const struct err *err)
{
    bool was_due = plane_retry_is_due(plane);

    if (was_due) {
        plane_retry_after(plane, err);
    }
    plane_state_failed(plane, err);
}

/* Of a disk that has come from another process: that one goes on. */
static void note_failure(struct plane *plane, const struct err *err)
{
    if (plane->opts.given) {
        plane->opts.given->err = *err;
    }
}

static void image_begun(struct plane *plane, bool has_grown)
{
    bool is_news = plane->start.is_told || plane->start.is_retry || plane->state == PLANE_WAITING;

    plane_await_end(plane);
    plane_retry_end(plane);
    if (plane->opts.given) {
        plane->opts.given->is_ready = true;
    }
    if (plane->loss.code < 0) {
        log_warn("%s: started after a flush that failed: check the guest's file systems",
                 plane->opts.name);
        plane->loss.code = 0;
    }
    if (has_grown) {
        log_info("%s: the image has grown to %" PRIu64 " bytes", plane->opts.name,
                 device_capacity(plane->dev));
        vhost_user_config_changed(plane->vu);
    }
    plane_state_running(plane);
    (void)device_retry(plane->dev); /* what failed before the stop, and waits for a start */
    if (is_news) {
        plane_resumed_tell(plane);
    }
    plane_wait_done(plane, PLANE_START);
}

/* A disk that was stopped, or waits, stays so, and one that failed has a new reason. */
static void image_not_begun(struct plane *plane, struct err *err)
{
    if (plane->start.is_restore) {
        note_failure(plane, err);
        restore_failed(plane, err);
    } else if (plane->state == PLANE_WAITING) {
        plane_await_refused(plane, err);
    } else if (plane->state == PLANE_FAILED) {
        failed_again(plane, err);
    } else if (plane->start.is_told) {
        log_error("%s: not started: %s", plane->opts.name, err_text_after(err, plane->opts.name));
        plane->start.is_told = false;
        plane_resumed_tell(plane);
    }
    plane_wait_refuse(plane, PLANE_START, err);
}

static void end_start(struct plane *plane)
{
    if (plane->start.is_restore) {
        device_set_fenced(plane->dev, false);
    }
    plane->start = (struct plane_start){0};
    plane_wait_done(plane, PLANE_OPEN); /* the disk exists in any case */
}

static void refuse_starts(struct plane *plane)
{
    image_not_begun(plane, &plane->refusal);
    end_start(plane);
}

/* Its guest may have gone while it was opened: then it is somebody else's. */
static int take_image(struct plane *plane, struct image *image, struct err *err)
{
    if (plane->start.is_take && !plane_await_has_guest(plane)) {
        return err_say(err, -ECANCELED, "%s: its guest has gone", plane->opts.name);
    }
    return plane_take_image(plane, image, plane->start.may_differ, err);
}

static void hint_moved(const struct plane *plane, struct err *err)
{
    if (err->code == -ENOENT) {
        err_hint(err, PROTOCOL_IF_MOVED "replace %s IMAGE", plane->opts.name);
    }
}

static void on_opened(void *arg, struct image *image, struct err *err)
{
    struct plane *plane = arg;
    int ret = image ? take_image(plane, image, err) : err->code;

    plane->image_opening = NULL;
    if (ret >= 0) {
        image_begun(plane, ret == 1);
        end_start(plane);
        return;
    }
    hint_moved(plane, err);
    plane->refusal = *err;
    if (image) {
        plane->start.phase = PLANE_START_FAILS;
        plane_close(plane, image, false, refuse_starts);
    } else {
        refuse_starts(plane);
    }
}

static void say_unopened(struct plane *plane, struct err *err)
{
    char whom[IMAGE_WAIT_BYTES];

    if (plane->image_opening && image_opening_waits(plane->image_opening, whom)) {
        (void)err_say(err, -ETIMEDOUT,
                      "%s: still waits for %s, and opens its image after that; the start goes on",
                      plane->opts.name, whom);
    } else {
        (void)err_say(err, -ETIMEDOUT,
                      "%s: its image is still being %s: the file system does not answer; the "
                      "start goes on",
                      plane->opts.name, plane_is_closing(plane) ? "closed" : "opened");
    }
}

/* What was begun goes on.  A disk that is restored exists by now, and counts as one that runs. */
static void answer_unopened(struct plane *plane, struct plane_request *request)
{
    plane->start.is_told = true;
    if (request->verb == PLANE_START) {
        request->goes_on = true;
        say_unopened(plane, &request->err);
    }
    plane_reply(plane, request);
}

/* Nobody can ask the daemon anything before all its disks have said whether they are there. */
static void on_restore_late(struct plane *plane, struct plane_request *request)
{
    char whom[IMAGE_WAIT_BYTES];

    if (now_ns() >= plane->start.late_ns ||
        (plane->image_opening && image_opening_waits(plane->image_opening, whom))) {
        answer_unopened(plane, request);
    } else {
        plane_wait(plane, request, on_restore_late);
    }
}

static void begin_restored(struct plane *plane)
{
    struct err why = {0};

    if (plane->opts.given) {
        if (plane_given_begin(plane, on_opened)) {
            plane->start = (struct plane_start){.phase = PLANE_START_OPENS, .is_restore = true};
        }
    } else if (plane_listen(plane, &why) < 0) {
        restore_failed(plane, &why);
    } else if (plane->opts.is_stopped) {
        log_info("%s: stopped, as it was", plane->opts.name);
    } else if (plane->opts.is_incoming) {
        plane_await_begin(plane);
    } else if (plane_begin_image(plane, on_opened, &why) < 0) {
        restore_failed(plane, &why);
    } else {
        plane->start = (struct plane_start){.phase = PLANE_START_OPENS, .is_restore = true};
        device_set_fenced(plane->dev, true); /* the one before may be at work until it is open */
    }
}

void plane_opening_restore(struct plane *plane, struct plane_request *request)
{
    if (plane_init_device(plane, NULL, &request->err) < 0) {
        note_failure(plane, &request->err);
        plane_state_gone(plane);
    } else {
        device_count_from(plane->dev, &plane->opts.counters);
        begin_restored(plane);
    }
    if (plane->image_opening) {
        plane->start.late_ns = now_ns() + request->timeout_ms * NS_PER_MS;
        request->timeout_ms = min_of(request->timeout_ms, RESTORE_LOOK_MS);
        plane_wait(plane, request, on_restore_late);
    } else {
        plane_reply(plane, request);
    }
}

/*
 * The guest that is connected needs no socket, so one that cannot be made anew stops no disk: it is
 * told as a warning, and tried again.
 */
static int have_socket(struct plane *plane, struct err *err)
{
    struct err kept = {0};

    if (!plane->vu) {
        return plane_listen(plane, err);
    }
    (void)plane_look_at_socket(plane, &kept);
    return 0;
}

/* `err` is told to those who wait, and returned for one who does not yet. */
static int begin_start(struct plane *plane, struct err *err)
{
    int ret = have_socket(plane, err);

    plane->start.phase = PLANE_START_OPENS;
    if (ret >= 0) {
        ret = plane_begin_image(plane, on_opened, err);
    }
    if (ret < 0) {
        image_not_begun(plane, err);
        end_start(plane);
    }
    return ret;
}

void plane_opening_closed(struct plane *plane)
{
    struct err err = {0};

    if (plane->start.phase == PLANE_START_WAITS) {
        (void)begin_start(plane, &err); /* who waits was told */
    }
}

bool plane_opening_refuse(struct plane *plane, struct plane_request *request)
{
    if (plane->start.phase != PLANE_START_FAILS) {
        return false;
    }
    (void)err_say(&request->err, -EBUSY,
                  "%s: its image could not be taken, and is being closed; wait for that, or remove "
                  "the disk",
                  plane->opts.name);
    plane_reply(plane, request);
    return true;
}

/* Returns -errno when it cannot be begun. */
static int have_start(struct plane *plane, struct err *err)
{
    if (plane->start.phase != PLANE_START_NONE) {
        return 0;
    }
    if (plane_is_closing(plane)) {
        plane->start.phase = PLANE_START_WAITS;
        return 0;
    }
    return begin_start(plane, err);
}

void plane_opening_start(struct plane *plane, struct plane_request *request)
{
    if (plane_opening_refuse(plane, request)) {
        return;
    }
    plane->start.may_differ |= request->new_image;
    plane->start.is_take = false;
    if (have_start(plane, &request->err) < 0) {
        plane_reply(plane, request);
    } else {
        plane_wait(plane, request, answer_unopened);
    }
}

void plane_opening_take(struct plane *plane)
{
    struct err err = {0};

    if (plane->state == PLANE_WAITING && plane->start.phase == PLANE_START_NONE &&
        plane_await_has_guest(plane)) {
        plane->start.is_take = true;
        (void)have_start(plane, &err); /* what speaks against it is told */
    }
}

void plane_opening_retry(struct plane *plane)
{
    struct err err = {0};

    plane->start.is_retry = true;
    (void)have_start(plane, &err); /* what speaks against it is told */
}

void plane_opening_drop(struct plane *plane, const char *text)
{
    if (plane->image_opening) {
        plane_close_opening(plane, false, NULL);
    }
    end_start(plane);
    plane_wait_end(plane, PLANE_START, -ECANCELED, text);
}
