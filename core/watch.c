/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = containerof(poll, struct watch, poll);

    /* An error condition shows as readable; the reader finds out what it is. */
    watch->readable(watch);
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = containerof((uv_poll_t *)handle, struct watch, poll);

    (*watch->open_handles)--;
    free(watch);
}

int watch_open(struct watch **out, uv_loop_t *loop, int fd, bool owns_fd,
               void (*readable)(struct watch *watch), void *arg, unsigned *open_handles)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    int ret;

    if (!watch) {
        return -ENOMEM;
    }
    ret = uv_poll_init(loop, &watch->poll, fd);
    if (ret < 0) {
        free(watch);
        return ret;
    }
    watch->fd = fd;
    watch->readable = readable;
    watch->arg = arg;
    watch->open_handles = open_handles;
    (*open_handles)++;
    ret = uv_poll_start(&watch->poll, UV_READABLE, on_poll);
    if (ret < 0) {
        uv_close((uv_handle_t *)&watch->poll, on_closed);
        return ret;
    }
    watch->owns_fd = owns_fd;
    *out = watch;
    return 0;
}

void watch_close(struct watch *watch)
{
    if (!watch) {
        return;
    }
    /* Closing the handle takes the fd out of epoll at once; only its memory waits. */
    uv_close((uv_handle_t *)&watch->poll, on_closed);
    if (watch->owns_fd) {
        close(watch->fd);
    }
}
