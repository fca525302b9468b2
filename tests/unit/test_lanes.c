/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/cpus.h"
#include "core/block/node_fault.h"
#include "core/block/node_file.h"
#include "core/block/node_forward.h"
#include "core/block/node_null.h"
#include "core/device/device_change.h"
#include "core/device/device_state.h"
#include "core/device/lane_map.h"
#include "tests/unit/count_alloc.h"
#include "tests/unit/device_guest.h"
#include "tests/unit/gate_image.h"
#include "tests/unit/image_world.h"
#include "tests/unit/node_mirror.h"

#define RINGS 4
#define RING_SIZE 64
#define DEPTH 16
#define BLOCKS 64 /* of each ring, one after the other in the image */
#define WORDS (BLOCK / sizeof(uint64_t))
#define PATIENCE_NS (30 * NS_PER_S)

/*
 * A device with four rings on one to four threads, and its guest, which shares the first of
 * them with the disk.  The guest writes blocks whose every word tells ring, block and
 * generation, and reads them back: nothing is lost, answered twice or given to another ring.
 */
struct world {
    struct image_world *image;
    bool forwards; /* its images are for the first thread alone */
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct drain drain;
    struct drain ring_drain[RINGS];
    unsigned times_drained;
    bool is_closed;
    unsigned lanes; /* asked for next by on_move_drained, as is: */
    const struct lane_map *map;
    unsigned moves;
    struct device_change change;
    unsigned changes; /* since the last one began */
    uint64_t random;
    uint32_t generation[RINGS][BLOCKS];
    bool is_busy[RINGS][BLOCKS];
    unsigned next_block[RINGS];
    unsigned put;
    unsigned answered;
    struct err err;
};

static uint64_t word_of(unsigned ring, unsigned block, uint32_t generation)
{
    return (uint64_t)ring << 56 | (uint64_t)block << 32 | generation;
}

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

static void start_guest(struct world *w)
{
    const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                              1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH;

    device_guest_start(&w->dev, &w->guest, features);
}

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

static void attach(struct world *w, struct image *image)
{
    assert_true(device_attach(&w->dev, image, &w->err) >= 0);
}

static struct image *open_file(struct world *w)
{
    struct image_opts opts = image_world_opts(w->image, w->image->image, CACHE_WRITEBACK);
    struct image *image;

    assert_int_equal(image_open(&image, &opts, &w->err), 0);
    if (w->forwards) {
        assert_int_equal(node_open(&image->root, &node_forward_ops, image->root, NULL, &w->err), 0);
    }
    return image;
}

static int start_with(void **state, bool forwards)
{
    static struct world world;
    struct blk_opts blk = {.capacity = IMAGE_BYTES,
                           .logical_block = 512,
                           .physical_block = 4096,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {.name = "a-long-disk-name",
                               .queues = RINGS,
                               .queue_size_max = RING_SIZE,
                               .awaited = &world.awaited};
    struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = DEPTH, .request_bytes = BLOCK};

    memset(&world, 0, sizeof(world));
    image_world_start(state);
    world.image = *state;
    world.forwards = forwards;
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    attach(&world, open_file(&world));
    frontend_init(&world.guest, &guest);
    start_guest(&world);
    world.drain.done = on_drained;
    *state = &world;
    return 0;
}

static int world_start(void **state)
{
    return start_with(state, false);
}

static int forward_start(void **state)
{
    return start_with(state, true);
}

static void on_closed(void *arg)
{
    struct world *w = arg;

    w->is_closed = true;
}

static void wait_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;

    device_pause(&w->dev, reason, &w->drain);
    run_until(w, w->times_drained > before);
}

static void detach(struct world *w)
{
    struct image *image = device_detach(&w->dev);

    if (image) {
        image_close(image);
    }
}

static int world_stop(void **state)
{
    static struct device_info info;
    struct world *w = *state;
    void *image = w->image;

    wait_drained(w, PAUSE_EXIT);
    detach(w);
    device_close(&w->dev, on_closed, w);
    device_info(&w->dev, &info); /* people may ask while it goes, its lanes or not */
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert(w->is_closed);
    assert(uv_loop_close(&w->loop) == 0);
    frontend_fini(&w->guest);
    return image_world_stop(&image);
}

static void set_lanes(struct world *w, unsigned lanes)
{
    wait_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, lanes, NULL, &w->err), 0);
    device_resume(&w->dev, PAUSE_MOVE);
}

/* ---- the guest's load ---- */

static bool put_one(struct world *w, unsigned ring)
{
    unsigned block = w->next_block[ring]++ % BLOCKS;
    bool is_write = w->generation[ring][block] % 2 == 0;
    struct frontend_request *request;
    uint64_t *words;

    if (w->is_busy[ring][block]) {
        return false;
    }
    request = frontend_prepare(&w->guest.ring[ring], is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                               (uint64_t)(ring * BLOCKS + block) * (BLOCK / SECTOR_SIZE), BLOCK);
    if (!request) {
        return false;
    }
    words = request->data;
    w->generation[ring][block]++;
    for (unsigned i = 0; i < WORDS; i++) {
        words[i] = is_write ? word_of(ring, block, w->generation[ring][block]) : 0;
    }
    w->is_busy[ring][block] = true;
    frontend_put(request);
    w->put++;
    return true;
}

static void check_answer(struct world *w, struct frontend_request *request, unsigned ring,
                         unsigned block)
{
    uint32_t generation = w->generation[ring][block];
    const uint64_t *words = request->data;

    assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
    assert_true(w->is_busy[ring][block]);
    w->is_busy[ring][block] = false;
    for (unsigned i = 0; request->blk->header.type == VIRTIO_BLK_T_IN && i < WORDS; i++) {
        assert_int_equal(words[i], word_of(ring, block, generation - 1));
    }
}

/* Which block a request was for stands in its header. */
static unsigned block_of(const struct frontend_request *request)
{
    return (unsigned)(request->blk->header.sector / (BLOCK / SECTOR_SIZE)) % BLOCKS;
}

static void reap(struct world *w, unsigned ring)
{
    struct frontend_request *request;

    while ((request = frontend_reap(&w->guest.ring[ring]))) {
        check_answer(w, request, ring, block_of(request));
        frontend_release(request);
        w->answered++;
    }
}

static void reap_all(struct world *w)
{
    for (unsigned i = 0; i < RINGS; i++) {
        reap(w, i);
    }
}

static void put_on(struct world *w, unsigned ring, unsigned count)
{
    while (count > 0 && put_one(w, ring)) {
        count--;
    }
    frontend_kick(&w->guest.ring[ring]);
}

static void step(struct world *w)
{
    for (unsigned i = 0; i < RINGS; i++) {
        put_on(w, i, 4);
    }
    turn(w);
    reap_all(w);
}

static void finish_load(struct world *w)
{
    run_until(w, (reap_all(w), w->answered == w->put));
}

static void load(struct world *w, unsigned requests)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    unsigned until = w->put + requests;

    while (w->put < until) {
        assert_true(now_ns() < deadline_ns);
        step(w);
    }
    finish_load(w);
}

static void assert_all_counted(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    assert_int_equal(stats.type[STATS_READ].requests + stats.type[STATS_WRITE].requests, w->put);
    assert_int_equal(stats.type[STATS_READ].errors + stats.type[STATS_WRITE].errors, 0);
    assert_int_equal(stats.inflight, 0);
    assert_true(stats.inflight_max <= RINGS * DEPTH);
}

/* ---- requests ---- */

static void every_number_of_threads_serves_all_rings(void **state)
{
    struct world *w = *state;

    for (unsigned lanes = 1; lanes <= RINGS; lanes++) {
        set_lanes(w, lanes);
        load(w, 2000);
        device_park(&w->dev);
        for (unsigned i = 0; i < RINGS; i++) {
            assert_int_equal(w->dev.queue[i].lane->index, i % lanes);
            assert_true(w->dev.queue[i].lane->used & 1ull << i);
        }
        device_unpark(&w->dev);
    }
    assert_all_counted(w);
}

/* A thread that does what its disk's thread does not wait for. */
static void other_threads_need_no_turn_of_the_first(void **state)
{
    struct world *w = *state;
    uint64_t deadline_ns;

    set_lanes(w, 2);
    load(w, 100);
    put_on(w, 1, 8);
    put_on(w, 3, 8);
    deadline_ns = now_ns() + PATIENCE_NS;
    while (w->answered < w->put) {
        assert_true(now_ns() < deadline_ns);
        reap(w, 1);
        reap(w, 3);
    }
}

static void requests_are_mailed_to_the_home_lane_and_back(void **state)
{
    struct world *w = *state;

    set_lanes(w, 3);
    load(w, 2000);
    assert_true(w->dev.lanes.first.stats.submitted > 0);
    wait_drained(w, PAUSE_ADMIN);
    for (unsigned i = 0; i < 3; i++) {
        const struct lane *lane = w->dev.lanes.lane[i];

        assert_int_equal(lane->flight.own, 0);
        assert_int_equal(lane->stats.submitted > 0, i == 0);
        assert_string_equal(lane->path->facts.engine, w->dev.lanes.first.path->facts.engine);
    }
    device_resume(&w->dev, PAUSE_ADMIN);
    load(w, 100);
    assert_all_counted(w);
}

static void no_request_allocates(void **state)
{
    struct world *w = *state;
    unsigned long before;

    set_lanes(w, RINGS);
    load(w, 1000);
    device_park(&w->dev); /* by now all have freed what was closed in their first turn */
    device_unpark(&w->dev);
    before = count_alloc();
    load(w, 4000);
    assert_int_equal(count_alloc() - before, 0);
}

static void batches_end_within_guest_memory_in_two_regions(void **state)
{
    struct world *w = *state;
    struct arena *arena = &w->guest.arena;
    uint64_t half = arena->size / 2 & ~4095ull;
    struct mem_layout low = {
        .guest_addr = arena->guest_addr, .size = half, .user_addr = (uintptr_t)arena->host};
    struct mem_layout high = {.guest_addr = arena->guest_addr + half,
                              .size = arena->size - half,
                              .user_addr = (uintptr_t)arena->host + half,
                              .offset = half};

    set_lanes(w, 3);
    load(w, 500);
    for (unsigned i = 0; i < 10; i++) {
        step(w);
        wait_drained(w, PAUSE_MESSAGE);
        mem_clear(&w->dev.view.mem);
        if (i % 2 == 0) {
            assert_int_equal(mem_add(&w->dev.view.mem, &low, arena->fd, NULL), 0);
            assert_int_equal(mem_add(&w->dev.view.mem, &high, arena->fd, NULL), 0);
        } else {
            device_guest_share(&w->dev, &w->guest);
        }
        device_memory_changed(&w->dev);
        device_resume(&w->dev, PAUSE_MESSAGE);
        step(w);
    }
    load(w, 500);
    assert_all_counted(w);
}

/* What is mapped stays where it is, so nothing is paused for it: but the table is written. */
static void regions_are_added_while_all_threads_look_them_up(void **state)
{
    struct world *w = *state;
    struct arena *arena = &w->guest.arena;

    set_lanes(w, RINGS);
    for (unsigned i = 1; i <= 64; i++) {
        struct mem_layout layout = {
            .guest_addr = arena->guest_addr - i * 4096ull, .size = 4096, .user_addr = 4096ull * i};

        step(w);
        device_park(&w->dev);
        assert_int_equal(mem_add(&w->dev.view.mem, &layout, arena->fd, NULL), 0);
        device_unpark(&w->dev);
        device_memory_changed(&w->dev);
        step(w);
    }
    finish_load(w);
    assert_all_counted(w);
}

/* ---- moves ---- */

static void on_move_drained(struct drain *drain)
{
    struct world *w = containerof(drain, struct world, drain);

    assert_int_equal(device_set_lanes(&w->dev, w->lanes, w->map, &w->err), 0);
    device_resume(&w->dev, PAUSE_MOVE);
    w->moves++;
}

static void move_to(struct world *w, unsigned lanes, const struct lane_map *map)
{
    unsigned before = w->moves;

    w->lanes = lanes;
    w->map = map;
    device_pause(&w->dev, PAUSE_MOVE, &w->drain);
    run_until(w, (step(w), w->moves > before));
}

static void rings_move_while_the_guest_works(void **state)
{
    struct world *w = *state;

    w->drain.done = on_move_drained;
    for (unsigned i = 0; i < 60; i++) {
        move_to(w, 1 + (i * 7 + 3) % RINGS, NULL);
        for (unsigned j = 0; j < 5; j++) {
            step(w);
        }
    }
    finish_load(w);
    w->drain.done = on_drained;
    assert_all_counted(w);
}

/* With as many threads as before, or more or less, and whether in turn or not. */
static void rings_go_to_other_threads_while_the_guest_works(void **state)
{
    static const struct {
        unsigned lanes;
        const char *map;
    } moves[] = {{2, "0,0,1,1"}, {2, "1,1,0,0"}, {2, "auto"},    {2, "1,0"},
                 {4, "3,2,1,0"}, {3, "0,1,1,2"}, {3, "2,1,0,0"}, {3, "2,1,0,1"},
                 {1, "0"},       {4, "auto"},    {4, "0,1,3,2"}, {2, "0,1,1,1"}};
    struct world *w = *state;
    struct device_info info;

    w->drain.done = on_move_drained;
    for (unsigned i = 0; i < 5 * ARRAY_SIZE(moves); i++) {
        unsigned lanes = moves[i % ARRAY_SIZE(moves)].lanes;
        struct lane_map map;

        assert_int_equal(lane_map_parse(&map, moves[i % ARRAY_SIZE(moves)].map, lanes, RINGS, NULL),
                         0);
        w->drain.own_below = lanes;
        move_to(w, lanes, &map);
        assert_true(device_has_lanes(&w->dev, lanes, &map));
        device_info(&w->dev, &info);
        assert_int_equal(info.lane_count, lanes);
        for (unsigned j = 0; j < RINGS; j++) {
            assert_int_equal(info.ring[j].lane, map.lane[j]);
            step(w);
        }
    }
    finish_load(w);
    w->drain.done = on_drained;
    assert_all_counted(w);
}

static void assert_runs_on(struct world *w, const struct cpus *cpus)
{
    struct cpus found;

    for (unsigned i = 0; i < device_lane_count(&w->dev); i++) {
        cpus_of(&found, device_lane_tid(&w->dev, i));
        assert_memory_equal(&found, cpus, sizeof(found));
    }
}

/* The first thread is the test's own, so all CPUs are its again in the end. */
static void threads_go_to_other_cpus_while_the_guest_works(void **state)
{
    static struct cpus all, one, none;
    struct world *w = *state;

    cpus_of(&all, 0);
    none.word[CPUS_MAX / 64 - 1] = 1ull << 63;
    set_lanes(w, 2);
    for (unsigned i = 0; i < 10; i++) {
        one = all;
        one.word[0] &= i % 2 ? all.word[0] & (0 - all.word[0]) : ~(all.word[0] & (0 - all.word[0]));
        one = cpus_limit(&one, &all) ? one : all; /* on a host with a single one */
        assert_int_equal(device_use_cpus(&w->dev, &one), 0);
        assert_runs_on(w, &one);
        assert_int_equal(device_use_cpus(&w->dev, &none), -EINVAL);
        assert_runs_on(w, &one);
        set_lanes(w, 1 + i % RINGS);
        assert_runs_on(w, &one);
        load(w, 50);
    }
    assert_int_equal(device_use_cpus(&w->dev, &all), 0);
    finish_load(w);
    assert_all_counted(w);
}

static struct image *open_holding(void)
{
    struct image_opts opts = {.type = "null",
                              .size = IMAGE_BYTES,
                              .error = -EIO,
                              .error_every = 1,
                              .holds_errors = true,
                              .max_inflight = 64};
    struct image *image;

    assert_int_equal(image_open(&image, &opts, NULL), 0);
    return image;
}

static uint64_t held(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats.held;
}

static void change_image(struct world *w, struct image *image)
{
    wait_drained(w, PAUSE_ADMIN);
    detach(w);
    attach(w, image);
    device_resume(&w->dev, PAUSE_ADMIN);
}

/* They go with their rings, to whichever thread. */
static void held_requests_outlive_moves_and_other_images(void **state)
{
    struct world *w = *state;

    set_lanes(w, 2);
    change_image(w, open_holding());
    step(w);
    run_until(w, held(w) == w->put);
    set_lanes(w, RINGS);
    set_lanes(w, 1);
    assert_int_equal(held(w), w->put);
    device_retry(&w->dev);
    set_lanes(w, 3);
    run_until(w, held(w) == w->put);
    change_image(w, open_file(w));
    assert_int_equal(held(w), w->put);
    device_retry(&w->dev);
    finish_load(w);
    assert_int_equal(held(w), 0);
    assert_all_counted(w);
}

static void image_is_opened_anew_on_all_threads(void **state)
{
    struct world *w = *state;

    set_lanes(w, 3);
    for (unsigned i = 0; i < 10; i++) {
        step(w);
        wait_drained(w, PAUSE_ADMIN);
        detach(w);
        if (i % 2 == 0) {
            assert_int_equal(device_set_lanes(&w->dev, 1 + i % RINGS, NULL, &w->err), 0);
        }
        attach(w, open_file(w));
        device_resume(&w->dev, PAUSE_ADMIN);
        load(w, 100);
    }
    assert_all_counted(w);
}

static struct rlimit limit_fds(rlim_t count)
{
    struct rlimit before;
    struct rlimit now;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    now = (struct rlimit){.rlim_cur = count, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

static int next_fd(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/*
 * With one more each time, from none on: `fails` tries with so many files at most, and says whether
 * it was refused.  The disk goes on.  Returns how often it was.
 */
static unsigned count_failures(struct world *w, int first_fd,
                               bool (*fails)(struct world *w, rlim_t fds))
{
    unsigned failures = 0;

    for (unsigned more = 0; more < 24; more++) {
        step(w);
        failures += fails(w, (rlim_t)first_fd + more);
        load(w, 50);
    }
    assert_all_counted(w);
    return failures;
}

static bool more_threads_fail(struct world *w, rlim_t fds)
{
    struct rlimit before;
    int ret;

    wait_drained(w, PAUSE_MOVE);
    before = limit_fds(fds);
    ret = device_set_lanes(&w->dev, RINGS, NULL, &w->err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    if (ret < 0) {
        assert_int_equal(w->dev.lanes.count, 2);
        assert_string_not_equal(w->err.text, "");
    } else {
        assert_int_equal(device_set_lanes(&w->dev, 2, NULL, &w->err), 0);
    }
    device_resume(&w->dev, PAUSE_MOVE);
    return ret < 0;
}

/* Whatever is missing, loop, mailbox or event fd of the image: the disk stays as it is. */
static void without_room_for_threads_the_old_ones_go_on(void **state)
{
    struct world *w = *state;
    int first_fd = next_fd();

    set_lanes(w, 2);
    assert_true(count_failures(w, first_fd, more_threads_fail) > 5);
}

/* ---- drain ---- */

static void use_image(struct world *w, struct image *image)
{
    wait_drained(w, PAUSE_ADMIN);
    detach(w);
    attach(w, image);
    device_resume(&w->dev, PAUSE_ADMIN);
}

/* Requests are in flight from now on until the gate is opened. */
static void use_gate(struct world *w)
{
    struct image *image;

    assert_int_equal(gate_image_open(&image, IMAGE_BYTES, &w->err), 0);
    use_image(w, image);
}

static unsigned used_of(const struct world *w, unsigned ring)
{
    return raw_ring_used_count(w->guest.ring[ring].drv);
}

/* All are done; what a null image brings is not looked at. */
static void forget_ring(struct world *w, unsigned ring)
{
    struct frontend_request *request;

    while ((request = frontend_reap(&w->guest.ring[ring]))) {
        w->is_busy[ring][block_of(request)] = false;
        frontend_release(request);
    }
    assert_int_equal(w->guest.ring[ring].inflight, 0);
}

static void forget_requests(struct world *w)
{
    for (unsigned i = 0; i < RINGS; i++) {
        forget_ring(w, i);
    }
}

static void drain_waits_for_all_threads(void **state)
{
    struct world *w = *state;
    struct stats stats;
    unsigned before;

    use_gate(w);
    set_lanes(w, RINGS);
    for (unsigned round = 0; round < 3; round++) {
        gate_shut();
        for (unsigned i = 0; i < RINGS; i++) {
            put_on(w, i, 4);
        }
        run_until(w, (device_stats(&w->dev, &stats), stats.inflight == 4 * RINGS));
        before = w->times_drained;
        device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
        turn(w);
        assert_int_equal(w->times_drained, before);
        gate_open();
        run_until(w, w->times_drained > before);
        for (unsigned i = 0; i < RINGS; i++) {
            assert_int_equal(used_of(w, i), 4);
            put_on(w, i, 2);
        }
        for (unsigned i = 0; i < 5; i++) {
            usleep(1000); /* nothing to wait for: the others must do nothing */
            turn(w);
        }
        for (unsigned i = 0; i < RINGS; i++) {
            assert_int_equal(used_of(w, i), 4);
        }
        device_resume(&w->dev, PAUSE_ADMIN);
        run_until(w, used_of(w, 0) == 6 && used_of(w, 1) == 6 && used_of(w, 2) == 6 &&
                         used_of(w, 3) == 6);
        forget_requests(w);
    }
}

static void assert_hurry(struct world *w, bool is_on)
{
    for (unsigned i = 0; i < RINGS; i++) {
        assert_int_equal(w->dev.lanes.lane[i]->context.hurry_ns > 0, is_on);
    }
}

/* For as long as any is waited for, and not for longer with each. */
static void drains_hurry_all_threads(void **state)
{
    struct drain ring = {.done = on_drained};
    struct world *w = *state;
    uint64_t hurry_ns;

    use_gate(w);
    set_lanes(w, RINGS);
    assert_hurry(w, false);
    gate_shut();
    put_on(w, 0, 1);
    run_until(w, device_oldest(&w->dev, &(struct device_oldest){0}));
    device_ring_pause(&w->dev, 0, &ring);
    assert_hurry(w, true);
    hurry_ns = w->dev.lanes.lane[1]->context.hurry_ns;
    assert_true(hurry_ns <= now_ns() + NS_PER_S);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    assert_int_equal(w->dev.lanes.lane[1]->context.hurry_ns, hurry_ns);
    device_drain_cancel(&w->dev, &ring);
    assert_hurry(w, true);
    device_drain_cancel(&w->dev, &w->drain);
    assert_hurry(w, false);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    assert_hurry(w, true);
    w->times_drained = 0;
    gate_open();
    run_until(w, w->times_drained > 0);
    assert_hurry(w, false);
    device_ring_resume(&w->dev, 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, used_of(w, 0) == 1);
    forget_requests(w);
}

/* I/O of our own on one lane. */
struct own {
    struct message message;
    struct lane *lane;
};

static void run_begin(struct message *message)
{
    containerof(message, struct own, message)->lane->flight.own++;
}

static void run_end(struct message *message)
{
    struct lane *lane = containerof(message, struct own, message)->lane;

    lane->flight.own--;
    context_wake(&lane->context);
}

static unsigned own_of(struct world *w, struct lane *lane)
{
    unsigned own;

    device_park(&w->dev);
    own = lane->flight.own;
    device_unpark(&w->dev);
    return own;
}

static void begin_own(struct world *w, struct own *own, unsigned lane)
{
    *own = (struct own){.message.run = run_begin, .lane = w->dev.lanes.lane[lane]};
    mailbox_send(&own->lane->mailbox, &own->message);
    run_until(w, own_of(w, own->lane) == 1);
}

static void end_own(struct own *own)
{
    own->message.run = run_end;
    mailbox_send(&own->lane->mailbox, &own->message);
}

/* Those that stay may have some: it touches neither rings nor memory. */
static void lanes_end_when_their_own_work_has(void **state)
{
    struct world *w = *state;
    struct own stays, goes;
    unsigned before;

    set_lanes(w, RINGS);
    load(w, 100);
    begin_own(w, &stays, 1);
    begin_own(w, &goes, 2);
    w->drain.own_below = LANES_MAX;
    wait_drained(w, PAUSE_MESSAGE);
    w->drain.own_below = 3;
    wait_drained(w, PAUSE_MOVE);
    w->drain.own_below = 2;
    before = w->times_drained;
    device_pause(&w->dev, PAUSE_MOVE, &w->drain);
    for (unsigned i = 0; i < 20; i++) {
        usleep(500);
        turn(w);
    }
    assert_int_equal(w->times_drained, before);
    end_own(&goes);
    run_until(w, w->times_drained > before);
    assert_int_equal(device_set_lanes(&w->dev, 2, NULL, &w->err), 0);
    device_resume(&w->dev, PAUSE_MESSAGE);
    device_resume(&w->dev, PAUSE_MOVE);
    load(w, 100);
    assert_int_equal(own_of(w, stays.lane), 1);
    end_own(&stays);
    w->drain.own_below = 0;
    wait_drained(w, PAUSE_ADMIN);
    assert_int_equal(own_of(w, stays.lane), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    assert_all_counted(w);
}

static void on_ring_drained(struct drain *drain)
{
    drain->done = NULL;
}

static void drains_of_rings_and_device_all_end(void **state)
{
    struct world *w = *state;

    set_lanes(w, RINGS);
    for (unsigned round = 0; round < 50; round++) {
        step(w);
        for (unsigned i = 0; i < RINGS; i++) {
            w->ring_drain[i] = (struct drain){.done = on_ring_drained};
            device_ring_pause(&w->dev, i, &w->ring_drain[i]);
        }
        wait_drained(w, PAUSE_MESSAGE);
        run_until(w, !w->ring_drain[0].done && !w->ring_drain[1].done && !w->ring_drain[2].done &&
                         !w->ring_drain[3].done);
        for (unsigned i = 0; i < RINGS; i++) {
            uint16_t base = device_ring_stop(&w->dev, i);

            reap(w, i);
            /* Each request was served or will be: none hides between base and used index. */
            assert_int_equal((uint16_t)(w->guest.ring[i].drv->shown_idx - base),
                             w->guest.ring[i].inflight);
            device_guest_start_ring(&w->dev, &w->guest, i, base);
        }
        device_resume(&w->dev, PAUSE_MESSAGE);
        finish_load(w);
    }
    assert_all_counted(w);
}

static void ring_that_rests_is_drained_at_once(void **state)
{
    struct world *w = *state;

    set_lanes(w, RINGS);
    load(w, 100);
    for (unsigned i = 0; i < RINGS; i++) {
        w->ring_drain[0] = (struct drain){.done = on_ring_drained};
        device_ring_pause(&w->dev, i, &w->ring_drain[0]);
        run_until(w, !w->ring_drain[0].done);
    }
}

/* The other rings do not stand still for it, on whatever thread they are. */
static void one_ring_drains_while_the_others_are_busy(void **state)
{
    struct world *w = *state;

    set_lanes(w, RINGS);
    for (unsigned round = 0; round < 40; round++) {
        unsigned ring = round % RINGS;

        step(w);
        w->ring_drain[0] = (struct drain){.done = on_ring_drained};
        device_ring_pause(&w->dev, ring, &w->ring_drain[0]);
        run_until(w, (step(w), !w->ring_drain[0].done));
        device_guest_start_ring(&w->dev, &w->guest, ring, device_ring_stop(&w->dev, ring));
    }
    finish_load(w);
    assert_all_counted(w);
}

static void forget_guest(struct world *w)
{
    memset(w->is_busy, 0, sizeof(w->is_busy));
    memset(w->generation, 0, sizeof(w->generation));
    w->put = 0;
    w->answered = 0;
}

static void reset_amid_requests_and_start_again(void **state)
{
    struct world *w = *state;
    struct frontend_opts opts = w->guest.opts;

    set_lanes(w, 3);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 8; i++) {
            step(w);
        }
        for (unsigned i = 0; i < RINGS; i++) {
            put_on(w, i, DEPTH);
        }
        wait_drained(w, PAUSE_GONE);
        device_reset(&w->dev);
        frontend_fini(&w->guest);
        frontend_init(&w->guest, &opts);
        forget_guest(w);
        start_guest(w);
        load(w, 100);
    }
}

/* ---- another root, or another size ---- */

static void on_changed(struct device_change *change)
{
    struct world *w = containerof(change, struct world, change);

    w->changes++;
}

static int begin_change(struct world *w, enum device_change_kind kind, struct node *node)
{
    w->change = (struct device_change){.kind = kind, .node = node, .done = on_changed};
    w->changes = 0;
    return device_change_begin(&w->dev, &w->change, &w->err);
}

/* While the guest works.  The node that went is given back. */
static void change(struct world *w, enum device_change_kind kind, struct node *node)
{
    assert_int_equal(begin_change(w, kind, node), 0);
    run_until(w, (step(w), w->changes == 1));
    assert_int_equal(w->change.err.code, 0);
    node_put(w->change.node);
}

static struct node *root_of(struct world *w)
{
    return device_image(&w->dev)->root;
}

static const struct fault_rule late = {
    .ops = 1 << IO_READ | 1 << IO_WRITE, .delay_ns = NS_PER_MS / 4, .every = 5};
static const struct fault_opts some_late = {.rules = &late, .count = 1};

static struct node *open_filter(struct world *w, const struct node_ops *ops, struct node *below)
{
    struct node *filter;

    assert_int_equal(node_open(&filter, ops, node_get(below), &some_late, &w->err), 0);
    return filter;
}

static void filters_come_and_go_while_the_guest_works(void **state)
{
    struct world *w = *state;

    for (unsigned lanes = 1; lanes <= RINGS; lanes++) {
        struct node *file = root_of(w);

        set_lanes(w, lanes);
        change(w, CHANGE_INSERT, open_filter(w, &node_fault_ops, file));
        assert_ptr_equal(root_of(w)->child[0], file);
        for (unsigned i = 0; i < lanes; i++) {
            assert_ptr_equal(w->dev.lanes.lane[i]->path->node, root_of(w));
        }
        load(w, 200);
        change(w, CHANGE_INSERT, open_filter(w, &node_forward_ops, root_of(w)));
        load(w, 200);
        change(w, CHANGE_REMOVE, root_of(w));
        change(w, CHANGE_REMOVE, root_of(w));
        assert_ptr_equal(root_of(w), file);
        load(w, 200);
        assert_int_equal(file->count, 1 + lanes);
    }
    assert_all_counted(w);
}

static unsigned below(struct world *w, unsigned limit)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (unsigned)(w->random % limit);
}

/* A filter more, one less, or another in its place; `filters` are there. */
static unsigned begin_some_change(struct world *w, unsigned filters)
{
    const struct node_ops *ops = below(w, 2) ? &node_fault_ops : &node_forward_ops;
    unsigned which = filters == 0 ? 0 : filters == 3 ? 1 + below(w, 2) : below(w, 3);
    struct node *root = root_of(w);

    switch (which) {
    case 0:
        assert_int_equal(begin_change(w, CHANGE_INSERT, open_filter(w, ops, root)), 0);
        return filters + 1;
    case 1:
        assert_int_equal(begin_change(w, CHANGE_REMOVE, root), 0);
        return filters - 1;
    default:
        assert_int_equal(begin_change(w, CHANGE_SWAP, open_filter(w, ops, root->child[0])), 0);
        return filters;
    }
}

/* Requests are in flight, threads come and go, and the front-end pauses it now and then. */
static void image_changes_at_random_moments(void **state)
{
    struct world *w = *state;
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    unsigned filters = 0, changes = 0, moves = 0;

    w->random = 20261126;
    w->drain.done = on_move_drained;
    while (changes < 40) {
        assert_true(now_ns() < deadline_ns);
        if (!w->dev.change && below(w, 4) == 0) {
            if (changes > 0) {
                assert_int_equal(w->change.err.code, 0);
                node_put(w->change.node);
            }
            filters = begin_some_change(w, filters);
            changes++;
            deadline_ns = now_ns() + PATIENCE_NS;
        }
        if (w->moves == moves && below(w, 8) == 0) {
            w->lanes = 1 + below(w, RINGS);
            device_pause(&w->dev, PAUSE_MOVE, &w->drain);
            moves++;
        }
        if (below(w, 16) == 0) {
            device_pause(&w->dev, PAUSE_MESSAGE, NULL);
            turn(w);
            device_resume(&w->dev, PAUSE_MESSAGE);
        }
        step(w);
    }
    run_until(w, (step(w), !w->dev.change && w->moves == moves));
    node_put(w->change.node);
    finish_load(w);
    w->drain.done = on_drained;
    assert_all_counted(w);
}

static void copy_image(const struct image_world *image)
{
    static uint8_t data[RINGS * BLOCKS * BLOCK];
    int from = open(image->image, O_RDONLY | O_CLOEXEC);
    int to;

    image_world_make(image->other, IMAGE_BYTES);
    to = open(image->other, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pread(from, data, sizeof(data), 0), sizeof(data));
    assert_int_equal(pwrite(to, data, sizeof(data), 0), sizeof(data));
    close(from);
    close(to);
}

/* By a mirror, which is put over it and taken away again while requests are in flight. */
static void disk_moves_to_another_file_while_the_guest_works(void **state)
{
    struct world *w = *state;
    struct image_opts opts = image_world_opts(w->image, w->image->other, CACHE_WRITEBACK);
    struct node *other, *half[2], *mirror;

    set_lanes(w, 3);
    load(w, 500);
    wait_drained(w, PAUSE_ADMIN);
    copy_image(w->image);
    assert_int_equal(node_open(&other, &node_file_ops, NULL, &opts, &w->err), 0);
    half[0] = node_get(root_of(w));
    half[1] = node_get(other);
    assert_int_equal(node_open_over(&mirror, &node_mirror_ops, half, 2, NULL, &w->err), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    assert_int_equal(begin_change(w, CHANGE_INSERT, mirror), 0);
    run_until(w, (step(w), w->changes == 1));
    node_put(w->change.node);
    load(w, 1000);
    change(w, CHANGE_SWAP, other);
    load(w, 500);
    assert_string_equal(image_facts(device_image(&w->dev))->path, w->image->other);
    assert_int_equal(other->count, 1 + 3);
    assert_all_counted(w);
}

static bool insertion_fails(struct world *w, rlim_t fds)
{
    struct node *root = root_of(w), *filter = open_filter(w, &node_fault_ops, root);
    const struct path *path[3];
    struct rlimit before;

    for (unsigned i = 0; i < 3; i++) {
        path[i] = w->dev.lanes.lane[i]->path;
    }
    before = limit_fds(fds);
    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), 0);
    run_until(w, w->changes == 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    if (w->change.err.code == 0) {
        node_put(w->change.node);
        change(w, CHANGE_REMOVE, filter);
        return false;
    }
    assert_string_not_equal(w->change.err.text, "");
    assert_ptr_equal(w->change.node, filter);
    assert_ptr_equal(root_of(w), root);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(w->dev.lanes.lane[i]->path, path[i]);
    }
    assert_int_equal(filter->count, 1);
    node_put(filter);
    return true;
}

/* What is missing may be anything, and on any thread. */
static void without_a_way_on_one_thread_all_keep_theirs(void **state)
{
    struct world *w = *state;
    int first_fd = next_fd() + 3 * 5; /* fewer than what the threads will have taken */

    set_lanes(w, 3);
    assert_in_range(count_failures(w, first_fd, insertion_fails), 3, 23);
}

static void without_memory_for_a_way_all_keep_theirs(void **state)
{
    struct world *w = *state;
    unsigned failures = 0;
    bool has_failed = true;

    set_lanes(w, 2);
    for (unsigned long n = 1; has_failed; n++) {
        struct node *root = root_of(w), *filter = open_filter(w, &node_fault_ops, root);

        assert_int_equal(begin_change(w, CHANGE_INSERT, filter), 0);
        fail_alloc(n, false);
        run_until(w, w->changes == 1);
        has_failed = fail_alloc_end();
        if (w->change.err.code < 0) {
            failures++;
            assert_true(has_failed);
            assert_ptr_equal(root_of(w), root);
            assert_int_equal(filter->count, 1);
            node_put(filter);
        } else {
            node_put(w->change.node);
            change(w, CHANGE_REMOVE, filter);
        }
        load(w, 50);
    }
    assert_true(failures > 3);
    assert_all_counted(w);
}

/* They are of the ring: neither lost nor answered twice, nor tried by a new image unasked. */
static void held_requests_outlive_a_change_of_the_root(void **state)
{
    struct world *w = *state;
    struct image *good;
    struct node *node;

    set_lanes(w, 2);
    change_image(w, open_holding());
    step(w);
    run_until(w, held(w) == w->put);
    assert_int_equal(begin_change(w, CHANGE_INSERT, open_filter(w, &node_fault_ops, root_of(w))),
                     0);
    run_until(w, w->changes == 1);
    node_put(w->change.node);
    assert_int_equal(held(w), w->put);
    assert_true(device_retry(&w->dev));
    run_until(w, held(w) == w->put); /* they fail, and are held, by the same image */
    good = open_file(w);
    node = node_get(good->root);
    image_close(good);
    assert_int_equal(begin_change(w, CHANGE_SWAP, node), 0);
    run_until(w, w->changes == 1);
    assert_int_equal(w->change.err.code, 0);
    node_put(w->change.node);
    turn(w);
    assert_int_equal(held(w), w->put);
    assert_true(device_retry(&w->dev));
    finish_load(w);
    assert_int_equal(held(w), 0);
    assert_all_counted(w);
}

/* ---- beside what else waits for a drain ---- */

/* They are not in the ring any more. */
static void put_in_flight(struct world *w, unsigned ring, unsigned count)
{
    struct stats stats;

    put_on(w, ring, count);
    run_until(w, (device_stats(&w->dev, &stats), stats.inflight == count));
}

static void on_admin_drained(struct drain *drain)
{
    struct world *w = containerof(drain, struct world, drain);
    struct node *root = root_of(w);

    w->times_drained++;
    detach(w);
    assert_int_equal(w->changes, 1);
    assert_ptr_equal(w->change.node->child[0], root);
}

/* As a stop, and a removal, have it. */
static void image_that_is_closed_is_not_changed_any_more(void **state)
{
    struct world *w = *state;
    struct node *filter;

    use_gate(w);
    gate_shut();
    set_lanes(w, 2);
    filter = open_filter(w, &node_fault_ops, root_of(w));
    put_in_flight(w, 1, 4);
    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), 0);
    w->drain = (struct drain){.done = on_admin_drained, .own_below = LANES_MAX};
    w->times_drained = 0;
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    gate_open();
    run_until(w, w->times_drained == 1);
    assert_int_equal(w->change.err.code, -ECANCELED);
    assert_string_equal(w->change.err.text, "the image was closed before it was changed");
    assert_int_equal(filter->count, 1);
    node_put(filter);
    assert_int_equal(w->dev.view.pause_mask, PAUSE_ADMIN);
    assert_int_equal(begin_change(w, CHANGE_REMOVE, NULL), -ENOENT);
    assert_string_equal(w->err.text, "there is no image to be changed, it is closed");
    forget_requests(w);
    w->drain = (struct drain){.done = on_drained};
}

/* What was flushed before it is closed is what is closed. */
static void image_that_is_about_to_be_closed_is_not_changed(void **state)
{
    struct world *w = *state;
    struct node *root = root_of(w), *filter = open_filter(w, &node_fault_ops, root);

    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), 0);
    wait_drained(w, PAUSE_ADMIN);
    run_until(w, w->changes == 1);
    assert_int_equal(w->change.err.code, -ECANCELED);
    assert_ptr_equal(root_of(w), root);
    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), -ECANCELED);
    assert_string_equal(w->err.text, "the image is about to be closed");
    device_resume(&w->dev, PAUSE_ADMIN);
    device_pause(&w->dev, PAUSE_EXIT, NULL);
    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), -ECANCELED);
    device_resume(&w->dev, PAUSE_EXIT);
    change(w, CHANGE_INSERT, filter);
    finish_load(w);
}

/* As a job does that tries once more. */
static void begin_again(struct device_change *change)
{
    struct world *w = containerof(change, struct world, change);
    struct node *node = change->node;

    w->changes++;
    assert_int_equal(change->err.code, -ECANCELED);
    w->change = (struct device_change){.kind = CHANGE_INSERT, .node = node, .done = begin_again};
    assert_int_equal(device_change_begin(&w->dev, &w->change, &w->err), -ENOENT);
}

static void change_that_is_begun_again_when_the_image_is_closed_is_refused(void **state)
{
    struct world *w = *state;
    struct node *filter;

    use_gate(w);
    gate_shut();
    filter = open_filter(w, &node_fault_ops, root_of(w));
    put_in_flight(w, 1, 4);
    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), 0);
    w->change.done = begin_again;
    w->drain = (struct drain){.done = on_admin_drained, .own_below = LANES_MAX};
    w->times_drained = 0;
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    gate_open();
    run_until(w, w->times_drained == 1);
    assert_int_equal(w->changes, 1);
    assert_int_equal(w->dev.view.pause_mask, PAUSE_ADMIN);
    node_put(filter);
    forget_requests(w);
    w->drain = (struct drain){.done = on_drained};
}

static void front_end_may_leave_while_the_image_is_to_be_changed(void **state)
{
    struct world *w = *state;
    struct frontend_opts guest = w->guest.opts;

    use_gate(w);
    gate_shut();
    set_lanes(w, 2);
    put_in_flight(w, 1, 4);
    assert_int_equal(begin_change(w, CHANGE_INSERT, open_filter(w, &node_fault_ops, root_of(w))),
                     0);
    gate_open();
    wait_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
    frontend_fini(&w->guest);
    frontend_init(&w->guest, &guest);
    forget_guest(w);
    run_until(w, w->changes == 1);
    assert_int_equal(w->change.err.code, 0);
    node_put(w->change.node);
    start_guest(w);
    put_on(w, 1, 4);
    run_until(w, used_of(w, 1) == 4);
    forget_requests(w);
}

static void one_change_at_a_time_and_a_waiter_may_go(void **state)
{
    struct device_change second = {.kind = CHANGE_REMOVE, .done = on_changed};
    struct world *w = *state;
    struct node *filter;

    use_gate(w);
    gate_shut();
    filter = open_filter(w, &node_fault_ops, root_of(w));
    put_in_flight(w, 0, 4);
    assert_int_equal(begin_change(w, CHANGE_INSERT, filter), 0);
    assert_int_equal(device_change_begin(&w->dev, &second, &w->err), -EBUSY);
    assert_string_equal(w->err.text, "the image is being changed already");
    device_change_cancel(&w->dev, &second);
    assert_int_equal(w->dev.view.pause_mask, PAUSE_IMAGE);
    device_change_cancel(&w->dev, &w->change);
    assert_int_equal(w->dev.view.pause_mask, 0);
    gate_open();
    run_until(w, used_of(w, 0) == 4);
    forget_requests(w);
    assert_int_equal(w->changes, 0);
    assert_int_equal(filter->count, 1);
    node_put(filter);
}

static int swap(struct world *w, struct node *node)
{
    assert_int_equal(begin_change(w, CHANGE_SWAP, node), 0);
    run_until(w, w->changes == 1);
    node_put(w->change.node);
    return w->change.err.code;
}

/* A disk of 4096-byte blocks goes to the page cache, whose are smaller, and back. */
static void root_has_blocks_of_any_size_that_the_guest_can_use(void **state)
{
    struct world *w = *state;
    struct image_opts opts = image_world_opts(w->image, w->image->other, CACHE_WRITEBACK);
    const uint32_t logical = w->dev.view.blk.opts.logical_block;
    struct node *file = node_get(root_of(w)), *other;

    image_world_make(opts.path, IMAGE_BYTES);
    assert_int_equal(node_open(&other, &node_file_ops, NULL, &opts, &w->err), 0);
    w->dev.view.blk.opts.logical_block = BLOCK;
    other->facts.block_size = BLOCK;
    assert_int_equal(swap(w, node_get(other)), 0);
    assert_int_equal(swap(w, node_get(file)), 0);
    assert_int_equal(swap(w, node_get(other)), 0);
    assert_int_equal(swap(w, node_get(file)), 0);
    w->dev.view.blk.opts.logical_block = logical;
    assert_int_equal(swap(w, node_get(other)), -EINVAL);
    assert_ptr_equal(root_of(w), file);
    assert_non_null(strstr(w->change.err.text, "do not suit the logical block size 512"));
    node_put(other);
    node_put(file);
}

static uint8_t read_at(struct world *w, uint64_t offset)
{
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[1], VIRTIO_BLK_T_IN, offset / SECTOR_SIZE, SECTOR_SIZE);
    uint8_t status;

    frontend_put(request);
    frontend_kick(&w->guest.ring[1]);
    run_until(w, used_of(w, 1) == 1);
    assert_ptr_equal(frontend_reap(&w->guest.ring[1]), request);
    status = request->blk->status;
    frontend_release(request);
    return status;
}

static int set_size_of(struct world *w, struct node *node, uint64_t bytes)
{
    w->change = (struct device_change){
        .kind = CHANGE_SIZE, .node = node, .size_bytes = bytes, .done = on_changed};
    w->changes = 0;
    assert_int_equal(device_change_begin(&w->dev, &w->change, &w->err), 0);
    run_until(w, w->changes == 1);
    return w->change.err.code;
}

static int set_size(struct world *w, uint64_t bytes)
{
    return set_size_of(w, root_of(w), bytes);
}

/* Another has taken its place meanwhile, which has the size that it had. */
static void size_of_what_is_no_longer_the_root_is_not_the_disks(void **state)
{
    const uint64_t more = IMAGE_BYTES + 65536;
    struct world *w = *state;
    struct image_opts opts = image_world_opts(w->image, w->image->other, CACHE_WRITEBACK);
    struct node *resized = node_get(root_of(w)), *other;

    image_world_make(w->image->other, IMAGE_BYTES);
    assert_int_equal(node_resize(resized, more, &w->err), 0);
    assert_int_equal(node_open(&other, &node_file_ops, NULL, &opts, &w->err), 0);
    assert_int_equal(begin_change(w, CHANGE_SWAP, other), 0);
    run_until(w, w->changes == 1);
    assert_int_equal(w->change.err.code, 0);
    node_put(w->change.node);
    assert_int_equal(set_size_of(w, resized, more), -ESTALE);
    assert_string_equal(w->change.err.text,
                        "the image has been changed since it was given another size");
    assert_int_equal(device_capacity(&w->dev), IMAGE_BYTES);
    node_put(resized);
}

static void disk_has_another_size_under_its_guest(void **state)
{
    const uint64_t more = IMAGE_BYTES + 65536;
    struct world *w = *state;
    struct virtio_blk_config config;

    set_lanes(w, 2);
    load(w, 100);
    assert_int_equal(read_at(w, IMAGE_BYTES), VIRTIO_BLK_S_IOERR);
    assert_int_equal(node_resize(root_of(w), more, &w->err), 0);
    assert_int_equal(read_at(w, IMAGE_BYTES), VIRTIO_BLK_S_IOERR);
    assert_int_equal(set_size(w, more), 0);
    assert_int_equal(read_at(w, IMAGE_BYTES), VIRTIO_BLK_S_OK);
    device_config_read(&w->dev, 0, &config, sizeof(config));
    assert_int_equal(config.capacity, more / SECTOR_SIZE);
    assert_int_equal(device_capacity(&w->dev), more);
    assert_int_equal(set_size(w, IMAGE_BYTES), 0);
    assert_int_equal(read_at(w, IMAGE_BYTES), VIRTIO_BLK_S_IOERR);
    assert_int_equal(set_size(w, IMAGE_BYTES + 100), -EINVAL);
    assert_int_equal(set_size(w, 1ull << 63), -EFBIG);
    assert_int_equal(device_capacity(&w->dev), IMAGE_BYTES);
    use_gate(w);
    assert_int_equal(set_size(w, more), -EOPNOTSUPP);
    assert_int_equal(device_capacity(&w->dev), IMAGE_BYTES);
}

static int change_medium_to(struct world *w, struct node **node)
{
    assert_int_equal(begin_change(w, CHANGE_MEDIUM, *node), 0);
    run_until(w, w->changes == 1);
    *node = w->change.node;
    return w->change.err.code;
}

static void another_medium_may_have_another_size(void **state)
{
    struct world *w = *state;
    struct image_opts opts = image_world_opts(w->image, w->image->other, CACHE_WRITEBACK);
    const struct image_opts nothing = {.type = "null"};
    struct node *node;

    set_lanes(w, 2);
    load(w, 100);
    assert_int_equal(node_open(&node, &node_null_ops, NULL, &nothing, &w->err), 0);
    assert_int_equal(change_medium_to(w, &node), 0);
    node_put(node);
    assert_int_equal(device_capacity(&w->dev), 0);
    assert_int_equal(read_at(w, 0), VIRTIO_BLK_S_IOERR);
    image_world_make(w->image->other, IMAGE_BYTES / 2 + 100);
    assert_int_equal(node_open(&node, &node_file_ops, NULL, &opts, &w->err), 0);
    assert_int_equal(change_medium_to(w, &node), -EINVAL);
    assert_int_equal(device_capacity(&w->dev), 0);
    node_put(node);
    assert_int_equal(truncate(w->image->other, IMAGE_BYTES / 2), 0);
    assert_int_equal(node_open(&node, &node_file_ops, NULL, &opts, &w->err), 0);
    assert_int_equal(change_medium_to(w, &node), 0);
    node_put(node);
    assert_int_equal(device_capacity(&w->dev), IMAGE_BYTES / 2);
    assert_int_equal(read_at(w, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(read_at(w, IMAGE_BYTES / 2), VIRTIO_BLK_S_IOERR);
}

/* Whatever is in flight, as nothing of it goes beyond what there was. */
static void disk_grows_without_a_drain(void **state)
{
    const uint64_t more = IMAGE_BYTES + 65536;
    struct world *w = *state;
    struct node *root = root_of(w);

    set_lanes(w, 2);
    load(w, 100);
    put_on(w, 0, 4);
    put_on(w, 1, 4);
    turn(w);
    assert_int_equal(node_resize(root, more, &w->err), 0);
    assert_int_equal(device_grow(&w->dev, root, more, &w->err), 0);
    assert_int_equal(w->dev.view.pause_mask, 0);
    assert_int_equal(device_capacity(&w->dev), more);
    finish_load(w);
    assert_int_equal(read_at(w, IMAGE_BYTES), VIRTIO_BLK_S_OK);
    assert_int_equal(device_grow(&w->dev, root, more + 100, &w->err), -EINVAL);
    assert_int_equal(begin_change(w, CHANGE_REMOVE, root), 0);
    assert_int_equal(device_grow(&w->dev, root, more * 2, &w->err), -EBUSY);
    run_until(w, w->changes == 1);
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    assert_int_equal(device_grow(&w->dev, root, more * 2, &w->err), -ECANCELED);
    device_resume(&w->dev, PAUSE_ADMIN);
    assert_int_equal(device_capacity(&w->dev), more);
}

/* ---- fds ---- */

static void kick_and_call_fds_are_replaced_while_the_ring_runs(void **state)
{
    struct world *w = *state;

    set_lanes(w, RINGS);
    for (unsigned round = 0; round < 200; round++) {
        struct frontend_ring *ring = &w->guest.ring[round % RINGS];
        int kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

        put_on(w, ring->queue->index, 4);
        assert_int_equal(
            device_ring_set_call(&w->dev, ring->queue->index, dup(ring->fds->call), NULL), 0);
        assert_int_equal(device_ring_set_kick(&w->dev, ring->queue->index, dup(kick_fd), NULL), 0);
        close(ring->fds->kick);
        ring->fds->kick = kick_fd;
        step(w);
    }
    finish_load(w);
    assert_all_counted(w);
}

static bool has_kick(struct world *w, unsigned ring)
{
    bool has_one;

    device_park(&w->dev);
    has_one = w->dev.queue[ring].kick != NULL;
    device_unpark(&w->dev);
    return has_one;
}

static void kick_fd_that_ends_breaks_its_ring_only(void **state)
{
    struct world *w = *state;
    int ends[2];

    set_lanes(w, 2);
    load(w, 100);
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, 3, ends[0], NULL), 0);
    close(ends[1]);
    run_until(w, !has_kick(w, 3));
    assert_true(w->dev.queue[3].ring.is_broken);
    for (unsigned i = 0; i < 50; i++) {
        put_on(w, i % 3, 4);
        turn(w);
        reap_all(w);
    }
    finish_load(w);
    assert_all_counted(w);
}

/* ---- memory that is exchanged ---- */

/* What a turn may take, and more: it ends with rings that were told not to kick. */
static struct path *slow_path;

static struct submitted submit_slowly(struct path *path)
{
    uint64_t end_ns = now_ns() + 2 * NS_PER_MS;

    while (path == slow_path && now_ns() < end_ns) {
    }
    return node_null_ops.leaf->submit(path);
}

/* The lanes beside the first have requests in flight for longer. */
static int attach_with_delay(struct path *path, struct err *err)
{
    struct node_null *null = containerof(path->node, struct node_null, node);

    null->delay_ns = slow_path ? 500 * NS_PER_MS : 0;
    slow_path = slow_path ? slow_path : path;
    return node_null_ops.attach(path, err);
}

/* A null image whose type has `ops`. */
static struct image *open_like_null(const struct node_ops *ops)
{
    struct image_opts opts = {.size = IMAGE_BYTES, .max_inflight = 64};
    struct image *image;
    struct node *root;

    assert_int_equal(node_open(&root, ops, NULL, &opts, NULL), 0);
    assert_int_equal(image_new(&image, root), 0);
    return image;
}

static void use_slow_submit(struct world *w)
{
    static struct leaf_ops leaf; /* these outlast the image */
    static struct node_ops ops;

    leaf = *node_null_ops.leaf;
    leaf.submit = submit_slowly;
    ops = node_null_ops;
    ops.leaf = &leaf;
    ops.attach = attach_with_delay;
    slow_path = NULL;
    use_image(w, open_like_null(&ops));
}

/*
 * The first lane ends a turn, for want of time, with nothing in flight, and its ring told not to
 * kick; the second has requests in flight.
 */
static void cut_turn_short(struct world *w)
{
    struct stats stats;

    put_on(w, 1, 4);
    run_until(w, (device_stats(&w->dev, &stats), stats.inflight == 4));
    put_on(w, 0, DEPTH);
    run_until(w, used_of(w, 0) == DEPTH);
    assert_true(w->dev.lanes.first.quiet & 1);
    assert_int_equal(w->dev.lanes.first.flight.guest, 0);
    assert_int_equal(used_of(w, 1), 0);
}

/* The first lane comes to know of it by a message, in a poll phase, before it has a turn. */
static void turn_with_the_message(struct world *w)
{
    struct pollfd loop = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};

    assert_int_equal(poll(&loop, 1, (int)(PATIENCE_NS / NS_PER_MS)), 1);
    assert_true(mailbox_has_mail(&w->dev.lanes.first.mailbox));
    turn(w);
}

static void on_memory_may_go(struct drain *drain)
{
    struct world *w = containerof(drain, struct world, drain);

    mem_clear(&w->dev.view.mem);
    w->times_drained++;
}

static void memory_goes_by_a_message_after_a_turn_that_was_cut_short(void **state)
{
    struct world *w = *state;

    use_slow_submit(w);
    set_lanes(w, 2);
    for (unsigned round = 0; round < 3; round++) {
        unsigned before = w->times_drained;

        cut_turn_short(w);
        w->drain.done = on_memory_may_go;
        device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
        turn_with_the_message(w);
        assert_int_equal(w->times_drained, before + 1);
        assert_int_equal(w->dev.lanes.first.untold, 0);
        for (unsigned i = 0; i < 5; i++) {
            usleep(1000);
            turn(w);
        }
        w->drain.done = on_drained;
        device_guest_share(&w->dev, &w->guest);
        device_memory_changed(&w->dev);
        device_resume(&w->dev, PAUSE_MESSAGE);
        forget_requests(w);
    }
}

static void on_ring_may_go(struct drain *drain)
{
    const struct world *w = containerof(drain - drain->ring, struct world, ring_drain[0]);
    const struct queue *q = &w->dev.queue[drain->ring];

    assert_false(q->lane->quiet >> q->index & 1);
    assert_false(q->lane->unpublished >> q->index & 1);
    drain->done = NULL;
}

/* It is the other thread that finds it drained. */
static void ring_goes_by_a_message_after_a_turn_that_was_cut_short(void **state)
{
    struct world *w = *state;

    use_slow_submit(w);
    set_lanes(w, 2);
    cut_turn_short(w);
    for (unsigned i = 0; i < 2; i++) {
        w->ring_drain[i] = (struct drain){.done = on_ring_may_go};
        device_ring_pause(&w->dev, i, &w->ring_drain[i]);
    }
    turn_with_the_message(w);
    assert_null(w->ring_drain[0].done);
    assert_null(w->ring_drain[1].done);
    for (unsigned i = 0; i < 2; i++) {
        device_guest_start_ring(&w->dev, &w->guest, i, device_ring_stop(&w->dev, i));
    }
    forget_requests(w);
}

static void start_slowly(struct path *path, struct io *io)
{
    uint64_t end_ns = now_ns() + NS_PER_MS / 5;

    while (now_ns() < end_ns) {
    }
    node_null_ops.start(path, io);
}

static unsigned used_of_all(const struct world *w)
{
    unsigned used = 0;

    for (unsigned i = 0; i < RINGS; i++) {
        used += used_of(w, i);
    }
    return used;
}

/* As chains do that take long to walk: a batch of one ring is more than a turn may take. */
static void turns_end_between_two_rings_and_all_have_theirs(void **state)
{
    static struct node_ops ops; /* outlasts the image */
    struct world *w = *state;

    ops = node_null_ops;
    ops.start = start_slowly;
    use_image(w, open_like_null(&ops));
    for (unsigned i = 0; i < RINGS; i++) {
        put_on(w, i, DEPTH);
    }
    for (unsigned i = 0; i < 3 * RINGS; i++) {
        turn(w);
        assert_int_equal(used_of(w, i % RINGS), DEPTH);
        assert_int_equal(used_of_all(w), DEPTH);
        forget_ring(w, i % RINGS);
        put_on(w, i % RINGS, DEPTH);
    }
    run_until(w, used_of_all(w) == RINGS * DEPTH);
    forget_requests(w);
}

static uint64_t spins(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats.poll_hits + stats.poll_misses;
}

/* What is paused takes nothing, so a guest is not waited for either: the drain ends at once. */
static void paused_disk_does_not_spin_for_its_guest(void **state)
{
    const struct device_poll poll = {.max_us = DEVICE_POLL_US_MAX, .cpu_percent = 100};
    struct world *w = *state;
    uint64_t before;

    load(w, 100);
    device_set_poll(&w->dev, &poll);
    before = spins(w);
    wait_drained(w, PAUSE_ADMIN);
    assert_int_equal(spins(w), before);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, spins(w) > before);
}

/* ---- memory that is taken away ---- */

static bool all_broken(struct world *w)
{
    unsigned broken = 0;

    device_park(&w->dev);
    for (unsigned i = 0; i < RINGS; i++) {
        broken += w->dev.queue[i].ring.is_broken;
    }
    device_unpark(&w->dev);
    return broken == RINGS;
}

static void lost_memory_ends_the_rings_of_all_threads(void **state)
{
    struct world *w = *state;
    struct frontend_opts opts = w->guest.opts;

    mem_guard_install();
    set_lanes(w, RINGS);
    for (unsigned round = 0; round < RINGS; round++) {
        struct frontend_ring *ring = &w->guest.ring[round];
        uint64_t one = 1;

        load(w, 100);
        assert_int_equal(ftruncate(w->guest.arena.fd, 0), 0);
        assert_int_equal(write(ring->fds->kick, &one, sizeof(one)), sizeof(one));
        run_until(w, all_broken(w));
        assert_true(mem_is_lost(&w->dev.view.mem));
        wait_drained(w, PAUSE_GONE);
        device_reset(&w->dev);
        assert_false(mem_is_lost(&w->dev.view.mem));
        frontend_fini(&w->guest);
        frontend_init(&w->guest, &opts);
        forget_guest(w);
        start_guest(w);
    }
    load(w, 100);
}

/* ---- names ---- */

static void read_names(char *text, size_t size)
{
    FILE *names = popen("cat /proc/$PPID/task/*/comm", "r");
    size_t len;

    assert_non_null(names);
    len = fread(text, 1, size - 1, names);
    text[len] = '\0';
    pclose(names);
}

static void threads_are_named_by_disk_and_number(void **state)
{
    struct world *w = *state;
    char text[512];

    set_lanes(w, 3);
    read_names(text, sizeof(text));
    assert_non_null(strstr(text, "a-long-disk-n/1\n"));
    assert_non_null(strstr(text, "a-long-disk-n/2\n"));
    set_lanes(w, 1);
    read_names(text, sizeof(text));
    assert_null(strstr(text, "a-long-disk-n/"));
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

/* Those for which it matters what an engine does on several threads at once. */
#define with_engine(test, which)                                                       \
    {                                                                                  \
#test ", " #which, test, world_start, world_stop, (void *)&image_world_##which \
    }
#define forwarded(test)                                                                \
    {                                                                                  \
#test ", forwarded", test, forward_start, world_stop, (void *)&image_world_aio \
    }
#define with_aio(test) with_engine(test, aio)
#define with_threads(test) with_engine(test, threads)
#define with_uring(test) with_engine(test, uring)
#define engine_tests(with)                                                                      \
    with(every_number_of_threads_serves_all_rings), with(no_request_allocates),                 \
        with(rings_move_while_the_guest_works),                                                 \
        with(rings_go_to_other_threads_while_the_guest_works),                                  \
        with(threads_go_to_other_cpus_while_the_guest_works),                                   \
        with(image_is_opened_anew_on_all_threads),                                              \
        with(held_requests_outlive_moves_and_other_images),                                     \
        with(filters_come_and_go_while_the_guest_works), with(image_changes_at_random_moments), \
        with(disk_moves_to_another_file_while_the_guest_works),                                 \
        with(held_requests_outlive_a_change_of_the_root), with(drains_hurry_all_threads),       \
        with(drains_of_rings_and_device_all_end), with(reset_amid_requests_and_start_again)

#ifdef HAVE_LIBURING
#define uring_tests engine_tests(with_uring),
#else
#define uring_tests
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_tests(with_aio),
        engine_tests(with_threads),
        engine_tests(forwarded),
        forwarded(requests_are_mailed_to_the_home_lane_and_back),
        uring_tests in_world(other_threads_need_no_turn_of_the_first),
        in_world(batches_end_within_guest_memory_in_two_regions),
        in_world(regions_are_added_while_all_threads_look_them_up),
        in_world(without_room_for_threads_the_old_ones_go_on),
        in_world(without_a_way_on_one_thread_all_keep_theirs),
        in_world(without_memory_for_a_way_all_keep_theirs),
        in_world(image_that_is_closed_is_not_changed_any_more),
        in_world(image_that_is_about_to_be_closed_is_not_changed),
        in_world(change_that_is_begun_again_when_the_image_is_closed_is_refused),
        in_world(front_end_may_leave_while_the_image_is_to_be_changed),
        in_world(one_change_at_a_time_and_a_waiter_may_go),
        in_world(root_has_blocks_of_any_size_that_the_guest_can_use),
        in_world(size_of_what_is_no_longer_the_root_is_not_the_disks),
        in_world(disk_has_another_size_under_its_guest),
        in_world(another_medium_may_have_another_size),
        in_world(disk_grows_without_a_drain),
        in_world(drain_waits_for_all_threads),
        in_world(lanes_end_when_their_own_work_has),
        in_world(ring_that_rests_is_drained_at_once),
        in_world(one_ring_drains_while_the_others_are_busy),
        in_world(kick_and_call_fds_are_replaced_while_the_ring_runs),
        in_world(kick_fd_that_ends_breaks_its_ring_only),
        in_world(memory_goes_by_a_message_after_a_turn_that_was_cut_short),
        in_world(ring_goes_by_a_message_after_a_turn_that_was_cut_short),
        in_world(turns_end_between_two_rings_and_all_have_theirs),
        in_world(paused_disk_does_not_spin_for_its_guest),
        in_world(lost_memory_ends_the_rings_of_all_threads),
        in_world(threads_are_named_by_disk_and_number),
    };

    count_alloc_install();
    return unit_run(tests);
}
