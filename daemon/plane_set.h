/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Settings that change while the disk is there.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * All of the change or nothing.  -EBUSY: what is open stays as it was opened; other errors: the
 * threads are not to be had.
 * `*has_changed`: something is otherwise than before.
 */
int plane_set(struct plane *plane, const struct settings *change, bool *has_changed,
              struct err *err);

/*
 * Does it move rings to other threads?  Then it needs the disk drained, with PAUSE_MOVE, and no I/O
 * of our own on threads that end, from `*lanes` on.
 */
bool plane_set_moves(const struct plane *plane, const struct settings *change, unsigned *lanes);

/*
 * As many threads as the settings say.  The device is drained and paused.  After an error it
 * has as many as before.
 */
int plane_set_threads(struct plane *plane, struct err *err);

/* Tell a new device what the settings are. */
void plane_set_poll(struct plane *plane);
void plane_set_huge(struct plane *plane);
void plane_set_zeroes(struct plane *plane);
void plane_set_errors(struct plane *plane);
