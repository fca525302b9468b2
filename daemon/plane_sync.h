/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The flush before an image is closed: what was written shall be on stable storage, or its loss
 * told, while there is somebody to be told.  An error that nobody has asked for is gone with the
 * last who has the file open, or with the file's place in memory.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * Flush the image if it needs that, however long it takes, and call `synced`, never from within
 * this call. Nothing is in flight, and `reason` keeps it so.  plane->loss has what was lost.
 */
void plane_sync(struct plane *plane, enum pause_reason reason, void (*synced)(struct plane *plane));

/* Something that it waited for is over. */
void plane_sync_wake(struct plane *plane);

/* Is somebody with the image's file, so that it cannot be closed yet? */
bool plane_sync_waits_for_file(const struct plane *plane);

/* Nobody waits for it any more; what was begun goes on. */
void plane_sync_cancel(struct plane *plane);

/* A flush of ours has ended: what it lost is told once, also by a flush that is a success. */
void plane_sync_note(struct plane *plane, int64_t result);

/* For how long a flush has been under way that somebody waits for; 0: none is. */
uint64_t plane_sync_age_ns(const struct plane *plane);
