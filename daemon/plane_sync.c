/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_sync.h"

#include <time.h>

#include "core/base/log.h"
#include "core/block/image.h"
#include "core/block/image_sync.h"

/* Images in the page cache keep their first failure themselves; for the others we do. */
static void keep_loss(struct plane *plane)
{
    plane->loss = image_lost(device_image(plane->dev));
    if (plane->loss.code == 0) {
        plane->loss = plane->sync.failed;
    }
    plane->sync.failed.code = 0;
}

void plane_sync_wake(struct plane *plane)
{
    if (plane->sync.done) {
        device_drain_cancel(plane->dev, &plane->sync.drain); /* it may wait for its turn already */
        device_pause(plane->dev, plane->sync.reason, &plane->sync.drain);
    }
}

/*
 * The kernel tells an error once: what comes after it, another stop, a removal or the end of the
 * daemon, has a flush of its own, which may be a success.
 */
void plane_sync_note(struct plane *plane, int64_t result)
{
    struct image_loss *failed = &plane->sync.failed;
    char text[256];

    if (result >= 0 || failed->code < 0 || image_lost(device_image(plane->dev)).code < 0) {
        return;
    }
    *failed = (struct image_loss){.code = (int)result, .time_s = time(NULL), .op = IO_FLUSH};
    image_loss_say(failed, text, sizeof(text));
    log_error("%s: %s", plane->opts.name, text);
}

static void on_synced(struct device_sync *sync)
{
    struct plane *plane = containerof(sync, struct plane, sync.flush);

    plane_sync_note(plane, sync->io.result);
}

bool plane_sync_waits_for_file(const struct plane *plane)
{
    return plane->look.is_busy || plane->resize.phase == PLANE_RESIZE_LOOKS ||
           plane->resize.phase == PLANE_RESIZE_CUTS;
}

/* Nothing is under way, no flush either.  Who looks at the image's file has it open. */
static void on_turn(struct drain *drain)
{
    struct plane *plane = containerof(drain, struct plane, sync.drain);
    void (*synced)(struct plane * plane) = plane->sync.done;

    if (plane->sync.is_due) {
        plane->sync.is_due = false;
        device_sync(plane->dev, &plane->sync.flush, on_synced);
        plane_sync_wake(plane); /* its turn comes when that is done */
        return;
    }
    if (plane_sync_waits_for_file(plane)) {
        return;
    }
    plane->sync.done = NULL;
    if (device_image(plane->dev)) {
        keep_loss(plane);
    }
    synced(plane);
}

void plane_sync(struct plane *plane, enum pause_reason reason, void (*synced)(struct plane *plane))
{
    const struct image *image = device_image(plane->dev);

    plane->sync.done = synced;
    plane->sync.reason = reason;
    plane->sync.is_due =
        image && image_facts(image)->needs_sync; /* one from before may not cover all */
    plane->sync.since_ns = now_ns();
    plane->sync.drain.done = on_turn;
    device_pause(plane->dev, reason, &plane->sync.drain);
}

void plane_sync_cancel(struct plane *plane)
{
    device_drain_cancel(plane->dev, &plane->sync.drain);
    plane->sync.done = NULL;
}

uint64_t plane_sync_age_ns(const struct plane *plane)
{
    return plane->sync.done ? now_ns() - plane->sync.since_ns : 0;
}
