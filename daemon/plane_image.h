/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's outside resources: the image that may come and go, the device and the socket
 * that stay.
 * Thread: the disk's.
 */

#include "core/block/image_opening.h"
#include "daemon/plane.h"

/*
 * Begin to open it anew for a device that is there, on a thread of its own: `opened` gets it, or
 * plane->image_opening is abandoned.
 */
int plane_begin_image(struct plane *plane, image_opened *opened, struct err *err);

/* The same for a disk that is added: there is no device yet, and a file may be made. */
int plane_begin_new(struct plane *plane, image_opened *opened, struct err *err);

/*
 * Give what was opened to the device.  Returns as device_attach does, and -ESTALE for another file
 * or device than the one that was open last, unless that `may_differ`.
 */
int plane_take_image(struct plane *plane, struct image *image, bool may_differ, struct err *err);

/* The path of its image; copied. */
void plane_image_name(struct plane *plane, const char *path);

/* What the disk opens in its place; `config` is lent to `opts`: its path. */
void plane_other_image(const struct plane *plane, const struct image_config *config,
                       struct image_opts *opts);

int plane_listen(struct plane *plane, struct err *err);

/*
 * `image` NULL: the geometry is known from the last time.
 * After success the state is STOPPED.
 */
int plane_init_device(struct plane *plane, const struct image *image, struct err *err);
