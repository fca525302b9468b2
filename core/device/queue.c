/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/device/lane_mark.h"

void queue_init(struct queue *q, struct lane_view *view, unsigned index, struct lane *lane)
{
    *q = (struct queue){.view = view, .lane = lane, .index = index, .call_fd = -1, .err_fd = -1};
}

void queue_stop(struct queue *q)
{
    lane_forget(q->lane, q->index);
    ring_stop(&q->ring);
    q->held = (struct held){0};
}

void queue_close_kick(struct queue *q)
{
    watch_close(q->kick);
    q->kick = NULL;
}

/*
 * Kicks of an eventfd come as edges, and nobody reads it.  Anything else that can be waited for
 * is read: first, so that a kick that comes before the look at the ring is not lost.
 */
static void on_kick(struct watch *watch)
{
    struct queue *q = watch->arg;
    ssize_t got = watch->wants_edges ? 1 : ringer_read(watch->fd);

    if (got == 0 || got == -EINTR) {
        /* The end of a pipe or socket would be readable for ever; the other would wait again. */
        ring_break(&q->ring,
                   got == 0 ? "its kick fd has come to its end" : "its kick fd was made to block");
        queue_tell_fault(q);
        queue_close_kick(q);
        return;
    }
    if (got < 0) {
        return;
    }
    if (!q->has_moved) {
        queue_look_for_blind(q);
    }
    q->lane->stats.kicks++;
    lane_kicked(q->lane, q->index);
}

static bool is_eventfd(int fd)
{
    char path[32];
    char kind[64] = "";

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits */
    return readlink(path, kind, sizeof(kind) - 1) > 0 && strcmp(kind, "anon_inode:[eventfd]") == 0;
}

int queue_open_kick(struct queue *q, int fd, struct err *err)
{
    struct watch *watch;
    int ret = watch_open(&watch, q->lane->loop, fd, false, on_kick, q, &q->lane->open_handles);

    if (ret < 0) {
        return err_set(err, ret, "ring %u: the kick fd cannot be waited for", q->index);
    }
    if (is_eventfd(fd)) {
        watch_edges(watch);
    }
    queue_close_kick(q);
    q->kick = watch;
    return 0;
}

void queue_own_kick(struct queue *q)
{
    q->kick->owns_fd = true;
}

int queue_open_moved_kick(struct queue *q, struct lane *lane, struct watch **kick, struct err *err)
{
    int ret;

    *kick = NULL;
    if (!q->kick || q->lane == lane) {
        return 0;
    }
    ret = watch_open(kick, lane->loop, q->kick->fd, false, on_kick, q, &lane->open_handles);
    if (ret < 0) {
        return err_set(err, ret, "ring %u: its kick fd cannot be waited for", q->index);
    }
    if (q->kick->wants_edges) {
        watch_edges(*kick);
    }
    return 0;
}

void queue_move(struct queue *q, struct lane *lane, struct watch *kick)
{
    if (q->lane == lane) {
        return;
    }
    lane_forget(q->lane, q->index);
    q->lane = lane;
    ring_set_arrays(&q->ring, &lane->arrays);
    if (kick) {
        q->kick->owns_fd = false;
        kick->owns_fd = true;
        queue_close_kick(q);
        q->kick = kick;
    }
}
