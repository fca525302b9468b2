/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The device's side of a split virtqueue (VIRTIO 1.2, 2.7 "Split Virtqueues"), modern or
 * legacy: on a little-endian host they differ only in how the driver places the parts.
 *
 * A ring owns an array of slots, one for each descriptor; a request lives in the slot of
 * its head from ring_pop to ring_push.  Disk thread only.  Guest memory is lent by `mem`
 * until ring_stop.
 */

#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "core/base.h"
#include "core/err.h"
#include "core/mem.h"

/* Largest ring we serve, and longest chain that we walk (QEMU's limits as well). */
#define RING_MAX_SIZE 1024

/*
 * A popped descriptor chain: the readable pieces, then the writable ones.
 * First member of a slot; valid from ring_pop to ring_push.
 */
struct chain {
    struct iovec *iov; /* the slot's own array */
    uint64_t out_bytes;
    uint64_t in_bytes;
    uint8_t *last_in;  /* the last device-writable byte, NULL: none, or outside memory */
    const char *fault; /* why the chain cannot be served, NULL: well-formed */
    unsigned out_count;
    unsigned in_count;
    uint16_t head;
    bool is_busy;
};

struct ring_layout {
    unsigned size; /* power of two, at most RING_MAX_SIZE */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t last_avail; /* next available index to serve */
    bool has_event_idx;
    bool has_indirect;
    size_t slot_size; /* bytes of a slot, struct chain included */
    unsigned iov_max; /* pieces that a chain may have */
};

struct ring {
    struct ring_layout layout;
    struct mem *mem; /* lent by the device */
    uint8_t *slots;  /* owned; the pieces of all slots follow them in the same mapping */
    size_t slots_bytes;
    struct iovec *iov;
    size_t stride;
    unsigned inflight;
    uint16_t avail_idx; /* the driver's index when it was last read */
    uint16_t last_avail;
    uint16_t used_idx;      /* private; the guest's copy is only ever written */
    uint16_t published_idx; /* what the guest has seen */
    bool must_signal;       /* tell the driver at the next publish whatever it asked */
    bool is_started;
    bool is_broken;
    const char *fault; /* why it is broken */
};

/* The bytes of each part of a ring, for whoever checks that they lie in guest memory. */
static inline size_t ring_desc_bytes(unsigned size)
{
    return sizeof(struct vring_desc) * size;
}

static inline size_t ring_avail_bytes(unsigned size)
{
    return 2u * (3u + size); /* flags, idx, ring, used_event */
}

static inline size_t ring_used_bytes(unsigned size)
{
    return 2u * 3u + sizeof(struct vring_used_elem) * size; /* flags, idx, ring, avail_event */
}

/*
 * Take over a ring.  The three parts must lie wholly in `mem`.  Allocates the slots.
 * Returns 0 or -ENOMEM.
 */
int ring_start(struct ring *ring, const struct ring_layout *layout, struct mem *mem);

/* Nothing may be in flight.  Frees the slots; `last_avail` stays readable. */
void ring_stop(struct ring *ring);

/* The parts were mapped anew at other addresses (the memory table changed). */
void ring_relocate(struct ring *ring, struct vring_desc *desc, struct vring_avail *avail,
                   struct vring_used *used);

/*
 * Take the next chain.  Returns 1 with `*chain`, 0 when there is none, -EPROTO when the
 * driver broke the ring (sticky; `ring->fault` says how).
 * A chain with `fault` set was taken all the same and must be answered or break the ring.
 */
int ring_pop(struct ring *ring, struct chain **chain);

/* Give up on the ring: `fault` is a constant text. */
void ring_break(struct ring *ring, const char *fault);

/* How many chains there are to pop, by the word of the driver: it may be any number. */
static inline unsigned ring_available(const struct ring *ring)
{
    return (uint16_t)(load16(&ring->layout.avail->idx) - ring->last_avail);
}

/* Ask the driver not to kick (a hint, it may). */
void ring_kicks_off(struct ring *ring);

/*
 * Ask for kicks again.  Returns true when chains arrived meanwhile: the caller must go on
 * popping, for nobody will kick for those.
 * Source: VIRTIO 1.2, 2.7.10 "Available Buffer Notification Suppression".
 */
bool ring_kicks_on(struct ring *ring);

/* Give a chain back with `len` bytes written.  The driver sees it at the next publish. */
void ring_push(struct ring *ring, struct chain *chain, uint32_t len);

/* Let go of a chain that cannot be answered: the ring is broken. */
void ring_drop(struct ring *ring, struct chain *chain);

/* Is something pushed that the driver has not been shown? */
static inline bool ring_has_unpublished(const struct ring *ring)
{
    return ring->used_idx != ring->published_idx;
}

/*
 * Hand finished chains to the driver: one store for the whole batch.
 * Returns true when the driver asked to be told (the caller signals the call fd).
 * Source: VIRTIO 1.2, 2.7.8 "The Virtqueue Used Ring", 2.7.7 "Used Buffer Notification
 * Suppression".
 */
bool ring_publish(struct ring *ring);

/* Slot of `head` (< size): for walks over what is in flight. */
static inline struct chain *ring_slot(const struct ring *ring, unsigned head)
{
    return (struct chain *)(ring->slots + ring->stride * head);
}
