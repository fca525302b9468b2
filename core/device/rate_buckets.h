/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Buckets for rates (rates.h), one for each and one for each burst: when there is room.
 * Thread: whoever has the lock of what they belong to.
 */

#include "core/base/bucket.h"
#include "core/device/rates.h"

/* Of a burst somebody may have so much before others have their turn. */
#define RATE_TURN_NS 4000000ull

struct rate_buckets {
    struct rates rates;
    struct bucket average[RATE_KINDS];
    struct bucket burst[RATE_KINDS]; /* of bursts that last longer than a second */
    bool is_by_direction;
};

/* When there is room for what goes one way. */
struct rate_opening {
    bool is_limited;
    uint64_t ns;
    uint64_t spare_ns; /* of the limit's time: nobody has taken it, and all may at once */
};

/* From now on `rates` hold.  What is in the buckets stays (bucket_set). */
void rate_buckets_set(struct rate_buckets *buckets, const struct rates *rates, uint64_t now);

void rate_buckets_look(const struct rate_buckets *buckets, enum rate_direction direction,
                       uint64_t now, struct rate_opening *opening);

/* A request of so many bytes, 0 included.  Returns how much of the limit's time that is. */
uint64_t rate_buckets_put(struct rate_buckets *buckets, enum rate_direction direction,
                          uint64_t bytes, uint64_t now);
