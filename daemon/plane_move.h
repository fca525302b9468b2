/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A change of settings that moves rings to other threads while the guest runs: pause, drain,
 * move, resume.  One at a time.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * Answers the request when it is done, cannot be done, or takes too long.  There are to be `lanes`
 * threads afterwards.
 */
void plane_move(struct plane *plane, struct plane_request *request, unsigned lanes);

/* Wait no longer, and go on as before; the request is still waiting.  Nothing: no harm. */
void plane_move_cancel(struct plane *plane);
