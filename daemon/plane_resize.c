/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_resize.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/log.h"
#include "core/base/thread.h"
#include "core/block/image.h"
#include "daemon/plane_grow.h"
#include "daemon/plane_late.h"
#include "daemon/plane_resumed.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"

/* ---- the end ---- */

static void answer(struct plane *plane, struct plane_request *request)
{
    struct plane_resize *resize = &plane->resize;

    request->old_size = resize->before;
    request->told = resize->told;
    request->has_changed = resize->has_changed;
    request->err = resize->err;
    plane_wait_answer(plane, request);
}

/* Nobody waits any more: control does not know, and the log has it. */
static void tell_unasked(struct plane *plane)
{
    if (plane->resize.err.code < 0) {
        log_warn("%s", plane->resize.err.text);
    }
    if (plane->resize.has_changed && plane->state == PLANE_RUNNING) {
        plane_resumed_tell(plane);
    }
}

/* It is over, as resize->err says. */
static void finish(struct plane *plane)
{
    struct plane_request *request = plane->resize.request;

    plane->resize.phase = PLANE_RESIZE_NONE;
    plane->resize.ended_ns = now_ns();
    plane->resize.request = NULL;
    if (request) {
        answer(plane, request);
    } else {
        tell_unasked(plane);
    }
    plane_sync_wake(plane);
}

/* What layers below say knows no disk. */
static void name_err(struct plane *plane)
{
    struct err what = plane->resize.err;

    (void)err_say(&plane->resize.err, what.code, "%s: %s", plane->opts.name, what.text);
}

static void fail(struct plane *plane)
{
    name_err(plane);
    finish(plane);
}

static int send_errand(struct plane *plane, void (*run)(struct errand *errand),
                       void (*done)(struct errand *errand), struct err *err)
{
    struct plane_resize *resize = &plane->resize;
    int ret;

    resize->node = node_get(device_image(plane->dev)->root);
    resize->errand.run = run;
    resize->errand.done = done;
    ret = errand_send(&resize->errand, &plane->worker.mailbox);
    if (ret < 0) {
        node_put(resize->node);
        (void)err_set(err, ret, "no thread to have its image resized by");
        thread_hint(err);
    }
    return ret;
}

/* ---- less: the image is cut when the guest no longer has it ---- */

/* On the errand's thread; to give the node back may block. */
static void cut_image(struct errand *errand)
{
    struct plane_resize *resize = containerof(errand, struct plane_resize, errand);

    resize->err.code = node_resize(resize->node, resize->wanted, &resize->err);
    node_put(resize->node);
}

/* It is longer than the disk, which is not what is noticed as growth. */
static void say_uncut(struct plane *plane)
{
    struct plane_resize *resize = &plane->resize;
    struct err what = resize->err;

    resize->left_over = resize->found;
    (void)err_say(&resize->err, what.code,
                  "%s: the disk has %" PRIu64 " bytes by now, but its image was not cut: %s",
                  plane->opts.name, resize->wanted, what.text);
    err_hint(&resize->err, "give the image that size, or the disk has what that has when it is "
                           "started again");
}

static void on_cut(struct errand *errand)
{
    struct plane *plane = containerof(errand, struct plane, resize.errand);

    if (plane->resize.err.code < 0) {
        say_uncut(plane);
    }
    finish(plane);
}

/* The image may have been closed meanwhile, and the disk begun anew with what it has. */
static int check_uncut(const struct plane *plane, struct err *err)
{
    const struct image *image = device_image(plane->dev);

    if (plane->resize.err.code < 0) {
        return plane->resize.err.code;
    }
    if (plane->state != PLANE_RUNNING || !image || image->root != plane->resize.node ||
        device_capacity(plane->dev) != plane->resize.wanted) {
        return err_say(err, -ECANCELED, "the disk was stopped, or its image changed, meanwhile");
    }
    return 0;
}

static void cut(struct plane *plane)
{
    struct plane_resize *resize = &plane->resize;
    int ret = check_uncut(plane, &resize->err);

    resize->phase = PLANE_RESIZE_CUTS;
    if (ret == 0) {
        ret = send_errand(plane, cut_image, on_cut, &resize->err);
    }
    if (ret < 0) {
        say_uncut(plane);
        finish(plane);
    }
}

static void run_kept(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, resize.message);

    if (plane->dev) {
        cut(plane);
    }
}

void plane_resize_kept(struct plane *plane)
{
    plane->resize.message.run = run_kept;
    mailbox_send(&plane->worker.mailbox, &plane->resize.message);
}

/* On the control thread. */
static void run_keep(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, resize.message);

    plane->opts.keep_size(plane);
}

/* The change is made, or is not; the image, still open, holds the node as well. */
static void on_shrunk(struct device_change *change)
{
    struct plane_resize *resize = containerof(change, struct plane_resize, change);
    struct plane *plane = containerof(resize, struct plane, resize);

    node_put(change->node);
    resize->err = change->err;
    if (change->err.code < 0) {
        fail(plane);
        return;
    }
    resize->has_changed = true;
    resize->phase = PLANE_RESIZE_KEEPS;
    plane_grow_tell(plane, resize->before);
    resize->message.run = run_keep;
    mailbox_send(plane->worker.control, &resize->message);
}

static void cancel_shrink(struct plane *plane)
{
    device_change_cancel(plane->dev, &plane->resize.change);
    node_put(plane->resize.change.node);
}

/* Nobody who was told that time is over shall find the disk smaller later. */
static int begin_shrink(struct plane *plane, struct err *err)
{
    struct plane_resize *resize = &plane->resize;
    int ret;

    if (!resize->request) {
        return err_say(err, -ETIMEDOUT, "it was not made smaller, as that took too long");
    }
    resize->change = (struct device_change){.kind = CHANGE_SIZE,
                                            .node = node_get(device_image(plane->dev)->root),
                                            .size_bytes = resize->wanted,
                                            .done = on_shrunk};
    ret = device_change_begin(plane->dev, &resize->change, err);
    if (ret < 0) {
        node_put(resize->change.node);
    } else {
        resize->phase = PLANE_RESIZE_DRAINS;
    }
    return ret;
}

/* ---- how large is it, and more ---- */

/*
 * The image is given what the disk will have then, unless it is less; of one that gets it from
 * elsewhere node_resize says so.
 */
static int make_longer(struct plane_resize *resize, const struct node_extent *extent)
{
    if (resize->wanted == 0 || extent->bytes == resize->wanted) {
        return 0;
    }
    if (!extent->is_fixed && resize->wanted < resize->before) {
        return 0;
    }
    if (!extent->is_fixed && resize->wanted < extent->bytes) {
        err_say(&resize->err, -EINVAL,
                "somebody has given its image %" PRIu64 " bytes, which is more than that",
                extent->bytes);
        err_hint(&resize->err, "--refresh gives the disk what its image has");
        return -EINVAL;
    }
    return node_resize(resize->node, resize->wanted, &resize->err);
}

/* On the errand's thread. */
static void look_and_make_longer(struct errand *errand)
{
    struct plane_resize *resize = containerof(errand, struct plane_resize, errand);
    struct node_extent extent = {0};
    int ret = node_measure(resize->node, &extent, &resize->err);

    resize->found = extent.bytes;
    if (ret == 0) {
        ret = make_longer(resize, &extent);
    }
    resize->err.code = ret;
    node_put(resize->node);
}

static int refuse_less(const struct plane *plane, struct err *err)
{
    const struct plane_resize *resize = &plane->resize;

    err_say(err, -EINVAL,
            "its image has %" PRIu64 " bytes, and its guest knows the disk with %" PRIu64
            ": what it reads and writes beyond fails",
            resize->found, resize->before);
    err_hint(err,
             "give it that size back, or have the guest use no more than is left, and make the "
             "disk smaller by a size and --shrink");
    return -EINVAL;
}

/* Returns 0, 1 when there is more to come, or -errno. */
static int give_guest(struct plane *plane, struct err *err)
{
    struct plane_resize *resize = &plane->resize;
    uint64_t bytes = resize->wanted ? resize->wanted : resize->found;
    int ret;

    if (bytes == device_capacity(plane->dev)) {
        return 0;
    }
    if (bytes < device_capacity(plane->dev)) {
        ret = resize->wanted ? begin_shrink(plane, err) : refuse_less(plane, err);
        return ret < 0 ? ret : 1;
    }
    ret = plane_grow(plane, resize->node, bytes, err);
    resize->has_changed = ret == 0;
    return ret;
}

/* The file may be longer by now than it was; whoever starts the disk, or looks, finds that. */
static void on_looked(struct errand *errand)
{
    struct plane *plane = containerof(errand, struct plane, resize.errand);
    struct plane_resize *resize = &plane->resize;
    struct err err = {0};
    int ret;

    if (resize->err.code < 0) {
        fail(plane);
        return;
    }
    if (plane_grow_check(plane, &resize->err) < 0) {
        err_hint(&resize->err, "its image has %" PRIu64 " bytes by now",
                 resize->wanted > resize->found ? resize->wanted : resize->found);
        finish(plane);
        return;
    }
    ret = give_guest(plane, &err);
    if (ret < 0) {
        resize->err = err;
        fail(plane);
    } else if (ret == 0) {
        finish(plane);
    }
}

/* ---- what is asked for ---- */

/* What waits for whom, and what becomes of it. */
static void say_late(struct plane *plane, struct plane_request *request, const char *what,
                     const char *goes_on)
{
    (void)err_say(&request->err, -ETIMEDOUT, "%s: %s, for %.1f s; %s", plane->opts.name, what,
                  (double)(now_ns() - plane->resize.begun_ns) / NS_PER_S, goes_on);
    plane_reply(plane, request);
}

static bool is_to_shrink(const struct plane_resize *resize)
{
    return resize->wanted > 0 && resize->wanted < resize->before;
}

static void on_late(struct plane *plane, struct plane_request *request)
{
    struct plane_resize *resize = &plane->resize;

    resize->request = NULL;
    request->old_size = resize->before;
    request->told = resize->told;
    request->has_changed = resize->has_changed;
    switch (resize->phase) {
    case PLANE_RESIZE_DRAINS:
        cancel_shrink(plane);
        resize->phase = PLANE_RESIZE_NONE;
        plane_late_answer(plane, request);
        break;
    case PLANE_RESIZE_KEEPS:
        say_late(plane, request, "the disk is smaller, but the state file is still being written",
                 "then its image is cut");
        break;
    case PLANE_RESIZE_CUTS:
        say_late(plane, request, "the disk is smaller, but the image's file system does not answer",
                 "its image is cut when it does");
        break;
    default:
        say_late(plane, request, "the image's file system does not answer",
                 is_to_shrink(resize) ? "nothing is changed"
                                      : "the disk goes on as it is, and grows when its image has");
        break;
    }
}

static int refuse_busy(const struct plane *plane, struct err *err)
{
    (void)err_say(err, -EBUSY, "%s: its size is being changed already, for %.1f s",
                  plane->opts.name, (double)(now_ns() - plane->resize.begun_ns) / NS_PER_S);
    if (!plane->resize.request) {
        err_hint(err, "what has it in its hands does not answer");
    }
    return -EBUSY;
}

/* Guests of other disks would not be told before it is cut. */
static int refuse_shared(const struct plane *plane, struct err *err)
{
    (void)err_say(err, -EBUSY, "%s: its image is shared, and others may use what would be cut",
                  plane->opts.name);
    err_hint(err, "have nobody else use the image, and add the disk anew without --shareable");
    return -EBUSY;
}

static int check_size(const struct plane *plane, const struct plane_request *request,
                      struct err *err)
{
    uint64_t capacity = device_capacity(plane->dev);
    uint32_t block = device_logical_block(plane->dev);

    if (plane->opts.image.is_readonly) {
        (void)err_say(err, -EROFS, "%s: it is read-only, and so is its image", plane->opts.name);
        err_hint(err, "--refresh gives the disk what its image has");
        return -EROFS;
    }
    if (!is_aligned(request->size, block)) {
        return err_say(
            err, -EINVAL,
            "%s: %" PRIu64 " bytes are no whole logical blocks of %u: %" PRIu64 " would be",
            plane->opts.name, request->size, block, request->size - request->size % block + block);
    }
    if (request->size < capacity && !request->shrink) {
        (void)err_say(err, -EINVAL,
                      "%s: it has %" PRIu64 " bytes, and what is beyond %" PRIu64 " would be lost",
                      plane->opts.name, capacity, request->size);
        err_hint(err, "have the guest use no more than that first, and then --shrink");
        return -EINVAL;
    }
    return request->size < capacity && plane->opts.image.is_shareable ? refuse_shared(plane, err)
                                                                      : 0;
}

static int check_request(const struct plane *plane, const struct plane_request *request,
                         struct err *err)
{
    int ret = plane_grow_check(plane, err);

    if (ret == 0 && device_capacity(plane->dev) == 0) {
        return err_say(err, -ENOMEDIUM, "%s: it has no image, and so no size", plane->opts.name);
    }
    if (ret == 0 && plane->resize.phase != PLANE_RESIZE_NONE) {
        ret = refuse_busy(plane, err);
    }
    return ret < 0 || request->size == 0 ? ret : check_size(plane, request, err);
}

void plane_resize(struct plane *plane, struct plane_request *request)
{
    struct plane_resize *resize = &plane->resize;

    if (check_request(plane, request, &request->err) < 0) {
        plane_reply(plane, request);
        return;
    }
    resize->before = device_capacity(plane->dev);
    resize->wanted = request->size;
    resize->has_changed = false;
    resize->told = VHOST_USER_NOBODY;
    resize->err = (struct err){0};
    resize->begun_ns = now_ns();
    if (send_errand(plane, look_and_make_longer, on_looked, &resize->err) < 0) {
        name_err(plane);
        request->err = resize->err;
        plane_reply(plane, request);
        return;
    }
    resize->phase = PLANE_RESIZE_LOOKS;
    resize->request = request;
    plane_wait(plane, request, on_late);
}

void plane_resize_cancel(struct plane *plane)
{
    plane->resize.request = NULL;
    if (plane->resize.phase == PLANE_RESIZE_DRAINS) {
        cancel_shrink(plane);
        plane->resize.phase = PLANE_RESIZE_NONE;
    }
}
