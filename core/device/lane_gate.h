/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Rings whose next request may not go before a time comes (throttle.h).  Until then such a ring is
 * neither ready nor looked at, and its kicks are off, so that it costs nothing; the lane's timer
 * ends that.  It wakes the lane for requests that were taken and wait (lane_delay.h) as well.
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"

void lane_gate_init(struct lane *lane);

/* May the ring's next request be taken?  If not, and one is there, the ring is gated. */
bool lane_gate_lets(struct lane *lane, struct queue *q);

/* Requests that wait are to be looked at then, or before. */
void lane_gate_wake_at(struct lane *lane, uint64_t opens_ns);

/*
 * Those of `rings` (bit = index) wait for nothing any more: what was not taken is looked at again,
 * what was is asked for again, or goes, if it is to be drained.
 *
 * told  who has said when they may go, NULL: nobody
 */
void lane_gate_lift(struct lane *lane, uint64_t rings, struct throttle *told);
