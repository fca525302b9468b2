/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane.h"

const char *plane_state_name(enum plane_state state)
{
    static const char *const name[] = {
        [PLANE_OPENING] = "opening",   [PLANE_RUNNING] = "running", [PLANE_STOPPING] = "stopping",
        [PLANE_STOPPED] = "stopped",   [PLANE_FAILED] = "failed",   [PLANE_WAITING] = "waiting",
        [PLANE_REMOVING] = "removing", [PLANE_GONE] = "gone",
    };

    return name[state];
}

const char *plane_medium_reason(const struct plane *plane)
{
    static const char *const reasons[] = {
        [MEDIUM_OPENS] = "another image is being opened",
        [MEDIUM_FLUSHES] = "it is to have another image, and this one is flushed",
        [MEDIUM_DRAINS] = "it is to have another image, and this one is flushed",
        [MEDIUM_KEEPS] = "which image it has is being written to the state file",
        [MEDIUM_SWAPS] = "it changes to another image",
        [MEDIUM_UNDOES] = "which image it has is being written to the state file",
        [MEDIUM_CLOSES] = "an image that it does not have any more is being closed",
    };

    return reasons[plane->medium.phase];
}
