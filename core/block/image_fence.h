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
 * A byte that this process has locked.  What the disk was served by before has ended then, so
 * another opening for the same disk (of an image whose closing
 * hangs) does not wait.  All 0: none.
 */
struct image_fence {
    struct image_fence *next; /* of the process, under its mutex */
    uint64_t device, inode;
    uint64_t number; /* 0: none */
};

/*
 * Wait until no other process has the byte opts->fence.  Returns 0, also where that cannot be told;
 * -EBUSY: a process that lives has it; -ECANCELED, see struct image_progress.
 */
int image_fence_await(const struct image_opts *opts, struct err *err);

/* Lock it.  Returns 0, or -errno: the file system has no such locks. */
int image_fence_set(int fd, uint64_t number);

/* The same, and it is known for this process's until image_fence_close; `fence` stays in place. */
int image_fence_open(struct image_fence *fence, int fd, uint64_t number);

/* When the fd has been closed; also of none. */
void image_fence_close(struct image_fence *fence);
