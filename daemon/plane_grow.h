/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk that grows under its guest, as its image has more: nothing is waited for, and the guest is
 * told.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* May the disk get another size?  Returns 0, or -EBUSY and why not. */
int plane_grow_check(const struct plane *plane, struct err *err);

/* Tell the guest, and the log, that the disk had `before` bytes and has what the device says. */
void plane_grow_tell(struct plane *plane, uint64_t before);

/* `node` is the root, and has `bytes` by now, more than the guest knows.  0 or -errno. */
int plane_grow(struct plane *plane, const struct node *node, uint64_t bytes, struct err *err);
