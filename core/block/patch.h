/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is no whole blocks, done by whole blocks: each io has a patch for as long as that takes,
 * with a buffer, and so needs nothing else of a pool.  What finds none waits, in order, and holds
 * nothing.
 *
 * A write or a zeroing is alone on the blocks that it touches.  It reads those of which it changes
 * a part before it writes anything, so one whose read fails has changed nothing.
 *
 * Part of a path; that one's thread only.
 */

#include "core/base/slots.h"
#include "core/block/block_lock.h"
#include "core/block/io.h"

struct path;

/* At once on a lane. */
#define PATCHES 64u

struct patches {
    struct path *child; /* lent: the way below */
    struct block_lane *lane;
    struct slots slots;
    uint8_t *buffers; /* owned; untouched, and so free of cost, until used */
    uint32_t buffer_bytes;
    uint32_t block; /* bytes */
    struct io_list waiting;
};

/* Returns 0 or -ENOMEM. */
int patches_init(struct patches *patches, struct path *child, struct block_lane *lane,
                 uint32_t block);
void patches_fini(struct patches *patches);

/* A read, write or zeroing that is no whole blocks.  As node_ops.start. */
void patches_start(struct patches *patches, struct io *io);
