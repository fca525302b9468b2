/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/blk_driver.h"

/* A status that no device writes. */
#define STATUS_UNWRITTEN 0xee

/* Data of one request at most: any device takes as much, and a time-out stays meaningful. */
#define CHUNK_BYTES (1u << 20)

/* Source: ECMA-119, 6.2.1 "System Area", 8.1 "Format of a Volume Descriptor". */
#define ISO_BLOCK_BYTES 2048u
#define ISO_DESCRIPTOR_SECTOR (16u * ISO_BLOCK_BYTES / SECTOR_SIZE)

static bool device_writes(uint32_t type)
{
    return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

int blk_driver_submit(struct blk_driver_queue *queue, struct blk_driver_request *request)
{
    struct ring_piece pieces[BLK_DRIVER_PIECES] = {
        {&request->header, sizeof(request->header), false}};
    unsigned count = 1;
    int head;

    if (request->len > 0) {
        pieces[count++] =
            (struct ring_piece){request->data, request->len, device_writes(request->header.type)};
    }
    pieces[count++] = (struct ring_piece){&request->status, 1, true};
    request->status = STATUS_UNWRITTEN;
    request->header.ioprio = 0;
    head = queue->is_indirect
               ? ring_driver_add_indirect(&queue->ring, request->table, pieces, count)
               : ring_driver_add(&queue->ring, pieces, count);
    if (head < 0) {
        return BLK_DRIVER_FULL;
    }
    queue->by_head[head] = request;
    return 0;
}

void blk_driver_kick(struct blk_driver *blk, struct blk_driver_queue *queue)
{
    if (ring_driver_show(&queue->ring)) {
        queue->kicks++;
        blk->opts.ops->notify(blk->opts.bus, queue->index);
    }
}

struct blk_driver_request *blk_driver_poll(struct blk_driver_queue *queue)
{
    struct blk_driver_request *request;
    uint16_t head;
    uint32_t len;

    if (!ring_driver_take(&queue->ring, &head, &len)) {
        return NULL;
    }
    request = queue->by_head[head];
    queue->by_head[head] = NULL;
    if (!request) {
        queue->ring.is_broken = true;
        return NULL;
    }
    request->used_len = len;
    return request;
}

/* On ring 0, which has nothing else under way. */
static int do_request(struct blk_driver *blk)
{
    const struct blk_driver_opts *opts = &blk->opts;
    struct blk_driver_queue *queue = &opts->queue[0];
    uint64_t start = opts->ops->now_ms(opts->bus);
    int ret = blk_driver_submit(queue, &blk->request);

    if (ret < 0) {
        return ret;
    }
    blk_driver_kick(blk, queue);
    while (!blk_driver_poll(queue)) {
        if (queue->ring.is_broken) {
            return BLK_DRIVER_BROKEN;
        }
        if (opts->ops->now_ms(opts->bus) - start >= opts->timeout_ms) {
            return BLK_DRIVER_TIMEOUT;
        }
        if (opts->ops->relax) {
            opts->ops->relax(opts->bus);
        }
    }
    return blk->request.status == STATUS_UNWRITTEN ? BLK_DRIVER_NO_STATUS : blk->request.status;
}

/* In chunks that any device takes. */
static int move(struct blk_driver *blk, uint32_t type, uint64_t sector, uint8_t *data,
                uint64_t bytes)
{
    uint64_t chunk = CHUNK_BYTES;

    if (blk->size_max > 0) {
        chunk = min_of(chunk, round_down(blk->size_max, blk->block_size));
    }
    if (!range_ok(sector, bytes / SECTOR_SIZE, blk->capacity) || chunk == 0) {
        return BLK_DRIVER_RANGE;
    }
    while (bytes > 0) {
        uint32_t len = (uint32_t)min_of(bytes, chunk);
        int ret;

        blk->request = (struct blk_driver_request){
            .header = {.type = type, .sector = sector}, .data = data, .len = len};
        ret = do_request(blk);
        if (ret != 0) {
            return ret;
        }
        sector += len / SECTOR_SIZE;
        data += len;
        bytes -= len;
    }
    return 0;
}

int blk_driver_read(struct blk_driver *blk, uint64_t sector, void *to, uint64_t bytes)
{
    return move(blk, VIRTIO_BLK_T_IN, sector, to, bytes);
}

int blk_driver_write(struct blk_driver *blk, uint64_t sector, const void *from, uint64_t bytes)
{
    return move(blk, VIRTIO_BLK_T_OUT, sector, (uint8_t *)from, bytes);
}

int blk_driver_read_blocks(struct blk_driver *blk, uint64_t block, unsigned count, void *to)
{
    if (!range_ok(block, count, blk_driver_blocks(blk))) {
        return BLK_DRIVER_RANGE;
    }
    return blk_driver_read(blk, block * blk_driver_sectors_per_block(blk), to,
                           (uint64_t)count * blk->block_size);
}

int blk_driver_flush(struct blk_driver *blk)
{
    if (!blk_driver_has(blk, VIRTIO_BLK_F_FLUSH)) {
        return BLK_DRIVER_UNABLE;
    }
    blk->request = (struct blk_driver_request){.header = {.type = VIRTIO_BLK_T_FLUSH}};
    return do_request(blk);
}

int blk_driver_discard(struct blk_driver *blk, uint64_t sector, uint32_t sectors)
{
    if (!blk_driver_has(blk, VIRTIO_BLK_F_DISCARD)) {
        return BLK_DRIVER_UNABLE;
    }
    if (!range_ok(sector, sectors, blk->capacity)) {
        return BLK_DRIVER_RANGE;
    }
    blk->request = (struct blk_driver_request){
        .header = {.type = VIRTIO_BLK_T_DISCARD},
        .range = {.sector = sector, .num_sectors = sectors},
        .data = &blk->request.range,
        .len = sizeof(blk->request.range),
    };
    return do_request(blk);
}

int blk_driver_get_id(struct blk_driver *blk, char id[VIRTIO_BLK_ID_BYTES + 1])
{
    int ret;

    memset(blk->id, 0, sizeof(blk->id));
    blk->request = (struct blk_driver_request){
        .header = {.type = VIRTIO_BLK_T_GET_ID}, .data = blk->id, .len = VIRTIO_BLK_ID_BYTES};
    ret = do_request(blk);
    memcpy(id, blk->id, sizeof(blk->id));
    return ret;
}

int blk_driver_guess_nature(struct blk_driver *blk, void *scratch)
{
    static const char mark[] = {'C', 'D', '0', '0', '1'};
    const uint8_t *volume = scratch;
    int ret;

    if (!range_ok(ISO_DESCRIPTOR_SECTOR, ISO_BLOCK_BYTES / SECTOR_SIZE, blk->capacity) ||
        blk->block_size > ISO_BLOCK_BYTES) {
        return BLK_DRIVER_PLAIN;
    }
    ret = blk_driver_read(blk, ISO_DESCRIPTOR_SECTOR, scratch, ISO_BLOCK_BYTES);
    if (ret != 0) {
        return ret < 0 ? ret : BLK_DRIVER_NO_STATUS;
    }
    for (unsigned i = 0; i < sizeof(mark); i++) {
        if (volume[1 + i] != (uint8_t)mark[i]) {
            return BLK_DRIVER_PLAIN;
        }
    }
    blk->block_size = ISO_BLOCK_BYTES;
    return BLK_DRIVER_ISO9660;
}
