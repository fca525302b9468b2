/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_medium.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/block/image.h"
#include "core/block/image_closing.h"
#include "core/block/image_opening.h"
#include "daemon/plane_close.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_image.h"
#include "daemon/plane_look.h"
#include "daemon/plane_medium_steps.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"
#include "daemon/protocol.h"

static bool runs(const struct plane *plane)
{
    return plane->state == PLANE_RUNNING;
}

/* ---- the image that is to be ---- */

/* Of one that runs somebody has to say that nothing is missing. */
static int check_running(const struct plane *plane, struct err *err)
{
    const struct plane_medium *medium = &plane->medium;

    if (!runs(plane) || medium->force) {
        return 0;
    }
    if (plane_fate_objects(plane, medium->request, err)) {
        return err->code;
    }
    if (plane->opts.image.is_readonly) {
        return 0;
    }
    (void)err_say(err, -EBUSY,
                  "%s: it runs, and a copy of its image lacks what was written since it was begun",
                  plane->opts.name);
    err_hint(err, PROTOCOL_FIRST "stop %s', then copy or move the image", plane->opts.name);
    err_hint(err,
             "use --force if nothing can be missing, as the guest has frozen its file systems");
    return -EBUSY;
}

static int check_size(const struct plane *plane, const struct image *image, struct err *err)
{
    uint64_t size = image_facts(image)->size;
    uint64_t capacity = device_capacity(plane->dev);

    if (plane->medium.asked.change == MEDIUM_REPLACE && size != capacity) {
        (void)err_say(err, -EINVAL, "it has %" PRIu64 " bytes, and the disk %" PRIu64, size,
                      capacity);
        err_hint(err, size < capacity ? "it may have been copied in part"
                                      : "truncate -s gives a file its size, losetup --sizelimit a "
                                        "device");
        return -EINVAL;
    }
    return size > 0 ? 0 : err_say(err, -EINVAL, "it is empty");
}

static int check_image(const struct plane *plane, const struct image *image, struct err *err)
{
    int ret;

    if (plane->medium.asked.change == MEDIUM_EJECT) {
        return 0;
    }
    ret = check_size(plane, image, err);
    if (ret < 0) {
        image_name_err(image, err);
        return ret;
    }
    ret = device_suits(plane->dev, image, err);
    return ret < 0 || plane->medium.asked.change != MEDIUM_REPLACE ? ret
                                                                   : check_running(plane, err);
}

static bool is_at_same_path(const struct plane_medium *medium)
{
    return strcmp(medium->asked.image.path, medium->asked.before.path) == 0;
}

static void on_medium_opened(void *arg, struct image *image, struct err *err)
{
    struct plane *plane = arg;
    struct plane_medium *medium = &plane->medium;

    medium->opening = NULL;
    medium->image = image;
    medium->is_same = !image && err->code == -EALREADY;
    if (medium->is_same && is_at_same_path(medium)) {
        plane_medium_tell(plane);
    } else if (medium->is_same) {
        plane_medium_keep(plane);
    } else if (!image || check_image(plane, image, err) < 0) {
        plane_medium_refuse(plane, err);
    } else if (runs(plane)) {
        plane_medium_take(plane);
    } else {
        plane_medium_keep(plane);
    }
}

/* What was copied is to be stable before the guest goes by it, which took it for stable before. */
static int open_image(struct plane *plane, struct err *err)
{
    struct plane_medium *medium = &plane->medium;
    struct image_opts opts;
    int ret;

    plane_other_image(plane, &medium->asked.image, &opts);
    if (medium->asked.change == MEDIUM_EJECT) {
        struct image *nothing;

        ret = image_open(&nothing, &opts, err); /* waits for nobody */
        if (ret == 0) {
            on_medium_opened(plane, nothing, err);
        }
        return ret;
    }
    if (plane_look_fd(plane) >= 0) {
        opts.ours = plane->image_id;
    }
    opts.is_other = true;
    opts.is_copy = medium->asked.change == MEDIUM_REPLACE && !opts.is_readonly &&
                   (medium->force || !runs(plane));
    return image_opening_begin(&medium->opening, &opts, &plane->worker.mailbox, on_medium_opened,
                               plane, err);
}

/* ---- asked ---- */

static const char *const doing[] = {
    [MEDIUM_REPLACE] = "replaced",
    [MEDIUM_INSERT] = "inserted",
    [MEDIUM_EJECT] = "ejected",
};

/* What it waits for, a look at the image, may take so long that another is done before. */
static int refuse_other(const struct plane *plane, const struct plane_request *request,
                        struct err *err)
{
    if (strcmp(request->medium->before.path, plane->image_path) == 0) {
        return 0;
    }
    return err_say(err, -EBUSY, "%s: its image was changed after this was asked for",
                   plane->opts.name);
}

static int refuse_state(const struct plane *plane, struct err *err)
{
    const char *name = plane->opts.name;

    if (plane->medium.phase != MEDIUM_NONE || plane->medium.is_flushing) {
        return err_say(err, -EBUSY, "%s: its image is being %s already", name,
                       doing[plane->medium.asked.change]);
    }
    if (plane->resize.phase != PLANE_RESIZE_NONE) {
        return err_say(err, -EBUSY, "%s: its size is being changed", name);
    }
    if (plane->state == PLANE_WAITING) {
        (void)err_say(err, -EBUSY, "%s: its guest runs elsewhere, and uses the image", name);
        err_hint(err, "have the guest come back, or " PROTOCOL_FIRST "stop %s' here", name);
        return -EBUSY;
    }
    if (plane->state == PLANE_STOPPING || plane->start.phase != PLANE_START_NONE ||
        plane->image_opening || plane_is_closing(plane)) {
        (void)err_say(err, -EBUSY, "%s: its image is being opened or closed", name);
        err_hint(err, "wait until that is over, or remove the disk and add it again");
        return -EBUSY;
    }
    if (plane->vu && vhost_user_is_migrating(plane->vu)) {
        return err_say(err, -EBUSY, "%s: its guest is being migrated, so its image stays as it is",
                       name);
    }
    return 0;
}

/* Whether it is mounted only the guest knows. */
static int refuse_guest(const struct plane *plane, const struct plane_request *request,
                        struct err *err)
{
    struct vhost_user_peer peer;

    if (request->medium->change != MEDIUM_EJECT || request->force || !plane->vu ||
        !vhost_user_peer(plane->vu, &peer)) {
        return 0;
    }
    (void)err_say(err, -EBUSY, "%s: %s (pid %d) is connected, and its guest may use the image",
                  plane->opts.name, peer.comm[0] ? peer.comm : "a process", (int)peer.pid);
    err_hint(err, "have the guest unmount it, and use --force");
    return -EBUSY;
}

static const char *what_hangs(const struct plane_medium *medium)
{
    switch (medium->phase) {
    case MEDIUM_OPENS:
        return "the other image is still being opened, or written to stable storage: see to its "
               "file system, or use sync on it first";
    case MEDIUM_FLUSHES:
    case MEDIUM_DRAINS:
        return "what its guest has written is still on its way to its image";
    default:
        return "";
    }
}

/* What is written down by then, or about to be, goes on. */
static void on_medium_late(struct plane *plane, struct plane_request *request)
{
    struct plane_medium *medium = &plane->medium;
    const char *name = plane->opts.name;

    medium->request = NULL;
    request->err = medium->refusal;
    if (medium->phase < MEDIUM_KEEPS) {
        (void)err_say(&request->err, -ETIMEDOUT, "%s: %s; nothing is changed", name,
                      what_hangs(medium));
        plane_reply(plane, request);
        plane_medium_drop(plane, -ETIMEDOUT, "");
        return;
    }
    if (medium->phase == MEDIUM_CLOSES && medium->refusal.code == 0) {
        request->is_done = true;
        request->has_changed = true;
        (void)err_say(&request->err, -ETIMEDOUT,
                      "%s: it was done, but the image that it had may be in use until its file "
                      "system answers (%.200s)",
                      name, medium->asked.before.path);
    } else if (medium->refusal.code == 0) {
        (void)err_say(&request->err, -ETIMEDOUT,
                      "%s: the state file is still being written, and the guest waits for that; "
                      "then it has the other image, unless the log says otherwise",
                      name);
    }
    plane_reply(plane, request);
    if (medium->phase == MEDIUM_CLOSES) {
        plane_medium_end(plane, 0, "");
    }
}

void plane_medium_change(struct plane *plane, struct plane_request *request)
{
    struct plane_medium *medium = &plane->medium;
    struct err err = {0};
    int ret = refuse_state(plane, &request->err);

    if (ret == 0) {
        ret = refuse_other(plane, request, &request->err);
    }
    if (ret == 0) {
        ret = refuse_guest(plane, request, &request->err);
    }
    if (ret < 0) {
        plane_reply(plane, request);
        return;
    }
    if (request->medium->change == MEDIUM_EJECT && plane_fate_refuse(plane, request)) {
        return;
    }
    *medium = (struct plane_medium){.phase = MEDIUM_OPENS,
                                    .asked = *request->medium,
                                    .force = request->force,
                                    .request = request};
    plane_wait(plane, request, on_medium_late);
    if (open_image(plane, &err) < 0) {
        plane_medium_refuse(plane, &err);
    }
}

/* ---- nobody wants it any more ---- */

static void drop_image(struct plane *plane)
{
    struct plane_medium *medium = &plane->medium;

    if (medium->opening) {
        image_opening_abandon(medium->opening);
        medium->opening = NULL;
    }
    if (medium->phase == MEDIUM_DRAINS) {
        plane_sync_cancel(plane);
    }
    plane_medium_close(plane);
}

void plane_medium_drop(struct plane *plane, int code, const char *text)
{
    struct plane_medium *medium = &plane->medium;

    if (medium->phase == MEDIUM_NONE || medium->phase == MEDIUM_CLOSES) {
        return;
    }
    if (medium->refusal.code == 0) {
        (void)err_say(&medium->refusal, code, "%s: %s", plane->opts.name, text);
    }
    if (medium->phase == MEDIUM_SWAPS) {
        device_change_cancel(plane->dev, &medium->change);
        plane_medium_undo(plane);
    } else if (medium->phase < MEDIUM_KEEPS) {
        drop_image(plane);
    }
}

void plane_medium_end(struct plane *plane, int code, const char *text)
{
    struct plane_medium *medium = &plane->medium;

    if (medium->phase == MEDIUM_NONE) {
        return;
    }
    medium->is_paused = false; /* for good: the table may name the other image by now */
    if (medium->phase == MEDIUM_SWAPS) {
        device_change_cancel(plane->dev, &medium->change);
    }
    if (medium->phase != MEDIUM_CLOSES) {
        (void)err_say(&medium->refusal, code, "%s: %s", plane->opts.name, text);
        drop_image(plane);
    }
    if (medium->closing) {
        image_closing_abandon(medium->closing);
        medium->closing = NULL;
        plane_medium_tell(plane);
    }
}

bool plane_medium_refuse_start(struct plane *plane, struct plane_request *request)
{
    if (plane->medium.phase == MEDIUM_NONE) {
        return false;
    }
    (void)err_say(&request->err, -EBUSY, "%s: its image is being %s; wait for that",
                  plane->opts.name, doing[plane->medium.asked.change]);
    plane_reply(plane, request);
    return true;
}
