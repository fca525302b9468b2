/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/driver/blk_driver.h"

/* Data of one request at most: any device takes as much, and a time-out stays meaningful. */
#define CHUNK_BYTES (1u << 20)

/* Source: ECMA-119, 6.2.1 "System Area", 8.1 "Format of a Volume Descriptor". */
#define ISO_BLOCK_BYTES 2048u
#define ISO_DESCRIPTOR_SECTOR (16u * ISO_BLOCK_BYTES / SECTOR_SIZE)

static bool device_writes(uint32_t type)
{
    return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

/* Header, data, status.  Returns how many there are. */
static unsigned make_pieces(struct blk_driver_request *request,
                            struct ring_piece pieces[BLK_DRIVER_PIECES])
{
    struct blk_driver_frame *frame = request->frame;
    unsigned count = 0;

    frame->header = request->header;
    frame->header.ioprio = 0;
    frame->status = BLK_DRIVER_STATUS_UNWRITTEN;
    pieces[count++] = (struct ring_piece){&frame->header, sizeof(frame->header), false};
    if (request->header.type == VIRTIO_BLK_T_DISCARD && !request->data) {
        frame->range = request->range;
        pieces[count++] = (struct ring_piece){&frame->range, sizeof(frame->range), false};
    } else if (request->len > 0) {
        pieces[count++] =
            (struct ring_piece){request->data, request->len, device_writes(request->header.type)};
    }
    pieces[count++] = (struct ring_piece){&frame->status, 1, true};
    return count;
}

int blk_driver_submit(struct blk_driver_queue *queue, struct blk_driver_request *request)
{
    struct ring_piece pieces[BLK_DRIVER_PIECES];
    unsigned count = make_pieces(request, pieces);
    int head = queue->is_indirect
                   ? ring_driver_add_indirect(&queue->ring, request->frame->table, pieces, count)
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
    if (!request) { /* not with rings that only blk_driver_submit fills */
        queue->ring.fault = "it gave back what is no request of the driver's";
        return NULL;
    }
    request->used_len = len;
    request->status = __atomic_load_n(&request->frame->status, __ATOMIC_RELAXED);
    return request;
}

/* Each millisecond: did the device ask for a kick that it did not get?  Returns the time. */
static uint64_t look_again(struct blk_driver *blk, struct blk_driver_queue *queue, uint64_t looked)
{
    uint64_t now = blk->opts.ops->now_ms(blk->opts.bus);

    if (now != looked) {
        blk_driver_kick(blk, queue);
    }
    return now;
}

/* On ring 0, which has nothing else under way. */
static int do_request(struct blk_driver *blk, const struct blk_driver_request *request)
{
    const struct blk_driver_opts *opts = &blk->opts;
    struct blk_driver_queue *queue = &opts->queue[0];
    uint64_t start = opts->ops->now_ms(opts->bus);
    uint64_t looked = start;
    int ret;

    if (!opts->own) {
        return BLK_DRIVER_UNABLE;
    }
    blk->request = *request;
    blk->request.frame = &opts->own->frame;
    ret = blk_driver_submit(queue, &blk->request);
    if (ret < 0) {
        return ret;
    }
    blk_driver_kick(blk, queue);
    while (!blk_driver_poll(queue)) {
        if (queue->ring.fault) {
            return BLK_DRIVER_BROKEN;
        }
        looked = look_again(blk, queue, looked);
        if (looked - start >= opts->timeout_ms) {
            return BLK_DRIVER_TIMEOUT;
        }
        if (opts->ops->relax) {
            opts->ops->relax(opts->bus);
        }
    }
    return blk->request.status == BLK_DRIVER_STATUS_UNWRITTEN ? BLK_DRIVER_NO_STATUS
                                                              : blk->request.status;
}

/* In chunks that any device takes. */
static int move_data(struct blk_driver *blk, uint32_t type, uint64_t sector, uint8_t *data,
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
        const struct blk_driver_request request = {
            .header = {.type = type, .sector = sector}, .data = data, .len = len};
        int ret = do_request(blk, &request);

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
    return move_data(blk, VIRTIO_BLK_T_IN, sector, to, bytes);
}

int blk_driver_write(struct blk_driver *blk, uint64_t sector, const void *from, uint64_t bytes)
{
    return move_data(blk, VIRTIO_BLK_T_OUT, sector, (uint8_t *)from, bytes);
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
    const struct blk_driver_request request = {.header = {.type = VIRTIO_BLK_T_FLUSH}};

    if (!blk_driver_has(blk, VIRTIO_BLK_F_FLUSH)) {
        return BLK_DRIVER_UNABLE;
    }
    return do_request(blk, &request);
}

int blk_driver_discard(struct blk_driver *blk, uint64_t sector, uint32_t sectors)
{
    const struct blk_driver_request request = {
        .header = {.type = VIRTIO_BLK_T_DISCARD},
        .range = {.sector = sector, .num_sectors = sectors},
    };

    if (!blk_driver_has(blk, VIRTIO_BLK_F_DISCARD)) {
        return BLK_DRIVER_UNABLE;
    }
    if (!range_ok(sector, sectors, blk->capacity)) {
        return BLK_DRIVER_RANGE;
    }
    return do_request(blk, &request);
}

int blk_driver_get_id(struct blk_driver *blk, char id[VIRTIO_BLK_ID_BYTES + 1])
{
    struct blk_driver_own *own = blk->opts.own;
    struct blk_driver_request request = {.header = {.type = VIRTIO_BLK_T_GET_ID},
                                         .len = VIRTIO_BLK_ID_BYTES};
    int ret;

    memset(id, 0, VIRTIO_BLK_ID_BYTES + 1);
    if (!own) {
        return BLK_DRIVER_UNABLE;
    }
    memset(own->id, 0, sizeof(own->id));
    request.data = own->id;
    ret = do_request(blk, &request);
    if (ret == 0) {
        copy_once(id, own->id, sizeof(own->id));
    }
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
