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
