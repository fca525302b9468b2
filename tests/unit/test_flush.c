/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>

#include "core/block/image.h"
#include "core/block/node_fault.h"
#include "core/block/node_sector.h"
#include "core/device/device_state.h"
#include "tests/unit/chance.h"
#include "tests/unit/device_guest.h"
#include "tests/unit/flush_check.h"
#include "tests/unit/image_world.h"

/*
 * Flush means flush: a guest of four rings writes, zeroes, discards and flushes at random; what it
 * asks for and is answered stands in one log with what the kernel is asked to do with the image,
 * which is a file, and flush_check.h judges that.  VBLK_FLUSH_ROUNDS and VBLK_FLUSH_SEED have it
 * try more, and others.
 */

#define RINGS 4u
#define RING_SIZE 64u
#define DEPTH 16u
#define REQUEST_BYTES (16u * BLOCK)
#define SECTORS (FLUSH_CHECK_BYTES / SECTOR_SIZE)
#define RING_SECTORS (SECTORS / RINGS) /* each ring writes to its own */
#define REQUESTS (RUNNING_ON_VALGRIND ? 100u : 150u)
#define PATIENCE_NS (120 * NS_PER_S)

/* What a disk is like. */
struct variant {
    enum io_engine engine;
    enum cache_mode cache;
    unsigned lanes;
    bool emulates;                  /* sectors of 512 bytes on blocks of 4096 */
    const struct fault_rule *fault; /* FAULT_COUNT of them, over the file; NULL: none */
    enum error_action on_write_error;
};

#define FAULT_COUNT 2u

struct world {
    struct image_world *files;
    struct variant variant;
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
    const struct fault_opts faults = {.rules = w->variant.fault, .count = FAULT_COUNT};
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
    const struct variant *variant = &w->variant;
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

static void world_begin(struct world *w, struct image_world *files, const struct variant *variant)
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

/* ---- tests ---- */

static unsigned rounds(void)
{
    const char *text = getenv("VBLK_FLUSH_ROUNDS");

    return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("VBLK_FLUSH_SEED");

    return text ? strtoull(text, NULL, 10) : 1;
}

static bool can_do(const struct image_world *files, const struct variant *variant)
{
    return !cache_is_direct(variant->cache) || image_world_has_direct(files);
}

/* Adds to `sum`; returns whether what is promised was kept, and else says so. */
static bool try_variant(struct image_world *files, const struct variant *variant, bool with_changes,
                        uint64_t seed, struct flush_check *sum)
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

static void assert_holds(struct image_world *files, const struct variant *variant,
                         bool with_changes, struct flush_check *sum)
{
    for (uint64_t seed = first_seed(); seed < first_seed() + rounds(); seed++) {
        if (!try_variant(files, variant, with_changes, seed, sum)) {
            fail_msg("seed %" PRIu64 ", engine %s, cache %s, %u threads%s: %s", seed,
                     variant->engine == ENGINE_THREADS ? "threads" : engine_names[variant->engine],
                     cache_mode_names[variant->cache], variant->lanes,
                     variant->emulates ? ", sectors" : "", sum->fault);
        }
    }
}

/* So that nobody believes in a test that tries nothing. */
static void tell(const struct flush_check *sum)
{
    print_message("# %u writes by %u of the image, %u of them merged; %u flushes by %u, %u of them "
                  "asked for while writes were under way\n",
                  sum->writes, sum->image_writes, sum->merged, sum->flushes, sum->image_flushes,
                  sum->overtook);
}

static void assert_tried(const struct flush_check *sum)
{
    tell(sum);
    assert_true(sum->writes > 0 && sum->flushes > 0 && sum->overtook > 0);
}

static void try_engine(struct image_world *files, enum io_engine engine, struct flush_check *sum)
{
    for (int cache = CACHE_NONE; cache < CACHE_UNSAFE; cache++) {
        struct variant variant = {.engine = engine,
                                  .cache = (enum cache_mode)cache,
                                  .lanes = ((int)engine + cache) % 2 ? RINGS : 1};

        if (can_do(files, &variant)) {
            assert_holds(files, &variant, false, sum);
            variant.lanes = RINGS + 1 - variant.lanes;
            if (rounds() > 1) { /* syncs of a disk take their time */
                assert_holds(files, &variant, false, sum);
            }
        }
    }
}

static void flush_covers_all_that_was_answered_before_it(void **state)
{
    struct flush_check sum = {0};

    for (int engine = ENGINE_AIO; engine <= ENGINE_THREADS; engine++) {
        if (engine != ENGINE_IO_URING || engine_has_uring()) {
            try_engine(*state, (enum io_engine)engine, &sum);
        }
    }
    assert_tried(&sum);
    assert_true(sum.merged > 0);
}

static void it_does_so_for_sectors_of_larger_blocks(void **state)
{
    struct image_world *files = *state;
    struct flush_check sum = {0};

    for (int cache = CACHE_NONE; cache <= CACHE_DIRECTSYNC; cache++) {
        const struct variant variant = {
            .cache = (enum cache_mode)cache, .lanes = RINGS, .emulates = true};

        if (!can_do(files, &variant)) {
            skip();
        }
        assert_holds(files, &variant, false, &sum);
    }
    assert_tried(&sum);
}

static void it_does_so_while_cache_threads_and_image_change(void **state)
{
    struct image_world *files = *state;
    struct flush_check sum = {0};

    for (int cache = CACHE_NONE; cache < CACHE_UNSAFE; cache++) {
        const struct variant variant = {.cache = (enum cache_mode)cache, .lanes = RINGS};

        if (can_do(files, &variant)) {
            assert_holds(files, &variant, true, &sum);
        }
    }
    assert_tried(&sum);
}

static void it_does_so_among_errors(void **state)
{
    static const struct fault_rule rules[FAULT_COUNT] = {
        {.ops = 1u << IO_FLUSH, .error = -EIO, .every = 3},
        {.ops = 1u << IO_WRITE | 1u << IO_ZERO, .error = -ENOSPC, .every = 7},
    };
    struct image_world *files = *state;
    struct flush_check sum = {0};

    for (int cache = CACHE_NONE; cache < CACHE_UNSAFE; cache++) {
        struct variant variant = {.cache = (enum cache_mode)cache,
                                  .lanes = RINGS,
                                  .fault = rules,
                                  .on_write_error = cache % 2 ? ERROR_STOP : ERROR_REPORT};

        if (can_do(files, &variant)) {
            assert_holds(files, &variant, false, &sum);
            variant.on_write_error = ERROR_REPORT + ERROR_STOP - variant.on_write_error;
            if (rounds() > 1) {
                assert_holds(files, &variant, false, &sum);
            }
        }
    }
    assert_tried(&sum);
}

/* ---- the test's own test ---- */

/* One of a few loads is enough. */
static void assert_found(struct image_world *files, const char *spoil,
                         const struct variant *variant)
{
    struct flush_check sum = {0};
    uint64_t seed = first_seed();

    assert_int_equal(setenv("VBLKD_IO_SPOIL", spoil, 1), 0);
    while (try_variant(files, variant, false, seed, &sum)) {
        assert_true(seed++ < first_seed() + 20);
    }
    assert_int_equal(unsetenv("VBLKD_IO_SPOIL"), 0);
    print_message("# %s: %s\n", spoil, sum.fault);
}

static void mistakes_are_found(void **state)
{
    static const enum io_engine engines[] = {ENGINE_AIO, ENGINE_IO_URING, ENGINE_THREADS};
    struct image_world *files = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
        struct variant variant = {.engine = engines[i], .cache = CACHE_WRITEBACK, .lanes = RINGS};

        if (engines[i] == ENGINE_IO_URING && !engine_has_uring()) {
            continue;
        }
        assert_found(files, "flushes", &variant);
        assert_found(files, "most", &variant);
        assert_found(files, "clean", &variant);
        variant.cache = CACHE_WRITETHROUGH;
        assert_found(files, "stable", &variant);
    }
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

static const struct CMUnitTest tests[] = {
    in_world(flush_covers_all_that_was_answered_before_it),
    in_world(it_does_so_for_sectors_of_larger_blocks),
    in_world(it_does_so_while_cache_threads_and_image_change),
    in_world(it_does_so_among_errors),
    in_world(mistakes_are_found),
};

int main(void)
{
    return unit_run(tests);
}
