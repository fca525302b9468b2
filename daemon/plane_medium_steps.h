/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How a disk comes to another image that is open (plane_medium.h), step by step; each ends in the
 * next, or in plane_medium_refuse.
 * Thread: the disk's, but for plane_medium_kept.
 */

#include "daemon/plane.h"

/* Have the image's bytes stable, and nothing in flight, and go on with the next. */
void plane_medium_take(struct plane *plane);

/* Have control write down what it is to be; then it is so. */
void plane_medium_keep(struct plane *plane);

/* Have it write down what it was; requests wait for that. */
void plane_medium_undo(struct plane *plane);

/* Nothing is changed, and why. */
void plane_medium_refuse(struct plane *plane, const struct err *err);

/* Close the image that is not the disk's, if any; who waits is told behind that, as it is free. */
void plane_medium_close(struct plane *plane);

/* It is over.  Nobody waits any more when the time was over, or the disk has gone on. */
void plane_medium_tell(struct plane *plane);

/* plane->medium.kept.err says whether it is kept.  The disk's thread is there.  Thread: control. */
void plane_medium_kept(struct plane *plane);
