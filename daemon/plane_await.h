/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk whose image is not ours: its guest runs elsewhere, and comes by migration, or has gone by
 * it.  The image is closed, and not locked; when a ring starts it is taken, as a start does it, and
 * as long as somebody else has it that is tried again: the guest's requests wait in its rings.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Between two tries: while somebody else has it, and when something else is wrong. */
#define PLANE_AWAIT_BUSY_MS 50
#define PLANE_AWAIT_RETRY_MS 1000

/* For so long who has it is not looked for again, as that takes a look at all processes. */
#define PLANE_AWAIT_TELL_MS 30000

/* Once; `take` is called when the image is to be tried. */
void plane_await_init(struct plane *plane, void (*take)(struct plane *plane));

/* The image is closed, or has been looked at only: PLANE_WAITING from here on. */
void plane_await_begin(struct plane *plane);

/* It was tried, and could not be had. */
void plane_await_refused(struct plane *plane, const struct err *err);

/* Who has it was told a moment ago. */
bool plane_await_knows_holder(const struct plane *plane);

/* It is not tried any more, but for a start. */
void plane_await_end(struct plane *plane);

/* With the thread's end. */
void plane_await_close(struct plane *plane);

/* Does a guest want the image? */
bool plane_await_has_guest(const struct plane *plane);
