/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Keep two writers off one image, with the byte locks that QEMU uses, so that QEMU, qemu-img
 * and another vblkd refuse an image which a disk writes, and the other way round.
 * The locks belong to the open file description: closing the fd gives them up.
 * Thread: any.
 */

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/block/image_opts.h"

/*
 * What a disk does with a file, and for the sake of which image.  Two of them may be there at once
 * when neither writes, when both share it, or when their ranges have no sector in common.
 */
struct image_use {
    const char *image; /* path */
    const char *owner; /* the disk's name, by which others are told of it; NULL: it has none */
    struct image_range range;
    bool is_readonly;
    bool is_shareable; /* others may write as well, if they share it, too */
    bool is_part;      /* with a part of it, as a partition is of a device; whole in `range` */
    bool is_retry;     /* who has it was told, so it is not looked for */
    struct image_progress *progress; /* see struct image_wait; NULL: nobody asks */
};

/*
 * Lock the file `path`, which is use->image itself or what that lies on; `fd` is open for reading.
 * Returns 0; -EBUSY when somebody else's use of it excludes this one, also 0.2 s later, unless that
 * is a process that was killed and has not ended, which is waited for; -ECANCELED.
 * A file system without locks is no error: it is logged.
 */
int image_lock(int fd, const char *path, const struct image_use *use, struct err *err);

/* Close what image_lock was asked for, and give up its locks. */
void image_lock_close(int fd);
