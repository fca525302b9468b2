/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How fast a disk may go, as people say it: requests and bytes a second, for all of them or by
 * direction, and for how long more than that.  Plain values.
 * Source: QEMU, docs/throttle.txt.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/* Of a request: what stores something, or gives it back, is a write. */
enum rate_direction { RATE_READS, RATE_WRITES, RATE_DIRECTIONS };

enum rate_kind {
    RATE_IOPS,
    RATE_IOPS_READ,
    RATE_IOPS_WRITE,
    RATE_BPS,
    RATE_BPS_READ,
    RATE_BPS_WRITE,
    RATE_KINDS,
};

/* What a second may have at most; so a burst of as many seconds fits into 64 bits. */
#define RATE_MAX 1000000000000000ll

/* Requests are no larger, so neither is a size by which they are counted. */
#define RATE_SIZE_MAX (1ll << 32)

struct rate {
    int64_t average; /* a second, 0: no limit */
    int64_t burst;   /* a second, 0: a tenth of a second's worth may go at once */
    int64_t seconds; /* of such a burst, from 1 on */
};

struct rates {
    struct rate of[RATE_KINDS];
    int64_t iops_size; /* bytes; what is larger counts as several, 0: each as one */
};

/* Is anything limited? */
bool rates_has_any(const struct rates *rates);

/* Is anything limited by direction?  Else whatever is next has to wait. */
bool rates_has_direction(const struct rates *rates);

bool rates_same(const struct rates *left, const struct rates *right);

/* What does not go together, by the names of disk.set.  Returns 0 or -EINVAL. */
int rates_check(const struct rates *rates, struct err *err);
