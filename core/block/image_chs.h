/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Cylinders, heads and sectors of an image, as far as its partition table tells them: who made the
 * partitions for a BIOS had a geometry in mind.
 * Plain values.  Thread: any.
 */

#include "core/base/base.h"

struct image_chs {
    uint8_t heads; /* 1 .. 16, 0: it is not told */
    uint8_t sectors;
};

#define IMAGE_CHS_BYTES 512u

/* Of the first sector. */
struct image_chs image_chs_of(const uint8_t *sector);

/*
 * Of an open image, which is read at `offset` in a piece that direct I/O allows that asks for an
 * alignment of `align`; one that cannot be read tells nothing.  May block.
 */
struct image_chs image_chs_read(int fd, uint64_t offset, uint32_t align);
