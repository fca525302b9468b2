/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/stats.h"

_Static_assert(sizeof(struct stats) % sizeof(uint64_t) == 0, "counters and nothing else");

void stats_add(struct stats *sum, const struct stats *stats)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)stats;

    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++) {
        to[i] += from[i];
    }
}

const char *stats_type_name(enum stats_type type)
{
    static const char *const names[STATS_TYPES] = {
        [STATS_READ] = "read",       [STATS_WRITE] = "write",         [STATS_FLUSH] = "flush",
        [STATS_DISCARD] = "discard", [STATS_ZEROES] = "write_zeroes", [STATS_OTHER] = "other",
    };

    return names[type];
}
