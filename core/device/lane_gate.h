/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Rings whose next request may not go before a time comes (throttle.h).  Until then such a ring is
 * neither ready nor looked at, and its kicks are off, so that it costs nothing; the lane's timer
 * ends that.
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"

void lane_gate_init(struct lane *lane);

/* May the ring's next request be taken?  If not, and one is there, the ring is gated. */
bool lane_gate_lets(struct lane *lane, struct queue *q);

/* Those of `rings` (bit = index) that are gated are looked at again, whatever the time. */
void lane_ungate(struct lane *lane, uint64_t rings);
