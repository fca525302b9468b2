/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Looks at what has become of the image's file, on a thread of their own, as the file system may
 * hang.  Nobody looks by the clock, only before an answer that tells it or goes by it.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* How long an answer waits for a look: one that only tells of it, and one that goes by it. */
#define PLANE_LOOK_TELL_MS 250
#define PLANE_LOOK_DECIDE_MS 1000

/* The image's file, -1: it is not open, or has none. */
int plane_look_fd(const struct plane *plane);

/*
 * Look, and call `done` when that is over; the image stays open until then (plane_sync.h).
 * Returns false when there is no thread to be had, or no image any more.
 */
bool plane_look_begin(struct plane *plane, void (*done)(struct plane *plane));

/* For information: as of the latest look. */
struct image_fate plane_look_latest(const struct plane *plane);

/* How large the image was then, in bytes.  Returns false when that cannot be told. */
bool plane_look_size(const struct plane *plane, uint64_t *bytes);

/* For how long a look has been under way; 0: none is. */
uint64_t plane_look_age_ns(const struct plane *plane);

/* Longer than an answer that only tells of it would wait. */
bool plane_look_hangs(const struct plane *plane);

/* What request->is_blind means for who wants to close the image.  Thread: any. */
void plane_look_say_blind(const char *name, struct err *err);

/* The same of a look that has not been back for so long. */
void plane_look_say_hangs(const char *name, uint64_t age_ns, struct err *err);

/* The image was opened, or is about to be closed; in the latter case what is lost is logged. */
void plane_look_opened(struct plane *plane);
void plane_look_closing(struct plane *plane);
