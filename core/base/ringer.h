/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A thread that signals front-ends, and is kicked, by fds that they share with us.  These never
 * make it wait, unless a front-end takes O_NONBLOCK from the file, which is one for both, and fills
 * its counter (or empties it): then somebody who looks from time to time ends that wait by a
 * signal.
 *
 * Words shared between threads: ringer.calls, which the ringer's thread counts up before and after
 * each system call, so that it is odd meanwhile, and ringers_watch loads; all relaxed, as nothing
 * else depends on them.  The list is under a lock, taken when threads start and end.
 */

#include <stdatomic.h>
#include <sys/types.h>

#include "core/base/base.h"

struct ringer {
    struct ringer *next;
    pid_t tid;
    unsigned seen;          /* the watcher's: `calls` when it last looked */
    _Atomic unsigned calls; /* odd: one is under way */
};

/* Once, process-wide, before any ringer.  Takes SIGURG. */
void ringers_install(void);

/* The calling thread rings, until ringer_stop on the same thread. */
void ringer_start(struct ringer *ringer);
void ringer_stop(struct ringer *ringer);

/*
 * Signal a front-end by its fd, -1: none.  No more than one system call.
 * Returns false when it had to be ended from outside: the fd is to be given up.
 */
bool ringer_signal(int fd);

/* Take what kicks have left: as read(2) of 8 bytes.  -EINTR: it had to be ended, as above. */
ssize_t ringer_read(int fd);

/* As read(2) and write(2) of up to `len` bytes, or -errno; -EINTR as above. */
ssize_t ringer_take(int fd, void *to, size_t len);
ssize_t ringer_write(int fd, const void *from, size_t len);

/* End the calls that are under way since the last call.  Returns how many. */
unsigned ringers_watch(void);
