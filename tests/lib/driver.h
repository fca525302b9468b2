/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A driver's ring in an arena, for tests that play the device: core/ring_driver's memory and
 * indices, but chains by guest addresses, which may lie anywhere, heads that are offered apart
 * from their chains, and a list of free descriptors that no spoiled descriptor can spoil
 * (ring_driver keeps it in the descriptors).  Every other word may be spoiled by raw_ring.h.
 * Owned by the test; one thread.
 */

#include "tests/lib/arena.h"
#include "tests/lib/raw_ring.h"

#define DRIVER_MAX_SIZE 32768

/* One piece of a chain, in guest addresses. */
struct piece {
    uint64_t addr;
    uint32_t len;
    bool is_in; /* the device writes it */
};

static inline struct piece piece_out(uint64_t addr, uint32_t len)
{
    return (struct piece){.addr = addr, .len = len};
}

static inline struct piece piece_in(uint64_t addr, uint32_t len)
{
    return (struct piece){.addr = addr, .len = len, .is_in = true};
}

struct driver {
    struct ring_driver ring;        /* without its free list, and its add and take */
    struct arena *arena;            /* parent */
    uint16_t free[DRIVER_MAX_SIZE]; /* a stack of descriptors that nobody uses */
    unsigned free_count;
};

/* A used element, as the device gave it back. */
struct used {
    uint32_t id;
    uint32_t len;
};

/* Place an empty ring in the arena; it has no end of its own. */
void driver_init(struct driver *drv, struct arena *arena, unsigned size);

/* Empty again, with both indices at `base`: where a device that starts there goes on. */
void driver_reset(struct driver *drv, uint16_t base);

/* Chain pieces with free descriptors; returns the head.  Ends the test when none is free. */
uint16_t driver_chain(struct driver *drv, const struct piece *pieces, unsigned count);

/*
 * The same in an indirect table at guest address `table`, which `direct` pieces precede in
 * the ring's own descriptors.
 */
uint16_t driver_chain_indirect(struct driver *drv, const struct piece *pieces, unsigned count,
                               unsigned direct, uint64_t table);

/* Put any head into the available ring and let the device see it. */
void driver_offer(struct driver *drv, uint16_t head);

/* Take the next used element, whatever it says, and free its chain.  False: there is none. */
bool driver_reap(struct driver *drv, struct used *used);

/* Any value in a descriptor of an indirect table. */
void driver_set_table(struct driver *drv, uint64_t table, unsigned index, uint64_t addr,
                      uint32_t len, uint16_t flags, uint16_t next);
