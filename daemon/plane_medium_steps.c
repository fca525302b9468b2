/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_medium_steps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/block/image.h"
#include "core/block/image_closing.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_image.h"
#include "daemon/plane_look.h"
#include "daemon/plane_notice.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"
#include "daemon/protocol.h"

static struct plane *plane_of(struct message *message)
{
    return containerof(message, struct plane, medium.message);
}

static const char *path_of(const struct image_config *image)
{
    return image->path[0] ? image->path : "none";
}

/* ---- the end ---- */

static bool is_as_before(const struct plane_medium *medium)
{
    return medium->is_same && strcmp(medium->asked.image.path, medium->asked.before.path) == 0;
}

void plane_medium_tell(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;
    struct plane_request *request = medium->request;

    medium->phase = MEDIUM_NONE;
    medium->request = NULL;
    if (!request) {
        return;
    }
    request->err = medium->refusal;
    request->told = medium->told;
    request->is_done = medium->refusal.code == 0;
    request->has_changed = request->is_done && !is_as_before(medium);
    plane_wait_answer(plane, request);
}

static void on_medium_closed(void *arg)
{
    struct plane *plane = arg;

    plane->medium.closing = NULL;
    plane_medium_tell(plane);
}

void plane_medium_close(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;
    struct image *image = medium->image;

    if (medium->is_paused) {
        medium->is_paused = false;
        device_resume(plane->dev, PAUSE_MEDIUM);
    }
    medium->phase = MEDIUM_CLOSES;
    medium->image = NULL;
    if (image) {
        medium->closing =
            image_closing_begin(image, false, &plane->worker.mailbox, on_medium_closed, plane);
    }
    if (!medium->closing) {
        plane_medium_tell(plane);
    }
}

void plane_medium_refuse(struct plane *plane, const struct err *err)
{
    plane->medium.refusal = *err;
    plane_medium_close(plane);
}

/* ---- what the table has ---- */

static void run_keep(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->opts.keep_medium(plane);
}

static void tell_control(struct plane *plane, enum plane_medium_phase phase,
                         const struct image_config *image, const struct image_id *id, uint64_t size)
{
    struct plane_medium *medium = &plane->medium;

    medium->phase = phase;
    medium->kept.image = image;
    medium->kept.id = *id;
    medium->kept.size = size;
    medium->kept.err = (struct err){0};
    medium->message.run = run_keep;
    mailbox_send(plane->worker.control, &medium->message);
}

void plane_medium_keep(struct plane *plane)
{
    const struct plane_medium *medium = &plane->medium;

    if (medium->is_same) {
        tell_control(plane, MEDIUM_KEEPS, &medium->asked.image, &plane->image_id,
                     device_capacity(plane->dev));
    } else {
        tell_control(plane, MEDIUM_KEEPS, &medium->asked.image, &image_facts(medium->image)->id,
                     image_facts(medium->image)->size);
    }
}

void plane_medium_undo(struct plane *plane)
{
    tell_control(plane, MEDIUM_UNDOES, &plane->medium.asked.before, &plane->image_id,
                 device_capacity(plane->dev));
}

/* ---- it is the disk's ---- */

static void say_settled(const struct plane *plane)
{
    const struct medium_ask *asked = &plane->medium.asked;

    log_info("%s: its image is %s, and was %s", plane->opts.name, path_of(&asked->image),
             path_of(&asked->before));
}

static void say_size(struct plane *plane, uint64_t size)
{
    if (!device_image(plane->dev)) {
        device_set_capacity(plane->dev, size);
    }
    plane->medium.told = plane->vu ? vhost_user_config_changed(plane->vu) : VHOST_USER_NOBODY;
}

/* By now it is in the table, and the lanes have it, if they have any. */
static void settle(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;
    uint64_t size = medium->kept.size;
    struct image_opts opts;

    plane_other_image(plane, &medium->asked.image, &opts);
    plane->opts.image = opts;
    plane_image_name(plane, medium->asked.image.path);
    plane->image_id = medium->kept.id;
    plane_look_opened(plane);
    say_settled(plane);
    if (medium->asked.change != MEDIUM_REPLACE) {
        plane->loss.code = 0;            /* of another medium */
        device_outdate_held(plane->dev); /* the same */
        say_size(plane, size);
    }
    if (plane->state == PLANE_RUNNING) {
        plane_notice_begin(plane); /* of an empty disk nobody has looked for growth */
    }
    if (plane->state == PLANE_FAILED) {
        plane_retry_soon(plane);
        (void)snprintf(plane->reason, sizeof(plane->reason), "it has another image since%s",
                       plane_retry_is_due(plane) ? "; it is tried again by itself"
                                                 : ", and is to be started");
    }
    plane_medium_close(plane);
}

static void on_swapped(struct device_change *change)
{
    struct plane *plane = containerof(change, struct plane, medium.change);
    struct plane_medium *medium = &plane->medium;

    medium->image->root = change->node; /* as it was lent, or the one that was */
    if (change->err.code < 0) {
        (void)err_say(&medium->refusal, change->err.code, "%s: its image stays as it is: %s",
                      plane->opts.name, change->err.text);
        plane_medium_undo(plane);
    } else {
        settle(plane);
    }
}

static void swap(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;
    struct err why = {0};

    medium->phase = MEDIUM_SWAPS;
    medium->change = (struct device_change){
        .kind = medium->asked.change == MEDIUM_REPLACE ? CHANGE_SWAP : CHANGE_MEDIUM,
        .node = medium->image->root,
        .done = on_swapped,
    };
    if (device_change_begin(plane->dev, &medium->change, &why) < 0) {
        (void)err_say(&medium->refusal, why.code, "%s: its image stays as it is: %s",
                      plane->opts.name, why.text);
        plane_medium_undo(plane);
    }
}

/* ---- the table has it ---- */

static void on_undone(struct plane *plane)
{
    const struct plane_medium *medium = &plane->medium;

    if (medium->kept.err.code < 0) {
        log_error("%s: its image is %s, and a vblkd that starts after a crash may take %s: %s",
                  plane->opts.name, path_of(&medium->asked.before), path_of(&medium->asked.image),
                  medium->kept.err.text);
    }
    plane_medium_close(plane);
}

static void on_written(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;

    if (medium->refusal.code == 0 && medium->kept.err.code < 0) {
        (void)err_say(&medium->refusal, medium->kept.err.code,
                      "%s: its image stays as it is, as the next vblkd would not know: %s",
                      plane->opts.name, medium->kept.err.text);
    }
    if (medium->refusal.code < 0) {
        plane_medium_undo(plane);
    } else if (plane->state == PLANE_RUNNING && !medium->is_same) {
        swap(plane);
    } else {
        settle(plane);
    }
}

/* Who waited may have gone with the disk. */
static void run_kept(struct message *message)
{
    struct plane *plane = plane_of(message);

    if (plane->medium.phase == MEDIUM_KEEPS) {
        on_written(plane);
    } else if (plane->medium.phase == MEDIUM_UNDOES) {
        on_undone(plane);
    }
}

void plane_medium_kept(struct plane *plane)
{
    plane->medium.message.run = run_kept;
    mailbox_send(&plane->worker.mailbox, &plane->medium.message);
}

/* ---- the image that a disk has which runs ---- */

/* What the look has found that took its time. */
static bool may_be_closed(const struct plane *plane, struct err *err)
{
    const struct plane_medium *medium = &plane->medium;
    const struct plane_request asked = {.verb = PLANE_MEDIUM};

    return medium->force || medium->asked.change == MEDIUM_INSERT ||
           !plane_fate_objects(plane, &asked, err);
}

static void on_medium_synced(struct plane *plane)
{
    struct err err = {0};

    if (!may_be_closed(plane, &err)) {
        plane_medium_refuse(plane, &err);
        return;
    }
    if (plane->loss.code == 0) {
        plane_medium_keep(plane);
        return;
    }
    plane->sync.failed = plane->loss;
    plane->loss.code = 0;
    (void)err_say(&err, -EIO, "%s: its image stays as it is, as what its guest has written is lost",
                  plane->opts.name);
    err_hint(&err, PROTOCOL_FIRST "stop %s', then see what the image has", plane->opts.name);
    plane_medium_refuse(plane, &err);
}

static void drain_and_flush(struct plane *plane)
{
    plane->medium.phase = MEDIUM_DRAINS;
    plane->medium.is_paused = true;
    plane_sync(plane, PAUSE_MEDIUM, on_medium_synced);
}

/* Not from within a turn of the lane. */
static void run_flushed(struct message *message)
{
    struct plane *plane = plane_of(message);

    if (plane->medium.phase == MEDIUM_FLUSHES) {
        drain_and_flush(plane);
    }
    plane->medium.is_flushing = false;
}

static void on_medium_flushed(struct device_sync *flush)
{
    struct plane *plane = containerof(flush, struct plane, medium.flush);

    plane_sync_note(plane, flush->io.result);
    plane->medium.message.run = run_flushed;
    mailbox_send(&plane->worker.mailbox, &plane->medium.message);
}

/* So that little is left for the flush for which requests have to wait. */
void plane_medium_take(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;

    if (!image_facts(device_image(plane->dev))->needs_sync) {
        drain_and_flush(plane);
        return;
    }
    medium->phase = MEDIUM_FLUSHES;
    medium->is_flushing = true;
    device_sync(plane->dev, &medium->flush, on_medium_flushed);
}
