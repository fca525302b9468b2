/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_zeroes.h"

#include "core/base/zeroes.h"

/*
 * To look at more would hold up the lane for much of a turn, of a millisecond; a megabyte takes up
 * to 50 microseconds.  What is not all zero mostly shows it in the first bytes.
 */
#define LOOK_MAX_BYTES (4u << 20)

bool lane_zeroes_turn(struct lane *lane, struct request *request)
{
    struct io *io = &request->io;

    if (io->op != IO_WRITE || io->length > LOOK_MAX_BYTES || !lane->path->node->facts.can_zero ||
        !zeroes_fill(io->iov, io->iov_count)) {
        return true;
    }
    if (mem_is_lost(&lane->view->mem)) {
        return false; /* they may be the zero pages in the place of what the guest has written */
    }
    io->op = IO_ZERO;
    if (lane->view->detect_zeroes == DETECT_UNMAP) {
        io->flags |= IO_MAY_UNMAP;
    }
    return true;
}

void lane_zeroes_turn_back(struct request *request)
{
    request->io.op = IO_WRITE;
    request->io.flags &= (uint16_t)~IO_MAY_UNMAP;
}
