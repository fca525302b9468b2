/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */

/*
 * A ring that is suspended, in both formats: what the image was not given stays in the log of
 * requests in flight, nothing is stored from then on, and whoever has the log next does just that.
 */

#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/device/device_state.h"
#include "core/device/lane_delay.h"
#include "core/device/throttle.h"
#include "core/virtio/inflight.h"
#include "tests/unit/device_end.h"
#include "tests/unit/device_guest.h"

#define RING_SIZE 32u
#define DEPTH 8u
#define DISK_BYTES (1ull << 30)
#define DIRTY_BYTES 4096u
#define PATIENCE_NS (30 * NS_PER_S)

struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct frontend_request *put[DEPTH];
    struct throttle throttle;
    uint64_t features;
    int log_fd;
    int dirty_fd;
    struct drain drain;
    unsigned times_drained;
};

#define run_until(w, what)                              \
    do {                                                \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS; \
        while (!(what)) {                               \
            assert_true(now_ns() < deadline_ns_);       \
            uv_run(&(w)->loop, UV_RUN_NOWAIT);          \
        }                                               \
    } while (0)

/* ---- a limit that lets no write go ---- */

static uint64_t opens_at_once(struct throttle *throttle, const struct queue *q, uint64_t now_ns)
{
    (void)throttle;
    (void)q;
    return now_ns;
}

static uint64_t admits_reads(struct throttle *throttle, const struct request *request,
                             uint64_t now_ns)
{
    (void)throttle;
    return request->io.op == IO_READ ? now_ns : now_ns + 1000 * NS_PER_S;
}

static void took(struct throttle *throttle, const struct request *request, uint64_t now_ns)
{
    (void)throttle;
    (void)request;
    (void)now_ns;
}

static const struct throttle_ops no_writes = {
    .opens_ns = opens_at_once, .admits_ns = admits_reads, .took = took};

/* ---- the world ---- */

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

/* Of which each `every`th request fails, and is held; 0: none.  The device stays stopped. */
static void use_image(struct world *w, unsigned every)
{
    struct image_opts opts = {.type = "null",
                              .size = DISK_BYTES,
                              .error = every > 0 ? -EIO : 0,
                              .error_every = every,
                              .holds_errors = every > 0,
                              .max_inflight = 64};
    struct image *image;

    pause_drained(w, PAUSE_ADMIN);
    if (device_image(&w->dev)) {
        image_close(device_detach(&w->dev));
    }
    assert_int_equal(image_open(&image, &opts, NULL), 0);
    assert_int_equal(device_attach(&w->dev, image, NULL), 0);
}

static bool is_packed(const struct world *w)
{
    return w->features >> VIRTIO_F_RING_PACKED & 1;
}

static uint64_t log_bytes(const struct world *w)
{
    return ring_inflight_bytes(is_packed(w), RING_SIZE);
}

static void connect_guest(struct world *w, bool has_log)
{
    const struct device_inflight log = {.bytes = log_bytes(w), .queues = 1};

    device_guest_share(&w->dev, &w->guest);
    device_guest_accept(&w->dev, &w->guest, w->features);
    if (has_log) {
        assert_int_equal(device_inflight_open(&w->dev, &log, w->log_fd, NULL), 0);
    }
    device_guest_start_ring(&w->dev, &w->guest, 0, frontend_used_base(&w->guest.ring[0]));
    device_resume(&w->dev, PAUSE_GONE);
    device_resume(&w->dev, PAUSE_ADMIN);
}

static void disconnect_guest(struct world *w)
{
    pause_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
}

static void begin_migration(struct world *w)
{
    device_park(&w->dev);
    assert_int_equal(mem_log_open(&w->dev.view.mem, DIRTY_BYTES, 0, w->dirty_fd, NULL), 0);
    device_unpark(&w->dev);
}

static int world_start(void **state, bool has_packed)
{
    static struct world world;
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 512,
                           .queues = 1,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {.name = "vda",
                               .queues = 1,
                               .queue_size_max = 64,
                               .has_packed = true,
                               .awaited = &world.awaited};
    struct frontend_opts guest = {.queues = 1,
                                  .queue_size = RING_SIZE,
                                  .depth = DEPTH,
                                  .request_bytes = 4096,
                                  .is_packed = has_packed};

    memset(&world, 0, sizeof(world));
    world.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH |
                     (has_packed ? 1ull << VIRTIO_F_RING_PACKED : 0);
    world.throttle.ops = &no_writes;
    world.log_fd = memfd_create("log", MFD_CLOEXEC);
    world.dirty_fd = memfd_create("dirty", MFD_CLOEXEC);
    assert(ftruncate(world.log_fd, (off_t)log_bytes(&world)) == 0);
    assert(ftruncate(world.dirty_fd, DIRTY_BYTES) == 0);
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    frontend_init(&world.guest, &guest);
    if (has_packed) {
        struct ring_driver *drv = world.guest.ring[0].drv;

        ring_driver_init_packed(drv, drv->size, drv->packed, drv->offset, drv->chain);
    }
    use_image(&world, 0);
    *state = &world;
    return 0;
}

static int split_start(void **state)
{
    return world_start(state, false);
}

static int packed_start(void **state)
{
    return world_start(state, true);
}

static int world_stop(void **state)
{
    struct world *w = *state;

    pause_drained(w, PAUSE_EXIT);
    device_end(&w->dev, &w->loop);
    frontend_fini(&w->guest);
    close(w->log_fd);
    close(w->dirty_fd);
    return 0;
}

/* ---- the guest ---- */

static unsigned answered(const struct world *w)
{
    return frontend_used_count(&w->guest.ring[0]);
}

static void put_all(struct world *w, uint32_t type)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        w->put[i] = frontend_prepare(&w->guest.ring[0], type, 8ull * i, 4096);
        assert_non_null(w->put[i]);
        frontend_put(w->put[i]);
    }
    frontend_kick(&w->guest.ring[0]);
}

/* Each once, with one status. */
static void reap_all(struct world *w, uint8_t status)
{
    bool is_seen[DEPTH] = {false};

    run_until(w, answered(w) == DEPTH);
    for (unsigned i = 0; i < DEPTH; i++) {
        struct frontend_request *request = frontend_reap(&w->guest.ring[0]);
        unsigned which = 0;

        while (which < DEPTH && w->put[which] != request) {
            which++;
        }
        assert_in_range(which, 0, DEPTH - 1);
        assert_false(is_seen[which]);
        is_seen[which] = true;
        assert_int_equal(request->blk->status, status);
        frontend_release(request);
    }
}

static unsigned delayed(const struct world *w)
{
    return lane_delay_count(&w->dev.queue[0]);
}

static void delay_all(struct world *w, bool has_log)
{
    connect_guest(w, has_log);
    device_set_throttle(&w->dev, &w->throttle);
    put_all(w, VIRTIO_BLK_T_OUT);
    run_until(w, delayed(w) == DEPTH);
}

static void hold_all(struct world *w, bool has_log)
{
    use_image(w, 1);
    connect_guest(w, has_log);
    put_all(w, VIRTIO_BLK_T_IN);
    run_until(w, w->dev.queue[0].ring.held_count == DEPTH);
}

static uint32_t suspend(struct world *w)
{
    unsigned before = w->times_drained;

    w->drain = (struct drain){.done = on_drained};
    device_ring_suspend(&w->dev, 0, &w->drain);
    run_until(w, w->times_drained > before);
    return device_ring_stop(&w->dev, 0);
}

/* Whoever serves the guest next, here or elsewhere, has the log and an image that is well. */
static void expect_all_done_by_the_next(struct world *w)
{
    disconnect_guest(w);
    device_set_throttle(&w->dev, NULL);
    use_image(w, 0);
    assert_int_equal(answered(w), 0);
    connect_guest(w, true);
    reap_all(w, VIRTIO_BLK_S_OK);
    put_all(w, VIRTIO_BLK_T_OUT);
    reap_all(w, VIRTIO_BLK_S_OK);
}

/* ---- tests ---- */

static void what_waits_for_a_limit_goes_with_the_log(void **state)
{
    struct world *w = *state;
    struct stats stats;

    delay_all(w, true);
    begin_migration(w);
    (void)suspend(w);
    assert_int_equal(delayed(w), 0);
    device_stats(&w->dev, &stats);
    assert_int_equal(stats.inflight, 0);
    assert_int_equal(stats.submitted, 0);
    expect_all_done_by_the_next(w);
}

static void what_is_held_goes_with_the_log(void **state)
{
    struct world *w = *state;

    hold_all(w, true);
    begin_migration(w);
    (void)suspend(w);
    expect_all_done_by_the_next(w);
}

/* What the next one has found, and was not given an image to try it with. */
static void what_was_found_and_not_tried_goes_with_the_log(void **state)
{
    struct world *w = *state;

    delay_all(w, true);
    (void)suspend(w);
    disconnect_guest(w);
    use_image(w, 0);
    connect_guest(w, true);
    pause_drained(w, PAUSE_ADMIN);
    begin_migration(w);
    (void)suspend(w);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, true);
    disconnect_guest(w);
    device_set_throttle(&w->dev, NULL);
    connect_guest(w, true);
    reap_all(w, VIRTIO_BLK_S_OK);
}

static void nothing_is_stored_once_it_is_suspended(void **state)
{
    struct world *w = *state;
    const struct arena *arena = &w->guest.arena;
    void *before = malloc(arena->size);

    delay_all(w, true);
    (void)suspend(w);
    assert_non_null(before);
    memcpy(before, arena->host, arena->size);
    device_set_throttle(&w->dev, NULL);
    for (unsigned i = 0; i < 50; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_memory_equal(before, arena->host, arena->size);
    free(before);
}

/* It goes on here, as the migration was given up. */
static void ring_that_starts_again_does_what_it_was_suspended_with(void **state)
{
    struct world *w = *state;

    uint32_t base;

    delay_all(w, true);
    begin_migration(w);
    base = suspend(w);
    device_set_throttle(&w->dev, NULL);
    device_guest_start_ring(&w->dev, &w->guest, 0, base);
    reap_all(w, VIRTIO_BLK_S_OK);
}

static void ring_without_a_log_does_all_first(void **state)
{
    struct world *w = *state;

    delay_all(w, false);
    (void)suspend(w);
    reap_all(w, VIRTIO_BLK_S_OK);
}

static void what_is_held_without_a_log_fails(void **state)
{
    struct world *w = *state;

    hold_all(w, false);
    (void)suspend(w);
    reap_all(w, VIRTIO_BLK_S_IOERR);
}

#define in_both(test)                                               \
    cmocka_unit_test_setup_teardown(test, split_start, world_stop), \
    {                                                               \
        "packed: " #test, test, packed_start, world_stop, NULL      \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_both(what_waits_for_a_limit_goes_with_the_log),
        in_both(what_is_held_goes_with_the_log),
        in_both(what_was_found_and_not_tried_goes_with_the_log),
        in_both(nothing_is_stored_once_it_is_suspended),
        in_both(ring_that_starts_again_does_what_it_was_suspended_with),
        in_both(ring_without_a_log_does_all_first),
        in_both(what_is_held_without_a_log_fails),
    };

    return unit_run(tests);
}
