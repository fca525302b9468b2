/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A disk that accepts all and stores nothing: reads leave the guest's buffer as it is.
 * It shows what rings and wake-ups alone cost; with a delay it stands in for a slow image.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/backend.h"

struct null {
    struct backend backend;
    int timer_fd;
    uint64_t delay_ns;
    struct io *first; /* in order of arrival, so also of their end */
    struct io **last;
    bool is_armed; /* for `first` */
};

struct null_io {
    uint64_t due_ns;
};

_Static_assert(sizeof(struct null_io) <= BACKEND_IO_SIZE, "room for the null backend");

static struct null *null_of(struct backend *backend)
{
    return containerof(backend, struct null, backend);
}

static struct null_io *null_io_of(struct io *io)
{
    return io->priv;
}

static int null_open(struct backend **out, const struct backend_opts *opts, struct err *err)
{
    struct null *null = calloc(1, sizeof(*null));

    if (!null) {
        return err_set(err, -ENOMEM, "null image");
    }
    null->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (null->timer_fd < 0) {
        int ret = err_set(err, -errno, "null image: no timer");

        free(null);
        return ret;
    }
    null->delay_ns = opts->delay_ms * NS_PER_MS;
    null->last = &null->first;
    null->backend = (struct backend){
        .ops = &backend_null_ops,
        .size = opts->size,
        .block_size = SECTOR_SIZE,
        .logical_block = SECTOR_SIZE,
        .physical_block = SECTOR_SIZE,
        .max_inflight = opts->max_inflight,
    };
    *out = &null->backend;
    return 0;
}

static int null_share(struct backend **out, struct backend *backend, struct err *err)
{
    struct backend_opts opts = {
        .size = backend->size,
        .delay_ms = (uint32_t)(null_of(backend)->delay_ns / NS_PER_MS),
        .max_inflight = backend->max_inflight,
    };

    return null_open(out, &opts, err);
}

static void null_close(struct backend *backend)
{
    struct null *null = null_of(backend);

    close(null->timer_fd);
    free(null);
}

static int null_fd(struct backend *backend)
{
    return null_of(backend)->timer_fd;
}

static void null_queue(struct backend *backend, struct io *io)
{
    struct null *null = null_of(backend);

    if (null->delay_ns) {
        null_io_of(io)->due_ns = now_ns() + null->delay_ns;
    }
    io->next = NULL;
    *null->last = io;
    null->last = &io->next;
}

static struct io *take_first(struct null *null)
{
    struct io *io = null->first;

    null->first = io->next;
    if (!null->first) {
        null->last = &null->first;
    }
    return io;
}

static unsigned finish_due(struct null *null)
{
    uint64_t now = now_ns();
    unsigned count = 0;

    while (null->first && null_io_of(null->first)->due_ns <= now) {
        struct io *io = take_first(null);

        io->result = 0;
        io->done(io);
        count++;
    }
    return count;
}

/*
 * Have the timer go off when the first is due, or not at all.  Setting it also takes back that
 * it has gone off, so nobody need read it.
 */
static void arm(struct null *null)
{
    uint64_t due = null->first ? null_io_of(null->first)->due_ns : 0;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(due / NS_PER_S), .tv_nsec = (long)(due % NS_PER_S)},
    };

    timerfd_settime(null->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    null->is_armed = null->first != NULL;
}

static struct backend_submitted null_submit(struct backend *backend)
{
    struct null *null = null_of(backend);
    struct backend_submitted submitted = {0};

    if (!null->delay_ns) {
        while (null->first) {
            struct io *io = take_first(null);

            io->result = 0;
            io->done(io);
            submitted.operations++;
        }
    } else if (null->first && !null->is_armed) {
        arm(null);
    }
    return submitted;
}

static unsigned null_reap(struct backend *backend)
{
    struct null *null = null_of(backend);
    unsigned count;

    if (!null->is_armed) {
        return 0;
    }
    count = finish_due(null);
    if (count > 0) {
        arm(null);
    }
    return count;
}

static bool null_is_held_back(const struct backend *backend)
{
    return false;
}

const struct backend_ops backend_null_ops = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .share = null_share,
    .fd = null_fd,
    .queue = null_queue,
    .submit = null_submit,
    .reap = null_reap,
    .is_held_back = null_is_held_back,
};
