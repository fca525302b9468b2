/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Requests that were taken and may not go to the image yet, while others go past them (throttle.h):
 * reads past writes, and the other way round.  Those of one way and one ring go in their order.
 *
 * To their ring they are in flight, and to the log of requests in flight, so no memory goes and no
 * ring moves under them; the lane does not count them, as the image has nothing to finish.  What is
 * paused waits for no limit: whoever drains finds them at the image when the lane's timer has come,
 * at once.
 *
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/queue.h"
#include "core/virtio/blk.h"

/*
 * May this one go, which was just taken?  If not, it waits from here on, and `*opens_ns` says until
 * when the lane may sleep for it.
 */
bool lane_delay_lets(struct lane *lane, struct request *request, uint64_t *opens_ns);

/*
 * Start those that may go by now; the turn submits them.  Returns when to look again, UINT64_MAX:
 * none waits.  The loop's thread.
 */
uint64_t lane_delay_serve(struct lane *lane);

/* Those of `rings` (bit = index) are asked for again by the next lane_delay_serve. */
void lane_delay_forget_times(struct lane *lane, uint64_t rings);

/*
 * Those of this ring are held by it instead, as it stops: none of them has been begun.  Its lane is
 * parked.
 */
void lane_delay_hold(struct lane *lane, struct queue *q);

/* How many there are. */
unsigned lane_delay_count(const struct queue *q);
