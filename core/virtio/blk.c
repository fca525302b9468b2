/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/virtio/blk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/iov.h"
#include "core/virtio/blk_ranges.h"

/* Source: VIRTIO 1.2, 5.2.4 "Device configuration layout". */
void blk_init(struct blk *blk, const struct blk_opts *opts)
{
    struct virtio_blk_config *c = &blk->config;
    struct blk_shown *shown = &blk->opts.shown;

    assert(blk_opts_check(opts, NULL) == 0);
    memset(blk, 0, sizeof(*blk));
    blk->opts = *opts;
    if (!shown->features) {
        *shown = blk_shown_new(opts);
    }
    c->capacity = opts->capacity / SECTOR_SIZE;
    c->size_max = shown->size_max;
    c->seg_max = shown->seg_max;
    c->blk_size = opts->logical_block;
    c->physical_block_exp = (__u8)__builtin_ctz(opts->physical_block / opts->logical_block);
    c->alignment_offset = (__u8)(opts->alignment / opts->logical_block);
    c->min_io_size =
        (__u16)((opts->min_io ? opts->min_io : opts->physical_block) / opts->logical_block);
    c->opt_io_size = opts->opt_io / opts->logical_block;
    c->geometry.cylinders = opts->chs.cylinders;
    c->geometry.heads = opts->chs.heads;
    c->geometry.sectors = opts->chs.sectors;
    c->num_queues = (__u16)opts->queues;
    c->wce = !opts->is_writethrough;
    c->max_discard_sectors = shown->max_discard_sectors;
    c->max_discard_seg = shown->max_discard_seg;
    c->discard_sector_alignment = opts->discard_block / SECTOR_SIZE;
    c->max_write_zeroes_sectors = shown->max_write_zeroes_sectors;
    c->max_write_zeroes_seg = shown->max_write_zeroes_seg;
    c->write_zeroes_may_unmap = opts->zeroes == BLK_ZEROES_UNMAP;
}

void blk_set_capacity(struct blk *blk, uint64_t capacity)
{
    blk->opts.capacity = capacity;
    blk->config.capacity = capacity / SECTOR_SIZE;
}

void blk_trust(struct blk *blk)
{
    atomic_store_explicit(&blk->is_in_doubt, false, memory_order_relaxed);
}

void blk_set_writeback(struct blk *blk, bool on)
{
    blk->config.wce = on && !blk->opts.is_writethrough;
    blk_trust(blk);
}

static bool may_choose(const struct blk *blk)
{
    return blk->features & BIT(VIRTIO_BLK_F_CONFIG_WCE);
}

void blk_doubt(struct blk *blk)
{
    atomic_store_explicit(&blk->is_in_doubt, may_choose(blk) && blk->config.wce && !blk->is_known,
                          memory_order_relaxed);
}

void blk_vouch(struct blk *blk, bool on)
{
    blk->is_known = on;
    if (on) {
        blk_trust(blk);
    }
}

bool blk_is_in_doubt(const struct blk *blk)
{
    return atomic_load_explicit(&blk->is_in_doubt, memory_order_relaxed);
}

static bool can_flush(const struct blk *blk)
{
    return blk->features & BIT(VIRTIO_BLK_F_FLUSH);
}

/*
 * A driver without FLUSH cannot ask for stable storage, so each write goes there.
 * Source: VIRTIO 1.2, 5.2.6.2 (writeback or writethrough, as negotiated).
 */
bool blk_is_writeback(const struct blk *blk)
{
    return blk->config.wce && can_flush(blk) && !blk_is_in_doubt(blk);
}

/* Where nothing is written, or all of it is stable, there is nothing to choose. */
static bool has_choice(const struct blk *blk)
{
    return !blk->opts.is_writethrough && !blk->opts.is_readonly;
}

uint64_t blk_features(const struct blk *blk)
{
    uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
                        BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ);

    if (blk->opts.is_readonly) {
        features |= BIT(VIRTIO_BLK_F_RO);
    }
    if (blk->opts.shown.size_max) {
        features |= BIT(VIRTIO_BLK_F_SIZE_MAX);
    }
    if (blk->opts.chs.heads) {
        features |= BIT(VIRTIO_BLK_F_GEOMETRY);
    }
    if (blk->opts.discard_block) {
        features |= BIT(VIRTIO_BLK_F_DISCARD);
    }
    if (blk->opts.zeroes != BLK_ZEROES_OFF) {
        features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
    }
    if (blk->opts.has_config_wce && has_choice(blk)) {
        features |= BIT(VIRTIO_BLK_F_CONFIG_WCE);
    }
    return features;
}

uint64_t blk_acceptable(const struct blk *blk)
{
    return blk_features(blk) | (has_choice(blk) ? BIT(VIRTIO_BLK_F_CONFIG_WCE) : 0);
}

/*
 * Source: VIRTIO 1.2, 5.2.5.2 "Device Requirements: Device Initialization" (writeback is 0 for a
 * driver that has CONFIG_WCE and not FLUSH).
 */
void blk_config_read(const struct blk *blk, uint32_t offset, void *to, uint32_t len)
{
    struct virtio_blk_config config = blk->config;

    if (may_choose(blk) && !can_flush(blk)) {
        config.wce = 0;
    }
    memset(to, 0, len);
    if (offset < sizeof(config)) {
        memcpy(to, (const uint8_t *)&config + offset, min_of((size_t)len, sizeof(config) - offset));
    }
}

static enum blk_verdict answer_request(struct request *request, uint32_t used_len)
{
    request->used_len = used_len;
    request->io.result = 0;
    return BLK_ANSWERED;
}

static enum blk_verdict refuse_request(struct request *request, enum refusal why,
                                       struct stats *stats)
{
    stats->invalid++;
    request->refusal = (uint8_t)why;
    request->status_on_error =
        why == REFUSAL_TYPE || why == REFUSAL_FLAGS ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
    request->io.result = -EINVAL;
    return BLK_ANSWERED;
}

/* Offset and length are for people. */
static enum blk_verdict refuse_data(struct request *request, enum refusal why, uint64_t sector,
                                    uint64_t bytes, struct stats *stats)
{
    request->io.offset = sector;
    request->io.length = bytes;
    return refuse_request(request, why, stats);
}

/*
 * Is a read or write of `bytes` at `sector` one that the disk can do?
 * Source: VIRTIO 1.2, 5.2.6.2 "Device Requirements: Device Operation".
 */
static enum refusal check_data(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
    uint64_t block = blk->opts.logical_block;

    if (bytes > BLK_MAX_BYTES) {
        return REFUSAL_LENGTH;
    }
    if (!is_aligned(bytes | sector * SECTOR_SIZE, block)) {
        return REFUSAL_ALIGN;
    }
    return range_ok(sector, bytes / SECTOR_SIZE, blk->opts.capacity / SECTOR_SIZE) ? REFUSAL_NONE
                                                                                   : REFUSAL_RANGE;
}

static enum blk_verdict submit_data(struct request *request, uint64_t sector, uint64_t bytes,
                                    struct iovec *iov, unsigned count)
{
    request->io.offset = sector * SECTOR_SIZE;
    request->io.length = bytes;
    request->io.iov = iov;
    request->io.iov_count = (uint16_t)count;
    return bytes ? BLK_SUBMIT : answer_request(request, 1);
}

/* The status byte has been taken off `in_bytes`, the header off `out_bytes`. */
static enum blk_verdict parse_in(struct blk *blk, struct request *request, uint64_t sector,
                                 struct iovec *in, struct stats *stats)
{
    struct chain *chain = &request->chain;
    enum refusal why =
        chain->out_bytes > 0 ? REFUSAL_DIRECTION : check_data(blk, sector, chain->in_bytes);

    if (why != REFUSAL_NONE) {
        return refuse_data(request, why, sector, chain->in_bytes, stats);
    }
    request->io.op = IO_READ;
    request->used_len = (uint32_t)chain->in_bytes + 1;
    return submit_data(request, sector, chain->in_bytes, in, chain->in_count);
}

static uint16_t flags_of_write(const struct blk *blk)
{
    return blk->opts.is_unsafe || blk_is_writeback(blk) ? 0 : IO_FUA;
}

static enum blk_verdict parse_out(struct blk *blk, struct request *request, uint64_t sector,
                                  struct iovec *out, struct stats *stats)
{
    struct chain *chain = &request->chain;
    enum refusal why = blk->opts.is_readonly ? REFUSAL_READONLY
                       : chain->in_bytes > 0 ? REFUSAL_DIRECTION
                                             : check_data(blk, sector, chain->out_bytes);

    if (why != REFUSAL_NONE) {
        return refuse_data(request, why, sector, chain->out_bytes, stats);
    }
    request->io.op = IO_WRITE;
    request->io.flags = flags_of_write(blk);
    return submit_data(request, sector, chain->out_bytes, out, chain->out_count);
}

/*
 * Of a discard nothing is to be found again, so nothing of it has to be stable.
 * Source: VIRTIO 1.2, 5.2.6 "Device Operation" (struct virtio_blk_discard_write_zeroes).
 */
static enum blk_verdict parse_ranges(struct blk *blk, struct request *request, struct iovec *out,
                                     struct stats *stats)
{
    bool is_discard = request->type == VIRTIO_BLK_T_DISCARD;
    uint64_t feature = BIT(is_discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES);
    enum refusal why = blk->features & feature ? blk_ranges_begin(blk, request, out) : REFUSAL_TYPE;

    if (why != REFUSAL_NONE) {
        return refuse_request(request, why, stats);
    }
    request->io.op = is_discard ? IO_DISCARD : IO_ZERO;
    request->io.flags = is_discard ? 0 : flags_of_write(blk);
    if (blk_ranges_next(blk, request)) {
        return BLK_SUBMIT;
    }
    return request->io.result < 0 ? refuse_request(request, REFUSAL_RANGES, stats) : BLK_ANSWERED;
}

/*
 * A read-only image has nothing to flush, and the host may refuse to; of one that is unsafe nobody
 * wants to wait for it.
 */
static enum blk_verdict parse_flush(struct blk *blk, struct request *request)
{
    if (blk_is_in_doubt(blk)) {
        blk_trust(blk);
    }
    if (blk->opts.is_readonly || blk->opts.is_unsafe) {
        return answer_request(request, 1);
    }
    request->io.op = IO_FLUSH;
    return BLK_SUBMIT;
}

static enum blk_verdict parse_get_id(const struct blk *blk, struct request *request,
                                     struct iovec *in, struct stats *stats)
{
    size_t len = min_of((uint64_t)BLK_SERIAL_BYTES, request->chain.in_bytes);
    struct iov_place start = {0};

    if (len == 0) {
        return refuse_request(request, REFUSAL_ID, stats);
    }
    request->io.iov = in;
    request->io.iov_count = (uint16_t)request->chain.in_count;
    iov_scatter(in, &start, (const uint8_t *)blk->opts.serial, len);
    return answer_request(request, (uint32_t)len + 1);
}

static enum stats_type kind_of(uint32_t type)
{
    switch (type) {
    case VIRTIO_BLK_T_IN:
        return STATS_READ;
    case VIRTIO_BLK_T_OUT:
        return STATS_WRITE;
    case VIRTIO_BLK_T_FLUSH:
        return STATS_FLUSH;
    case VIRTIO_BLK_T_DISCARD:
        return STATS_DISCARD;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return STATS_ZEROES;
    default:
        return STATS_OTHER;
    }
}

static enum blk_verdict parse_type(struct blk *blk, struct request *request, uint64_t sector,
                                   struct iovec *out, struct iovec *in, struct stats *stats)
{
    switch (request->type) {
    case VIRTIO_BLK_T_IN:
        return parse_in(blk, request, sector, in, stats);
    case VIRTIO_BLK_T_OUT:
        return parse_out(blk, request, sector, out, stats);
    case VIRTIO_BLK_T_FLUSH:
        return parse_flush(blk, request);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return parse_ranges(blk, request, out, stats);
    case VIRTIO_BLK_T_GET_ID:
        return parse_get_id(blk, request, in, stats);
    default:
        return refuse_request(request, REFUSAL_TYPE, stats);
    }
}

/* Cut the status byte, the last writable one, off the pieces. */
static void drop_status(struct chain *chain)
{
    struct iovec *last = &chain->iov[chain->out_count + chain->in_count - 1];

    if (--last->iov_len == 0) {
        chain->in_count--;
    }
    chain->in_bytes--;
}

/*
 * A slot is used again and again: what only some paths set must not be the last request's.
 * io.done and io.frame are the lane's.
 */
static void forget_last(struct request *request)
{
    struct io *io = &request->io;

    io->op = IO_READ;
    io->flags = 0;
    io->iov_count = 0;
    io->offset = 0;
    io->length = 0;
    io->iov = NULL;
    io->result = 0;
    request->used_len = 1;
    request->type = 0;
    request->status_on_error = VIRTIO_BLK_S_IOERR;
    request->kind = STATS_OTHER;
    request->ranges_left = 0;
}

/* The pieces hold it.  Almost all drivers give it one of its own. */
static void take_header(struct chain *chain, struct iovec **out, struct virtio_blk_outhdr *header)
{
    if ((*out)->iov_len == sizeof(*header)) {
        copy_once(header, (*out)->iov_base, sizeof(*header));
        (*out)++;
        chain->out_count--;
    } else {
        iov_take(out, &chain->out_count, (uint8_t *)header, sizeof(*header));
    }
    chain->out_bytes -= sizeof(*header);
}

enum blk_verdict blk_parse(struct blk *blk, struct request *request, struct stats *stats)
{
    struct chain *chain = &request->chain;
    struct virtio_blk_outhdr header;
    struct iovec *out = chain->iov;
    struct iovec *in = chain->iov + chain->out_count;

    forget_last(request);
    request->status = chain->last_in;
    if (!request->status) {
        return BLK_BROKEN;
    }
    if (chain->fault || chain->out_bytes < sizeof(header)) {
        return refuse_request(request, chain->fault ? REFUSAL_CHAIN : REFUSAL_HEADER, stats);
    }
    drop_status(chain);
    take_header(chain, &out, &header);
    request->type = header.type;
    request->kind = kind_of(header.type);
    return parse_type(blk, request, header.sector, out, in, stats);
}

uint32_t blk_finish(struct request *request, uint64_t end_ns, struct stats *stats)
{
    struct stats_requests *counter = &stats->type[request->kind];

    counter->requests++;
    counter->time_ns += end_ns - request->start_ns;
    if (request->io.result == 0) {
        counter->bytes += request->io.length;
        *request->status = VIRTIO_BLK_S_OK;
        return request->used_len;
    }
    counter->errors++;
    *request->status = request->status_on_error;
    return 1;
}

/* One that failed may have stored a part.  Of what is answered without the image, io tells as well.
 */
void blk_mark_data(const struct request *request, const struct mem *mem)
{
    const struct io *io = &request->io;

    for (unsigned i = 0; io->op == IO_READ && i < io->iov_count; i++) {
        mem_mark(mem, io->iov[i].iov_base, io->iov[i].iov_len);
    }
}

void blk_mark_status(const struct request *request, const struct mem *mem)
{
    mem_mark(mem, request->status, 1);
}
