/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The seam between a ring's set-up (device_ring.c) and its service (lane.c).
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
static inline bool device_ring_is_live(const struct device_ring *r)
{
    return r->ring.is_started && r->is_enabled && !r->is_paused && !r->ring.is_broken;
}

/* Wait for drain->ring, or the whole device, to have nothing in flight. */
void device_drain(struct device *dev, struct drain *drain);
