/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How a lane tells drivers of what was finished: when it is shown, if they ask for it then, and
 * if their wish came late, once more before the lane sleeps.
 * The lane's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"

/* Show the drivers what has finished, and signal each ring at most once. */
void lane_publish(struct lane *lane);

/*
 * Signal those rings of `set` whose drivers want to be told of what was shown to them without a
 * signal, and count them.  Each entry of a ring is signalled once at most.
 */
void lane_signal_late(struct lane *lane, uint64_t set);

/*
 * The end of a while since which the driver's wish has surely come: look a last time, at those
 * that were shown something before (not in lane->just_untold).
 */
void lane_last_look(struct lane *lane);
