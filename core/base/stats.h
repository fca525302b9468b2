/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a disk has done since it was added.  Plain counters of the thread that does it; others
 * get a copy by message.  Times are nanoseconds from the pop of a request to its answer.
 */

#include "core/base/base.h"

enum stats_type {
    STATS_READ,
    STATS_WRITE,
    STATS_FLUSH,
    STATS_DISCARD,
    STATS_ZEROES,
    STATS_OTHER,
    STATS_TYPES,
};

struct stats_requests {
    uint64_t requests; /* answered, failed ones included */
    uint64_t bytes;    /* of those that succeeded */
    uint64_t errors;   /* answered with anything but OK */
    uint64_t time_ns;
};

struct stats {
    struct stats_requests type[STATS_TYPES];
    uint64_t invalid;  /* of the errors: refused before they reached the image */
    uint64_t inflight; /* taken and not yet answered */
    uint64_t inflight_max;
    uint64_t held;                  /* now; failed, and not answered before the disk is started */
    uint64_t throttled;             /* now: requests that wait for a limit, of a ring the first */
    uint64_t throttled_requests;    /* that had to wait for a limit */
    uint64_t throttled_ns;          /* that those waited, one after the other */
    uint64_t kicks;                 /* notifications read from kick fds */
    uint64_t interrupts;            /* call fds signalled */
    uint64_t interrupts_suppressed; /* batches published that the driver need not be told of */
    uint64_t late_interrupts;       /* of the interrupts: asked for after the batch was published */
    uint64_t poll_hits;             /* spins that found work */
    uint64_t poll_misses;           /* spins that found none */
    uint64_t poll_time_ns;          /* spent in spins */
    uint64_t submissions;           /* system calls that started I/O */
    uint64_t submitted;             /* operations that those started */
    uint64_t merged;                /* requests that went along with a neighbour's operation */
    uint64_t bounced;               /* of the operations: through huge pages of ours */
    uint64_t turned;                /* of the writes: into zeroings, as their data were zeroes */
    uint64_t ignored;               /* failures that the guest was not told of, as was asked for */
    uint64_t freed;                 /* bytes that discards and zeroes gave the file system back */
};

/* Counters of two threads together.  inflight_max: at most as many were in flight at once. */
void stats_add(struct stats *sum, const struct stats *stats);

/* Requests of all types that were answered. */
static inline uint64_t stats_finished(const struct stats *stats)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < STATS_TYPES; i++) {
        count += stats->type[i].requests;
    }
    return count;
}

const char *stats_type_name(enum stats_type type);
