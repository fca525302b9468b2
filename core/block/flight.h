/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is under way on a lane.  While anything of the guest is, its memory stays mapped and its
 * rings where they are; while anything at all is, the image stays open.  So these decide, and are
 * no statistics.  What is held (ring_hold) is not under way: nothing waits for it, and its ring
 * counts it, with which it may move to another lane.
 *
 * Part of a lane: its thread, or the disk's own while that one is parked.
 */

#include "core/base/base.h"

struct flight {
    unsigned guest; /* requests that were taken, and not yet given back to their ring */
    unsigned own;   /* I/O that no guest of this lane asked for; if it touches a guest's memory, it
                     * counts as that guest's on another lane */
};

/* Does the image have anything to finish? */
static inline bool flight_has_any(const struct flight *flight)
{
    return (flight->guest | flight->own) != 0;
}
