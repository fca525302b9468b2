/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Control's door to a disk's thread: it is started, asked and ended here, and requests come out
 * of its mailbox one by one.
 * Thread: control.
 */

#include "daemon/plane.h"

/*
 * Start the disk's thread.  `opts` is copied.
 * gone     after a removal, or after an open that failed: call plane_end
 * ended    the thread is joined: the memory may go
 * resumed  a stop that was said to go on past its time-out was refused, or a start has ended:
 *          plane->again
 */
int plane_start(struct plane *plane, const struct plane_opts *opts, struct mailbox *control,
                void (*gone)(struct plane *plane), void (*ended)(struct plane *plane),
                void (*resumed)(struct plane *plane), struct err *err);

/* The first request must be PLANE_OPEN; none after plane_end. */
void plane_send(struct plane *plane, struct plane_request *request);

/* Once, after `gone`. */
void plane_end(struct plane *plane);
