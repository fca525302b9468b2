/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How a request that was parsed gets to the image.
 * The lane's thread.
 */

#include <errno.h>

#include "core/device/lane.h"
#include "core/device/lane_zeroes.h"

/* Does what was learned decide how many are taken at a time? */
static inline bool lane_learns(const struct lane *lane)
{
    return lane->image_goes_on || lane->batch.fixed > 0;
}

static inline void lane_count_in_batch(struct lane *lane, const struct io *io)
{
    if (io->op == IO_READ || io->op == IO_WRITE) {
        batch_take(&lane->batch, io->op == IO_READ ? BATCH_READ : BATCH_WRITE, io->offset,
                   io->length);
    } else {
        batch_cut(&lane->batch);
    }
}

/* Submitted by the turn. */
static inline void lane_start(struct lane *lane, struct request *request)
{
    if (__builtin_expect(lane->view->detect_zeroes != DETECT_OFF, false) &&
        !lane_zeroes_turn(lane, request)) {
        io_end(&request->io, -EFAULT);
        return;
    }
    if (lane_learns(lane)) {
        lane_count_in_batch(lane, &request->io);
    }
    path_start(lane->path, &request->io);
}
