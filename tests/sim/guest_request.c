/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The guest's requests, and what it makes of their answers. */

#include "tests/sim/guest_inside.h"

static uint64_t writes;

void guest_reset_requests(void)
{
    writes = 0;
}

static enum model_kind draw_kind(const struct guest_queue *q)
{
    static const enum model_kind kinds[] = {
        MODEL_READ,  MODEL_READ,  MODEL_READ,    MODEL_READ,  MODEL_READ,  MODEL_WRITE,
        MODEL_WRITE, MODEL_WRITE, MODEL_WRITE,   MODEL_WRITE, MODEL_WRITE, MODEL_FLUSH,
        MODEL_FLUSH, MODEL_ZERO,  MODEL_DISCARD, MODEL_ID,
    };

    return sim_once_in(3) ? q->last : kinds[sim_draw(ARRAY_SIZE(kinds))];
}

/* Now and then it goes on where the last one has ended, so that both may be one to the image. */
static void draw_place(struct guest_queue *q, struct model_request *request)
{
    request->count = 1 + sim_draw(DATA_SECTORS);
    request->first = sim_draw(sim_once_in(2) ? 8 : IMAGE_SECTORS - DATA_SECTORS);
    if (sim_once_in(2) && q->behind + DATA_SECTORS <= IMAGE_SECTORS) {
        request->first = (unsigned)q->behind;
    }
    q->behind = request->first + request->count;
    q->last = request->kind;
}

static uint32_t type_of(enum model_kind kind)
{
    static const uint32_t types[] = {
        [MODEL_READ] = VIRTIO_BLK_T_IN,           [MODEL_WRITE] = VIRTIO_BLK_T_OUT,
        [MODEL_ZERO] = VIRTIO_BLK_T_WRITE_ZEROES, [MODEL_DISCARD] = VIRTIO_BLK_T_DISCARD,
        [MODEL_FLUSH] = VIRTIO_BLK_T_FLUSH,       [MODEL_ID] = VIRTIO_BLK_T_GET_ID,
    };

    return types[kind];
}

static uint32_t data_bytes(const struct model_request *request)
{
    switch (request->kind) {
    case MODEL_READ:
    case MODEL_WRITE:
        return request->count * SECTOR_SIZE;
    case MODEL_ID:
        return VIRTIO_BLK_ID_BYTES;
    default:
        return 0;
    }
}

static void fill_request(unsigned index, unsigned slot)
{
    struct model_request *request = &guest_queues[index].slot[slot].model;
    struct frame *frame = frame_of(index, slot);
    uint8_t *data = data_of(index, slot);

    request->value = request->kind == MODEL_WRITE ? ++writes : 0;
    frame->header =
        (struct virtio_blk_outhdr){.type = type_of(request->kind), .sector = request->first};
    frame->range = (struct virtio_blk_discard_write_zeroes){.sector = request->first,
                                                            .num_sectors = request->count};
    frame->status = STATUS_UNWRITTEN;
    memset(data, 0xa5, DATA_BYTES);
    for (unsigned i = 0; request->kind == MODEL_WRITE && i < request->count; i++) {
        model_fill(data + i * SECTOR_SIZE, request->value, request->first + i);
    }
}

/* Data may be cut anywhere. */
static unsigned cut_data(uint8_t *data, uint32_t bytes, bool is_in, struct ring_piece *pieces)
{
    unsigned count = 0;

    while (bytes > 0) {
        uint32_t part = count < 3 && sim_once_in(3) ? 1 + sim_draw(bytes) : bytes;

        pieces[count++] = (struct ring_piece){.data = data, .len = part, .is_in = is_in};
        data += part;
        bytes -= part;
    }
    return count;
}

static unsigned describe(unsigned index, unsigned slot, struct ring_piece *pieces)
{
    const struct model_request *request = &guest_queues[index].slot[slot].model;
    struct frame *frame = frame_of(index, slot);
    unsigned count = 1;

    pieces[0] = (struct ring_piece){.data = &frame->header, .len = sizeof(frame->header)};
    if (request->kind == MODEL_ZERO || request->kind == MODEL_DISCARD) {
        pieces[count++] = (struct ring_piece){.data = &frame->range, .len = sizeof(frame->range)};
    }
    count += cut_data(data_of(index, slot), data_bytes(request), request->kind != MODEL_WRITE,
                      &pieces[count]);
    pieces[count++] = (struct ring_piece){.data = &frame->status, .len = 1, .is_in = true};
    return count;
}

static int add(unsigned index, unsigned slot, const struct ring_piece *pieces, unsigned count)
{
    struct ring_driver *ring = &guest_queues[index].ring;

    return sim.config.has_indirect && sim_once_in(2)
               ? ring_driver_add_indirect(ring, frame_of(index, slot)->table, pieces, count)
               : ring_driver_add(ring, pieces, count);
}

static int free_slot(const struct guest_queue *q)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!q->slot[i].model.is_pending) {
            return (int)i;
        }
    }
    return -1;
}

void guest_offer(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];
    int slot = free_slot(q);
    struct ring_piece pieces[PIECES];
    struct model_request *request;
    int head;

    if (slot < 0) {
        return;
    }
    request = &q->slot[slot].model;
    request->kind = draw_kind(q);
    draw_place(q, request);
    fill_request(index, (unsigned)slot);
    head = add(index, (unsigned)slot, pieces, describe(index, (unsigned)slot, pieces));
    if (head < 0) {
        return; /* the ring is full */
    }
    q->by_head[head] = (unsigned)slot;
    q->slot[slot].order = ++q->offered;
    q->pending++;
    q->must_show = true;
    sim.offers--;
    sim_trace("guest: ring %u: offers %u, as %d: type %u, sectors %u +%u, write %llu", index,
              (unsigned)q->offered, head, type_of(request->kind), request->first, request->count,
              (unsigned long long)request->value);
    model_offered(request);
}

static void check_answer(unsigned index, unsigned slot, uint32_t len)
{
    struct model_request *request = &guest_queues[index].slot[slot].model;
    uint8_t status = frame_of(index, slot)->status;
    bool is_in = request->kind == MODEL_READ || request->kind == MODEL_ID;

    if (status != VIRTIO_BLK_S_OK && status != VIRTIO_BLK_S_IOERR) {
        sim_fail("ring %u: an answer of status %u", index, status);
    }
    if (len != (status == VIRTIO_BLK_S_OK && is_in ? data_bytes(request) : 0) + 1) {
        sim_fail("ring %u: an answer of %u bytes", index, len);
    }
    if (status == VIRTIO_BLK_S_OK && request->kind == MODEL_ID &&
        strcmp((char *)data_of(index, slot), SERIAL) != 0) {
        sim_fail("ring %u: another serial number", index);
    }
    model_answered(request, status == VIRTIO_BLK_S_OK, data_of(index, slot));
}

bool guest_take(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];
    struct guest_slot *slot;
    uint16_t head;
    uint32_t len;

    if (!ring_driver_take(&q->ring, &head, &len)) {
        if (q->ring.fault) {
            sim_fail("ring %u: %s", index, q->ring.fault);
        }
        return false;
    }
    slot = &q->slot[q->by_head[head]];
    sim_trace("guest: ring %u: takes %u, as %u", index, (unsigned)slot->order, head);
    if (!slot->model.is_pending) {
        sim_fail("ring %u: head %u is answered twice", index, head);
    }
    if (sim.config.is_in_order && slot->order != q->answered + 1) {
        sim_fail("ring %u: request %u is answered before %u", index, (unsigned)slot->order,
                 (unsigned)q->answered + 1);
    }
    q->answered = slot->order;
    check_answer(index, q->by_head[head], len);
    q->pending--;
    sim.requests++;
    return true;
}

unsigned guest_pending(unsigned index)
{
    return guest_queues[index].pending;
}

unsigned guest_pending_all(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sim.config.queues; i++) {
        count += guest_queues[i].pending;
    }
    return count;
}

static const enum model_kind kind_of[] = {
    [IO_READ] = MODEL_READ,       [IO_WRITE] = MODEL_WRITE, [IO_FLUSH] = MODEL_FLUSH,
    [IO_DISCARD] = MODEL_DISCARD, [IO_ZERO] = MODEL_ZERO,
};

void guest_may_fail(enum io_op op, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset / SECTOR_SIZE;
    uint64_t end = (offset + bytes + SECTOR_SIZE - 1) / SECTOR_SIZE;

    for (unsigned i = 0; i < sim.config.queues * SLOTS; i++) {
        struct model_request *request = &guest_queues[i / SLOTS].slot[i % SLOTS].model;

        if (request->kind == kind_of[op] &&
            (op == IO_FLUSH || (request->first < end && first < request->first + request->count))) {
            request->may_fail |= request->is_pending;
        }
    }
}

void guest_forgive(unsigned index)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        guest_queues[index].slot[i].model.may_fail |= guest_queues[index].slot[i].model.is_pending;
    }
}
