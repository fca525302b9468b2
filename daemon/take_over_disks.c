/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/take_over_disks.h"

#include <string.h>

#include "core/base/log.h"
#include "daemon/op.h"
#include "daemon/protocol.h"

static void disk_thawed(struct take_over *take)
{
    if (--take->thawing == 0) {
        take_over_done(take);
        take->thawed(take->arg);
    }
}

static void on_thawed(struct op *op)
{
    if (op->err.code < 0) {
        log_error("%s: after the upgrade: %s", op->disk->record.config.name, op->err.text);
    }
    disk_thawed(op->arg);
}

static bool is_given(const struct take_over *take, const struct disk *disk)
{
    for (size_t i = 0; i < take->count; i++) {
        if (strcmp(take->disk[i].name, disk->record.config.name) == 0) {
            return true;
        }
    }
    return false;
}

void take_over_thaw(struct take_over *take, struct registry *registry, void (*done)(void *arg),
                    void *arg)
{
    take->thawed = done;
    take->arg = arg;
    take->thawing = 1; /* ours, until all have been asked */
    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        struct op *op = is_given(take, disk)
                            ? op_new(disk, PLANE_THAW, PROTOCOL_OPEN_MS, on_thawed, take)
                            : NULL;

        if (op) {
            take->thawing++;
            op_send(op);
        }
    }
    disk_thawed(take);
}
