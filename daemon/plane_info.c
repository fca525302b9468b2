/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/block/image.h"
#include "core/block/image_opening.h"
#include "daemon/plane_close.h"
#include "daemon/plane_cpus.h"
#include "daemon/plane_limits.h"
#include "daemon/plane_look.h"
#include "daemon/plane_sync.h"

static void fill_image(const struct plane *plane, struct plane_info *info)
{
    const struct device *dev = plane->dev;
    const struct node_facts *image = device_image(dev) ? image_facts(device_image(dev)) : NULL;
    const struct blk_opts *blk = &info->device.blk;

    info->geometry.size = blk->capacity;
    info->geometry.logical_block = blk->logical_block;
    info->geometry.physical_block = blk->physical_block;
    info->geometry.alignment = blk->alignment;
    info->geometry.min_io = blk->min_io ? blk->min_io : blk->physical_block;
    info->geometry.opt_io = blk->opt_io;
    info->geometry.chs = blk->chs;
    info->geometry.discard_block = blk->discard_block;
    info->geometry.zeroes = blk->zeroes;
    info->geometry.shown = blk->shown;
    info->is_readonly = blk->is_readonly;
    if (image) {
        info->has_image = true;
        info->image_size = image->size;
        info->has_image_now = plane_look_size(plane, &info->image_now);
        info->image_block = image->patched_block ? image->patched_block : image->block_size;
        info->image_physical_block = image->physical_block;
        (void)snprintf(info->note, sizeof(info->note), "%s", image->note ? image->note : "");
    }
}

static void fill_loss(const struct plane *plane, struct plane_info *info)
{
    const struct image *image = device_image(plane->dev);

    info->image_id = plane->image_id;
    info->image_fd = plane_look_fd(plane);
    info->fate = plane_look_latest(plane);
    info->look_age_ns = plane_look_age_ns(plane);
    info->loss = image ? image_lost(image) : plane->loss;
    info->sync_age_ns = plane_sync_age_ns(plane);
}

/* What is under way goes before what was. */
static const char *reason_of(const struct plane *plane)
{
    if (plane->state == PLANE_WAITING) {
        return plane->reason; /* it is opened, and closed, again and again */
    }
    if (plane->is_handover) {
        return "its guest has been migrated, and the image is being handed over";
    }
    if (plane->image_opening || plane->close.opening) {
        return "its image is being opened";
    }
    if (plane->start.phase == PLANE_START_FAILS) {
        return "its image could not be taken, and is being closed";
    }
    if (plane_medium_reason(plane)) {
        return plane_medium_reason(plane);
    }
    return plane_is_closing(plane) ? "its image is being closed" : plane->reason;
}

/* Of a new file that is not to be sparse; or for whom it has to wait. */
static void add_progress(const struct plane *plane, struct plane_info *info)
{
    size_t used = strlen(info->reason);
    char whom[IMAGE_WAIT_BYTES];

    if (plane->image_opening && image_opening_waits(plane->image_opening, whom)) {
        (void)snprintf(info->reason, sizeof(info->reason),
                       "waits for %s, and opens its image after that", whom);
    } else if (plane->image_opening && image_opening_bytes(plane->image_opening) > 0) {
        (void)snprintf(info->reason + used, sizeof(info->reason) - used,
                       ": %" PRIu64 " of %" PRIu64 " bytes are allocated",
                       image_opening_bytes(plane->image_opening), plane->opts.image.size);
    }
}

void plane_info_fill(struct plane *plane, struct plane_info *info)
{
    memset(info, 0, sizeof(*info));
    info->state = plane->state;
    info->time_ns = now_ns();
    plane_limits_look(plane);
    info->settings = plane->settings;
    (void)snprintf(info->reason, sizeof(info->reason), "%s", reason_of(plane));
    add_progress(plane, info);
    if (plane->state == PLANE_OPENING || plane->state == PLANE_GONE) {
        info->device.stats = plane->counters;
        return; /* there is no device */
    }
    plane_cpus_look(plane, info->cpus_elsewhere);
    device_info(plane->dev, &info->device);
    fill_image(plane, info);
    fill_loss(plane, info);
    if (plane->vu) {
        info->is_listening = plane->state != PLANE_REMOVING && !plane->socket_fault[0];
        (void)snprintf(info->socket_fault, sizeof(info->socket_fault), "%s", plane->socket_fault);
        info->has_peer = vhost_user_peer(plane->vu, &info->peer);
        (void)snprintf(info->hung_up, sizeof(info->hung_up), "%s",
                       info->device.rings_running == 0 ? vhost_user_hung_up(plane->vu) : "");
    }
}
