/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/process.h"

#include <assert.h>
#include <linux/virtio_blk.h>

#include "core/block/image.h"
#include "core/device/device_state.h"
#include "core/device/limiter.h"
#include "tests/sim/image.h"
#include "tests/sim/kernel.h"
#include "tests/sim/loop.h"
#include "tests/sim/sim.h"

struct device *process_device;

static struct {
    uv_loop_t loop;
    _Atomic pid_t awaited;
    struct drain drain;
    bool is_waiting; /* for the drain */
    bool is_stopped; /* by control */
    bool is_closed;
    struct limit_member limit;
} own;

static void forget_limit(void)
{
    kernel_leave(); /* limits are no part of the device */
    limit_leave(&own.limit);
    kernel_enter();
}

void process_reset(void)
{
    process_died();
}

/* What was done, of all processes. */
static void sum_stats(void)
{
    const struct lanes *lanes = &process_device->lanes;

    stats_add(&sim.stats, &lanes->past);
    for (unsigned i = 0; i < lanes->count; i++) {
        stats_add(&sim.stats, &lanes->lane[i]->stats);
    }
}

void process_is_dying(void)
{
    if (process_device) {
        sum_stats();
    }
}

void process_died(void)
{
    process_device = NULL;
    own.is_waiting = false;
    own.is_stopped = false;
    limit_leave(&own.limit);
}

/* I/O of the process before is waited for. */
static bool has_fence(void)
{
    return !sim.spoil || !sim.spoil->has_no_fence;
}

/* ---- life ---- */

static void start_process(void)
{
    static const struct blk_opts blk = {.capacity = IMAGE_SECTORS * SECTOR_SIZE,
                                        .logical_block = SECTOR_SIZE,
                                        .physical_block = SECTOR_SIZE,
                                        .queues = SIM_QUEUES,
                                        .seg_max = BLK_SEG_MAX,
                                        .discard_block = SECTOR_SIZE,
                                        .zeroes = BLK_ZEROES_KEEP,
                                        .serial = "simulated"};
    const struct device_opts opts = {.name = "vda",
                                     .queues = sim.config.queues,
                                     .queue_size_max = 16,
                                     .has_packed = true,
                                     .has_in_order = true,
                                     .awaited = &own.awaited};
    const struct device_poll poll = {.max_us = sim_once_in(2) ? 50 : 0, .cpu_percent = 100};
    struct blk_opts own_blk = blk;
    int ret;

    sim_trace("process: starts");
    own_blk.queues = sim.config.queues;
    (void)uv_loop_init(&own.loop);
    ret = device_new(&process_device, &own.loop, &opts, &own_blk, NULL);
    assert(ret == 0);
    (void)ret;
    device_set_poll(process_device, &poll);
    device_set_fenced(process_device, has_fence() && !(sim.spoil && sim.spoil->frees_early));
}

/* As a start by control: what is held is tried again. */
static void open_image(void)
{
    struct image *image;
    int ret = sim_image_open(&image);

    assert(ret == 0);
    ret = device_attach(process_device, image, NULL);
    if (ret < 0) {
        sim_fail("the image cannot be attached");
    }
    sim_trace("process: the image is open");
    own.is_stopped = false;
    device_set_fenced(process_device, false);
    (void)device_retry(process_device);
    device_resume(process_device, PAUSE_ADMIN);
}

/* ---- what control asks ---- */

static void on_stopped(struct drain *drain)
{
    sim_trace("control: stopped");
    own.is_waiting = false;
    own.is_stopped = true;
    image_close(device_detach(process_device));
}

static void on_moved(struct drain *drain)
{
    struct err err;
    unsigned count = 1 + sim_draw(min_of(sim.config.queues, SIM_LANES));

    own.is_waiting = false;
    sim_trace("control: %u threads", count);
    if (device_set_lanes(process_device, count, NULL, &err) < 0) {
        sim_fail("no other number of threads: %s", err.text);
    }
    device_resume(process_device, PAUSE_MOVE);
}

static void wait_for(enum pause_reason reason, void (*done)(struct drain *drain))
{
    own.drain = (struct drain){.done = done};
    own.is_waiting = true;
    device_pause(process_device, reason, &own.drain);
}

static void change_limit(void)
{
    struct rates rates = {0};
    enum rate_kind kind = sim_draw(RATE_KINDS);

    device_set_throttle(process_device, NULL);
    forget_limit();
    rates.of[kind].average = kind < RATE_BPS ? 10 + sim_draw(300) : 5000 + sim_draw(200000);
    if (!sim.is_ending && sim_once_in(2)) {
        sim_trace("control: a limit, of kind %u", kind);
        kernel_leave();
        (void)limit_join(&own.limit, "", &rates, NULL, NULL);
        kernel_enter();
        device_set_throttle(process_device, &own.limit.throttle);
    }
}

static void change_errors(void)
{
    static const enum error_action actions[] = {ERROR_REPORT, ERROR_STOP, ERROR_STOP};
    struct error_policy policy;

    policy.read = actions[sim_draw(3)];
    policy.write = actions[sim_draw(3)];
    sim_trace("control: errors %u and %u", policy.read, policy.write);
    device_set_errors(process_device, &policy);
}

static void start_again(void)
{
    sim_trace("control: start");
    for (unsigned i = 0; i < sim.config.queues; i++) {
        sim.held += ring_waiting(&process_device->queue[i].ring);
    }
    (void)device_retry(process_device);
}

static void ask_control(void)
{
    switch (sim_draw(6)) {
    case 0:
        sim_trace("control: stop");
        wait_for(PAUSE_ADMIN, on_stopped);
        break;
    case 1:
        wait_for(PAUSE_MOVE, on_moved);
        break;
    case 2:
        change_limit();
        break;
    case 3:
        change_errors();
        break;
    case 4:
        device_set_batch(process_device, sim_draw(4));
        break;
    default:
        start_again();
    }
}

static unsigned held_count(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sim.config.queues; i++) {
        count += ring_waiting(&process_device->queue[i].ring);
    }
    return count;
}

bool process_waits_for_start(void)
{
    return process_device && ((process_device->view.pause_mask & PAUSE_ERROR) || held_count() > 0);
}

/* ---- steps ---- */

static bool may_open(void)
{
    return !device_image(process_device) && (!has_fence() || image_busy() == 0);
}

unsigned process_ready(void)
{
    if (!process_device || may_open()) {
        return 1;
    }
    if (!device_image(process_device) || own.is_waiting) {
        return 0;
    }
    return !sim.is_ending || process_waits_for_start();
}

void process_step(unsigned which)
{
    if (!process_device) {
        start_process();
    } else if (may_open()) {
        open_image();
    } else if (sim.is_ending || (process_waits_for_start() && sim_once_in(4))) {
        start_again();
    } else {
        ask_control();
    }
}

bool process_is_settled(void)
{
    return process_device && device_image(process_device) && !own.is_waiting;
}

/* ---- the end ---- */

static void on_drained(struct drain *drain)
{
    own.is_waiting = false;
}

static void on_closed(void *arg)
{
    own.is_closed = true;
}

static void drain_all(enum pause_reason reason)
{
    wait_for(reason, on_drained);
    for (unsigned i = 0; own.is_waiting; i++) {
        if (loop_ready() == 0 || i == 10000) {
            sim_fail("it is not drained in the end");
        }
        loop_run(sim_draw(loop_ready()));
    }
}

static void check_counters(void)
{
    struct stats stats;

    device_stats(process_device, &stats);
    if (stats.inflight != 0 || stats.held != 0 || stats.throttled != 0) {
        sim_fail("in the end %llu requests are in flight, %llu held, %llu throttled",
                 (unsigned long long)stats.inflight, (unsigned long long)stats.held,
                 (unsigned long long)stats.throttled);
    }
    for (unsigned i = 0; i < sim.config.queues; i++) {
        if (process_device->queue[i].ring.inflight != 0 ||
            process_device->queue[i].ring.is_broken) {
            sim_fail("ring %u: %s", i,
                     process_device->queue[i].ring.is_broken ? process_device->queue[i].ring.fault
                                                             : "requests are in flight in the end");
        }
    }
}

void process_end(void)
{
    drain_all(PAUSE_EXIT);
    check_counters();
    sum_stats();
    image_close(device_detach(process_device));
    device_set_throttle(process_device, NULL);
    forget_limit();
    own.is_closed = false;
    device_close(process_device, on_closed, NULL);
    loop_finish(&own.loop);
    assert(own.is_closed);
    device_free(process_device);
    (void)uv_loop_close(&own.loop);
    process_device = NULL;
    if (kernel_leaks() > 0) {
        sim_fail("%u pieces of memory leak", kernel_leaks());
    }
}
