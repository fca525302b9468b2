/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a packed ring is made of: for ring_packed.c and ring_packed_log.c alone.
 * Disk thread only.
 */

#include "core/virtio/inflight.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

/* A chain in flight, or held: its copy, and how many descriptors it has. */
struct copied_chain {
    uint16_t head;
    uint16_t last;
    uint16_t count;
};

/* A chain that is done, and that the driver was not shown yet. */
struct pushed_chain {
    uint32_t len;
    uint16_t id;
    struct copied_chain copy;
};

/*
 * Arrays of the ring's size.  They lie behind it, zeroed, and only what is used is ever touched.
 * Where there is a log of requests in flight, copies lie as in that, of its size.
 */
struct ring_copies {
    struct vring_desc *desc;
    uint16_t
        *link; /* of copies that are free, to the next one: how far it is behind the own next */
    struct copied_chain *chain; /* by id */
    struct pushed_chain *pushed;
    unsigned pushed_count;
    uint16_t free;
};

/* Room for so many copies, all free.  0 or -ENOMEM. */
int ring_packed_alloc(struct ring *ring, size_t entries);

/*
 * Go on as the log of requests in flight says.  Returns 1; 0: it was never used, or the ring is
 * broken; or -ENOMEM.
 */
int ring_packed_take_log(struct ring *ring);

/* As links are relative, memory that is all zero is a list of all. */
static inline uint16_t packed_next_free(const struct ring_copies *copies, uint16_t at)
{
    return (uint16_t)(at + 1u + copies->link[at]);
}

static inline bool packed_wrap_at(const struct ring *ring, uint32_t place)
{
    return !(place & ring->layout.size);
}

static inline struct vring_packed_desc *packed_desc_at(const struct ring *ring, uint32_t place)
{
    return &ring->layout.parts.packed[place & (ring->layout.size - 1)];
}

static inline bool packed_is_available(const struct ring *ring, uint32_t place, uint16_t flags)
{
    return (flags & (PACKED_AVAIL | PACKED_USED)) ==
           (packed_wrap_at(ring, place) ? PACKED_AVAIL : PACKED_USED);
}

/* The flags of a descriptor that was used on this way round. */
static inline uint16_t packed_used_flags(const struct ring *ring, uint32_t place)
{
    return packed_wrap_at(ring, place) ? PACKED_AVAIL | PACKED_USED : 0;
}
