/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The seam between a ring's set-up (device_ring.c) and its service (device.c).
 * Disk thread only.
 */

#include "core/device.h"

void device_ring_init(struct device_ring *r, struct device *dev, unsigned index);

/* Stop it, give up its fds, forget what it was told.  Nothing of it is in flight. */
void device_ring_reset(struct device_ring *r);

/* Find the parts again after the memory has changed; a ring that lost its own is broken. */
void device_ring_remap(struct device_ring *r);

/* Say once why the ring is broken, and tell the front-end by the error fd. */
void device_ring_tell_fault(struct device_ring *r);

/* Signal the call fd, if there is one. */
void device_ring_call(struct device_ring *r);

/* May requests be popped from it, as far as the ring itself is concerned? */
bool device_ring_is_live(const struct device_ring *r);

/* Look at the ring in this turn's check phase: from a callback of the poll phase only. */
static inline void device_kicked(struct device *dev, const struct device_ring *r)
{
    dev->ready |= 1ull << r->index;
    dev->has_turn_work = true;
}

/* Look at the ring as if it had been kicked, whenever this is called. */
void device_look(struct device *dev, const struct device_ring *r);

/* Wait for drain->ring, or the whole device, to have nothing in flight. */
void device_drain(struct device *dev, struct drain *drain);
