/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How a disk that runs stops: nothing in flight, all on stable storage, the image closed.  As a
 * client asks for it, until it is started; or to hand the image over, as the guest was migrated:
 * then it is PLANE_WAITING afterwards (plane_await.h).
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Answers the request when it is done. */
void plane_stop(struct plane *plane, struct plane_request *request);

/* The disk runs; nobody waits for it. */
void plane_stop_to_hand_over(struct plane *plane);

/* It is under way, and the image is not being closed: go on as if nobody had asked. */
void plane_stop_cancel(struct plane *plane);
