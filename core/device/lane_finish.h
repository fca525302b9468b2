/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How a request ends: it is answered, or held because it failed and its image wants that.
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"
#include "core/virtio/blk.h"

/* Answer it: io.result is set. */
void lane_finish(struct request *request);

/* `done` of a request's io. */
void lane_on_io_done(struct io *io);

/*
 * Answer all that a ring holds with an error, as it stops: nothing of it is in flight, and its
 * memory is there.
 */
void lane_fail_held(struct queue *q);
