/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Operations as the kernel has them: for image.c and engine.c. */

#include "core/block/engine.h"

#define SIM_PIECES 160u

struct sim_piece {
    uint64_t offset; /* in guest memory, as the file has it: a mapping may go, the page does not */
    size_t bytes;
    uint8_t *bounce; /* the process's own memory instead, NULL: it is gone as well, or was none */
    bool is_bounced;
};

struct sim_op {
    enum io_op op;
    uint16_t flags;
    uint64_t offset;
    uint64_t length; /* of both, bytes */
    uint64_t done;
    int64_t result;
    bool is_under_way;
    unsigned wakes; /* nothing of it is done before so many steps of the world */
    void *data;
    const void *owner; /* who takes the result, NULL: the process is gone */
    int event_fd;
    bool is_whole; /* no piece has a part of a sector */
    unsigned piece_count;
    struct sim_piece piece[SIM_PIECES];
};

static const char *const op_names[] = {"read", "write", "flush", "discard", "zeroing"};

/* The kernel has it from now on.  Returns false: it has no room for the moment. */
bool image_begin(const struct sim_op *op);

/* One of this owner's that has ended.  Returns false: there is none. */
bool image_take(const void *owner, struct sim_op *op);
