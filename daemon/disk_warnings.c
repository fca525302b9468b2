/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_warnings.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/block/image_sync.h"
#include "core/virtio/mem.h"
#include "daemon/call.h"
#include "daemon/disk_held.h"
#include "daemon/disk_config.h"
#include "daemon/keeper.h"
#include "daemon/plane.h"

static void add(json_t *list, const char *code, const char *text)
{
    (void)json_array_append_new(list,
                                json_pack("{s:s, s:o}", "code", code, "text", call_text(text)));
}

static void add_loss(json_t *list, const struct plane_info *info)
{
    char what[256];
    char text[512];

    if (info->loss.code == 0) {
        return;
    }
    image_loss_say(&info->loss, what, sizeof(what));
    (void)snprintf(text, sizeof(text), "%s; %s, and check the guest's file systems", what,
                   info->has_image ? "all flushes fail from then on: see to the host's file "
                                     "system, stop the disk, start it"
                                   : "see to the host's file system, start the disk");
    add(list, "flush_failed", text);
}

static void add_socket(json_t *list, const struct plane_info *info)
{
    char text[400];

    if (info->socket_fault[0]) {
        (void)snprintf(text, sizeof(text),
                       "the socket has gone, so no front-end can connect: %s; vblkd goes on trying",
                       info->socket_fault);
        add(list, "socket_gone", text);
    }
}

/* The first of them stands for all: `show` tells of each. */
static void add_broken(json_t *list, const struct plane_info *info)
{
    const struct device_ring_info *ring = info->device.ring;
    char text[512];

    if (info->device.rings_broken == 0) {
        return;
    }
    while (!ring->is_broken) {
        ring++;
    }
    (void)snprintf(text, sizeof(text),
                   "%u queue%s broken, and what the guest puts there is not answered, ring %u: %s; "
                   "a reset of the guest mends it",
                   info->device.rings_broken, info->device.rings_broken == 1 ? " is" : "s are",
                   ring->index, ring->fault);
    add(list, "queue_broken", text);
}

/* Until a front-end has come whose guest is served. */
static void add_hung_up(json_t *list, const struct plane_info *info)
{
    char text[640];

    if (info->hung_up[0]) {
        (void)snprintf(text, sizeof(text), "the last front-end was hung up on: %s", info->hung_up);
        add(list, "client_hung_up", text);
    }
}

static void add_held(json_t *list, const struct plane_info *info)
{
    char text[400];

    disk_held_say(info, text, sizeof(text));
    if (text[0]) {
        add(list, "requests_held", text);
    }
}

static void add_cpus(json_t *list, const struct plane_info *info)
{
    char text[2 * CPUS_TEXT_BYTES + 200];

    if (info->cpus_elsewhere[0]) {
        (void)snprintf(text, sizeof(text),
                       "its threads run on the CPUs %s and were to run on %s: some of these have "
                       "gone, or somebody has moved the threads; to set cpus again moves them back",
                       info->cpus_elsewhere, info->settings.cpus);
        add(list, "cpus_elsewhere", text);
    }
}

static void add_blind(json_t *list, const struct plane_info *info)
{
    if (info->device.rings_blind == 0) {
        return;
    }
    add(list, "memory_not_shared",
        info->device.regions == 0 ? "the guest kicks, but " MEM_NOT_SHARED
                                  : "the guest kicks, but " MEM_NOT_SEEN);
}

static void add_fate(json_t *list, const char *path, const struct plane_info *info)
{
    char text[600];

    image_fate_say(&info->fate, path, info->image_fd, text, sizeof(text));
    switch (info->fate.kind) {
    case IMAGE_MOVED:
        add(list, "image_moved", text);
        break;
    case IMAGE_REPLACED:
        add(list, "image_replaced", text);
        break;
    case IMAGE_DELETED:
        add(list, "image_deleted", text);
        break;
    default:
        break;
    }
}

/* What has grown is followed, unless it cannot be. */
static void add_size(json_t *list, const struct plane_info *info)
{
    const struct plane_geometry *geometry = &info->geometry;
    char text[400];

    if (!info->has_image_now || info->image_now == geometry->size) {
        return;
    }
    if (info->image_now < geometry->size) {
        (void)snprintf(text, sizeof(text),
                       "the image was cut to %" PRIu64 " bytes, of %" PRIu64
                       " that the guest knows, and what is beyond fails: give it its size back, or "
                       "resize the disk with --shrink",
                       info->image_now, geometry->size);
        add(list, "image_cut", text);
    } else {
        (void)snprintf(text, sizeof(text),
                       "the image has %" PRIu64 " bytes by now, of which the guest is not given "
                       "more than %" PRIu64 ": resize with --refresh tells why",
                       info->image_now, geometry->size);
        add(list, "image_larger", text);
    }
}

json_t *disk_warnings(const char *path, const struct plane_info *info)
{
    json_t *list = json_array();

    add_fate(list, path, info);
    add_size(list, info);
    add_loss(list, info);
    add_held(list, info);
    add_socket(list, info);
    add_blind(list, info);
    add_broken(list, info);
    add_hung_up(list, info);
    add_cpus(list, info);
    return list;
}

void disk_warnings_of_config(json_t *list, const struct disk_config *config)
{
    enum cache_mode mode;

    if (!config->readonly && !image_type_of(&config->image)->keeps_nothing &&
        cache_mode_parse(config->image.cache, &mode) && mode == CACHE_UNSAFE) {
        add(list, "cache_unsafe",
            "cache is unsafe: what the guest flushes is not stable before the disk is stopped or "
            "removed, and a power cut, or a crash of this host, may cost its file systems");
    }
}

void disk_warnings_of_new(json_t *list, const struct plane_info *info)
{
    if (info->note[0]) {
        add(list, "encrypted", info->note);
    }
}

json_t *daemon_warnings(const struct keeper *keeper)
{
    json_t *list = json_array();
    struct err err = {0};

    if (keeper_why(keeper, &err) < 0) {
        err_hint(&err, "until that is mended, what was changed since does not outlast vblkd");
        add(list, "state_not_saved", err.text);
    }
    return list;
}
