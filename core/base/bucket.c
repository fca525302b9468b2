/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/bucket.h"

/* Far beyond any use, and two of them can be added. */
#define BUCKET_MAX_NS (UINT64_MAX / 4)

void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t scale, uint64_t room_ns,
                uint64_t now_ns)
{
    bucket->rate = rate;
    bucket->scale = scale;
    bucket->room_ns = min_of(room_ns, BUCKET_MAX_NS);
    bucket->empty_ns = rate ? min_of(bucket->empty_ns, now_ns + bucket->room_ns) : 0;
    bucket->carry = 0;
}

uint64_t bucket_put(struct bucket *bucket, uint64_t parts, uint64_t now_ns)
{
    bucket_wide each = (bucket_wide)bucket->rate * bucket->scale;
    bucket_wide whole;
    uint64_t lasts_ns;

    if (each == 0) {
        return 0;
    }
    if (bucket->empty_ns < now_ns) {
        bucket->empty_ns = now_ns;
        bucket->carry = 0;
    }
    whole = (bucket_wide)parts * NS_PER_S + bucket->carry;
    bucket->carry = whole % each;
    whole /= each;
    lasts_ns = (uint64_t)min_of(whole, (bucket_wide)BUCKET_MAX_NS);
    bucket->empty_ns = min_of(bucket->empty_ns + lasts_ns, 2 * BUCKET_MAX_NS);
    return lasts_ns;
}
