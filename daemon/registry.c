/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry.h"

#include <errno.h>
#include <string.h>

#include "daemon/plane_given.h"

struct disk *registry_find(const struct registry *registry, const char *name, struct err *err)
{
    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (strcmp(disk->record.config.name, name) == 0) {
            return disk;
        }
    }
    (void)err_say(err, -ENOENT, "no disk is named \"%s\"", name);
    return NULL;
}

int registry_refuse_taken(const struct registry *registry, const struct disk_config *config,
                          struct err *err)
{
    if (registry_find(registry, config->name, NULL)) {
        return err_say(err, -EEXIST, "%s: there is a disk of that name already", config->name);
    }
    if (strcmp(config->socket, registry->opts.control_path) == 0) {
        (void)err_say(err, -EADDRINUSE, "%s: %s is the daemon's control socket", config->name,
                      config->socket);
        err_hint(err, "give the disk another name, or another socket by --socket");
        return -EADDRINUSE;
    }
    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (strcmp(config->socket, disk->record.config.socket) == 0) {
            return err_say(err, -EADDRINUSE, "%s: the socket %s belongs to the disk %s",
                           config->name, config->socket, disk->record.config.name);
        }
    }
    return 0;
}

bool registry_keep_image(struct disk *disk, const struct plane_info *info)
{
    struct disk_record *record = &disk->record;
    bool is_other = record->size != (int64_t)info->geometry.size;

    if (info->has_image || info->state == PLANE_WAITING) {
        is_other |= record->config.incoming == info->has_image;
        record->config.incoming = !info->has_image;
    }
    record->size = (int64_t)info->geometry.size;
    record->logical_block = info->geometry.logical_block;
    record->physical_block = info->geometry.physical_block;
    record->alignment = info->geometry.alignment;
    record->min_io = info->geometry.min_io;
    record->opt_io = info->geometry.opt_io;
    record->cylinders = info->geometry.chs.cylinders;
    record->heads = info->geometry.chs.heads;
    record->sectors = info->geometry.chs.sectors;
    record->discard_block = info->geometry.discard_block;
    record->zeroes = info->geometry.zeroes;
    is_other |= disk_record_keep_shown(record, &info->geometry.shown);
    if (info->has_image || info->state == PLANE_WAITING) {
        is_other |= disk_opened_keep(&record->opened, &info->image_id, disk->registry->boot);
    }
    return is_other;
}

static bool is_serial_taken(const struct registry *registry, const char *serial)
{
    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (strcmp(disk->record.config.serial, serial) == 0) {
            return true;
        }
    }
    return false;
}

void registry_choose_serial(const struct registry *registry, struct disk_config *config)
{
    for (unsigned attempt = 1; is_serial_taken(registry, config->serial); attempt++) {
        disk_config_default_serial(config, attempt);
    }
}

struct plane_given *registry_given(const struct registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->opts.given_count; i++) {
        if (strcmp(registry->opts.given[i].name, name) == 0) {
            return &registry->opts.given[i];
        }
    }
    return NULL;
}
