/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device_lanes.h"

#include <assert.h>
#include <errno.h>

#include "core/device_ring.h"
#include "core/lane_thread.h"

#define BIT(n) (1ull << (n))

/* ---- park ---- */

void device_park(struct device *dev)
{
    if (dev->parked++ > 0) {
        return;
    }
    for (unsigned i = 1; i < dev->lane_count; i++) {
        lane_thread_ask_park(dev->lanes[i]);
    }
    for (unsigned i = 1; i < dev->lane_count; i++) {
        lane_thread_await_park(dev->lanes[i]);
    }
}

void device_unpark(struct device *dev)
{
    assert(dev->parked > 0);
    if (--dev->parked > 0) {
        return;
    }
    for (unsigned i = 1; i < dev->lane_count; i++) {
        lane_thread_unpark(dev->lanes[i]);
    }
}

/* ---- what lanes tell ---- */

/*
 * Nothing is in flight and nothing is left to be shown: a lane that was parked before its check
 * phase, or whose turn took too long, may have finished requests that it has not published yet.
 */
static bool is_lane_drained(const struct lane *lane, const struct drain *drain)
{
    const struct device_ring *r = drain->ring;

    if (!r) {
        return lane->stats.inflight == 0 && lane->unpublished == 0;
    }
    return r->lane != lane || (r->ring.inflight == 0 && !(lane->unpublished & BIT(r->index)));
}

static bool is_drained(const struct device *dev, const struct drain *drain)
{
    for (unsigned i = 0; i < dev->lane_count; i++) {
        if (!is_lane_drained(dev->lanes[i], drain)) {
            return false;
        }
    }
    return true;
}

/* Each `done` may change the list: start again after it. */
static void run_drains(struct device *dev)
{
    struct drain **at = &dev->drains;

    while (*at) {
        struct drain *drain = *at;

        if (is_drained(dev, drain)) {
            *at = drain->next;
            drain->done(drain);
            at = &dev->drains;
        } else {
            at = &drain->next;
        }
    }
}

/* What one lane has found is true for all: the memory is the same. */
static void spread_loss(struct device *dev)
{
    for (unsigned i = 0; i < dev->lane_count; i++) {
        dev->has_lost_memory |= dev->lanes[i]->is_memory_lost;
    }
    for (unsigned i = 0; dev->has_lost_memory && i < dev->lane_count; i++) {
        if (!dev->lanes[i]->is_memory_lost) {
            lane_lose_memory(dev->lanes[i]);
        }
    }
}

static void look_at_lanes(struct device *dev)
{
    device_park(dev);
    spread_loss(dev);
    run_drains(dev);
    device_unpark(dev);
}

/*
 * The lane may tell again from here on: the release lets it use the message anew, its partner
 * is the acquire in tell.  Lanes are parked after this, so a lane that did not tell because
 * the flag was still up had ended its turn by then, and what it would have told is seen.
 */
static void run_tell(struct message *message)
{
    struct device *dev = containerof(message, struct device, tell);

    atomic_store_explicit(&dev->is_telling, false, memory_order_release);
    look_at_lanes(dev);
}

/* One message serves all lanes: it says no more than that there is something to look at. */
static void tell(struct lane *lane)
{
    struct device *dev = lane->dev;

    if (!atomic_exchange_explicit(&dev->is_telling, true, memory_order_acq_rel)) {
        mailbox_send(&dev->lane.mailbox, &dev->tell);
    }
}

/*
 * May the lane's turn have ended a drain?  Only lanes that have a part in it say so: the last
 * of them to be done is the one that counts, and it finds that all others are.
 */
static bool may_end_drain(const struct lane *lane)
{
    for (const struct drain *drain = lane->dev->drains; drain; drain = drain->next) {
        if ((!drain->ring || drain->ring->lane == lane) && is_lane_drained(lane, drain)) {
            return true;
        }
    }
    return false;
}

void device_lanes_on_turned(struct lane *lane)
{
    bool has_news = lane->is_memory_lost && !lane->dev->has_lost_memory;

    if (!has_news && !may_end_drain(lane)) {
        return;
    }
    if (lane->index == 0) {
        look_at_lanes(lane->dev);
    } else {
        tell(lane);
    }
}

/* ---- the image ---- */

/* Run on a lane's thread: an engine may belong to the thread that opens it. */
struct image_open {
    struct lane *lane;
    struct backend *of; /* the first lane's */
    struct err *err;
    int ret;
};

static void open_image(void *arg)
{
    struct image_open *open = arg;
    struct backend *backend;

    open->ret = backend_share(&backend, open->of, open->err);
    if (open->ret < 0) {
        return;
    }
    open->ret = lane_attach(open->lane, backend);
    if (open->ret < 0) {
        err_set(open->err, open->ret, "its event fd");
        backend_close(backend);
    }
}

static void close_image(void *arg)
{
    backend_close(lane_detach(arg));
}

static int open_on(struct lane *lane, struct backend *backend, struct err *err)
{
    struct image_open open = {.lane = lane, .of = backend, .err = err};

    lane_thread_call(lane, open_image, &open);
    return open.ret;
}

void device_lanes_close_image(struct device *dev)
{
    for (unsigned i = 1; i < dev->lane_count; i++) {
        if (dev->lanes[i]->backend) {
            lane_thread_call(dev->lanes[i], close_image, dev->lanes[i]);
        }
    }
}

int device_lanes_open_image(struct device *dev, struct backend *backend, struct err *err)
{
    int ret = 0;

    for (unsigned i = 1; ret == 0 && i < dev->lane_count; i++) {
        ret = open_on(dev->lanes[i], backend, err);
    }
    if (ret < 0) {
        device_lanes_close_image(dev);
    }
    return ret;
}

/* ---- how many there are ---- */

void device_lanes_init(struct device *dev)
{
    dev->lanes[0] = &dev->lane;
    dev->lane_count = 1;
    dev->tell.run = run_tell;
    atomic_init(&dev->is_telling, false);
}

static int start_lane(struct device *dev, struct err *err)
{
    unsigned index = dev->lane_count;
    struct lane *lane;
    int ret = lane_thread_start(&lane, dev, index, device_lanes_on_turned, err);

    if (ret < 0) {
        return ret;
    }
    if (dev->lane.backend) {
        ret = open_on(lane, dev->lane.backend, err);
        if (ret < 0) {
            lane_thread_stop(lane);
            return ret;
        }
    }
    lane->spin = dev->lane.spin;
    lane->is_memory_lost = dev->has_lost_memory;
    dev->lanes[index] = lane;
    dev->lane_count++;
    return 0;
}

/* Its counters stay: what a disk has done does not shrink. */
static void stop_lane(struct device *dev)
{
    struct lane *lane = dev->lanes[--dev->lane_count];

    stats_add(&dev->past, &lane->stats);
    if (lane->backend) {
        lane_thread_call(lane, close_image, lane);
    }
    lane_thread_stop(lane);
}

static void stop_lanes(struct device *dev, unsigned count)
{
    while (dev->lane_count > count) {
        stop_lane(dev);
    }
}

/* All rings get their new kick watches, or none does. */
static int open_kicks(struct device *dev, unsigned lanes, struct watch **kicks, struct err *err)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < dev->queues; i++) {
        ret = device_ring_open_kick(&dev->ring[i], dev->lanes[i % lanes], &kicks[i], err);
    }
    for (unsigned i = 0; ret < 0 && i < dev->queues; i++) {
        watch_close(kicks[i]);
    }
    return ret;
}

static int move_rings(struct device *dev, unsigned lanes, struct err *err)
{
    struct watch *kicks[BLK_MAX_QUEUES] = {NULL};
    int ret = open_kicks(dev, lanes, kicks, err);

    for (unsigned i = 0; ret == 0 && i < dev->queues; i++) {
        device_ring_move(&dev->ring[i], dev->lanes[i % lanes], kicks[i]);
    }
    return ret;
}

/* The most that were in flight with the old lanes is not the sum of what the new ones see. */
static void keep_maximum(struct device *dev)
{
    struct stats total;

    device_stats(dev, &total);
    for (unsigned i = 0; i < dev->lane_count; i++) {
        dev->lanes[i]->stats.inflight_max = 0;
    }
    dev->past.inflight_max = total.inflight_max;
}

/* New lanes come first: should one not be had, nothing has changed yet. */
static int change_lanes(struct device *dev, unsigned count, struct err *err)
{
    unsigned before = dev->lane_count;
    int ret = 0;

    while (ret == 0 && dev->lane_count < count) {
        ret = start_lane(dev, err);
    }
    if (ret == 0) {
        ret = move_rings(dev, count, err);
    }
    if (ret == 0) {
        keep_maximum(dev);
    }
    stop_lanes(dev, ret < 0 ? before : count);
    return ret;
}

int device_set_lanes(struct device *dev, unsigned count, struct err *err)
{
    int ret;

    if (count < 1 || count > min_of(dev->queues, (unsigned)DEVICE_MAX_LANES)) {
        return err_say(err, -EINVAL, "there are %u queues", dev->queues);
    }
    device_park(dev);
    ret = change_lanes(dev, count, err);
    device_unpark(dev);
    return ret;
}

void device_lanes_close(struct device *dev)
{
    device_park(dev);
    stop_lanes(dev, 1);
    device_unpark(dev);
}

/* ---- all of them ---- */

void device_lanes_look(struct device *dev)
{
    for (unsigned i = 0; i < dev->lane_count; i++) {
        dev->lanes[i]->ready = ~0ull;
        lane_wake(dev->lanes[i]);
    }
}

static void watch_memory(void *arg)
{
    struct lane *lane = arg;

    mem_guard_watch(&lane->dev->mem);
    lane->is_memory_lost = false;
}

void device_lanes_watch_memory(struct device *dev)
{
    dev->has_lost_memory = false;
    watch_memory(&dev->lane);
    for (unsigned i = 1; i < dev->lane_count; i++) {
        lane_thread_call(dev->lanes[i], watch_memory, dev->lanes[i]);
    }
}

void device_stats(struct device *dev, struct stats *stats)
{
    device_park(dev);
    *stats = dev->past;
    stats->inflight_max = 0;
    for (unsigned i = 0; i < dev->lane_count; i++) {
        stats_add(stats, &dev->lanes[i]->stats);
    }
    if (stats->inflight_max < dev->past.inflight_max) {
        stats->inflight_max = dev->past.inflight_max;
    }
    device_unpark(dev);
}
