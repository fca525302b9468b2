/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_info.h"

#include <stdio.h>
#include <string.h>

/* The backend's texts go with it. */
static void fill_text(char *to, size_t size, const char *text)
{
    (void)snprintf(to, size, "%s", text ? text : "");
}

static void fill_image(const struct device *dev, struct plane_info *info)
{
    const struct backend *backend = dev->lane.backend;
    const struct blk_opts *blk = &dev->blk.opts;

    info->geometry.size = blk->capacity;
    info->geometry.logical_block = blk->logical_block;
    info->geometry.physical_block = blk->physical_block;
    info->geometry.opt_io = blk->opt_io;
    info->is_readonly = blk->is_readonly;
    if (backend) {
        info->has_image = true;
        info->image_size = backend->size;
        info->image_block = backend->block_size;
        info->image_physical_block = backend->physical_block;
        info->image_max_inflight = backend->max_inflight;
    }
}

static void fill_memory(const struct device *dev, struct plane_info *info)
{
    const struct mem *mem = &dev->mem;

    info->regions = mem->count;
    for (unsigned i = 0; i < mem->count; i++) {
        info->memory_bytes += mem->region[i].layout.size;
    }
    info->has_lost_memory = dev->has_lost_memory || mem_guard_tripped();
}

/* Rings that the front-end has never mentioned are left out. */
static void fill_rings(const struct device *dev, struct plane_info *info)
{
    info->rings_running = device_rings_running(dev);
    for (unsigned i = 0; i < dev->queues; i++) {
        const struct device_ring *ring = &dev->ring[i];

        if (ring->size == 0 && !ring->ring.is_started) {
            continue;
        }
        info->ring[info->ring_count++] = (struct plane_ring_info){
            .index = i,
            .lane = ring->lane->index,
            .size = ring->size,
            .inflight = ring->ring.inflight,
            .last_avail = ring->ring.last_avail,
            .used = ring->ring.used_idx,
            .is_enabled = ring->is_enabled,
            .is_running = ring->ring.is_started,
            .is_broken = ring->ring.is_broken,
            .fault = ring->ring.fault,
        };
    }
}

static void fill_lane(const struct lane *lane, struct plane_lane_info *info)
{
    info->tid = lane->tid;
    if (lane->backend) {
        fill_text(info->engine, sizeof(info->engine), lane->backend->engine);
        fill_text(info->engine_reason, sizeof(info->engine_reason), lane->backend->engine_reason);
    }
}

static void fill_lanes(const struct device *dev, struct plane_info *info)
{
    info->lane_count = dev->lane_count;
    for (unsigned i = 0; i < dev->lane_count; i++) {
        fill_lane(dev->lanes[i], &info->lane[i]);
    }
}

static void fill_device(struct device *dev, struct plane_info *info)
{
    device_park(dev);
    fill_lanes(dev, info);
    fill_image(dev, info);
    fill_memory(dev, info);
    fill_rings(dev, info);
    info->features = dev->features;
    info->pause_mask = dev->pause_mask;
    info->has_oldest = device_oldest(dev, &info->oldest);
    device_stats(dev, &info->stats);
    device_unpark(dev);
}

void plane_info_fill(struct plane *plane, struct plane_info *info)
{
    memset(info, 0, sizeof(*info));
    info->state = plane->state;
    info->time_ns = now_ns();
    info->settings = plane->settings;
    (void)snprintf(info->reason, sizeof(info->reason), "%s", plane->reason);
    if (plane->state == PLANE_OPENING || plane->state == PLANE_GONE) {
        return; /* there is no device */
    }
    fill_device(&plane->dev, info);
    if (plane->vu) {
        info->is_listening = plane->state != PLANE_REMOVING;
        info->has_peer = vhost_user_peer(plane->vu, &info->peer);
    }
}
