/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A filter that serves sectors of 512 bytes over what takes larger blocks only: a device of 4096
 * bytes a sector, or a file whose file system has O_DIRECT do no less.
 *
 * What is whole blocks passes.  Of what is not, reads go through buffers of ours, writes and zeroes
 * read the blocks that they change a part of, and write them back (patch.h), and discards are cut
 * to whole blocks, as they are a hint.  Who does the second is alone on these blocks, on all lanes,
 * so that two who change different sectors of one block at the same time are both kept.
 */

#include "core/block/block_lock.h"
#include "core/block/node.h"

struct node_sector {
    struct node node;
    struct block_locks locks;
    uint32_t block; /* bytes, what the child takes no less of: a power of two, above 512 */
};

/* The child's size is whole blocks when there is I/O.  It has no options. */
extern const struct node_ops node_sector_ops;
