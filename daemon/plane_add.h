/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk that is added: nothing of it is there before its image is open, which is opened on a
 * thread of its own, and nothing is left of it when it fails. Thread: the disk's.
 */

#include "daemon/plane.h"

/* Answers the request when the disk runs, cannot be had, or its time has passed. */
void plane_add_open(struct plane *plane, struct plane_request *request);

/* Is its image still being opened? */
bool plane_add_is_under_way(const struct plane *plane);

/*
 * It shall not come to be: who waits for it is told so at once, by the text after the disk's name,
 * and the plane is gone when the image that it may have is closed, or left (plane_close.h).  A file
 * that is made all the same is deleted.
 */
void plane_add_cancel(struct plane *plane, const char *text);

/* The daemon ends: answers the request when the plane is gone, which waits for no file system. */
void plane_add_hurry(struct plane *plane, struct plane_request *request);
