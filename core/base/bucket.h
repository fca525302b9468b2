/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A leaky bucket, told by the time when it will be empty: what is put into it moves that on by as
 * long as it takes to leak, and it is full when that is further ahead than its room.  So time
 * passes by itself, and nothing is rounded: what does not fill a nanosecond is carried over.
 * Times are monotonic, in nanoseconds, and need not come in order.
 * Owned by the one who limits; whoever has its lock.
 */

#include "core/base/base.h"

__extension__ typedef unsigned __int128 bucket_wide;

struct bucket {
    uint64_t rate;    /* amounts a second, 0: there is no limit */
    uint64_t scale;   /* parts of an amount, 1: it is whole */
    uint64_t room_ns; /* until it is full */
    uint64_t empty_ns;
    bucket_wide carry; /* parts of a nanosecond, in rate * scale */
};

/*
 * It leaks so much from now on.  What is in it stays, but for what would be more than full: who has
 * waited for a slow limit need not wait for its debts under a faster one.
 *
 * rate  up to 10^15; scale up to 2^32
 */
void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t scale, uint64_t room_ns,
                uint64_t now_ns);

/* Put `parts` of amounts into it, up to 2^33.  Returns how long that takes to leak. */
uint64_t bucket_put(struct bucket *bucket, uint64_t parts, uint64_t now_ns);

/* From when on is it not overfull? */
static inline uint64_t bucket_opens_ns(const struct bucket *bucket)
{
    return bucket->empty_ns > bucket->room_ns ? bucket->empty_ns - bucket->room_ns : 0;
}
