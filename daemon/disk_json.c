/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_json.h"

#include <string.h>

#include "daemon/call.h"
#include "daemon/disk_held.h"
#include "daemon/disk_params.h"
#include "daemon/disk_pin.h"
#include "daemon/disk_warnings.h"
#include "daemon/json_memory.h"
#include "daemon/params.h"

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value); /* fails without memory only */
}

static void set_integer(json_t *object, const char *name, uint64_t value)
{
    set(object, name, json_integer((json_int_t)value));
}

/* Of its shape: null while nobody knows, as a disk that is added has none before its image is open.
 */
static void set_shape(json_t *object, const char *name, uint64_t value, bool is_known)
{
    set(object, name, is_known ? json_integer((json_int_t)value) : json_null());
}

static void set_engine(json_t *object, const struct device_lane_info *lane)
{
    set(object, "engine", json_string(lane->engine));
    set(object, "engine_reason", call_text(lane->engine_reason));
}

static json_t *engines_json(const struct plane_info *info)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < info->device.lane_count; i++) {
        json_t *object = json_object();

        set_engine(object, &info->device.lane[i]);
        (void)json_array_append_new(list, object);
    }
    return list;
}

static json_t *image_json(const struct disk *disk, const struct plane_info *info)
{
    const struct image_config *image = &disk->record.config.image;
    bool has_file = image_type_of(image)->has_file;
    json_t *object = params_tell(image_params, image);

    if (image_type_of(image)->is_empty) {
        return object;
    }
    if (has_file) {
        set(object, "format", json_string(image->format[0] ? image->format : "raw"));
    }
    if (info) {
        set(object, "open", json_boolean(info->has_image));
    }
    if (info && has_file) {
        set(object, "fate", json_string(image_fate_name(info->fate.kind)));
    }
    if (info && info->has_image) {
        set_integer(object, "size", info->image_size);
        set_integer(object, "block_size", info->image_block);
        set_integer(object, "physical_block_size", info->image_physical_block);
        set_integer(object, "max_inflight", info->device.lane[0].max_inflight);
        set_integer(object, "flushing_ns", info->sync_age_ns);
        if (info->device.lane[0].engine[0]) {
            set_engine(object, &info->device.lane[0]);
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

/* What was asked for, where no fact stands for it: by the rows, so that none is left out. */
static void set_rest(json_t *object, const struct param *table, const void *target)
{
    json_auto_t *asked = params_write(table, target);

    (void)json_object_update_missing(object, asked); /* fails without memory only */
}

/* An empty disk has a shape, too. */
static bool is_shape_known(const struct disk *disk, const struct plane_info *info)
{
    return info ? info->geometry.logical_block > 0 : disk->record.logical_block > 0;
}

/* `info` NULL: what control itself knows. */
static json_t *base_json(const struct disk *disk, const char *state, const char *reason,
                         const struct plane_info *info)
{
    unsigned before = json_memory_failures();
    const struct disk_config *config = &disk->record.config;
    uint64_t size = info ? info->geometry.size : (uint64_t)disk->record.size;
    json_t *object = json_object();

    set(object, "name", json_string(config->name));
    set(object, "state", json_string(state));
    set(object, "reason", reason[0] ? call_text(reason) : json_null());
    set(object, "iostatus", info ? json_string(disk_held_iostatus(info)) : json_null());
    set(object, "warnings", info ? disk_warnings(config->image.path, info) : json_array());
    set_shape(object, "size", size, is_shape_known(disk, info));
    set(object, "readonly", json_boolean(config->readonly));
    set(object, "no_persist", json_boolean(config->no_persist));
    set(object, "socket", call_text(config->socket));
    set(object, "client", client_json(info));
    set_integer(object, "queues", (uint64_t)config->queues);
    set_integer(object, "queues_running", info ? info->device.rings_running : 0);
    set_integer(object, "queues_broken", info ? info->device.rings_broken : 0);
    set_rest(object, settings_params, info ? &info->settings : &config->settings);
    set(object, "image", image_json(disk, info));
    return json_memory_check(object, before);
}

json_t *disk_json_stuck(const struct disk *disk, const char *reason)
{
    return base_json(disk, "stuck", reason, NULL);
}

/* It runs, and yet somebody waits for answers that do not come. */
static bool is_broken(const struct plane_info *info)
{
    return info->state == PLANE_RUNNING && info->device.rings_broken > 0;
}

json_t *disk_json_list(const struct disk *disk, const struct plane_info *info)
{
    return base_json(disk, is_broken(info) ? "broken" : plane_state_name(info->state), info->reason,
                     info);
}

/* The pause reasons in words. */
static json_t *paused_json(const struct plane_info *info)
{
    const char *stopped = info->state == PLANE_WAITING ? "image elsewhere" : "stopped";
    const struct {
        unsigned bit;
        const char *word;
    } reason[] = {
        {PAUSE_ADMIN, stopped},
        {PAUSE_GONE, "no front-end"},
        {PAUSE_MESSAGE, "front-end message"},
        {PAUSE_EXIT, "removal"},
        {PAUSE_MOVE, "change of threads"},
        {PAUSE_IMAGE, "change of the image"},
        {PAUSE_MEDIUM, "another image"},
        {PAUSE_UPGRADE, "upgrade"},
        {PAUSE_ERROR, "error"},
    };
    json_t *list = json_array();

    for (unsigned i = 0; i < ARRAY_SIZE(reason); i++) {
        if (info->device.pause_mask & reason[i].bit) {
            (void)json_array_append_new(list, json_string(reason[i].word));
        }
    }
    return list;
}

static json_t *oldest_json(const struct plane_info *info)
{
    json_t *object;

    if (!info->device.has_oldest) {
        return json_null();
    }
    object = json_object();
    set(object, "type", json_string(stats_type_name(info->device.oldest.kind)));
    set_integer(object, "offset", info->device.oldest.offset);
    set_integer(object, "length", info->device.oldest.length);
    set_integer(object, "age_ns", info->device.oldest.age_ns);
    set_integer(object, "ring", info->device.oldest.ring);
    return object;
}

static json_t *ring_json(const struct device_ring_info *ring)
{
    json_t *object = json_object();

    set_integer(object, "index", ring->index);
    set_integer(object, "size", ring->size);
    set(object, "enabled", json_boolean(ring->is_enabled));
    set(object, "running", json_boolean(ring->is_running));
    set_integer(object, "inflight", ring->inflight);
    set_integer(object, "held", ring->held);
    set_integer(object, "thread", ring->lane);
    set(object, "format", json_string(ring->is_packed ? "packed" : "split"));
    set(object, "inflight_log", json_boolean(ring->has_inflight_log));
    set_integer(object, "last_avail", ring->next_avail);
    set_integer(object, "used", ring->next_used);
    set(object, "fault", ring->is_broken && ring->fault ? json_string(ring->fault) : json_null());
    return object;
}

static json_t *rings_json(const struct plane_info *info)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < info->device.ring_count; i++) {
        (void)json_array_append_new(list, ring_json(&info->device.ring[i]));
    }
    return list;
}

static json_t *thread_ids_json(const struct plane_info *info)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < info->device.lane_count; i++) {
        (void)json_array_append_new(list, json_integer(info->device.lane[i].tid));
    }
    return list;
}

static json_t *memory_json(const struct plane_info *info)
{
    json_t *object = json_object();

    set_integer(object, "regions", info->device.regions);
    set_integer(object, "bytes", info->device.memory_bytes);
    set(object, "lost", json_boolean(info->device.has_lost_memory));
    return object;
}

static const char *zeroes_name(enum blk_zeroes zeroes)
{
    static const char *const names[] = {
        [BLK_ZEROES_OFF] = "off", [BLK_ZEROES_KEEP] = "keep", [BLK_ZEROES_UNMAP] = "unmap"};

    return names[zeroes];
}

/* Who has made it so.  Source: VIRTIO 1.2, 5.2.6.2 (writeback or writethrough). */
static const char *write_cache_by(const struct device_info *device)
{
    return device->is_writeback          ? "default"
           : device->blk.is_writethrough ? "cache"
           : device->has_switched        ? "guest"
           : device->is_in_doubt         ? "unknown"
                                         : "no_flush";
}

/* Null while nobody knows, and where nothing is written. */
static void set_write_cache(json_t *object, const struct plane_info *info)
{
    const struct device_info *device = &info->device;

    if (info->geometry.logical_block == 0 || device->blk.is_readonly) {
        set(object, "write_cache", json_null());
        set(object, "write_cache_by", json_null());
    } else {
        set(object, "write_cache",
            json_string(device->is_writeback ? "writeback" : "writethrough"));
        set(object, "write_cache_by", json_string(write_cache_by(device)));
    }
}

/* What is not offered is 0. */
static void set_limits(json_t *object, const struct plane_info *info, bool is_known)
{
    const struct plane_geometry *geometry = &info->geometry;
    const struct blk_shown *shown = &geometry->shown;
    uint64_t discard_bytes = (uint64_t)shown->max_discard_sectors * SECTOR_SIZE;
    uint64_t zeroes_bytes = (uint64_t)shown->max_write_zeroes_sectors * SECTOR_SIZE;

    set_shape(object, "seg_max", shown->seg_max, is_known);
    set_shape(object, "size_max", shown->size_max, is_known);
    set_shape(object, "discard_block_size", geometry->discard_block, is_known);
    set_shape(object, "max_discard", discard_bytes, is_known);
    set_shape(object, "max_discard_segments", shown->max_discard_seg, is_known);
    set(object, "zeroes", is_known ? json_string(zeroes_name(geometry->zeroes)) : json_null());
    set_shape(object, "max_write_zeroes", zeroes_bytes, is_known);
    set_shape(object, "max_write_zeroes_segments", shown->max_write_zeroes_seg, is_known);
}

json_t *disk_json_show(const struct disk *disk, const struct plane_info *info)
{
    unsigned before = json_memory_failures();
    const struct disk_config *config = &disk->record.config;
    const struct plane_geometry *geometry = &info->geometry;
    bool is_known = is_shape_known(disk, info);
    json_t *object = disk_json_list(disk, info);
    json_auto_t *warnings = daemon_warnings(&disk->registry->keeper);

    disk_warnings_of_config(json_object_get(object, "warnings"), config);
    (void)json_array_extend(json_object_get(object, "warnings"), warnings);
    set_rest(object, disk_params, config);
    set_shape(object, "logical_block_size", geometry->logical_block, is_known);
    set_shape(object, "physical_block_size", geometry->physical_block, is_known);
    set_shape(object, "alignment_offset", geometry->alignment, is_known);
    set_shape(object, "min_io_size", geometry->min_io, is_known);
    set_shape(object, "opt_io_size", geometry->opt_io, is_known);
    set_shape(object, "cylinders", geometry->chs.cylinders, is_known);
    set_shape(object, "heads", geometry->chs.heads, is_known);
    set_shape(object, "sectors", geometry->chs.sectors, is_known);
    set_limits(object, info, is_known);
    set(object, "shown",
        is_known ? disk_pin_json(geometry, (unsigned)config->queues) : json_null());
    set_write_cache(object, info);
    set(object, "listening", json_boolean(info->is_listening));
    set_integer(object, "features", info->device.features);
    set(object, "paused_by", paused_json(info));
    set_integer(object, "inflight", info->device.stats.inflight);
    set_integer(object, "held", info->device.stats.held);
    set(object, "held_types", disk_held_types(info));
    set(object, "held_first", disk_held_first(info));
    set_integer(object, "throttled", info->device.stats.throttled);
    set(object, "oldest", oldest_json(info));
    set(object, "memory", memory_json(info));
    set_integer(object, "thread", (uint64_t)worker_tid(&disk->plane.worker));
    set(object, "thread_ids", thread_ids_json(info));
    set(object, "rings", rings_json(info));
    return json_memory_check(object, before);
}

json_t *disk_json_added(const struct disk *disk, const struct plane_info *info)
{
    unsigned before = json_memory_failures();
    json_t *object = disk_json_show(disk, info);

    disk_warnings_of_new(json_object_get(object, "warnings"), info);
    return json_memory_check(object, before);
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

static json_t *batches_json(const struct device_info *device)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < device->lane_count; i++) {
        json_t *object = json_object();

        set_integer(object, "reads", device->lane[i].batch_reads);
        set_integer(object, "writes", device->lane[i].batch_writes);
        (void)json_array_append_new(list, object);
    }
    return list;
}

json_t *disk_json_stats(const struct disk *disk, const struct plane_info *info)
{
    unsigned before = json_memory_failures();
    const struct stats *stats = &info->device.stats;
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
    set_integer(object, "held", stats->held);
    set_integer(object, "throttled", stats->throttled);
    set_integer(object, "throttled_requests", stats->throttled_requests);
    set_integer(object, "throttled_ns", stats->throttled_ns);
    set_integer(object, "kicks", stats->kicks);
    set_integer(object, "interrupts", stats->interrupts);
    set_integer(object, "interrupts_suppressed", stats->interrupts_suppressed);
    set_integer(object, "late_interrupts", stats->late_interrupts);
    set_integer(object, "poll_hits", stats->poll_hits);
    set_integer(object, "poll_misses", stats->poll_misses);
    set_integer(object, "poll_time_ns", stats->poll_time_ns);
    set_integer(object, "submissions", stats->submissions);
    set_integer(object, "submitted", stats->submitted);
    set_integer(object, "merged", stats->merged);
    set_integer(object, "bounced", stats->bounced);
    set_integer(object, "turned", stats->turned);
    set_integer(object, "ignored", stats->ignored);
    set_integer(object, "freed", stats->freed);
    set(object, "batches", batches_json(&info->device));
    return json_memory_check(object, before);
}
