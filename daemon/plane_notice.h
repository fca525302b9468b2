/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An image that was made larger by others is noticed, and its disk grows.  Each look at what has
 * become of the image (plane_look.h) finds it; while a guest runs there is one every few seconds,
 * and without one nothing goes by the clock.  What was made smaller is not followed: a guest would
 * lose what it has there.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Between two looks while a ring runs. */
#define PLANE_NOTICE_MS 3000

/* Once: opens and closes its timer.  `look` begins a look, unless one is under way. */
void plane_notice_init(struct plane *plane, void (*look)(struct plane *plane));
void plane_notice_close(struct plane *plane);

/* A ring runs, or the disk does: look, now and again. */
void plane_notice_begin(struct plane *plane);

/* A look is over: does the image have more than the guest knows? */
void plane_notice_looked(struct plane *plane);
