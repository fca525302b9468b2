/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Another image for a disk that is there: one that has the same bytes (replace), one for a disk
 * that has none (insert), and none (eject).  It is opened, and made stable, on a thread of its own
 * before anything changes.  Of a disk that runs the image is flushed, requests are kept in the
 * rings, control writes down what the disk has from now on, and only then lanes get their ways to
 * it: so whoever comes after a crash never serves an image that lacks what was answered.  What
 * fails until then leaves all as it was.  The image that was is closed beside the thread.
 *
 * A disk that does not run keeps its state: its image is opened to be looked at, and by the next
 * start.  A stop, a removal or a guest that leaves ends what is under way, undone.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Answers the request, when it is done, or cannot be. */
void plane_medium_change(struct plane *plane, struct plane_request *request);

/* Nobody wants it any more: who waits is told so, by the text after the disk's name. */
void plane_medium_drop(struct plane *plane, int code, const char *text);

/* The same for the end of the disk, which waits for nothing of it. */
void plane_medium_end(struct plane *plane, int code, const char *text);

/* Returns true, with the answer given, for a start while one is under way. */
bool plane_medium_refuse_start(struct plane *plane, struct plane_request *request);
