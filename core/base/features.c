/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/features.h"

#include <inttypes.h>
#include <stdio.h>

/* By number, as headers of old lack some.  Source: VIRTIO 1.2, 5.2.3 and 6 "Reserved Feature Bits".
 */
static const char *const names[64] = {
    [0] = "barrier",
    [1] = "size_max",
    [2] = "seg_max",
    [4] = "geometry",
    [5] = "ro",
    [6] = "blk_size",
    [7] = "scsi",
    [9] = "flush",
    [10] = "topology",
    [11] = "config_wce",
    [12] = "mq",
    [13] = "discard",
    [14] = "write_zeroes",
    [15] = "lifetime",
    [16] = "secure_erase",
    [17] = "zoned",
    [24] = "notify_on_empty",
    [27] = "any_layout",
    [28] = "indirect_desc",
    [29] = "event_idx",
    [32] = "version_1",
    [33] = "access_platform",
    [34] = "ring_packed",
    [35] = "in_order",
    [36] = "order_platform",
    [37] = "sr_iov",
    [38] = "notification_data",
    [40] = "ring_reset",
};

const char *feature_name(unsigned bit)
{
    return bit < ARRAY_SIZE(names) ? names[bit] : NULL;
}

const char *features_say(uint64_t features, char text[FEATURES_TEXT_BYTES])
{
    size_t used = (size_t)snprintf(text, FEATURES_TEXT_BYTES, "0x%" PRIx64, features);
    const char *before = " (";

    for (unsigned bit = 0; bit < ARRAY_SIZE(names) && used < FEATURES_TEXT_BYTES; bit++) {
        if ((features >> bit & 1) && names[bit]) {
            used += (size_t)snprintf(text + used, FEATURES_TEXT_BYTES - used, "%s%s", before,
                                     names[bit]);
            before = ", ";
        }
    }
    if (before[0] == ',' && used < FEATURES_TEXT_BYTES) {
        (void)snprintf(text + used, FEATURES_TEXT_BYTES - used, ")");
    }
    return text;
}
