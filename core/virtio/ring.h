/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The device's side of a virtqueue, split (VIRTIO 1.2, 2.7 "Split Virtqueues") or packed (2.8
 * "Packed Virtqueues").  A split one may be modern or legacy: on a little-endian host they differ
 * only in how the driver places the parts.
 *
 * A ring owns slots, as many as it has descriptors; a request lives in one from ring_pop to
 * ring_push.  Which names are in flight stands in a bitmap, so that what a ring costs grows with
 * the requests that were in flight at once and not with its size.  Disk thread only.  Guest
 * memory is lent by `mem` until ring_stop.
 *
 * A request that has to wait for longer than any drain may take is held: it gives up its slot, and
 * of it nothing is left but the driver's name for it.  It is not in flight, so memory may change
 * meanwhile and the ring may move; it is gathered anew when it is tried again.
 */

#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/virtio/layout.h"
#include "core/virtio/mem.h"
#include "core/base/slots.h"

/* Largest ring that there is.  Source: VIRTIO 1.2, 2.7 "Split Virtqueues", 2.8 likewise. */
#define RING_MAX_SIZE 32768

/*
 * Descriptors of a chain that we follow.  A chain by an indirect table may be longer than its ring,
 * whatever VIRTIO 1.2, 2.7.5.3.1 says: Windows' viostor makes such, and QEMU serves them.  Proofs
 * have fewer, and of pieces as well.
 */
#ifndef RING_MAX_CHAIN
#define RING_MAX_CHAIN 2048u
#endif

/*
 * Pieces of a chain that we serve: 1024 of data, as QEMU does (VIRTQUEUE_MAX_SIZE), and room for
 * header, status and the edges of memory regions.  With the link, five pages.
 */
#ifndef RING_MAX_IOVS
#define RING_MAX_IOVS 1279u
#endif

/* The pieces of a chain that has more than its slot has room for.  Of slots of their own. */
struct ring_array {
    struct slot slot;   /* first */
    struct slots *from; /* lent: where it goes back to */
    struct iovec iov[RING_MAX_IOVS];
};

/*
 * A popped descriptor chain: the readable pieces, then the writable ones.
 * First member of a slot; valid from ring_pop to ring_push.
 */
struct chain {
    struct slot slot;  /* first: of the ring's slots */
    struct iovec *iov; /* behind the request in the slot, or in a ring_array */
    uint64_t out_bytes;
    uint64_t in_bytes;
    uint8_t *last_in;      /* the last device-writable byte, NULL: none, or outside memory */
    uint64_t last_in_addr; /* the guest's, of one that was not looked up */
    const char *fault;     /* why the chain cannot be served, NULL: well-formed */
    unsigned out_count;
    unsigned in_count;
    uint16_t id;   /* what the driver knows it by: its head, or of a packed ring its buffer id */
    uint16_t room; /* of iov */
    bool is_long;  /* iov is a ring_array's */
    bool has_last_in_addr;
    bool lacks_array; /* the fault is that none is free */
};

/* Of a ring that is split, or packed. */
struct ring_parts {
    union {
        struct vring_desc *desc;
        struct vring_packed_desc *packed;
    };
    union {
        struct vring_avail *avail;
        const struct vring_packed_desc_event *driver;
    };
    union {
        struct vring_used *used;
        struct vring_packed_desc_event *device;
    };
};

/* Of a ring in the log of requests in flight (inflight.h), lent; aligned to 8 bytes. */
struct inflight_area {
    void *at; /* NULL: nothing is logged */
    uint64_t bytes;
};

struct ring_layout {
    unsigned size; /* power of two, at most RING_MAX_SIZE */
    struct ring_parts parts;
    uint32_t base; /* where to go on: see ring_base */
    bool is_packed;
    bool has_event_idx;
    bool has_indirect;
    bool is_in_order;     /* the driver was promised answers in its order */
    size_t slot_size;     /* bytes of a request, struct chain included; the pieces follow it */
    unsigned slot_iovs;   /* pieces that a slot has room for */
    struct slots *arrays; /* lent: of struct ring_array, for longer chains; NULL: there are none */
    struct inflight_area inflight; /* goes before `base`, once it was used */
};

struct ring;
struct ring_copies;
struct ring_order;

/* A part, and what it has to be. */
struct ring_part {
    const char *name;
    unsigned bytes;
    unsigned bytes_each; /* for each entry, in addition */
    unsigned align;
};

/* What a format of rings does in its own way. */
struct ring_format {
    struct ring_part desc, avail, used;

    /* See ring_base_fault. */
    const char *(*base_fault)(unsigned size, uint32_t base);

    /* Go on at layout.base.  0 or -ENOMEM. */
    int (*start)(struct ring *ring);

    /* See ring_pop and ring_push. */
    int (*pop)(struct ring *ring, struct chain **chain);
    void (*push)(struct ring *ring, struct chain *chain, uint32_t len);

    /* The same for what has given up its slot before. */
    void (*answer)(struct ring *ring, unsigned id, uint32_t len);

    /* Gather what was held under this name, as ring_pop does. */
    int (*gather)(struct ring *ring, unsigned id, struct chain **chain);

    /* Let the driver see all that was pushed. */
    void (*show)(struct ring *ring);

    /* Does the driver want to be told of what was shown from `old` on? */
    bool (*wants_signal)(const struct ring *ring, uint32_t old);

    void (*ask_for_kicks)(struct ring *ring, bool on);
};

struct ring {
    struct ring_layout layout;
    const struct ring_format *format;
    struct mem *mem;    /* lent by the device */
    struct slots slots; /* owned: a request in flight has one */
    uint64_t *busy;     /* owned: a bit for each name that the driver may not offer */
    uint64_t *held;     /* the same memory: of these, the ones that are held */
    unsigned inflight;
    unsigned held_count;
    unsigned retry_at; /* names from here on that are held are to be popped */
    uint16_t *again;   /* owned: before those, what was found in the log, in its order */
    unsigned again_count;
    unsigned again_at;
    uint64_t counter;         /* of requests, in the log */
    struct ring_order *order; /* owned, NULL: answers go as they come */
    uint16_t avail_idx;       /* split: the driver's index when it was last read */
    uint16_t last_avail;
    struct ring_copies *copies; /* packed: owned */
    uint32_t popped;            /* packed: descriptors, a count that wraps */
    uint32_t used;      /* entries of the ring, a count that wraps; the guest's is only written */
    uint32_t published; /* what the guest has seen */
    uint32_t signalled; /* the same when the driver was told last, or `size` ago */
    bool must_signal;   /* tell the driver at the next publish whatever it asked */
    bool is_retrying;   /* ring_retry has begun, and retry_at is not at the end */
    bool is_inherited;  /* it was served before, and no entry that we find is later than that */
    bool is_started;
    bool is_broken;
    const char *fault; /* why it is broken */

    /*
     * Where stores to the ring are marked, lent, NULL: nowhere; and the guest address, as the log
     * has it, of the part that the device writes (the used ring, the device's event structure).
     */
    const struct dirty_log *log;
    uint64_t log_addr;
};

/*
 * Find the parts of a ring of `size` entries.  Returns 0, -EFAULT when one does not lie in guest
 * memory as a whole, -EINVAL when one is not aligned; `err` is about "its ...".
 */
int ring_find(struct ring_parts *parts, struct mem *mem, const struct ring_addr *addr,
              unsigned size, bool is_packed, struct err *err);

/* What is wrong with a base for a ring of `size` that we are told?  NULL: nothing. */
const char *ring_base_fault(bool is_packed, unsigned size, uint32_t base);

/*
 * Take over a ring, whose parts were found in `mem`.  Allocates the slots.  What its log says that
 * was in flight is popped first.
 * Returns 0 or -ENOMEM.  It may be broken from the beginning.
 */
int ring_start(struct ring *ring, const struct ring_layout *layout, struct mem *mem);

/*
 * From now on what is stored to the ring is marked in `log`, NULL: is not.  `addr` stands for the
 * used ring, whatever the memory table says; descriptors of a packed ring are marked where they
 * are. Source: vhost-user, "Migration" (log_guest_addr).
 */
void ring_set_log(struct ring *ring, const struct dirty_log *log, uint64_t addr);

/* Bytes of the part that `addr` stands for, of a ring of `size` entries. */
uint64_t ring_used_bytes(bool is_packed, unsigned size);

/* Bytes that a ring of `size` entries needs of a log of requests in flight. */
uint64_t ring_inflight_bytes(bool is_packed, unsigned size);

/* The driver has begun anew: nothing that was in flight is tried again. */
void ring_inflight_forget(const struct inflight_area *area);

/*
 * Nothing may be in flight; what is held is forgotten here, and stays in the log.  Frees the
 * slots; ring_base stays readable.
 */
void ring_stop(struct ring *ring);

/* The parts were mapped anew at other addresses (the memory table changed). */
void ring_relocate(struct ring *ring, const struct ring_parts *parts);

/* Longer chains take their arrays from there (nothing in flight). */
void ring_set_arrays(struct ring *ring, struct slots *arrays);

/*
 * Take the next chain, those that ring_retry offers before new ones.  Returns 1 with `*chain`, 0
 * when there is none, -EPROTO when the driver broke the ring (sticky; `ring->fault` says how).
 * -EAGAIN: there is one that needs an array, and none is free: it stays in the ring.
 * A chain with `fault` set was taken all the same and must be answered or break the ring.
 */
static inline int ring_pop(struct ring *ring, struct chain **chain)
{
    return ring->format->pop(ring, chain);
}

/* Give up on the ring: `fault` is a constant text. */
void ring_break(struct ring *ring, const char *fault);

/* Of a packed ring, whose chains of many descriptors count as many. */
bool ring_packed_has_ahead(const struct ring *ring, unsigned count);
uint32_t ring_packed_base(const struct ring *ring);

/*
 * Are there `count` chains to pop, or more, by the word of the driver?  A hint: it may say
 * anything, and has a look at one place in the ring.
 */
static inline bool ring_has_ahead(const struct ring *ring, unsigned count)
{
    if (ring->layout.is_packed) {
        return ring_packed_has_ahead(ring, count);
    }
    return (uint16_t)(load16(&ring->layout.parts.avail->idx) - ring->last_avail) >= count;
}

/* Is there anything to pop, new or to be tried again?  A hint likewise. */
static inline bool ring_has_any(const struct ring *ring)
{
    return ring->is_retrying || ring_has_ahead(ring, 1);
}

/*
 * Where the next one who serves the ring has to go on.  Of a split ring, an available index.  Of
 * a packed one, in the lower half the place of the next descriptor to pop, in the upper one
 * that of the next to be used, each with its wrap counter as bit 15.
 * Source: vhost-user, "Vring descriptor indices for packed virtqueues".
 */
static inline uint32_t ring_base(const struct ring *ring)
{
    return ring->layout.is_packed ? ring_packed_base(ring) : ring->last_avail;
}

/* For people: indices in its parts, of a split one without an end. */
static inline uint16_t ring_next_avail(const struct ring *ring)
{
    return (uint16_t)(ring->layout.is_packed ? ring_base(ring) & INT16_MAX : ring->last_avail);
}

static inline uint16_t ring_next_used(const struct ring *ring)
{
    return (uint16_t)(ring->layout.is_packed ? ring_base(ring) >> 16 & INT16_MAX : ring->used);
}

/* Has anything been popped since it started? */
static inline bool ring_has_moved(const struct ring *ring)
{
    return ring_base(ring) != ring->layout.base;
}

/* Where a packed ring begins that was never served. */
#define RING_PACKED_BASE 0x80008000u

/* Ask the driver not to kick (a hint, it may). */
static inline void ring_kicks_off(struct ring *ring)
{
    ring->format->ask_for_kicks(ring, false);
}

/*
 * Ask for kicks again.  Returns true when chains arrived meanwhile: the caller must go on
 * popping, for nobody will kick for those.
 * Source: VIRTIO 1.2, 2.7.10 "Available Buffer Notification Suppression".
 */
bool ring_kicks_on(struct ring *ring);

/* As ring_push: it waits for what is older. */
void ring_push_in_order(struct ring *ring, struct chain *chain, uint32_t len);

/*
 * Give a chain back with `len` bytes written.  The driver sees it at the next publish, if it may
 * see it then.
 */
static inline void ring_push(struct ring *ring, struct chain *chain, uint32_t len)
{
    if (__builtin_expect(ring->order != NULL, false)) {
        ring_push_in_order(ring, chain, len);
    } else {
        ring->format->push(ring, chain, len);
    }
}

/*
 * Move the first `count` pieces of a chain that has an array into one of `to`, so that its own is
 * free.  Returns false when there is none.
 */
bool ring_move_array(struct chain *chain, size_t count, struct slots *to);

/* Let go of a chain that cannot be answered: the ring is broken. */
void ring_drop(struct ring *ring, struct chain *chain);

/* Put a chain off that cannot be answered yet, until ring_retry: it is not in flight meanwhile. */
void ring_hold(struct ring *ring, struct chain *chain);

/* Offer what is held to ring_pop, once each: what is held again waits for the next call. */
void ring_retry(struct ring *ring);

/* What was offered so and not popped yet is offered no longer, and waits for the next ring_retry.
 */
static inline void ring_retry_end(struct ring *ring)
{
    ring->is_retrying = false;
}

/* How many wait for ring_retry; while it goes on, for people, none. */
static inline unsigned ring_waiting(const struct ring *ring)
{
    return ring->is_retrying ? 0 : ring->held_count;
}

/* Is something pushed that the driver has not been shown? */
static inline bool ring_has_unpublished(const struct ring *ring)
{
    return ring->used != ring->published;
}

/*
 * Hand finished chains to the driver: one store for the whole batch.
 * Returns true when the driver asked to be told (the caller signals the call fd).
 * Source: VIRTIO 1.2, 2.7.8 "The Virtqueue Used Ring", 2.7.7 "Used Buffer Notification
 * Suppression".
 */
bool ring_publish(struct ring *ring);

/*
 * A second look, after ring_publish did not ask for a signal: does the driver want to be told of
 * something that was published since it was told last?  Returns true at most once for
 * what was published.  Between a driver's wish and its last look at the used index there has to be
 * a barrier (2.7.7.1); where there is none, as in a guest with one processor that QEMU translates,
 * both sides may miss what the other one wrote. Source: VIRTIO 1.2, 2.7.7 "Used Buffer Notification
 * Suppression".
 */
bool ring_owes_signal(struct ring *ring);

/* Walk over what is in flight: `*at` is 0 at first.  NULL: there are no more. */
static inline struct chain *ring_next_inflight(const struct ring *ring, unsigned *at)
{
    return slots_next_taken(&ring->slots, at);
}
