/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Discards and zeroes of one path, on a helper thread: no asynchronous call does them without
 * blocking.  It comes with the first of them and stays until the path goes.  Those that are there
 * take turns, a piece at a time, so that a small one does not wait for a long one.
 *
 * `waiting`, `results`, `freed` and `is_ending` are under the lock, `has_results` beside it tells
 * the path's thread without one.  All else is the path's thread's.
 * Owned by its path.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "core/block/retry.h"
#include "core/block/wipe.h"

struct context;
struct cpus;

struct wiper {
    const struct context *context; /* lent: the path's */
    int event_fd;                  /* lent: the engine's, of which the lane is woken */
    bool has_thread;
    unsigned inflight;      /* that the helper has, or has done */
    struct io_list pending; /* to be given to it */
    struct io_list taken;   /* done, and not yet told */
    struct retry retry;     /* a thread that cannot be had, and what the kernel had no room for */
    struct wipe wipe;       /* the helper's */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct io_list waiting;
    struct io_list results; /* io->result is what came of it, 0 or -errno */
    uint64_t freed;         /* bytes, since they were last taken */
    bool is_ending;
    /* Stored under the lock.  Its partner is the load in wiper_reap, which takes the lock next. */
    _Atomic bool has_results;
};

/* All are lent. */
void wiper_init(struct wiper *wiper, const struct image_file *image, const struct context *context,
                int event_fd);

/* Nothing is in flight. */
void wiper_fini(struct wiper *wiper);

/* Take an IO_DISCARD or IO_ZERO, for the next submit. */
void wiper_start(struct wiper *wiper, struct io *io);

/* Give them to the helper. */
void wiper_submit(struct wiper *wiper);

/*
 * One that has ended, NULL: none.  Its result is set; file_io->has_synced: it is that of a sync.
 * `*freed` grows by what was given back to the file system.
 */
struct io *wiper_reap(struct wiper *wiper, uint64_t *freed);

/* Its helper runs on these from now on, if there is one; a new one runs where its starter does. */
void wiper_use_cpus(const struct wiper *wiper, const struct cpus *cpus);

/* Is there anything that may have ended? */
static inline bool wiper_is_busy(const struct wiper *wiper)
{
    return wiper->inflight > 0 || wiper->taken.first;
}

/* Has it anything that nobody will signal? */
static inline bool wiper_must_look(const struct wiper *wiper)
{
    return retry_is_waiting(&wiper->retry);
}
