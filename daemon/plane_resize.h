/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Another size of a disk under its guest, as a client asks for it.
 *
 * What grows has its image made longer first, and the guest told then (plane_grow.h).  What shrinks
 * is taken from the guest first, when nothing is in flight, and kept in the state file, as a disk
 * that has more than its image is not started; only then is the image cut.  What may block goes on
 * beside the disk's thread, and who waits for it is answered by a deadline: to grow goes on behind
 * that, to shrink does not, unless the guest has been told.
 *
 *   LOOKS --grows, or has it------------------------------> NONE
 *     '-----shrinks--> DRAINS --> KEEPS --kept--> CUTS ---> NONE
 *
 * Thread: the disk's, but for plane_resize_kept.
 */

#include "daemon/plane.h"

/* Answers the request when it is done, cannot be done, or takes too long. */
void plane_resize(struct plane *plane, struct plane_request *request);

/* The disk goes: those who wait have been answered. */
void plane_resize_cancel(struct plane *plane);

/* plane->resize.err says whether the size is kept.  The disk's thread is there.  Thread: control.
 */
void plane_resize_kept(struct plane *plane);
