/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/disk_used.h"

#include <errno.h>
#include <stdlib.h>

/* Source: VIRTIO 1.2, 2.7.8 "The Virtqueue Used Ring": the index lies behind the flags. */
#define USED_INDEX 2u
#define USED_HEADER 4u

#define AVAIL_FLAG (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_FLAG (1u << VRING_PACKED_DESC_F_USED)

/* ---- split ---- */

static void start_split(struct disk_used *used, const struct ram *ram,
                        const struct virtio_queue *set)
{
    const uint8_t *at = ram_at(ram, set->used, USED_HEADER);

    used->index = at && is_aligned(set->used, 2) ? (const uint16_t *)(at + USED_INDEX) : NULL;
    used->marked = used->index ? load16(used->index) : 0;
}

static bool was_used_split(struct disk_used *used, bool mark)
{
    uint16_t index = load16_acquire(used->index);
    bool was_used = index != used->marked;

    used->marked = mark ? index : used->marked;
    return was_used;
}

/* ---- packed ---- */

/* The two bits that say whose a descriptor is, as they fit into a byte. */
static uint8_t marks_of(const struct disk_used *used, unsigned index)
{
    return (load16_acquire(&used->desc[index].flags) & (AVAIL_FLAG | USED_FLAG)) >> 8;
}

/* Both are the same.  Source: VIRTIO 1.2, 2.8.1 "Driver and Device Ring Wrap Counters". */
static bool is_used(uint8_t marks)
{
    return marks == 0 || marks == (AVAIL_FLAG | USED_FLAG) >> 8;
}

static int start_packed(struct disk_used *used, const struct ram *ram,
                        const struct virtio_queue *set)
{
    used->desc = ram_at(ram, set->desc, (uint64_t)set->size * sizeof(*used->desc));
    if (!used->desc || !is_aligned(set->desc, 2)) {
        used->desc = NULL;
        return 0;
    }
    used->size = set->size;
    used->seen = calloc(set->size, 1);
    if (!used->seen) {
        used->desc = NULL;
        return -ENOMEM;
    }
    (void)disk_used_was(used, true);
    return 0;
}

/* What the driver makes available again is none; when it is used, its marks are others than before.
 */
static bool was_used_packed(struct disk_used *used, bool mark)
{
    bool was_used = false;

    for (unsigned i = 0; i < used->size && (mark || !was_used); i++) {
        uint8_t marks = marks_of(used, i);

        was_used = was_used || (is_used(marks) && marks != used->seen[i]);
        used->seen[i] = mark ? marks : used->seen[i];
    }
    return was_used;
}

/* ---- both ---- */

int disk_used_start(struct disk_used *used, const struct ram *ram, const struct virtio_queue *set,
                    bool is_packed)
{
    disk_used_stop(used);
    if (is_packed) {
        return start_packed(used, ram, set);
    }
    start_split(used, ram, set);
    return 0;
}

void disk_used_stop(struct disk_used *used)
{
    free(used->seen);
    *used = (struct disk_used){.size = 0};
}

bool disk_used_was(struct disk_used *used, bool mark)
{
    if (used->desc) {
        return was_used_packed(used, mark);
    }
    return used->index && was_used_split(used, mark);
}
