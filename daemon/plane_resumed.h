/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A stop goes on past its time-out, and control counts the disk as stopped from then on; when it
 * is refused after all nobody waits for an answer that would say so.  The same of a start, which
 * counts from then on, and may fail, or open another image than before.  And a guest that has come
 * has the image.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* The disk runs, or it is stopped: let control know by plane->resumed, if it may think otherwise.
 */
void plane_resumed_tell(struct plane *plane);
