/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Writes whose data are all zero become zeroings, where people have chosen that
 * (view->detect_zeroes).  To the guest they are writes, and are counted as such.
 * Its data are looked at once.  What a guest makes of them meanwhile is its own affair, as with any
 * write: nothing but the range of the write is touched.
 * The lane's thread.
 */

#include "core/device/lane.h"

/*
 * Turn the write, which is about to be started, if its data are zeroes and the image can zero.
 * Returns false, with nothing changed, when they cannot be told, as the memory under them was taken
 * away.
 */
bool lane_zeroes_turn(struct lane *lane, struct request *request);

/* Is it a write that was turned, and not turned back? */
static inline bool lane_zeroes_turned(const struct request *request)
{
    return request->io.op == IO_ZERO && request->type == VIRTIO_BLK_T_OUT;
}

/* It is a write again, as its driver had it: what was turned did not work, or has ended. */
void lane_zeroes_turn_back(struct request *request);
