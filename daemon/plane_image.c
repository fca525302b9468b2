/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/image.h"
#include "daemon/plane_await.h"
#include "daemon/plane_cache.h"
#include "daemon/plane_given.h"
#include "daemon/plane_limits.h"
#include "daemon/plane_look.h"
#include "daemon/plane_set.h"
#include "daemon/plane_socket.h"
#include "daemon/protocol.h"

/*
 * Operations at once that an AIO context is made for; what is more waits in its turn.  The
 * host's default fs.aio-max-nr, 65536 for all its processes, is enough for 256 such disks with
 * one thread each: each thread has a context.
 */
#define MAX_INFLIGHT 256u

/* What goes by the disk and not by its image. */
static void complete_opts(const struct plane *plane, struct image_opts *opts)
{
    bool is_known = engine_parse(plane->settings.engine, &opts->engine);

    assert(is_known); /* the table of settings allows no other */
    (void)is_known;
    opts->owner = plane->opts.name;
    opts->fence = plane->opts.fence;
    opts->max_inflight = min_of(plane->opts.queues * plane->opts.queue_size, MAX_INFLIGHT);
}

static struct image_opts image_opts(const struct plane *plane)
{
    struct image_opts opts = plane->opts.image;

    complete_opts(plane, &opts);
    return opts;
}

void plane_other_image(const struct plane *plane, const struct image_config *config,
                       struct image_opts *opts)
{
    image_config_opts(config, opts);
    opts->is_readonly = plane->opts.image.is_readonly;
    opts->emulates_512 = plane->opts.image.emulates_512;
    complete_opts(plane, opts);
}

void plane_image_name(struct plane *plane, const char *path)
{
    (void)snprintf(plane->image_path, sizeof(plane->image_path), "%s", path ? path : "");
    plane->opts.image.path = plane->image_path;
}

/* What a guest finds changed under it is worse than a disk that does not start. */
static int check_id(const struct plane *plane, const struct image *image, struct err *err)
{
    const struct image_id *id = &image_facts(image)->id;
    char now[IMAGE_ID_BYTES];
    char before[IMAGE_ID_BYTES];

    if (image_id_same(id, &plane->image_id)) {
        return 0;
    }
    image_id_say(id, now);
    image_id_say(&plane->image_id, before);
    (void)err_say(err, -ESTALE, "it is not the one that the disk had open: it is %s, and was %s%s",
                  now, before, strcmp(now, before) == 0 ? ", made at another time" : "");
    image_name_err(image, err);
    err_hint(err, "put that back, or " PROTOCOL_IF_MEANT "start %s --new-image", plane->opts.name);
    return -ESTALE;
}

int plane_begin_image(struct plane *plane, image_opened *opened, struct err *err)
{
    struct image_opts opts = image_opts(plane);
    int ret = plane_set_threads(plane, err);

    if (ret < 0) {
        return ret;
    }
    opts.create = false; /* done when the disk was added */
    opts.is_taken = plane->state == PLANE_WAITING;
    plane->await.is_retry = plane->start.is_take && plane_await_knows_holder(plane);
    opts.is_retry = plane->await.is_retry;
    opts.given = plane_given_image(plane);
    opts.probe = false; /* by now the guest may have written anything */
    return image_opening_begin(&plane->image_opening, &opts, &plane->worker.mailbox, opened, plane,
                               err);
}

int plane_begin_new(struct plane *plane, image_opened *opened, struct err *err)
{
    struct image_opts opts = image_opts(plane);

    opts.is_new = true;
    if (plane->opts.is_incoming) { /* where its guest runs it has been told from other formats */
        opts.is_look = true;
        opts.probe = false;
    }
    return image_opening_begin(&plane->image_opening, &opts, &plane->worker.mailbox, opened, plane,
                               err);
}

int plane_take_image(struct plane *plane, struct image *image, bool may_differ, struct err *err)
{
    int ret = may_differ ? 0 : check_id(plane, image, err);

    if (ret == 0) {
        ret = device_attach(plane->dev, image, err);
    }
    if (ret >= 0) {
        plane->image_id = image_facts(image)->id;
        plane_look_opened(plane);
    }
    return ret;
}

int plane_listen(struct plane *plane, struct err *err)
{
    const struct socket_rights rights = plane_socket_rights(plane);
    struct vhost_user_opts opts = {
        .name = plane->opts.name,
        .socket_path = plane->opts.socket_path,
        .rights = &rights,
        .keep_cache = plane->opts.keep_cache ? plane_cache_keep : NULL,
        .guest_came = plane->guest_came,
        .guest_left = plane->guest_left,
        .arg = plane,
    };
    int ret = 0;

    if (plane->opts.given) {
        opts.given = &plane->opts.given->vu;
        socket_dir_note(&plane->socket_dir, plane->opts.socket_path);
    } else {
        ret = plane_make_socket_dir(plane, err);
    }
    return ret < 0 ? ret
                   : vhost_user_start(&plane->vu, &plane->worker.loop, plane->dev, &opts, err);
}

/* Where another host has said what is shown, the image has to do; device_attach asks whether it
 * does. */
static int suit_image(const struct plane *plane, struct blk_opts *blk, const struct image *image,
                      struct err *err)
{
    int ret;

    if (plane->opts.is_pinned) {
        blk->capacity = image_facts(image)->size;
        ret = blk_opts_check(blk, err);
    } else {
        ret = blk_opts_resolve(blk, image_facts(image), err);
    }
    if (ret < 0) {
        image_name_err(image, err);
    }
    return ret;
}

int plane_init_device(struct plane *plane, const struct image *image, struct err *err)
{
    const struct plane_opts *opts = &plane->opts;
    struct device_opts device_opts = {
        .name = opts->name,
        .queues = opts->queues,
        .queue_size_max = opts->queue_size,
        .has_packed = opts->has_packed,
        .has_in_order = opts->has_in_order,
        .awaited = &plane->awaited,
    };
    struct blk_opts blk_opts = {
        .capacity = opts->geometry.size,
        .logical_block = opts->geometry.logical_block,
        .physical_block = opts->geometry.physical_block,
        .alignment = opts->geometry.alignment,
        .min_io = opts->geometry.min_io,
        .opt_io = opts->geometry.opt_io,
        .chs = opts->geometry.chs,
        .discard_block = opts->geometry.discard_block,
        .zeroes = opts->geometry.zeroes,
        .shown = opts->geometry.shown,
        .queues = opts->queues,
        .seg_max = opts->seg_max ? opts->seg_max : blk_seg_max(opts->queue_size),
        .limits = opts->limits,
        .may_be_empty = opts->image.is_empty,
        .is_readonly = opts->image.is_readonly,
        .is_writethrough = cache_is_writethrough(opts->image.cache),
        .is_unsafe = opts->image.cache == CACHE_UNSAFE,
        .has_config_wce = opts->has_config_wce,
    };
    int ret = 0;

    (void)snprintf(blk_opts.serial, sizeof(blk_opts.serial), "%s", opts->serial);
    if (image) {
        ret = suit_image(plane, &blk_opts, image, err);
    }
    if (ret == 0) {
        ret = plane_limits_begin(plane, err);
    }
    if (ret == 0) {
        ret = device_new(&plane->dev, &plane->worker.loop, &device_opts, &blk_opts, err);
    }
    if (ret == 0) {
        plane_set_poll(plane);
        plane_set_huge(plane);
        plane_set_zeroes(plane);
        plane_set_errors(plane);
        plane_limits_use(plane);
        device_set_writeback(plane->dev, !opts->is_writethrough);
        device_set_batch(plane->dev, (unsigned)plane->settings.batch);
        plane->state = PLANE_STOPPED;
    } else {
        plane_limits_end(plane);
    }
    return ret;
}
