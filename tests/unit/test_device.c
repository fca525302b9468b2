/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/device/device_state.h"
#include "core/device/device_sync.h"
#include "core/device/lane_mark.h"
#include "tests/unit/count_alloc.h"
#include "tests/unit/device_guest.h"
#include "tests/unit/gate_image.h"

#define RINGS 2
#define RING_SIZE 64
#define DEPTH 16
#define DISK_BYTES (1ull << 30)
#define PATIENCE_NS (10 * NS_PER_S)

/*
 * A device with two rings on a loop, and the guest on the other side of its fds.
 */
struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct drain drain;
    unsigned times_drained;
    bool is_closed;
    struct err err;
};

static const uint64_t modern =
    1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_FLUSH;

static struct image *open_null(uint64_t size)
{
    struct image_opts opts = {.type = "null", .size = size, .max_inflight = 256};
    struct image *image;

    assert(image_open(&image, &opts, NULL) == 0);
    return image;
}

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

/* One turn of the loop, without waiting for anything. */
static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void turns(struct world *w, unsigned count)
{
    while (count-- > 0) {
        turn(w);
    }
}

/* Let the loop run until the ring has `count` used elements to reap. */
static void run_until_used(struct world *w, unsigned index, unsigned count)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    struct pollfd poll_fd = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};

    turn(w);
    while (raw_ring_used_count(w->guest.ring[index].drv) < count) {
        assert_true(now_ns() < deadline_ns);
        poll(&poll_fd, 1, 10);
        turn(w);
    }
}

static uint64_t take_signals(int fd)
{
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* A device with an image, and no guest yet. */
static int bare_start(void **state)
{
    static struct world world;
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 4096,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX,
                           .serial = "device-test"};
    struct device_opts opts = {
        .name = "vda", .queues = RINGS, .queue_size_max = 1024, .awaited = &world.awaited};
    struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = DEPTH, .request_bytes = 65536};

    memset(&world, 0, sizeof(world));
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    assert(device_attach(&world.dev, open_null(DISK_BYTES), NULL) == 0);
    frontend_init(&world.guest, &guest);
    world.drain.done = on_drained;
    *state = &world;
    return 0;
}

static void start_guest(struct world *w, uint64_t features)
{
    device_guest_start(&w->dev, &w->guest, features);
    for (unsigned i = 0; i < RINGS; i++) {
        take_signals(w->guest.ring[i].fds->call);
    }
    turns(w, 3);
    memset(&w->dev.lanes.first.stats, 0, sizeof(w->dev.lanes.first.stats));
}

static int world_start(void **state)
{
    bare_start(state);
    start_guest(*state, modern);
    return 0;
}

static void on_closed(void *arg)
{
    struct world *w = arg;

    w->is_closed = true;
}

static int world_stop(void **state)
{
    struct world *w = *state;
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    struct image *image;

    device_pause(&w->dev, PAUSE_EXIT, NULL);
    gate_open();
    while (w->dev.lanes.first.flight.guest > 0 && now_ns() < deadline_ns) {
        turn(w);
    }
    image = device_detach(&w->dev);
    if (image) {
        image_close(image);
    }
    device_close(&w->dev, on_closed, w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert(w->is_closed);
    assert(uv_loop_close(&w->loop) == 0);
    frontend_fini(&w->guest);
    return 0;
}

/* Put `count` requests of one sector into a ring, at sectors from 0 on. */
static void put(struct world *w, unsigned index, uint32_t type, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request =
            frontend_prepare(&w->guest.ring[index], type, i, type == VIRTIO_BLK_T_FLUSH ? 0 : 512);

        assert_non_null(request);
        frontend_put(request);
    }
}

static void put_and_kick(struct world *w, unsigned index, uint32_t type, unsigned count)
{
    put(w, index, type, count);
    frontend_kick(&w->guest.ring[index]);
}

/* Reap `count` requests, all of which must have been served well. */
static void reap_ok(struct world *w, unsigned index, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request = frontend_reap(&w->guest.ring[index]);

        assert_non_null(request);
        assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
        frontend_release(request);
    }
    assert_null(frontend_reap(&w->guest.ring[index]));
}

static void serve(struct world *w, unsigned index, uint32_t type, unsigned count)
{
    put_and_kick(w, index, type, count);
    run_until_used(w, index, count);
    reap_ok(w, index, count);
}

static void assert_not_served(struct world *w, unsigned index)
{
    turns(w, 5);
    assert_int_equal(raw_ring_used_count(w->guest.ring[index].drv), 0);
}

/* Requests are in flight from now on until the gate is opened. */
static void use_gate(struct world *w)
{
    struct image *image;

    gate_shut();
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    image_close(device_detach(&w->dev));
    assert_int_equal(gate_image_open(&image, DISK_BYTES, &w->err), 0);
    assert_int_equal(device_attach(&w->dev, image, NULL), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    turns(w, 2);
}

/* A file, which is gone when the test ends. */
static void use_file(struct world *w, enum io_engine engine)
{
    struct image_opts opts = {.type = "file",
                              .path = "./test_device.image",
                              .size = DISK_BYTES,
                              .create = true,
                              .cache = CACHE_WRITEBACK,
                              .engine = engine,
                              .max_inflight = 256};
    struct image *image;

    unlink(opts.path);
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    image_close(device_detach(&w->dev));
    assert_int_equal(image_open(&image, &opts, &w->err), 0);
    unlink(opts.path);
    assert_int_equal(device_attach(&w->dev, image, &w->err), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
}

/* ---- requests ---- */

static void kicked_request_is_served_and_signalled(void **state)
{
    struct world *w = *state;

    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 1);
    assert_int_equal(take_signals(w->guest.ring[1].fds->call), 0);
}

static void every_type_is_served(void **state)
{
    struct world *w = *state;

    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    serve(w, 0, VIRTIO_BLK_T_OUT, 1);
    serve(w, 0, VIRTIO_BLK_T_FLUSH, 1);
    serve(w, 0, VIRTIO_BLK_T_GET_ID, 1);
}

static void rings_are_independent(void **state)
{
    struct world *w = *state;

    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 3);
    put_and_kick(w, 0, VIRTIO_BLK_T_OUT, 2);
    run_until_used(w, 1, 3);
    run_until_used(w, 0, 2);
    reap_ok(w, 1, 3);
    reap_ok(w, 0, 2);
}

static void batch_is_signalled_once(void **state)
{
    struct world *w = *state;

    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    take_signals(w->guest.ring[0].fds->call);
    serve(w, 0, VIRTIO_BLK_T_IN, DEPTH);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 1);
}

static void ring_serves_more_requests_than_it_has_entries(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 70000 / DEPTH; i++) { /* 16-bit indices wrap on the way */
        serve(w, 0, VIRTIO_BLK_T_IN, DEPTH);
    }
}

static void event_index_suppresses_signals(void **state)
{
    struct world *w = *state;
    struct frontend_ring *ring = &w->guest.ring[0];

    start_guest(w, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    take_signals(ring->fds->call);
    raw_ring_set_used_event(ring->drv, (uint16_t)(ring->drv->last_used + 2));
    serve(w, 0, VIRTIO_BLK_T_IN, 2);
    assert_int_equal(take_signals(ring->fds->call), 0);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    assert_int_equal(take_signals(ring->fds->call), 1);
    assert_int_equal(w->dev.lanes.first.stats.interrupts_suppressed, 1);
}

/* ---- looking for work instead of sleeping ---- */

#define ROUNDS 500

/* A guest of its own thread that has one request under way at a time. */
static void *guest_thread(void *arg)
{
    struct frontend_ring *ring = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct frontend_request *request = frontend_prepare(ring, VIRTIO_BLK_T_IN, 0, 512);

        frontend_put(request);
        frontend_kick(ring);
        while (raw_ring_used_count(ring->drv) == 0) {
            sched_yield();
        }
        frontend_release(frontend_reap(ring));
    }
    return NULL;
}

static void run_guest_thread(struct world *w, const struct device_poll *opts)
{
    struct pollfd poll_fd = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};
    const struct stats *stats = &w->dev.lanes.first.stats;
    pthread_t thread;

    device_set_poll(&w->dev, opts);
    assert_int_equal(pthread_create(&thread, NULL, guest_thread, &w->guest.ring[0]), 0);
    while (stats->type[STATS_READ].requests < ROUNDS) {
        assert_true(poll(&poll_fd, 1, FRONTEND_TIMEOUT_MS) == 1);
        turn(w);
        while (w->dev.lanes.first.has_turn_work) {
            turn(w);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

#define SILENT 3

/*
 * An image that answers nothing, and a guest that adds a request each time
 * that the device has looked at the image twice: once after it submitted, once in a spin.
 */
struct silent {
    struct image *image;
    struct frontend_ring *ring;
    struct spin *spin; /* the lane's */
    uint64_t spin_ns;
    struct io *taken[DEPTH];
    unsigned count;
    unsigned looks;
};

struct silent_node {
    struct node node;
    struct silent *silent; /* the test's */
};

static struct silent *silent_of(const struct path *path)
{
    return containerof(path->node, struct silent_node, node)->silent;
}

static int silent_open(struct node *node, const void *opts, struct err *err)
{
    containerof(node, struct silent_node, node)->silent = (struct silent *)opts;
    node->facts.size = DISK_BYTES;
    node->facts.block_size = 512;
    return 0;
}

static void silent_start(struct path *path, struct io *io)
{
    struct silent *silent = silent_of(path);

    silent->taken[silent->count++] = io;
    silent->looks = 0;
}

/* Nothing was learned before each spin: on a busy machine it would be that none pays. */
static struct submitted silent_submit(struct path *path)
{
    const struct silent *silent = silent_of(path);

    spin_init(silent->spin, silent->spin_ns, 100);
    return (struct submitted){0};
}

static unsigned silent_reap(struct path *path)
{
    struct silent *silent = silent_of(path);

    if (++silent->looks == 2 && silent->count <= SILENT) {
        frontend_put(frontend_prepare(silent->ring, VIRTIO_BLK_T_IN, 0, 512));
        frontend_kick(silent->ring); /* if the device wants one */
    }
    return 0;
}

static bool silent_is_held_back(const struct path *path)
{
    return false;
}

static int silent_fd(const struct path *path)
{
    static int fd = -1;

    fd = fd < 0 ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : fd;
    return fd;
}

struct silent_type {
    struct node_ops node;
    struct leaf_ops leaf;
};

static struct silent_type silent_type = {
    .node = {.type = "silent",
             .node_bytes = sizeof(struct silent_node),
             .path_bytes = sizeof(struct path),
             .open = silent_open,
             .start = silent_start},
    .leaf = {.fd = silent_fd,
             .submit = silent_submit,
             .reap = silent_reap,
             .is_held_back = silent_is_held_back},
};

static void answer_all(struct silent *silent)
{
    for (unsigned i = 0; i < silent->count; i++) {
        io_end(silent->taken[i], 0);
    }
}

/* An image of the test's own, with the first ring's guest, on a device that may spin so long. */
static void use_silent(struct world *w, struct silent *silent, struct silent_type *type,
                       uint32_t max_us)
{
    const struct device_poll poll = {.max_us = max_us, .cpu_percent = 100};
    struct node *root;

    *silent = (struct silent){
        .ring = &w->guest.ring[0], .spin = &w->dev.lanes.first.spin, .spin_ns = max_us * NS_PER_US};
    type->node.leaf = &type->leaf;
    assert_int_equal(node_open(&root, &type->node, NULL, silent, NULL), 0);
    assert_int_equal(image_new(&silent->image, root), 0);
    image_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, silent->image, NULL), 0);
    device_set_poll(&w->dev, &poll);
}

static void take_back(struct world *w, struct silent *silent)
{
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    assert_ptr_equal(device_detach(&w->dev), silent->image);
    image_close(silent->image);
}

/* Ends at the third look after it was taken, and nobody is told. */
static unsigned mute_reap(struct path *path)
{
    struct silent *silent = silent_of(path);

    if (silent->count == 0 || ++silent->looks < 3) {
        return 0;
    }
    answer_all(silent);
    silent->count = 0;
    path->must_look = false;
    return 1;
}

static void mute_start(struct path *path, struct io *io)
{
    silent_start(path, io);
    path->must_look = true;
}

static void image_that_signals_nothing_is_looked_at(void **state)
{
    struct silent_type type = silent_type;
    struct world *w = *state;
    struct silent mute;

    type.node.start = mute_start;
    type.leaf.reap = mute_reap;
    use_silent(w, &mute, &type, 0);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    while (raw_ring_used_count(w->guest.ring[0].drv) == 0) {
        uv_run(&w->loop, UV_RUN_ONCE); /* sleeps, but not for ever */
    }
    reap_ok(w, 0, 1);
    take_back(w, &mute);
}

/* An image on another lane, which answers by a message, or sends one that has nothing to do with
 * it. */
struct mailed {
    struct silent silent;
    struct message message;
    struct path *path;
    bool brings_answer;
};

static void run_mailed(struct message *message)
{
    struct mailed *mailed = containerof(message, struct mailed, message);

    if (mailed->brings_answer) {
        context_wake(mailed->path->context);
        answer_all(&mailed->silent);
        mailed->silent.count = 0;
    }
}

/* It comes between two looks of a spin. */
static unsigned mailed_reap(struct path *path)
{
    struct mailed *mailed = containerof(silent_of(path), struct mailed, silent);

    if (mailed->silent.count > 0 && ++mailed->silent.looks == 2) {
        mailed->path = path;
        mailed->message.run = run_mailed;
        context_send(path->context, &mailed->message);
    }
    return 0;
}

static void use_mailed(struct world *w, struct mailed *mailed, struct silent_type *type)
{
    *type = silent_type;
    type->leaf.reap = mailed_reap;
    use_silent(w, &mailed->silent, type, DEVICE_POLL_US_MAX);
}

static void answer_that_comes_as_a_message_is_a_hit(void **state)
{
    struct world *w = *state;
    const struct lane *lane = &w->dev.lanes.first;
    struct mailed mailed = {.brings_answer = true};
    struct silent_type type;
    uint64_t before;

    use_mailed(w, &mailed, &type);
    before = lane->stats.poll_hits;
    for (unsigned i = 0; i < 5; i++) {
        serve(w, 0, VIRTIO_BLK_T_IN, 1);
        assert_int_equal(lane->spin.history[SPIN_FOR_IMAGE].misses, 0);
        assert_int_equal(lane->spin.history[SPIN_FOR_IMAGE].skip, 0);
    }
    assert_true(lane->stats.poll_hits > before);
    take_back(w, &mailed.silent);
}

/* As those that park a lane. */
static void message_of_somebody_else_is_no_hit_and_no_miss(void **state)
{
    struct world *w = *state;
    const struct lane *lane = &w->dev.lanes.first;
    struct mailed mailed = {.brings_answer = false};
    struct stats before, after;
    struct silent_type type;

    use_mailed(w, &mailed, &type);
    device_stats(&w->dev, &before);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(mailed.silent.looks, 2);
    device_stats(&w->dev, &after);
    assert_int_equal(after.poll_hits, before.poll_hits);
    assert_int_equal(after.poll_misses, before.poll_misses);
    assert_int_equal(lane->spin.history[SPIN_FOR_IMAGE].misses, 0);
    mailed.brings_answer = true;
    context_send(mailed.path->context, &mailed.message);
    run_until_used(w, 0, 1);
    reap_ok(w, 0, 1);
    assert_int_equal(lane->spin.history[SPIN_FOR_IMAGE].misses, 0);
    take_back(w, &mailed.silent);
}

/* An image that keeps what it gets, and how much each submit gave it. */
struct slow {
    struct silent silent;
    unsigned given[DEPTH];
    unsigned submits;
    unsigned started;
};

static struct submitted slow_submit(struct path *path)
{
    struct slow *slow = containerof(silent_of(path), struct slow, silent);
    unsigned count = slow->silent.count - slow->started;

    if (count > 0) {
        slow->given[slow->submits++] = count;
    }
    slow->started += count;
    return (struct submitted){.operations = count};
}

static unsigned no_reap(struct path *path)
{
    return 0;
}

/* Every other slot has held a write that had to be stable. */
static void reads_are_merged_whatever_their_slots_were_used_for(void **state)
{
    struct world *w = *state;
    const struct stats *stats = &w->dev.lanes.first.stats;
    uint64_t before;

    use_file(w, ENGINE_AIO);
    device_set_writeback(&w->dev, false);
    for (unsigned i = 0; i < DEPTH / 2; i++) {
        put(w, 0, VIRTIO_BLK_T_OUT, 1);
        put(w, 0, VIRTIO_BLK_T_IN, 1);
    }
    frontend_kick(&w->guest.ring[0]);
    run_until_used(w, 0, DEPTH);
    reap_ok(w, 0, DEPTH);
    for (unsigned i = 0; i < 2; i++) {
        w->dev.lanes.first.image_goes_on = false; /* else it gets its first few at once */
        before = stats->submitted;
        serve(w, 0, VIRTIO_BLK_T_IN, DEPTH);
        assert_int_equal(stats->submitted - before, 1);
    }
}

/* None continues another. */
static void put_apart_and_kick(struct world *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        frontend_put(frontend_prepare(&w->guest.ring[0], VIRTIO_BLK_T_IN, (uint64_t)i * 2, 512));
    }
    frontend_kick(&w->guest.ring[0]);
}

/* The image is at work beside us since the first one. */
static void give_after_one(struct world *w, const unsigned *wanted, unsigned count)
{
    struct silent_type type = silent_type;
    struct slow slow = {.submits = 0};
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    type.leaf.submit = slow_submit;
    type.leaf.reap = no_reap;
    use_silent(w, &slow.silent, &type, 0);
    put_apart_and_kick(w, 1);
    turns(w, 2);
    put_apart_and_kick(w, DEPTH - 1);
    while (slow.started < DEPTH && now_ns() < deadline_ns) {
        turn(w);
    }
    assert_int_equal(slow.submits, count);
    assert_memory_equal(slow.given, wanted, count * sizeof(*wanted));
    answer_all(&slow.silent);
    take_back(w, &slow.silent);
}

static void image_that_works_beside_us_begins_with_few(void **state)
{
    static const unsigned wanted[] = {1, 4, 4, 4, 3};

    give_after_one(*state, wanted, ARRAY_SIZE(wanted));
}

static void batch_that_is_set_is_kept(void **state)
{
    static const unsigned wanted[] = {1, 7, 7, 1};
    struct world *w = *state;

    device_set_batch(&w->dev, 7);
    give_after_one(w, wanted, ARRAY_SIZE(wanted));
}

static void batch_that_is_set_is_kept_where_the_image_ends_at_once(void **state)
{
    struct world *w = *state;

    use_file(w, ENGINE_AIO);
    device_set_batch(&w->dev, 3);
    put_apart_and_kick(w, DEPTH);
    run_until_used(w, 0, DEPTH);
    reap_ok(w, 0, DEPTH);
    assert_int_equal(w->dev.lanes.first.stats.submissions, (DEPTH + 2) / 3);
}

static void spinning_device_needs_no_kicks(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent(w, &silent, &silent_type, 1000);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(silent.count, 1 + SILENT);
    assert_int_equal(w->dev.lanes.first.stats.kicks, 1);
    assert_int_equal(w->dev.lanes.first.stats.poll_hits, SILENT);
    assert_true(w->dev.lanes.first.stats.poll_time_ns > 0);
    answer_all(&silent);
    take_back(w, &silent);
}

static void spinning_device_needs_no_kicks_with_event_index(void **state)
{
    start_guest(*state, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    spinning_device_needs_no_kicks(state);
}

/* The guest adds a request while we submit, unseen until kicks are on again: that is no wait. */
static unsigned eager_reap(struct path *path)
{
    struct silent *silent = silent_of(path);

    if (silent->looks++ == 0 && silent->count == 1) {
        frontend_put(frontend_prepare(silent->ring, VIRTIO_BLK_T_IN, 0, 512));
        frontend_kick(silent->ring); /* shows it; the device wants no kick */
    }
    return 0;
}

static void work_that_is_there_when_we_would_sleep_was_not_waited_for(void **state)
{
    struct silent_type type = silent_type;
    struct world *w = *state;
    struct silent silent;
    struct spin_history *history = &w->dev.lanes.first.spin.history[SPIN_FOR_IMAGE];

    type.leaf.reap = eager_reap;
    use_silent(w, &silent, &type, 1000);
    history->skip = 100;
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(silent.count, 2);
    assert_int_equal(history->expect_ns, 0);
    answer_all(&silent);
    take_back(w, &silent);
}

static void device_that_may_not_spin_is_kicked(void **state)
{
    static const struct device_poll poll = {.max_us = 0, .cpu_percent = 100};
    struct world *w = *state;

    run_guest_thread(w, &poll);
    assert_in_range(w->dev.lanes.first.stats.kicks, 1, ROUNDS); /* fewer: some come during a turn */
}

static void device_that_may_not_spin_leaves_the_image_alone(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent(w, &silent, &silent_type, 0);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(silent.count, 1);
    assert_int_equal(w->dev.lanes.first.stats.poll_hits + w->dev.lanes.first.stats.poll_misses, 0);
    answer_all(&silent);
    take_back(w, &silent);
}

/* Nobody reads the kick fd: the loop must not turn for ever on what is in it. */
static void kick_that_is_served_wakes_nobody_again(void **state)
{
    struct world *w = *state;
    struct pollfd poll_fd = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};

    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 2);
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    assert_int_equal(w->dev.lanes.first.stats.kicks, 2);
}

/* ---- pause, drain, resume ---- */

static void paused_device_takes_nothing_and_loses_nothing(void **state)
{
    struct world *w = *state;

    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 5);
    assert_not_served(w, 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until_used(w, 0, 5);
    reap_ok(w, 0, 5);
}

static void resume_acts_as_if_kicked(void **state)
{
    struct world *w = *state;

    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    put(w, 0, VIRTIO_BLK_T_IN, 5);
    (void)ring_driver_show(w->guest.ring[0].drv); /* shown, and no kick */
    assert_not_served(w, 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until_used(w, 0, 5);
    reap_ok(w, 0, 5);
}

static void reasons_do_not_undo_each_other(void **state)
{
    struct world *w = *state;

    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    device_pause(&w->dev, PAUSE_MESSAGE, NULL);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    device_resume(&w->dev, PAUSE_ADMIN);
    assert_not_served(w, 0);
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_not_served(w, 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until_used(w, 0, 1);
    reap_ok(w, 0, 1);
}

static void drain_waits_for_what_is_in_flight(void **state)
{
    struct world *w = *state;

    use_gate(w);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 4);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 4);
    turns(w, 3);
    assert_int_equal(w->dev.lanes.first.flight.guest, 8);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 0);
    gate_open();
    run_until_used(w, 0, 4);
    run_until_used(w, 1, 4);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    reap_ok(w, 0, 4); /* published: the guest got them all */
    reap_ok(w, 1, 4);
    assert_true(take_signals(w->guest.ring[0].fds->call) > 0);
}

static void drain_is_never_done_from_within_the_call(void **state)
{
    struct world *w = *state;

    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    assert_int_equal(w->times_drained, 0);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    turns(w, 5);
    assert_int_equal(w->times_drained, 1);
}

static void cancelled_drain_is_not_done(void **state)
{
    struct world *w = *state;

    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    device_drain_cancel(&w->dev, &w->drain);
    device_drain_cancel(&w->dev, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 0);
}

static void two_drains_are_both_done(void **state)
{
    struct world *w = *state;
    static struct world second = {.drain = {.done = on_drained}};

    use_gate(w);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 2);
    device_pause(&w->dev, PAUSE_MESSAGE, &second.drain);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    gate_open();
    run_until_used(w, 0, 1);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    assert_int_equal(second.times_drained, 1);
}

static void paused_ring_leaves_the_others_alone(void **state)
{
    struct world *w = *state;

    use_gate(w);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 1);
    turns(w, 2);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 1); /* though ring 1 has one in flight */
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 1);
    gate_open();
    run_until_used(w, 1, 2);
    assert_not_served(w, 0);
}

static void stopped_ring_tells_where_to_go_on(void **state)
{
    struct world *w = *state;
    struct frontend_ring *ring = &w->guest.ring[0];

    serve(w, 0, VIRTIO_BLK_T_IN, 7);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    put(w, 0, VIRTIO_BLK_T_IN, 2);
    (void)ring_driver_show(ring->drv);
    assert_int_equal(device_ring_stop(&w->dev, 0), 7);
    assert_int_equal(device_rings_running(&w->dev), 1);
    assert_not_served(w, 0);

    struct ring_addr addr = device_guest_addr(&w->guest, 0);

    assert_int_equal(device_ring_set_size(&w->dev, 0, RING_SIZE, NULL), 0);
    assert_int_equal(device_ring_set_base(&w->dev, 0, 7, NULL), 0);
    assert_int_equal(device_ring_set_addr(&w->dev, 0, &addr, NULL), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, 0, dup(ring->fds->kick), NULL), 0);
    run_until_used(w, 0, 2);
    reap_ok(w, 0, 2);
}

static void restart_ring(struct world *w, uint32_t base)
{
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 2);
    (void)device_ring_stop(&w->dev, 0);
    device_guest_start_ring(&w->dev, &w->guest, 0, base);
}

static bool is_in_doubt(struct world *w)
{
    struct device_info info;

    device_info(&w->dev, &info);
    return info.is_in_doubt;
}

/* What it was told of its cache is known: nobody else has served it since. */
static void driver_that_began_here_is_not_in_doubt(void **state)
{
    struct world *w = *state;

    start_guest(w, modern | 1ull << VIRTIO_BLK_F_CONFIG_WCE);
    serve(w, 0, VIRTIO_BLK_T_IN, 7);
    restart_ring(w, 7);
    assert_false(is_in_doubt(w));
}

static void driver_that_goes_on_is_in_doubt_until_it_flushes(void **state)
{
    struct world *w = *state;

    start_guest(w, modern | 1ull << VIRTIO_BLK_F_CONFIG_WCE);
    serve(w, 0, VIRTIO_BLK_T_IN, 7);
    device_pause(&w->dev, PAUSE_GONE, NULL);
    turns(w, 2);
    device_reset(&w->dev); /* it connects again, elsewhere for all that we know */
    assert_false(is_in_doubt(w));
    start_guest(w, modern | 1ull << VIRTIO_BLK_F_CONFIG_WCE);
    assert_true(is_in_doubt(w));
    serve(w, 1, VIRTIO_BLK_T_OUT, 1);
    assert_true(is_in_doubt(w));
    serve(w, 1, VIRTIO_BLK_T_FLUSH, 1);
    assert_false(is_in_doubt(w));
}

static void stop_with_requests_in_flight_waits_for_them(void **state)
{
    struct world *w = *state;

    use_gate(w);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 5);
    turns(w, 2);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 2);
    assert_int_equal(w->times_drained, 0);
    gate_open();
    run_until_used(w, 0, 5);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    assert_int_equal(device_ring_stop(&w->dev, 0), 5);
    reap_ok(w, 0, 5);
}

/* ---- setting up ---- */

static void new_call_fd_is_signalled_once(void **state)
{
    struct world *w = *state;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_int_equal(device_ring_set_call(&w->dev, 0, dup(fd), NULL), 0);
    assert_int_equal(take_signals(fd), 1);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    assert_int_equal(take_signals(fd), 1);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 0);
    close(fd);
}

static void ring_without_a_call_fd_is_served(void **state)
{
    struct world *w = *state;

    assert_int_equal(device_ring_set_call(&w->dev, 0, -1, NULL), 0);
    serve(w, 0, VIRTIO_BLK_T_IN, 2);
}

static void new_kick_fd_replaces_the_old(void **state)
{
    struct world *w = *state;
    struct frontend_ring *ring = &w->guest.ring[0];
    int old = ring->fds->kick;

    ring->fds->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(device_ring_set_kick(&w->dev, 0, dup(ring->fds->kick), NULL), 0);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    close(old);
}

static void parts_of_a_ring_may_come_in_any_order(void **state)
{
    struct world *w = *state;
    struct frontend_ring *ring = &w->guest.ring[0];
    struct ring_addr addr = device_guest_addr(&w->guest, 0);

    device_guest_share(&w->dev, &w->guest);
    device_guest_accept(&w->dev, &w->guest, modern);
    device_resume(&w->dev, PAUSE_ADMIN);
    device_resume(&w->dev, PAUSE_GONE);
    assert_int_equal(device_ring_enable(&w->dev, 0, true, NULL), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, 0, dup(ring->fds->kick), NULL), 0);
    assert_int_equal(device_ring_set_addr(&w->dev, 0, &addr, NULL), 0);
    assert_int_equal(device_rings_running(&w->dev), 0);
    assert_int_equal(device_ring_set_size(&w->dev, 0, RING_SIZE, NULL), 0);
    assert_int_equal(device_rings_running(&w->dev), 1);
    serve(w, 0, VIRTIO_BLK_T_IN, 3);
}

static void ring_may_be_complete_before_there_is_memory(void **state)
{
    struct world *w = *state;

    device_guest_accept(&w->dev, &w->guest, modern);
    device_resume(&w->dev, PAUSE_ADMIN);
    device_resume(&w->dev, PAUSE_GONE);
    device_guest_start_ring(&w->dev, &w->guest, 0, 0);
    assert_int_equal(device_rings_running(&w->dev), 0);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    assert_int_equal(device_rings_running(&w->dev), 1);
    serve(w, 0, VIRTIO_BLK_T_IN, 3);
}

static void disabled_ring_waits_until_it_is_enabled(void **state)
{
    struct world *w = *state;

    assert_int_equal(device_ring_enable(&w->dev, 0, false, NULL), 0);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 2);
    assert_not_served(w, 0);
    assert_int_equal(device_ring_enable(&w->dev, 0, true, NULL), 0);
    run_until_used(w, 0, 2);
    reap_ok(w, 0, 2);
}

/* A refusal carries a sentence. */
static void assert_refused(struct world *w, int ret, int code)
{
    assert_int_equal(ret, code);
    assert_string_not_equal(w->err.text, "");
    w->err.text[0] = '\0';
}

static void crooked_ring_sizes_are_refused(void **state)
{
    static const unsigned sizes[] = {0, 3, 1025, 65536, UINT32_MAX};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_refused(w, device_ring_set_size(&w->dev, 0, sizes[i], &w->err), -EINVAL);
    }
    for (unsigned size = 1; size <= 1024; size *= 2) {
        assert_int_equal(device_ring_set_size(&w->dev, 0, size, &w->err), 0);
    }
}

static void larger_rings_than_the_disk_allows_are_refused_by_name(void **state)
{
    struct world *w = *state;

    assert_int_equal(device_ring_set_size(&w->dev, 0, 2048, &w->err), -EINVAL);
    assert_non_null(strstr(w->err.text, "size 2048"));
    assert_non_null(strstr(w->err.text, "--queue-size 1024"));
    assert_non_null(strstr(w->err.text, "--queue-size 2048"));
}

static void rings_that_do_not_exist_are_refused(void **state)
{
    struct world *w = *state;
    struct ring_addr addr = {0};

    assert_refused(w, device_ring_set_size(&w->dev, RINGS, 8, &w->err), -EINVAL);
    assert_refused(w, device_ring_set_base(&w->dev, RINGS, 0, &w->err), -EINVAL);
    assert_refused(w, device_ring_set_addr(&w->dev, 9999, &addr, &w->err), -EINVAL);
    assert_refused(w, device_ring_set_kick(&w->dev, RINGS, -1, &w->err), -EINVAL);
    assert_refused(w, device_ring_set_call(&w->dev, UINT32_MAX, -1, &w->err), -EINVAL);
    assert_refused(w, device_ring_set_err(&w->dev, RINGS, -1, &w->err), -EINVAL);
    assert_refused(w, device_ring_enable(&w->dev, RINGS, true, &w->err), -EINVAL);
}

static void base_past_16_bits_is_refused(void **state)
{
    struct world *w = *state;

    assert_refused(w, device_ring_set_base(&w->dev, 0, 65536, &w->err), -EINVAL);
    assert_int_equal(device_ring_set_base(&w->dev, 0, 65535, &w->err), 0);
}

static void addresses_outside_memory_are_refused(void **state)
{
    struct world *w = *state;
    struct ring_addr good = device_guest_addr(&w->guest, 0);
    struct ring_addr bad;
    uint64_t end = (uintptr_t)w->guest.arena.host + w->guest.arena.size;

    device_guest_share(&w->dev, &w->guest);
    assert_int_equal(device_ring_set_size(&w->dev, 0, RING_SIZE, NULL), 0);
    bad = good;
    bad.desc = end - 16 * RING_SIZE + 16;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EFAULT);
    bad = good;
    bad.avail = end - 2;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EFAULT);
    bad = good;
    bad.used = 0;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EFAULT);
    bad = good;
    bad.used = UINT64_MAX - 3;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EFAULT);
    assert_int_equal(device_ring_set_addr(&w->dev, 0, &good, NULL), 0);
}

static void misaligned_addresses_are_refused(void **state)
{
    struct world *w = *state;
    struct ring_addr good = device_guest_addr(&w->guest, 0);
    struct ring_addr bad = good;

    device_guest_share(&w->dev, &w->guest);
    assert_int_equal(device_ring_set_size(&w->dev, 0, RING_SIZE, NULL), 0);
    bad.desc += 8;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EINVAL);
    bad = good;
    bad.avail += 1;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EINVAL);
    bad = good;
    bad.used += 2;
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &bad, &w->err), -EINVAL);
}

static void ring_bad_until_it_is_complete_is_refused_at_the_end(void **state)
{
    struct world *w = *state;
    struct ring_addr bad = {.desc = 0x1000, .avail = 0x2000, .used = 0x3000};
    int fd = dup(w->guest.ring[0].fds->kick);

    assert_int_equal(device_ring_set_addr(&w->dev, 0, &bad, &w->err), 0); /* no size, no memory */
    assert_int_equal(device_ring_set_size(&w->dev, 0, 8, &w->err), 0);
    device_guest_share(&w->dev, &w->guest);
    assert_refused(w, device_ring_set_kick(&w->dev, 0, fd, &w->err), -EFAULT);
    assert_int_equal(close(fd), 0); /* still ours */
    turns(w, 2);
}

static void running_ring_cannot_be_changed(void **state)
{
    struct world *w = *state;
    struct ring_addr addr = device_guest_addr(&w->guest, 1);

    assert_refused(w, device_ring_set_size(&w->dev, 0, 8, &w->err), -EBUSY);
    assert_refused(w, device_ring_set_base(&w->dev, 0, 1, &w->err), -EBUSY);
    assert_refused(w, device_ring_set_addr(&w->dev, 0, &addr, &w->err), -EBUSY);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
}

static void features_that_are_not_offered_are_refused(void **state)
{
    struct world *w = *state;

    assert_int_equal(device_set_features(&w->dev, 1ull << 63), -EINVAL);
    assert_int_equal(device_set_features(&w->dev, 1ull << VIRTIO_BLK_F_SCSI), -EINVAL);
    assert_int_equal(device_set_features(&w->dev, device_features(&w->dev)), 0);
    assert_int_equal(device_set_features(&w->dev, 0), 0);
}

static void offered_features_have_the_ring_bits(void **state)
{
    struct world *w = *state;
    uint64_t features = device_features(&w->dev);

    assert_true(features >> VIRTIO_F_VERSION_1 & 1);
    assert_true(features >> VIRTIO_RING_F_INDIRECT_DESC & 1);
    assert_true(features >> VIRTIO_RING_F_EVENT_IDX & 1);
    assert_true(features >> VIRTIO_BLK_F_FLUSH & 1);
    assert_false(features >> VIRTIO_F_RING_PACKED & 1);
    assert_false(features >> VIRTIO_F_ACCESS_PLATFORM & 1);
}

static void kick_fd_that_cannot_be_polled_is_refused(void **state)
{
    struct world *w = *state;
    int fd = memfd_create("no eventfd", MFD_CLOEXEC);

    assert_true(device_ring_set_kick(&w->dev, 0, fd, &w->err) < 0);
    assert_string_not_equal(w->err.text, "");
    assert_int_equal(close(fd), 0);
    turns(w, 2);
}

static void kick_fd_at_its_end_does_not_spin(void **state)
{
    struct world *w = *state;
    struct pollfd poll_fd = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, 0, fds[0], &w->err), 0);
    close(fds[1]);
    turns(w, 5);
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    serve(w, 1, VIRTIO_BLK_T_IN, 1);
}

static void kick(struct world *w)
{
    uint64_t one = 1;

    assert_int_equal(write(w->guest.ring[0].fds->kick, &one, sizeof(one)), sizeof(one));
    turns(w, 3);
}

/* The first may be the monitor's own, for a ring that the driver has not used yet. */
static void driver_that_kicks_unseen_is_told_of(void **state)
{
    struct world *w = *state;

    kick(w);
    assert_false(queue_is_blind(&w->dev.queue[0]));
    kick(w);
    assert_true(queue_is_blind(&w->dev.queue[0]));
    assert_false(queue_is_blind(&w->dev.queue[1]));
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    assert_false(queue_is_blind(&w->dev.queue[0]));
}

/* A kick that finds its request served already, as disks look without being kicked. */
static void driver_that_was_seen_may_kick_for_nothing(void **state)
{
    struct world *w = *state;

    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    kick(w);
    kick(w);
    kick(w);
    assert_false(queue_is_blind(&w->dev.queue[0]));
}

static void driver_that_kicks_without_memory_is_told_of(void **state)
{
    struct world *w = *state;

    device_guest_start_ring(&w->dev, &w->guest, 0, 0);
    assert_false(queue_is_blind(&w->dev.queue[0]));
    kick(w);
    assert_true(queue_is_blind(&w->dev.queue[0]));
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    assert_false(queue_is_blind(&w->dev.queue[0]));
}

/* The transport hands over fds that do not block; one that is full has a signal waiting. */
static void full_call_fd_is_no_error(void **state)
{
    struct world *w = *state;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(fds[1], w, 4096) > 0) {
    }
    assert_int_equal(device_ring_set_call(&w->dev, 0, fds[1], &w->err), 0);
    serve(w, 0, VIRTIO_BLK_T_IN, 2);
    close(fds[0]);
}

static void reset_device_is_as_new(void **state)
{
    struct world *w = *state;

    serve(w, 0, VIRTIO_BLK_T_IN, 3);
    device_pause(&w->dev, PAUSE_GONE, &w->drain);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    device_reset(&w->dev);
    assert_int_equal(device_rings_running(&w->dev), 0);
    assert_int_equal(w->dev.view.mem.count, 0);
    assert_int_equal(w->dev.view.blk.features, 0);
    for (unsigned i = 0; i < RINGS; i++) {
        raw_ring_reset(w->guest.ring[i].drv, 0);
    }
    start_guest(w, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    serve(w, 0, VIRTIO_BLK_T_IN, 3);
    serve(w, 1, VIRTIO_BLK_T_IN, 3);
}

static void reset_gives_up_all_fds(void **state)
{
    struct world *w = *state;
    int before = dup(0), after;

    close(before);
    for (unsigned i = 0; i < 50; i++) {
        start_guest(w, modern);
        device_pause(&w->dev, PAUSE_GONE, NULL);
        turns(w, 3);
        device_reset(&w->dev);
        turns(w, 2);
    }
    after = dup(0);
    close(after);
    assert_int_equal(after, before);
}

/* ---- guests that misbehave ---- */

static void broken_ring_leaves_the_others_alive(void **state)
{
    struct world *w = *state;
    struct ring_driver *drv = w->guest.ring[0].drv;
    uint64_t one = 1;

    raw_ring_offer(drv, RING_SIZE + 5);
    assert_int_equal(write(w->guest.ring[0].fds->kick, &one, sizeof(one)), sizeof(one));
    turns(w, 3);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    serve(w, 1, VIRTIO_BLK_T_IN, 5);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    assert_not_served(w, 0);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 0); /* told once */
}

static void chain_without_a_status_breaks_only_its_ring(void **state)
{
    struct world *w = *state;
    struct ring_driver *drv = w->guest.ring[0].drv;
    struct ring_piece pieces[] = {{w->guest.arena.host, 16, false}};
    uint64_t one = 1;

    assert_true(ring_driver_add(drv, pieces, 1) >= 0);
    (void)ring_driver_show(drv);
    assert_int_equal(write(w->guest.ring[0].fds->kick, &one, sizeof(one)), sizeof(one));
    turns(w, 3);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    assert_int_equal(w->dev.lanes.first.flight.guest, 0);
    serve(w, 1, VIRTIO_BLK_T_IN, 5);
}

static void broken_ring_still_answers_what_is_in_flight(void **state)
{
    struct world *w = *state;
    struct ring_driver *drv = w->guest.ring[0].drv;
    uint64_t one = 1;

    use_gate(w);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 3);
    turns(w, 2);
    raw_ring_offer(drv, RING_SIZE + 5);
    assert_int_equal(write(w->guest.ring[0].fds->kick, &one, sizeof(one)), sizeof(one));
    turns(w, 2);
    gate_open();
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
    assert_int_equal(w->dev.lanes.first.flight.guest, 0);
}

static void stopped_ring_can_be_started_after_it_broke(void **state)
{
    struct world *w = *state;
    uint64_t one = 1;

    raw_ring_offer(w->guest.ring[0].drv, 1000);
    assert_int_equal(write(w->guest.ring[0].fds->kick, &one, sizeof(one)), sizeof(one));
    turns(w, 3);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    device_ring_stop(&w->dev, 0);
    raw_ring_reset(w->guest.ring[0].drv, 0);
    device_guest_start_ring(&w->dev, &w->guest, 0, 0);
    serve(w, 0, VIRTIO_BLK_T_IN, 2);
}

static void refused_request_is_answered_and_counted(void **state)
{
    struct world *w = *state;
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[0], VIRTIO_BLK_T_IN, DISK_BYTES / 512, 512);

    frontend_put(request);
    frontend_kick(&w->guest.ring[0]);
    run_until_used(w, 0, 1);
    assert_ptr_equal(frontend_reap(&w->guest.ring[0]), request);
    assert_int_equal(request->blk->status, VIRTIO_BLK_S_IOERR);
    assert_int_equal(w->dev.lanes.first.stats.invalid, 1);
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_READ].errors, 1);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
}

static void storm_of_kicks_serves_each_request_once(void **state)
{
    struct world *w = *state;
    uint64_t many = 1000000;

    put(w, 0, VIRTIO_BLK_T_IN, 3);
    (void)ring_driver_show(w->guest.ring[0].drv);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(write(w->guest.ring[0].fds->kick, &many, sizeof(many)), sizeof(many));
        turn(w);
    }
    reap_ok(w, 0, 3);
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_READ].requests, 3);
}

static void truncated_memory_breaks_the_rings_and_nothing_else(void **state)
{
    struct world *w = *state;

    mem_guard_install();
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 3);
    assert_int_equal(ftruncate(w->guest.arena.fd, 0), 0);
    turns(w, 3);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    assert_int_equal(w->dev.lanes.first.flight.guest, 0);
    device_pause(&w->dev, PAUSE_GONE, NULL);
    turns(w, 2);
    device_reset(&w->dev);
    assert_int_equal(ftruncate(w->guest.arena.fd, (off_t)w->guest.arena.size), 0);
    for (unsigned i = 0; i < RINGS; i++) {
        raw_ring_reset(w->guest.ring[i].drv, 0);
    }
    start_guest(w, modern);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 2);
    run_until_used(w, 1, 2);
}

/* ---- memory and image that change ---- */

static void rings_are_found_again_after_memory_was_mapped_anew(void **state)
{
    struct world *w = *state;

    serve(w, 0, VIRTIO_BLK_T_IN, 3);
    device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 2);
    mem_clear(&w->dev.view.mem);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    run_until_used(w, 0, 2);
    reap_ok(w, 0, 2);
}

static void ring_that_lost_its_memory_is_broken(void **state)
{
    struct world *w = *state;

    device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
    turns(w, 2);
    mem_clear(&w->dev.view.mem);
    device_memory_changed(&w->dev);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_not_served(w, 0);
}

static void image_of_the_same_size_is_taken(void **state)
{
    struct world *w = *state;

    image_close(device_detach(&w->dev));
    assert_null(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, open_null(DISK_BYTES), &w->err), 0);
}

static void image_that_has_grown_is_told(void **state)
{
    struct world *w = *state;
    uint64_t capacity;

    image_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, open_null(2 * DISK_BYTES), &w->err), 1);
    blk_config_read(&w->dev.view.blk, 0, &capacity, 8);
    assert_int_equal(capacity, 2 * DISK_BYTES / 512);
}

static void image_that_has_shrunk_is_refused(void **state)
{
    struct world *w = *state;
    struct image *small = open_null(DISK_BYTES / 2);

    image_close(device_detach(&w->dev));
    assert_refused(w, device_attach(&w->dev, small, &w->err), -EINVAL);
    image_close(small);
}

/* ---- what is told ---- */

static void counters_are_exact(void **state)
{
    struct world *w = *state;
    const struct stats *stats = &w->dev.lanes.first.stats;

    serve(w, 0, VIRTIO_BLK_T_IN, 5);
    serve(w, 1, VIRTIO_BLK_T_OUT, 3);
    serve(w, 0, VIRTIO_BLK_T_FLUSH, 2);
    serve(w, 0, VIRTIO_BLK_T_GET_ID, 1);
    assert_int_equal(stats->type[STATS_READ].requests, 5);
    assert_int_equal(stats->type[STATS_READ].bytes, 5 * 512);
    assert_int_equal(stats->type[STATS_WRITE].requests, 3);
    assert_int_equal(stats->type[STATS_WRITE].bytes, 3 * 512);
    assert_int_equal(stats->type[STATS_FLUSH].requests, 2);
    assert_int_equal(stats->type[STATS_OTHER].requests, 1);
    assert_int_equal(stats->type[STATS_READ].errors, 0);
    assert_int_equal(stats->invalid, 0);
    assert_int_equal(stats->kicks, 4);
    assert_int_equal(stats->interrupts, 4);
    assert_int_equal(stats->inflight, 0);
}

static void inflight_is_counted_while_it_lasts(void **state)
{
    struct world *w = *state;

    use_gate(w);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 5);
    put_and_kick(w, 1, VIRTIO_BLK_T_OUT, 4);
    turns(w, 3);
    assert_int_equal(w->dev.lanes.first.flight.guest, 9);
    poll(NULL, 0, 30);
    gate_open();
    run_until_used(w, 0, 5);
    run_until_used(w, 1, 4);
    assert_int_equal(w->dev.lanes.first.flight.guest, 0);
    assert_int_equal(w->dev.lanes.first.stats.inflight_max, 9);
    assert_true(w->dev.lanes.first.stats.type[STATS_READ].time_ns >= 5 * 30 * NS_PER_MS);
}

static void oldest_in_flight_is_told(void **state)
{
    struct world *w = *state;
    struct device_oldest oldest;

    assert_false(device_oldest(&w->dev, &oldest));
    use_gate(w);
    put_and_kick(w, 1, VIRTIO_BLK_T_OUT, 1);
    turns(w, 2);
    poll(NULL, 0, 5);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 3);
    turns(w, 2);
    assert_true(device_oldest(&w->dev, &oldest));
    assert_int_equal(oldest.ring, 1);
    assert_int_equal(oldest.kind, STATS_WRITE);
    assert_int_equal(oldest.length, 512);
    assert_true(oldest.age_ns >= 5 * NS_PER_MS);
    gate_open();
    run_until_used(w, 0, 3);
    run_until_used(w, 1, 1);
}

/* ---- wishes of the driver that come late ---- */

/* The guest asks for interrupts, after what it was shown was not signalled. */
static struct submitted submit_and_ask(struct path *path)
{
    struct silent *silent = silent_of(path);

    (void)ring_driver_interrupts(silent->ring->drv, true); /* as if it had seen no answer */
    return (struct submitted){0};
}

/* Answer one request, of which the guest does not want to be told, without the image. */
static void answer_untold(struct world *w)
{
    struct frontend_ring *ring = &w->guest.ring[0];

    (void)ring_driver_interrupts(ring->drv, false);
    put_and_kick(w, 0, VIRTIO_BLK_T_GET_ID, 1);
    run_until_used(w, 0, 1);
}

static void use_silent_after_one(struct world *w, struct silent *silent, struct silent_type *type,
                                 uint64_t features)
{
    start_guest(w, features);
    serve(w, 0, VIRTIO_BLK_T_IN, 1); /* the first is signalled in any case */
    take_signals(w->guest.ring[0].fds->call);
    memset(&w->dev.lanes.first.stats, 0, sizeof(w->dev.lanes.first.stats));
    use_silent(w, silent, type, 0);
}

static void assert_late(const struct world *w, unsigned late)
{
    const struct stats *stats = &w->dev.lanes.first.stats;

    assert_int_equal(stats->late_interrupts, late);
    assert_int_equal(stats->interrupts, late);
    assert_int_equal(stats->interrupts_suppressed, 1);
}

static void second_look_before_sleep(struct world *w, uint64_t features)
{
    struct silent_type type = silent_type;
    struct silent silent;

    type.leaf.submit = submit_and_ask;
    use_silent_after_one(w, &silent, &type, features);
    answer_untold(w);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 1);
    assert_late(w, 1);
    for (unsigned i = 0; i < 5; i++) {
        lane_wake(&w->dev.lanes.first);
        turn(w);
    }
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 0);
    assert_late(w, 1);
    reap_ok(w, 0, 1);
    take_back(w, &silent);
}

static void wish_that_comes_before_sleep_is_granted(void **state)
{
    second_look_before_sleep(*state, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
}

static void flag_that_is_taken_down_before_sleep_is_seen(void **state)
{
    second_look_before_sleep(*state, modern);
}

static bool is_looking(const struct world *w)
{
    return uv_is_active((const uv_handle_t *)&w->dev.lanes.first.look);
}

static void wait_for_the_last_look(struct world *w)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    while (is_looking(w)) {
        assert_true(now_ns() < deadline_ns);
        usleep(500);
        turn(w);
    }
}

/* It sleeps already, and nobody kicks. */
static void wish_that_comes_in_sleep_is_granted(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent_after_one(w, &silent, &silent_type, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    answer_untold(w);
    assert_true(is_looking(w));
    assert_late(w, 0);
    (void)ring_driver_interrupts(w->guest.ring[0].drv, true);
    wait_for_the_last_look(w);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 1);
    assert_late(w, 1);
    reap_ok(w, 0, 1);
    take_back(w, &silent);
}

/* A request that hangs keeps nobody from being told of others. */
static void wish_is_granted_whatever_else_is_in_flight(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent_after_one(w, &silent, &silent_type, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(silent.count, 1);
    answer_untold(w);
    assert_true(is_looking(w));
    (void)ring_driver_interrupts(w->guest.ring[0].drv, true);
    wait_for_the_last_look(w);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 1);
    assert_late(w, 1);
    reap_ok(w, 0, 1);
    answer_all(&silent);
    take_back(w, &silent);
}

static void idle_disk_looks_once_and_sleeps(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent_after_one(w, &silent, &silent_type, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    answer_untold(w);
    wait_for_the_last_look(w);
    assert_late(w, 0);
    assert_int_equal(w->dev.lanes.first.untold, 0);
    reap_ok(w, 0, 1);
    put_and_kick(w, 0, VIRTIO_BLK_T_GET_ID, 1);
    (void)ring_driver_interrupts(w->guest.ring[0].drv, true);
    run_until_used(w, 0, 1);
    assert_false(is_looking(w)); /* it was signalled */
    reap_ok(w, 0, 1);
    take_back(w, &silent);
}

/* ---- an image that keeps memory ---- */

static unsigned rests; /* still to come, until it has given back what it keeps */

static void keeper_start(struct path *path, struct io *io)
{
    mute_start(path, io);
    path->keeps_memory = true;
}

static void keeper_rest(struct path *path)
{
    path->keeps_memory = --rests > 0;
}

static bool is_tidying(const struct world *w)
{
    return uv_is_active((const uv_handle_t *)&w->dev.lanes.first.tidy);
}

/* Its timer is due. */
static void tidy_now(struct world *w)
{
    uv_timer_t *timer = &w->dev.lanes.first.tidy;
    unsigned before = rests;

    uv_timer_set_repeat(timer, 1);
    assert_int_equal(uv_timer_again(timer), 0);
    uv_timer_set_repeat(timer, 0);
    while (rests == before) {
        turn(w); /* UV_RUN_ONCE may wait for the next round as well, and run it */
    }
}

static void disk_is_woken_until_its_memory_is_given_back_and_no_more(void **state)
{
    struct silent_type type = silent_type;
    struct world *w = *state;
    struct silent keeper;

    type.node.start = keeper_start;
    type.leaf.reap = mute_reap;
    type.leaf.rest = keeper_rest;
    use_silent(w, &keeper, &type, 0);
    assert_false(is_tidying(w));
    for (unsigned i = 0; i < 2; i++) {
        rests = 2;
        put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
        run_until_used(w, 0, 1);
        reap_ok(w, 0, 1);
        assert_true(is_tidying(w));
        tidy_now(w);
        assert_true(is_tidying(w));
        tidy_now(w);
        assert_false(is_tidying(w));
    }
    take_back(w, &keeper);
}

/* ---- a kernel that has no room ---- */

static unsigned refusals; /* of io_submit, still to come */
static unsigned submits;

int io_submit(io_context_t context, long count, struct iocb **iocbs)
{
    long ret;

    submits++;
    if (refusals > 0) {
        refusals--;
        return -EAGAIN;
    }
    ret = syscall(SYS_io_submit, context, count, iocbs);
    return ret < 0 ? -errno : (int)ret;
}

/* Nothing that ends will wake us: the thread looks by itself, and sleeps in between. */
static void refused_requests_are_tried_again_without_a_busy_loop(void **state)
{
    struct world *w = *state;
    uint64_t start_ns;

    use_file(w, ENGINE_AIO);
    serve(w, 0, VIRTIO_BLK_T_IN, 1);
    refusals = 40;
    submits = 0;
    start_ns = now_ns();
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 4);
    while (raw_ring_used_count(w->guest.ring[0].drv) < 4) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_int_equal(submits, 41);
    assert_true(now_ns() - start_ns > 20 * NS_PER_MS);
    reap_ok(w, 0, 4);
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_READ].errors, 0);
}

static void on_sync_done(struct device_sync *sync)
{
}

/* No guest's request is under way, so it is no turn of theirs that submits it again. */
static void refused_flush_of_our_own_is_tried_again(void **state)
{
    struct world *w = *state;
    struct device_sync sync = {.io.result = -EINPROGRESS};
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    use_file(w, ENGINE_AIO);
    serve(w, 0, VIRTIO_BLK_T_OUT, 1);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    turns(w, 2);
    refusals = 5;
    device_sync(&w->dev, &sync, on_sync_done);
    while (sync.begun_ns) {
        assert_true(now_ns() < deadline_ns);
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_int_equal(sync.io.result, 0);
    assert_int_equal(refusals, 0);
}

static void on_drained_early(struct drain *drain)
{
    drain->done = NULL;
}

/* It touches no memory and no ring, so only who takes the image away waits for it. */
static void flush_of_our_own_holds_up_no_drain_for_guests(void **state)
{
    struct world *w = *state;
    struct drain early = {.done = on_drained_early, .own_below = LANES_MAX};
    struct device_sync sync = {.io.result = -EINPROGRESS};
    struct stats stats;

    use_gate(w);
    w->times_drained = 0;
    device_sync(&w->dev, &sync, on_sync_done);
    device_pause(&w->dev, PAUSE_MESSAGE, &early);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    turns(w, 3);
    assert_null(early.done);
    assert_int_equal(w->times_drained, 0);
    device_stats(&w->dev, &stats);
    assert_int_equal(stats.inflight, 0);
    gate_open();
    while (w->times_drained == 0) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_int_equal(sync.begun_ns, 0);
    assert_int_equal(sync.io.result, 0);
}

/* ---- held requests ---- */

static void change_image(struct world *w, const struct image_opts *opts)
{
    struct image *image;

    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    image_close(device_detach(&w->dev));
    assert_int_equal(image_open(&image, opts, &w->err), 0);
    assert_int_equal(device_attach(&w->dev, image, &w->err), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    turns(w, 2);
}

/* Each `every`th request fails, and waits. */
static void use_holding(struct world *w, uint32_t every)
{
    struct image_opts opts = {.type = "null",
                              .size = DISK_BYTES,
                              .error = -EIO,
                              .error_every = every,
                              .holds_errors = true,
                              .max_inflight = 256};

    change_image(w, &opts);
}

static void use_good(struct world *w)
{
    struct image_opts opts = {.type = "null", .size = DISK_BYTES, .max_inflight = 256};

    change_image(w, &opts);
}

static uint64_t held(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats.held;
}

/* Three of ring 0 are held. */
static void hold_three(struct world *w)
{
    use_holding(w, 1);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 3);
    assert_not_served(w, 0);
    assert_int_equal(held(w), 3);
    take_signals(w->guest.ring[0].fds->call);
}

static void reap_errors(struct world *w, unsigned index, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request = frontend_reap(&w->guest.ring[index]);

        assert_non_null(request);
        assert_int_equal(request->blk->status, VIRTIO_BLK_S_IOERR);
        frontend_release(request);
    }
    assert_null(frontend_reap(&w->guest.ring[index]));
}

static void request_that_fails_is_held_until_it_is_tried_again(void **state)
{
    struct world *w = *state;

    hold_three(w);
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_READ].errors, 0);
    use_good(w);
    assert_not_served(w, 0); /* another image is not enough */
    assert_true(device_retry(&w->dev));
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
    assert_int_equal(held(w), 0);
    assert_false(device_retry(&w->dev));
    serve(w, 0, VIRTIO_BLK_T_OUT, 5);
}

static void request_that_fails_again_is_held_again(void **state)
{
    struct world *w = *state;

    hold_three(w);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(device_retry(&w->dev));
        assert_not_served(w, 0);
        assert_int_equal(held(w), 3);
    }
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_READ].requests, 0);
    use_good(w);
    device_retry(&w->dev);
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
}

static void held_requests_hold_up_no_others(void **state)
{
    struct world *w = *state;

    use_holding(w, 4);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 8);
    run_until_used(w, 0, 6);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 8);
    run_until_used(w, 0, 12);
    assert_int_equal(held(w), 4);
    reap_ok(w, 0, 12);
    device_retry(&w->dev); /* four of which the first fails again */
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
    assert_int_equal(held(w), 1);
}

/* Nothing wakes the thread for them. */
static void held_requests_leave_the_thread_asleep(void **state)
{
    struct world *w = *state;

    hold_three(w);
    turns(w, 10);
    assert_false(w->dev.lanes.first.has_turn_work);
    assert_int_equal(w->dev.lanes.first.ready, 0);
    assert_int_equal(w->dev.lanes.first.flight.guest, 0);
    assert_int_equal(w->dev.lanes.first.quiet, 0); /* kicks are on */
}

static void drains_do_not_wait_for_held_requests(void **state)
{
    struct world *w = *state;
    struct device_oldest oldest;

    hold_three(w);
    w->times_drained = 0;
    device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 1);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 2);
    assert_false(device_oldest(&w->dev, &oldest));
}

static void paused_device_tries_nothing_again_before_it_is_resumed(void **state)
{
    struct world *w = *state;

    hold_three(w);
    use_good(w);
    device_pause(&w->dev, PAUSE_MESSAGE, NULL);
    turns(w, 2);
    device_retry(&w->dev);
    assert_not_served(w, 0);
    assert_int_equal(device_ring_enable(&w->dev, 0, false, NULL), 0);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_not_served(w, 0);
    assert_int_equal(device_ring_enable(&w->dev, 0, true, NULL), 0);
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
}

static void held_requests_outlive_memory_that_is_mapped_anew(void **state)
{
    struct world *w = *state;
    const uint8_t *before = w->dev.view.mem.region[0].host;

    hold_three(w);
    device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
    turns(w, 2);
    mem_clear(&w->dev.view.mem);
    /* Something else takes its place in our address space. */
    void *taken = mmap((void *)(uintptr_t)before, 4096, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    use_good(w);
    device_retry(&w->dev);
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
    munmap(taken, 4096);
}

static void stopped_ring_answers_what_it_holds_with_errors(void **state)
{
    struct world *w = *state;

    hold_three(w);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    assert_int_equal(device_ring_stop(&w->dev, 0), 3);
    assert_int_equal(take_signals(w->guest.ring[0].fds->call), 1);
    reap_errors(w, 0, 3);
    assert_int_equal(held(w), 0);
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_READ].errors, 3);
    use_good(w);
    device_guest_start_ring(&w->dev, &w->guest, 0, 3);
    serve(w, 0, VIRTIO_BLK_T_IN, 3);
}

/* It is stopped while the image is closed. */
static void held_requests_are_answered_when_the_front_end_leaves(void **state)
{
    struct world *w = *state;

    hold_three(w);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    turns(w, 2);
    image_close(device_detach(&w->dev));
    device_pause(&w->dev, PAUSE_GONE, &w->drain);
    turns(w, 2);
    device_reset(&w->dev);
    reap_errors(w, 0, 3);
}

/* Between two messages about memory: the ring's own is gone, or has moved. */
static void stopped_ring_writes_nothing_to_memory_that_is_gone(void **state)
{
    struct world *w = *state;

    hold_three(w);
    device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
    turns(w, 2);
    mem_clear(&w->dev.view.mem);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    assert_int_equal(device_ring_stop(&w->dev, 0), 3);
    assert_int_equal(raw_ring_used_count(w->guest.ring[0].drv), 0);
    assert_int_equal(held(w), 0);
}

static void stopped_ring_finds_memory_that_has_moved(void **state)
{
    struct world *w = *state;

    hold_three(w);
    device_pause(&w->dev, PAUSE_MESSAGE, &w->drain);
    turns(w, 2);
    mem_clear(&w->dev.view.mem);
    device_guest_share(&w->dev, &w->guest);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    assert_int_equal(device_ring_stop(&w->dev, 0), 3);
    reap_errors(w, 0, 3);
}

/* What the driver has made of it meanwhile is checked as ever. */
static void held_request_that_was_spoiled_breaks_its_ring(void **state)
{
    struct world *w = *state;
    struct ring_driver *drv = w->guest.ring[0].drv;

    hold_three(w);
    raw_ring_set_desc(drv, 0, 0, 16, VRING_DESC_F_NEXT, RING_SIZE);
    device_retry(&w->dev);
    turns(w, 3);
    assert_true(w->dev.queue[0].ring.is_broken);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    device_ring_stop(&w->dev, 0);
    assert_int_equal(held(w), 0);
}

/* What its device writes is a word, and no more of it has to be in memory. */
static void packed_ring_at_the_end_of_memory_is_not_lost(void **state)
{
    struct world *w = *state;
    const struct arena *arena = &w->guest.arena;
    const uintptr_t end = (uintptr_t)arena->host + arena->size;
    const struct ring_addr addr = {
        .desc = (uintptr_t)w->guest.ring[0].drv->desc, .avail = end - 8, .used = end - 4};

    w->dev.view.blk.opts.shown.features |= 1ull << VIRTIO_F_RING_PACKED;
    device_guest_share(&w->dev, &w->guest);
    device_guest_accept(&w->dev, &w->guest, modern | 1ull << VIRTIO_F_RING_PACKED);
    assert_int_equal(device_ring_set_size(&w->dev, 0, RING_SIZE, NULL), 0);
    assert_int_equal(device_ring_set_addr(&w->dev, 0, &addr, NULL), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, 0, dup(w->guest.ring[0].fds->kick), NULL), 0);
    assert_int_equal(device_rings_running(&w->dev), 1);
    assert_int_equal(device_lost_ring(&w->dev), -1);
    device_park(&w->dev);
    device_memory_clear(&w->dev);
    device_unpark(&w->dev);
    assert_int_equal(device_lost_ring(&w->dev), 0);
}

static void holding_allocates_nothing(void **state)
{
    struct world *w = *state;
    unsigned long before;

    use_holding(w, 1);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, DEPTH);
    turns(w, 3); /* its log line was written */
    before = count_alloc();
    for (unsigned i = 0; i < 100; i++) {
        ring_retry(&w->dev.queue[0].ring);
        lane_look(&w->dev.lanes.first, 0);
        turns(w, 2);
    }
    assert_int_equal(held(w), DEPTH);
    assert_int_equal(count_alloc() - before, 0);
}

/* ---- the rule of the hot path ---- */

static void serve_many(struct world *w, unsigned count)
{
    for (unsigned i = 0; i < count / DEPTH; i++) {
        serve(w, i & 1, i & 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, DEPTH);
    }
}

static void ten_thousand_requests_allocate_nothing(void **state)
{
    struct world *w = *state;
    unsigned long before, after;

    serve_many(w, 160); /* libuv's own arrays have grown by now */
    before = count_alloc();
    assert_true(before > 0);
    serve_many(w, 10000);
    after = count_alloc();
    assert_int_equal(after - before, 0);
}

/* The same on a file. */
static void file_allocates_nothing(struct world *w, enum io_engine engine)
{
    const struct stats *stats;
    unsigned long before;

    use_file(w, engine);
    serve_many(w, 160);
    before = count_alloc();
    serve_many(w, 10000);
    assert_int_equal(count_alloc() - before, 0);
    stats = &w->dev.lanes.first.stats;
    assert_int_equal(stats->submitted + stats->merged,
                     stats->type[STATS_READ].requests + stats->type[STATS_WRITE].requests);
    assert_true(stats->merged > 0);
    assert_true(stats->submissions <= (stats->submitted + stats->merged) / 4);
    /* It takes its time, even when all is done by the time that io_submit comes back. */
    assert_true(stats->type[STATS_READ].time_ns > 10000);
}

static void ten_thousand_requests_by_aio_allocate_nothing(void **state)
{
    file_allocates_nothing(*state, ENGINE_AIO);
}

#ifdef HAVE_LIBURING
static void ten_thousand_requests_by_io_uring_allocate_nothing(void **state)
{
    file_allocates_nothing(*state, ENGINE_IO_URING);
}
#endif

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
#define in_bare(test) cmocka_unit_test_setup_teardown(test, bare_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(kicked_request_is_served_and_signalled),
        in_world(every_type_is_served),
        in_world(rings_are_independent),
        in_world(batch_is_signalled_once),
        in_world(ring_serves_more_requests_than_it_has_entries),
        in_bare(event_index_suppresses_signals),
        in_world(reads_are_merged_whatever_their_slots_were_used_for),
        in_world(image_that_works_beside_us_begins_with_few),
        in_world(batch_that_is_set_is_kept),
        in_world(batch_that_is_set_is_kept_where_the_image_ends_at_once),
        in_world(image_that_signals_nothing_is_looked_at),
        in_world(answer_that_comes_as_a_message_is_a_hit),
        in_world(message_of_somebody_else_is_no_hit_and_no_miss),
        in_world(spinning_device_needs_no_kicks),
        in_bare(spinning_device_needs_no_kicks_with_event_index),
        in_world(work_that_is_there_when_we_would_sleep_was_not_waited_for),
        in_world(device_that_may_not_spin_is_kicked),
        in_world(device_that_may_not_spin_leaves_the_image_alone),
        in_world(kick_that_is_served_wakes_nobody_again),
        in_world(paused_device_takes_nothing_and_loses_nothing),
        in_world(resume_acts_as_if_kicked),
        in_world(reasons_do_not_undo_each_other),
        in_world(drain_waits_for_what_is_in_flight),
        in_world(drain_is_never_done_from_within_the_call),
        in_world(cancelled_drain_is_not_done),
        in_world(two_drains_are_both_done),
        in_world(paused_ring_leaves_the_others_alone),
        in_world(stopped_ring_tells_where_to_go_on),
        in_bare(driver_that_began_here_is_not_in_doubt),
        in_bare(driver_that_goes_on_is_in_doubt_until_it_flushes),
        in_world(stop_with_requests_in_flight_waits_for_them),
        in_world(new_call_fd_is_signalled_once),
        in_world(ring_without_a_call_fd_is_served),
        in_world(new_kick_fd_replaces_the_old),
        in_bare(parts_of_a_ring_may_come_in_any_order),
        in_bare(ring_may_be_complete_before_there_is_memory),
        in_world(disabled_ring_waits_until_it_is_enabled),
        in_bare(crooked_ring_sizes_are_refused),
        in_bare(larger_rings_than_the_disk_allows_are_refused_by_name),
        in_bare(rings_that_do_not_exist_are_refused),
        in_bare(base_past_16_bits_is_refused),
        in_bare(addresses_outside_memory_are_refused),
        in_bare(misaligned_addresses_are_refused),
        in_bare(ring_bad_until_it_is_complete_is_refused_at_the_end),
        in_world(running_ring_cannot_be_changed),
        in_bare(features_that_are_not_offered_are_refused),
        in_bare(offered_features_have_the_ring_bits),
        in_world(kick_fd_that_cannot_be_polled_is_refused),
        in_world(kick_fd_at_its_end_does_not_spin),
        in_world(driver_that_kicks_unseen_is_told_of),
        in_world(driver_that_was_seen_may_kick_for_nothing),
        in_bare(driver_that_kicks_without_memory_is_told_of),
        in_world(full_call_fd_is_no_error),
        in_world(reset_device_is_as_new),
        in_bare(reset_gives_up_all_fds),
        in_world(broken_ring_leaves_the_others_alive),
        in_world(chain_without_a_status_breaks_only_its_ring),
        in_world(broken_ring_still_answers_what_is_in_flight),
        in_world(stopped_ring_can_be_started_after_it_broke),
        in_world(refused_request_is_answered_and_counted),
        in_world(storm_of_kicks_serves_each_request_once),
        in_world(truncated_memory_breaks_the_rings_and_nothing_else),
        in_world(rings_are_found_again_after_memory_was_mapped_anew),
        in_world(ring_that_lost_its_memory_is_broken),
        in_bare(image_of_the_same_size_is_taken),
        in_bare(image_that_has_grown_is_told),
        in_bare(image_that_has_shrunk_is_refused),
        in_world(counters_are_exact),
        in_world(inflight_is_counted_while_it_lasts),
        in_world(oldest_in_flight_is_told),
        in_bare(wish_that_comes_before_sleep_is_granted),
        in_bare(flag_that_is_taken_down_before_sleep_is_seen),
        in_bare(wish_that_comes_in_sleep_is_granted),
        in_bare(wish_is_granted_whatever_else_is_in_flight),
        in_bare(idle_disk_looks_once_and_sleeps),
        in_world(disk_is_woken_until_its_memory_is_given_back_and_no_more),
        in_world(refused_requests_are_tried_again_without_a_busy_loop),
        in_world(refused_flush_of_our_own_is_tried_again),
        in_world(flush_of_our_own_holds_up_no_drain_for_guests),
        in_world(request_that_fails_is_held_until_it_is_tried_again),
        in_world(request_that_fails_again_is_held_again),
        in_world(held_requests_hold_up_no_others),
        in_world(held_requests_leave_the_thread_asleep),
        in_world(drains_do_not_wait_for_held_requests),
        in_world(paused_device_tries_nothing_again_before_it_is_resumed),
        in_world(held_requests_outlive_memory_that_is_mapped_anew),
        in_world(stopped_ring_answers_what_it_holds_with_errors),
        in_world(held_requests_are_answered_when_the_front_end_leaves),
        in_world(stopped_ring_writes_nothing_to_memory_that_is_gone),
        in_world(stopped_ring_finds_memory_that_has_moved),
        in_world(held_request_that_was_spoiled_breaks_its_ring),
        in_world(holding_allocates_nothing),
        cmocka_unit_test_setup_teardown(packed_ring_at_the_end_of_memory_is_not_lost, bare_start,
                                        world_stop),
        in_world(ten_thousand_requests_allocate_nothing),
        in_world(ten_thousand_requests_by_aio_allocate_nothing),
#ifdef HAVE_LIBURING
        in_world(ten_thousand_requests_by_io_uring_allocate_nothing),
#endif
    };

    count_alloc_install();
    log_set_level(LOG_LEVEL_ERROR);
    return unit_run(tests);
}
