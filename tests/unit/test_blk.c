/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/virtio/blk.h"
#include "core/virtio/blk_ranges.h"
#include "tests/lib/driver.h"
#include "tests/lib/find_parts.h"

#define SIZE 16
#define GUEST 0x100000ull
#define ARENA_BYTES (16ull << 20)
#define DISK_BYTES (1ull << 30)
#define DISK_SECTORS (DISK_BYTES / SECTOR_SIZE)
#define STATUS_UNWRITTEN 0xee

/* A device without rings of its own, and one ring to make chains with. */
struct world {
    struct mem mem;
    struct arena arena;
    struct driver drv;
    struct ring ring;
    struct slots arrays;
    struct blk blk;
    struct blk_opts opts;
    struct stats stats;
    struct request *request;
    uint64_t header; /* guest addresses */
    uint64_t data;
    uint64_t status;
    uint8_t *status_byte; /* ours */
};

static const struct blk_opts default_opts = {
    .capacity = DISK_BYTES,
    .logical_block = 512,
    .physical_block = 4096,
    .opt_io = 65536,
    .queues = 3,
    .seg_max = BLK_SEG_MAX,
    .serial = "serial-1",
};

static void start_ring(struct world *w)
{
    struct ring_layout layout = {
        .size = SIZE,
        .parts = find_parts(&w->mem, &w->drv.ring),
        .has_indirect = true,
        .slot_size = sizeof(struct request),
        .slot_iovs = BLK_SLOT_IOVS,
        .arrays = &w->arrays,
    };

    assert(ring_start(&w->ring, &layout, &w->mem) == 0);
}

static void with_opts(struct world *w, const struct blk_opts *opts)
{
    w->opts = *opts;
    blk_init(&w->blk, opts);
    w->blk.features = blk_features(&w->blk);
}

static int world_start(void **state)
{
    static struct world world;
    struct mem_layout layout = {.guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = GUEST};

    memset(&world, 0, sizeof(world));
    mem_init(&world.mem);
    arena_init(&world.arena, GUEST, ARENA_BYTES);
    assert(mem_add(&world.mem, &layout, world.arena.fd, NULL) == 0);
    driver_init(&world.drv, &world.arena, SIZE);
    assert(slots_init(&world.arrays, sizeof(struct ring_array), 1) == 0);
    start_ring(&world);
    world.header = arena_take(&world.arena, 64, 16);
    world.status = arena_take(&world.arena, 1, 1);
    world.status_byte = arena_at(&world.arena, world.status);
    world.data = arena_take(&world.arena, 65536, 4096);
    with_opts(&world, &default_opts);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    slots_fini(&w->arrays);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

static void set_header(struct world *w, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};

    memcpy(arena_at(&w->arena, w->header), &header, sizeof(header));
    *w->status_byte = STATUS_UNWRITTEN;
}

/* Pop the chain that was just offered and parse it. */
static enum blk_verdict parse_offered(struct world *w)
{
    struct chain *chain;

    assert_int_equal(ring_pop(&w->ring, &chain), 1);
    w->request = containerof(chain, struct request, chain);
    w->request->start_ns = 1000;
    return blk_parse(&w->blk, w->request, &w->stats);
}

static enum blk_verdict parse_pieces(struct world *w, const struct piece *pieces, unsigned count)
{
    driver_offer(&w->drv, driver_chain(&w->drv, pieces, count));
    return parse_offered(w);
}

/* The usual three descriptors; `len` 0: two. */
static enum blk_verdict parse(struct world *w, uint32_t type, uint64_t sector, uint32_t len,
                              bool is_in)
{
    struct piece pieces[3] = {piece_out(w->header, 16)};
    unsigned count = 1;

    set_header(w, type, sector);
    if (len > 0) {
        pieces[count++] = (struct piece){.addr = w->data, .len = len, .is_in = is_in};
    }
    pieces[count++] = piece_in(w->status, 1);
    return parse_pieces(w, pieces, count);
}

/* Finish as the device would when the image said `result`; returns the used length. */
static uint32_t finish(struct world *w, int64_t result)
{
    w->request->io.result = result;
    return blk_finish(w->request, 1500, &w->stats);
}

/* The request was answered without the image, with this status. */
static void assert_answered(struct world *w, enum blk_verdict verdict, uint8_t status)
{
    assert_int_equal(verdict, BLK_ANSWERED);
    blk_finish(w->request, 1500, &w->stats);
    assert_int_equal(*w->status_byte, status);
}

static void assert_refused(struct world *w, enum blk_verdict verdict, uint8_t status)
{
    assert_answered(w, verdict, status);
    assert_int_equal(w->stats.invalid, 1);
}

static bool offers(const struct world *w, unsigned bit)
{
    return blk_features(&w->blk) >> bit & 1;
}

/* ---- features and config ---- */

static void writable_disk_offers_flush_and_shape(void **state)
{
    struct world *w = *state;

    assert_true(offers(w, VIRTIO_BLK_F_FLUSH));
    assert_true(offers(w, VIRTIO_BLK_F_SEG_MAX));
    assert_true(offers(w, VIRTIO_BLK_F_BLK_SIZE));
    assert_true(offers(w, VIRTIO_BLK_F_TOPOLOGY));
    assert_true(offers(w, VIRTIO_BLK_F_MQ));
    assert_false(offers(w, VIRTIO_BLK_F_RO));
}

static void what_is_not_served_is_not_offered(void **state)
{
    struct world *w = *state;

    assert_false(offers(w, VIRTIO_BLK_F_SCSI));
    assert_false(offers(w, VIRTIO_BLK_F_BARRIER));
    assert_false(offers(w, VIRTIO_BLK_F_GEOMETRY));
    assert_false(offers(w, VIRTIO_BLK_F_DISCARD));
    assert_false(offers(w, VIRTIO_BLK_F_WRITE_ZEROES));
    assert_false(offers(w, VIRTIO_BLK_F_SECURE_ERASE));
    assert_int_equal(blk_features(&w->blk) >> 24, 0);
}

static void readonly_disk_says_so(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.is_readonly = true;
    with_opts(w, &opts);
    assert_true(offers(w, VIRTIO_BLK_F_RO));
}

static void config_tells_the_disks_shape(void **state)
{
    struct world *w = *state;
    struct virtio_blk_config config;

    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.capacity, DISK_SECTORS);
    assert_int_equal(config.seg_max, BLK_SEG_MAX);
    assert_int_equal(config.blk_size, 512);
    assert_int_equal(config.physical_block_exp, 3);
    assert_int_equal(config.alignment_offset, 0);
    assert_int_equal(config.min_io_size, 8);
    assert_int_equal(config.opt_io_size, 128);
    assert_int_equal(config.num_queues, 3);
}

/* VIRTIO 1.2, 5.2.4: the layout on the wire, independent of any header. */
static void config_lies_at_the_specified_offsets(void **state)
{
    struct world *w = *state;
    uint64_t capacity;
    uint32_t seg_max, blk_size;
    uint16_t min_io, queues;
    uint32_t opt_io;

    blk_config_read(&w->blk, 0, &capacity, 8);
    blk_config_read(&w->blk, 12, &seg_max, 4);
    blk_config_read(&w->blk, 20, &blk_size, 4);
    blk_config_read(&w->blk, 26, &min_io, 2);
    blk_config_read(&w->blk, 28, &opt_io, 4);
    blk_config_read(&w->blk, 34, &queues, 2);
    assert_int_equal(capacity, DISK_SECTORS);
    assert_int_equal(seg_max, BLK_SEG_MAX);
    assert_int_equal(blk_size, 512);
    assert_int_equal(min_io, 8);
    assert_int_equal(opt_io, 128);
    assert_int_equal(queues, 3);
}

static void config_past_its_end_reads_as_zero(void **state)
{
    struct world *w = *state;
    uint8_t bytes[300];

    memset(bytes, 0xff, sizeof(bytes));
    blk_config_read(&w->blk, 0, bytes, 256);
    for (unsigned i = sizeof(struct virtio_blk_config); i < 256; i++) {
        assert_int_equal(bytes[i], 0);
    }
    assert_int_equal(bytes[256], 0xff);
    memset(bytes, 0xff, sizeof(bytes));
    blk_config_read(&w->blk, 5000, bytes, 8);
    assert_int_equal(bytes[0] | bytes[7], 0);
    memset(bytes, 0xff, sizeof(bytes));
    blk_config_read(&w->blk, UINT32_MAX, bytes, 8);
    assert_int_equal(bytes[0] | bytes[7], 0);
}

static void config_can_be_read_in_pieces(void **state)
{
    struct world *w = *state;
    uint8_t whole[60], pieces[60];

    blk_config_read(&w->blk, 0, whole, 60);
    for (unsigned i = 0; i < 60; i += 3) {
        blk_config_read(&w->blk, i, pieces + i, 3);
    }
    assert_memory_equal(whole, pieces, 60);
}

static void capacity_can_change(void **state)
{
    struct world *w = *state;
    uint64_t capacity;

    blk_set_capacity(&w->blk, 2 * DISK_BYTES);
    blk_config_read(&w->blk, 0, &capacity, 8);
    assert_int_equal(capacity, 2 * DISK_SECTORS);
    assert_int_equal(parse(w, VIRTIO_BLK_T_IN, DISK_SECTORS, 512, true), BLK_SUBMIT);
}

/* ---- reads and writes ---- */

static void read_goes_to_the_image(void **state)
{
    struct world *w = *state;

    assert_int_equal(parse(w, VIRTIO_BLK_T_IN, 8, 4096, true), BLK_SUBMIT);
    assert_int_equal(w->request->io.op, IO_READ);
    assert_int_equal(w->request->io.offset, 4096);
    assert_int_equal(w->request->io.length, 4096);
    assert_int_equal(w->request->io.iov_count, 1);
    assert_ptr_equal(w->request->io.iov[0].iov_base, mem_at(&w->mem, w->data, 1));
    assert_int_equal(w->request->io.iov[0].iov_len, 4096);
    assert_int_equal(w->request->kind, STATS_READ);
    assert_int_equal(*w->status_byte, STATUS_UNWRITTEN);
}

static void finished_read_says_ok_and_its_length(void **state)
{
    struct world *w = *state;

    parse(w, VIRTIO_BLK_T_IN, 8, 4096, true);
    assert_int_equal(finish(w, 0), 4097);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
}

static void write_goes_to_the_image(void **state)
{
    struct world *w = *state;

    assert_int_equal(parse(w, VIRTIO_BLK_T_OUT, DISK_SECTORS - 8, 4096, false), BLK_SUBMIT);
    assert_int_equal(w->request->io.op, IO_WRITE);
    assert_int_equal(w->request->io.offset, DISK_BYTES - 4096);
    assert_int_equal(w->request->io.length, 4096);
    assert_int_equal(w->request->kind, STATS_WRITE);
    assert_false(w->request->io.flags & IO_FUA);
    assert_int_equal(finish(w, 0), 1);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
}

static void failed_io_says_ioerr(void **state)
{
    struct world *w = *state;

    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    finish(w, -ENOSPC);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_IOERR);
    assert_int_equal(w->stats.type[STATS_WRITE].errors, 1);
    assert_int_equal(w->stats.type[STATS_WRITE].bytes, 0);
    assert_int_equal(w->stats.invalid, 0);
}

static void writethrough_disk_writes_through(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.is_writethrough = true;
    with_opts(w, &opts);
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_true(w->request->io.flags & IO_FUA);
}

/* As when a driver has switched to writethrough, or knows no flushes. */
static void unsafe_disk_makes_nothing_stable(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.is_unsafe = true;
    opts.has_config_wce = true;
    with_opts(w, &opts);
    assert_int_equal(parse(w, VIRTIO_BLK_T_FLUSH, 0, 0, false), BLK_ANSWERED);
    assert_int_equal(w->request->io.result, 0);
    assert_int_equal(w->request->kind, STATS_FLUSH);
    blk_set_writeback(&w->blk, false);
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_false(w->request->io.flags & IO_FUA);
    blk_set_writeback(&w->blk, true);
    w->blk.features = 0;
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_false(w->request->io.flags & IO_FUA);
}

/* VIRTIO 1.2, 5.2.6.2: without FLUSH the driver relies on writethrough. */
static void driver_without_flush_gets_writethrough(void **state)
{
    struct world *w = *state;

    w->blk.features &= ~(1ull << VIRTIO_BLK_F_FLUSH);
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_true(w->request->io.flags & IO_FUA);
}

static uint8_t writeback_shown(struct world *w)
{
    uint8_t shown = 0xee;

    blk_config_read(&w->blk, offsetof(struct virtio_blk_config, wce), &shown, sizeof(shown));
    return shown;
}

static bool writes_through(struct world *w)
{
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    return w->request->io.flags & IO_FUA;
}

static void driver_switches_between_writeback_and_writethrough(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.has_config_wce = true;
    with_opts(w, &opts);
    assert_true(w->blk.features & BIT(VIRTIO_BLK_F_CONFIG_WCE));
    assert_int_equal(writeback_shown(w), 1);
    blk_set_writeback(&w->blk, false);
    assert_int_equal(writeback_shown(w), 0);
    assert_true(writes_through(w));
    blk_set_writeback(&w->blk, true);
    assert_int_equal(writeback_shown(w), 1);
    w->blk.features &= ~BIT(VIRTIO_BLK_F_FLUSH); /* one that cannot flush has no such choice */
    assert_int_equal(writeback_shown(w), 0);
    assert_false(blk_is_writeback(&w->blk));
}

static bool flush_is_submitted(struct world *w)
{
    return parse(w, VIRTIO_BLK_T_FLUSH, 0, 0, false) == BLK_SUBMIT;
}

/* It may have switched elsewhere; one that has sends no flushes. */
static void driver_in_doubt_writes_through_until_it_flushes(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.has_config_wce = true;
    with_opts(w, &opts);
    blk_doubt(&w->blk);
    assert_true(writes_through(w));
    assert_int_equal(writeback_shown(w), 1); /* a driver that looks again is told of no change */
    assert_true(flush_is_submitted(w));
    assert_false(writes_through(w));
    blk_doubt(&w->blk);
    assert_false(blk_is_writeback(&w->blk));
    blk_set_writeback(&w->blk, true);
    assert_true(blk_is_writeback(&w->blk));
}

static void flush_does_not_lift_what_the_driver_has_said(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.has_config_wce = true;
    with_opts(w, &opts);
    blk_set_writeback(&w->blk, false);
    blk_doubt(&w->blk);
    assert_false(blk_is_in_doubt(&w->blk));
    assert_true(flush_is_submitted(w));
    assert_true(writes_through(w));
}

static void driver_that_cannot_choose_is_never_in_doubt(void **state)
{
    struct world *w = *state;

    blk_doubt(&w->blk);
    assert_false(writes_through(w));
}

static void driver_cannot_lift_what_the_host_has_said(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.has_config_wce = true;
    opts.is_writethrough = true;
    with_opts(w, &opts);
    assert_false(blk_acceptable(&w->blk) & BIT(VIRTIO_BLK_F_CONFIG_WCE));
    assert_int_equal(writeback_shown(w), 0);
    blk_set_writeback(&w->blk, true);
    assert_int_equal(writeback_shown(w), 0);
    assert_true(writes_through(w));
}

/* It says so again when it connects again, after an option has changed. */
static void driver_may_keep_the_choice_that_is_no_longer_offered(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    assert_false(offers(w, VIRTIO_BLK_F_CONFIG_WCE));
    assert_true(blk_acceptable(&w->blk) & BIT(VIRTIO_BLK_F_CONFIG_WCE));
    opts.has_config_wce = true;
    opts.is_readonly = true;
    with_opts(w, &opts);
    assert_false(blk_acceptable(&w->blk) & BIT(VIRTIO_BLK_F_CONFIG_WCE));
}

static void fua_does_not_stick_to_a_slot(void **state)
{
    struct world *w = *state;
    struct used used;

    w->blk.features = 0;
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    ring_push(&w->ring, &w->request->chain, finish(w, 0));
    ring_publish(&w->ring);
    assert_true(driver_reap(&w->drv, &used));
    w->blk.features = blk_features(&w->blk);
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_false(w->request->io.flags & IO_FUA);
}

/* Give the request back; its slot is the next one's. */
static void give_back(struct world *w)
{
    struct used used;

    ring_push(&w->ring, &w->request->chain, 1);
    ring_publish(&w->ring);
    assert_true(driver_reap(&w->drv, &used));
}

/* All that is set by the parser, as the request was in a slot full of `byte`. */
static struct request parse_in_slot_of(struct world *w, int byte, uint32_t type, uint64_t sector)
{
    struct request *last = w->request;
    struct request request;

    memset((uint8_t *)last + sizeof(struct slot), byte, sizeof(*last) - sizeof(struct slot));
    parse(w, type, sector, type == VIRTIO_BLK_T_FLUSH ? 0 : 512, type != VIRTIO_BLK_T_OUT);
    assert_ptr_equal(w->request, last);
    request = *w->request;
    give_back(w);
    return request;
}

static void assert_same(const struct request *a, const struct request *b)
{
    assert_int_equal(a->io.op, b->io.op);
    assert_int_equal(a->io.flags, b->io.flags);
    assert_int_equal(a->io.iov_count, b->io.iov_count);
    assert_int_equal(a->io.offset, b->io.offset);
    assert_int_equal(a->io.length, b->io.length);
    assert_int_equal(a->io.result, b->io.result);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->used_len, b->used_len);
    assert_int_equal(a->status_on_error, b->status_on_error);
}

static void nothing_in_a_slot_outlives_its_request(void **state)
{
    const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
                              VIRTIO_BLK_T_GET_ID, 99};
    const uint64_t sectors[] = {8, DISK_SECTORS};
    struct world *w = *state;

    parse(w, VIRTIO_BLK_T_IN, 0, 512, true);
    give_back(w);
    for (unsigned i = 0; i < ARRAY_SIZE(types) * ARRAY_SIZE(sectors); i++) {
        uint32_t type = types[i / ARRAY_SIZE(sectors)];
        uint64_t sector = sectors[i % ARRAY_SIZE(sectors)];
        struct request clean = parse_in_slot_of(w, 0, type, sector);
        struct request used = parse_in_slot_of(w, 0x7f, type, sector);

        assert_same(&clean, &used);
    }
}

static enum refusal refusal_of(struct world *w, enum blk_verdict verdict)
{
    assert_int_equal(verdict, BLK_ANSWERED);
    assert_true(w->request->io.result < 0);
    give_back(w);
    return w->request->refusal;
}

static void refused_request_tells_its_kind(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    assert_int_equal(refusal_of(w, parse(w, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, 1024, true)),
                     REFUSAL_RANGE);
    assert_int_equal(w->request->io.offset, DISK_SECTORS - 1);
    assert_int_equal(w->request->io.length, 1024);
    assert_int_equal(refusal_of(w, parse(w, VIRTIO_BLK_T_OUT, 0, 511, false)), REFUSAL_ALIGN);
    assert_int_equal(refusal_of(w, parse(w, VIRTIO_BLK_T_IN, 0, 512, false)), REFUSAL_DIRECTION);
    assert_int_equal(refusal_of(w, parse(w, 99, 0, 512, false)), REFUSAL_TYPE);
    assert_int_equal(refusal_of(w, parse(w, VIRTIO_BLK_T_GET_ID, 0, 0, true)), REFUSAL_ID);
    opts.is_readonly = true;
    with_opts(w, &opts);
    assert_int_equal(refusal_of(w, parse(w, VIRTIO_BLK_T_OUT, 0, 512, false)), REFUSAL_READONLY);
}

static void last_sector_can_be_read(void **state)
{
    struct world *w = *state;

    assert_int_equal(parse(w, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, 512, true), BLK_SUBMIT);
}

static void read_past_the_end_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, 1024, true), VIRTIO_BLK_S_IOERR);
}

static void write_past_the_end_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_OUT, DISK_SECTORS, 512, false), VIRTIO_BLK_S_IOERR);
}

static void sector_near_2_to_the_64_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_IN, UINT64_MAX, 512, true), VIRTIO_BLK_S_IOERR);
}

/* Times 512 it is 0 again. */
static void sector_whose_byte_offset_wraps_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_IN, 1ull << 55, 512, true), VIRTIO_BLK_S_IOERR);
}

static void part_of_a_sector_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_IN, 0, 511, true), VIRTIO_BLK_S_IOERR);
}

static void length_misaligned_to_the_block_is_refused(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.logical_block = 4096;
    with_opts(w, &opts);
    assert_refused(w, parse(w, VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR);
}

static void sector_misaligned_to_the_block_is_refused(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.logical_block = 4096;
    with_opts(w, &opts);
    assert_refused(w, parse(w, VIRTIO_BLK_T_IN, 7, 4096, true), VIRTIO_BLK_S_IOERR);
}

/* Offer a write of `count` segments of 8 MiB each; they may overlap, as nobody does it. */
static enum blk_verdict parse_huge_write(struct world *w, unsigned count)
{
    const uint32_t segment = 8u << 20;
    uint64_t table = w->data;

    set_header(w, VIRTIO_BLK_T_OUT, 0);
    driver_set_table(&w->drv, table, 0, w->header, 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 1; i <= count; i++) {
        driver_set_table(&w->drv, table, i, w->data, segment, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
    }
    driver_set_table(&w->drv, table, count + 1, w->status, 1, VRING_DESC_F_WRITE, 0);
    raw_ring_set_desc(&w->drv.ring, 0, table, (count + 2) * 16, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, 0);
    return parse_offered(w);
}

static void request_of_the_largest_length_is_served(void **state)
{
    struct world *w = *state;

    assert_int_equal(parse_huge_write(w, BLK_MAX_BYTES / (8u << 20)), BLK_SUBMIT);
    assert_int_equal(w->request->io.length, BLK_MAX_BYTES);
}

static void longer_request_is_refused(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.capacity = 1ull << 40;
    with_opts(w, &opts);
    assert_refused(w, parse_huge_write(w, BLK_MAX_BYTES / (8u << 20) + 1), VIRTIO_BLK_S_IOERR);
}

static void read_into_readable_buffers_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_IN, 0, 512, false), VIRTIO_BLK_S_IOERR);
}

static void write_from_writable_buffers_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_OUT, 0, 512, true), VIRTIO_BLK_S_IOERR);
}

static void write_to_a_readonly_disk_is_refused(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.is_readonly = true;
    with_opts(w, &opts);
    assert_refused(w, parse(w, VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR);
}

static void readonly_disk_can_be_read(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.is_readonly = true;
    with_opts(w, &opts);
    assert_int_equal(parse(w, VIRTIO_BLK_T_IN, 0, 512, true), BLK_SUBMIT);
}

static void empty_read_is_done_at_once(void **state)
{
    struct world *w = *state;

    assert_answered(w, parse(w, VIRTIO_BLK_T_IN, 0, 0, true), VIRTIO_BLK_S_OK);
}

/* ---- the other types ---- */

static void flush_goes_to_the_image(void **state)
{
    struct world *w = *state;

    assert_int_equal(parse(w, VIRTIO_BLK_T_FLUSH, 0, 0, false), BLK_SUBMIT);
    assert_int_equal(w->request->io.op, IO_FLUSH);
    assert_int_equal(w->request->io.length, 0);
    assert_int_equal(w->request->kind, STATS_FLUSH);
    assert_int_equal(finish(w, 0), 1);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
}

static void sector_of_a_flush_does_not_matter(void **state)
{
    struct world *w = *state;

    assert_int_equal(parse(w, VIRTIO_BLK_T_FLUSH, UINT64_MAX, 0, false), BLK_SUBMIT);
    assert_int_equal(w->request->io.offset, 0);
}

static void flush_of_a_readonly_disk_is_done_at_once(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    opts.is_readonly = true;
    with_opts(w, &opts);
    assert_answered(w, parse(w, VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK);
}

static void get_id_gives_the_serial_padded_with_zeroes(void **state)
{
    struct world *w = *state;
    uint8_t *data = arena_at(&w->arena, w->data);
    static const char padded[BLK_SERIAL_BYTES] = "serial-1";

    memset(data, 0xff, 64);
    assert_int_equal(parse(w, VIRTIO_BLK_T_GET_ID, 0, 20, true), BLK_ANSWERED);
    assert_int_equal(blk_finish(w->request, 1500, &w->stats), 21);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
    assert_memory_equal(data, padded, BLK_SERIAL_BYTES);
    assert_int_equal(data[BLK_SERIAL_BYTES], 0xff);
    assert_int_equal(w->request->kind, STATS_OTHER);
}

static void serial_of_20_bytes_has_no_final_zero(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;

    strcpy(opts.serial, "12345678901234567890");
    with_opts(w, &opts);
    parse(w, VIRTIO_BLK_T_GET_ID, 0, 20, true);
    assert_memory_equal(arena_at(&w->arena, w->data), "12345678901234567890", 20);
}

static void get_id_with_a_short_buffer_is_cut(void **state)
{
    struct world *w = *state;
    uint8_t *data = arena_at(&w->arena, w->data);

    memset(data, 0xff, 64);
    assert_int_equal(parse(w, VIRTIO_BLK_T_GET_ID, 0, 4, true), BLK_ANSWERED);
    assert_int_equal(blk_finish(w->request, 1500, &w->stats), 5);
    assert_memory_equal(data, "seri\xff", 5);
}

static void get_id_with_a_long_buffer_writes_20_bytes(void **state)
{
    struct world *w = *state;
    uint8_t *data = arena_at(&w->arena, w->data);

    memset(data, 0xff, 512);
    assert_answered(w, parse(w, VIRTIO_BLK_T_GET_ID, 0, 512, true), VIRTIO_BLK_S_OK);
    assert_int_equal(data[19], 0);
    assert_int_equal(data[20], 0xff);
}

static void get_id_without_a_buffer_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, parse(w, VIRTIO_BLK_T_GET_ID, 0, 0, true), VIRTIO_BLK_S_IOERR);
}

static void get_id_fills_several_pieces(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_in(w->data, 3),
                             piece_in(w->data + 100, 2), piece_in(w->data + 200, 64),
                             piece_in(w->status, 1)};

    set_header(w, VIRTIO_BLK_T_GET_ID, 0);
    assert_answered(w, parse_pieces(w, pieces, 5), VIRTIO_BLK_S_OK);
    assert_memory_equal(arena_at(&w->arena, w->data), "ser", 3);
    assert_memory_equal(arena_at(&w->arena, w->data + 100), "ia", 2);
    assert_memory_equal(arena_at(&w->arena, w->data + 200), "l-1\0", 4);
}

static void assert_unsupported(struct world *w, enum blk_verdict verdict)
{
    assert_refused(w, verdict, VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(w->request->refusal, REFUSAL_TYPE);
    give_back(w);
    w->stats.invalid = 0;
}

static void unknown_types_are_unsupported(void **state)
{
    /* SCSI_CMD, GET_LIFETIME, DISCARD, WRITE_ZEROES, SECURE_ERASE, and 15 to 26 for zones. */
    static const uint32_t types[] = {2,  3,  5,  9,  10, 11, 13, 14, 15,         16,
                                     18, 20, 22, 24, 26, 99, 12, 17, 0x7fffffff, UINT32_MAX};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        assert_unsupported(w, parse(w, types[i], 0, 0, false));
        assert_unsupported(w, parse(w, types[i], 0, 512, false));
        assert_unsupported(w, parse(w, types[i], 0, 512, true));
    }
}

/* Nothing is begun, so that no read or write is taken for one that waits for others. */
static void legacy_barriers_are_unsupported(void **state)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
                                     VIRTIO_BLK_T_SCSI_CMD};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        uint32_t type = types[i] | VIRTIO_BLK_T_BARRIER;

        assert_unsupported(w, parse(w, type, 0, 0, false));
        assert_unsupported(w, parse(w, type, 0, 512, false));
        assert_unsupported(w, parse(w, type, 0, 512, true));
    }
}

/*
 * Header, command, data, sense, SCSI's own header, status.
 * Source: VIRTIO 1.2, 5.2.6.4 "Legacy Interface: Device Operation".
 */
static void scsi_commands_of_old_are_unsupported(void **state)
{
    struct world *w = *state;
    struct piece to_device[] = {piece_out(w->header, 16),      piece_out(w->data, 6),
                                piece_out(w->data + 512, 512), piece_in(w->data + 8192, 96),
                                piece_in(w->data + 12288, 16), piece_in(w->status, 1)};
    struct piece from_device[] = {piece_out(w->header, 16),      piece_out(w->data, 6),
                                  piece_in(w->data + 4096, 512), piece_in(w->data + 8192, 96),
                                  piece_in(w->data + 12288, 16), piece_in(w->status, 1)};

    set_header(w, VIRTIO_BLK_T_SCSI_CMD, 0);
    assert_unsupported(w, parse_pieces(w, to_device, 6));
    set_header(w, VIRTIO_BLK_T_SCSI_CMD | VIRTIO_BLK_T_OUT, 0);
    assert_unsupported(w, parse_pieces(w, to_device, 6));
    set_header(w, VIRTIO_BLK_T_SCSI_CMD, 0);
    assert_unsupported(w, parse_pieces(w, from_device, 6));
}

/* ---- discards and zeroes ---- */

static const struct blk_opts wiping_opts = {
    .capacity = DISK_BYTES,
    .logical_block = 4096,
    .physical_block = 4096,
    .discard_block = 65536,
    .zeroes = BLK_ZEROES_UNMAP,
    .queues = 3,
    .seg_max = BLK_SEG_MAX,
};

#define UNMAP VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

static struct virtio_blk_discard_write_zeroes *segments_of(struct world *w)
{
    return arena_at(&w->arena, w->data);
}

/* The segments are those of w->data, in one piece. */
static enum blk_verdict parse_ranges_of(struct world *w, uint32_t type, unsigned count)
{
    return parse(w, type, 0, count * 16, false);
}

static void assert_io(const struct world *w, enum io_op op, unsigned flags, uint64_t first,
                      uint64_t sectors)
{
    const struct io *io = &w->request->io;

    assert_int_equal(io->op, op);
    assert_int_equal(io->flags, flags);
    assert_int_equal(io->offset, first * SECTOR_SIZE);
    assert_int_equal(io->length, sectors * SECTOR_SIZE);
}

static void discards_are_offered_where_they_can_be_done(void **state)
{
    struct world *w = *state;
    struct virtio_blk_config config;

    with_opts(w, &wiping_opts);
    assert_true(offers(w, VIRTIO_BLK_F_DISCARD));
    assert_true(offers(w, VIRTIO_BLK_F_WRITE_ZEROES));
    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.max_discard_sectors, BLK_DISCARD_MAX / SECTOR_SIZE);
    assert_int_equal(config.max_discard_seg, BLK_RANGES);
    assert_int_equal(config.discard_sector_alignment, 128);
    assert_int_equal(config.max_write_zeroes_sectors, BLK_ZEROES_MAX / SECTOR_SIZE);
    assert_int_equal(config.max_write_zeroes_seg, BLK_RANGES);
    assert_int_equal(config.write_zeroes_may_unmap, 1);
    w->opts.discard_block = 0;
    w->opts.zeroes = BLK_ZEROES_KEEP;
    with_opts(w, &w->opts);
    assert_false(offers(w, VIRTIO_BLK_F_DISCARD));
    assert_true(offers(w, VIRTIO_BLK_F_WRITE_ZEROES));
    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.max_discard_sectors, 0);
    assert_int_equal(config.write_zeroes_may_unmap, 0);
}

static void discards_are_as_the_image_has_them_and_no_more_than_is_asked_for(void **state)
{
    struct node_facts facts = {.size = DISK_BYTES,
                               .block_size = 512,
                               .logical_block = 4096,
                               .physical_block = 4096,
                               .discard_block = 512,
                               .can_zero = true};
    const struct blk_opts all = {.discard_block = UINT32_MAX, .zeroes = BLK_ZEROES_UNMAP};
    struct blk_opts opts = all;

    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.discard_block, 4096); /* no less than a block */
    assert_int_equal(opts.zeroes, BLK_ZEROES_UNMAP);
    opts = (struct blk_opts){.zeroes = BLK_ZEROES_UNMAP};
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.discard_block, 0);
    assert_int_equal(opts.zeroes, BLK_ZEROES_KEEP);
    opts = (struct blk_opts){.discard_block = UINT32_MAX};
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.zeroes, BLK_ZEROES_OFF);
    opts = all;
    opts.is_readonly = true;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.discard_block, 0);
    assert_int_equal(opts.zeroes, BLK_ZEROES_OFF);
    opts = all;
    facts.discard_block = 0;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.discard_block, 0);
    assert_int_equal(opts.zeroes, BLK_ZEROES_KEEP);
}

static void limits_are_told_as_they_were_said(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = wiping_opts;
    struct virtio_blk_config config;
    uint32_t size_max;

    with_opts(w, &opts);
    assert_false(offers(w, VIRTIO_BLK_F_SIZE_MAX));
    opts.limits = (struct blk_limits){65536, 7, 9, BLK_SECTORS_MAX_BYTES / 4096 * 4096, 8192};
    with_opts(w, &opts);
    assert_true(offers(w, VIRTIO_BLK_F_SIZE_MAX));
    blk_config_read(&w->blk, 8, &size_max, 4);
    assert_int_equal(size_max, 65536);
    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.max_discard_sectors, UINT32_MAX / 8 * 8);
    assert_int_equal(config.max_discard_seg, 7);
    assert_int_equal(config.max_write_zeroes_sectors, 16);
    assert_int_equal(config.max_write_zeroes_seg, 9);
    opts.limits = (struct blk_limits){0};
    opts.discard_block = 1u << 31; /* of a device: no less than that is of use */
    with_opts(w, &opts);
    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.max_discard_sectors, 1u << 22);
}

static void what_is_larger_than_was_said_is_served(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = wiping_opts;

    opts.seg_max = 1;
    opts.limits = (struct blk_limits){4096, 1, 1, 65536, 4096};
    with_opts(w, &opts);
    segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){0, DISK_SECTORS, UNMAP};
    segments_of(w)[1] = (struct virtio_blk_discard_write_zeroes){8, 8, UNMAP};
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_WRITE_ZEROES, 2), BLK_SUBMIT);
    segments_of(w)[0].flags = segments_of(w)[1].flags = 0;
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 2), BLK_SUBMIT);
    assert_int_equal(parse(w, VIRTIO_BLK_T_OUT, 0, 8192, false), BLK_SUBMIT);
    assert_io(w, IO_WRITE, 0, 0, 16);
}

static void limits_that_do_not_suit_the_image_are_refused(void **state)
{
    struct node_facts facts = {.size = DISK_BYTES,
                               .block_size = 512,
                               .logical_block = 4096,
                               .physical_block = 4096,
                               .discard_block = 65536,
                               .can_zero = true};
    const struct blk_limits cases[] = {{.size_max = 4608},
                                       {.discard_bytes = 512},
                                       {.discard_bytes = 32768},
                                       {.zeroes_bytes = 512}};
    const struct blk_opts all = {.discard_block = BLK_DISCARD_BLOCK_ANY,
                                 .zeroes = BLK_ZEROES_UNMAP};
    struct blk_opts opts;

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        opts = all;
        opts.limits = cases[i];
        assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), -EINVAL);
    }
    opts = all;
    opts.discard_block = 4096; /* less than the image has: the caller knows better */
    opts.limits.discard_bytes = 4096;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.discard_block, 4096);
    facts.discard_block = 0;
    opts = all;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    opts.limits.discard_count = 1;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), -EINVAL);
    opts = all;
    opts.discard_block = 4096;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), -EINVAL);
    opts = all;
    opts.limits.zeroes_count = 1;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    facts.can_zero = false;
    opts.limits.zeroes_count = 1;
    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), -EINVAL);
}

static void a_discard_becomes_an_io_for_each_segment(void **state)
{
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){8, 16, 0};
    segments_of(w)[1] = (struct virtio_blk_discard_write_zeroes){DISK_SECTORS, 0, 0};
    segments_of(w)[2] = (struct virtio_blk_discard_write_zeroes){DISK_SECTORS - 8, 8, 0};
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 3), BLK_SUBMIT);
    assert_io(w, IO_DISCARD, 0, 8, 16);
    assert_true(blk_ranges_next(&w->blk, w->request));
    assert_io(w, IO_DISCARD, 0, DISK_SECTORS - 8, 8);
    assert_false(blk_ranges_next(&w->blk, w->request));
    assert_int_equal(finish(w, 0), 1);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
    assert_int_equal(w->stats.type[STATS_DISCARD].bytes, 24 * SECTOR_SIZE);
}

static void zeroes_may_be_unmapped_segment_by_segment(void **state)
{
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){0, 8, UNMAP};
    segments_of(w)[1] = (struct virtio_blk_discard_write_zeroes){8, 8, 0};
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_WRITE_ZEROES, 2), BLK_SUBMIT);
    assert_io(w, IO_ZERO, IO_MAY_UNMAP, 0, 8);
    assert_true(blk_ranges_next(&w->blk, w->request));
    assert_io(w, IO_ZERO, 0, 8, 8);
    w->opts.zeroes = BLK_ZEROES_KEEP;
    with_opts(w, &w->opts);
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_WRITE_ZEROES, 1), BLK_SUBMIT);
    assert_io(w, IO_ZERO, 0, 0, 8);
}

static void zeroes_are_stable_where_writes_are(void **state)
{
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    w->blk.features &= ~BIT(VIRTIO_BLK_F_FLUSH);
    segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){0, 8, UNMAP};
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_WRITE_ZEROES, 1), BLK_SUBMIT);
    assert_io(w, IO_ZERO, IO_FUA | IO_MAY_UNMAP, 0, 8);
    segments_of(w)[0].flags = 0;
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 1), BLK_SUBMIT);
    assert_io(w, IO_DISCARD, 0, 0, 8);
}

/* Refused, and its descriptors are the driver's again. */
static void assert_refused_and_back(struct world *w, enum blk_verdict verdict, uint8_t status)
{
    struct used used;

    assert_refused(w, verdict, status);
    w->stats.invalid = 0;
    ring_push(&w->ring, &w->request->chain, 1);
    ring_publish(&w->ring);
    assert_true(driver_reap(&w->drv, &used));
}

static void one_faulty_segment_refuses_all(void **state)
{
    static const struct {
        struct virtio_blk_discard_write_zeroes segment;
        uint32_t type;
        uint8_t status;
    } faulty[] = {
        {{0, 8, UNMAP}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP},
        {{0, 8, 2}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP},
        {{0, 8, 2}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_UNSUPP},
        {{0, 8, 0x80000001}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_UNSUPP},
        {{DISK_SECTORS, 8, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
        {{DISK_SECTORS - 8, 16, 0}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
        {{UINT64_MAX - 7, 8, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
        {{0, UINT32_MAX, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
        {{UINT64_MAX / 512, 8, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
        {{4, 8, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
        {{0, 9, 0}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
    };
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    for (unsigned i = 0; i < ARRAY_SIZE(faulty); i++) {
        segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){0, 8, 0};
        segments_of(w)[1] = faulty[i].segment;
        assert_refused_and_back(w, parse_ranges_of(w, faulty[i].type, 2), faulty[i].status);
    }
}

static void a_segment_that_is_changed_after_its_check_is_none(void **state)
{
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    segments_of(w)[0] = segments_of(w)[1] = (struct virtio_blk_discard_write_zeroes){0, 8, 0};
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 2), BLK_SUBMIT);
    segments_of(w)[1].sector = DISK_SECTORS;
    assert_false(blk_ranges_next(&w->blk, w->request));
    assert_int_equal(w->request->io.result, -EINVAL);
    assert_int_equal(finish(w, -EINVAL), 1);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_IOERR);
}

static void segments_may_be_cut_anywhere(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_out(w->data, 5),
                             piece_out(w->data + 5, 20), piece_out(w->data + 25, 7),
                             piece_in(w->status, 1)};

    with_opts(w, &wiping_opts);
    set_header(w, VIRTIO_BLK_T_DISCARD, 0);
    segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){8, 8, 0};
    segments_of(w)[1] = (struct virtio_blk_discard_write_zeroes){0x12340, 32, 0};
    assert_int_equal(parse_pieces(w, pieces, 5), BLK_SUBMIT);
    assert_io(w, IO_DISCARD, 0, 8, 8);
    assert_true(blk_ranges_next(&w->blk, w->request));
    assert_io(w, IO_DISCARD, 0, 0x12340, 32);
    assert_false(blk_ranges_next(&w->blk, w->request));
}

static void more_and_longer_segments_than_the_driver_is_told_are_served(void **state)
{
    struct world *w = *state;
    unsigned count = 0;

    w->opts = wiping_opts;
    w->opts.capacity = 4ull << 40;
    with_opts(w, &w->opts);
    for (unsigned i = 0; i < 4096; i++) {
        segments_of(w)[i] = (struct virtio_blk_discard_write_zeroes){i * 8, UINT32_MAX - 7, 0};
    }
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 4096), BLK_SUBMIT);
    do {
        assert_io(w, IO_DISCARD, 0, count++ * 8, UINT32_MAX - 7);
    } while (blk_ranges_next(&w->blk, w->request));
    assert_int_equal(count, 4096);
    assert_int_equal(w->request->io.length, 4096 * (UINT32_MAX - 7ull) * SECTOR_SIZE);
}

static void empty_segments_are_answered_at_once(void **state)
{
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    segments_of(w)[0] = segments_of(w)[1] = (struct virtio_blk_discard_write_zeroes){0};
    assert_answered(w, parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 2), VIRTIO_BLK_S_OK);
}

static void what_is_no_list_of_segments_is_refused(void **state)
{
    static const uint32_t lengths[] = {0, 1, 8, 15, 17, 40};
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        assert_refused_and_back(w, parse(w, VIRTIO_BLK_T_DISCARD, 0, lengths[i], false),
                                VIRTIO_BLK_S_IOERR);
    }
    assert_refused_and_back(w, parse(w, VIRTIO_BLK_T_DISCARD, 0, 16, true), VIRTIO_BLK_S_IOERR);
    assert_refused_and_back(w, parse(w, VIRTIO_BLK_T_DISCARD, 0, (BLK_RANGES_MAX + 1) * 16, false),
                            VIRTIO_BLK_S_IOERR);
}

static void ranges_that_the_driver_has_not_accepted_are_unsupported(void **state)
{
    struct world *w = *state;

    with_opts(w, &wiping_opts);
    w->blk.features = BIT(VIRTIO_BLK_F_WRITE_ZEROES);
    segments_of(w)[0] = (struct virtio_blk_discard_write_zeroes){0, 8, 0};
    assert_refused(w, parse_ranges_of(w, VIRTIO_BLK_T_DISCARD, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(parse_ranges_of(w, VIRTIO_BLK_T_WRITE_ZEROES, 1), BLK_SUBMIT);
}

/* ---- framing ---- */

static void header_may_be_cut_in_three(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 1), piece_out(w->header + 1, 8),
                             piece_out(w->header + 9, 7), piece_in(w->data, 1024),
                             piece_in(w->status, 1)};

    set_header(w, VIRTIO_BLK_T_IN, 0x123);
    assert_int_equal(parse_pieces(w, pieces, 5), BLK_SUBMIT);
    assert_int_equal(w->request->io.offset, 0x123 * 512);
    assert_int_equal(w->request->io.length, 1024);
    assert_int_equal(w->request->io.iov_count, 1);
}

static void header_and_data_may_share_a_descriptor(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16 + 512), piece_in(w->status, 1)};

    w->header = w->data; /* 16 bytes of header, then the data */
    pieces[0].addr = w->header;
    set_header(w, VIRTIO_BLK_T_OUT, 5);
    assert_int_equal(parse_pieces(w, pieces, 2), BLK_SUBMIT);
    assert_int_equal(w->request->io.length, 512);
    assert_int_equal(w->request->io.iov_count, 1);
    assert_ptr_equal(w->request->io.iov[0].iov_base, mem_at(&w->mem, w->data + 16, 1));
    assert_int_equal(w->request->io.iov[0].iov_len, 512);
}

static void data_and_status_may_share_a_descriptor(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_in(w->data, 513)};

    w->status_byte = arena_at(&w->arena, w->data + 512);
    set_header(w, VIRTIO_BLK_T_IN, 5);
    assert_int_equal(parse_pieces(w, pieces, 2), BLK_SUBMIT);
    assert_int_equal(w->request->io.length, 512);
    assert_int_equal(w->request->io.iov_count, 1);
    assert_int_equal(w->request->io.iov[0].iov_len, 512);
    assert_int_equal(finish(w, 0), 513);
    assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
}

static void data_may_be_cut_anywhere(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_in(w->data, 1),
                             piece_in(w->data + 100, 510), piece_in(w->data + 1000, 2)};

    w->status_byte = arena_at(&w->arena, w->data + 1001);
    set_header(w, VIRTIO_BLK_T_IN, 0);
    assert_int_equal(parse_pieces(w, pieces, 4), BLK_SUBMIT);
    assert_int_equal(w->request->io.length, 512);
    assert_int_equal(w->request->io.iov_count, 3);
    assert_int_equal(w->request->io.iov[2].iov_len, 1);
}

static void header_cut_with_its_tail_before_the_data(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 10), piece_out(0, 0), piece_in(w->status, 1)};

    w->header = w->data;
    pieces[0].addr = w->header;
    pieces[1] = piece_out(w->header + 10, 6 + 1024);
    set_header(w, VIRTIO_BLK_T_OUT, 1);
    assert_int_equal(parse_pieces(w, pieces, 3), BLK_SUBMIT);
    assert_int_equal(w->request->io.length, 1024);
    assert_int_equal(w->request->io.iov_count, 1);
    assert_int_equal(w->request->io.iov[0].iov_len, 1024);
}

static void seg_max_leaves_room_for_header_and_status(void **state)
{
    (void)state;
    assert_int_equal(blk_seg_max(1024), BLK_SEG_MAX);
    assert_int_equal(blk_seg_max(128), 126);
    assert_int_equal(blk_seg_max(16), 14);
    assert_int_equal(blk_seg_max(4), 2);
    assert_int_equal(blk_seg_max(2), 1);
}

/* A read of so many sectors, each to the same place, and all in pieces of one sector. */
static enum blk_verdict parse_segments(struct world *w, unsigned count)
{
    uint64_t table = w->data + 32768;
    unsigned last = count + 1;

    set_header(w, VIRTIO_BLK_T_IN, 0);
    driver_set_table(&w->drv, table, 0, w->header, 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 1; i < last; i++) {
        driver_set_table(&w->drv, table, i, w->data, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
                         (uint16_t)(i + 1));
    }
    driver_set_table(&w->drv, table, last, w->status, 1, VRING_DESC_F_WRITE, 0);
    raw_ring_set_desc(&w->drv.ring, 0, table, (last + 1) * 16, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, 0);
    return parse_offered(w);
}

/* Windows' viostor sends up to 515, whatever it is told, on rings of any size. */
static void many_segments_are_served(void **state)
{
    static const unsigned counts[] = {
        1, 32, BLK_SLOT_IOVS - 2, BLK_SLOT_IOVS - 1, BLK_SEG_MAX, 129, 515, 1024};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        assert_int_equal(parse_segments(w, counts[i]), BLK_SUBMIT);
        assert_int_equal(w->request->io.iov_count, counts[i]);
        assert_int_equal(w->request->io.length, counts[i] * 512);
        assert_int_equal(finish(w, 0), counts[i] * 512 + 1);
        assert_int_equal(*w->status_byte, VIRTIO_BLK_S_OK);
        ring_push(&w->ring, &w->request->chain, 1);
    }
}

static void too_many_segments_are_refused(void **state)
{
    assert_refused(*state, parse_segments(*state, RING_MAX_IOVS - 1), VIRTIO_BLK_S_IOERR);
}

static void short_header_is_refused(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 15), piece_in(w->status, 1)};

    set_header(w, VIRTIO_BLK_T_FLUSH, 0);
    assert_refused(w, parse_pieces(w, pieces, 2), VIRTIO_BLK_S_IOERR);
}

static void chain_without_a_header_is_refused(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_in(w->status, 1)};

    set_header(w, VIRTIO_BLK_T_FLUSH, 0);
    assert_refused(w, parse_pieces(w, pieces, 1), VIRTIO_BLK_S_IOERR);
}

static void chain_without_a_status_is_broken(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_out(w->data, 512)};

    set_header(w, VIRTIO_BLK_T_OUT, 0);
    assert_int_equal(parse_pieces(w, pieces, 2), BLK_BROKEN);
}

static void status_outside_memory_is_broken(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_in(0x10, 1)};

    set_header(w, VIRTIO_BLK_T_FLUSH, 0);
    assert_int_equal(parse_pieces(w, pieces, 2), BLK_BROKEN);
}

static void faulty_chain_with_a_status_is_refused(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->header, 16), piece_in(0x10, 512), piece_in(w->status, 1)};

    set_header(w, VIRTIO_BLK_T_IN, 0);
    assert_refused(w, parse_pieces(w, pieces, 3), VIRTIO_BLK_S_IOERR);
}

/* The header is copied once: what the guest does afterwards changes nothing. */
static void header_changed_after_parsing_does_not_matter(void **state)
{
    struct world *w = *state;

    parse(w, VIRTIO_BLK_T_IN, 8, 512, true);
    memset(arena_at(&w->arena, w->header), 0xff, 16);
    finish(w, 0);
    assert_int_equal(w->request->io.offset, 4096);
    assert_int_equal(w->stats.type[STATS_READ].requests, 1);
}

static void counters_tell_types_bytes_and_time(void **state)
{
    struct world *w = *state;

    parse(w, VIRTIO_BLK_T_IN, 0, 4096, true);
    finish(w, 0);
    parse(w, VIRTIO_BLK_T_OUT, 0, 512, false);
    finish(w, 0);
    parse(w, VIRTIO_BLK_T_FLUSH, 0, 0, false);
    finish(w, -EIO);
    assert_int_equal(w->stats.type[STATS_READ].requests, 1);
    assert_int_equal(w->stats.type[STATS_READ].bytes, 4096);
    assert_int_equal(w->stats.type[STATS_READ].time_ns, 500);
    assert_int_equal(w->stats.type[STATS_WRITE].bytes, 512);
    assert_int_equal(w->stats.type[STATS_FLUSH].requests, 1);
    assert_int_equal(w->stats.type[STATS_FLUSH].errors, 1);
    assert_int_equal(w->stats.type[STATS_READ].errors, 0);
}

/* ---- blk_opts_resolve ---- */

static const struct node_facts image = {
    .size = 1ull << 20,
    .block_size = 512,
    .logical_block = 512,
    .physical_block = 4096,
    .opt_io = 8192,
};

static void resolve_takes_what_the_image_says(void **state)
{
    struct blk_opts opts = {.queues = 1};

    assert_int_equal(blk_opts_resolve(&opts, &image, NULL), 0);
    assert_int_equal(opts.capacity, 1u << 20);
    assert_int_equal(opts.logical_block, 512);
    assert_int_equal(opts.physical_block, 4096);
    assert_int_equal(opts.min_io, 4096);
    assert_int_equal(opts.alignment, 0);
    assert_int_equal(opts.opt_io, 8192);
}

/* A device of 512-byte blocks in a RAID of 64 KiB chunks, begun seven blocks before a physical one.
 */
static void resolve_takes_the_images_topology(void **state)
{
    struct world *w = *state;
    struct node_facts raid = image;
    struct blk_opts opts = {.queues = 1};
    struct virtio_blk_config config;

    raid.alignment = 7 * 512;
    raid.min_io = 65536;
    raid.opt_io = 262144;
    assert_int_equal(blk_opts_resolve(&opts, &raid, NULL), 0);
    with_opts(w, &opts);
    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.physical_block_exp, 3);
    assert_int_equal(config.alignment_offset, 7);
    assert_int_equal(config.min_io_size, 128);
    assert_int_equal(config.opt_io_size, 512);
}

static void assert_topology(const struct node_facts *facts, struct blk_opts opts,
                            uint32_t alignment, uint32_t min_io)
{
    assert_int_equal(blk_opts_resolve(&opts, facts, NULL), 0);
    assert_int_equal(opts.alignment, alignment);
    assert_int_equal(opts.min_io, min_io);
    assert_int_equal(blk_opts_check(&opts, NULL), 0);
}

static void topology_that_cannot_be_told_is_not(void **state)
{
    struct node_facts odd = image;
    struct blk_opts none = {0};

    odd.min_io = 512;
    assert_topology(&odd, none, 0, 4096);
    odd.min_io = 4096 + 256;
    assert_topology(&odd, none, 0, 4096);
    odd.min_io = 65536 * 512;
    assert_topology(&odd, none, 0, 4096);
    odd.min_io = 65535 * 512;
    assert_topology(&odd, none, 0, 65535 * 512);
    odd.alignment = 4096;
    odd.min_io = 0;
    assert_topology(&odd, none, 0, 4096);
    odd.alignment = 100;
    assert_topology(&odd, none, 0, 4096);
}

static void topology_suits_blocks_that_were_asked_for(void **state)
{
    struct node_facts shifted = image;

    shifted.alignment = 3584;
    shifted.min_io = 4096;
    assert_topology(&shifted, (struct blk_opts){.physical_block = 512}, 0, 4096);
    assert_topology(&shifted, (struct blk_opts){.physical_block = 65536}, 3584, 65536);
    assert_topology(&shifted, (struct blk_opts){.logical_block = 4096}, 0, 4096);
    shifted.alignment = 512 * 1000;
    assert_topology(&shifted, (struct blk_opts){.physical_block = 1 << 20}, 0, 1 << 20);
}

static void topology_that_was_asked_for_is_told(void **state)
{
    struct world *w = *state;
    struct node_facts raid = image;
    struct blk_opts opts = {.queues = 1,
                            .alignment = 255 * 512,
                            .physical_block = 1 << 17,
                            .min_io = 65535 * 512,
                            .opt_io = UINT32_MAX - 511};
    struct virtio_blk_config config;

    raid.alignment = 7 * 512;
    raid.min_io = 65536;
    raid.opt_io = 262144;
    assert_int_equal(blk_opts_resolve(&opts, &raid, NULL), 0);
    with_opts(w, &opts);
    blk_config_read(&w->blk, 0, &config, sizeof(config));
    assert_int_equal(config.alignment_offset, 255);
    assert_int_equal(config.min_io_size, 65535);
    assert_int_equal(config.opt_io_size, UINT32_MAX / 512);
}

static void assert_topology_refused(struct blk_opts opts, const char *why)
{
    struct err err = {0};

    assert_int_equal(blk_opts_resolve(&opts, &image, &err), -EINVAL);
    assert_non_null(strstr(err.text, why));
}

/* What was asked for is told, or the disk is not there: it is never left out, or cut. */
static void topology_that_was_asked_for_and_cannot_be_told_is_refused(void **state)
{
    assert_topology_refused((struct blk_opts){.min_io = 2048},
                            "smallest I/O size 2048 has to be whole logical blocks of 512, from "
                            "the physical block size 4096 to 33553920");
    assert_topology_refused((struct blk_opts){.min_io = 65536 * 512}, "to 33553920");
    assert_topology_refused((struct blk_opts){.alignment = 4096},
                            "alignment offset 4096 has to be whole logical blocks of 512, below "
                            "the physical block size 4096, and 3584 at most");
    assert_topology_refused((struct blk_opts){.alignment = 256 * 512, .physical_block = 1 << 20},
                            "and 130560 at most");
    assert_topology_refused((struct blk_opts){.opt_io = 4608, .logical_block = 4096},
                            "best I/O size 4608 has to be whole logical blocks of 4096, up to "
                            "4294963200");
}

static void assert_chs(struct node_facts facts, unsigned cylinders, unsigned heads,
                       unsigned sectors)
{
    struct blk_opts opts = {.queues = 1};

    assert_int_equal(blk_opts_resolve(&opts, &facts, NULL), 0);
    assert_int_equal(opts.chs.cylinders, cylinders);
    assert_int_equal(opts.chs.heads, heads);
    assert_int_equal(opts.chs.sectors, sectors);
}

static void geometry_is_guessed_from_the_size(void **state)
{
    struct node_facts disk = image;

    assert_chs(disk, 2, 16, 63);
    disk.size = 100ull * 16 * 63 * 512 + 512;
    assert_chs(disk, 100, 16, 63);
    disk.size = 1ull << 45;
    assert_chs(disk, 16383, 16, 63);
}

static void geometry_of_a_partition_table_is_taken_if_it_suits_the_size(void **state)
{
    struct node_facts disk = image;

    disk.chs = (struct image_chs){8, 32};
    assert_chs(disk, 8, 8, 32);
    disk.size = 255 * 512;
    assert_chs(disk, 2, 16, 63);
    disk.size = 16383ull * 256 * 512;
    assert_chs(disk, 16383, 8, 32);
    disk.size = 16384ull * 256 * 512;
    assert_chs(disk, 16384 * 256 / 1008, 16, 63);
}

static void geometry_is_read_as_three_numbers(void **state)
{
    static const char *const bad[] = {
        "",        "1",         "1,1",       "1,1,",      ",1,1",    "1,1,1,",  "1,1,1,1",
        "0,16,63", "1024,0,63", "1024,16,0", "65536,1,1", "1,256,1", "1,1,256", "1,1,-1",
        " 1,1,1",  "1,1,1 ",    "0x10,1,1",  "1;1;1",     "+1,1,1",  "1.5,1,1", "99999999999,1,1",
    };
    struct blk_chs chs = {7, 7, 7};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(blk_chs_parse(bad[i], &chs));
        assert_int_equal(chs.cylinders, 7);
    }
    assert_true(blk_chs_parse("65535,255,255", &chs));
    assert_int_equal(chs.cylinders, 65535);
    assert_int_equal(chs.heads, 255);
    assert_int_equal(chs.sectors, 255);
    assert_true(blk_chs_parse("1,2,3", &chs));
    assert_int_equal(chs.cylinders, 1);
    assert_int_equal(chs.heads, 2);
    assert_int_equal(chs.sectors, 3);
}

static void geometry_that_is_given_is_not_guessed(void **state)
{
    const struct node_facts disk = {.size = 100 * SECTOR_SIZE,
                                    .block_size = 512,
                                    .logical_block = 512,
                                    .physical_block = 512,
                                    .chs = {8, 32}};
    struct blk_opts opts = {.chs = {512, 255, 62}};

    assert_int_equal(blk_opts_resolve(&opts, &disk, NULL), 0);
    assert_int_equal(opts.chs.cylinders, 512);
    assert_int_equal(opts.chs.heads, 255);
    assert_int_equal(opts.chs.sectors, 62);
}

static void geometry_is_offered_and_lies_where_specified(void **state)
{
    struct world *w = *state;
    struct blk_opts opts = default_opts;
    uint8_t bytes[4];

    opts.chs = (struct blk_chs){0x1234, 16, 63};
    with_opts(w, &opts);
    assert_true(offers(w, VIRTIO_BLK_F_GEOMETRY));
    blk_config_read(&w->blk, 16, bytes, 4);
    assert_memory_equal(bytes, ((uint8_t[]){0x34, 0x12, 16, 63}), 4);
}

static void geometry_of_which_parts_are_missing_is_refused(void **state)
{
    struct blk_opts opts = default_opts;
    struct err err = {0};

    opts.chs = (struct blk_chs){100, 16, 0};
    assert_int_equal(blk_opts_check(&opts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "16 heads and 0 sectors"));
    opts.chs = (struct blk_chs){0, 0, 63};
    assert_int_equal(blk_opts_check(&opts, NULL), -EINVAL);
}

/* Of a state file, say. */
static void topology_that_cannot_be_is_refused(void **state)
{
    struct blk_opts opts = default_opts;
    struct err err = {0};

    opts.min_io = 2048;
    assert_int_equal(blk_opts_check(&opts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "smallest I/O size 2048"));
    opts.min_io = 0;
    assert_int_equal(blk_opts_check(&opts, NULL), 0);
    opts.alignment = 4096;
    assert_int_equal(blk_opts_check(&opts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "alignment offset 4096"));
}

static void resolve_keeps_blocks_that_were_asked_for(void **state)
{
    struct blk_opts opts = {.logical_block = 4096, .physical_block = 16384};

    assert_int_equal(blk_opts_resolve(&opts, &image, NULL), 0);
    assert_int_equal(opts.logical_block, 4096);
    assert_int_equal(opts.physical_block, 16384);
}

static void large_logical_block_raises_the_physical_one(void **state)
{
    struct blk_opts opts = {.logical_block = 8192};

    assert_int_equal(blk_opts_resolve(&opts, &image, NULL), 0);
    assert_int_equal(opts.physical_block, 8192);
}

static void image_with_4096_byte_sectors_gets_such_blocks(void **state)
{
    struct node_facts big = image;
    struct blk_opts opts = {0};

    big.block_size = 4096;
    big.logical_block = 4096;
    assert_int_equal(blk_opts_resolve(&opts, &big, NULL), 0);
    assert_int_equal(opts.logical_block, 4096);
}

static void assert_resolve_refuses(struct blk_opts opts, const struct node_facts *facts)
{
    struct err err = {0};

    assert_int_equal(blk_opts_resolve(&opts, facts, &err), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_not_equal(err.text, "");
}

static void crooked_blocks_are_refused(void **state)
{
    assert_resolve_refuses((struct blk_opts){.logical_block = 1000}, &image);
    assert_resolve_refuses((struct blk_opts){.logical_block = 256}, &image);
    assert_resolve_refuses((struct blk_opts){.logical_block = 65536}, &image);
    assert_resolve_refuses((struct blk_opts){.logical_block = 4096, .physical_block = 512}, &image);
    assert_resolve_refuses((struct blk_opts){.logical_block = 512, .physical_block = 1536}, &image);
}

static void blocks_smaller_than_the_images_are_refused(void **state)
{
    struct node_facts big = image;

    big.block_size = 4096;
    assert_resolve_refuses((struct blk_opts){.logical_block = 512}, &big);
}

static void partial_last_block_is_refused(void **state)
{
    struct node_facts odd = image;

    odd.size = (1u << 20) + 512;
    assert_resolve_refuses((struct blk_opts){.logical_block = 4096}, &odd);
    odd.size = (1u << 20) + 100;
    assert_resolve_refuses((struct blk_opts){0}, &odd);
}

static void empty_image_is_refused(void **state)
{
    struct node_facts empty = image;

    empty.size = 0;
    assert_resolve_refuses((struct blk_opts){0}, &empty);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(writable_disk_offers_flush_and_shape),
        in_world(what_is_not_served_is_not_offered),
        in_world(readonly_disk_says_so),
        in_world(config_tells_the_disks_shape),
        in_world(config_lies_at_the_specified_offsets),
        in_world(config_past_its_end_reads_as_zero),
        in_world(config_can_be_read_in_pieces),
        in_world(capacity_can_change),
        in_world(read_goes_to_the_image),
        in_world(finished_read_says_ok_and_its_length),
        in_world(write_goes_to_the_image),
        in_world(failed_io_says_ioerr),
        in_world(writethrough_disk_writes_through),
        in_world(unsafe_disk_makes_nothing_stable),
        in_world(driver_without_flush_gets_writethrough),
        in_world(driver_switches_between_writeback_and_writethrough),
        in_world(driver_in_doubt_writes_through_until_it_flushes),
        in_world(flush_does_not_lift_what_the_driver_has_said),
        in_world(driver_that_cannot_choose_is_never_in_doubt),
        in_world(driver_cannot_lift_what_the_host_has_said),
        in_world(driver_may_keep_the_choice_that_is_no_longer_offered),
        in_world(fua_does_not_stick_to_a_slot),
        in_world(nothing_in_a_slot_outlives_its_request),
        in_world(refused_request_tells_its_kind),
        in_world(last_sector_can_be_read),
        in_world(read_past_the_end_is_refused),
        in_world(write_past_the_end_is_refused),
        in_world(sector_near_2_to_the_64_is_refused),
        in_world(sector_whose_byte_offset_wraps_is_refused),
        in_world(part_of_a_sector_is_refused),
        in_world(length_misaligned_to_the_block_is_refused),
        in_world(sector_misaligned_to_the_block_is_refused),
        in_world(request_of_the_largest_length_is_served),
        in_world(longer_request_is_refused),
        in_world(read_into_readable_buffers_is_refused),
        in_world(write_from_writable_buffers_is_refused),
        in_world(write_to_a_readonly_disk_is_refused),
        in_world(readonly_disk_can_be_read),
        in_world(empty_read_is_done_at_once),
        in_world(flush_goes_to_the_image),
        in_world(sector_of_a_flush_does_not_matter),
        in_world(flush_of_a_readonly_disk_is_done_at_once),
        in_world(get_id_gives_the_serial_padded_with_zeroes),
        in_world(discards_are_offered_where_they_can_be_done),
        in_world(discards_are_as_the_image_has_them_and_no_more_than_is_asked_for),
        in_world(limits_are_told_as_they_were_said),
        in_world(what_is_larger_than_was_said_is_served),
        cmocka_unit_test(limits_that_do_not_suit_the_image_are_refused),
        in_world(a_discard_becomes_an_io_for_each_segment),
        in_world(zeroes_may_be_unmapped_segment_by_segment),
        in_world(zeroes_are_stable_where_writes_are),
        in_world(one_faulty_segment_refuses_all),
        in_world(a_segment_that_is_changed_after_its_check_is_none),
        in_world(segments_may_be_cut_anywhere),
        in_world(more_and_longer_segments_than_the_driver_is_told_are_served),
        in_world(empty_segments_are_answered_at_once),
        in_world(what_is_no_list_of_segments_is_refused),
        in_world(ranges_that_the_driver_has_not_accepted_are_unsupported),
        in_world(serial_of_20_bytes_has_no_final_zero),
        in_world(get_id_with_a_short_buffer_is_cut),
        in_world(get_id_with_a_long_buffer_writes_20_bytes),
        in_world(get_id_without_a_buffer_is_refused),
        in_world(get_id_fills_several_pieces),
        in_world(unknown_types_are_unsupported),
        in_world(legacy_barriers_are_unsupported),
        in_world(scsi_commands_of_old_are_unsupported),
        in_world(header_may_be_cut_in_three),
        in_world(header_and_data_may_share_a_descriptor),
        in_world(data_and_status_may_share_a_descriptor),
        in_world(data_may_be_cut_anywhere),
        in_world(header_cut_with_its_tail_before_the_data),
        cmocka_unit_test(seg_max_leaves_room_for_header_and_status),
        in_world(many_segments_are_served),
        in_world(too_many_segments_are_refused),
        in_world(short_header_is_refused),
        in_world(chain_without_a_header_is_refused),
        in_world(chain_without_a_status_is_broken),
        in_world(status_outside_memory_is_broken),
        in_world(faulty_chain_with_a_status_is_refused),
        in_world(header_changed_after_parsing_does_not_matter),
        in_world(counters_tell_types_bytes_and_time),
        cmocka_unit_test(resolve_takes_what_the_image_says),
        in_world(resolve_takes_the_images_topology),
        cmocka_unit_test(geometry_is_guessed_from_the_size),
        cmocka_unit_test(geometry_of_a_partition_table_is_taken_if_it_suits_the_size),
        cmocka_unit_test(geometry_is_read_as_three_numbers),
        cmocka_unit_test(geometry_that_is_given_is_not_guessed),
        in_world(geometry_is_offered_and_lies_where_specified),
        cmocka_unit_test(geometry_of_which_parts_are_missing_is_refused),
        cmocka_unit_test(topology_that_cannot_be_told_is_not),
        cmocka_unit_test(topology_suits_blocks_that_were_asked_for),
        in_world(topology_that_was_asked_for_is_told),
        cmocka_unit_test(topology_that_was_asked_for_and_cannot_be_told_is_refused),
        cmocka_unit_test(topology_that_cannot_be_is_refused),
        cmocka_unit_test(resolve_keeps_blocks_that_were_asked_for),
        cmocka_unit_test(large_logical_block_raises_the_physical_one),
        cmocka_unit_test(image_with_4096_byte_sectors_gets_such_blocks),
        cmocka_unit_test(crooked_blocks_are_refused),
        cmocka_unit_test(blocks_smaller_than_the_images_are_refused),
        cmocka_unit_test(partial_last_block_is_refused),
        cmocka_unit_test(empty_image_is_refused),
    };

    return unit_run(tests);
}
