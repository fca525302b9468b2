/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry_cache.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/plane_cache.h"

/* The disk's thread may have gone while the table was written: then nobody waits for it. */
static void end_keep(struct disk *disk)
{
    if (!disk->is_gone) {
        plane_cache_kept(&disk->plane);
    }
    disk->ops--;
    disk->registry->op_count--;
    disk->registry->released(disk);
}

/* What cannot be written now is tried again, with the next change and by the clock. */
static void on_kept(struct keep *keep, const struct err *err)
{
    struct disk *disk = containerof(keep, struct disk, cache_keep);

    if (err->code < 0 && disk->plane.cache.err.code == 0) {
        disk->plane.cache.err = *err;
    }
    end_keep(disk);
}

void registry_cache_keep(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    struct registry *registry = disk->registry;
    bool has_changed = disk->record.is_writethrough != plane->cache.is_writethrough;

    disk->ops++; /* it stays, and the end of the daemon waits for it */
    registry->op_count++;
    disk->record.is_writethrough = plane->cache.is_writethrough;
    if (has_changed) {
        free(disk->row);
        disk->row = NULL;
        keeper_change(&registry->keeper);
    }
    if (registry->has_stopped) {
        (void)err_say(&plane->cache.err, -ESHUTDOWN, "the daemon is ending");
        end_keep(disk);
    } else if (keeper_is_dirty(&registry->keeper)) {
        disk->cache_keep.done = on_kept;
        keeper_wait(&registry->keeper, &disk->cache_keep);
    } else {
        end_keep(disk);
    }
}
