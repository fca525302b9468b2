/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_cache.h"

#include "core/base/log.h"
#include "core/block/image.h"
#include "daemon/plane_sync.h"

static struct plane *plane_of(struct message *message)
{
    return containerof(message, struct plane, cache.message);
}

/* Who asked may be gone, and asked again by another connection meanwhile; or all of the disk is. */
static void run_kept(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->cache.is_busy = false;
    if (plane->dev && plane->cache.is_due) {
        plane_cache_keep(plane);
    } else if (plane->vu) {
        vhost_user_kept(plane->vu, &plane->cache.err);
    }
}

void plane_cache_kept(struct plane *plane)
{
    plane->cache.message.run = run_kept;
    mailbox_send(&plane->worker.mailbox, &plane->cache.message);
}

/* On the control thread. */
static void run_keep(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->opts.keep_cache(plane);
}

static void tell_control(struct plane *plane)
{
    plane->cache.message.run = run_keep;
    mailbox_send(plane->worker.control, &plane->cache.message);
}

static void on_flushed(struct device_sync *flush)
{
    struct plane *plane = containerof(flush, struct plane, cache.flush);

    if (flush->io.result < 0) {
        plane_sync_note(plane, flush->io.result);
        (void)err_set(&plane->cache.err, (int)flush->io.result,
                      "%s: a flush of what was written before failed", plane->opts.name);
    }
    tell_control(plane);
}

void plane_cache_keep(void *arg)
{
    struct plane *plane = arg;
    struct plane_cache *cache = &plane->cache;
    const struct image *image = device_image(plane->dev);

    cache->is_due = cache->is_busy;
    if (cache->is_busy) {
        return;
    }
    cache->is_busy = true;
    cache->err = (struct err){0};
    cache->is_writethrough = !device_has_writeback(plane->dev);
    log_info("%s: the guest has switched to %s", plane->opts.name,
             cache->is_writethrough ? "writethrough" : "writeback");
    if (cache->is_writethrough && image && image_facts(image)->needs_sync) {
        device_sync(plane->dev, &cache->flush, on_flushed);
    } else {
        tell_control(plane); /* a closed image was flushed before */
    }
}
