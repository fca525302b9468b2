/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's outside resources: the image that may come and go, the device and the socket
 * that stay.  Opening may block, which is why each disk has a thread.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* Open it anew for a device that is there.  Returns as device_attach does. */
int plane_open_image(struct plane *plane, struct err *err);

/* Nothing may be in flight; nothing happens when it is closed. */
void plane_close_image(struct plane *plane);

/* Delete the file if this disk made it when it was added; what it holds is nobody's. */
void plane_unmake_image(const struct plane *plane);

int plane_listen(struct plane *plane, struct err *err);

/*
 * `backend` NULL: the geometry is known from the last time.
 * After success the state is STOPPED.
 */
int plane_init_device(struct plane *plane, const struct backend *backend, struct err *err);

/*
 * Image, device and socket of a disk that is added.  After a failure the device may be there
 * all the same (the state is no longer OPENING) and has to be closed.
 */
int plane_open_new(struct plane *plane, struct err *err);
