/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The other names of an image's bytes.  A block device may have more than one node; a partition
 * is a part of its disk, and a loop device all or a part of a file.  What an image lies on is
 * locked as the image is, so that no other disk uses the same bytes by another way.
 * Owned by the image.  Thread: the disk's; opening may block.
 */

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/block/image_lock.h"
#include "core/block/image_opts.h"

/* A node beside the one that was opened; disk, file, and what that lies on in turn. */
#define IMAGE_CLAIMS 6

struct image_claim {
    int fd[IMAGE_CLAIMS]; /* owned; closing gives up the lock */
    unsigned count;
};

/*
 * For the image use->image, open as `fd` and locked.  -EBUSY when its bytes are in use: by a disk
 * of ours or of another vblkd, by a program that locks as QEMU does, or, where the image is to be
 * written, by a loop device.  What cannot be opened is not claimed.
 */
int image_claim_open(struct image_claim *claim, int fd, const struct image_use *use,
                     struct err *err);

/*
 * A device that is to be written, and not by one alone, so that it cannot be claimed for good: has
 * anything else in this host's kernel claimed it, as a mount does?  Returns 0 or -errno.
 */
int image_claim_try(const struct image_opts *opts, struct err *err);

/*
 * Open the image as open(2) does with these flags.  A device that is claimed (EBUSY) by a process
 * that was killed, and has not ended, is waited for.  Returns an fd, or -errno; -ECANCELED: nobody
 * wants it any more.
 */
int image_claim_take(const struct image_opts *opts, int flags);

/* The device could not be claimed (EBUSY): append who has it, as far as that can be seen. */
void image_claim_hint(const struct image_opts *opts, struct err *err);

void image_claim_close(struct image_claim *claim);
