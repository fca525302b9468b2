/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "core/device_ring.h"

#define BIT(n) (1ull << (n))

static bool is_drained(const struct device *dev, const struct drain *drain)
{
    return drain->ring ? drain->ring->ring.inflight == 0 : dev->lane.stats.inflight == 0;
}

/* Each `done` may change the list: start again after it. */
static void run_drains(struct lane *lane)
{
    struct device *dev = lane->dev;
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

int device_init(struct device *dev, uv_loop_t *loop, const struct device_opts *opts,
                const struct blk_opts *blk, struct err *err)
{
    static const struct device_poll poll = {DEVICE_POLL_US_DEFAULT, DEVICE_POLL_CPU_DEFAULT};
    int ret;

    memset(dev, 0, offsetof(struct device, ring));
    dev->name = opts->name;
    dev->queues = opts->queues;
    dev->queue_size_max = opts->queue_size_max;
    dev->pause_mask = PAUSE_ADMIN | PAUSE_GONE;
    mem_init(&dev->mem);
    blk_init(&dev->blk, blk);
    for (unsigned i = 0; i < ARRAY_SIZE(dev->ring); i++) {
        device_ring_init(&dev->ring[i], dev, i);
    }
    ret = lane_init(&dev->lane, dev, loop, run_drains);
    if (ret < 0) {
        return err_set(err, ret, "%s: event loop", dev->name);
    }
    device_set_poll(dev, &poll);
    return 0;
}

static void on_lane_closed(struct lane *lane)
{
    lane->dev->closed(lane->dev);
}

void device_close(struct device *dev, void (*closed)(struct device *dev))
{
    dev->closed = closed;
    device_reset(dev);
    lane_close(&dev->lane, on_lane_closed);
}

void device_set_poll(struct device *dev, const struct device_poll *poll)
{
    spin_init(&dev->lane.spin, poll->max_us * NS_PER_US, poll->cpu_percent);
}

int device_attach(struct device *dev, struct backend *backend, struct err *err)
{
    uint64_t capacity = dev->blk.opts.capacity;
    int ret;

    if (backend->size < capacity) {
        err_say(err, -EINVAL, "it has %" PRIu64 " bytes, the guest knows the disk with %" PRIu64,
                backend->size, capacity);
        err_hint(err, "give it its size back, or remove the disk and add it again");
        return -EINVAL;
    }
    if (backend->block_size > dev->blk.opts.logical_block ||
        !is_aligned(backend->size, dev->blk.opts.logical_block)) {
        return err_say(err, -EINVAL,
                       "its blocks (%u bytes) or size (%" PRIu64 " bytes) do not suit the "
                       "logical block size %u that the guest knows",
                       backend->block_size, backend->size, dev->blk.opts.logical_block);
    }
    ret = lane_attach(&dev->lane, backend);
    if (ret < 0) {
        return err_set(err, ret, "its event fd");
    }
    blk_set_capacity(&dev->blk, backend->size);
    return backend->size > capacity;
}

struct backend *device_detach(struct device *dev)
{
    return lane_detach(&dev->lane);
}

void device_drain(struct device *dev, struct drain *drain)
{
    drain->next = dev->drains;
    dev->drains = drain;
    lane_wake(&dev->lane);
}

void device_pause(struct device *dev, enum pause_reason reason, struct drain *drain)
{
    dev->pause_mask |= reason;
    if (drain) {
        drain->ring = NULL;
        device_drain(dev, drain);
    }
}

void device_resume(struct device *dev, enum pause_reason reason)
{
    dev->pause_mask &= ~(unsigned)reason;
    if (dev->pause_mask == 0) {
        /* Kicks may have come, and gone, while nobody looked. */
        dev->lane.ready = ~0ull;
        lane_wake(&dev->lane);
    }
}

void device_drain_cancel(struct device *dev, struct drain *drain)
{
    for (struct drain **at = &dev->drains; *at; at = &(*at)->next) {
        if (*at == drain) {
            *at = drain->next;
            return;
        }
    }
}

uint64_t device_features(const struct device *dev)
{
    return blk_features(&dev->blk) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
           BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1);
}

int device_set_features(struct device *dev, uint64_t features)
{
    if (features & ~device_features(dev)) {
        return -EINVAL;
    }
    if (features != dev->features && device_rings_running(dev) > 0) {
        return -EBUSY;
    }
    dev->features = features;
    dev->blk.features = features;
    return 0;
}

void device_memory_changed(struct device *dev)
{
    for (unsigned i = 0; i < dev->queues; i++) {
        device_ring_remap(&dev->ring[i]);
    }
}

void device_reset(struct device *dev)
{
    for (unsigned i = 0; i < dev->queues; i++) {
        device_ring_reset(&dev->ring[i]);
    }
    mem_clear(&dev->mem);
    mem_guard_watch(&dev->mem);
    dev->lane.is_memory_lost = false;
    dev->features = 0;
    dev->blk.features = 0;
}

unsigned device_rings_running(const struct device *dev)
{
    unsigned running = 0;

    for (unsigned i = 0; i < dev->queues; i++) {
        running += dev->ring[i].ring.is_started;
    }
    return running;
}

static void look_for_older(const struct device_ring *r, uint64_t now, struct device_oldest *oldest)
{
    for (unsigned head = 0; head < r->ring.layout.size; head++) {
        struct chain *chain = ring_slot(&r->ring, head);
        const struct request *request = containerof(chain, struct request, chain);

        if (chain->is_busy && now - request->start_ns >= oldest->age_ns) {
            *oldest = (struct device_oldest){
                .kind = request->kind,
                .offset = request->io.offset,
                .length = request->io.length,
                .age_ns = now - request->start_ns,
                .ring = r->index,
            };
        }
    }
}

bool device_oldest(const struct device *dev, struct device_oldest *oldest)
{
    uint64_t now = now_ns();

    *oldest = (struct device_oldest){0};
    for (unsigned i = 0; i < dev->queues && dev->lane.stats.inflight > 0; i++) {
        if (dev->ring[i].ring.is_started && dev->ring[i].ring.inflight > 0) {
            look_for_older(&dev->ring[i], now, oldest);
        }
    }
    return dev->lane.stats.inflight > 0;
}
