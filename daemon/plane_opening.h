/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The image of a disk that is there is opened, for a start, a guest or when the daemon comes back:
 * on a thread of its own, so that the disk's answers meanwhile. Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * Make the disk that the state file has, whatever has become of its image or socket.  Both answer
 * the request, when the image is open, cannot be, or takes too long.
 */
void plane_opening_restore(struct plane *plane, struct plane_request *request);
void plane_opening_start(struct plane *plane, struct plane_request *request);

/*
 * Returns true, with the answer given, when the image is being closed as it could not be taken.
 */
bool plane_opening_refuse(struct plane *plane, struct plane_request *request);

/* A stop has closed the image: go on for who wants to start it again. */
void plane_opening_closed(struct plane *plane);

/* A disk that waits for its guest has one: open the image, unless that is being done. */
void plane_opening_take(struct plane *plane);

/* A disk that failed is tried again: open its image. */
void plane_opening_retry(struct plane *plane);

/*
 * Nobody wants it any more: starts that wait for it are told so, by the text after the disk's name,
 * and what is opened is closed.
 */
void plane_opening_drop(struct plane *plane, const char *text);
