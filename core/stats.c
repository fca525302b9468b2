/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/stats.h"

const char *stats_type_name(enum stats_type type)
{
    static const char *const names[STATS_TYPES] = {
        [STATS_READ] = "read",       [STATS_WRITE] = "write", [STATS_FLUSH] = "flush",
        [STATS_DISCARD] = "discard", [STATS_OTHER] = "other",
    };

    return names[type];
}
