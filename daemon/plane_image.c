/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/plane_set.h"

/*
 * Operations at once that an AIO context is made for; what is more waits in its turn.  The
 * host's default fs.aio-max-nr, 65536 for all its processes, is enough for 256 such disks with
 * one thread each: each thread has a context.
 */
#define MAX_INFLIGHT 256u

static struct backend_opts image_opts(const struct plane *plane)
{
    struct backend_opts opts = plane->opts.image;
    bool is_known = engine_parse(plane->settings.engine, &opts.engine);

    assert(is_known); /* the table of settings allows no other */
    (void)is_known;
    opts.max_inflight = min_of(plane->opts.queues * plane->opts.queue_size, MAX_INFLIGHT);
    return opts;
}

/* Say which image it is about, for errors of those who do not know its name. */
static void name_image(const struct plane *plane, struct err *err)
{
    struct err what = *err;

    if (plane->opts.image.path) {
        (void)err_say(err, what.code, "image %s: %s", plane->opts.image.path, what.text);
    }
}

int plane_open_image(struct plane *plane, struct err *err)
{
    struct backend_opts opts = image_opts(plane);
    struct backend *backend;
    int ret;

    ret = plane_set_threads(plane, err);
    if (ret < 0) {
        return ret;
    }
    opts.create = false; /* done when the disk was added */
    if (strcmp(opts.type, "file") == 0) {
        opts.size = 0;
    }
    ret = backend_open(&backend, &opts, err);
    if (ret < 0) {
        return ret;
    }
    ret = device_attach(&plane->dev, backend, err);
    if (ret < 0) {
        name_image(plane, err);
        backend_close(backend);
    }
    return ret;
}

void plane_close_image(struct plane *plane)
{
    struct backend *backend = plane->dev.lane.backend ? device_detach(&plane->dev) : NULL;

    if (backend) {
        backend_close(backend);
    }
}

void plane_unmake_image(const struct plane *plane)
{
    const struct backend_opts *image = &plane->opts.image;

    if (image->create && unlink(image->path) < 0) {
        log_warn("%s: cannot delete the image %s that it made: %s", plane->opts.name, image->path,
                 strerror(errno));
    }
}

int plane_listen(struct plane *plane, struct err *err)
{
    struct vhost_user_opts opts = {
        .name = plane->opts.name,
        .socket_path = plane->opts.socket_path,
    };

    return vhost_user_start(&plane->vu, &plane->worker.loop, &plane->dev, &opts, err);
}

int plane_init_device(struct plane *plane, const struct backend *backend, struct err *err)
{
    const struct plane_opts *opts = &plane->opts;
    struct device_opts device_opts = {
        .name = opts->name,
        .queues = opts->queues,
        .queue_size_max = opts->queue_size,
    };
    struct blk_opts blk_opts = {
        .capacity = opts->geometry.size,
        .logical_block = opts->geometry.logical_block,
        .physical_block = opts->geometry.physical_block,
        .opt_io = opts->geometry.opt_io,
        .queues = opts->queues,
        .seg_max = blk_seg_max(opts->queue_size),
        .is_readonly = opts->image.is_readonly,
        .is_writethrough = cache_is_writethrough(opts->image.cache),
    };
    int ret = 0;

    (void)snprintf(blk_opts.serial, sizeof(blk_opts.serial), "%s", opts->serial);
    if (backend) {
        ret = blk_opts_resolve(&blk_opts, backend, err);
        if (ret < 0) {
            name_image(plane, err);
        }
    }
    if (ret == 0) {
        ret = device_init(&plane->dev, &plane->worker.loop, &device_opts, &blk_opts, err);
    }
    if (ret == 0) {
        plane_set_poll(plane);
        plane->state = PLANE_STOPPED;
    }
    return ret;
}

int plane_open_new(struct plane *plane, struct err *err)
{
    struct backend_opts opts = image_opts(plane);
    struct backend *backend;
    int ret = backend_open(&backend, &opts, err);

    if (ret < 0) {
        return ret;
    }
    ret = plane_init_device(plane, backend, err);
    if (ret < 0) {
        goto close_backend;
    }
    ret = plane_set_threads(plane, err);
    if (ret < 0) {
        goto close_backend;
    }
    ret = device_attach(&plane->dev, backend, err);
    if (ret < 0) {
        goto close_backend;
    }
    ret = plane_listen(plane, err);
    if (ret < 0) {
        goto detach;
    }
    return 0;

detach:
    (void)device_detach(&plane->dev);
close_backend:
    backend_close(backend);
    plane_unmake_image(plane); /* the next try shall find what this one did */
    return ret;
}
