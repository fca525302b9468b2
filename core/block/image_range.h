/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which bytes of a file or a device are the disk's: all of them, or some that follow one another.
 * Plain values.
 */

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/block/image_shape.h"

/* All 0: all of them.  offset + length is no more than INT64_MAX. */
struct image_range {
    uint64_t offset;
    uint64_t length; /* 0: to the end, wherever that is or will be */
};

static inline bool image_range_is_whole(const struct image_range *range)
{
    return range->offset == 0 && range->length == 0;
}

/* What the disk has of a file of so many bytes; may be less than its length. */
static inline uint64_t image_range_bytes(const struct image_range *range, uint64_t file_bytes)
{
    uint64_t left = file_bytes > range->offset ? file_bytes - range->offset : 0;

    return range->length ? min_of(range->length, left) : left;
}

/*
 * The range with all of the pages that it has a part of: what the page cache reads and writes of
 * it.  Whoever writes to the rest of such a page past the page cache may find it undone.
 */
struct image_range image_range_pages(const struct image_range *range);

/* " (bytes 1048576 to 2097151 of it)", "" for all of them. */
#define IMAGE_RANGE_TEXT_BYTES 96
const char *image_range_say(const struct image_range *range, char text[IMAGE_RANGE_TEXT_BYTES]);

/*
 * Make of the shape of the whole image `path` that of the range.  Returns 0, or -EINVAL: it does
 * not lie within, or not in whole blocks.
 */
int image_range_fit(const struct image_range *range, struct image_shape *shape, const char *path,
                    struct err *err);

/*
 * How many bytes must the file have, for the disk to have so many?  Returns 0, or -EINVAL: the
 * range has a length of its own.
 */
int image_range_file_bytes(const struct image_range *range, uint64_t disk_bytes,
                           uint64_t *file_bytes, struct err *err);
