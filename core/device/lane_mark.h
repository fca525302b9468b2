/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What others ask of a lane: to look at a ring, or to forget it.
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"

/* Let a turn follow at once, even if no fd has anything. */
void lane_wake(struct lane *lane);

/* Look at a ring in this turn's check phase: from a callback of the poll phase only. */
void lane_kicked(struct lane *lane, unsigned index);

/* Look at a ring as if it had been kicked, whenever this is called. */
void lane_look(struct lane *lane, unsigned index);

/* A ring stops or moves: nothing of it is in flight or unpublished, and its memory may go. */
void lane_forget(struct lane *lane, unsigned index);
