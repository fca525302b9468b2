/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Memory that a lane's image keeps for what comes next goes back to the host when it has not been
 * used for a while.  A timer runs for as long as there is any, so a disk that is idle is woken once
 * or twice after its last request, and then no more.
 * The loop's thread.
 */

#include "core/device/lane.h"

void lane_tidy_init(struct lane *lane);

void lane_tidy_start(struct lane *lane);

/* At the end of a turn. */
static inline void lane_tidy_later(struct lane *lane)
{
    if (context_keeps_memory(&lane->context) && !uv_is_active((const uv_handle_t *)&lane->tidy)) {
        lane_tidy_start(lane);
    }
}
