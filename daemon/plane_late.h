/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a request is told whose time has passed while it waits for a drain, or for the flush after
 * it: how far that is.  What it waits for goes on.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* That requests are in flight, and which; nobody is answered. */
void plane_late_say(struct plane *plane, struct plane_request *request);

void plane_late_answer(struct plane *plane, struct plane_request *request);
