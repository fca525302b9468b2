/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry_keep.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/plane_cache.h"
#include "daemon/plane_keep.h"
#include "daemon/plane_medium_steps.h"
#include "daemon/plane_resize.h"

/* The disk's thread may have gone while the table was written: then nobody waits for it. */
static void end_keep(struct record_keep *keep)
{
    struct disk *disk = keep->disk;

    if (!disk->is_gone) {
        keep->kept(&disk->plane);
    }
    disk->ops--;
    disk->registry->op_count--;
    disk->registry->released(disk);
}

/* What cannot be written now is tried again, with the next change and by the clock. */
static void on_kept(struct keep *kept, const struct err *err)
{
    struct record_keep *keep = containerof(kept, struct record_keep, keep);

    if (err->code < 0 && keep->err->code == 0) {
        *keep->err = *err;
    }
    end_keep(keep);
}

/* The record is as it is to be. */
static void begin_keep(struct record_keep *keep, bool has_changed)
{
    struct disk *disk = keep->disk;
    struct registry *registry = disk->registry;

    disk->ops++; /* it stays, and the end of the daemon waits for it */
    registry->op_count++;
    if (has_changed) {
        free(disk->row);
        disk->row = NULL;
        keeper_change(&registry->keeper);
    }
    if (registry->has_stopped) {
        (void)err_say(keep->err, -ESHUTDOWN, "the daemon is ending");
        end_keep(keep);
    } else if (keeper_is_dirty(&registry->keeper)) {
        keep->keep.done = on_kept;
        keeper_wait(&registry->keeper, &keep->keep);
    } else {
        end_keep(keep);
    }
}

void registry_cache_keep(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    bool has_changed = disk->record.is_writethrough != plane->cache.is_writethrough;

    disk->record.is_writethrough = plane->cache.is_writethrough;
    disk->cache_keep.disk = disk;
    disk->cache_keep.err = &plane->cache.err;
    disk->cache_keep.kept = plane_cache_kept;
    begin_keep(&disk->cache_keep, has_changed);
}

void registry_handover_keep(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    bool has_changed = !disk->record.config.incoming;

    disk->record.config.incoming = true;
    disk->handover_keep.disk = disk;
    disk->handover_keep.err = &plane->keep.err;
    disk->handover_keep.kept = plane_keep_kept;
    begin_keep(&disk->handover_keep, has_changed);
}

void registry_medium_keep(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    struct disk_record *record = &disk->record;

    record->config.image = *plane->medium.kept.image;
    disk_config_created(&record->config);
    record->size = (int64_t)plane->medium.kept.size;
    (void)disk_opened_keep(&record->opened, &plane->medium.kept.id, disk->registry->boot);
    disk->medium_keep.disk = disk;
    disk->medium_keep.err = &plane->medium.kept.err;
    disk->medium_keep.kept = plane_medium_kept;
    begin_keep(&disk->medium_keep, true);
}

void registry_size_keep(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    bool has_changed = disk->record.size != (int64_t)plane->resize.wanted;

    disk->record.size = (int64_t)plane->resize.wanted;
    disk->size_keep.disk = disk;
    disk->size_keep.err = &plane->resize.err;
    disk->size_keep.kept = plane_resize_kept;
    begin_keep(&disk->size_keep, has_changed);
}
