/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What keeps a disk from using its image while I/O of a process is under way that served it before
 * and was killed: a byte of the disk's own, locked on the open file description that carries the
 * I/O.  The kernel gives it up with the last reference to that, and each operation has one, also
 * when the process has gone, as with io_uring.  Other disks of the same image have other bytes.
 * Thread: the opening's.
 */

#include "core/base/err.h"
#include "core/block/image_opts.h"

/*
 * Wait until nobody has the byte opts->fence.  Returns 0, also where that cannot be told; -EBUSY: a
 * process that lives has it; -ECANCELED, see struct image_progress.
 */
int image_fence_await(const struct image_opts *opts, struct err *err);

/* Lock it.  Returns 0, or -errno: the file system has no such locks. */
int image_fence_set(int fd, uint64_t fence);
