/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device/device_state.h"
#include "core/device/lane_life.h"
#include "core/device/lane_mark.h"
#include "core/device/lane_way.h"

/* What this program would offer by itself. */
static uint64_t served_features(const struct blk *blk)
{
    return blk_features(blk) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
           BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER);
}

int device_init(struct device *dev, uv_loop_t *loop, const struct device_opts *opts,
                const struct blk_opts *blk, struct err *err)
{
    static const struct device_poll poll = {DEVICE_POLL_US_DEFAULT, DEVICE_POLL_CPU_DEFAULT};
    int ret;

    memset(dev, 0, offsetof(struct device, queue));
    dev->view.name = opts->name;
    dev->view.queues = opts->queues;
    dev->view.queue = dev->queue;
    dev->view.awaited = opts->awaited;
    dev->view.pause_mask = PAUSE_ADMIN | PAUSE_GONE;
    mem_init(&dev->view.mem);
    blk_init(&dev->view.blk, blk);
    if (!dev->view.blk.opts.shown.features) {
        dev->view.blk.opts.shown.features = served_features(&dev->view.blk) &
                                            ~(opts->has_packed ? 0 : BIT(VIRTIO_F_RING_PACKED)) &
                                            ~(opts->has_in_order ? 0 : BIT(VIRTIO_F_IN_ORDER));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(dev->ring); i++) {
        queue_init(&dev->queue[i], &dev->view, i, &dev->lanes.first);
        ring_setup_init(&dev->ring[i], &dev->queue[i], opts->queue_size_max);
    }
    mem_guard_watch(&dev->view.mem);
    ret = lanes_init(&dev->lanes, &dev->view, loop);
    if (ret < 0) {
        mem_guard_watch(NULL);
        return err_set(err, ret, "%s: event loop", dev->view.name);
    }
    dev->lanes.failed = device_on_failed;
    dev->lanes.first.tid = gettid();
    ringer_start(&dev->lanes.first.ringer);
    device_set_poll(dev, &poll);
    return 0;
}

int device_new(struct device **out, uv_loop_t *loop, const struct device_opts *opts,
               const struct blk_opts *blk, struct err *err)
{
    struct device *dev = malloc(sizeof(*dev));
    int ret;

    if (!dev) {
        return err_set(err, -ENOMEM, "%s", opts->name);
    }
    ret = device_init(dev, loop, opts, blk, err);
    if (ret < 0) {
        free(dev);
        return ret;
    }
    *out = dev;
    return 0;
}

void device_free(struct device *dev)
{
    free(dev);
}

static void on_lane_closed(struct lane *lane)
{
    struct device *dev = containerof(lane, struct device, lanes.first);

    dev->closed(dev->arg);
}

void device_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
    dev->closed = closed;
    dev->arg = arg;
    device_park(dev);
    device_reset(dev);
    lanes_close(&dev->lanes);
    device_unpark(dev);
    mem_guard_watch(NULL);
    ringer_stop(&dev->lanes.first.ringer);
    lane_close(&dev->lanes.first, on_lane_closed);
}

void device_park(struct device *dev)
{
    lanes_park(&dev->lanes);
}

void device_unpark(struct device *dev)
{
    lanes_unpark(&dev->lanes);
}

int device_set_lanes(struct device *dev, unsigned count, const struct lane_map *map,
                     struct err *err)
{
    return parked(dev, lanes_set(&dev->lanes, count, map, err));
}

/* The first tells whether any of these CPUs is there; the others follow. */
int device_use_cpus(struct device *dev, const struct cpus *cpus)
{
    int ret;

    device_park(dev);
    ret = lane_way_use_cpus(&dev->lanes.first, cpus);
    for (unsigned i = 1; ret == 0 && i < dev->lanes.count; i++) {
        (void)lane_way_use_cpus(dev->lanes.lane[i], cpus);
    }
    device_unpark(dev);
    return ret;
}

pid_t device_lane_tid(const struct device *dev, unsigned lane)
{
    return dev->lanes.lane[lane]->tid;
}

bool device_has_lanes(const struct device *dev, unsigned count, const struct lane_map *map)
{
    return lanes_are(&dev->lanes, count, map);
}

void device_stats(struct device *dev, struct stats *stats)
{
    device_park(dev);
    lanes_stats(&dev->lanes, stats);
    device_unpark(dev);
}

void device_count_from(struct device *dev, const struct stats *stats)
{
    device_park(dev);
    dev->lanes.past = *stats;
    device_unpark(dev);
}

void device_drain_cancel(struct device *dev, struct drain *drain)
{
    device_park(dev);
    lanes_drain_cancel(&dev->lanes, drain);
    device_unpark(dev);
}

void device_set_poll(struct device *dev, const struct device_poll *poll)
{
    device_park(dev);
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        spin_init(&dev->lanes.lane[i]->spin, poll->max_us * NS_PER_US, poll->cpu_percent);
    }
    device_unpark(dev);
}

void device_set_throttle(struct device *dev, struct throttle *throttle)
{
    struct throttle *told;

    device_park(dev);
    told = dev->view.throttle;
    dev->view.throttle = throttle;
    lanes_lift(&dev->lanes, told);
    device_unpark(dev);
}

void device_set_batch(struct device *dev, unsigned batch)
{
    uint64_t now = now_ns();

    device_park(dev);
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        batch_init(&dev->lanes.lane[i]->batch, batch, now);
    }
    device_unpark(dev);
}

void device_set_huge(struct device *dev, enum huge_use use)
{
    device_park(dev);
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        dev->lanes.lane[i]->context.huge_use = use;
    }
    device_unpark(dev);
}

void device_set_detect_zeroes(struct device *dev, enum detect_zeroes detect)
{
    device_park(dev);
    dev->view.detect_zeroes = detect;
    device_unpark(dev);
}

void device_pause(struct device *dev, enum pause_reason reason, struct drain *drain)
{
    device_park(dev);
    dev->view.pause_mask |= reason;
    lanes_lift(&dev->lanes, dev->view.throttle); /* whoever goes on afterwards asks anew */
    if (drain) {
        lanes_drain(&dev->lanes, DRAIN_DEVICE, drain);
    }
    device_unpark(dev);
}

void device_resume(struct device *dev, enum pause_reason reason)
{
    device_park(dev);
    dev->view.pause_mask &= ~(unsigned)reason;
    if (dev->view.pause_mask == 0) {
        lanes_look(&dev->lanes); /* kicks may have come, and gone, while nobody did */
    }
    device_unpark(dev);
}

/* A turn of each lane looks whether there are drains to end; it touches no ring. */
void device_set_fenced(struct device *dev, bool on)
{
    device_park(dev);
    dev->view.is_fenced = on;
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        lane_wake(dev->lanes.lane[i]);
    }
    device_unpark(dev);
}

uint64_t device_accepted(const struct device *dev)
{
    return dev->view.blk.features;
}

uint64_t device_features(const struct device *dev)
{
    return dev->view.blk.opts.shown.features;
}

uint64_t device_unserved(const struct device *dev)
{
    return device_features(dev) & ~served_features(&dev->view.blk) &
           ~blk_acceptable(&dev->view.blk);
}

bool device_is_packed(const struct device *dev)
{
    return dev->view.blk.features & BIT(VIRTIO_F_RING_PACKED);
}

uint64_t device_acceptable(const struct device *dev)
{
    uint64_t late = blk_acceptable(&dev->view.blk) & ~blk_features(&dev->view.blk);

    return (device_features(dev) & ~device_unserved(dev)) | late;
}

void device_set_writeback(struct device *dev, bool on)
{
    device_park(dev);
    blk_set_writeback(&dev->view.blk, on);
    device_unpark(dev);
}

bool device_has_writeback(const struct device *dev)
{
    return dev->view.blk.config.wce;
}

bool device_is_in_doubt(const struct device *dev)
{
    return blk_is_in_doubt(&dev->view.blk);
}

void device_vouch(struct device *dev)
{
    device_park(dev);
    blk_vouch(&dev->view.blk, true);
    device_unpark(dev);
}

/* Parked.  A driver that wants the other format of rings has begun anew. */
static void change_features(struct device *dev, uint64_t features)
{
    bool is_other = (features ^ dev->view.blk.features) & BIT(VIRTIO_F_RING_PACKED);

    dev->view.blk.features = features;
    for (unsigned i = 0; is_other && i < dev->view.queues; i++) {
        ring_setup_forget_inflight(&dev->ring[i]);
    }
}

int device_set_features(struct device *dev, uint64_t features)
{
    if (features & ~device_acceptable(dev)) {
        return -EINVAL;
    }
    if (features != dev->view.blk.features && device_rings_running(dev) > 0) {
        return -EBUSY;
    }
    device_park(dev);
    change_features(dev, features);
    device_unpark(dev);
    return 0;
}

void device_memory_changed(struct device *dev)
{
    device_park(dev);
    for (unsigned i = 0; i < dev->view.queues; i++) {
        ring_setup_remap(&dev->ring[i]);
    }
    device_end_error(dev);
    device_unpark(dev);
}

/* Parked. */
static void forget_rings(struct device *dev)
{
    for (unsigned i = 0; i < dev->view.queues; i++) {
        ring_setup_reset(&dev->ring[i]);
    }
    device_end_error(dev);
    device_log_end(dev); /* rings have answered what they held, and that is marked */
    dev->view.blk.features = 0;
    blk_trust(&dev->view.blk);
    blk_vouch(&dev->view.blk, false);
}

void device_reset_rings(struct device *dev)
{
    device_park(dev);
    device_inflight_forget(dev);
    forget_rings(dev);
    device_inflight_use(dev);
    device_unpark(dev);
}

void device_reset(struct device *dev)
{
    device_park(dev);
    forget_rings(dev);
    device_inflight_close(dev);
    mem_clear(&dev->view.mem);
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        dev->lanes.lane[i]->was_held_up = false;
    }
    device_unpark(dev);
}

unsigned device_queues(const struct device *dev)
{
    return dev->view.queues;
}

unsigned device_lane_count(const struct device *dev)
{
    return dev->lanes.count;
}

uint64_t device_capacity(const struct device *dev)
{
    return dev->view.blk.opts.capacity;
}

uint32_t device_logical_block(const struct device *dev)
{
    return dev->view.blk.opts.logical_block;
}

void device_config_read(const struct device *dev, uint32_t offset, void *to, uint32_t len)
{
    blk_config_read(&dev->view.blk, offset, to, len);
}

/* ---- memory ---- */

int device_memory_add(struct device *dev, const struct mem_layout *layout, int fd, struct err *err)
{
    return mem_add(&dev->view.mem, layout, fd, err);
}

int device_memory_remove(struct device *dev, const struct mem_layout *layout, struct err *err)
{
    return mem_remove(&dev->view.mem, layout, err);
}

void device_memory_clear(struct device *dev)
{
    mem_clear(&dev->view.mem);
}
