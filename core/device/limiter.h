/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Limits (rates.h) of a disk, or of a group of disks that share them: the throttle of each of them.
 *
 * There is a bucket for each rate, and one for each burst.  What may go is decided by the buckets;
 * who goes, where several could, by what each had so far: nobody is further ahead of one that could
 * go as well than LIMIT_AHEAD_NS, and what is spare, first among the disks of a group, and then
 * among a disk's rings and directions: in a burst, while there is room for all, nobody waits for
 * others.  One that does not come when its time has, is not waited for for long, as its thread may
 * be in a system call.
 *
 * A group is as long as it has members; what it is set to holds for all of them.
 * Owned by its members, which are their disks'.  Thread: any, under the limiter's lock, which
 * nobody holds for longer than this takes.
 */

#include "core/device/rates.h"
#include "core/device/throttle.h"
#include "core/virtio/blk_opts.h"

#define LIMIT_GROUP_BYTES 64

/* Ahead of who waits by so much of a limit's time, or by one request. */
#define LIMIT_AHEAD_NS 4000000ull

/* Who had less than others has no more than so much to catch up. */
#define LIMIT_BEHIND_NS 100000000ull

/* Who does not come for so long after its time is no longer waited for. */
#define LIMIT_LATE_NS 20000000ull

/* Who lets others go first asks again after so long. */
#define LIMIT_AGAIN_NS 1000000ull

struct limiter;

/* Somebody who has a part of a limit. */
struct limit_share {
    uint64_t had_ns; /* of the limit's time */
    uint64_t due_ns; /* while it waits: from when on it could go */
};

/* A disk's place in it.  `throttle` is what its device is lent. */
struct limit_member {
    struct throttle throttle;
    struct limiter *limiter;   /* NULL: it has not joined */
    struct limit_member *next; /* of the limiter */

    /* Another member has set what holds for all.  Quick, and under the lock.  Thread: any. */
    void (*changed)(struct limit_member *member);
    void *arg; /* its */

    /* Under the lock. */
    uint64_t most_ns;                  /* that a ring of it had */
    uint64_t waiting[RATE_DIRECTIONS]; /* rings; bit = index */
    struct limit_share share[RATE_DIRECTIONS];
    struct limit_share ring[BLK_MAX_QUEUES][RATE_DIRECTIONS];
};

/*
 * Join the group, or, with "", be one's own.  A group that is there keeps the rates that it has,
 * a new one begins with `rates`.  Nothing of the member is set before.  Returns 0 or -ENOMEM.
 */
int limit_join(struct limit_member *member, const char *group, const struct rates *rates,
               void (*changed)(struct limit_member *member), void *arg);

/* No lane has the throttle any more.  One that has not joined may leave. */
void limit_leave(struct limit_member *member);

/* What holds now.  Nothing, of one that has not joined. */
void limit_rates(const struct limit_member *member, struct rates *rates);

/* The same of a group.  Returns false when nobody is in it. */
bool limit_group_rates(const char *group, struct rates *rates);

/*
 * From now on `to` holds, if `from` does; the others are told.  Returns false when it is something
 * else by now, and nothing was set.
 */
bool limit_set(struct limit_member *member, const struct rates *from, const struct rates *to,
               uint64_t now_ns);
