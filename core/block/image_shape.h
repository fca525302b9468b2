/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What an open file or device says of itself: its size, and in which units it is best read and
 * written.
 * Plain values.
 */

#include "core/base/base.h"

/* As in struct node_facts (node.h), where nothing else is said. */
struct image_shape {
    uint64_t size; /* bytes */
    uint32_t block_size;
    uint32_t logical_block;
    uint32_t physical_block;
    uint32_t alignment;
    uint32_t min_io;
    uint32_t opt_io;
    uint32_t mem_align; /* of buffers, for direct I/O */
    bool is_device;
};

/* What buffers, places and lengths are aligned to that suit all I/O. */
static inline uint32_t image_shape_align(const struct image_shape *shape)
{
    return shape->block_size > shape->mem_align ? shape->block_size : shape->mem_align;
}

/*
 * Of the file `fd`, with O_DIRECT or without.  Returns 0 or -errno: its size is not told.
 * Thread: any; may block.
 */
int image_shape_find(struct image_shape *shape, int fd, bool is_direct);
