/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which file or device an image is, whatever its path says: for telling it from another that has
 * taken its place.  Plain values; good until the next boot, as the numbers of devices change then.
 */

#include "core/base/base.h"

struct image_id {
    uint64_t device;  /* of the file system; of a block device its own; 0: it cannot be told */
    uint64_t inode;   /* 0: a block device */
    uint64_t born_ns; /* CLOCK_REALTIME; tells an inode number from its next use; 0: not known */
};

#define IMAGE_ID_BYTES 64

/*
 * Of an open file; what cannot be told is all 0: file systems that make up inode numbers as they
 * go (FUSE, FAT, CIFS) give a file another one when it has been forgotten.
 * May block.  Thread: any.
 */
struct image_id image_id_of_fd(int fd);

/* May they be the same?  True when one of them cannot be told.  Thread: any. */
bool image_id_same(const struct image_id *a, const struct image_id *b);

struct stat;

/* Is that the file or device, while it is open: nothing else has its number then?  Thread: any. */
bool image_id_is_of(const struct image_id *id, const struct stat *st);

/* "inode 12 on device 8:1", "device 8:16"; `text` has IMAGE_ID_BYTES.  Thread: any. */
void image_id_say(const struct image_id *id, char *text);
