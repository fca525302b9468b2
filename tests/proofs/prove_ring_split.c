/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A ring of two entries, in whatever state, with a driver that means ill.  What prove_ring_walk.c
 * proves of chains is taken for granted.
 */
#define RING_MAX_IOVS 2u

#include "tests/proofs/hostile.h"

#define slots_take base_slots_take
#define slots_give base_slots_give
#include "core/base/slots.h"
#undef slots_take
#undef slots_give

static void *slots_take(struct slots *slots);
static void slots_give(struct slots *slots, void *taken);

#include "core/virtio/ring_common.c"
#include "core/virtio/ring_split.c"

#define SIZE 2u
#define PIECES 2u

const struct ring_format ring_packed_format;

/* It may fill in anything, or find no array. */
const char *ring_walk(struct ring *ring, struct chain *chain, const struct vring_desc *table,
                      unsigned head)
{
    prove(head < SIZE && __CPROVER_r_ok(&table[head], sizeof(*table)),
          "a chain begins in the table");
    chain->lacks_array = ring->layout.arrays && nondet_bool();
    return nondet_bool() ? "a fault" : NULL;
}

static struct vring_desc desc[SIZE];
static uint16_t avail[3 + SIZE];
static struct {
    uint32_t flags_and_idx;
    struct vring_used_elem ring[SIZE];
    uint16_t avail_event;
} used;
static struct {
    struct chain chain;
    struct iovec iov[PIECES];
} slot;
static struct slots arrays; /* of which ring_walk says whether one is free */
static uint64_t bits[2];    /* busy, held */
static unsigned taken;      /* slots */

/* Which of them is all the same: one for all. */
static void *slots_take(struct slots *slots)
{
    (void)slots;
    prove(taken < SIZE, "who is not in flight finds a slot");
    taken++;
    return &slot;
}

static void slots_give(struct slots *slots, void *given_back)
{
    (void)slots;
    prove(taken > 0 && given_back == &slot, "what is given back was taken");
    taken--;
}

static unsigned names(uint64_t set)
{
    return (unsigned)(set & 1) + (unsigned)(set >> 1 & 1);
}

/* Any state in which a ring may be: what is in flight or held is busy, the former has slots. */
static void make_any(struct ring *ring)
{
    uint64_t busy = nondet_64() & 3, held = nondet_64() & busy;

    bits[0] = busy;
    bits[1] = held;
    *ring = (struct ring){
        .layout = {.size = SIZE,
                   .parts = {.desc = desc, .avail = (void *)avail, .used = (void *)&used},
                   .has_event_idx = nondet_bool(),
                   .has_indirect = nondet_bool(),
                   .slot_size = sizeof(struct chain),
                   .slot_iovs = PIECES,
                   .arrays = nondet_bool() ? &arrays : NULL},
        .format = &ring_split_format,
        .busy = &bits[0],
        .held = &bits[1],
        .inflight = names(busy & ~held),
        .held_count = names(held),
        .retry_at = nondet_32(),
        .avail_idx = nondet_16(),
        .last_avail = nondet_16(),
        .used = nondet_32(),
        .published = nondet_32(),
        .signalled = nondet_32(),
        .must_signal = nondet_bool(),
        .is_retrying = nondet_bool(),
        .is_inherited = nondet_bool(),
        .is_started = true,
    };
    given((uint16_t)(ring->avail_idx - ring->last_avail) <= SIZE);
    taken = ring->inflight;
}

void prove_pop(void)
{
    struct ring ring;
    struct chain *chain;
    uint64_t busy, held;
    unsigned inflight;
    uint16_t at;
    int ret;

    make_any(&ring);
    busy = bits[0];
    held = bits[1];
    inflight = ring.inflight;
    at = ring.last_avail;
    ret = ring_pop(&ring, &chain);
    prove((uint16_t)(ring.avail_idx - ring.last_avail) <= SIZE,
          "no more is ahead than a ring holds");
    if (ret == 1) {
        uint64_t name = 1ull << chain->id;

        prove(chain->id < SIZE, "a name is one of the ring's");
        prove(!(busy & name) || (held & name), "what is in flight is not popped again");
        prove((bits[0] & name) && !(bits[1] & name), "now it is in flight");
        prove(ring.inflight == inflight + 1, "and counted");
        prove(chain == &slot.chain && chain->iov == slot.iov, "it has room of its own");
    } else {
        prove(ret == 0 || ret == -EPROTO || ret == -EAGAIN, "it says what it is documented to say");
        prove((ret == -EPROTO) == (ring.is_broken && ring.fault), "a broken ring says why");
        prove(bits[0] == busy && bits[1] == held && ring.inflight == inflight, "nothing is taken");
        prove(ring.last_avail == at, "nothing is passed over");
        prove(taken == inflight, "no slot is lost");
        prove(ret != -EAGAIN || ring.layout.arrays,
              "who waits for an array waits for one there is");
    }
}

void prove_push_and_publish(void)
{
    struct ring ring;
    struct chain *chain = &slot.chain;

    make_any(&ring);
    chain->id = nondet_16() & 1;
    chain->is_long = false;
    given(ring.inflight > 0 && ring_is_busy(&ring, chain->id) && !(bits[1] >> chain->id & 1));
    ring_push(&ring, chain, nondet_32());
    prove(!ring_is_busy(&ring, chain->id), "its name may be offered again");
    (void)ring_publish(&ring);
    prove(ring.published == ring.used, "all is shown");
    prove(ring.published - ring.signalled <= SIZE, "no more is owed than a ring holds");
}

void prove_wishes_of_both_sides(void)
{
    struct ring ring;

    make_any(&ring);
    ring_kicks_off(&ring);
    (void)ring_kicks_on(&ring);
    (void)ring_owes_signal(&ring);
}
