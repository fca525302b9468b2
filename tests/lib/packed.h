/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A driver's side of a packed ring in an arena, for tests that play the device: chains by guest
 * addresses, which may lie anywhere, and any value in any word that a driver writes.
 * Owned by the test; one thread.
 * Source: VIRTIO 1.2, 2.8 "Packed Virtqueues".
 */

#include "core/virtio/ring.h"
#include "tests/lib/driver.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

struct packed {
    struct arena *arena; /* parent */
    struct vring_packed_desc *desc;
    struct vring_packed_desc_event *driver, *device;
    uint64_t desc_addr, driver_addr, device_addr; /* the guest's */
    unsigned size;
    uint32_t offered;                /* descriptors, a count that wraps: the next to offer */
    uint32_t taken;                  /* likewise: where the next used one comes */
    uint16_t count[DRIVER_MAX_SIZE]; /* by id: descriptors of the chain */
};

/* Place an empty ring in the arena; it has no end of its own. */
void packed_init(struct packed *drv, struct arena *arena, unsigned size);

/* Empty again, its next descriptor at `place` (counted as above). */
void packed_reset(struct packed *drv, uint32_t place);

/* Where the device finds it, in memory that has the same addresses for guest and front-end. */
struct ring_parts packed_parts(struct packed *drv, struct mem *mem);

/* What a device that serves all up to `place` tells as its base. */
uint32_t packed_base(const struct packed *drv, uint32_t place);

/* The flags that make a descriptor at `place` available. */
uint16_t packed_available(const struct packed *drv, uint32_t place);

/* Any value in the descriptor at `place`; the flags come last, and are visible at once. */
void packed_set(struct packed *drv, uint32_t place, uint64_t addr, uint32_t len, uint16_t id,
                uint16_t flags);

/* Offer a chain under a name.  Nobody is kicked. */
void packed_offer(struct packed *drv, const struct piece *pieces, unsigned count, uint16_t id);

/* The same by an indirect table at guest address `table`. */
void packed_offer_indirect(struct packed *drv, const struct piece *pieces, unsigned count,
                           uint64_t table, uint16_t id);

/* Take the next used descriptor, whatever it says.  False: there is none. */
bool packed_reap(struct packed *drv, struct used *used);

/* When the device is to tell: a flag, and for VRING_PACKED_EVENT_FLAG_DESC which descriptor. */
void packed_set_event(struct packed *drv, uint16_t flags, uint32_t place);
