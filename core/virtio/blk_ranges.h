/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The segments of a DISCARD or WRITE_ZEROES, which are data that the guest wrote: an io of the
 * request has one of them at a time.  They stay in the guest's memory, so that there may be many.
 * Each is copied and checked twice: all of them before the first is begun, as a request with a
 * faulty one must do nothing, and each when it is its turn, as it may have been changed by then.
 * Thread: the disk's, or its lane's.
 * Source: VIRTIO 1.2, 5.2.6 "Device Operation" (struct virtio_blk_discard_write_zeroes).
 */

#include "core/virtio/blk_request.h"

/*
 * Check those in the guest's pieces `out`, as chain.out_count has them.  REFUSAL_NONE: they are
 * good, and blk_ranges_next comes to the first; else io has the sector and bytes of what is wrong.
 */
enum refusal blk_ranges_begin(const struct blk *blk, struct request *request,
                              const struct iovec *out);

/*
 * Have io be the next segment that is not empty.  Returns false when that is not so: io.result is
 * 0, and its length that of all; or -EINVAL, as the guest has changed one to what is faulty.
 */
bool blk_ranges_next(const struct blk *blk, struct request *request);
