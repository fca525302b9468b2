/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Keep two writers off one image, with the byte locks that QEMU uses, so that QEMU, qemu-img
 * and another vblkd refuse an image which a disk writes, and the other way round.
 * The locks belong to the open file description: closing the fd gives them up.
 * Thread: any.
 */

#include "core/base.h"
#include "core/err.h"

/*
 * Returns 0, or -EBUSY when somebody else's use of the image excludes ours.
 * A file system without locks is no error: it is logged.
 */
int image_lock(int fd, const char *path, bool is_readonly, struct err *err);
