/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The seam between a ring's set-up (device_ring.c) and its service (lane.c).
 * Disk thread only, with the lanes parked, but for what says otherwise.
 */

#include "core/device.h"

void device_ring_init(struct device_ring *r, struct device *dev, unsigned index, struct lane *lane);

/* Stop it, give up its fds, forget what it was told.  Nothing of it is in flight. */
void device_ring_reset(struct device_ring *r);

/* Find the parts again after the memory has changed; a ring that lost its own is broken. */
void device_ring_remap(struct device_ring *r);

/*
 * Move it, with nothing in flight.  First open a watch of its kick fd on the loop of the new
 * lane, which may fail: `*kick` is NULL when it has no kick fd, or is there already.
 */
int device_ring_open_kick(struct device_ring *r, struct lane *lane, struct watch **kick,
                          struct err *err);
void device_ring_move(struct device_ring *r, struct lane *lane, struct watch *kick);

/* Say once why the ring is broken, and tell the front-end by the error fd.  Its lane's thread. */
void device_ring_tell_fault(struct device_ring *r);

/* Signal the call fd, if there is one.  Its lane's thread. */
void device_ring_call(struct device_ring *r);

/* May requests be popped from it, as far as the ring itself is concerned? */
static inline bool device_ring_is_live(const struct device_ring *r)
{
    return r->ring.is_started && r->is_enabled && !r->is_paused && !r->ring.is_broken;
}

/* Wait for the ring, or the whole device when it is NULL, to have nothing in flight. */
void device_drain(struct device *dev, const struct device_ring *ring, struct drain *drain);
