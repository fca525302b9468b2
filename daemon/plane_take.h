/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk that comes from another process (plane_given.h): all is made ready while it still is the
 * other one's, and nothing of the guest's is touched before control says that it is ours.
 * Thread: the disk's.
 */

#include "core/block/image_opening.h"
#include "daemon/plane_given.h"

/*
 * Instead of the start of a disk that is restored: the device is there and stays paused, and
 * nothing of the guest's is touched.  Returns true when its image is being opened; on_opened tells
 * then.
 */
bool plane_given_begin(struct plane *plane, image_opened *on_opened);

/* It is ours. */
void plane_given_go_on(struct plane *plane, struct plane_request *request);
