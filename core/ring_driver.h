/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The driver's side of a split virtqueue, for whoever has no kernel to do it: boot firmware,
 * the bare-metal test guest, a benchmark, unit tests.  Freestanding: memory is the caller's, and
 * nothing but memcpy and memset is asked of a library.  Owned by its driver; one thread.
 *
 * Addresses given to the device are `offset` away from our own pointers (0: the same).
 * Source: VIRTIO 1.2, 2.7 "Split Virtqueues".
 */

#include <linux/virtio_ring.h>

#include "core/base.h"

/*
 * Where the used part begins: next to the others, or as legacy devices compute it.
 * Source: VIRTIO 1.2, 2.7 "Split Virtqueues"; 2.7.2 "Legacy Interfaces: A Note on Virtqueue
 * Layout".
 */
#define RING_DRIVER_MODERN_ALIGN 4u
#define RING_DRIVER_LEGACY_ALIGN 4096u

/* One piece of a chain; the pieces that the device reads come first. */
struct ring_piece {
    void *data;
    uint32_t len;
    bool is_in; /* the device writes it */
};

struct ring_driver {
    struct vring_desc *desc; /* in memory that the device sees */
    struct vring_avail *avail;
    struct vring_used *used;
    uint64_t offset; /* device address - our pointer */
    unsigned size;
    unsigned free_count;
    uint16_t free_head; /* free descriptors hang together by `next` */
    uint16_t avail_idx; /* ours; the device sees it after ring_driver_show */
    uint16_t shown_idx;
    uint16_t last_used; /* next used index to look at */
    bool has_event_idx;
    bool wants_interrupts;
    bool is_broken; /* the device gave back what it never had */
};

/* Bytes of memory for a ring of `size` descriptors, itself aligned to `align` or 16. */
size_t ring_driver_bytes(unsigned size, unsigned align);

/* An empty ring in `memory`, which is zeroed.  `size` is a power of two. */
void ring_driver_init(struct ring_driver *ring, unsigned size, unsigned align, void *memory,
                      uint64_t offset);

/* What the device is to be told. */
static inline uint64_t ring_driver_addr(const struct ring_driver *ring, const void *part)
{
    return (uintptr_t)part + ring->offset;
}

/*
 * Chain pieces and put them into the available ring; the device does not see them yet.
 * Returns the head, or -1 when fewer than `count` descriptors are free.
 */
int ring_driver_add(struct ring_driver *ring, const struct ring_piece *pieces, unsigned count);

/*
 * The same with one descriptor for the whole chain: the rest stands in `table`, which has
 * `count` entries, is in memory that the device sees, and is the ring's until the chain is back.
 * Only where the device has VIRTIO_RING_F_INDIRECT_DESC.
 */
int ring_driver_add_indirect(struct ring_driver *ring, struct vring_desc *table,
                             const struct ring_piece *pieces, unsigned count);

/* Let the device see all that was added.  Returns true when it wants a kick for that. */
bool ring_driver_show(struct ring_driver *ring);

/*
 * Take back the next chain that the device is done with: its head, and the bytes written.
 * Returns false when there is none, or when the ring is broken.
 */
bool ring_driver_take(struct ring_driver *ring, uint16_t *head, uint32_t *len);

/*
 * Ask for interrupts, or for none.  Returns true when there is something to take: with
 * interrupts just asked for, nobody may come for that.
 */
bool ring_driver_interrupts(struct ring_driver *ring, bool on);
