/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ring and request parsing against a driver that is mostly right and now and then is not.
 * The input is a list of steps of 8 bytes: what to do, and its arguments.  Valid requests
 * are the common step; the others spoil one word of the ring or of a table.
 */

#include <assert.h>
#include <string.h>

#include "core/blk.h"
#include "tests/lib/driver.h"

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
static struct ring ring;
static struct blk blk;
static struct stats stats;

static void set_up(void)
{
    struct mem_layout first = {.guest_addr = GUEST, .size = ARENA_BYTES / 2 + 100, .user_addr = 1};
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
}

static void start(uint8_t flags)
{
    struct blk_opts opts = {.capacity = 1 << 20,
                            .logical_block = flags & 4 ? 4096 : 512,
                            .physical_block = 4096,
                            .queues = 1,
                            .seg_max = BLK_SEG_MAX,
                            .is_readonly = flags & 8,
                            .serial = "fuzz"};
    struct ring_layout layout = {
        .size = SIZE,
        .desc = mem_at(&mem, ring_driver_addr(&drv.ring, drv.ring.desc), ring_desc_bytes(SIZE)),
        .avail = mem_at(&mem, ring_driver_addr(&drv.ring, drv.ring.avail), ring_avail_bytes(SIZE)),
        .used = mem_at(&mem, ring_driver_addr(&drv.ring, drv.ring.used), ring_used_bytes(SIZE)),
        .last_avail = flags & 16 ? 0xfffe : 0,
        .has_event_idx = flags & 1,
        .has_indirect = flags & 2,
        .slot_size = sizeof(struct request),
        .iov_max = BLK_IOV_MAX,
    };

    driver_reset(&drv, layout.last_avail);
    blk_init(&blk, &opts);
    memset(&stats, 0, sizeof(stats));
    assert(ring_start(&ring, &layout, &mem) == 0);
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

    memcpy(arena_at(&arena, DATA), &header, sizeof(header));
    if (drv.free_count < 3) {
        return;
    }
    driver_offer(&drv, ring.layout.has_indirect && step->index & 16
                           ? driver_chain_indirect(&drv, pieces, 3, step->index >> 5 & 1, TABLE)
                           : driver_chain(&drv, pieces, 3));
}

static uint64_t address_of(const struct step *step)
{
    /* Mostly in or near memory. */
    return step->large >> 30 == 3 ? (uint64_t)step->large << 32 | step->small
                                  : GUEST - 64 + step->large % (ARENA_BYTES + 128);
}

/* What the backend was given must lie in memory, and add up. */
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

static void serve(void)
{
    struct chain *chain;
    struct used used;

    while (ring_pop(&ring, &chain) > 0) {
        struct request *request = containerof(chain, struct request, chain);

        request->start_ns = 0;
        switch (blk_parse(&blk, request, &stats)) {
        case BLK_SUBMIT:
            check_io(&request->io);
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
    while (driver_reap(&drv, &used)) {
    }
    assert(ring.inflight == 0);
}

static void run_step(const struct step *step)
{
    uint16_t flags = step->small & 7;
    uint16_t next = (uint16_t)(step->small >> 3);

    switch (step->kind & 7) {
    case 0:
        raw_ring_set_desc(&drv.ring, step->index % SIZE, address_of(step), step->large >> 12, flags,
                          next);
        break;
    case 1:
        driver_set_table(&drv, TABLE, step->index, address_of(step), step->large >> 16, flags,
                         next & 255);
        break;
    case 2:
        driver_offer(&drv, step->small & 255 ? step->index % SIZE : step->small);
        break;
    case 3:
        raw_ring_set_used_event(&drv.ring, step->small);
        break;
    case 4:
        raw_ring_set_avail_idx(&drv.ring, (uint16_t)(drv.ring.shown_idx + (int8_t)step->index));
        break;
    case 5:
        serve();
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
    start(size ? data[0] : 0);
    for (size_t at = 1; at + sizeof(step) <= size; at += sizeof(step)) {
        memcpy(&step, data + at, sizeof(step));
        run_step(&step);
    }
    serve();
    ring_stop(&ring);
    return 0;
}
