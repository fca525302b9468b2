/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a front-end is told by a ring's fds.
 */

#include <unistd.h>

#include "core/device/queue.h"

/*
 * A front-end that makes us wait gets no more signals from this thread: it would do so again, with
 * the next of its rings.  Its driver has one that it has not looked at, as the counter was full.
 */
static void signal_fd(struct queue *q, int *fd, const char *which)
{
    if (q->lane->was_held_up || ringer_signal(*fd)) {
        return;
    }
    q->lane->was_held_up = true;
    log_limited(
        &q->lane->guest_log, LOG_LEVEL_WARN,
        "%s: ring %u: its %s fd is full and was made to block, so that the disk's thread had "
        "to wait; this front-end is not signalled any more",
        q->view->name, q->index, which);
    close(*fd);
    *fd = -1;
}

static void replace_fd(int *at, int fd)
{
    if (*at >= 0) {
        close(*at);
    }
    *at = fd;
}

void queue_set_call(struct queue *q, int fd)
{
    replace_fd(&q->call_fd, fd);
}

void queue_set_err(struct queue *q, int fd)
{
    replace_fd(&q->err_fd, fd);
}

void queue_call(struct queue *q)
{
    signal_fd(q, &q->call_fd, "call");
}

void queue_tell_fault(struct queue *q)
{
    if (q->is_fault_told) {
        return;
    }
    q->is_fault_told = true;
    log_limited(&q->lane->guest_log, LOG_LEVEL_WARN, "%s: ring %u: %s, ring stopped", q->view->name,
                q->index, q->ring.fault);
    signal_fd(q, &q->err_fd, "error");
}
