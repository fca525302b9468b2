/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/virtio/blk_ranges.h"

#include <errno.h>

static struct virtio_blk_discard_write_zeroes copy_segment(const struct iovec *ranges,
                                                           struct iov_place *at)
{
    struct virtio_blk_discard_write_zeroes segment;

    iov_gather(ranges, at, (uint8_t *)&segment, sizeof(segment));
    return segment;
}

static uint64_t bytes_of_segment(const struct virtio_blk_discard_write_zeroes *segment)
{
    return (uint64_t)segment->num_sectors * SECTOR_SIZE;
}

/* Source: VIRTIO 1.2, 5.2.6.2 "Device Requirements: Device Operation" (UNSUPP for flags). */
static enum refusal check_segment(const struct blk *blk, uint32_t type,
                                  const struct virtio_blk_discard_write_zeroes *segment)
{
    uint32_t known = type == VIRTIO_BLK_T_DISCARD ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    uint64_t capacity = blk->opts.capacity / SECTOR_SIZE;

    if (segment->flags & ~known) {
        return REFUSAL_FLAGS;
    }
    if (!range_ok(segment->sector, segment->num_sectors, capacity)) {
        return REFUSAL_RANGE;
    }
    return is_aligned(segment->sector * SECTOR_SIZE | bytes_of_segment(segment),
                      blk->opts.logical_block)
               ? REFUSAL_NONE
               : REFUSAL_ALIGN;
}

static enum refusal check_segments(const struct blk *blk, struct request *request)
{
    struct iov_place at = {0};

    for (uint32_t i = 0; i < request->ranges_left; i++) {
        struct virtio_blk_discard_write_zeroes segment = copy_segment(request->ranges, &at);
        enum refusal why = check_segment(blk, request->type, &segment);

        if (why != REFUSAL_NONE) {
            request->io.offset = segment.sector;
            request->io.length = bytes_of_segment(&segment);
            return why;
        }
    }
    return REFUSAL_NONE;
}

enum refusal blk_ranges_begin(const struct blk *blk, struct request *request,
                              const struct iovec *out)
{
    const struct chain *chain = &request->chain;

    if (chain->in_bytes > 0) {
        return REFUSAL_DIRECTION;
    }
    if (chain->out_bytes == 0 ||
        chain->out_bytes % sizeof(struct virtio_blk_discard_write_zeroes) != 0 ||
        chain->out_bytes / sizeof(struct virtio_blk_discard_write_zeroes) > BLK_RANGES_MAX) {
        return REFUSAL_RANGES;
    }
    request->ranges = out;
    request->ranges_at = (struct iov_place){0};
    request->ranges_left =
        (uint32_t)(chain->out_bytes / sizeof(struct virtio_blk_discard_write_zeroes));
    request->ranges_bytes = 0;
    return check_segments(blk, request);
}

/* The flag of one segment is none of the next. */
static void take_segment(const struct blk *blk, struct request *request,
                         const struct virtio_blk_discard_write_zeroes *segment)
{
    struct io *io = &request->io;

    io->offset = segment->sector * SECTOR_SIZE;
    io->length = bytes_of_segment(segment);
    io->flags &= (uint16_t)~IO_MAY_UNMAP;
    if ((segment->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) &&
        blk->opts.zeroes == BLK_ZEROES_UNMAP) {
        io->flags |= IO_MAY_UNMAP;
    }
    request->ranges_bytes += io->length;
}

bool blk_ranges_next(const struct blk *blk, struct request *request)
{
    while (request->ranges_left > 0) {
        struct virtio_blk_discard_write_zeroes segment =
            copy_segment(request->ranges, &request->ranges_at);

        request->ranges_left--;
        if (check_segment(blk, request->type, &segment) != REFUSAL_NONE) {
            request->io.result = -EINVAL;
            return false;
        }
        if (segment.num_sectors > 0) {
            take_segment(blk, request, &segment);
            return true;
        }
    }
    request->io.length = request->ranges_bytes;
    request->io.result = 0;
    return false;
}
