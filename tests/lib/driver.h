/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The driver's side of a split virtqueue, in an arena: descriptors, available and used ring,
 * indirect tables, event index.  It also can lie: every word that a driver writes may be set
 * to anything by the functions under "raw".
 * Owned by the test or the front-end; one thread.
 * Source: VIRTIO 1.2, 2.7 "Split Virtqueues".
 */

#include <linux/virtio_ring.h>

#include "core/base.h"
#include "tests/lib/arena.h"

#define DRIVER_MAX_SIZE 1024

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
    struct arena *arena; /* parent */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint64_t desc_addr; /* guest addresses of the three */
    uint64_t avail_addr;
    uint64_t used_addr;
    unsigned size;
    uint16_t avail_idx;             /* ours; the device sees it after driver_show */
    uint16_t shown_idx;             /* what the device has seen */
    uint16_t last_used;             /* next used index to look at */
    uint16_t free[DRIVER_MAX_SIZE]; /* a stack of descriptors that nobody uses */
    unsigned free_count;
    bool has_event_idx;
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

/* Chain `count` pieces with free descriptors; returns the head.  Ends the test when none is free.
 */
uint16_t driver_chain(struct driver *drv, const struct piece *pieces, unsigned count);

/*
 * The same in an indirect table at guest address `table`, which `direct` pieces precede in
 * the ring's own descriptors.
 */
uint16_t driver_chain_indirect(struct driver *drv, const struct piece *pieces, unsigned count,
                               unsigned direct, uint64_t table);

/* Put a head into the available ring; driver_show lets the device see all that were put. */
void driver_put(struct driver *drv, uint16_t head);
void driver_show(struct driver *drv);

/* Both at once. */
void driver_offer(struct driver *drv, uint16_t head);

/* Does the device want a kick for what was shown since `old_idx`?  Call after driver_show. */
bool driver_must_kick(const struct driver *drv, uint16_t old_idx);

/* Take the next used element and free its chain.  Returns false when there is none. */
bool driver_reap(struct driver *drv, struct used *used);

/* How many used elements wait to be reaped. */
unsigned driver_used_count(const struct driver *drv);

/* Ask for an interrupt when the used index passes `idx` (event index). */
void driver_set_used_event(struct driver *drv, uint16_t idx);

/* Ask for none, or for all (no event index). */
void driver_set_no_interrupt(struct driver *drv, bool on);

/* What the device wrote: its own requests about kicks. */
uint16_t driver_avail_event(const struct driver *drv);
bool driver_no_notify(const struct driver *drv);

/* Raw: any value in any word. */
void driver_set_desc(struct driver *drv, unsigned index, uint64_t addr, uint32_t len,
                     uint16_t flags, uint16_t next);
void driver_set_table(struct driver *drv, uint64_t table, unsigned index, uint64_t addr,
                      uint32_t len, uint16_t flags, uint16_t next);
void driver_set_avail_idx(struct driver *drv, uint16_t idx);
