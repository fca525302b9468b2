/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's way from one state to another (plane.h): each request is answered when it has got
 * there, or will not.  Of stops see plane_stop.h.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

void plane_life_open(struct plane *plane, struct plane_request *request);
void plane_life_start(struct plane *plane, struct plane_request *request);
void plane_life_remove(struct plane *plane, struct plane_request *request);

/* Returns true, with the reason in the request, when a front-end is connected and nobody insists.
 */
bool plane_life_refuse_used(struct plane *plane, struct plane_request *request);
