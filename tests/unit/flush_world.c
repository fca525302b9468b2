/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/flush_world.h"

#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>

#include "core/block/image.h"
#include "core/block/node_sector.h"
#include "core/device/device_state.h"
#include "tests/unit/chance.h"
#include "tests/unit/device_guest.h"

#define RINGS FLUSH_WORLD_RINGS
#define RING_SIZE 64u
#define DEPTH 16u
#define REQUEST_BYTES (16u * BLOCK)
#define SECTORS (FLUSH_CHECK_BYTES / SECTOR_SIZE)
#define RING_SECTORS (SECTORS / RINGS) /* each ring writes to its own */
#define REQUESTS (RUNNING_ON_VALGRIND ? 100u : 150u)
#define PATIENCE_NS (120 * NS_PER_S)

struct world {
    struct image_world *files;
    struct flush_variant variant;
    char log_path[128];
    struct io_log *log; /* the guest's hand in it */
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct drain drain;
    unsigned times_drained;
    bool is_closed;
    bool has_cache; /* as the guest sees it: writes are stable when they were flushed */
    bool is_busy[SECTORS];
    unsigned put, answered;
    struct io_record asked[RINGS][DEPTH]; /* by request */
    struct err err;
};

static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

#define run_until(w, what)                              \
    do {                                                \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS; \
        while (!(what)) {                               \
            assert_true(now_ns() < deadline_ns_);       \
            turn(w);                                    \
        }                                               \
    } while (0)

/* ---- the world ---- */

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->is_closed = true;
}

static void wait_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;

    device_pause(&w->dev, reason, &w->drain);
    run_until(w, w->times_drained > before);
}

/* A file tells no blocks of 4096 bytes, but may be used by such. */
static void add_sectors(struct image *image)
{
    image->root->facts.block_size = BLOCK;
    assert_int_equal(node_open(&image->root, &node_sector_ops, image->root, NULL, NULL), 0);
}

static struct image *open_image(struct world *w)
{
    const struct fault_opts faults = {.rules = w->variant.fault, .count = FLUSH_WORLD_FAULTS};
    struct image_opts opts = image_world_opts(w->files, w->files->image, w->variant.cache);
    struct image *image;

    opts.engine = w->variant.engine;
    assert_int_equal(image_open(&image, &opts, &w->err), 0);
    if (w->variant.fault) {
        assert_int_equal(node_open(&image->root, &node_fault_ops, image->root, &faults, NULL), 0);
    }
    if (w->variant.emulates) {
        add_sectors(image);
    }
    return image;
}

static void set_lanes(struct world *w, unsigned lanes)
{
    wait_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, lanes, NULL, &w->err), 0);
    device_resume(&w->dev, PAUSE_MOVE);
}

static void start_device(struct world *w)
{
    const struct flush_variant *variant = &w->variant;
    const struct blk_opts blk = {.capacity = IMAGE_BYTES,
                                 .logical_block = SECTOR_SIZE,
                                 .physical_block = BLOCK,
                                 .discard_block = BLOCK,
                                 .zeroes = BLK_ZEROES_UNMAP,
                                 .queues = RINGS,
                                 .seg_max = BLK_SEG_MAX,
                                 .is_writethrough = cache_is_writethrough(variant->cache),
                                 .has_config_wce = true};
    const struct device_opts opts = {
        .name = "flush", .queues = RINGS, .queue_size_max = RING_SIZE, .awaited = &w->awaited};
    const struct error_policy policy = {.write = variant->on_write_error};

    assert_int_equal(device_init(&w->dev, &w->loop, &opts, &blk, &w->err), 0);
    device_set_errors(&w->dev, &policy);
    assert_true(device_attach(&w->dev, open_image(w), &w->err) >= 0);
}

static void start_guest(struct world *w)
{
    const struct frontend_opts opts = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = DEPTH, .request_bytes = REQUEST_BYTES};
    uint64_t features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                        BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_BLK_F_FLUSH) |
                        BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
                        BIT(VIRTIO_BLK_F_CONFIG_WCE);

    frontend_init(&w->guest, &opts);
    device_guest_start(&w->dev, &w->guest, features & device_features(&w->dev));
}

static void world_begin(struct world *w, struct image_world *files,
                        const struct flush_variant *variant)
{
    memset(w, 0, sizeof(*w));
    w->files = files;
    w->variant = *variant;
    w->has_cache = !cache_is_writethrough(variant->cache);
    w->drain.done = on_drained;
    (void)snprintf(w->log_path, sizeof(w->log_path), "%s/image.iolog", files->dir);
    assert_int_equal(setenv("VBLKD_IO_LOG", files->dir, 1), 0);
    assert_int_equal(io_log_open(&w->log, w->log_path, &w->err), 0);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    start_device(w);
    start_guest(w);
    set_lanes(w, variant->lanes);
}

static void world_end(struct world *w)
{
    wait_drained(w, PAUSE_EXIT);
    image_close(device_detach(&w->dev));
    device_close(&w->dev, on_closed, w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_true(w->is_closed);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    frontend_fini(&w->guest);
    io_log_close(w->log);
    assert_int_equal(unsetenv("VBLKD_IO_LOG"), 0);
}

/* ---- the guest's load ---- */

static struct io_record *asked_of(struct world *w, const struct frontend_request *request)
{
    unsigned ring = (unsigned)(request->ring - w->guest.ring);

    return &w->asked[ring][request - request->ring->requests];
}

static void set_busy(struct world *w, const struct io_record *record, bool on)
{
    memset(w->is_busy + record->offset / SECTOR_SIZE, on, record->length / SECTOR_SIZE);
}

static bool is_any_busy(const struct world *w, unsigned first, unsigned count)
{
    return memchr(w->is_busy + first, true, count) != NULL;
}

/* Written down before anybody can see it. */
static void put(struct world *w, struct frontend_request *request, struct io_record record)
{
    record.kind = IO_RECORD_ASKED;
    record.id = ++w->put;
    *asked_of(w, request) = record;
    set_busy(w, &record, true);
    io_log_put(w->log, &record, NULL, 0);
    frontend_put(request);
}

static bool put_flush(struct world *w, unsigned ring)
{
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[ring], VIRTIO_BLK_T_FLUSH, 0, 0);

    if (request) {
        put(w, request, (struct io_record){.op = IO_FLUSH});
    }
    return request != NULL;
}

static bool put_write(struct world *w, unsigned ring, unsigned first, unsigned count)
{
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[ring], VIRTIO_BLK_T_OUT, first, count * SECTOR_SIZE);

    if (request) {
        memset(request->data, 1 + (int)chance(255), count * SECTOR_SIZE);
        put(w, request,
            (struct io_record){.op = IO_WRITE,
                               .flags = w->has_cache ? 0 : IO_FUA,
                               .offset = (uint64_t)first * SECTOR_SIZE,
                               .length = (uint64_t)count * SECTOR_SIZE});
    }
    return request != NULL;
}

static bool put_range(struct world *w, unsigned ring, enum io_op op, unsigned first, unsigned count)
{
    const struct virtio_blk_discard_write_zeroes range = {
        .sector = first,
        .num_sectors = count,
        .flags = op == IO_ZERO ? chance(2) * VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0};
    struct frontend_request *request = frontend_prepare(
        &w->guest.ring[ring], op == IO_ZERO ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD, 0,
        sizeof(range));

    if (request) {
        memcpy(request->data, &range, sizeof(range));
        put(w, request,
            (struct io_record){.op = (uint16_t)op,
                               .flags = op == IO_ZERO && !w->has_cache ? IO_FUA : 0,
                               .offset = (uint64_t)first * SECTOR_SIZE,
                               .length = (uint64_t)count * SECTOR_SIZE});
    }
    return request != NULL;
}

/* In whole blocks mostly, and one behind the other often, so that they are merged. */
static void put_some(struct world *w, unsigned ring)
{
    unsigned grain = w->variant.emulates && chance(2) ? 1 : BLOCK / SECTOR_SIZE;
    unsigned count = grain * (1 + chance(8));
    unsigned first = ring * RING_SECTORS + chance(RING_SECTORS / grain) * grain;
    unsigned times = chance(3) ? 1 : 4;
    unsigned what = chance(20);

    for (; times > 0 && first + count <= (ring + 1) * RING_SECTORS; times--, first += count) {
        if (is_any_busy(w, first, count) ||
            !(what == 0  ? put_range(w, ring, IO_DISCARD, first, count)
              : what < 3 ? put_range(w, ring, IO_ZERO, first, count)
                         : put_write(w, ring, first, count))) {
            return;
        }
    }
}

static void reap(struct world *w)
{
    for (unsigned i = 0; i < RINGS; i++) {
        struct frontend_request *request;

        while ((request = frontend_reap(&w->guest.ring[i]))) {
            struct io_record record = *asked_of(w, request);

            record.kind = IO_RECORD_ANSWERED;
            record.result = request->blk->status == VIRTIO_BLK_S_OK ? 0 : -EIO;
            io_log_put(w->log, &record, NULL, 0);
            set_busy(w, &record, false);
            frontend_release(request);
            w->answered++;
        }
    }
}

/* What failed and is held goes again. */
static void finish(struct world *w)
{
    run_until(w, ((void)device_retry(&w->dev), reap(w), w->answered == w->put));
}

static void switch_cache(struct world *w)
{
    finish(w);
    w->has_cache = !w->has_cache;
    device_set_writeback(&w->dev, w->has_cache);
}

/* Stopped and started, on another engine, without a flush: what the guest has not flushed is its
 * matter, but the next flush is of what was written before. */
static void reopen(struct world *w)
{
    wait_drained(w, PAUSE_MEDIUM);
    image_close(device_detach(&w->dev));
    w->variant.engine = chance(2) ? ENGINE_AIO : ENGINE_THREADS;
    assert_true(device_attach(&w->dev, open_image(w), &w->err) >= 0);
    device_resume(&w->dev, PAUSE_MEDIUM);
}

static void change_something(struct world *w)
{
    switch (chance(3)) {
    case 0:
        set_lanes(w, 1 + chance(RINGS));
        break;
    case 1:
        if (!cache_is_writethrough(w->variant.cache)) {
            switch_cache(w);
        }
        break;
    default:
        reopen(w);
        break;
    }
}

static void load(struct world *w, bool with_changes)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    while (w->put < REQUESTS) {
        assert_true(now_ns() < deadline_ns);
        for (unsigned i = 0; i < RINGS; i++) {
            put_some(w, i);
            if (chance(6) == 0) {
                (void)put_flush(w, i);
            }
            frontend_kick(&w->guest.ring[i]);
        }
        if (with_changes && chance(12) == 0) {
            change_something(w);
        }
        (void)device_retry(&w->dev);
        turn(w);
        reap(w);
    }
    finish(w);
}

bool flush_world_try(struct image_world *files, const struct flush_variant *variant,
                     bool with_changes, uint64_t seed, struct flush_check *sum)
{
    static struct world world;
    struct flush_check check;
    bool holds;

    state_of_chance = 0x9e3779b97f4a7c15ull * seed;
    world_begin(&world, files, variant);
    load(&world, with_changes);
    world_end(&world);
    holds = flush_check_run(&check, world.log_path);
    assert_int_equal(unlink(world.log_path), 0);
    sum->writes += check.writes;
    sum->flushes += check.flushes;
    sum->image_writes += check.image_writes;
    sum->image_flushes += check.image_flushes;
    sum->merged += check.merged;
    sum->overtook += check.overtook;
    memcpy(sum->fault, check.fault, sizeof(sum->fault));
    return holds;
}
