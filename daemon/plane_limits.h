/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The limits of a disk, its own or those of its group (core/device/limiter.h).  What holds is with
 * the limiter, as another member may have set it; plane->settings has what was last seen of it.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Its device is about to be made.  Returns 0 or -ENOMEM. */
int plane_limits_begin(struct plane *plane, struct err *err);

/* Its device asks for what holds, or nobody, where nothing is limited. */
void plane_limits_use(struct plane *plane);

/* Its device is about to be closed, or could not be made.  Nothing to do before it has begun. */
void plane_limits_end(struct plane *plane);

/* Bring plane->settings to what holds by now. */
void plane_limits_look(struct plane *plane);

/*
 * Take a place in the group of `settings`, if that is another one, so that what follows cannot fail
 * any more.  Returns 0 or -ENOMEM.
 */
int plane_limits_reserve(struct plane *plane, const struct settings *settings, struct err *err);

/* Instead of that: give it up. */
void plane_limits_unreserve(struct plane *plane);

/*
 * Use what was reserved, and have the rates of the change hold, for the whole group.  What is the
 * same as before changes nothing, also for requests that wait.
 */
void plane_limits_set(struct plane *plane, const struct settings *change);
