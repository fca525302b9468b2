/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_add.h"

#include <errno.h>
#include <stdio.h>

#include "core/base/log.h"
#include "daemon/plane_await.h"
#include "daemon/plane_close.h"
#include "daemon/plane_image.h"
#include "daemon/plane_limits.h"
#include "daemon/plane_opening.h"
#include "daemon/plane_set.h"
#include "daemon/plane_state.h"
#include "daemon/plane_wait.h"

#define LATE_BYTES (IMAGE_WAIT_BYTES + 128)

/* ---- the end of one that failed ---- */

static void end_add(struct plane *plane)
{
    if (plane->close.is_left) {
        err_hint(&plane->refusal, "its image may be in use until its file system answers");
    }
    plane_state_gone(plane);
    plane_wait_refuse(plane, PLANE_OPEN, &plane->refusal);
    plane_wait_done(plane, PLANE_REMOVE);
    plane_wait_done(plane, PLANE_HURRY);
}

static void on_add_device_closed(void *arg)
{
    struct plane *plane = arg;

    device_free(plane->dev);
    plane->dev = NULL;
    end_add(plane);
}

static void on_add_image_closed(struct plane *plane)
{
    if (plane->dev) {
        plane_limits_end(plane);
        device_close(plane->dev, on_add_device_closed, plane);
    } else {
        end_add(plane);
    }
}

/* Nothing is left but to give up locks: nobody need wait for as long as for an image. */
static void hurry_close(struct plane *plane)
{
    if (plane_is_closing(plane)) {
        plane_wait_hurry(plane, now_ns() + PLANE_CLOSE_EXIT_MS * NS_PER_MS);
    }
}

/* The next try shall find what this one did. */
static void undo_add(struct plane *plane, struct image *image, const struct err *err)
{
    plane->state = PLANE_OPENING;
    plane->refusal = *err;
    plane_close(plane, image, plane->opts.image.create, on_add_image_closed);
    hurry_close(plane);
}

/* ---- its image is open ---- */

/* After a failure the device may be there all the same. */
static int take_new_image(struct plane *plane, struct image *image, struct err *err)
{
    int ret = plane_init_device(plane, image, err);

    if (ret == 0) {
        ret = plane_set_threads(plane, err);
    }
    if (ret == 0) {
        ret = plane->opts.is_incoming ? device_suits(plane->dev, image, err)
                                      : device_attach(plane->dev, image, err);
    }
    if (ret < 0) {
        return ret;
    }
    ret = plane_listen(plane, err);
    if (ret < 0 && !plane->opts.is_incoming) {
        (void)device_detach(plane->dev);
    }
    return ret;
}

/* What a front-end asks for is known; all else is looked at when the image is the disk's. */
static void leave_incoming(struct plane *plane, struct image *image)
{
    plane_close(plane, image, false, plane_opening_closed);
    plane_await_begin(plane);
}

static void on_add_opened(void *arg, struct image *image, struct err *err)
{
    struct plane *plane = arg;

    plane->image_opening = NULL;
    if (!image) {
        plane->refusal = *err;
        end_add(plane);
        return;
    }
    if (take_new_image(plane, image, err) < 0) {
        undo_add(plane, image, err);
        return;
    }
    plane->image_id = image_facts(image)->id;
    if (image_facts(image)->note) {
        log_warn("%s: %s (%s)", plane->opts.name, image_facts(image)->note, plane->opts.image.path);
    }
    if (plane->opts.is_incoming) {
        leave_incoming(plane, image);
    } else {
        plane_state_running(plane);
    }
    plane_wait_done(plane, PLANE_OPEN);
}

/* ---- open ---- */

/* Nothing waits for the image any more, and whoever has it closes it. */
static void leave_image(struct plane *plane)
{
    if (plane_is_closing(plane)) {
        plane_close_leave(plane);
    }
}

static void drop_opening(struct plane *plane, int code, const char *text)
{
    (void)err_say(&plane->refusal, code, "%s: %s", plane->opts.name, text);
    if (plane->opts.image.create) {
        err_hint(&plane->refusal,
                 "if %.200s is made all the same, it is deleted, unless it is "
                 "written to before",
                 plane->opts.image.path);
    } else {
        err_hint(&plane->refusal, "if the image is opened all the same, it is closed (%.200s)",
                 plane->opts.image.path);
    }
    plane_close_opening(plane, plane->opts.image.create, on_add_image_closed);
}

static void say_late(struct plane *plane, char text[LATE_BYTES])
{
    char whom[IMAGE_WAIT_BYTES];

    if (image_opening_waits(plane->image_opening, whom)) {
        (void)snprintf(text, LATE_BYTES,
                       "its image is not free: it waits for %s; the disk is not added: add it "
                       "again when that has ended",
                       whom);
    } else {
        (void)snprintf(text, LATE_BYTES,
                       "its image does not open, as the file system does not answer; the disk is "
                       "not added: see to the file system, and add it again");
    }
}

/* A new file may take long to be allocated: what is no file system that hangs is waited for. */
static void on_add_late(struct plane *plane, struct plane_request *request)
{
    char text[LATE_BYTES];

    if (plane->image_opening && image_opening_moves(plane->image_opening)) {
        plane_wait(plane, request, on_add_late);
        return;
    }
    request->timeout_ms = PLANE_NO_TIMEOUT;
    plane_wait(plane, request, on_add_late);
    if (plane->image_opening) {
        say_late(plane, text);
        drop_opening(plane, -ETIMEDOUT, text);
    }
    leave_image(plane);
}

void plane_add_open(struct plane *plane, struct plane_request *request)
{
    if (plane_begin_new(plane, on_add_opened, &request->err) < 0) {
        plane_state_gone(plane);
        plane_reply(plane, request);
    } else {
        plane_wait(plane, request, on_add_late);
    }
}

bool plane_add_is_under_way(const struct plane *plane)
{
    return plane->state == PLANE_OPENING && plane->image_opening;
}

void plane_add_cancel(struct plane *plane, const char *text)
{
    if (plane->image_opening) {
        drop_opening(plane, -ECANCELED, text);
        plane_wait_refuse(plane, PLANE_OPEN, &plane->refusal);
    }
}

static void on_hurry_late(struct plane *plane, struct plane_request *request)
{
    request->timeout_ms = PLANE_NO_TIMEOUT;
    plane_wait(plane, request, on_hurry_late);
    leave_image(plane);
}

void plane_add_hurry(struct plane *plane, struct plane_request *request)
{
    if (plane->state != PLANE_OPENING) {
        plane_reply(plane, request);
        return;
    }
    plane_add_cancel(plane, "the daemon is ending, the disk was not added");
    request->is_exit = true;
    request->timeout_ms = PLANE_CLOSE_EXIT_MS;
    plane_wait(plane, request, on_hurry_late);
}
