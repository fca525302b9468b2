/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ring and request parsing against a driver that is mostly right and now and then is not.
 * The input is a list of steps of 8 bytes: what to do, and its arguments.  Valid requests
 * are the common step; the others spoil one word of the ring, of a table or of the log of requests
 * in flight, or have another device go on.  The first byte says what was negotiated, and in which
 * format the ring is; the last one, whether there is a log.
 */

#include <assert.h>
#include <string.h>

#include "core/virtio/blk.h"
#include "tests/lib/driver.h"
#include "tests/lib/find_parts.h"
#include "tests/lib/packed.h"

#define SIZE 16
#define GUEST 0x100000ull
#define ARENA_BYTES (256u << 10)
#define DATA (GUEST + (64u << 10))
#define TABLE (GUEST + (32u << 10))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct step {
    uint8_t kind;
    uint8_t index;
    uint16_t small;
    uint32_t large;
};

/* Set up once: mapping memory is the slow part. */
static struct arena arena;
static struct mem mem;
static struct driver drv;
static struct packed packed;
static struct ring ring;
static struct slots arrays;
static struct blk blk;
static struct stats stats;
static uint64_t inflight_log[256]; /* more than a ring of SIZE needs */

static void set_up(void)
{
    struct mem_layout first = {
        .guest_addr = GUEST, .size = ARENA_BYTES / 2 + 100, .user_addr = GUEST};
    struct mem_layout second = first;

    arena_init(&arena, GUEST, ARENA_BYTES);
    mem_init(&mem);
    second.guest_addr += first.size; /* two regions, and their edge inside a page */
    second.user_addr += first.size;
    second.offset = first.size;
    second.size = ARENA_BYTES - first.size;
    assert(mem_add(&mem, &first, arena.fd, NULL) == 0);
    assert(mem_add(&mem, &second, arena.fd, NULL) == 0);
    driver_init(&drv, &arena, SIZE);
    packed_init(&packed, &arena, SIZE);
    assert(slots_init(&arrays, sizeof(struct ring_array), 1) == 0);
}

static void start(uint8_t flags, bool has_log)
{
    struct blk_opts opts = {.capacity = 1 << 20,
                            .logical_block = flags & 4 ? 4096 : 512,
                            .physical_block = 4096,
                            .queues = 1,
                            .seg_max = BLK_SEG_MAX,
                            .is_readonly = flags & 8,
                            .serial = "fuzz"};
    uint32_t place = flags & 16 ? 2 * SIZE - 2 : 0;
    bool is_packed = flags & 128;
    struct ring_layout layout = {
        .size = SIZE,
        .parts = is_packed ? packed_parts(&packed, &mem) : find_parts(&mem, &drv.ring),
        .base = is_packed    ? packed_base(&packed, place)
                : flags & 16 ? 0xfffe
                             : 0,
        .is_packed = is_packed,
        .has_event_idx = flags & 1,
        .has_indirect = flags & 2,
        .slot_size = sizeof(struct request),
        .slot_iovs = flags & 32 ? BLK_SLOT_IOVS : 2, /* so that many chains are long */
        .arrays = flags & 64 ? NULL : &arrays,
        .inflight = {.at = has_log ? inflight_log : NULL, .bytes = sizeof(inflight_log)},
    };

    driver_reset(&drv, (uint16_t)layout.base);
    packed_reset(&packed, place);
    blk_init(&blk, &opts);
    memset(&stats, 0, sizeof(stats));
    memset(inflight_log, 0, sizeof(inflight_log));
    assert(ring_start(&ring, &layout, &mem) == 0);
}

/* Under a name that is free, if there is room. */
static void offer_packed(const struct piece *pieces, unsigned count, bool is_indirect)
{
    uint16_t id = 0;

    while (id < SIZE && packed.count[id] > 0) {
        id++;
    }
    if (id == SIZE || packed.offered - packed.taken > SIZE - count) {
        return;
    }
    if (is_indirect) {
        packed_offer_indirect(&packed, pieces, count, TABLE, id);
    } else {
        packed_offer(&packed, pieces, count, id);
    }
}

/* A request as a good driver makes it. */
static void offer_request(const struct step *step)
{
    struct virtio_blk_outhdr header = {.type = step->index & 15, .sector = step->small};
    uint32_t len = (step->large & 31) * 512;
    bool is_in = header.type == VIRTIO_BLK_T_IN || header.type == VIRTIO_BLK_T_GET_ID;
    struct piece pieces[] = {
        piece_out(DATA, 16),
        {.addr = DATA + (step->large >> 5) % 65536, .len = len, .is_in = is_in},
        piece_in(DATA + 16, 1)};

    bool is_indirect = ring.layout.has_indirect && step->index & 16;

    memcpy(arena_at(&arena, DATA), &header, sizeof(header));
    if (ring.layout.is_packed) {
        offer_packed(pieces, 3, is_indirect);
    } else if (drv.free_count >= 3) {
        driver_offer(&drv, is_indirect
                               ? driver_chain_indirect(&drv, pieces, 3, step->index >> 5 & 1, TABLE)
                               : driver_chain(&drv, pieces, 3));
    }
}

static uint64_t address_of(const struct step *step)
{
    /* Mostly in or near memory. */
    return step->large >> 30 == 3 ? (uint64_t)step->large << 32 | step->small
                                  : GUEST - 64 + step->large % (ARENA_BYTES + 128);
}

/* What the image is given must lie in memory, and add up. */
static void check_io(const struct io *io)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < io->iov_count; i++) {
        uint8_t *at = io->iov[i].iov_base;
        bool is_first =
            at >= mem.region[0].host && at < mem.region[0].host + mem.region[0].layout.size;
        const struct mem_region *region = &mem.region[is_first ? 0 : 1];

        assert(range_ok((uint64_t)(at - region->host), io->iov[i].iov_len, region->layout.size));
        sum += io->iov[i].iov_len;
    }
    assert(io->op == IO_FLUSH || sum == io->length);
    assert(range_ok(io->offset, io->length, blk.opts.capacity));
    assert(is_aligned(io->offset | io->length, blk.opts.logical_block));
    assert(io->op != IO_WRITE || !blk.opts.is_readonly);
}

static void serve(bool holds)
{
    struct chain *chain;
    struct used used;

    while (ring_pop(&ring, &chain) > 0) {
        struct request *request = containerof(chain, struct request, chain);

        request->start_ns = 0;
        switch (blk_parse(&blk, request, &stats)) {
        case BLK_SUBMIT:
            check_io(&request->io);
            if (holds) {
                ring_hold(&ring, chain);
                break;
            }
            request->io.result = 0;
            ring_push(&ring, chain, blk_finish(request, 1, &stats));
            break;
        case BLK_ANSWERED:
            ring_push(&ring, chain, blk_finish(request, 1, &stats));
            break;
        default:
            ring_drop(&ring, chain);
            ring_break(&ring, "fuzz");
        }
    }
    if (ring_has_unpublished(&ring)) {
        ring_publish(&ring);
    }
    ring_kicks_on(&ring);
    while (ring.layout.is_packed ? packed_reap(&packed, &used) : driver_reap(&drv, &used)) {
    }
    assert(!ring.layout.is_packed || ring.popped - ring.published <= SIZE);
    assert(ring.inflight == 0);
    assert(slots_has_free(&arrays));
}

static void spoil_split(const struct step *step)
{
    switch (step->kind & 7) {
    case 0:
        raw_ring_set_desc(&drv.ring, step->index % SIZE, address_of(step), step->large >> 12,
                          step->small & 7, (uint16_t)(step->small >> 3));
        break;
    case 2:
        driver_offer(&drv, step->small & 255 ? step->index % SIZE : step->small);
        break;
    case 3:
        raw_ring_set_used_event(&drv.ring, step->small);
        break;
    default:
        raw_ring_set_avail_idx(&drv.ring, (uint16_t)(drv.ring.shown_idx + (int8_t)step->index));
    }
}

/* Somewhere in what comes next, or before it. */
static void spoil_packed(const struct step *step)
{
    uint32_t place = packed.offered + step->index % SIZE;
    uint16_t id = step->small & 255 ? (uint16_t)(step->small >> 3) % SIZE : step->small;
    unsigned flags = (step->small & 7u) | packed_available(&packed, place);

    switch (step->kind & 7) {
    case 0:
        packed_set(&packed, place, address_of(step), step->large >> 12, id, (uint16_t)flags);
        break;
    case 2:
        packed_set(&packed, packed.offered, address_of(step), step->large >> 12, id,
                   packed_available(&packed, packed.offered));
        packed.offered++;
        break;
    case 3:
        store32(packed.driver, step->large);
        break;
    default:
        packed.desc[place % SIZE].flags ^= step->small;
    }
}

/* What one device has left, another one serves. */
static void restart(void)
{
    struct ring_layout layout = ring.layout;

    layout.base = ring_base(&ring);
    ring_stop(&ring);
    if (ring_base_fault(layout.is_packed, layout.size, layout.base)) {
        layout.base = layout.is_packed ? RING_PACKED_BASE : 0;
    }
    assert(ring_start(&ring, &layout, &mem) == 0);
}

static void run_step(const struct step *step)
{
    switch (step->kind & 7) {
    case 0:
    case 2:
    case 3:
    case 4:
        if (ring.layout.is_packed) {
            spoil_packed(step);
        } else {
            spoil_split(step);
        }
        break;
    case 1:
        if (step->kind & 8) {
            ((uint8_t *)inflight_log)[step->large % sizeof(inflight_log)] = (uint8_t)step->small;
            break;
        }
        driver_set_table(&drv, TABLE, step->index, address_of(step), step->large >> 16,
                         step->small & 7, (step->small >> 3) & 255);
        break;
    case 5:
        if (step->small & 1) {
            ring_retry(&ring);
        }
        serve(step->small & 2);
        if (step->small & 4) {
            restart();
        }
        break;
    default:
        offer_request(step);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct step step;

    if (!arena.host) {
        set_up();
    }
    start(size ? data[0] : 0, size > 1 && data[size - 1] & 1);
    for (size_t at = 1; at + sizeof(step) <= size; at += sizeof(step)) {
        memcpy(&step, data + at, sizeof(step));
        run_step(&step);
    }
    ring_retry(&ring);
    serve(false);
    assert(ring.is_broken || ring.held_count == 0);
    ring_stop(&ring);
    return 0;
}
