/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "core/device_lanes.h"
#include "core/device_ring.h"

#define BIT(n) (1ull << (n))

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
    device_lanes_init(dev);
    for (unsigned i = 0; i < ARRAY_SIZE(dev->ring); i++) {
        device_ring_init(&dev->ring[i], dev, i, &dev->lane);
    }
    mem_guard_watch(&dev->mem);
    ret = lane_init(&dev->lane, dev, 0, loop, device_lanes_on_turned);
    if (ret < 0) {
        return err_set(err, ret, "%s: event loop", dev->name);
    }
    dev->lane.tid = gettid();
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
    device_lanes_close(dev);
    mem_guard_watch(NULL);
    lane_close(&dev->lane, on_lane_closed);
}

void device_set_poll(struct device *dev, const struct device_poll *poll)
{
    device_park(dev);
    for (unsigned i = 0; i < dev->lane_count; i++) {
        spin_init(&dev->lanes[i]->spin, poll->max_us * NS_PER_US, poll->cpu_percent);
    }
    device_unpark(dev);
}

static int check_image(const struct device *dev, const struct backend *backend, struct err *err)
{
    uint64_t capacity = dev->blk.opts.capacity;

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
    return 0;
}

static int attach(struct device *dev, struct backend *backend, struct err *err)
{
    uint64_t capacity = dev->blk.opts.capacity;
    int ret = lane_attach(&dev->lane, backend);

    if (ret < 0) {
        return err_set(err, ret, "its event fd");
    }
    ret = device_lanes_open_image(dev, backend, err);
    if (ret < 0) {
        (void)lane_detach(&dev->lane);
        return ret;
    }
    blk_set_capacity(&dev->blk, backend->size);
    return backend->size > capacity;
}

int device_attach(struct device *dev, struct backend *backend, struct err *err)
{
    int ret = check_image(dev, backend, err);

    if (ret == 0) {
        device_park(dev);
        ret = attach(dev, backend, err);
        device_unpark(dev);
    }
    return ret;
}

struct backend *device_detach(struct device *dev)
{
    struct backend *backend;

    device_park(dev);
    device_lanes_close_image(dev);
    backend = lane_detach(&dev->lane);
    device_unpark(dev);
    return backend;
}

/* The turn that is asked for here finds out whether there is anything to wait for. */
void device_drain(struct device *dev, const struct device_ring *ring, struct drain *drain)
{
    device_park(dev);
    drain->ring = ring;
    drain->next = dev->drains;
    dev->drains = drain;
    lane_wake(ring ? ring->lane : &dev->lane);
    device_unpark(dev);
}

void device_pause(struct device *dev, enum pause_reason reason, struct drain *drain)
{
    device_park(dev);
    dev->pause_mask |= reason;
    if (drain) {
        device_drain(dev, NULL, drain);
    }
    device_unpark(dev);
}

void device_resume(struct device *dev, enum pause_reason reason)
{
    device_park(dev);
    dev->pause_mask &= ~(unsigned)reason;
    if (dev->pause_mask == 0) {
        device_lanes_look(dev); /* kicks may have come, and gone, while nobody did */
    }
    device_unpark(dev);
}

void device_drain_cancel(struct device *dev, struct drain *drain)
{
    struct drain **at = &dev->drains;

    device_park(dev);
    while (*at && *at != drain) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = drain->next;
    }
    device_unpark(dev);
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
    device_park(dev);
    dev->features = features;
    dev->blk.features = features;
    device_unpark(dev);
    return 0;
}

void device_memory_changed(struct device *dev)
{
    device_park(dev);
    for (unsigned i = 0; i < dev->queues; i++) {
        device_ring_remap(&dev->ring[i]);
    }
    device_unpark(dev);
}

void device_reset(struct device *dev)
{
    device_park(dev);
    for (unsigned i = 0; i < dev->queues; i++) {
        device_ring_reset(&dev->ring[i]);
    }
    mem_clear(&dev->mem);
    device_lanes_watch_memory(dev);
    dev->features = 0;
    dev->blk.features = 0;
    device_unpark(dev);
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

bool device_oldest(struct device *dev, struct device_oldest *oldest)
{
    uint64_t now = now_ns();
    bool has_any = false;

    *oldest = (struct device_oldest){0};
    device_park(dev);
    for (unsigned i = 0; i < dev->queues; i++) {
        if (dev->ring[i].ring.is_started && dev->ring[i].ring.inflight > 0) {
            look_for_older(&dev->ring[i], now, oldest);
            has_any = true;
        }
    }
    device_unpark(dev);
    return has_any;
}
