/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/base/ringer.h"

/*
 * libuv knows level-triggered polls only, and keeps its hands off a registration until the
 * next uv_poll_start or uv_poll_stop.  By the first callback it is there for sure, so that is
 * when it is changed; emptied first, as the change itself reports what can be read.  Where
 * the change fails, each callback empties the fd, which is as good and costs a read.
 */
static void take_edge(struct watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = watch->fd};

    if (watch->has_edges) {
        return;
    }
    (void)ringer_read(watch->fd); /* somebody else may have emptied it: that is fine */
    watch->has_edges =
        epoll_ctl(uv_backend_fd(watch->poll.loop), EPOLL_CTL_MOD, watch->fd, &event) == 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = containerof(poll, struct watch, poll);

    if (watch->wants_edges) {
        take_edge(watch);
    }
    /* An error condition shows as readable; the reader finds out what it is. */
    watch->readable(watch);
}

static void on_watch_closed(uv_handle_t *handle)
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
        uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
        return ret;
    }
    watch->owns_fd = owns_fd;
    *out = watch;
    return 0;
}

void watch_edges(struct watch *watch)
{
    watch->wants_edges = true;
}

void watch_close(struct watch *watch)
{
    if (!watch) {
        return;
    }
    /* Closing the handle takes the fd out of epoll at once; only its memory waits. */
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
    if (watch->owns_fd) {
        close(watch->fd);
    }
}
