/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device_given.h"

#include "core/device/device_state.h"

static void fill_ring(struct device *dev, unsigned index, struct device_given_ring *ring)
{
    const struct ring_setup *r = &dev->ring[index];
    const struct queue *q = &dev->queue[index];
    bool is_running = q->ring.is_started;

    *ring = (struct device_given_ring){
        .size = r->size,
        .base = is_running ? ring_base(&q->ring) : r->base,
        .addr = r->addr,
        .log_addr = r->log_addr,
        .kick_fd = q->kick ? q->kick->fd : -1,
        .call_fd = q->call_fd,
        .err_fd = q->err_fd,
        .held = q->ring.held_count,
        .has_base = r->has_base || is_running,
        .has_addr = r->has_addr,
        .is_logged = r->is_logged,
        .is_enabled = q->is_enabled,
        .has_started = r->has_started,
        .is_running = is_running,
        .is_broken = is_running && q->ring.is_broken,
        .has_inflight_log = is_running && q->ring.layout.inflight.at,
    };
}

void device_give_ring(struct device *dev, unsigned index, struct device_given_ring *ring)
{
    device_park(dev);
    fill_ring(dev, index, ring);
    device_unpark(dev);
}

static struct device_given_log log_of(const struct mem_region *region)
{
    bool is_there = region->host != NULL;

    return (struct device_given_log){
        .fd = is_there ? region->fd : -1,
        .is_there = is_there,
        .bytes = region->layout.size,
        .offset = region->layout.offset,
    };
}

void device_give_dirty_log(const struct device *dev, struct device_given_log *log)
{
    *log = log_of(&dev->view.mem.log_region);
}

void device_give_inflight_log(const struct device *dev, struct device_given_log *log)
{
    *log = log_of(&dev->view.mem.inflight_region);
    log->queues = dev->inflight_queues;
}

bool device_wants_log(const struct device *dev)
{
    return dev->wants_data_logged;
}

int device_give_region(const struct device *dev, unsigned number, struct mem_layout *layout,
                       int *fd)
{
    if (number >= dev->view.mem.count) {
        return -1;
    }
    *layout = dev->view.mem.region[number].layout;
    *fd = dev->view.mem.region[number].fd;
    return 0;
}

bool device_has_lost_memory(const struct device *dev)
{
    return mem_is_lost(&dev->view.mem);
}

bool device_is_vouched(const struct device *dev)
{
    return dev->view.blk.is_known;
}

void device_take_started(struct device *dev, unsigned index)
{
    device_park(dev);
    dev->ring[index].has_started = true;
    device_unpark(dev);
}

void device_take_cache(struct device *dev, bool is_in_doubt, bool is_vouched)
{
    device_park(dev);
    blk_vouch(&dev->view.blk, is_vouched);
    if (is_in_doubt) {
        blk_doubt(&dev->view.blk);
    }
    device_unpark(dev);
}

void device_take_broken(struct device *dev, unsigned index)
{
    struct queue *q = &dev->queue[index];

    device_park(dev);
    if (q->ring.is_started && !q->ring.is_broken) {
        ring_break(&q->ring, "its driver had broken it before the daemon was upgraded");
        q->is_fault_told = true;
    }
    device_unpark(dev);
}
