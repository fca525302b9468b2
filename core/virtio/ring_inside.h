/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the formats of rings are made of: for ring_common.c, ring_walk.c and the formats alone.
 * Disk thread only.
 */

#include <assert.h>
#include <errno.h>

#include "core/virtio/ring.h"

extern const struct ring_format ring_split_format;
extern const struct ring_format ring_packed_format;

/*
 * Fill in what the descriptors of a chain say, from `head` of `table` on; its counts are 0.
 * Returns NULL, or the fault that leaves us not knowing where the chain ends.
 */
const char *ring_walk(struct ring *ring, struct chain *chain, const struct vring_desc *table,
                      unsigned head);

/*
 * The next chain that is held and was not tried since ring_retry.  Returns 0 when all of them were,
 * and what ring_pop does.
 */
int ring_pop_held(struct ring *ring, struct chain **chain);

/* See ring_log_used. */
void ring_mark_used(const struct ring *ring, const void *at, unsigned len);

/* What was just stored at `at`, in the part that the device writes, is to be marked. */
static inline void ring_log_used(const struct ring *ring, const void *at, unsigned len)
{
    if (__builtin_expect(ring->log != NULL, false)) {
        ring_mark_used(ring, at, len);
    }
}

/* How the pop of each format begins.  Returns 0: go on with what is new, or what ring_pop does. */
static inline int ring_pop_before(struct ring *ring, struct chain **chain)
{
    if (ring->is_broken) {
        return -EPROTO;
    }
    return ring->is_retrying ? ring_pop_held(ring, chain) : 0;
}

/* The words of ring->busy and ring->held. */
#define RING_WORD_BITS 64u

static inline uint64_t ring_busy_bit(unsigned id)
{
    return 1ull << id % RING_WORD_BITS;
}

static inline bool ring_is_busy(const struct ring *ring, unsigned id)
{
    return ring->busy[id / RING_WORD_BITS] & ring_busy_bit(id);
}

/*
 * What a driver has offered and was not answered has different names.  Found there twice when a
 * ring is taken over, one was answered in between, before an older request: that one is lost,
 * as a front-end that knows of no requests in flight goes on at what was used.
 */
static inline const char *ring_why_again(const struct ring *ring)
{
    if (ring->is_inherited) {
        return "whoever served it before ended with requests unanswered, and the guest waits for "
               "them";
    }
    return ring->layout.is_packed ? "a buffer id was offered again while it is in flight"
                                  : "a head was offered again while it is in flight";
}

static inline struct chain *ring_take_chain(struct ring *ring, unsigned id)
{
    struct chain *chain = slots_take(&ring->slots);

    assert(chain); /* there are as many as names, and this one has none */
    chain->iov = (struct iovec *)((uint8_t *)chain + ring->layout.slot_size);
    chain->out_bytes = 0;
    chain->in_bytes = 0;
    chain->last_in = NULL;
    chain->fault = NULL;
    chain->out_count = 0;
    chain->in_count = 0;
    chain->id = (uint16_t)id;
    chain->room = (uint16_t)ring->layout.slot_iovs;
    chain->is_long = false;
    chain->has_last_in_addr = false;
    chain->lacks_array = false;
    return chain;
}

static inline void ring_give_chain(struct ring *ring, struct chain *chain)
{
    if (chain->is_long) {
        struct ring_array *array = containerof(chain->iov, struct ring_array, iov);

        slots_give(array->from, array);
    }
    slots_give(&ring->slots, chain);
}

/*
 * What begins at `head`.  Returns 1 with `*chain`, or what ring_pop does.  A call would cost.
 *
 * id  what the driver knows it by: nothing of it is in flight
 */
static inline __attribute__((always_inline)) int ring_gather(struct ring *ring, unsigned id,
                                                             const struct vring_desc *table,
                                                             unsigned head, struct chain **chain)
{
    const char *fault;

    *chain = ring_take_chain(ring, id);
    fault = ring_walk(ring, *chain, table, head);
    if (fault) {
        ring_give_chain(ring, *chain);
        ring_break(ring, fault);
        return -EPROTO;
    }
    if ((*chain)->lacks_array) {
        ring_give_chain(ring, *chain);
        return -EAGAIN;
    }
    return 1;
}

/* ---- answers in the order of requests: ring_order.c ---- */

/* 0 or -ENOMEM. */
int ring_order_init(struct ring *ring);

/* A request was popped for the first time. */
void ring_order_add(struct ring *ring, unsigned id);

/* It is done; answer what has come to its turn. */
void ring_order_push(struct ring *ring, unsigned id, uint32_t len);

/* It is in flight from here on. */
static inline void ring_mark_chain(struct ring *ring, const struct chain *chain)
{
    ring->busy[chain->id / RING_WORD_BITS] |= ring_busy_bit(chain->id);
    ring->inflight++;
    if (__builtin_expect(ring->order != NULL, false)) {
        ring_order_add(ring, chain->id);
    }
}

/* The driver may offer it again. */
static inline void ring_free_name(struct ring *ring, unsigned id)
{
    ring->busy[id / RING_WORD_BITS] &= ~ring_busy_bit(id);
}

static inline void ring_forget_chain(struct ring *ring, struct chain *chain)
{
    ring_free_name(ring, chain->id);
    ring->inflight--;
    ring_give_chain(ring, chain);
}
