/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The driver's side of a virtqueue, split or packed, for whoever has no kernel to do it: boot
 * firmware, the bare-metal test guest, a benchmark, unit tests.  Freestanding: memory is the
 * caller's, and nothing but memcpy and memset is asked of a library.  Owned by its driver; one
 * thread.
 *
 * The device is not trusted: whatever it writes to the memory that it sees, nothing but what the
 * driver knows itself is followed.  What it gives back against the rules breaks the ring.
 *
 * Addresses given to the device are `offset` away from our own pointers (0: the same).
 * Source: VIRTIO 1.2, 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues".
 */

#include <linux/virtio_ring.h>

#include "core/base/base.h"

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

/*
 * What the driver knows of a descriptor, and of the chain that begins there.  Of a packed ring: of
 * the chain that has this id.
 */
struct ring_driver_chain {
    uint16_t next;     /* of its chain, or of those that are free */
    uint16_t count;    /* descriptors; 0: no chain that the device has begins here */
    uint32_t in_bytes; /* that the device may write */
};

struct ring_driver {
    union { /* in memory that the device sees */
        struct vring_desc *desc;
        struct vring_packed_desc *packed;
    };
    union {
        struct vring_avail *avail;
        struct vring_packed_desc_event *driver;
    };
    union {
        struct vring_used *used;
        struct vring_packed_desc_event *device;
    };
    struct ring_driver_chain *chain; /* lent, `size` of them */
    uint64_t offset;                 /* device address - our pointer */
    unsigned size;
    unsigned free_count;
    uint16_t free_head;
    uint16_t avail_idx; /* ours; the device sees it after ring_driver_show */
    uint16_t shown_idx;
    uint16_t kicked_idx; /* the same when the device was kicked last */
    uint16_t wish;       /* of the device, as it was seen last: its avail_event, or its flag */
    uint16_t last_used;  /* next used index to look at */
    struct {
        uint32_t added;  /* descriptors, a count that wraps, and so are the next three */
        uint32_t shown;  /* as far as the device sees them */
        uint32_t kicked; /* the same when the device was kicked last */
        uint32_t taken;
        uint32_t wish;        /* of the device, as it was seen last */
        uint16_t first_flags; /* of the descriptor at `shown`, when it is added */
    } place;                  /* of a packed ring */
    bool is_packed;
    bool has_event_idx;
    bool has_vague_len; /* a legacy device: lengths past the room are cut, and no fault */
    bool wants_interrupts;
    const char *fault; /* how the device broke the ring, for people; NULL: it did not */
};

/* Bytes of memory for a ring of `size` descriptors, itself aligned to `align` or 16. */
size_t ring_driver_bytes(unsigned size, unsigned align);

/*
 * An empty ring in `memory`, which is zeroed.
 *
 * size   a power of two
 * chain  `size` of them, in memory that the device does not see; NULL: without add and take
 */
void ring_driver_init(struct ring_driver *ring, unsigned size, unsigned align, void *memory,
                      uint64_t offset, struct ring_driver_chain *chain);

/* The same of a packed ring, which needs no more memory. */
void ring_driver_init_packed(struct ring_driver *ring, unsigned size, void *memory, uint64_t offset,
                             struct ring_driver_chain *chain);

/* What the device is to be told. */
static inline uint64_t ring_driver_addr(const struct ring_driver *ring, const void *part)
{
    return (uintptr_t)part + ring->offset;
}

/*
 * Chain pieces and put them into the available ring; the device does not see them yet.
 * Returns the head (of a packed ring the id), or -1 when fewer than `count` descriptors are free.
 */
int ring_driver_add(struct ring_driver *ring, const struct ring_piece *pieces, unsigned count);

/*
 * The same with one descriptor for the whole chain: the rest stands in `table`, which has
 * `count` entries, is in memory that the device sees, and is the ring's until the chain is back.
 * Only where the device has VIRTIO_RING_F_INDIRECT_DESC.
 */
int ring_driver_add_indirect(struct ring_driver *ring, struct vring_desc *table,
                             const struct ring_piece *pieces, unsigned count);

/*
 * Let the device see all that was added.  Returns true when it wants a kick for that.
 *
 * With nothing new it is a second look, for whoever is about to wait: has the device's wish changed
 * since, and is there something that it was not kicked for?  Where there are no barriers, as
 * in a guest with one processor that QEMU translates, each side may have missed what the other
 * wrote.
 */
bool ring_driver_show(struct ring_driver *ring);

/*
 * Take back the next chain that the device is done with: its head, and the bytes written, no more
 * than the chain has room for.  Returns false when there is none, or when the ring is broken.
 */
bool ring_driver_take(struct ring_driver *ring, uint16_t *head, uint32_t *len);

/*
 * Ask for interrupts, or for none.  Returns true when there is something to take: with
 * interrupts just asked for, nobody may come for that.
 */
bool ring_driver_interrupts(struct ring_driver *ring, bool on);

/*
 * The same of a packed ring: called by those above, and by nobody else.  `in_bytes` is what the
 * device may write.
 */
int ring_driver_packed_add(struct ring_driver *ring, const struct ring_piece *pieces,
                           unsigned count, uint32_t in_bytes);
int ring_driver_packed_add_indirect(struct ring_driver *ring, struct vring_desc *table,
                                    const struct ring_piece *pieces, unsigned count,
                                    uint32_t in_bytes);
bool ring_driver_packed_show(struct ring_driver *ring);
bool ring_driver_packed_take(struct ring_driver *ring, uint16_t *id, uint32_t *len);
bool ring_driver_packed_interrupts(struct ring_driver *ring, bool on);
