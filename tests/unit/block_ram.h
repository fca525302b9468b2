/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An image in memory that takes whole blocks only, and aborts the test that asks for less.  What it
 * is given it does some sectors at a time, in any order: so who reads a block and writes it back
 * beside another one tears or loses what that writes.  Or the test does it, by hand.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "core/block/node.h"

/* What a discarded byte reads as. */
#define BLOCK_RAM_DISCARDED 0xdd

struct block_ram_opts {
    uint64_t size;
    uint32_t block;
    unsigned error_every; /* of a lane the first, and each so many later, fails; 0: none */
    bool is_by_hand;
};

struct block_ram {
    struct node node;
    struct block_ram_opts opts;
    uint8_t *bytes; /* owned; a sector at a time, under the lock */
    pthread_mutex_t lock;
    _Atomic unsigned volatiles; /* writes and zeroes without IO_FUA */
};

/* Its options are struct block_ram_opts.  What fails does so with -EIO, or -ENOSPC if it changes
 * something: a part of it may be done. */
extern const struct node_ops block_ram_ops;

/* ---- by hand; `path` is one of its own ---- */

/* That it has, from the oldest on; NULL: not so many. */
struct io *block_ram_io(const struct path *path, unsigned index);

/* Do the oldest, or fail it. */
void block_ram_end(struct path *path, int error);
