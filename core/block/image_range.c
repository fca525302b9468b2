/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* No physical block of a disk is larger, so that is what a place is told by. */
#define ALIGNMENT_BYTES (1u << 20)

const char *image_range_say(const struct image_range *range, char text[IMAGE_RANGE_TEXT_BYTES])
{
    text[0] = '\0';
    if (range->length) {
        (void)snprintf(text, IMAGE_RANGE_TEXT_BYTES, " (bytes %" PRIu64 " to %" PRIu64 " of it)",
                       range->offset, range->offset + range->length - 1);
    } else if (range->offset) {
        (void)snprintf(text, IMAGE_RANGE_TEXT_BYTES, " (from byte %" PRIu64 " on)", range->offset);
    }
    return text;
}

struct image_range image_range_pages(const struct image_range *range)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t begin = range->offset / page * page;

    return (struct image_range){
        .offset = begin,
        .length = range->length ? round_up(range->offset + range->length, page) - begin : 0,
    };
}

/* Also what the page cache would allow: the last block of one disk would be the next one's first.
 */
static int check_range_blocks(const struct image_range *range, const struct image_shape *shape,
                              const char *path, struct err *err)
{
    uint64_t unit =
        shape->logical_block > shape->block_size ? shape->logical_block : shape->block_size;
    uint64_t odd = is_aligned(range->offset, unit) ? range->length : range->offset;

    if (is_aligned(odd, unit)) {
        return 0;
    }
    (void)err_say(err, -EINVAL,
                  "image %s has blocks of %" PRIu64 " bytes, and %s %" PRIu64
                  " is no multiple of it",
                  path, unit, odd == range->offset ? "offset" : "length", odd);
    return -EINVAL;
}

static int check_end(const struct image_range *range, const struct image_shape *shape,
                     const char *path, struct err *err)
{
    uint64_t end = range->offset + (range->length ? range->length : 1);

    if (end <= shape->size) {
        return 0;
    }
    if (range->length) {
        (void)err_say(err, -EINVAL,
                      "image %s has %" PRIu64 " bytes, and the disk is bytes %" PRIu64
                      " to %" PRIu64 " of it",
                      path, shape->size, range->offset, end - 1);
    } else {
        (void)err_say(err, -EINVAL,
                      "image %s has %" PRIu64 " bytes, and the disk begins at byte %" PRIu64, path,
                      shape->size, range->offset);
    }
    err_hint(err, "make it as large, or choose another --offset or --length");
    return -EINVAL;
}

/* The first physical block begins before the range, most of the time. */
static uint32_t alignment_of(const struct image_range *range, const struct image_shape *shape)
{
    uint64_t into =
        (range->offset + ALIGNMENT_BYTES - shape->alignment % ALIGNMENT_BYTES) % ALIGNMENT_BYTES;

    return (uint32_t)((ALIGNMENT_BYTES - into) % ALIGNMENT_BYTES);
}

int image_range_fit(const struct image_range *range, struct image_shape *shape, const char *path,
                    struct err *err)
{
    int ret;

    if (image_range_is_whole(range)) {
        return 0;
    }
    ret = check_range_blocks(range, shape, path, err);
    if (ret == 0) {
        ret = check_end(range, shape, path, err);
    }
    if (ret == 0) {
        shape->size = image_range_bytes(range, shape->size);
        shape->alignment = alignment_of(range, shape);
    }
    return ret;
}

int image_range_file_bytes(const struct image_range *range, uint64_t disk_bytes,
                           uint64_t *file_bytes, struct err *err)
{
    if (range->length) {
        (void)err_say(err, -EINVAL,
                      "the disk is %" PRIu64 " bytes of its image, from byte %" PRIu64
                      " on, and keeps that size",
                      range->length, range->offset);
        err_hint(err, "to give it another, remove it and add it with another --length");
        return -EINVAL;
    }
    if (disk_bytes > INT64_MAX - range->offset) {
        return err_set(err, -EFBIG, "%" PRIu64 " bytes behind byte %" PRIu64, disk_bytes,
                       range->offset);
    }
    *file_bytes = range->offset + disk_bytes;
    return 0;
}
