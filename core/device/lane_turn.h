/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A lane's turn: rings are popped, the image is given its work, what has finished is shown.
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"

/* What the lane does in its loop's check phase, if there is something to do. */
void lane_turn(struct lane *lane);

/* The image says that something has finished: from a callback of the poll phase only. */
void lane_reap(struct lane *lane);

/* The guest's memory is not what it was: end the rings. */
void lane_lose_memory(struct lane *lane);

/*
 * A drain has ended, of these rings (bit = index): touch no more memory of the guest for them.  A
 * lane may have been parked between two turns, or a turn may have taken too long, so that its
 * drivers were not asked to kick again; the next turn would do it, when the memory may be gone.
 */
void lane_rest(struct lane *lane, uint64_t rings);
