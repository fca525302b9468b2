/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk that came back without its image, as the file system is not mounted yet, or a device not
 * there: it is tried again by the clock, until it starts, or somebody stops it or removes it.  Not
 * while somebody else has the image, or another one is in its place: that is for a person to judge.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Between two tries: doubled after each. */
#define PLANE_RETRY_MS 1000
#define PLANE_RETRY_MS_MAX 10000

/* Once; `start` begins a try. */
void plane_retry_init(struct plane *plane, void (*start)(struct plane *plane));
void plane_retry_close(struct plane *plane);

/* Nothing has come of a start for `err`: there is another one if that may mend itself. */
void plane_retry_after(struct plane *plane, const struct err *err);

/* What kept it from its start may be mended: if it is tried again, that is soon. */
void plane_retry_soon(struct plane *plane);

/* It starts, or nobody wants it to any more. */
void plane_retry_end(struct plane *plane);

/* Is it to be tried again? */
bool plane_retry_is_due(const struct plane *plane);
