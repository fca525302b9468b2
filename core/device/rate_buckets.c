/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/rate_buckets.h"

/* Without a burst a tenth of a second's worth may go at once, and so of a burst. */
#define ROOM_NS (NS_PER_S / 10)

/* Source: QEMU, docs/throttle.txt, "The leaky bucket algorithm". */
static uint64_t average_room_ns(const struct rate *rate)
{
    bucket_wide ns;

    if (rate->burst == 0) {
        return ROOM_NS;
    }
    ns = (bucket_wide)rate->burst * (uint64_t)rate->seconds * NS_PER_S / (uint64_t)rate->average;
    return (uint64_t)min_of(ns, (bucket_wide)UINT64_MAX);
}

void rate_buckets_set(struct rate_buckets *buckets, const struct rates *rates, uint64_t now)
{
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        const struct rate *rate = &rates->of[i];
        uint64_t scale = i < RATE_BPS && rates->iops_size > 0 ? (uint64_t)rates->iops_size : 1;
        bool is_long = rate->average > 0 && rate->seconds > 1;

        bucket_set(&buckets->average[i], (uint64_t)rate->average, scale,
                   rate->average > 0 ? average_room_ns(rate) : 0, now);
        bucket_set(&buckets->burst[i], is_long ? (uint64_t)rate->burst : 0, scale, ROOM_NS, now);
    }
    buckets->rates = *rates;
    buckets->is_by_direction = rates_has_direction(rates);
}

/* Does the rate hold for what goes this way? */
static bool holds_for(enum rate_kind kind, enum rate_direction direction)
{
    return kind % RATE_BPS == 0 || kind % RATE_BPS == 1 + (unsigned)direction;
}

/* What nobody has taken, of what may go at once. */
static uint64_t slack_ns(const struct bucket *bucket, uint64_t now)
{
    uint64_t opens_ns = bucket_opens_ns(bucket);

    return opens_ns < now ? min_of(now - opens_ns, bucket->room_ns) : 0;
}

/* In a burst its own bucket is what is short, and leaks so much faster. */
static uint64_t spare_ns(const struct bucket *average, const struct bucket *burst, uint64_t now)
{
    uint64_t slack = slack_ns(average, now);
    bucket_wide most_ns = slack_ns(burst, now) + RATE_TURN_NS;

    return burst->rate > 0
               ? (uint64_t)min_of(most_ns * burst->rate / average->rate, (bucket_wide)slack)
               : slack;
}

static uint64_t larger_of(uint64_t one_ns, uint64_t other_ns)
{
    return one_ns > other_ns ? one_ns : other_ns;
}

void rate_buckets_look(const struct rate_buckets *buckets, enum rate_direction direction,
                       uint64_t now, struct rate_opening *opening)
{
    *opening = (struct rate_opening){.spare_ns = UINT64_MAX / 2};
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        const struct bucket *average = &buckets->average[i];
        const struct bucket *burst = &buckets->burst[i];

        if (average->rate > 0 && holds_for(i, direction)) {
            opening->is_limited = true;
            opening->ns = larger_of(opening->ns, bucket_opens_ns(average));
            opening->ns = larger_of(opening->ns, bucket_opens_ns(burst));
            opening->spare_ns = min_of(spare_ns(average, burst, now), opening->spare_ns);
        }
    }
}

/* Into a bucket of requests, or of bytes.  A larger one than `iops_size` is several. */
static uint64_t parts_of(const struct rate_buckets *buckets, enum rate_kind kind, uint64_t bytes)
{
    uint64_t size = (uint64_t)buckets->rates.iops_size;

    if (kind >= RATE_BPS) {
        return bytes;
    }
    return size == 0 ? 1 : bytes > size ? bytes : size;
}

uint64_t rate_buckets_put(struct rate_buckets *buckets, enum rate_direction direction,
                          uint64_t bytes, uint64_t now)
{
    uint64_t most_ns = 0;

    for (unsigned i = 0; i < RATE_KINDS; i++) {
        if (buckets->average[i].rate > 0 && holds_for(i, direction)) {
            uint64_t parts = parts_of(buckets, i, bytes);
            uint64_t lasts_ns = bucket_put(&buckets->average[i], parts, now);

            (void)bucket_put(&buckets->burst[i], parts, now);
            most_ns = larger_of(most_ns, lasts_ns);
        }
    }
    return most_ns;
}
