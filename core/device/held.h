/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is known of requests that failed and are held since they were tried last: a ring keeps
 * nothing of them but their names.  Part of a queue, whose lane's thread counts.
 */

#include "core/base/stats.h"

struct held_failure {
    int code; /* -errno, 0: none has failed */
    enum stats_type kind;
    unsigned ring;
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes */
    uint64_t since_ns;
};

struct held {
    unsigned count[STATS_TYPES];
    bool pauses; /* one of them has its disk paused */
    struct held_failure first;
};
