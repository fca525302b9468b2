/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/device/device_state.h"
#include "core/device/throttle.h"
#include "tests/lib/driver.h"
#include "tests/unit/count_alloc.h"

#define RINGS 3
#define SIZE 256u
#define SEGMENTS 515u
#define GUEST 0x100000ull
#define ARENA_BYTES (1ull << 20)
#define DISK_BYTES (1ull << 30)
#define PATIENCE_NS (20 * NS_PER_S)

/* An image that keeps what it gets until the test says that some of it is done. */
struct keeper {
    int fd;
    struct io_list kept;
    unsigned count;
    unsigned may_end;
};

/*
 * A device and its guest, whose requests have more segments than a slot has room for: there are
 * fewer arrays for such than the guest's rings have descriptors.
 */
struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct arena arena;
    struct driver drv[RINGS];
    int kick[RINGS];
    uint16_t head[RINGS]; /* the next to be used */
    bool is_offered[RINGS][SIZE];
    unsigned answered[RINGS];
    uint64_t table[RINGS]; /* of the ring's requests, which share it */
    uint64_t short_table[RINGS];
    uint64_t header;
    struct keeper keeper;
    struct drain drain;
    unsigned times_drained;
    bool is_closed;
    struct err err;
};

/* ---- the image ---- */

struct keeper_node {
    struct node node;
    struct keeper *keeper; /* the world's */
};

static struct keeper *keeper_of(const struct path *path)
{
    return containerof(path->node, struct keeper_node, node)->keeper;
}

static void keeper_start(struct path *path, struct io *io)
{
    struct keeper *keeper = keeper_of(path);

    io_list_append(&keeper->kept, io);
    keeper->count++;
}

static struct submitted keeper_submit(struct path *path)
{
    return (struct submitted){0};
}

static unsigned keeper_reap(struct path *path)
{
    struct keeper *keeper = keeper_of(path);
    unsigned count = min_of(keeper->may_end, keeper->count);

    for (unsigned i = 0; i < count; i++) {
        io_end(io_list_take(&keeper->kept), 0);
    }
    keeper->count -= count;
    keeper->may_end -= count;
    return count;
}

static bool keeper_is_held_back(const struct path *path)
{
    return false;
}

static int keeper_fd(const struct path *path)
{
    return keeper_of(path)->fd;
}

static int keeper_open(struct node *node, const void *opts, struct err *err)
{
    struct keeper *keeper = (struct keeper *)opts;

    containerof(node, struct keeper_node, node)->keeper = keeper;
    node->facts.size = DISK_BYTES;
    node->facts.block_size = 512;
    *keeper = (struct keeper){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    io_list_init(&keeper->kept);
    return 0;
}

static void keeper_close(struct node *node)
{
    close(containerof(node, struct keeper_node, node)->keeper->fd);
}

static const struct leaf_ops keeper_leaf_ops = {
    .fd = keeper_fd,
    .submit = keeper_submit,
    .reap = keeper_reap,
    .is_held_back = keeper_is_held_back,
};

static const struct node_ops keeper_ops = {
    .type = "keeper",
    .node_bytes = sizeof(struct keeper_node),
    .path_bytes = sizeof(struct path),
    .open = keeper_open,
    .close = keeper_close,
    .start = keeper_start,
    .leaf = &keeper_leaf_ops,
};

static struct image *open_keeper(struct keeper *keeper)
{
    struct image *image;
    struct node *root;

    assert(node_open(&root, &keeper_ops, NULL, keeper, NULL) == 0);
    assert(image_new(&image, root) == 0);
    return image;
}

static struct image *open_null(uint32_t delay_ms)
{
    struct image_opts opts = {
        .type = "null", .size = DISK_BYTES, .delay_ms = delay_ms, .max_inflight = 64};
    struct image *image;

    assert(image_open(&image, &opts, NULL) == 0);
    return image;
}

/* ---- the device ---- */

static void turns(struct world *w, unsigned count)
{
    while (count-- > 0) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
}

static void share_memory(struct world *w)
{
    struct mem_layout layout = {
        .guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = (uintptr_t)w->arena.host};

    assert_int_equal(mem_add(&w->dev.view.mem, &layout, w->arena.fd, NULL), 0);
}

static void start_ring(struct world *w, unsigned index, uint16_t base)
{
    const struct ring_driver *drv = &w->drv[index].ring;
    struct ring_addr addr = {
        .desc = (uintptr_t)drv->desc, .used = (uintptr_t)drv->used, .avail = (uintptr_t)drv->avail};
    struct device *dev = &w->dev;

    assert_int_equal(device_ring_set_size(dev, index, SIZE, NULL), 0);
    assert_int_equal(device_ring_set_base(dev, index, base, NULL), 0);
    assert_int_equal(device_ring_set_addr(dev, index, &addr, NULL), 0);
    assert_int_equal(device_ring_set_kick(dev, index, dup(w->kick[index]), NULL), 0);
    assert_int_equal(device_ring_enable(dev, index, true, NULL), 0);
}

/* A read in so many segments, and the place of its status. */
static void set_table(struct world *w, uint64_t table, unsigned segments, uint64_t status)
{
    driver_set_table(&w->drv[0], table, 0, w->header, 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 1; i <= segments; i++) {
        driver_set_table(&w->drv[0], table, i, w->header + 4096, 512,
                         VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, (uint16_t)(i + 1));
    }
    driver_set_table(&w->drv[0], table, segments + 1, status, 1, VRING_DESC_F_WRITE, 0);
}

/* Those of one ring: other threads write to the status of another. */
static void set_tables(struct world *w, unsigned ring)
{
    uint64_t status = w->header + 64 + ring;

    set_table(w, w->table[ring], SEGMENTS, status);
    set_table(w, w->short_table[ring], 1, status);
}

static void start_guest(struct world *w)
{
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN};

    arena_init(&w->arena, GUEST, ARENA_BYTES);
    for (unsigned i = 0; i < RINGS; i++) {
        driver_init(&w->drv[i], &w->arena, SIZE);
        w->kick[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    w->header = arena_take(&w->arena, 8192, 4096);
    memcpy(arena_at(&w->arena, w->header), &header, sizeof(header));
    for (unsigned i = 0; i < RINGS; i++) {
        w->table[i] = arena_take(&w->arena, 16ull * (SEGMENTS + 2), 16);
        w->short_table[i] = arena_take(&w->arena, 16ull * 3, 16);
        set_tables(w, i);
    }
    share_memory(w);
    assert_int_equal(device_set_features(&w->dev, 1ull << VIRTIO_F_VERSION_1 |
                                                      1ull << VIRTIO_RING_F_INDIRECT_DESC),
                     0);
    for (unsigned i = 0; i < RINGS; i++) {
        start_ring(w, i, 0);
    }
}

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

/* The next time that there is no work: nothing was learnt yet. */
static void spin_at_once(struct world *w)
{
    const struct device_poll poll = {.max_us = 1000, .cpu_percent = 100};

    device_set_poll(&w->dev, &poll);
}

static int start_with(void **state, struct image *(*open)(struct world *w))
{
    static struct world world;
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 4096,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {
        .name = "vda", .queues = RINGS, .queue_size_max = SIZE, .awaited = &world.awaited};

    memset(&world, 0, sizeof(world));
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    assert(device_attach(&world.dev, open(&world), NULL) >= 0);
    spin_at_once(&world);
    start_guest(&world);
    device_resume(&world.dev, PAUSE_ADMIN);
    device_resume(&world.dev, PAUSE_GONE);
    turns(&world, 3);
    world.drain.done = on_drained;
    *state = &world;
    return 0;
}

static struct image *with_keeper(struct world *w)
{
    return open_keeper(&w->keeper);
}

static struct image *with_null(struct world *w)
{
    w->keeper.fd = -1;
    return open_null(2);
}

static int start_keeper(void **state)
{
    return start_with(state, with_keeper);
}

static int start_null(void **state)
{
    return start_with(state, with_null);
}

static void on_closed(void *arg)
{
    struct world *w = arg;

    w->is_closed = true;
}

/* Let so many requests that the image has end. */
static void end(struct world *w, unsigned count)
{
    w->keeper.may_end = count;
    if (w->keeper.fd >= 0) {
        assert_int_equal(eventfd_write(w->keeper.fd, 1), 0);
    }
    turns(w, 3);
}

static void wait_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    device_pause(&w->dev, reason, &w->drain);
    while (w->times_drained == before) {
        assert_true(now_ns() < deadline_ns);
        end(w, w->keeper.count);
    }
}

static int world_stop(void **state)
{
    struct world *w = *state;
    struct image *image;

    wait_drained(w, PAUSE_EXIT);
    image = device_detach(&w->dev);
    if (image) {
        image_close(image);
    }
    device_close(&w->dev, on_closed, w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert(w->is_closed);
    assert(uv_loop_close(&w->loop) == 0);
    for (unsigned i = 0; i < RINGS; i++) {
        close(w->kick[i]);
    }
    arena_fini(&w->arena);
    return 0;
}

/* ---- the guest ---- */

static void kick(struct world *w, unsigned ring)
{
    assert_int_equal(eventfd_write(w->kick[ring], 1), 0);
    turns(w, 3);
}

/* Put requests of SEGMENTS segments into a ring, or of one. */
static void put(struct world *w, unsigned ring, unsigned count, bool is_long)
{
    struct ring_driver *drv = &w->drv[ring].ring;

    for (unsigned i = 0; i < count; i++) {
        uint16_t head = w->head[ring]++ % SIZE;

        assert_false(w->is_offered[ring][head]);
        w->is_offered[ring][head] = true;
        raw_ring_set_desc(drv, head, is_long ? w->table[ring] : w->short_table[ring],
                          is_long ? 16 * (SEGMENTS + 2) : 16 * 3, VRING_DESC_F_INDIRECT, 0);
        raw_ring_put(drv, head);
    }
    (void)ring_driver_show(drv);
}

static void put_and_kick(struct world *w, unsigned ring, unsigned count, bool is_long)
{
    put(w, ring, count, is_long);
    kick(w, ring);
}

/* Take what was answered; each once. */
static unsigned reap(struct world *w, unsigned ring)
{
    struct ring_driver *drv = &w->drv[ring].ring;
    unsigned count = 0;

    while (raw_ring_used_count(drv) > 0) {
        const struct vring_used_elem *elem = &drv->used->ring[drv->last_used++ % SIZE];

        assert_true(elem->id < SIZE);
        assert_true(w->is_offered[ring][elem->id]);
        w->is_offered[ring][elem->id] = false;
        count++;
    }
    w->answered[ring] += count;
    return count;
}

static bool is_asleep(struct world *w)
{
    return uv_backend_timeout(&w->loop) != 0 && !w->dev.lanes.first.has_turn_work;
}

/* On a busy machine a turn may be over before its work is, and another one follows it. */
static bool falls_asleep(struct world *w)
{
    for (unsigned i = 0; i < 5 && !is_asleep(w); i++) {
        turns(w, 1);
    }
    return is_asleep(w);
}

/* More than there are arrays: so many are under way, and the rest waits. */
static void fill(struct world *w, unsigned ring)
{
    put_and_kick(w, ring, SIZE, true);
    turns(w, 20);
    assert_int_equal(w->keeper.count, LANE_ARRAYS);
    assert_true(is_asleep(w));
}

/* What ring 0 has waits, until all of it may go. */
static bool may_go;

static uint64_t opens_at_once_ns(struct throttle *throttle, const struct queue *q, uint64_t now)
{
    return now;
}

static uint64_t first_ring_waits_ns(struct throttle *throttle, const struct request *request,
                                    uint64_t now)
{
    return request->queue->index > 0 || may_go ? now : UINT64_MAX;
}

static void goes_unasked(struct throttle *throttle, const struct request *request, uint64_t now)
{
}

static struct throttle late_first_ring = {
    .ops = &(const struct throttle_ops){
        .opens_ns = opens_at_once_ns, .admits_ns = first_ring_waits_ns, .took = goes_unasked}};

/* All that was put into a ring is answered. */
static void finish(struct world *w, unsigned ring)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    while (w->answered[ring] < w->head[ring]) {
        assert_true(now_ns() < deadline_ns);
        end(w, w->keeper.count);
        reap(w, ring);
    }
    assert_int_equal(w->dev.queue[ring].ring.inflight, 0);
}

/* ---- the tests ---- */

/* Each is as the first, which has not waited. */
static void assert_pieces(const struct world *w, unsigned count)
{
    const struct io *first = w->keeper.kept.first;
    const struct io *io = first;

    for (unsigned i = 0; i < count; i++) {
        assert_non_null(io);
        assert_int_equal(io->iov_count, first->iov_count);
        assert_memory_equal(io->iov, first->iov, io->iov_count * sizeof(*io->iov));
        io = io->next;
    }
}

/* However many wait for a limit, those that may go find an array. */
static void long_ones_that_wait_leave_arrays_to_others(void **state)
{
    struct world *w = *state;

    may_go = false;
    device_set_throttle(&w->dev, &late_first_ring);
    put_and_kick(w, 0, SIZE, true);
    turns(w, 20);
    assert_int_equal(w->keeper.count, 0);
    assert_int_equal(w->dev.queue[0].ring.inflight, SIZE);
    put_and_kick(w, 1, 5, true);
    turns(w, 5);
    assert_int_equal(w->keeper.count, 5);
    may_go = true;
    device_set_throttle(&w->dev, &late_first_ring);
    turns(w, 20);
    assert_int_equal(w->keeper.count, SIZE + 5);
    assert_pieces(w, SIZE + 5);
    finish(w, 0);
    finish(w, 1);
    device_set_throttle(&w->dev, NULL);
    fill(w, 0); /* and all are back where they came from */
    finish(w, 0);
}

static void ring_that_finds_no_array_goes_on_when_one_comes_back(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    for (unsigned i = 0; i < 10; i++) {
        end(w, 1);
        assert_int_equal(reap(w, 0), 1);
        assert_int_equal(w->keeper.count, LANE_ARRAYS);
        assert_true(is_asleep(w));
    }
    finish(w, 0);
    put_and_kick(w, 0, 3, true);
    finish(w, 0);
}

static void ring_that_waits_costs_no_time(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    for (unsigned i = 0; i < 20; i++) {
        spin_at_once(w);
        put_and_kick(w, 1, 1, false);
        assert_true(falls_asleep(w));
        end(w, 1);
        assert_true(falls_asleep(w));
    }
    assert_true(w->dev.lanes.first.stats.poll_misses > 0);
    assert_int_equal(w->dev.lanes.first.stats.poll_hits, 0);
    finish(w, 0);
    finish(w, 1);
}

/* Nobody looks at its chain, which would break it now. */
static void ring_that_waits_is_not_looked_at_when_it_is_kicked(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    assert_true(load16(&w->drv[0].ring.used->flags) & VRING_USED_F_NO_NOTIFY);
    driver_set_table(&w->drv[0], w->table[0], SEGMENTS, w->header, 512, VRING_DESC_F_NEXT, 0xffff);
    for (unsigned i = 0; i < 5; i++) {
        kick(w, 0);
        assert_true(is_asleep(w));
    }
    assert_false(w->dev.queue[0].ring.is_broken);
    set_tables(w, 0);
    finish(w, 0);
}

static void short_requests_of_other_rings_pass(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    put_and_kick(w, 1, 5, false);
    assert_int_equal(w->keeper.count, LANE_ARRAYS + 5);
    put_and_kick(w, 1, 5, true);
    assert_int_equal(w->keeper.count, LANE_ARRAYS + 5);
    assert_true(is_asleep(w));
    finish(w, 0);
    finish(w, 1);
}

static void rings_that_wait_take_turns(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    put_and_kick(w, 1, 50, true);
    put_and_kick(w, 2, 50, true);
    for (unsigned i = 0; i < 30; i++) {
        end(w, 1);
    }
    assert_int_equal(w->dev.queue[0].ring.last_avail, LANE_ARRAYS + 10);
    assert_int_equal(w->dev.queue[1].ring.last_avail, 10);
    assert_int_equal(w->dev.queue[2].ring.last_avail, 10);
    finish(w, 0);
    finish(w, 1);
    finish(w, 2);
}

/* Ring 0 comes first where rings are looked at in order; it never waits for an array itself. */
static void ring_that_is_kicked_does_not_overtake_one_that_waits(void **state)
{
    struct world *w = *state;

    put_and_kick(w, 0, 1, true);
    put_and_kick(w, 1, SIZE, true);
    put_and_kick(w, 2, 1, true);
    for (unsigned i = 0; i < 20; i++) {
        put(w, 0, 1, true);
        assert_int_equal(eventfd_write(w->kick[0], 1), 0);
        end(w, 1);
    }
    assert_in_range(w->dev.queue[1].ring.last_avail, LANE_ARRAYS - 1 + 8, LANE_ARRAYS - 1 + 12);
    assert_int_equal(w->dev.queue[2].ring.last_avail, 1);
    for (unsigned i = 0; i < RINGS; i++) {
        finish(w, i);
    }
}

static void paused_device_drains_and_goes_on(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    wait_drained(w, PAUSE_ADMIN);
    assert_int_equal(reap(w, 0), LANE_ARRAYS);
    assert_true(is_asleep(w));
    assert_int_equal(w->dev.lanes.first.quiet, 0);
    image_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, open_keeper(&w->keeper), NULL), 0);
    kick(w, 0);
    assert_int_equal(w->keeper.count, 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    turns(w, 20);
    assert_int_equal(w->keeper.count, SIZE - LANE_ARRAYS);
    finish(w, 0);
}

static void device_that_is_resumed_before_it_is_drained_goes_on(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    end(w, 10);
    assert_int_equal(w->keeper.count, LANE_ARRAYS - 10);
    assert_true(is_asleep(w));
    device_resume(&w->dev, PAUSE_ADMIN);
    turns(w, 3);
    assert_int_equal(w->keeper.count, LANE_ARRAYS);
    finish(w, 0);
}

static void pause_ring(struct world *w, unsigned ring)
{
    unsigned before = w->times_drained;
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    device_ring_pause(&w->dev, ring, &w->drain);
    while (w->times_drained == before) {
        assert_true(now_ns() < deadline_ns);
        end(w, w->keeper.count);
    }
}

static void stopped_ring_tells_where_it_waits(void **state)
{
    struct world *w = *state;
    uint16_t base;

    fill(w, 0);
    pause_ring(w, 0);
    base = device_ring_stop(&w->dev, 0);
    assert_int_equal(base, LANE_ARRAYS);
    assert_int_equal(reap(w, 0), LANE_ARRAYS);
    turns(w, 2);
    assert_true(is_asleep(w));
    start_ring(w, 0, base);
    finish(w, 0);
}

/* Its own requests end first, and leave it what it waits for. */
static void ring_whose_pause_ends_goes_on(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    pause_ring(w, 0);
    assert_int_equal(w->keeper.count, 0);
    device_ring_resume(&w->dev, 0);
    turns(w, 20);
    assert_int_equal(w->keeper.count, SIZE - LANE_ARRAYS);
    finish(w, 0);
}

static void disabled_ring_goes_on_when_it_is_enabled(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    assert_int_equal(device_ring_enable(&w->dev, 0, false, NULL), 0);
    end(w, 1);
    assert_true(is_asleep(w));
    assert_int_equal(w->keeper.count, LANE_ARRAYS - 1);
    assert_int_equal(device_ring_enable(&w->dev, 0, true, NULL), 0);
    turns(w, 3);
    assert_int_equal(w->keeper.count, LANE_ARRAYS);
    finish(w, 0);
}

/* Stop one ring for good: what it leaves is for the other, which waits. */
static void arrays_of_a_stopped_ring_serve_the_other(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    put_and_kick(w, 1, 10, true);
    assert_int_equal(w->dev.queue[1].ring.inflight, 0);
    pause_ring(w, 0);
    (void)device_ring_stop(&w->dev, 0);
    finish(w, 1);
}

static void ring_that_waits_is_found_again_in_new_memory(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    wait_drained(w, PAUSE_MESSAGE);
    mem_clear(&w->dev.view.mem);
    share_memory(w);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    turns(w, 3);
    finish(w, 0);
}

static void ring_that_waits_loses_its_memory(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    wait_drained(w, PAUSE_MESSAGE);
    mem_clear(&w->dev.view.mem);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    kick(w, 0);
    assert_true(is_asleep(w));
    assert_int_equal(device_rings_running(&w->dev), 0);
    assert_int_equal(reap(w, 0), LANE_ARRAYS);
}

static void ring_that_waits_breaks(void **state)
{
    struct world *w = *state;

    fill(w, 0);
    driver_set_table(&w->drv[0], w->table[0], SEGMENTS, w->header, 512, VRING_DESC_F_NEXT, 0xffff);
    end(w, 1);
    assert_true(w->dev.queue[0].ring.is_broken);
    end(w, w->keeper.count);
    assert_int_equal(reap(w, 0), LANE_ARRAYS);
    assert_true(is_asleep(w));
    set_tables(w, 0);
    put_and_kick(w, 1, 10, true);
    finish(w, 1);
}

static void set_lanes(struct world *w, unsigned lanes)
{
    wait_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, lanes, NULL, &w->err), 0);
    for (unsigned i = 0; i < RINGS; i++) {
        assert_ptr_equal(w->dev.queue[i].ring.layout.arrays, &w->dev.queue[i].lane->arrays);
    }
    device_resume(&w->dev, PAUSE_MOVE);
}

static void rings_that_wait_move_to_other_threads(void **state)
{
    struct world *w = *state;
    struct stats stats;

    for (unsigned round = 0; round < 12; round++) {
        for (unsigned ring = 0; ring < RINGS; ring++) {
            put(w, ring, SIZE, true);
            kick(w, ring);
        }
        set_lanes(w, 1 + (round + 1) % RINGS);
        for (unsigned ring = 0; ring < RINGS; ring++) {
            uint64_t deadline_ns = now_ns() + PATIENCE_NS;

            while (w->answered[ring] < SIZE * (round + 1)) {
                assert_true(now_ns() < deadline_ns);
                turns(w, 1);
                reap(w, ring);
            }
        }
    }
    device_stats(&w->dev, &stats);
    assert_int_equal(stats.type[STATS_READ].requests, 12 * RINGS * SIZE);
    assert_int_equal(stats.type[STATS_READ].errors, 0);
}

static void long_requests_allocate_nothing(void **state)
{
    struct world *w = *state;
    unsigned long before;

    fill(w, 0);
    finish(w, 0);
    before = count_alloc();
    for (unsigned i = 0; i < 10; i++) {
        fill(w, 0);
        finish(w, 0);
    }
    assert_int_equal(count_alloc() - before, 0);
}

static void oldest_of_many_is_told(void **state)
{
    struct world *w = *state;
    struct device_oldest oldest;

    fill(w, 1);
    assert_true(device_oldest(&w->dev, &oldest));
    assert_int_equal(oldest.ring, 1);
    assert_int_equal(oldest.length, SEGMENTS * 512);
    finish(w, 1);
    assert_false(device_oldest(&w->dev, &oldest));
}

#define with_image_kept(test) cmocka_unit_test_setup_teardown(test, start_keeper, world_stop)
#define with_image_null(test) cmocka_unit_test_setup_teardown(test, start_null, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_image_kept(ring_that_finds_no_array_goes_on_when_one_comes_back),
        with_image_kept(long_ones_that_wait_leave_arrays_to_others),
        with_image_kept(ring_that_waits_costs_no_time),
        with_image_kept(ring_that_waits_is_not_looked_at_when_it_is_kicked),
        with_image_kept(short_requests_of_other_rings_pass),
        with_image_kept(rings_that_wait_take_turns),
        with_image_kept(ring_that_is_kicked_does_not_overtake_one_that_waits),
        with_image_kept(paused_device_drains_and_goes_on),
        with_image_kept(device_that_is_resumed_before_it_is_drained_goes_on),
        with_image_kept(stopped_ring_tells_where_it_waits),
        with_image_kept(ring_whose_pause_ends_goes_on),
        with_image_kept(disabled_ring_goes_on_when_it_is_enabled),
        with_image_kept(arrays_of_a_stopped_ring_serve_the_other),
        with_image_kept(ring_that_waits_is_found_again_in_new_memory),
        with_image_kept(ring_that_waits_loses_its_memory),
        with_image_kept(ring_that_waits_breaks),
        with_image_null(rings_that_wait_move_to_other_threads),
        with_image_kept(long_requests_allocate_nothing),
        with_image_kept(oldest_of_many_is_told),
    };

    count_alloc_install();
    log_set_level(LOG_LEVEL_ERROR);
    return unit_run(tests);
}
