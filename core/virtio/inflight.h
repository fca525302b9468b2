/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The log of requests in flight: memory of the front-end, which keeps it while back-ends come and
 * go.  Whoever serves a ring after one that was killed finds there what that one had popped and
 * not answered, and tries it again, in the order of then.
 *
 * Each ring has an area of it, in a form that back-ends of all makes share.  Who else has it mapped
 * may write to it at any time: it is judged, on a copy, when a ring starts, and what is read
 * from it later is bounded.
 * A killed process has done all its stores up to one of them and none behind it, so what counts is
 * the order of the program: stores that others rely on are releases.
 * For the formats of rings alone.  Disk thread only.
 * Source: vhost-user, "Inflight I/O tracking".
 */

#include "core/virtio/ring_inside.h"

#define INFLIGHT_VERSION 1u

struct inflight_split_desc {
    uint8_t is_inflight;
    uint8_t padding[5];
    uint16_t next; /* in the list of the last batch */
    uint64_t counter;
};

struct inflight_split {
    uint64_t features; /* there are none */
    uint16_t version;  /* 0: never used */
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct inflight_split_desc desc[]; /* by head */
};

struct inflight_packed_desc {
    uint8_t is_inflight;
    uint8_t padding;
    uint16_t next;    /* of the same chain, or that is free */
    uint16_t last;    /* of a head */
    uint16_t num;     /* of a head: entries of its chain */
    uint64_t counter; /* of a head */
    uint16_t id;
    uint16_t flags;
    uint32_t len;
    uint64_t addr;
};

/*
 * Words that change together are stored together, so that nobody is killed between them.  "old": of
 * the last batch that was shown as a whole.
 */
union inflight_free {
    struct {
        uint16_t head;
        uint16_t old_head;
    };
    uint32_t word;
};

union inflight_used {
    struct {
        uint16_t idx;
        uint16_t old_idx;
        uint8_t wrap;
        uint8_t old_wrap;
        uint16_t padding;
    };
    uint64_t word;
};

struct inflight_packed {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    union inflight_free free;
    union inflight_used used;
    uint8_t padding[8];
    struct inflight_packed_desc desc[]; /* chains are taken from a list of free ones */
};

_Static_assert(sizeof(struct inflight_split) == 16 && sizeof(struct inflight_split_desc) == 16,
               "vhost-user, QueueRegionSplit");
_Static_assert(sizeof(struct inflight_packed) == 32 && sizeof(struct inflight_packed_desc) == 32,
               "vhost-user, QueueRegionPacked");

static inline void store8_release(uint8_t *p, uint8_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void store32_release(uint32_t *p, uint32_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void store64_release(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void store64(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline struct inflight_split *inflight_split_of(const struct ring *ring)
{
    return ring->layout.inflight.at;
}

static inline struct inflight_packed *inflight_packed_of(const struct ring *ring)
{
    return ring->layout.inflight.at;
}

/* ---- a split ring: called where it pops, pushes, and has shown the new index ---- */

static inline void inflight_split_popped(struct ring *ring, unsigned head)
{
    struct inflight_split *log = inflight_split_of(ring);

    if (log) {
        store64(&log->desc[head].counter, ring->counter++);
        store8_release(&log->desc[head].is_inflight, 1);
    }
}

static inline void inflight_split_pushed(struct ring *ring, unsigned head)
{
    struct inflight_split *log = inflight_split_of(ring);

    if (log) {
        store16(&log->desc[head].next, load16(&log->last_batch_head));
        store16_release(&log->last_batch_head, (uint16_t)head);
    }
}

void inflight_split_shown(struct ring *ring, struct inflight_split *log);

/*
 * The ring starts: where it goes on, and what is to be tried again.  The used index was read.
 * Returns 0 or -ENOMEM; a log that does not fit breaks the ring.
 */
int inflight_split_start(struct ring *ring);

/* ---- a packed ring: its copies lie as the entries of the log do, see ring_packed.c ---- */

/*
 * A checked copy of the log of a ring that starts, made to be what it was when the last batch had
 * been shown.  NULL with `*ret` 0: it was never used, or the ring is broken now.  To be freed.
 *
 * is_shown  was the batch behind `old` shown?  Looks at the ring
 */
struct inflight_packed *inflight_packed_read(struct ring *ring,
                                             bool (*is_shown)(const struct ring *ring,
                                                              unsigned index, bool wrap),
                                             int *ret);

/* Of a log that was never used: all entries are free, the ring goes on at its base. */
void inflight_packed_begin(struct ring *ring, unsigned used_idx, bool used_wrap);

/* What is free, now and when the last batch had been shown. */
static inline void inflight_store_free(struct inflight_packed *log, uint16_t head,
                                       uint16_t old_head)
{
    const union inflight_free free = {.head = head, .old_head = old_head};

    store32_release(&log->free.word, free.word);
}

/* ---- both ---- */

/* A request that was found. */
struct inflight_found {
    uint64_t counter;
    uint16_t id;
};

/* Hold what was found, to be popped before all else.  Sorts it.  0 or -ENOMEM. */
int inflight_hold_found(struct ring *ring, struct inflight_found *found, unsigned count);

#define INFLIGHT_FOREIGN                                                                        \
    "what the front-end keeps of its requests in flight is not of this ring; the guest has to " \
    "be reset"
