/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry_sockets.h"

#include "core/base/log.h"
#include "daemon/op.h"
#include "daemon/protocol.h"

/* Of disks whose socket cannot be made, or whose directory cannot be watched. */
#define LOOK_MS 5000

static void look_at_disk(struct disk *disk);

static bool needs_clock(const struct disk *disk)
{
    return disk->must_look || disk->directory < 0;
}

static void on_timer(uv_timer_t *timer);

static void arm_timer(struct registry *registry)
{
    if (!uv_is_active((const uv_handle_t *)&registry->look_timer)) {
        uv_update_time(registry->opts.loop);
        (void)uv_timer_start(&registry->look_timer, on_timer, LOOK_MS, 0);
    }
}

/*
 * The directory was open on the disk's thread a moment ago, so this does not hang.  Nobody else may
 * tell: control itself must not walk into one that does not answer.
 */
static void watch_directory(struct disk *disk)
{
    struct registry *registry = disk->registry;

    disk->directory = socket_watch_add(&registry->watch, disk->record.config.socket);
    if (disk->directory < 0) {
        arm_timer(registry);
    }
}

/* A directory that was lost is there again: what came before the watch has to be looked at. */
static void watch_again(struct disk *disk)
{
    if (disk->directory < 0 && !disk->is_gone && !disk->registry->is_stopping) {
        watch_directory(disk);
        disk->look_again |= disk->directory >= 0;
    }
}

/* What happens while it looks is looked at once more. */
static void on_looked(struct op *op)
{
    struct disk *disk = op->disk;

    disk->is_looking = false;
    disk->must_look = op->err.code < 0;
    if (!disk->must_look) {
        watch_again(disk);
    }
    if (disk->look_again) {
        disk->look_again = false;
        look_at_disk(disk);
    } else if (needs_clock(disk)) {
        arm_timer(disk->registry);
    }
}

static void look_at_disk(struct disk *disk)
{
    struct op *op = NULL;

    if (disk->is_gone || disk->registry->is_stopping) {
        return;
    }
    if (disk->registry->is_frozen) { /* by the clock, if it is here then */
        disk->must_look = true;
        arm_timer(disk->registry);
        return;
    }
    if (disk->is_looking) {
        disk->look_again = true;
        return;
    }
    if (disk->late_ops == 0) {
        op = op_new(disk, PLANE_LOOK, PROTOCOL_INFO_MS, on_looked, NULL);
    }
    disk->is_looking = op != NULL;
    disk->must_look = op == NULL;
    if (op) {
        op_send(op);
    } else {
        arm_timer(disk->registry);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct registry *registry = containerof(timer, struct registry, look_timer);

    if (registry->is_stopping) {
        return;
    }
    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (!disk->is_opening && needs_clock(disk)) {
            look_at_disk(disk);
        }
    }
}

static void on_gone(void *arg, int directory, const char *name, bool is_lost)
{
    struct registry *registry = arg;

    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (disk->is_opening || (directory >= 0 && disk->directory != directory)) {
            continue;
        }
        disk->directory = is_lost ? -1 : disk->directory;
        if (!name || socket_watch_is_name(disk->record.config.socket, name)) {
            look_at_disk(disk);
        }
    }
}

int registry_sockets_init(struct registry *registry)
{
    socket_watch_init(&registry->watch, registry->opts.loop, on_gone, registry);
    if (registry->watch.fd < 0) {
        log_warn("daemon: cannot watch the directories of sockets (inotify), looks by the clock; "
                 "raise fs.inotify.max_user_instances with sysctl");
    }
    return uv_timer_init(registry->opts.loop, &registry->look_timer);
}

void registry_sockets_add(struct disk *disk)
{
    watch_directory(disk);
    look_at_disk(disk); /* for what came before the watch */
}

void registry_sockets_drop(struct disk *disk)
{
    int directory = disk->directory;

    disk->directory = -1;
    for (struct disk *other = disk->registry->disks; other; other = other->next) {
        if (other != disk && other->directory == directory) {
            return;
        }
    }
    socket_watch_drop(&disk->registry->watch, directory);
}

void registry_sockets_fini(struct registry *registry)
{
    socket_watch_close(&registry->watch);
    uv_close((uv_handle_t *)&registry->look_timer, NULL);
}
