/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/blk.h"

#include <errno.h>
#include <string.h>

#include "core/iov.h"

#define MAX_LOGICAL_BLOCK 32768u

/* The config space has 16 bits for it, in logical blocks (min_io_size). */
#define MAX_PHYSICAL_BLOCK (1u << 20)

int blk_opts_resolve(struct blk_opts *opts, const struct backend *backend, struct err *err)
{
    if (!opts->logical_block) {
        opts->logical_block = backend->logical_block > backend->block_size ? backend->logical_block
                                                                           : backend->block_size;
    }
    if (!opts->physical_block) {
        opts->physical_block = min_of(backend->physical_block, MAX_PHYSICAL_BLOCK);
        if (opts->physical_block < opts->logical_block) {
            opts->physical_block = opts->logical_block;
        }
    }
    if (!is_power_of_2(opts->logical_block) || opts->logical_block < SECTOR_SIZE ||
        opts->logical_block > MAX_LOGICAL_BLOCK) {
        return err_say(err, -EINVAL, "logical block size %u is no power of two between %u and %u",
                       opts->logical_block, SECTOR_SIZE, MAX_LOGICAL_BLOCK);
    }
    if (!is_power_of_2(opts->physical_block) || opts->physical_block < opts->logical_block ||
        opts->physical_block > MAX_PHYSICAL_BLOCK) {
        return err_say(err, -EINVAL,
                       "physical block size %u is no power of two between the logical block "
                       "size %u and %u",
                       opts->physical_block, opts->logical_block, MAX_PHYSICAL_BLOCK);
    }
    if (opts->logical_block < backend->block_size) {
        err_say(err, -EINVAL, "logical block size %u is smaller than its own, %u",
                opts->logical_block, backend->block_size);
        err_hint(err, "use --logical-block-size %u, or --cache writeback", backend->block_size);
        return -EINVAL;
    }
    opts->capacity = backend->size;
    if (opts->capacity == 0) {
        return err_say(err, -EINVAL, "it is empty");
    }
    if (!is_aligned(opts->capacity, opts->logical_block)) {
        err_say(err, -EINVAL,
                "its size, %llu bytes, is no multiple of the logical block size %u: the "
                "last block would be cut",
                (unsigned long long)opts->capacity, opts->logical_block);
        err_hint(err, "make it %llu bytes (truncate -s; --size of a new one)",
                 (unsigned long long)round_up(opts->capacity, opts->logical_block));
        return -EINVAL;
    }
    opts->opt_io = backend->opt_io;
    return 0;
}

/* Source: VIRTIO 1.2, 5.2.4 "Device configuration layout". */
void blk_init(struct blk *blk, const struct blk_opts *opts)
{
    struct virtio_blk_config *c = &blk->config;

    memset(blk, 0, sizeof(*blk));
    blk->opts = *opts;
    c->capacity = opts->capacity / SECTOR_SIZE;
    c->seg_max = opts->seg_max;
    c->blk_size = opts->logical_block;
    c->physical_block_exp = (__u8)__builtin_ctz(opts->physical_block / opts->logical_block);
    c->min_io_size = (__u16)(opts->physical_block / opts->logical_block);
    c->opt_io_size = opts->opt_io / opts->logical_block;
    c->num_queues = (__u16)opts->queues;
}

void blk_set_capacity(struct blk *blk, uint64_t capacity)
{
    blk->opts.capacity = capacity;
    blk->config.capacity = capacity / SECTOR_SIZE;
}

uint64_t blk_features(const struct blk *blk)
{
    uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
                        1ull << VIRTIO_BLK_F_TOPOLOGY | 1ull << VIRTIO_BLK_F_FLUSH |
                        1ull << VIRTIO_BLK_F_MQ;

    if (blk->opts.is_readonly) {
        features |= 1ull << VIRTIO_BLK_F_RO;
    }
    return features;
}

void blk_config_read(const struct blk *blk, uint32_t offset, void *to, uint32_t len)
{
    memset(to, 0, len);
    if (offset < sizeof(blk->config)) {
        memcpy(to, (const uint8_t *)&blk->config + offset,
               min_of((size_t)len, sizeof(blk->config) - offset));
    }
}

static enum blk_verdict answer(struct request *request, uint32_t used_len)
{
    request->used_len = used_len;
    request->io.result = 0;
    return BLK_ANSWERED;
}

static enum blk_verdict refuse(struct request *request, uint8_t status, struct stats *stats)
{
    stats->invalid++;
    request->status_on_error = status;
    request->io.result = -EINVAL;
    return BLK_ANSWERED;
}

/*
 * Is a read or write of `bytes` at `sector` one that the disk can do?
 * Source: VIRTIO 1.2, 5.2.6.2 "Device Requirements: Device Operation".
 */
static bool data_ok(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
    uint64_t block = blk->opts.logical_block;

    return is_aligned(bytes, block) && bytes <= BLK_MAX_BYTES &&
           range_ok(sector, bytes / SECTOR_SIZE, blk->opts.capacity / SECTOR_SIZE) &&
           is_aligned(sector * SECTOR_SIZE, block);
}

static enum blk_verdict submit_data(struct request *request, uint64_t sector, uint64_t bytes,
                                    struct iovec *iov, unsigned count)
{
    request->io.offset = sector * SECTOR_SIZE;
    request->io.length = bytes;
    request->io.iov = iov;
    request->io.iov_count = count;
    return bytes ? BLK_SUBMIT : answer(request, 1);
}

/* The status byte has been taken off `in_bytes`, the header off `out_bytes`. */
static enum blk_verdict parse_in(struct blk *blk, struct request *request, uint64_t sector,
                                 struct iovec *in, struct stats *stats)
{
    struct chain *chain = &request->chain;

    if (chain->out_bytes > 0 || !data_ok(blk, sector, chain->in_bytes)) {
        return refuse(request, VIRTIO_BLK_S_IOERR, stats);
    }
    request->io.op = IO_READ;
    request->used_len = (uint32_t)chain->in_bytes + 1;
    return submit_data(request, sector, chain->in_bytes, in, chain->in_count);
}

static enum blk_verdict parse_out(struct blk *blk, struct request *request, uint64_t sector,
                                  struct iovec *out, struct stats *stats)
{
    struct chain *chain = &request->chain;

    if (blk->opts.is_readonly || chain->in_bytes > 0 || !data_ok(blk, sector, chain->out_bytes)) {
        return refuse(request, VIRTIO_BLK_S_IOERR, stats);
    }
    request->io.op = IO_WRITE;
    /*
     * A driver without FLUSH cannot ask for stable storage, so each write goes there.
     * Source: VIRTIO 1.2, 5.2.6.2 (writeback or writethrough, as negotiated).
     */
    request->io.is_fua = blk->opts.is_writethrough || !(blk->features & 1ull << VIRTIO_BLK_F_FLUSH);
    request->used_len = 1;
    return submit_data(request, sector, chain->out_bytes, out, chain->out_count);
}

/* A read-only image has nothing to flush, and the host may refuse to. */
static enum blk_verdict parse_flush(const struct blk *blk, struct request *request)
{
    if (blk->opts.is_readonly) {
        return answer(request, 1);
    }
    request->io.op = IO_FLUSH;
    request->io.offset = 0;
    request->io.length = 0;
    request->io.iov_count = 0;
    request->used_len = 1;
    return BLK_SUBMIT;
}

static enum blk_verdict parse_get_id(const struct blk *blk, struct request *request,
                                     struct iovec *in, struct stats *stats)
{
    size_t len = min_of((uint64_t)BLK_SERIAL_BYTES, request->chain.in_bytes);

    if (len == 0) {
        return refuse(request, VIRTIO_BLK_S_IOERR, stats);
    }
    iov_fill(&in, &request->chain.in_count, (const uint8_t *)blk->opts.serial, len);
    return answer(request, (uint32_t)len + 1);
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
    case VIRTIO_BLK_T_GET_ID:
        return parse_get_id(blk, request, in, stats);
    default:
        return refuse(request, VIRTIO_BLK_S_UNSUPP, stats);
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

enum blk_verdict blk_parse(struct blk *blk, struct request *request, struct stats *stats)
{
    struct chain *chain = &request->chain;
    struct virtio_blk_outhdr header;
    struct iovec *out = chain->iov;
    struct iovec *in = chain->iov + chain->out_count;

    request->status = chain->last_in;
    request->status_on_error = VIRTIO_BLK_S_IOERR;
    request->kind = STATS_OTHER;
    request->io.iov_count = 0;
    request->io.length = 0;
    if (!request->status) {
        return BLK_BROKEN;
    }
    if (chain->fault || chain->out_bytes < sizeof(header)) {
        return refuse(request, VIRTIO_BLK_S_IOERR, stats);
    }
    drop_status(chain);
    iov_take(&out, &chain->out_count, (uint8_t *)&header, sizeof(header));
    chain->out_bytes -= sizeof(header);
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
