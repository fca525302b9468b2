/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_json.h"

#include <string.h>

#include "daemon/call.h"

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value); /* fails without memory only */
}

static void set_integer(json_t *object, const char *name, uint64_t value)
{
    set(object, name, json_integer((json_int_t)value));
}

static void set_engine(json_t *object, const struct plane_lane_info *lane)
{
    set(object, "engine", json_string(lane->engine));
    set(object, "engine_reason", call_text(lane->engine_reason));
}

static json_t *engines_json(const struct plane_info *info)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < info->lane_count; i++) {
        json_t *object = json_object();

        set_engine(object, &info->lane[i]);
        (void)json_array_append_new(list, object);
    }
    return list;
}

static json_t *image_json(const struct disk *disk, const struct plane_info *info)
{
    const struct image_config *image = &disk->record.config.image;
    json_t *object = json_object();

    set(object, "type", json_string(image->type));
    if (image->path[0]) {
        set(object, "path", call_text(image->path));
        set(object, "cache", json_string(image->cache));
    } else {
        set_integer(object, "delay_ms", (uint64_t)image->delay_ms);
    }
    if (info) {
        set(object, "open", json_boolean(info->has_image));
    }
    if (info && info->has_image) {
        set_integer(object, "size", info->image_size);
        set_integer(object, "block_size", info->image_block);
        set_integer(object, "physical_block_size", info->image_physical_block);
        set_integer(object, "max_inflight", info->image_max_inflight);
        if (info->lane[0].engine[0]) {
            set_engine(object, &info->lane[0]);
            set(object, "engines", engines_json(info));
        }
    }
    return object;
}

static json_t *client_json(const struct plane_info *info)
{
    json_t *object;

    if (!info || !info->has_peer) {
        return json_null();
    }
    object = json_object();
    set(object, "pid", json_integer(info->peer.pid));
    set(object, "uid", json_integer((json_int_t)info->peer.uid));
    set(object, "comm", call_text(info->peer.comm));
    return object;
}

static void set_settings(json_t *object, const struct settings *settings)
{
    set_integer(object, "poll_us", (uint64_t)settings->poll_us);
    set_integer(object, "poll_cpu", (uint64_t)settings->poll_cpu);
    set(object, "engine", json_string(settings->engine));
    set_integer(object, "threads", (uint64_t)settings->threads);
}

/* `info` NULL: what control itself knows. */
static json_t *base_json(const struct disk *disk, const char *state, const char *reason,
                         const struct plane_info *info)
{
    const struct disk_config *config = &disk->record.config;
    json_t *object = json_object();

    set(object, "name", json_string(config->name));
    set(object, "state", json_string(state));
    set(object, "reason", reason[0] ? call_text(reason) : json_null());
    set_integer(object, "size", info ? info->geometry.size : (uint64_t)disk->record.size);
    set(object, "readonly", json_boolean(config->readonly));
    set(object, "socket", call_text(config->socket));
    set(object, "client", client_json(info));
    set_integer(object, "queues", (uint64_t)config->queues);
    set_integer(object, "queues_running", info ? info->rings_running : 0);
    set_settings(object, info ? &info->settings : &config->settings);
    set(object, "image", image_json(disk, info));
    return object;
}

json_t *disk_json_stuck(const struct disk *disk, const char *reason)
{
    return base_json(disk, "stuck", reason, NULL);
}

json_t *disk_json_list(const struct disk *disk, const struct plane_info *info)
{
    return base_json(disk, plane_state_name(info->state), info->reason, info);
}

/* The pause reasons in words. */
static json_t *paused_json(unsigned mask)
{
    static const struct {
        unsigned bit;
        const char *word;
    } reason[] = {
        {PAUSE_ADMIN, "stopped"},
        {PAUSE_GONE, "no front-end"},
        {PAUSE_MESSAGE, "front-end message"},
        {PAUSE_EXIT, "removal"},
        {PAUSE_MOVE, "change of threads"},
    };
    json_t *list = json_array();

    for (unsigned i = 0; i < ARRAY_SIZE(reason); i++) {
        if (mask & reason[i].bit) {
            (void)json_array_append_new(list, json_string(reason[i].word));
        }
    }
    return list;
}

static json_t *oldest_json(const struct plane_info *info)
{
    json_t *object;

    if (!info->has_oldest) {
        return json_null();
    }
    object = json_object();
    set(object, "type", json_string(stats_type_name(info->oldest.kind)));
    set_integer(object, "offset", info->oldest.offset);
    set_integer(object, "length", info->oldest.length);
    set_integer(object, "age_ns", info->oldest.age_ns);
    set_integer(object, "ring", info->oldest.ring);
    return object;
}

static json_t *ring_json(const struct plane_ring_info *ring)
{
    json_t *object = json_object();

    set_integer(object, "index", ring->index);
    set_integer(object, "size", ring->size);
    set(object, "enabled", json_boolean(ring->is_enabled));
    set(object, "running", json_boolean(ring->is_running));
    set_integer(object, "inflight", ring->inflight);
    set_integer(object, "thread", ring->lane);
    set_integer(object, "last_avail", ring->last_avail);
    set_integer(object, "used", ring->used);
    set(object, "fault", ring->is_broken && ring->fault ? json_string(ring->fault) : json_null());
    return object;
}

static json_t *rings_json(const struct plane_info *info)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < info->ring_count; i++) {
        (void)json_array_append_new(list, ring_json(&info->ring[i]));
    }
    return list;
}

static json_t *thread_ids_json(const struct plane_info *info)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < info->lane_count; i++) {
        (void)json_array_append_new(list, json_integer(info->lane[i].tid));
    }
    return list;
}

static json_t *memory_json(const struct plane_info *info)
{
    json_t *object = json_object();

    set_integer(object, "regions", info->regions);
    set_integer(object, "bytes", info->memory_bytes);
    set(object, "lost", json_boolean(info->has_lost_memory));
    return object;
}

json_t *disk_json_show(const struct disk *disk, const struct plane_info *info)
{
    const struct disk_config *config = &disk->record.config;
    json_t *object = disk_json_list(disk, info);

    set(object, "serial", call_text(config->serial));
    set_integer(object, "queue_size", (uint64_t)config->queue_size);
    set_integer(object, "logical_block_size", info->geometry.logical_block);
    set_integer(object, "physical_block_size", info->geometry.physical_block);
    set_integer(object, "opt_io_size", info->geometry.opt_io);
    set(object, "listening", json_boolean(info->is_listening));
    set_integer(object, "features", info->features);
    set(object, "paused_by", paused_json(info->pause_mask));
    set_integer(object, "inflight", info->stats.inflight);
    set(object, "oldest", oldest_json(info));
    set(object, "memory", memory_json(info));
    set_integer(object, "thread", (uint64_t)worker_tid(&disk->plane.worker));
    set(object, "thread_ids", thread_ids_json(info));
    set(object, "rings", rings_json(info));
    return object;
}

static json_t *requests_json(const struct stats_requests *requests)
{
    json_t *object = json_object();

    set_integer(object, "requests", requests->requests);
    set_integer(object, "bytes", requests->bytes);
    set_integer(object, "errors", requests->errors);
    set_integer(object, "time_ns", requests->time_ns);
    return object;
}

json_t *disk_json_stats(const struct disk *disk, const struct plane_info *info)
{
    const struct stats *stats = &info->stats;
    json_t *object = json_object();
    json_t *requests = json_object();

    for (unsigned i = 0; i < STATS_TYPES; i++) {
        set(requests, stats_type_name((enum stats_type)i), requests_json(&stats->type[i]));
    }
    set(object, "name", json_string(disk->record.config.name));
    set_integer(object, "time_ns", info->time_ns);
    set(object, "requests", requests);
    set_integer(object, "invalid", stats->invalid);
    set_integer(object, "inflight", stats->inflight);
    set_integer(object, "inflight_max", stats->inflight_max);
    set_integer(object, "kicks", stats->kicks);
    set_integer(object, "interrupts", stats->interrupts);
    set_integer(object, "interrupts_suppressed", stats->interrupts_suppressed);
    set_integer(object, "poll_hits", stats->poll_hits);
    set_integer(object, "poll_misses", stats->poll_misses);
    set_integer(object, "poll_time_ns", stats->poll_time_ns);
    set_integer(object, "submissions", stats->submissions);
    set_integer(object, "submitted", stats->submitted);
    set_integer(object, "merged", stats->merged);
    return object;
}
