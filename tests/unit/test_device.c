/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/device.h"
#include "tests/lib/frontend.h"
#include "tests/unit/count_alloc.h"

#define RINGS 2
#define RING_SIZE 64
#define DEPTH 16
#define DISK_BYTES (1ull << 30)
#define PATIENCE_NS (10 * NS_PER_S)

/*
 * A device with two rings on a loop, and the guest on the other side of its fds.  The guest
 * is the front-end of tests/lib without its socket: the test tells the device what messages
 * would tell it.
 */
struct world {
    uv_loop_t loop;
    struct device dev;
    struct frontend guest;
    struct drain drain;
    unsigned times_drained;
    bool is_closed;
    struct err err;
};

static const uint64_t modern =
    1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_FLUSH;

static struct backend *open_null(uint32_t delay_ms, uint64_t size)
{
    struct backend_opts opts = {
        .type = "null", .size = size, .delay_ms = delay_ms, .max_inflight = 256};
    struct backend *backend;

    assert(backend_open(&backend, &opts, NULL) == 0);
    return backend;
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

static void share_memory(struct world *w)
{
    struct arena *arena = &w->guest.arena;
    struct mem_layout layout = {
        .guest_addr = arena->guest_addr, .size = arena->size, .user_addr = (uintptr_t)arena->host};

    assert(mem_add(&w->dev.mem, &layout, arena->fd, NULL) == 0);
}

static struct device_ring_addr addr_of(const struct ring_driver *drv)
{
    return (struct device_ring_addr){
        .desc = (uintptr_t)drv->desc,
        .used = (uintptr_t)drv->used,
        .avail = (uintptr_t)drv->avail,
    };
}

static uint64_t take_signals(int fd)
{
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void start_ring(struct world *w, unsigned index)
{
    struct frontend_ring *ring = &w->guest.ring[index];
    struct device_ring_addr addr = addr_of(ring->drv);
    struct device *dev = &w->dev;

    assert(device_ring_set_size(dev, index, ring->drv->size, NULL) == 0);
    assert(device_ring_set_base(dev, index, ring->drv->shown_idx, NULL) == 0);
    assert(device_ring_set_addr(dev, index, &addr, NULL) == 0);
    assert(device_ring_set_err(dev, index, dup(ring->fds->err), NULL) == 0);
    assert(device_ring_set_call(dev, index, dup(ring->fds->call), NULL) == 0);
    assert(device_ring_set_kick(dev, index, dup(ring->fds->kick), NULL) == 0);
    assert(device_ring_enable(dev, index, true, NULL) == 0);
}

static void set_features(struct world *w, uint64_t features)
{
    assert(device_set_features(&w->dev, features) == 0);
    for (unsigned i = 0; i < RINGS; i++) {
        w->guest.ring[i].drv->has_event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
    }
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
    struct device_opts opts = {.name = "vda", .queues = RINGS, .queue_size_max = 1024};
    struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = DEPTH, .request_bytes = 65536};

    memset(&world, 0, sizeof(world));
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    assert(device_attach(&world.dev, open_null(0, DISK_BYTES), NULL) == 0);
    frontend_init(&world.guest, &guest);
    world.drain.done = on_drained;
    *state = &world;
    return 0;
}

static void start_guest(struct world *w, uint64_t features)
{
    share_memory(w);
    set_features(w, features);
    for (unsigned i = 0; i < RINGS; i++) {
        start_ring(w, i);
        take_signals(w->guest.ring[i].fds->call);
    }
    device_resume(&w->dev, PAUSE_ADMIN);
    device_resume(&w->dev, PAUSE_GONE);
    turns(w, 3);
    memset(&w->dev.lane.stats, 0, sizeof(w->dev.lane.stats));
}

static int world_start(void **state)
{
    bare_start(state);
    start_guest(*state, modern);
    return 0;
}

static void on_closed(struct device *dev)
{
    containerof(dev, struct world, dev)->is_closed = true;
}

static int world_stop(void **state)
{
    struct world *w = *state;
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    struct backend *backend;

    device_pause(&w->dev, PAUSE_EXIT, NULL);
    while (w->dev.lane.stats.inflight > 0 && now_ns() < deadline_ns) {
        turn(w);
    }
    backend = device_detach(&w->dev);
    if (backend) {
        backend_close(backend);
    }
    device_close(&w->dev, on_closed);
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

static void use_delay(struct world *w, uint32_t delay_ms)
{
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    backend_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, open_null(delay_ms, DISK_BYTES), NULL), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    turns(w, 2);
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
    assert_int_equal(w->dev.lane.stats.interrupts_suppressed, 1);
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
    const struct stats *stats = &w->dev.lane.stats;
    pthread_t thread;

    device_set_poll(&w->dev, opts);
    assert_int_equal(pthread_create(&thread, NULL, guest_thread, &w->guest.ring[0]), 0);
    while (stats->type[STATS_READ].requests < ROUNDS) {
        assert_true(poll(&poll_fd, 1, FRONTEND_TIMEOUT_MS) == 1);
        turn(w);
        while (w->dev.lane.has_turn_work) {
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
    struct backend backend;
    struct frontend_ring *ring;
    struct io *taken[DEPTH];
    unsigned count;
    unsigned looks;
};

static void silent_queue(struct backend *backend, struct io *io)
{
    struct silent *silent = containerof(backend, struct silent, backend);

    silent->taken[silent->count++] = io;
    silent->looks = 0;
}

static struct backend_submitted silent_submit(struct backend *backend)
{
    return (struct backend_submitted){0};
}

static unsigned silent_reap(struct backend *backend)
{
    struct silent *silent = containerof(backend, struct silent, backend);

    if (++silent->looks == 2 && silent->count <= SILENT) {
        frontend_put(frontend_prepare(silent->ring, VIRTIO_BLK_T_IN, 0, 512));
        frontend_kick(silent->ring); /* if the device wants one */
    }
    return 0;
}

static bool silent_is_held_back(const struct backend *backend)
{
    return false;
}

static int silent_fd(struct backend *backend)
{
    static int fd = -1;

    fd = fd < 0 ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : fd;
    return fd;
}

static void silent_close(struct backend *backend)
{
}

static const struct backend_ops silent_ops = {
    .name = "silent",
    .close = silent_close,
    .fd = silent_fd,
    .queue = silent_queue,
    .submit = silent_submit,
    .reap = silent_reap,
    .is_held_back = silent_is_held_back,
};

static void answer_all(struct silent *silent)
{
    for (unsigned i = 0; i < silent->count; i++) {
        silent->taken[i]->result = 0;
        silent->taken[i]->done(silent->taken[i]);
    }
}

/* An image of the test's own, with the first ring's guest, on a device that may spin so long. */
static void use_silent(struct world *w, struct silent *silent, const struct backend_ops *ops,
                       uint32_t max_us)
{
    const struct device_poll poll = {.max_us = max_us, .cpu_percent = 100};

    *silent = (struct silent){
        .backend = {.ops = ops, .size = DISK_BYTES, .block_size = 512, .max_inflight = 16},
        .ring = &w->guest.ring[0]};
    backend_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, &silent->backend, NULL), 0);
    device_set_poll(&w->dev, &poll);
}

static void take_back(struct world *w, struct silent *silent)
{
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    assert_ptr_equal(device_detach(&w->dev), &silent->backend);
}

/* Ends at the third look after it was taken, and nobody is told. */
static unsigned mute_reap(struct backend *backend)
{
    struct silent *silent = containerof(backend, struct silent, backend);

    if (silent->count == 0 || ++silent->looks < 3) {
        return 0;
    }
    answer_all(silent);
    silent->count = 0;
    backend->must_look = false;
    return 1;
}

static void mute_queue(struct backend *backend, struct io *io)
{
    silent_queue(backend, io);
    backend->must_look = true;
}

static void image_that_signals_nothing_is_looked_at(void **state)
{
    struct backend_ops ops = silent_ops;
    struct world *w = *state;
    struct silent mute;

    ops.queue = mute_queue;
    ops.reap = mute_reap;
    use_silent(w, &mute, &ops, 0);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    while (raw_ring_used_count(w->guest.ring[0].drv) == 0) {
        uv_run(&w->loop, UV_RUN_ONCE); /* sleeps, but not for ever */
    }
    reap_ok(w, 0, 1);
    take_back(w, &mute);
}

/* An image that keeps what it gets, and how much each submit gave it. */
struct slow {
    struct silent silent;
    unsigned given[DEPTH];
    unsigned submits;
    unsigned started;
};

static struct backend_submitted slow_submit(struct backend *backend)
{
    struct slow *slow = containerof(backend, struct slow, silent.backend);
    unsigned count = slow->silent.count - slow->started;

    if (count > 0) {
        slow->given[slow->submits++] = count;
    }
    slow->started += count;
    return (struct backend_submitted){.operations = count};
}

static unsigned no_reap(struct backend *backend)
{
    return 0;
}

static void image_that_works_beside_us_starts_with_few(void **state)
{
    static const unsigned wanted[] = {1, 4, 5, 6};
    struct backend_ops ops = silent_ops;
    struct world *w = *state;
    struct slow slow = {.submits = 0};

    ops.submit = slow_submit;
    ops.reap = no_reap;
    use_silent(w, &slow.silent, &ops, 0);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 2);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, DEPTH - 1);
    turns(w, 2);
    assert_int_equal(slow.submits, ARRAY_SIZE(wanted));
    assert_memory_equal(slow.given, wanted, sizeof(wanted));
    answer_all(&slow.silent);
    take_back(w, &slow.silent);
}

static void spinning_device_needs_no_kicks(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent(w, &silent, &silent_ops, 1000);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(silent.count, 1 + SILENT);
    assert_int_equal(w->dev.lane.stats.kicks, 1);
    assert_int_equal(w->dev.lane.stats.poll_hits, SILENT);
    assert_true(w->dev.lane.stats.poll_time_ns > 0);
    answer_all(&silent);
    take_back(w, &silent);
}

static void spinning_device_needs_no_kicks_with_event_index(void **state)
{
    start_guest(*state, modern | 1ull << VIRTIO_RING_F_EVENT_IDX);
    spinning_device_needs_no_kicks(state);
}

/* The guest adds a request while we submit, unseen until kicks are on again: that is no wait. */
static unsigned eager_reap(struct backend *backend)
{
    struct silent *silent = containerof(backend, struct silent, backend);

    if (silent->looks++ == 0 && silent->count == 1) {
        frontend_put(frontend_prepare(silent->ring, VIRTIO_BLK_T_IN, 0, 512));
        frontend_kick(silent->ring); /* shows it; the device wants no kick */
    }
    return 0;
}

static void work_that_is_there_when_we_would_sleep_was_not_waited_for(void **state)
{
    struct backend_ops ops = silent_ops;
    struct world *w = *state;
    struct silent silent;
    struct spin_history *history = &w->dev.lane.spin.history[SPIN_FOR_IMAGE];

    ops.reap = eager_reap;
    use_silent(w, &silent, &ops, 1000);
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
    assert_in_range(w->dev.lane.stats.kicks, 1, ROUNDS); /* fewer: some come during a turn */
}

static void device_that_may_not_spin_leaves_the_image_alone(void **state)
{
    struct world *w = *state;
    struct silent silent;

    use_silent(w, &silent, &silent_ops, 0);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 3);
    assert_int_equal(silent.count, 1);
    assert_int_equal(w->dev.lane.stats.poll_hits + w->dev.lane.stats.poll_misses, 0);
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
    assert_int_equal(w->dev.lane.stats.kicks, 2);
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

    use_delay(w, 50);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 4);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 4);
    turns(w, 3);
    assert_int_equal(w->dev.lane.stats.inflight, 8);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 0);
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

    use_delay(w, 20);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    turns(w, 2);
    device_pause(&w->dev, PAUSE_MESSAGE, &second.drain);
    device_pause(&w->dev, PAUSE_ADMIN, &w->drain);
    run_until_used(w, 0, 1);
    turns(w, 2);
    assert_int_equal(w->times_drained, 1);
    assert_int_equal(second.times_drained, 1);
}

static void paused_ring_leaves_the_others_alone(void **state)
{
    struct world *w = *state;

    use_delay(w, 30);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 1);
    turns(w, 2);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 3);
    assert_int_equal(w->times_drained, 1); /* though ring 1 has one in flight */
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    put_and_kick(w, 1, VIRTIO_BLK_T_IN, 1);
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

    struct device_ring_addr addr = addr_of(ring->drv);

    assert_int_equal(device_ring_set_size(&w->dev, 0, RING_SIZE, NULL), 0);
    assert_int_equal(device_ring_set_base(&w->dev, 0, 7, NULL), 0);
    assert_int_equal(device_ring_set_addr(&w->dev, 0, &addr, NULL), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, 0, dup(ring->fds->kick), NULL), 0);
    run_until_used(w, 0, 2);
    reap_ok(w, 0, 2);
}

static void stop_with_requests_in_flight_waits_for_them(void **state)
{
    struct world *w = *state;

    use_delay(w, 30);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 5);
    turns(w, 2);
    device_ring_pause(&w->dev, 0, &w->drain);
    turns(w, 2);
    assert_int_equal(w->times_drained, 0);
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
    struct device_ring_addr addr = addr_of(ring->drv);

    share_memory(w);
    set_features(w, modern);
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

    set_features(w, modern);
    device_resume(&w->dev, PAUSE_ADMIN);
    device_resume(&w->dev, PAUSE_GONE);
    start_ring(w, 0);
    assert_int_equal(device_rings_running(&w->dev), 0);
    share_memory(w);
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
    static const unsigned sizes[] = {0, 3, 2048, 65536, UINT32_MAX};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_refused(w, device_ring_set_size(&w->dev, 0, sizes[i], &w->err), -EINVAL);
    }
    assert_int_equal(device_ring_set_size(&w->dev, 0, 1, &w->err), 0);
    assert_int_equal(device_ring_set_size(&w->dev, 0, 1024, &w->err), 0);
}

static void rings_that_do_not_exist_are_refused(void **state)
{
    struct world *w = *state;
    struct device_ring_addr addr = {0};

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
    struct device_ring_addr good = addr_of(w->guest.ring[0].drv);
    struct device_ring_addr bad;
    uint64_t end = (uintptr_t)w->guest.arena.host + w->guest.arena.size;

    share_memory(w);
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
    struct device_ring_addr good = addr_of(w->guest.ring[0].drv);
    struct device_ring_addr bad = good;

    share_memory(w);
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
    struct device_ring_addr bad = {.desc = 0x1000, .avail = 0x2000, .used = 0x3000};
    int fd = dup(w->guest.ring[0].fds->kick);

    assert_int_equal(device_ring_set_addr(&w->dev, 0, &bad, &w->err), 0); /* no size, no memory */
    assert_int_equal(device_ring_set_size(&w->dev, 0, 8, &w->err), 0);
    share_memory(w);
    assert_refused(w, device_ring_set_kick(&w->dev, 0, fd, &w->err), -EFAULT);
    assert_int_equal(close(fd), 0); /* still ours */
    turns(w, 2);
}

static void running_ring_cannot_be_changed(void **state)
{
    struct world *w = *state;
    struct device_ring_addr addr = addr_of(w->guest.ring[1].drv);

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
    assert_int_equal(w->dev.mem.count, 0);
    assert_int_equal(w->dev.features, 0);
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
    assert_int_equal(w->dev.lane.stats.inflight, 0);
    serve(w, 1, VIRTIO_BLK_T_IN, 5);
}

static void broken_ring_still_answers_what_is_in_flight(void **state)
{
    struct world *w = *state;
    struct ring_driver *drv = w->guest.ring[0].drv;
    uint64_t one = 1;

    use_delay(w, 30);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 3);
    turns(w, 2);
    raw_ring_offer(drv, RING_SIZE + 5);
    assert_int_equal(write(w->guest.ring[0].fds->kick, &one, sizeof(one)), sizeof(one));
    run_until_used(w, 0, 3);
    reap_ok(w, 0, 3);
    assert_int_equal(w->dev.lane.stats.inflight, 0);
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
    start_ring(w, 0);
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
    assert_int_equal(w->dev.lane.stats.invalid, 1);
    assert_int_equal(w->dev.lane.stats.type[STATS_READ].errors, 1);
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
    assert_int_equal(w->dev.lane.stats.type[STATS_READ].requests, 3);
}

static void truncated_memory_breaks_the_rings_and_nothing_else(void **state)
{
    struct world *w = *state;

    mem_guard_install();
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 3);
    assert_int_equal(ftruncate(w->guest.arena.fd, 0), 0);
    turns(w, 3);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    assert_int_equal(w->dev.lane.stats.inflight, 0);
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
    mem_clear(&w->dev.mem);
    share_memory(w);
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
    mem_clear(&w->dev.mem);
    device_memory_changed(&w->dev);
    assert_int_equal(take_signals(w->guest.ring[0].fds->err), 1);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 1);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_not_served(w, 0);
}

static void image_of_the_same_size_is_taken(void **state)
{
    struct world *w = *state;

    backend_close(device_detach(&w->dev));
    assert_null(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, open_null(0, DISK_BYTES), &w->err), 0);
}

static void image_that_has_grown_is_told(void **state)
{
    struct world *w = *state;
    uint64_t capacity;

    backend_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, open_null(0, 2 * DISK_BYTES), &w->err), 1);
    blk_config_read(&w->dev.blk, 0, &capacity, 8);
    assert_int_equal(capacity, 2 * DISK_BYTES / 512);
}

static void image_that_has_shrunk_is_refused(void **state)
{
    struct world *w = *state;
    struct backend *small = open_null(0, DISK_BYTES / 2);

    backend_close(device_detach(&w->dev));
    assert_refused(w, device_attach(&w->dev, small, &w->err), -EINVAL);
    backend_close(small);
}

/* ---- what is told ---- */

static void counters_are_exact(void **state)
{
    struct world *w = *state;
    const struct stats *stats = &w->dev.lane.stats;

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

    use_delay(w, 30);
    put_and_kick(w, 0, VIRTIO_BLK_T_IN, 5);
    put_and_kick(w, 1, VIRTIO_BLK_T_OUT, 4);
    turns(w, 3);
    assert_int_equal(w->dev.lane.stats.inflight, 9);
    run_until_used(w, 0, 5);
    run_until_used(w, 1, 4);
    assert_int_equal(w->dev.lane.stats.inflight, 0);
    assert_int_equal(w->dev.lane.stats.inflight_max, 9);
    assert_true(w->dev.lane.stats.type[STATS_READ].time_ns >= 5 * 30 * NS_PER_MS);
}

static void oldest_in_flight_is_told(void **state)
{
    struct world *w = *state;
    struct device_oldest oldest;

    assert_false(device_oldest(&w->dev, &oldest));
    use_delay(w, 50);
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
    run_until_used(w, 0, 3);
    run_until_used(w, 1, 1);
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

/* The same on a file, which is gone when the test ends. */
static void file_allocates_nothing(struct world *w, enum io_engine engine)
{
    struct backend_opts opts = {.type = "file",
                                .path = "./test_device.image",
                                .size = DISK_BYTES,
                                .create = true,
                                .cache = CACHE_WRITEBACK,
                                .engine = engine,
                                .max_inflight = 256};
    const struct stats *stats;
    struct backend *backend;
    unsigned long before;

    unlink(opts.path);
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    turns(w, 2);
    backend_close(device_detach(&w->dev));
    assert_int_equal(backend_open(&backend, &opts, &w->err), 0);
    unlink(opts.path);
    assert_int_equal(device_attach(&w->dev, backend, &w->err), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    serve_many(w, 160);
    before = count_alloc();
    serve_many(w, 10000);
    assert_int_equal(count_alloc() - before, 0);
    stats = &w->dev.lane.stats;
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
        in_world(image_that_works_beside_us_starts_with_few),
        in_world(image_that_signals_nothing_is_looked_at),
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
        in_world(stop_with_requests_in_flight_waits_for_them),
        in_world(new_call_fd_is_signalled_once),
        in_world(ring_without_a_call_fd_is_served),
        in_world(new_kick_fd_replaces_the_old),
        in_bare(parts_of_a_ring_may_come_in_any_order),
        in_bare(ring_may_be_complete_before_there_is_memory),
        in_world(disabled_ring_waits_until_it_is_enabled),
        in_bare(crooked_ring_sizes_are_refused),
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
