/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/device.h"
#include "tests/lib/frontend.h"
#include "tests/unit/count_alloc.h"
#include "tests/unit/image_world.h"

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
    uv_loop_t loop;
    struct device dev;
    struct frontend guest;
    struct drain drain;
    struct drain ring_drain[RINGS];
    unsigned times_drained;
    bool is_closed;
    unsigned lanes; /* asked for next by on_move_drained */
    unsigned moves;
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

static void share_memory(struct world *w)
{
    struct arena *arena = &w->guest.arena;
    struct mem_layout layout = {
        .guest_addr = arena->guest_addr, .size = arena->size, .user_addr = (uintptr_t)arena->host};

    assert_int_equal(mem_add(&w->dev.mem, &layout, arena->fd, NULL), 0);
}

static void start_ring(struct world *w, unsigned index)
{
    struct frontend_ring *ring = &w->guest.ring[index];
    const struct ring_driver *drv = ring->drv;
    struct device_ring_addr addr = {
        .desc = (uintptr_t)drv->desc, .used = (uintptr_t)drv->used, .avail = (uintptr_t)drv->avail};
    struct device *dev = &w->dev;

    assert_int_equal(device_ring_set_size(dev, index, drv->size, NULL), 0);
    assert_int_equal(device_ring_set_base(dev, index, drv->shown_idx, NULL), 0);
    assert_int_equal(device_ring_set_addr(dev, index, &addr, NULL), 0);
    assert_int_equal(device_ring_set_err(dev, index, dup(ring->fds->err), NULL), 0);
    assert_int_equal(device_ring_set_call(dev, index, dup(ring->fds->call), NULL), 0);
    assert_int_equal(device_ring_set_kick(dev, index, dup(ring->fds->kick), NULL), 0);
    assert_int_equal(device_ring_enable(dev, index, true, NULL), 0);
}

static void start_guest(struct world *w)
{
    const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                              1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH;

    share_memory(w);
    assert_int_equal(device_set_features(&w->dev, features), 0);
    for (unsigned i = 0; i < RINGS; i++) {
        w->guest.ring[i].drv->has_event_idx = true;
        start_ring(w, i);
    }
    device_resume(&w->dev, PAUSE_ADMIN);
    device_resume(&w->dev, PAUSE_GONE);
}

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

static void attach(struct world *w, struct backend *backend)
{
    assert_true(device_attach(&w->dev, backend, &w->err) >= 0);
}

static struct backend *open_file(struct world *w)
{
    struct backend_opts opts = image_world_opts(w->image, w->image->image, CACHE_WRITEBACK);
    struct backend *backend;

    assert_int_equal(backend_open(&backend, &opts, &w->err), 0);
    return backend;
}

static struct backend *open_null(uint32_t delay_ms)
{
    struct backend_opts opts = {
        .type = "null", .size = IMAGE_BYTES, .delay_ms = delay_ms, .max_inflight = 64};
    struct backend *backend;

    assert_int_equal(backend_open(&backend, &opts, NULL), 0);
    return backend;
}

static int world_start(void **state)
{
    static struct world world;
    struct blk_opts blk = {.capacity = IMAGE_BYTES,
                           .logical_block = 512,
                           .physical_block = 4096,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {
        .name = "a-long-disk-name", .queues = RINGS, .queue_size_max = RING_SIZE};
    struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = DEPTH, .request_bytes = BLOCK};

    memset(&world, 0, sizeof(world));
    image_world_start(state);
    world.image = *state;
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    attach(&world, open_file(&world));
    frontend_init(&world.guest, &guest);
    start_guest(&world);
    world.drain.done = on_drained;
    *state = &world;
    return 0;
}

static void on_closed(struct device *dev)
{
    containerof(dev, struct world, dev)->is_closed = true;
}

static void wait_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;

    device_pause(&w->dev, reason, &w->drain);
    run_until(w, w->times_drained > before);
}

static void detach(struct world *w)
{
    struct backend *backend = device_detach(&w->dev);

    if (backend) {
        backend_close(backend);
    }
}

static int world_stop(void **state)
{
    struct world *w = *state;
    void *image = w->image;

    wait_drained(w, PAUSE_EXIT);
    detach(w);
    device_close(&w->dev, on_closed);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert(w->is_closed);
    assert(uv_loop_close(&w->loop) == 0);
    frontend_fini(&w->guest);
    return image_world_stop(&image);
}

static void set_lanes(struct world *w, unsigned lanes)
{
    wait_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, lanes, &w->err), 0);
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
            assert_int_equal(w->dev.ring[i].lane->index, i % lanes);
            assert_true(w->dev.ring[i].lane->used & 1ull << i);
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

static void no_request_allocates(void **state)
{
    struct world *w = *state;
    unsigned long before;

    set_lanes(w, RINGS);
    load(w, 1000);
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
        mem_clear(&w->dev.mem);
        if (i % 2 == 0) {
            assert_int_equal(mem_add(&w->dev.mem, &low, arena->fd, NULL), 0);
            assert_int_equal(mem_add(&w->dev.mem, &high, arena->fd, NULL), 0);
        } else {
            share_memory(w);
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
        assert_int_equal(mem_add(&w->dev.mem, &layout, arena->fd, NULL), 0);
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

    assert_int_equal(device_set_lanes(&w->dev, w->lanes, &w->err), 0);
    device_resume(&w->dev, PAUSE_MOVE);
    w->moves++;
}

static void rings_move_while_the_guest_works(void **state)
{
    struct world *w = *state;

    w->drain.done = on_move_drained;
    for (unsigned i = 0; i < 60; i++) {
        w->lanes = 1 + (i * 7 + 3) % RINGS;
        device_pause(&w->dev, PAUSE_MOVE, &w->drain);
        run_until(w, (step(w), w->moves > i));
        for (unsigned j = 0; j < 5; j++) {
            step(w);
        }
    }
    finish_load(w);
    w->drain.done = on_drained;
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
            assert_int_equal(device_set_lanes(&w->dev, 1 + i % RINGS, &w->err), 0);
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

/* Whatever is missing, loop, mailbox or event fd of the image: the disk stays as it is. */
static void without_room_for_threads_the_old_ones_go_on(void **state)
{
    struct world *w = *state;
    int next_fd = dup(0);
    unsigned failures = 0;

    close(next_fd);
    set_lanes(w, 2);
    for (unsigned more = 0; more < 24; more++) {
        struct rlimit before;
        int ret;

        step(w);
        wait_drained(w, PAUSE_MOVE);
        before = limit_fds((rlim_t)next_fd + more);
        ret = device_set_lanes(&w->dev, RINGS, &w->err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (ret < 0) {
            failures++;
            assert_int_equal(w->dev.lane_count, 2);
            assert_string_not_equal(w->err.text, "");
        } else {
            assert_int_equal(device_set_lanes(&w->dev, 2, &w->err), 0);
        }
        device_resume(&w->dev, PAUSE_MOVE);
        load(w, 50);
    }
    assert_true(failures > 5);
    assert_all_counted(w);
}

/* ---- drain ---- */

static void use_delay(struct world *w, uint32_t delay_ms)
{
    wait_drained(w, PAUSE_ADMIN);
    detach(w);
    attach(w, open_null(delay_ms));
    device_resume(&w->dev, PAUSE_ADMIN);
}

static unsigned used_of(const struct world *w, unsigned ring)
{
    return raw_ring_used_count(w->guest.ring[ring].drv);
}

static void drain_waits_for_all_threads(void **state)
{
    struct world *w = *state;
    struct stats stats;

    use_delay(w, 20);
    set_lanes(w, RINGS);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < RINGS; i++) {
            put_on(w, i, 4);
        }
        run_until(w, (device_stats(&w->dev, &stats), stats.inflight == 4 * RINGS));
        wait_drained(w, PAUSE_ADMIN);
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
        for (unsigned i = 0; i < RINGS; i++) {
            struct frontend_request *request;

            while ((request = frontend_reap(&w->guest.ring[i]))) {
                w->is_busy[i][block_of(request)] = false;
                frontend_release(request);
            }
        }
    }
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
            w->guest.ring[i].drv->shown_idx = base;
            start_ring(w, i);
            w->guest.ring[i].drv->shown_idx = w->guest.ring[i].drv->avail_idx;
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
        w->guest.ring[ring].drv->shown_idx = device_ring_stop(&w->dev, ring);
        start_ring(w, ring);
        w->guest.ring[ring].drv->shown_idx = w->guest.ring[ring].drv->avail_idx;
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
    has_one = w->dev.ring[ring].kick != NULL;
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
    assert_true(w->dev.ring[3].ring.is_broken);
    for (unsigned i = 0; i < 50; i++) {
        put_on(w, i % 3, 4);
        turn(w);
        reap_all(w);
    }
    finish_load(w);
    assert_all_counted(w);
}

/* ---- memory that is taken away ---- */

static bool all_broken(struct world *w)
{
    unsigned broken = 0;

    device_park(&w->dev);
    for (unsigned i = 0; i < RINGS; i++) {
        broken += w->dev.ring[i].ring.is_broken;
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
        assert_true(w->dev.has_lost_memory);
        wait_drained(w, PAUSE_GONE);
        device_reset(&w->dev);
        assert_false(w->dev.has_lost_memory);
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
#define with_aio(test) with_engine(test, aio)
#define with_threads(test) with_engine(test, threads)
#define with_uring(test) with_engine(test, uring)
#define engine_tests(with)                                                                 \
    with(every_number_of_threads_serves_all_rings), with(no_request_allocates),            \
        with(rings_move_while_the_guest_works), with(image_is_opened_anew_on_all_threads), \
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
        uring_tests in_world(other_threads_need_no_turn_of_the_first),
        in_world(batches_end_within_guest_memory_in_two_regions),
        in_world(regions_are_added_while_all_threads_look_them_up),
        in_world(without_room_for_threads_the_old_ones_go_on),
        in_world(drain_waits_for_all_threads),
        in_world(ring_that_rests_is_drained_at_once),
        in_world(one_ring_drains_while_the_others_are_busy),
        in_world(kick_and_call_fds_are_replaced_while_the_ring_runs),
        in_world(kick_fd_that_ends_breaks_its_ring_only),
        in_world(lost_memory_ends_the_rings_of_all_threads),
        in_world(threads_are_named_by_disk_and_number),
    };

    count_alloc_install();
    return unit_run(tests);
}
