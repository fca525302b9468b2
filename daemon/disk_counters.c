/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_counters.h"

#define COUNTER(name, member)                                                                   \
    {                                                                                           \
        name, .type = PARAM_INTEGER, .offset = offsetof(struct stats, member), .max = INT64_MAX \
    }
#define REQUESTS(name, of)                                                                \
    COUNTER(name "_requests", type[of].requests), COUNTER(name "_bytes", type[of].bytes), \
        COUNTER(name "_errors", type[of].errors), COUNTER(name "_time_ns", type[of].time_ns)

const struct param disk_counters_params[] = {
    REQUESTS("read", STATS_READ),
    REQUESTS("write", STATS_WRITE),
    REQUESTS("flush", STATS_FLUSH),
    REQUESTS("discard", STATS_DISCARD),
    REQUESTS("zeroes", STATS_ZEROES),
    REQUESTS("other", STATS_OTHER),
    COUNTER("invalid", invalid),
    COUNTER("inflight_max", inflight_max),
    COUNTER("throttled_requests", throttled_requests),
    COUNTER("throttled_ns", throttled_ns),
    COUNTER("kicks", kicks),
    COUNTER("interrupts", interrupts),
    COUNTER("interrupts_suppressed", interrupts_suppressed),
    COUNTER("late_interrupts", late_interrupts),
    COUNTER("poll_hits", poll_hits),
    COUNTER("poll_misses", poll_misses),
    COUNTER("poll_time_ns", poll_time_ns),
    COUNTER("submissions", submissions),
    COUNTER("submitted", submitted),
    COUNTER("merged", merged),
    COUNTER("bounced", bounced),
    COUNTER("turned", turned),
    COUNTER("ignored", ignored),
    COUNTER("freed", freed),
    {NULL},
};

void disk_counters_keep(struct stats *kept, const struct stats *stats)
{
    *kept = *stats;
    kept->inflight = 0;
    kept->held = 0;
    kept->throttled = 0;
}
