/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How a range of a file or device is given back, or zeroed, a piece at a time: the best way that
 * the host has, and of zeroes at last to write them.  What it has not is learned by asking once.
 * Owned by its wiper.  Thread: its helper's; each piece blocks.
 */

#include "core/block/io.h"

/*
 * Bytes of a piece at most.  Meanwhile others wait for the file system's lock on the file, or for
 * the device; a piece ends where a multiple of it does.  In a file of many extents it takes long:
 * then they are smaller, a power of two of at least so many.
 */
#define WIPE_PIECE_BYTES (32u << 20)
#define WIPE_PIECE_MIN_BYTES (1u << 20)

/* How long others may wait: what takes longer is halved, what takes a quarter of it doubled. */
#define WIPE_SLOW_NS (8 * NS_PER_MS)

struct image_file;

struct wipe {
    const struct image_file *image; /* lent */
    unsigned lacks;                 /* bit = way that the host has not */
    unsigned halved;                /* how often: pieces are as much smaller */
};

/*
 * Do the first piece of a range.  Returns how many bytes of it are done, or -errno.  `*freed` grows
 * by the bytes that the file system had more of afterwards.
 */
int64_t wipe_piece(struct wipe *wipe, const struct io *io, uint64_t offset, uint64_t length,
                   uint64_t *freed);
