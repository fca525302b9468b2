/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is told of a device: to the front-end's side, and to people.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/device/device.h"
#include "core/device/device_state.h"
#include "core/device/lane_delay.h"

unsigned device_rings_running(const struct device *dev)
{
    unsigned running = 0;

    for (unsigned i = 0; i < dev->view.queues; i++) {
        running += dev->queue[i].ring.is_started;
    }
    return running;
}

static bool find_broken_ring(const struct device *dev)
{
    for (unsigned i = 0; i < dev->view.queues; i++) {
        if (dev->queue[i].ring.is_started && dev->queue[i].ring.is_broken) {
            return true;
        }
    }
    return false;
}

bool device_has_broken_ring(struct device *dev)
{
    return parked(dev, find_broken_ring(dev));
}

struct device_ring_told device_ring_told(const struct device *dev, unsigned index)
{
    return (struct device_ring_told){
        .size = dev->ring[index].size,
        .is_enabled = dev->queue[index].is_enabled,
        .is_running = dev->queue[index].ring.is_started,
    };
}

bool device_ring_has_addr(const struct device *dev, unsigned index, const struct ring_addr *addr)
{
    const struct ring_addr *told = &dev->ring[index].addr;

    return told->desc == addr->desc && told->used == addr->used && told->avail == addr->avail;
}

uint32_t device_ring_base(struct device *dev, unsigned index)
{
    return parked(dev, ring_base(&dev->queue[index].ring));
}

static int find_lost_ring(struct device *dev)
{
    for (unsigned i = 0; i < dev->view.queues; i++) {
        const struct ring *ring = &dev->queue[i].ring;
        struct ring_parts parts;

        if (ring->is_started && !ring->is_broken &&
            ring_find(&parts, &dev->view.mem, &dev->ring[i].addr, dev->ring[i].size,
                      ring->layout.is_packed, NULL) == -EFAULT) {
            return (int)i;
        }
    }
    return -1;
}

int device_lost_ring(struct device *dev)
{
    return parked(dev, find_lost_ring(dev));
}

/* ---- all of it ---- */

/* What waits for a limit is not at the image. */
static bool look_for_older(const struct queue *q, uint64_t now, struct device_oldest *oldest)
{
    struct chain *chain;
    unsigned at = 0;
    bool has_any = false;

    while ((chain = ring_next_inflight(&q->ring, &at))) {
        const struct request *request = containerof(chain, struct request, chain);

        if (request->start_ns <= now && now - request->start_ns >= oldest->age_ns) {
            *oldest = (struct device_oldest){
                .kind = request->kind,
                .offset = request->io.offset,
                .length = request->io.length,
                .age_ns = now - request->start_ns,
                .ring = q->index,
            };
            has_any = true;
        }
    }
    return has_any;
}

static bool find_oldest(const struct device *dev, struct device_oldest *oldest)
{
    uint64_t now = now_ns();
    bool has_any = false;

    *oldest = (struct device_oldest){0};
    for (unsigned i = 0; i < dev->view.queues; i++) {
        if (dev->queue[i].ring.is_started && dev->queue[i].ring.inflight > 0) {
            has_any |= look_for_older(&dev->queue[i], now, oldest);
        }
    }
    return has_any;
}

bool device_oldest(struct device *dev, struct device_oldest *oldest)
{
    return parked(dev, find_oldest(dev, oldest));
}

static void fill_memory(const struct device *dev, struct device_info *info)
{
    const struct mem *mem = &dev->view.mem;

    info->regions = mem->count;
    for (unsigned i = 0; i < mem->count; i++) {
        info->memory_bytes += mem->region[i].layout.size;
    }
    info->has_lost_memory = mem_is_lost(mem);
}

static struct device_ring_info ring_info(const struct device *dev, unsigned index)
{
    const struct ring_setup *r = &dev->ring[index];
    const struct queue *q = &dev->queue[index];

    return (struct device_ring_info){
        .index = index,
        .lane = q->lane->index,
        .size = r->size,
        .inflight = q->ring.inflight - lane_delay_count(q),
        .held = ring_waiting(&q->ring),
        .next_avail = ring_next_avail(&q->ring),
        .next_used = ring_next_used(&q->ring),
        .is_packed = q->ring.layout.is_packed,
        .has_inflight_log = q->ring.is_started && q->ring.layout.inflight.at,
        .is_enabled = q->is_enabled,
        .is_running = q->ring.is_started,
        .is_broken = q->ring.is_broken,
        .fault = q->ring.fault,
    };
}

/* Rings that the front-end has never mentioned are left out. */
static void fill_rings(const struct device *dev, struct device_info *info)
{
    info->rings_running = device_rings_running(dev);
    for (unsigned i = 0; i < dev->view.queues; i++) {
        struct device_ring_info ring = ring_info(dev, i);

        if (ring.size > 0 || ring.is_running) {
            info->rings_broken += ring.is_broken;
            info->rings_blind += queue_is_blind(&dev->queue[i]);
            info->ring[info->ring_count++] = ring;
        }
    }
}

/* The path's texts go with it. */
static void fill_text(char *to, size_t size, const char *text)
{
    (void)snprintf(to, size, "%s", text ? text : "");
}

static void fill_lanes(const struct device *dev, struct device_info *info)
{
    info->lane_count = dev->lanes.count;
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        const struct lane *lane = dev->lanes.lane[i];
        struct device_lane_info *to = &info->lane[i];

        to->tid = lane->tid;
        to->batch_reads = batch_size(&lane->batch, BATCH_READ);
        to->batch_writes = batch_size(&lane->batch, BATCH_WRITE);
        if (lane->path) {
            to->max_inflight = lane->path->facts.max_inflight;
            fill_text(to->engine, sizeof(to->engine), lane->path->facts.engine);
            fill_text(to->engine_reason, sizeof(to->engine_reason),
                      lane->path->facts.engine_reason);
        }
    }
}

/* Without a driver, what the next one finds. */
static bool shows_writeback(const struct blk *blk)
{
    return blk->features ? blk_is_writeback(blk) : blk->config.wce;
}

void device_info(struct device *dev, struct device_info *info)
{
    memset(info, 0, sizeof(*info));
    device_park(dev);
    info->blk = dev->view.blk.opts;
    info->features = dev->view.blk.features;
    info->is_writeback = shows_writeback(&dev->view.blk);
    info->has_switched = !dev->view.blk.config.wce && !dev->view.blk.opts.is_writethrough;
    info->is_in_doubt = blk_is_in_doubt(&dev->view.blk);
    info->pause_mask = dev->view.pause_mask;
    fill_lanes(dev, info);
    fill_memory(dev, info);
    fill_rings(dev, info);
    device_sum_held(dev, &info->held);
    info->has_oldest = find_oldest(dev, &info->oldest);
    lanes_stats(&dev->lanes, &info->stats);
    device_unpark(dev);
}
