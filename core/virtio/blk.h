/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The virtio-blk device: its config space, its features, and the two ends of a request:
 * chain -> struct request (blk_parse), result -> status byte and length (blk_finish).
 * All checks are made on copies; nothing is read from the guest after blk_parse, but for segments
 * (blk_ranges.h).
 * Owned by its device; disk thread only.
 * Source: VIRTIO 1.2, 5.2 "Block Device".
 */

#include <linux/virtio_blk.h>

#include "core/block/node.h"
#include "core/base/base.h"
#include "core/virtio/blk_opts.h"
#include "core/virtio/blk_request.h"
#include "core/virtio/ring.h"
#include "core/base/stats.h"

enum blk_verdict {
    BLK_SUBMIT,   /* request->io is to be done by the image */
    BLK_ANSWERED, /* nothing to do for the image: push it, status is written */
    BLK_BROKEN,   /* there is no place for a status: the ring is broken */
};

/* `opts` are resolved, or checked. */
void blk_init(struct blk *blk, const struct blk_opts *opts);

/* Change the capacity that the driver reads (bytes). */
void blk_set_capacity(struct blk *blk, uint64_t capacity);

/*
 * Is there a volatile cache for the driver, as the config space says and as it may choose by
 * CONFIG_WCE?  Without one each write is stable when it is answered.  Nothing changes where
 * opts.is_writethrough.  No request may be parsed meanwhile.
 */
void blk_set_writeback(struct blk *blk, bool on);

/*
 * A driver goes on that somebody else has served, and whether it has chosen to have no volatile
 * cache is not known.  So it has none until it flushes, which one that has none never does, or
 * chooses, or blk_trust says so.  Nothing changes where it cannot choose, or is known to have none.
 * No request may be parsed meanwhile.
 */
void blk_doubt(struct blk *blk);
void blk_trust(struct blk *blk);
bool blk_is_in_doubt(const struct blk *blk);

/* Who has served the driver before has told what it has chosen (on): there is no doubt. */
void blk_vouch(struct blk *blk, bool on);

/* Is a write volatile until the next flush?  As the driver has negotiated, and chosen. */
bool blk_is_writeback(const struct blk *blk);

/* The device's feature bits (0..23 and those of virtio-blk), ring bits not included. */
uint64_t blk_features(const struct blk *blk);

/*
 * Those that a driver may have: also what was offered before an option changed, as a front-end
 * that connects again says what its driver has accepted long ago.
 */
uint64_t blk_acceptable(const struct blk *blk);

/* Read config space; bytes past its end read as zero, as newer drivers may ask for more. */
void blk_config_read(const struct blk *blk, uint32_t offset, void *to, uint32_t len);

/*
 * Turn a popped chain into a request.  `stats->invalid` counts what is refused: that is
 * BLK_ANSWERED with io.result below 0 and `refusal` set; where data is refused, io has its length,
 * and as offset the sector.
 * request->chain is filled; everything else is set here, but for queue, start_ns, and of io
 * done and frame.
 */
enum blk_verdict blk_parse(struct blk *blk, struct request *request, struct stats *stats);

/*
 * Mark in the log of `mem` what the request has stored to the guest's memory, or may have, when it
 * has ended: its data, and for blk_mark_status the status.  There is a log.
 */
void blk_mark_data(const struct request *request, const struct mem *mem);
void blk_mark_status(const struct request *request, const struct mem *mem);

/* Write the status for io.result and count it.  Returns the used length. */
uint32_t blk_finish(struct request *request, uint64_t end_ns, struct stats *stats);
