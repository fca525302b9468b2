/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */

/*
 * A device, the log of requests in flight and all that comes between: what is held, answers in
 * order, threads, other formats of rings.
 */

#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/device/device_state.h"
#include "core/virtio/inflight.h"
#include "tests/unit/device_end.h"
#include "tests/unit/device_guest.h"

#define RINGS 2u
#define RING_SIZE 32u
#define DEPTH 8u
#define DISK_BYTES (1ull << 30)
#define PATIENCE_NS (30 * NS_PER_S)
#define EVERY 4u /* of a ring's requests one fails, and is held */

struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct frontend_request *put[RINGS][DEPTH]; /* in their order */
    int log_fd;
    struct drain drain;
    unsigned times_drained;
};

static const uint64_t modern = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH;
static const uint64_t in_order =
    1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_F_IN_ORDER;

#define run_until(w, what)                              \
    do {                                                \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS; \
        while (!(what)) {                               \
            assert_true(now_ns() < deadline_ns_);       \
            uv_run(&(w)->loop, UV_RUN_NOWAIT);          \
        }                                               \
    } while (0)

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

static void pause_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;

    w->drain = (struct drain){.done = on_drained};
    device_pause(&w->dev, reason, &w->drain);
    run_until(w, w->times_drained > before);
}

static void use_image_that(struct world *w, unsigned every, bool holds)
{
    struct image_opts opts = {.type = "null",
                              .size = DISK_BYTES,
                              .error = every > 0 ? -EIO : 0,
                              .error_every = every,
                              .holds_errors = holds,
                              .max_inflight = 64};
    struct image *image;

    pause_drained(w, PAUSE_ADMIN);
    if (device_image(&w->dev)) {
        image_close(device_detach(&w->dev));
    }
    assert_int_equal(image_open(&image, &opts, NULL), 0);
    assert_int_equal(device_attach(&w->dev, image, NULL), 0);
}

/* Of which each `every`th request fails, and is held; 0: none.  The device stays stopped. */
static void use_image(struct world *w, unsigned every)
{
    use_image_that(w, every, every > 0);
}

static void set_lanes(struct world *w, unsigned count)
{
    pause_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, count, NULL, NULL), 0);
    device_resume(&w->dev, PAUSE_MOVE);
}

static void make_log(struct world *w)
{
    uint64_t bytes;

    assert_int_equal(device_inflight_need(&w->dev, RINGS, RING_SIZE, &bytes, NULL), 0);
    if (w->log_fd < 0) {
        w->log_fd = memfd_create("log", MFD_CLOEXEC);
        assert_return_code(ftruncate(w->log_fd, (off_t)bytes), errno);
    }
}

static int hand_in(struct world *w)
{
    const struct device_inflight log = {.bytes = RINGS * ring_inflight_bytes(false, RING_SIZE),
                                        .queues = RINGS};

    return device_inflight_open(&w->dev, &log, w->log_fd, NULL);
}

/* A front-end comes, with the log that it keeps; the disk is stopped still. */
static void connect_guest(struct world *w, uint64_t features, bool has_log)
{
    device_guest_share(&w->dev, &w->guest);
    device_guest_accept(&w->dev, &w->guest, features);
    if (has_log) {
        make_log(w);
        assert_int_equal(hand_in(w), 0);
    }
    for (unsigned i = 0; i < RINGS; i++) {
        device_guest_start_ring(&w->dev, &w->guest, i, w->guest.ring[i].drv->shown_idx);
    }
    device_resume(&w->dev, PAUSE_GONE);
}

static void disconnect_guest(struct world *w)
{
    pause_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
}

static void stop_ring(struct world *w, unsigned index)
{
    unsigned before = w->times_drained;

    w->drain = (struct drain){.done = on_drained};
    device_ring_pause(&w->dev, index, &w->drain);
    run_until(w, w->times_drained > before);
    (void)device_ring_stop(&w->dev, index);
}

static int world_start(void **state)
{
    static struct world world;
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 512,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {.name = "vda",
                               .queues = RINGS,
                               .queue_size_max = 64,
                               .has_packed = true,
                               .has_in_order = true,
                               .awaited = &world.awaited};
    struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = DEPTH, .request_bytes = 4096};

    memset(&world, 0, sizeof(world));
    world.log_fd = -1;
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    frontend_init(&world.guest, &guest);
    use_image(&world, EVERY);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    pause_drained(w, PAUSE_EXIT);
    device_end(&w->dev, &w->loop);
    frontend_fini(&w->guest);
    if (w->log_fd >= 0) {
        close(w->log_fd);
    }
    return 0;
}

/* ---- the guest ---- */

static void put_all(struct world *w, unsigned index)
{
    struct frontend_ring *ring = &w->guest.ring[index];

    for (unsigned i = 0; i < DEPTH; i++) {
        w->put[index][i] = frontend_prepare(ring, VIRTIO_BLK_T_IN, i, 512);
        assert_non_null(w->put[index][i]);
        frontend_put(w->put[index][i]);
    }
    frontend_kick(ring);
}

static unsigned answered(const struct world *w, unsigned index)
{
    return raw_ring_used_count(w->guest.ring[index].drv);
}

static uint64_t held(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats.held;
}

/* Each request once, well; in order where that was promised. */
static void reap_all(struct world *w, unsigned index, bool is_ordered)
{
    bool is_seen[DEPTH] = {false};

    assert_int_equal(answered(w, index), DEPTH);
    for (unsigned i = 0; i < DEPTH; i++) {
        struct frontend_request *request = frontend_reap(&w->guest.ring[index]);
        unsigned which = 0;

        while (which < DEPTH && w->put[index][which] != request) {
            which++;
        }
        assert_in_range(which, 0, DEPTH - 1);
        assert_false(is_seen[which]);
        assert_true(!is_ordered || which == i);
        is_seen[which] = true;
        assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
        frontend_release(request);
    }
}

static void serve(struct world *w, unsigned index, bool is_ordered)
{
    put_all(w, index);
    run_until(w, answered(w, index) == DEPTH);
    reap_all(w, index, is_ordered);
}

/* Some of ring 0 were answered, and the others are held or wait for those: returns how many were.
 */
static unsigned hold_some(struct world *w, uint64_t features, bool has_log)
{
    connect_guest(w, features, has_log);
    device_resume(&w->dev, PAUSE_ADMIN);
    put_all(w, 0);
    run_until(w, held(w) == DEPTH / EVERY);
    pause_drained(w, PAUSE_MESSAGE);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_in_range(answered(w, 0), 0, DEPTH - 1);
    return answered(w, 0);
}

/* ---- tests ---- */

/* The next one has a good image. */
static void finish_with_the_next(struct world *w, uint64_t features, unsigned before)
{
    bool is_ordered = features >> VIRTIO_F_IN_ORDER & 1;

    connect_guest(w, features, true);
    assert_int_equal(w->dev.queue[0].ring.held_count, DEPTH - before);
    assert_int_equal(w->dev.queue[1].ring.held_count, 0);
    use_image(w, 0);
    set_lanes(w, 2);
    set_lanes(w, 1);
    set_lanes(w, 2);
    assert_int_equal(answered(w, 0), before);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, answered(w, 0) == DEPTH);
    reap_all(w, 0, is_ordered);
    serve(w, 0, is_ordered);
    serve(w, 1, is_ordered);
}

/* Nobody answers them when the ring stops, and threads come and go before they are tried. */
static void held_requests_are_left_to_the_log(void **state)
{
    struct world *w = *state;
    unsigned before = hold_some(w, modern, true);

    assert_int_equal(before, DEPTH - DEPTH / EVERY);
    stop_ring(w, 0);
    assert_int_equal(answered(w, 0), before);
    disconnect_guest(w);
    assert_int_equal(answered(w, 0), before);
    finish_with_the_next(w, modern, before);
}

/* What was done behind a held one was not shown, and is done again. */
static void requests_that_wait_for_their_turn_are_left_to_the_log(void **state)
{
    struct world *w = *state;
    unsigned before = hold_some(w, in_order, true);

    assert_in_range(before, 0, EVERY - 1);
    disconnect_guest(w);
    assert_int_equal(answered(w, 0), before);
    finish_with_the_next(w, in_order, before);
}

static void expect_errors_in_order(struct world *w)
{
    unsigned errors = 0;

    assert_int_equal(answered(w, 0), DEPTH);
    for (unsigned i = 0; i < DEPTH; i++) {
        struct frontend_request *request = frontend_reap(&w->guest.ring[0]);

        assert_ptr_equal(request, w->put[0][i]);
        errors += request->blk->status == VIRTIO_BLK_S_IOERR;
        frontend_release(request);
    }
    assert_int_equal(errors, DEPTH / EVERY);
}

static uint64_t take_signals(const struct world *w)
{
    uint64_t count = 0;

    (void)!read(w->guest.ring[0].fds->call, &count, sizeof(count));
    return count;
}

/* The first is held, so there is nothing to be seen. */
static void answers_that_wait_for_their_turn_interrupt_nobody(void **state)
{
    struct world *w = *state;

    connect_guest(w, in_order, false);
    (void)take_signals(w);
    device_resume(&w->dev, PAUSE_ADMIN);
    put_all(w, 0);
    run_until(w, held(w) == DEPTH / EVERY);
    pause_drained(w, PAUSE_ADMIN);
    assert_int_equal(answered(w, 0), 0);
    assert_int_equal(take_signals(w), 0);
    use_image(w, 0);
    assert_true(device_retry(&w->dev));
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, answered(w, 0) == DEPTH);
    reap_all(w, 0, true);
    assert_in_range(take_signals(w), 1, 2);
}

static void held_requests_are_answered_in_order_where_there_is_no_log(void **state)
{
    struct world *w = *state;

    (void)hold_some(w, in_order, false);
    stop_ring(w, 0);
    expect_errors_in_order(w);
}

/* The log of requests in flight does not go to the other host. */
static void held_requests_are_answered_in_order_where_the_guest_moves(void **state)
{
    struct world *w = *state;
    int fd = memfd_create("dirty", MFD_CLOEXEC);
    struct inflight_split *log;

    assert_return_code(ftruncate(fd, 4096), errno);
    (void)hold_some(w, in_order, true);
    device_park(&w->dev);
    assert_int_equal(mem_log_open(&w->dev.view.mem, 4096, 0, fd, NULL), 0);
    device_unpark(&w->dev);
    log = w->dev.ring[0].inflight.at;
    stop_ring(w, 0);
    expect_errors_in_order(w);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        assert_int_equal(log->desc[i].is_inflight, 0);
    }
    assert_int_equal(log->used_idx, DEPTH);
    close(fd);
}

/* They are tried again, with those that have come since. */
static void ring_that_goes_on_in_the_same_connection_finds_what_it_held(void **state)
{
    struct world *w = *state;
    unsigned before = hold_some(w, in_order, true);

    stop_ring(w, 0);
    stop_ring(w, 1);
    assert_int_equal(hand_in(w), 0); /* again, as QEMU does */
    use_image(w, 0);
    for (unsigned i = 0; i < RINGS; i++) {
        device_guest_start_ring(&w->dev, &w->guest, i, w->dev.ring[i].base);
    }
    assert_int_equal(answered(w, 0), before);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, answered(w, 0) == DEPTH);
    reap_all(w, 0, true);
    serve(w, 0, true);
}

static bool is_paused_by_error(const struct world *w)
{
    return w->dev.view.pause_mask & PAUSE_ERROR;
}

/* What the log keeps is tried by whoever serves the ring next, and may fail again. */
static void pause_for_an_error_ends_with_its_ring_and_may_come_back(void **state)
{
    static const struct error_policy stop = {ERROR_STOP, ERROR_STOP};
    struct world *w = *state;

    use_image_that(w, 1, false);
    device_set_errors(&w->dev, &stop);
    connect_guest(w, modern, true);
    device_resume(&w->dev, PAUSE_ADMIN);
    put_all(w, 0);
    for (unsigned i = 0; i < 2; i++) {
        run_until(w, is_paused_by_error(w));
        run_until(w, held(w) == DEPTH);
        stop_ring(w, 0);
        assert_false(is_paused_by_error(w));
        assert_int_equal(answered(w, 0), 0);
        device_guest_start_ring(&w->dev, &w->guest, 0, w->dev.ring[0].base);
    }
    run_until(w, is_paused_by_error(w));
    use_image(w, 0);
    assert_true(device_retry(&w->dev));
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, answered(w, 0) == DEPTH);
    reap_all(w, 0, false);
    serve(w, 1, false);
}

/* There is nobody who would try them. */
static void removal_answers_what_the_log_would_keep(void **state)
{
    struct world *w = *state;

    (void)hold_some(w, in_order, true);
    pause_drained(w, PAUSE_EXIT);
    device_fail_held(&w->dev);
    expect_errors_in_order(w);
    disconnect_guest(w);
    device_resume(&w->dev, PAUSE_EXIT);
    connect_guest(w, in_order, true);
    assert_int_equal(w->dev.queue[0].ring.held_count, 0);
}

/* A driver that accepts the other one has begun anew: it does not wait for what was held. */
static unsigned reap_errors(struct world *w)
{
    struct frontend_request *request;
    unsigned errors = 0;

    while ((request = frontend_reap(&w->guest.ring[0]))) {
        errors += request->blk->status == VIRTIO_BLK_S_IOERR;
        frontend_release(request);
    }
    return errors;
}

/* The disk gets another image while whoever has the log is away: a write would go into that. */
static void what_was_meant_for_another_medium_fails(void **state)
{
    struct world *w = *state;
    unsigned before = hold_some(w, modern, true);

    disconnect_guest(w);
    device_outdate_held(&w->dev);
    assert_int_equal(answered(w, 0), before);
    use_image(w, 0);
    connect_guest(w, modern, true);
    assert_int_equal(answered(w, 0), DEPTH);
    assert_int_equal(reap_errors(w), DEPTH - before);
    device_resume(&w->dev, PAUSE_ADMIN);
    serve(w, 0, false);
    serve(w, 1, false);
}

/* What comes after that is of the one that the disk has. */
static void medium_counts_for_what_was_found_first_alone(void **state)
{
    struct world *w = *state;
    unsigned before;

    device_outdate_held(&w->dev);
    before = hold_some(w, modern, true);
    disconnect_guest(w);
    finish_with_the_next(w, modern, before);
}

static void other_format_of_rings_begins_with_a_fresh_log(void **state)
{
    struct world *w = *state;
    struct inflight_split *log;

    (void)hold_some(w, modern, true);
    stop_ring(w, 0);
    stop_ring(w, 1);
    log = w->dev.ring[0].inflight.at;
    assert_int_equal(log->version, INFLIGHT_VERSION);
    assert_int_equal(device_set_features(&w->dev, modern), 0);
    assert_int_equal(log->version, INFLIGHT_VERSION);
    assert_int_equal(device_set_features(&w->dev, modern | 1ull << VIRTIO_F_RING_PACKED), 0);
    assert_int_equal(log->version, 0);
}

/* The features come first or last: of what is in the log nothing is known yet. */
static void format_that_is_said_behind_the_log_leaves_it(void **state)
{
    struct world *w = *state;
    struct inflight_split *log;

    make_log(w);
    assert_int_equal(hand_in(w), 0);
    log = w->dev.ring[0].inflight.at;
    log->version = INFLIGHT_VERSION;
    assert_int_equal(device_set_features(&w->dev, modern | 1ull << VIRTIO_F_RING_PACKED), 0);
    assert_int_equal(log->version, INFLIGHT_VERSION);
}

static void log_that_is_refused_leaves_the_one_before(void **state)
{
    struct world *w = *state;
    const struct device_inflight past = {.bytes = 1u << 20, .queues = RINGS};
    unsigned before = hold_some(w, modern, true);

    assert_int_equal(hand_in(w), -EBUSY);
    stop_ring(w, 0);
    assert_int_equal(hand_in(w), -EBUSY);
    stop_ring(w, 1);
    assert_int_equal(device_inflight_open(&w->dev, &past, w->log_fd, NULL), -EINVAL);
    device_guest_start_ring(&w->dev, &w->guest, 0, w->dev.ring[0].base);
    assert_int_equal(w->dev.queue[0].ring.held_count, DEPTH - before);
}

static void set_fenced(struct world *w, bool on)
{
    device_set_fenced(&w->dev, on);
    for (unsigned i = 0; i < 20; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
}

/* A read of the process before may come into a buffer that the driver has again. */
static void buffers_are_free_when_the_one_before_has_ended(void **state)
{
    struct world *w = *state;

    connect_guest(w, modern, true);
    set_lanes(w, 2);
    for (unsigned i = 0; i < RINGS; i++) {
        unsigned before = w->times_drained;

        w->drain = (struct drain){.done = on_drained, .frees_memory = true};
        device_ring_pause(&w->dev, i, &w->drain);
        set_fenced(w, true);
        assert_int_equal(w->times_drained, before);
        set_fenced(w, false);
        run_until(w, w->times_drained > before);
    }
    device_set_fenced(&w->dev, true);
    pause_drained(w, PAUSE_MESSAGE); /* it frees none */
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(held_requests_are_left_to_the_log),
        in_world(pause_for_an_error_ends_with_its_ring_and_may_come_back),
        in_world(removal_answers_what_the_log_would_keep),
        in_world(requests_that_wait_for_their_turn_are_left_to_the_log),
        in_world(answers_that_wait_for_their_turn_interrupt_nobody),
        in_world(held_requests_are_answered_in_order_where_there_is_no_log),
        in_world(held_requests_are_answered_in_order_where_the_guest_moves),
        in_world(ring_that_goes_on_in_the_same_connection_finds_what_it_held),
        in_world(what_was_meant_for_another_medium_fails),
        in_world(medium_counts_for_what_was_found_first_alone),
        in_world(other_format_of_rings_begins_with_a_fresh_log),
        in_world(format_that_is_said_behind_the_log_leaves_it),
        in_world(log_that_is_refused_leaves_the_one_before),
        in_world(buffers_are_free_when_the_one_before_has_ended),
    };

    return unit_run(tests);
}
