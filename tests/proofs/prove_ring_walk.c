/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Chains of descriptors that somebody changes while they are read.  A buffer is proved for any
 * state of its chain, whatever edges of regions lie in it; so a walk over buffers has none.
 */
#define RING_MAX_CHAIN 2u
#define RING_MAX_IOVS 3u

#include "tests/proofs/hostile.h"

#include "core/virtio/ring_walk.c"

#define SIZE 2u
#define PIECES 2u

static struct vring_desc table[SIZE];
static struct {
    struct chain chain;
    struct iovec iov[PIECES];
} slot;
static struct ring_array array;
static struct slots arrays = {.memory = (uint8_t *)&array, .stride = sizeof(array), .count = 1};
static struct ring ring;

static void make_any_ring(void)
{
    ring.layout.size = SIZE;
    ring.layout.has_indirect = nondet_bool();
    ring.layout.is_packed = nondet_bool();
    ring.layout.arrays = nondet_bool() ? &arrays : NULL;
    arrays.fresh = nondet_bool() ? 0 : 1;
}

static void make_new(struct chain *chain)
{
    *chain = (struct chain){.iov = slot.iov, .room = PIECES, .id = nondet_16()};
}

static unsigned pieces_of(const struct chain *chain)
{
    return chain->out_count + chain->in_count;
}

static void prove_chain(const struct chain *chain, unsigned first)
{
    unsigned count = pieces_of(chain);

    prove(count >= first && count <= chain->room, "there is room for what it has");
    prove(chain->iov == (chain->is_long ? array.iov : slot.iov) &&
              chain->room == (chain->is_long ? RING_MAX_IOVS : PIECES),
          "room is as much as there is");
    for (unsigned i = first; i < count; i++) {
        prove(is_in_guest(chain->iov[i].iov_base, chain->iov[i].iov_len),
              "each piece lies in guest memory");
    }
    prove(!chain->last_in || is_in_guest(chain->last_in, 1), "so does the last byte to write");
}

void prove_buffer(void)
{
    struct chain *chain = &slot.chain;
    struct vring_desc desc = {.addr = nondet_64(), .len = nondet_32(), .flags = nondet_16()};
    unsigned before;

    make_any_ring();
    make_new(chain);
    chain->out_count = nondet_32();
    chain->in_count = nondet_32();
    given(chain->out_count <= PIECES && chain->in_count <= PIECES - chain->out_count);
    chain->out_bytes = nondet_32();
    chain->in_bytes = nondet_32();
    chain->fault = nondet_bool() ? "a fault" : NULL;
    before = pieces_of(chain);
    add_buffer(&ring, chain, &desc);
    prove_chain(chain, before);
    prove(chain->fault || pieces_of(chain) > before || desc.len == 0, "all of it was taken");
}

/* Arrays, and edges of regions, are what prove_buffer is about. */
static void prove_walk(bool is_packed)
{
    const char *fault;
    unsigned head = nondet_32();

    has_no_edges = true;
    given(head < SIZE);
    ring.layout.size = SIZE;
    ring.layout.has_indirect = nondet_bool();
    ring.layout.is_packed = is_packed;
    make_new(&slot.chain);
    fault = ring_walk(&ring, &slot.chain, table, head);
    prove_chain(&slot.chain, 0);
    prove(fault || !slot.chain.has_last_in_addr || slot.chain.fault,
          "what was not looked up has a fault");
}

void prove_split_walk(void)
{
    prove_walk(false);
}

void prove_packed_walk(void)
{
    prove_walk(true);
}
