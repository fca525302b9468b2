/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/block/image.h"
#include "core/block/image_opts.h"
#include "core/device/device_state.h"
#include "core/device/throttle.h"
#include "tests/unit/chance.h"
#include "tests/unit/device_end.h"
#include "tests/unit/device_guest.h"

#define RINGS 4
#define RING_SIZE 256
#define DEPTH 16
#define STOCK 48 /* requests of a ring; more than the lane takes of one in its turn */
#define DISK_BYTES (1ull << 30)
#define PATIENCE_NS (30 * NS_PER_S)

/*
 * A rule that lets some rings never go, and the others so many requests in a period, all of them
 * together.  A period begins when the first asks after the last one's end, so a slow machine has
 * longer ones and no more of them.
 */
struct rule {
    struct throttle throttle;
    pthread_mutex_t lock;
    uint64_t closed; /* rings that may not go; bit = index */
    unsigned per_period;
    uint64_t period_ns; /* 0: there are none, and no limit */
    uint64_t end_ns;    /* of this period */
    unsigned left;      /* in this period */
    unsigned periods;
    unsigned asked[RINGS];
    unsigned took[RINGS];
    unsigned before[RINGS];    /* went of all rings when the first of this one did */
    unsigned late;             /* ways that may not go; bit = enum delay_way; asked by request */
    uint64_t last[DELAY_WAYS]; /* offset of the last that went */
    unsigned turned_back;      /* went before one that was asked for earlier, of their way */
};

/* A device with four rings, its guest, and the rule. */
struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct rule rule;
    struct drain drain;
    unsigned times_drained;
    void (*turned)(struct lane *lane); /* the first lane's own */
    unsigned lane_turns;               /* of it */
};

/* ---- the rule ---- */

static unsigned sum_of(const unsigned *of_ring)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < RINGS; i++) {
        sum += of_ring[i];
    }
    return sum;
}

static uint64_t period_opens_ns(struct rule *rule, uint64_t now)
{
    if (now >= rule->end_ns) {
        rule->end_ns = now + rule->period_ns;
        rule->left = rule->per_period;
        rule->periods++;
    }
    return rule->left > 0 ? now : rule->end_ns;
}

static uint64_t rule_opens_ns(struct throttle *throttle, const struct queue *q, uint64_t now)
{
    struct rule *rule = containerof(throttle, struct rule, throttle);
    uint64_t opens_ns = now;

    pthread_mutex_lock(&rule->lock);
    rule->asked[q->index]++;
    if (rule->closed & BIT(q->index)) {
        opens_ns = UINT64_MAX;
    } else if (rule->period_ns > 0) {
        opens_ns = period_opens_ns(rule, now);
    }
    pthread_mutex_unlock(&rule->lock);
    return opens_ns;
}

static void rule_took(struct throttle *throttle, const struct request *request, uint64_t now)
{
    struct rule *rule = containerof(throttle, struct rule, throttle);

    (void)now;
    pthread_mutex_lock(&rule->lock);
    if (rule->took[request->queue->index]++ == 0) {
        rule->before[request->queue->index] = sum_of(rule->took) - 1;
    }
    rule->left -= rule->left > 0; /* lanes ask before others have told */
    pthread_mutex_unlock(&rule->lock);
}

static const struct throttle_ops rule_ops = {.opens_ns = rule_opens_ns, .took = rule_took};

/* Requests are put in the order of their offsets. */
static void note_order(struct rule *rule, const struct request *request, enum delay_way way)
{
    if (request->io.op != IO_FLUSH) {
        rule->turned_back += request->io.offset < rule->last[way];
        rule->last[way] = request->io.offset;
    }
}

static enum delay_way way_of_request(const struct request *request)
{
    return request->io.op == IO_READ ? DELAY_READS : DELAY_WRITES;
}

static void request_took(struct throttle *throttle, const struct request *request, uint64_t now)
{
    struct rule *rule = containerof(throttle, struct rule, throttle);

    rule_took(throttle, request, now);
    pthread_mutex_lock(&rule->lock);
    note_order(rule, request, way_of_request(request));
    pthread_mutex_unlock(&rule->lock);
}

static uint64_t request_admits_ns(struct throttle *throttle, const struct request *request,
                                  uint64_t now)
{
    struct rule *rule = containerof(throttle, struct rule, throttle);
    uint64_t opens_ns = now;

    pthread_mutex_lock(&rule->lock);
    rule->asked[request->queue->index]++;
    if (rule->late & BIT(way_of_request(request))) {
        opens_ns = UINT64_MAX;
    } else if (rule->period_ns > 0) {
        opens_ns = period_opens_ns(rule, now);
    }
    pthread_mutex_unlock(&rule->lock);
    if (opens_ns <= now) {
        request_took(throttle, request, now);
    }
    return opens_ns;
}

static uint64_t ring_opens_ns(struct throttle *throttle, const struct queue *q, uint64_t now)
{
    (void)throttle;
    (void)q;
    return now;
}

static const struct throttle_ops request_ops = {
    .opens_ns = ring_opens_ns, .admits_ns = request_admits_ns, .took = request_took};

/* It says otherwise from now on. */
static void set_rule(struct world *w, uint64_t closed, unsigned per_period, uint64_t period_ns)
{
    pthread_mutex_lock(&w->rule.lock);
    w->rule.closed = closed;
    w->rule.per_period = per_period;
    w->rule.period_ns = period_ns;
    w->rule.end_ns = 0;
    pthread_mutex_unlock(&w->rule.lock);
    device_set_throttle(&w->dev, &w->rule.throttle);
}

/* No lane asks meanwhile. */
static void set_ops(struct world *w, const struct throttle_ops *ops, unsigned late)
{
    device_park(&w->dev);
    w->rule.throttle.ops = ops;
    w->rule.late = late;
    device_unpark(&w->dev);
}

/* The same by request, as where directions have limits of their own. */
static void set_ways(struct world *w, unsigned late, unsigned per_period, uint64_t period_ns)
{
    set_ops(w, &request_ops, late);
    set_rule(w, 0, per_period, period_ns);
}

static unsigned asked(const struct world *w)
{
    return sum_of(w->rule.asked);
}

/* ---- the world ---- */

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

#define run_until(w, what)                                                            \
    do {                                                                              \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS;                               \
        struct pollfd poll_fd_ = {.fd = uv_backend_fd(&(w)->loop), .events = POLLIN}; \
        turn(w);                                                                      \
        while (!(what)) {                                                             \
            assert_true(now_ns() < deadline_ns_);                                     \
            poll(&poll_fd_, 1, 1);                                                    \
            turn(w);                                                                  \
        }                                                                             \
    } while (0)

/* Each turn of the first lane that had work. */
static void count_turn(struct lane *lane)
{
    struct world *w = containerof(lane, struct world, dev.lanes.first);

    w->lane_turns++;
    w->turned(lane);
}

static void count_turns(struct world *w)
{
    w->turned = w->dev.lanes.first.turned;
    w->dev.lanes.first.turned = count_turn;
}

static struct image *open_null(uint32_t error_every, bool holds_errors)
{
    struct image_opts opts = {.type = "null",
                              .size = DISK_BYTES,
                              .error = error_every ? -EIO : 0,
                              .error_every = error_every,
                              .holds_errors = holds_errors,
                              .max_inflight = 64};
    struct image *image;

    assert(image_open(&image, &opts, NULL) == 0);
    return image;
}

static void start_guest(struct world *w)
{
    const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                              1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH;

    device_guest_start(&w->dev, &w->guest, features);
    turns(w, 3);
}

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

static void init_guest(struct world *w)
{
    const struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = STOCK, .request_bytes = 4096};

    frontend_init(&w->guest, &guest);
}

static int world_start(void **state)
{
    static struct world world;
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 4096,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {
        .name = "vda", .queues = RINGS, .queue_size_max = RING_SIZE, .awaited = &world.awaited};

    memset(&world, 0, sizeof(world));
    assert(uv_loop_init(&world.loop) == 0);
    assert(device_init(&world.dev, &world.loop, &opts, &blk, NULL) == 0);
    assert(device_attach(&world.dev, open_null(0, false), NULL) == 0);
    pthread_mutex_init(&world.rule.lock, NULL);
    world.rule.throttle.ops = &rule_ops;
    world.drain.done = on_drained;
    init_guest(&world);
    start_guest(&world);
    set_rule(&world, 0, 0, 0);
    turns(&world, 3);
    count_turns(&world);
    *state = &world;
    return 0;
}

static void wait_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;

    device_pause(&w->dev, reason, &w->drain);
    run_until(w, w->times_drained > before);
}

static int world_stop(void **state)
{
    struct world *w = *state;

    wait_drained(w, PAUSE_EXIT);
    device_end(&w->dev, &w->loop);
    frontend_fini(&w->guest);
    pthread_mutex_destroy(&w->rule.lock);
    return 0;
}

/* ---- the guest's load ---- */

/* Of `type`, so many sectors from each to the next; a flush has no data. */
static void put_type(struct world *w, unsigned ring, unsigned count, uint32_t type, unsigned step)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request = frontend_prepare(
            &w->guest.ring[ring], type, (uint64_t)i * step, type == VIRTIO_BLK_T_FLUSH ? 0 : 512);

        assert_non_null(request);
        frontend_put(request);
    }
    frontend_kick(&w->guest.ring[ring]);
}

/* Reads that continue each other. */
static void put(struct world *w, unsigned ring, unsigned count)
{
    put_type(w, ring, count, VIRTIO_BLK_T_IN, 1);
}

static void kick(struct world *w, unsigned ring)
{
    uint64_t one = 1;

    assert_int_equal(write(w->guest.ring[ring].fds->kick, &one, sizeof(one)), sizeof(one));
}

static unsigned used(const struct world *w, unsigned ring)
{
    return raw_ring_used_count(w->guest.ring[ring].drv);
}

static void take(struct world *w, unsigned ring, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request = frontend_reap(&w->guest.ring[ring]);

        assert_non_null(request);
        assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
        frontend_release(request);
    }
}

static void reap(struct world *w, unsigned ring, unsigned count)
{
    run_until(w, used(w, ring) == count);
    take(w, ring, count);
}

/* ---- what a gate costs ---- */

static bool is_active(const void *handle)
{
    return uv_is_active(handle);
}

static bool sleeps(const struct world *w)
{
    return !is_active(&w->dev.lanes.first.idle) && !is_active(&w->dev.lanes.first.look);
}

/* Nothing is done for it but what its timer does, when that comes. */
static void assert_rests(struct world *w, uint64_t rings)
{
    const struct lane *lane = &w->dev.lanes.first;
    unsigned lane_turns, times_asked;

    run_until(w, sleeps(w));
    turns(w, 2);
    lane_turns = w->lane_turns;
    times_asked = asked(w);
    for (unsigned i = 0; i < 10; i++) {
        turn(w);
        assert_true(sleeps(w));
        usleep(500);
    }
    assert_int_equal(w->lane_turns, lane_turns);
    assert_int_equal(asked(w), times_asked);
    assert_int_equal(lane->gated, rings);
    assert_int_equal(lane->quiet & rings, rings);
    assert_int_equal(lane->ready & rings, 0);
    assert_int_equal(is_active(&lane->gate), rings != 0);
}

/* Ring 0 has `count` that may not go. */
static void gate_ring(struct world *w, unsigned count)
{
    set_rule(w, 1, 0, 0);
    put(w, 0, count);
    assert_rests(w, 1);
    assert_int_equal(used(w, 0), 0);
}

static void open_ring(struct world *w, unsigned count)
{
    set_rule(w, 0, 0, 0);
    reap(w, 0, count);
    assert_int_equal(w->dev.lanes.first.gated, 0);
}

static void ring_that_may_not_go_is_left_alone(void **state)
{
    struct world *w = *state;
    unsigned before = w->rule.asked[0];

    gate_ring(w, 5);
    assert_int_equal(w->rule.asked[0], before + 1);
    assert_int_equal(ring_base(&w->dev.queue[0].ring), 0);
    open_ring(w, 5);
    assert_int_equal(w->rule.took[0], 5);
}

static void ring_that_is_empty_is_kicked_as_ever(void **state)
{
    struct world *w = *state;

    set_rule(w, 0, 2, 1000 * NS_PER_S);
    put(w, 0, 2);
    reap(w, 0, 2);
    assert_rests(w, 0);
    assert_int_equal(w->dev.lanes.first.quiet, 0);
    put(w, 0, 1);
    assert_rests(w, 1);
    open_ring(w, 1);
}

/* A driver may do so whatever it is asked. */
static void kicks_of_a_gated_ring_cost_a_turn_each_and_take_nothing(void **state)
{
    struct world *w = *state;
    unsigned before;

    gate_ring(w, 3);
    before = w->rule.asked[0];
    for (unsigned i = 0; i < 5; i++) {
        kick(w, 0);
        assert_rests(w, 1);
    }
    assert_int_equal(w->rule.asked[0], before);
    put(w, 0, 2); /* not kicked for */
    assert_rests(w, 1);
    open_ring(w, 5);
}

static void requests_go_as_the_rule_lets_them_and_the_lane_sleeps_in_between(void **state)
{
    struct world *w = *state;
    unsigned before;

    turns(w, 3);
    before = w->lane_turns;
    set_rule(w, 0, 2, 3 * NS_PER_MS);
    memset(w->rule.asked, 0, sizeof(w->rule.asked));
    w->rule.periods = 0;
    put(w, 0, DEPTH);
    reap(w, 0, DEPTH);
    assert_in_range(w->rule.periods, DEPTH / 2, DEPTH); /* a slow one is over before the second */
    assert_in_range(w->lane_turns - before, DEPTH / 2, 4 * w->rule.periods + 8);
    assert_in_range(asked(w), DEPTH, DEPTH + 4 * w->rule.periods + 8);
}

static uint64_t spins(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats.poll_hits + stats.poll_misses;
}

static void nobody_spins_for_a_gated_ring(void **state)
{
    const struct device_poll poll = {.max_us = DEVICE_POLL_US_MAX, .cpu_percent = 100};
    struct world *w = *state;
    uint64_t before;

    put(w, 0, 4);
    reap(w, 0, 4);
    set_rule(w, 1, 0, 0);
    turns(w, 3);
    w->dev.lanes.first.used = 1; /* nobody waits for the others */
    put(w, 0, 4);
    device_set_poll(&w->dev, &poll);
    before = spins(w);
    assert_rests(w, 1);
    assert_int_equal(spins(w), before);
    open_ring(w, 4);
}

static void other_rings_go_on_and_are_looked_at_in_spins(void **state)
{
    const struct device_poll poll = {.max_us = 20, .cpu_percent = 100};
    struct world *w = *state;
    unsigned times_asked, before;

    gate_ring(w, 3);
    times_asked = w->rule.asked[0];
    before = w->lane_turns;
    for (unsigned i = 0; i < 10; i++) {
        device_set_poll(&w->dev, &poll); /* nothing was learned: it spins */
        put(w, 1, 4);
        reap(w, 1, 4);
        assert_rests(w, 1);
    }
    assert_true(spins(w) > 0);
    assert_int_equal(w->rule.asked[0], times_asked);
    assert_int_equal(used(w, 0), 0);
    assert_in_range(w->lane_turns - before, 10, 60);
    open_ring(w, 3);
}

/* Other rings have been used, so their guest is waited for; what comes is a ring that may go on. */
static void end_of_a_gate_teaches_nothing_of_guests(void **state)
{
    const struct device_poll choice = {.max_us = DEVICE_POLL_US_MAX, .cpu_percent = 100};
    struct world *w = *state;

    put(w, 1, 1);
    reap(w, 1, 1);
    assert_rests(w, 0);
    set_rule(w, 0, 1, 2 * NS_PER_MS);
    device_set_poll(&w->dev, &choice);
    put(w, 0, 8);
    run_until(w, used(w, 0) == 8);
    assert_true(spins(w) > 0);
    assert_int_equal(w->dev.lanes.first.spin.history[SPIN_FOR_GUEST].expect_ns, 0);
    reap(w, 0, 8);
}

/* Each time that one comes those whose own has not come are left alone. */
static void each_ring_has_its_own_time(void **state)
{
    struct world *w = *state;
    unsigned before;

    gate_ring(w, 3);
    set_rule(w, 1, 1, 2 * NS_PER_MS);
    put(w, 1, 4);
    turns(w, 3);
    before = w->rule.asked[0];
    reap(w, 1, 4);
    assert_int_equal(w->rule.asked[0], before);
    assert_rests(w, 1);
    open_ring(w, 3);
}

static void rings_that_share_a_limit_take_turns(void **state)
{
    struct world *w = *state;
    unsigned sum = 0;

    set_rule(w, 0, 1, 2 * NS_PER_MS);
    for (unsigned i = 0; i < RINGS; i++) {
        put(w, i, 8);
    }
    run_until(w, (sum = w->rule.took[0] + w->rule.took[1] + w->rule.took[2] + w->rule.took[3],
                  sum >= 4 * RINGS));
    for (unsigned i = 0; i < RINGS; i++) {
        assert_in_range(w->rule.took[i], sum / RINGS - 1, sum / RINGS + 1);
    }
    device_set_throttle(&w->dev, NULL);
    for (unsigned i = 0; i < RINGS; i++) {
        reap(w, i, 8);
    }
    assert_int_equal(w->dev.lanes.first.gated, 0);
}

static void late_wishes_are_looked_for_meanwhile(void **state)
{
    struct world *w = *state;
    struct lane *lane = &w->dev.lanes.first;

    gate_ring(w, 3);
    put(w, 1, 1);
    reap(w, 1, 1);
    (void)ring_driver_interrupts(w->guest.ring[1].drv, false);
    put(w, 1, 1);
    run_until(w, used(w, 1) == 1);
    assert_true(lane->untold & 2);
    run_until(w, !is_active(&lane->look));
    assert_int_equal(lane->untold, 0);
    assert_rests(w, 1);
    open_ring(w, 3);
}

/* ---- what ends it ---- */

/* Nothing waits for what may not go, and it is asked for anew. */
static void pause_ends_it_and_drains_at_once(void **state)
{
    struct world *w = *state;
    unsigned before;

    gate_ring(w, 3);
    wait_drained(w, PAUSE_ADMIN);
    assert_rests(w, 0);
    assert_int_equal(w->dev.lanes.first.quiet, 0);
    assert_false(is_active(&w->dev.lanes.first.gate));
    before = w->rule.asked[0];
    device_resume(&w->dev, PAUSE_ADMIN);
    assert_rests(w, 1);
    assert_int_equal(w->rule.asked[0], before + 1);
    wait_drained(w, PAUSE_ADMIN);
    set_rule(w, 0, 0, 0);
    turns(w, 3);
    assert_int_equal(used(w, 0), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
    reap(w, 0, 3);
}

static void on_ring_drained(struct drain *drain)
{
    drain->done = NULL;
}

static uint32_t stop_ring(struct world *w, unsigned index)
{
    struct drain drain = {.done = on_ring_drained};

    device_ring_pause(&w->dev, index, &drain);
    run_until(w, !drain.done);
    return device_ring_stop(&w->dev, index);
}

static void base_is_of_what_was_not_taken(void **state)
{
    struct world *w = *state;
    uint32_t base;

    set_rule(w, 0, 2, 1000 * NS_PER_S);
    put(w, 0, 5);
    run_until(w, used(w, 0) == 2);
    assert_rests(w, 1);
    base = stop_ring(w, 0);
    assert_int_equal(base, 2);
    assert_rests(w, 0);
    device_guest_start_ring(&w->dev, &w->guest, 0, base);
    assert_rests(w, 1);
    open_ring(w, 5);
}

static void ring_that_is_paused_and_goes_on_is_asked_for_anew(void **state)
{
    struct drain drain = {.done = on_ring_drained};
    struct world *w = *state;

    gate_ring(w, 3);
    device_ring_pause(&w->dev, 0, &drain);
    run_until(w, !drain.done);
    w->rule.closed = 0;
    assert_rests(w, 0);
    device_ring_resume(&w->dev, 0);
    reap(w, 0, 3);
}

static void change_image(struct world *w, struct image *image)
{
    wait_drained(w, PAUSE_ADMIN);
    image_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, image, NULL), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
}

static void stop_and_start_with_another_image(void **state)
{
    struct world *w = *state;

    gate_ring(w, 3);
    change_image(w, open_null(0, false));
    assert_rests(w, 1);
    open_ring(w, 3);
}

static void memory_goes_and_comes_back(void **state)
{
    struct world *w = *state;

    gate_ring(w, 3);
    wait_drained(w, PAUSE_MESSAGE);
    mem_clear(&w->dev.view.mem);
    assert_rests(w, 0);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_rests(w, 1);
    open_ring(w, 3);
}

static void next_front_end_finds_nothing_of_it(void **state)
{
    struct world *w = *state;

    gate_ring(w, 3);
    wait_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
    frontend_fini(&w->guest);
    init_guest(w);
    start_guest(w);
    assert_rests(w, 0);
    put(w, 1, 3);
    reap(w, 1, 3);
    put(w, 0, 3);
    assert_rests(w, 1);
    open_ring(w, 3);
}

static uint64_t held(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats.held;
}

/* What is tried again asks as what is new does. */
static void held_requests_wait_likewise(void **state)
{
    struct world *w = *state;

    change_image(w, open_null(1, true));
    put(w, 0, 3);
    run_until(w, held(w) == 3);
    change_image(w, open_null(0, false));
    set_rule(w, 1, 0, 0);
    turns(w, 3);
    assert_true(device_retry(&w->dev));
    assert_rests(w, 1);
    put(w, 0, 2);
    assert_rests(w, 1);
    assert_int_equal(used(w, 0), 0);
    open_ring(w, 5);
    assert_int_equal(held(w), 0);
}

static void set_lanes(struct world *w, unsigned lanes)
{
    wait_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, lanes, NULL, NULL), 0);
    device_resume(&w->dev, PAUSE_MOVE);
}

static bool is_gated(struct world *w, unsigned ring)
{
    bool is;

    device_park(&w->dev);
    is = w->dev.queue[ring].lane->gated >> ring & 1;
    device_unpark(&w->dev);
    return is;
}

static void gated_rings_move(void **state)
{
    struct world *w = *state;

    gate_ring(w, 3);
    set_rule(w, BIT(0) | BIT(1), 0, 0);
    put(w, 1, 3);
    assert_rests(w, BIT(0) | BIT(1));
    for (unsigned lanes = RINGS; lanes > 0; lanes--) {
        set_lanes(w, lanes);
        run_until(w, is_gated(w, 0) && is_gated(w, 1));
        for (unsigned i = 2; i < RINGS; i++) {
            put(w, i, 2);
            reap(w, i, 2);
        }
    }
    assert_rests(w, BIT(0) | BIT(1));
    set_rule(w, 0, 0, 0);
    reap(w, 0, 3);
    reap(w, 1, 3);
}

static void lanes_that_share_a_limit_sleep_in_between(void **state)
{
    struct world *w = *state;
    unsigned before;

    set_lanes(w, 2);
    set_rule(w, 0, 4, 3 * NS_PER_MS);
    before = asked(w);
    w->rule.periods = 0;
    for (unsigned i = 0; i < RINGS; i++) {
        put(w, i, DEPTH);
    }
    for (unsigned i = 0; i < RINGS; i++) {
        reap(w, i, DEPTH);
    }
    device_park(&w->dev);
    assert_true(w->rule.periods >= 4);
    assert_in_range(asked(w) - before, RINGS * DEPTH,
                    RINGS * DEPTH + 4 * RINGS * (w->rule.periods + 8));
    device_unpark(&w->dev);
}

/* ---- requests that wait while others go past them ---- */

static void put_writes(struct world *w, unsigned ring, unsigned count)
{
    put_type(w, ring, count, VIRTIO_BLK_T_OUT, 8);
}

static struct stats stats_now(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats;
}

/* Ring 0 has `count` writes that may not go. */
static void delay_writes(struct world *w, unsigned count)
{
    set_ways(w, BIT(DELAY_WRITES), 0, 0);
    put_writes(w, 0, count);
    run_until(w, stats_now(w).throttled == count);
}

static void let_writes(struct world *w, unsigned count)
{
    set_ways(w, 0, 0, 0);
    reap(w, 0, count);
    assert_int_equal(stats_now(w).throttled, 0);
}

/* A lane that has nothing else sleeps, and its rings are kicked. */
static void assert_waits(struct world *w)
{
    const struct lane *lane = &w->dev.lanes.first;
    unsigned lane_turns, times_asked;

    run_until(w, sleeps(w));
    turns(w, 2);
    lane_turns = w->lane_turns;
    times_asked = asked(w);
    for (unsigned i = 0; i < 10; i++) {
        turn(w);
        assert_true(sleeps(w));
        usleep(500);
    }
    assert_int_equal(w->lane_turns, lane_turns);
    assert_int_equal(asked(w), times_asked);
    assert_int_equal(lane->quiet, 0);
    assert_int_equal(lane->flight.guest, 0);
    assert_true(is_active(&lane->gate));
}

static void reads_go_past_writes_that_wait(void **state)
{
    struct world *w = *state;
    struct stats stats;

    delay_writes(w, 5);
    assert_waits(w);
    put(w, 0, 7);
    reap(w, 0, 7);
    put_writes(w, 0, 3);
    put(w, 1, 2);
    reap(w, 1, 2);
    assert_waits(w);
    assert_int_equal(used(w, 0), 0);
    stats = stats_now(w);
    assert_int_equal(stats.throttled, 8);
    assert_int_equal(stats.throttled_requests, 8);
    assert_int_equal(stats.inflight, 0);
    let_writes(w, 8);
    assert_true(stats_now(w).throttled_ns > 8 * 5 * NS_PER_MS);
}

static void writes_go_past_reads_that_wait(void **state)
{
    struct world *w = *state;

    set_ways(w, BIT(DELAY_READS), 0, 0);
    put(w, 0, 3);
    put_writes(w, 0, 4);
    reap(w, 0, 4);
    assert_waits(w);
    set_ways(w, 0, 0, 0);
    reap(w, 0, 3);
}

static void flush_waits_for_nothing(void **state)
{
    struct world *w = *state;

    delay_writes(w, 3);
    put_type(w, 0, 1, VIRTIO_BLK_T_FLUSH, 0);
    reap(w, 0, 1);
    assert_waits(w);
    let_writes(w, 3);
}

static void those_that_wait_go_in_their_order_as_the_rule_lets_them(void **state)
{
    struct world *w = *state;
    unsigned before = w->lane_turns;

    set_ways(w, 0, 2, 3 * NS_PER_MS);
    w->rule.periods = 0;
    put_writes(w, 0, DEPTH);
    reap(w, 0, DEPTH);
    assert_int_equal(w->rule.turned_back, 0);
    assert_in_range(w->rule.periods, DEPTH / 2, DEPTH);
    assert_in_range(w->lane_turns - before, 1, 6 * w->rule.periods + 8);
}

/* A cron job that does so must not keep a guest waiting for ever, nor let it go. */
static void same_rule_again_asks_and_no_more(void **state)
{
    struct world *w = *state;
    unsigned before;

    delay_writes(w, 3);
    before = asked(w);
    for (unsigned i = 0; i < 5; i++) {
        device_set_throttle(&w->dev, &w->rule.throttle);
        turns(w, 3);
    }
    assert_in_range(asked(w) - before, 5, 10);
    assert_waits(w);
    let_writes(w, 3);
}

static void end_of_all_limits_lets_them_go(void **state)
{
    struct world *w = *state;

    delay_writes(w, 3);
    device_set_throttle(&w->dev, NULL);
    reap(w, 0, 3);
    assert_int_equal(stats_now(w).throttled, 0);
}

/* The limit is lifted while it is drained: a backlog neither holds that up nor is lost. */
static void drain_has_them_done_at_once(void **state)
{
    struct world *w = *state;
    unsigned took = w->rule.took[0];

    delay_writes(w, 9);
    wait_drained(w, PAUSE_ADMIN);
    assert_int_equal(w->rule.took[0], took + 9); /* they were counted */
    take(w, 0, 9);
    assert_int_equal(w->rule.turned_back, 0);
    put_writes(w, 0, 2);
    device_resume(&w->dev, PAUSE_ADMIN);
    run_until(w, stats_now(w).throttled == 2);
    assert_waits(w);
    let_writes(w, 2);
}

static void start_that_takes_a_stop_back_has_them_wait(void **state)
{
    struct world *w = *state;

    delay_writes(w, 3);
    device_pause(&w->dev, PAUSE_ADMIN, NULL);
    device_resume(&w->dev, PAUSE_ADMIN);
    assert_waits(w);
    assert_int_equal(stats_now(w).throttled, 3);
    let_writes(w, 3);
}

static void ring_that_stops_has_its_own_done(void **state)
{
    struct world *w = *state;

    delay_writes(w, 4);
    put_writes(w, 1, 2);
    run_until(w, stats_now(w).throttled == 6);
    assert_int_equal(stop_ring(w, 0), 4);
    take(w, 0, 4);
    assert_int_equal(stats_now(w).throttled, 2); /* of the other one */
    device_guest_start_ring(&w->dev, &w->guest, 0, 4);
    set_ways(w, 0, 0, 0);
    reap(w, 1, 2);
}

static void they_are_done_before_threads_memory_or_image_change(void **state)
{
    struct world *w = *state;

    for (unsigned lanes = RINGS; lanes > 0; lanes--) {
        delay_writes(w, 3);
        set_lanes(w, lanes);
        take(w, 0, 3);
    }
    delay_writes(w, 3);
    wait_drained(w, PAUSE_MESSAGE);
    mem_clear(&w->dev.view.mem);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    take(w, 0, 3);
    delay_writes(w, 3);
    change_image(w, open_null(0, false));
    take(w, 0, 3);
}

static void front_end_that_leaves_leaves_none_behind(void **state)
{
    struct world *w = *state;

    delay_writes(w, 3);
    wait_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
    assert_int_equal(stats_now(w).throttled, 0);
    frontend_fini(&w->guest);
    init_guest(w);
    start_guest(w);
    put(w, 0, 3);
    reap(w, 0, 3);
}

/* Zero pages lie where the guest has written something else. */
static void they_fail_when_memory_was_lost(void **state)
{
    struct world *w = *state;

    delay_writes(w, 3);
    atomic_store(&w->dev.view.mem.region[0].is_lost, true);
    set_ways(w, 0, 0, 0);
    run_until(w, stats_now(w).type[STATS_WRITE].errors == 3);
    atomic_store(&w->dev.view.mem.region[0].is_lost, false);
}

/* They are not at the image, so they are no sign of one that hangs. */
static void oldest_in_flight_is_none_that_waits(void **state)
{
    struct device_oldest oldest;
    struct world *w = *state;

    delay_writes(w, 3);
    assert_false(device_oldest(&w->dev, &oldest));
    let_writes(w, 3);
}

static void stats_tell_of_gated_rings(void **state)
{
    struct world *w = *state;
    struct stats stats;

    gate_ring(w, 3);
    stats = stats_now(w);
    assert_int_equal(stats.throttled, 1);
    assert_int_equal(stats.throttled_requests, 1);
    device_set_throttle(&w->dev, &w->rule.throttle); /* it is the same that waits */
    assert_rests(w, 1);
    open_ring(w, 3);
    stats = stats_now(w);
    assert_int_equal(stats.throttled, 0);
    assert_true(stats.throttled_ns > 5 * NS_PER_MS);
}

/* ---- batches ---- */

/* What is learned of others, or set, says nothing of a ring's turn where nothing counts. */
static void assert_turn_of_all(struct world *w, unsigned batch, uint32_t type, unsigned step,
                               unsigned count)
{
    assert_rests(w, 0);
    memset(w->rule.took, 0, sizeof(w->rule.took));
    device_set_batch(&w->dev, batch);
    w->dev.lanes.first.first = 0; /* ring 0 is the first that is served */
    put_type(w, 0, STOCK, type, step);
    put(w, 1, 1);
    reap(w, 0, STOCK);
    reap(w, 1, 1);
    assert_int_equal(w->rule.before[1], count);
}

static void requests_that_cost_nothing_leave_others_their_turn(void **state)
{
    struct world *w = *state;

    assert_turn_of_all(w, 1, VIRTIO_BLK_T_FLUSH, 0, 32);
    assert_turn_of_all(w, 2, VIRTIO_BLK_T_IN, 1, 32); /* one operation, which counts once */
    assert_turn_of_all(w, 40, VIRTIO_BLK_T_FLUSH, 0, 40);
    assert_turn_of_all(w, 40, VIRTIO_BLK_T_IN, 2, 40);
}

/* Once for each request and once a period, in vain; and when the ring is empty. */
static void gate_is_asked_no_more_often_by_batches(void **state)
{
    struct world *w = *state;
    unsigned before;

    for (unsigned batch = 1; batch <= 3; batch++) {
        device_set_batch(&w->dev, batch);
        set_rule(w, 0, 2, 3 * NS_PER_MS);
        turns(w, 3);
        before = asked(w);
        w->rule.periods = 0;
        put_type(w, 0, DEPTH, VIRTIO_BLK_T_IN, 2);
        reap(w, 0, DEPTH);
        assert_in_range(asked(w) - before, DEPTH, DEPTH + w->rule.periods + 4);
        assert_rests(w, 0);
    }
}

/* A batch that is full sends the others' turn to the next, as who had one does. */
static void rings_that_share_a_limit_take_turns_whatever_the_batch(void **state)
{
    struct world *w = *state;

    for (unsigned batch = 1; batch <= 3; batch++) {
        unsigned sum = 0;

        assert_rests(w, 0);
        memset(w->rule.took, 0, sizeof(w->rule.took));
        device_set_batch(&w->dev, batch);
        set_rule(w, 0, 1, 2 * NS_PER_MS);
        for (unsigned i = 0; i < RINGS; i++) {
            put_type(w, i, 8, VIRTIO_BLK_T_IN, 2);
        }
        run_until(w, (sum = sum_of(w->rule.took), sum >= 4 * RINGS));
        for (unsigned i = 0; i < RINGS; i++) {
            assert_in_range(w->rule.took[i], sum / RINGS - 1, sum / RINGS + 1);
        }
        set_rule(w, 0, 0, 0);
        for (unsigned i = 0; i < RINGS; i++) {
            reap(w, i, 8);
        }
    }
}

/* It finishes as much as the limit lets it, whatever the size: that is not to be learned from. */
static void lane_that_waits_for_a_gate_is_idle_to_what_it_learns(void **state)
{
    const struct batch *batch;
    struct world *w = *state;

    batch = &w->dev.lanes.first.batch;
    set_rule(w, 0, 4, 1000 * NS_PER_S);
    put(w, 0, 8);
    run_until(w, used(w, 0) == 4);
    assert_rests(w, 1);
    assert_true(batch->idle_start_ns > 0);
    open_ring(w, 8);
}

/* ---- all of it ---- */

static void put_what_fits(struct world *w, unsigned ring, unsigned count)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH};
    unsigned room = DEPTH - w->guest.ring[ring].inflight;

    put_type(w, ring, min_of(count, room), types[chance(ARRAY_SIZE(types))], 1);
}

/* Returns how many are not done yet. */
static unsigned take_what_is_there(struct world *w)
{
    unsigned left = 0;

    for (unsigned i = 0; i < RINGS; i++) {
        take(w, i, used(w, i));
        left += w->guest.ring[i].inflight;
    }
    return left;
}

static void exchange_memory(struct world *w)
{
    wait_drained(w, PAUSE_MESSAGE);
    mem_clear(&w->dev.view.mem);
    turn(w);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
}

static void stop_and_start(struct world *w)
{
    wait_drained(w, PAUSE_ADMIN);
    device_resume(&w->dev, PAUSE_ADMIN);
}

static void do_something(struct world *w)
{
    unsigned ring = chance(RINGS);

    set_ops(w, chance(2) ? &rule_ops : &request_ops, chance(1 << DELAY_WAYS));
    switch (chance(13)) {
    case 0:
        set_rule(w, chance(1 << RINGS), 0, 0);
        return;
    case 1:
        set_rule(w, 0, 1 + chance(8), NS_PER_MS / 2);
        return;
    case 2:
        device_set_throttle(&w->dev, NULL);
        return;
    case 3:
        stop_and_start(w);
        return;
    case 4:
        exchange_memory(w);
        return;
    case 5:
        device_guest_start_ring(&w->dev, &w->guest, ring, stop_ring(w, ring));
        return;
    case 6:
        set_lanes(w, 1 + ring);
        return;
    case 7:
        device_set_batch(&w->dev, chance(4));
        return;
    default:
        put_what_fits(w, ring, 1 + chance(6));
    }
}

static void nothing_is_lost_whatever_happens_meanwhile(void **state)
{
    struct world *w = *state;

    chance_begin();
    for (unsigned i = 0; i < 400; i++) {
        do_something(w);
        turn(w);
        (void)take_what_is_there(w);
    }
    set_ways(w, 0, 0, 0);
    run_until(w, take_what_is_there(w) == 0);
    device_park(&w->dev);
    for (unsigned i = 0; i < w->dev.lanes.count; i++) {
        assert_int_equal(w->dev.lanes.lane[i]->gated, 0);
        assert_int_equal(w->dev.lanes.lane[i]->delayed, 0);
        assert_int_equal(w->dev.lanes.lane[i]->flight.guest, 0);
    }
    device_unpark(&w->dev);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(ring_that_may_not_go_is_left_alone),
        in_world(ring_that_is_empty_is_kicked_as_ever),
        in_world(kicks_of_a_gated_ring_cost_a_turn_each_and_take_nothing),
        in_world(requests_go_as_the_rule_lets_them_and_the_lane_sleeps_in_between),
        in_world(nobody_spins_for_a_gated_ring),
        in_world(other_rings_go_on_and_are_looked_at_in_spins),
        in_world(end_of_a_gate_teaches_nothing_of_guests),
        in_world(each_ring_has_its_own_time),
        in_world(rings_that_share_a_limit_take_turns),
        in_world(late_wishes_are_looked_for_meanwhile),
        in_world(pause_ends_it_and_drains_at_once),
        in_world(base_is_of_what_was_not_taken),
        in_world(ring_that_is_paused_and_goes_on_is_asked_for_anew),
        in_world(stop_and_start_with_another_image),
        in_world(memory_goes_and_comes_back),
        in_world(next_front_end_finds_nothing_of_it),
        in_world(held_requests_wait_likewise),
        in_world(gated_rings_move),
        in_world(lanes_that_share_a_limit_sleep_in_between),
        in_world(reads_go_past_writes_that_wait),
        in_world(writes_go_past_reads_that_wait),
        in_world(flush_waits_for_nothing),
        in_world(those_that_wait_go_in_their_order_as_the_rule_lets_them),
        in_world(same_rule_again_asks_and_no_more),
        in_world(end_of_all_limits_lets_them_go),
        in_world(drain_has_them_done_at_once),
        in_world(start_that_takes_a_stop_back_has_them_wait),
        in_world(ring_that_stops_has_its_own_done),
        in_world(they_are_done_before_threads_memory_or_image_change),
        in_world(front_end_that_leaves_leaves_none_behind),
        in_world(they_fail_when_memory_was_lost),
        in_world(oldest_in_flight_is_none_that_waits),
        in_world(stats_tell_of_gated_rings),
        in_world(requests_that_cost_nothing_leave_others_their_turn),
        in_world(gate_is_asked_no_more_often_by_batches),
        in_world(rings_that_share_a_limit_take_turns_whatever_the_batch),
        in_world(lane_that_waits_for_a_gate_is_idle_to_what_it_learns),
        in_world(nothing_is_lost_whatever_happens_meanwhile),
    };

    return unit_run(tests);
}
