/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry_table.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/state_table.h"

static bool belongs(const struct disk *disk)
{
    return disk->is_kept && !disk->is_removing && !disk->record.config.no_persist;
}

static size_t count_rows(const struct registry *registry)
{
    size_t number = 0;

    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        number += belongs(disk);
    }
    return number;
}

/* Rows are kept: with many disks, to write all of them anew for each change takes too long. */
static const char *row_of(struct disk *disk, struct err *err)
{
    if (!disk->row) {
        disk->row = state_table_row(&disk->record, err);
    }
    return disk->row;
}

/* Of one that is in no state file, as if it were: not kept, as it is asked for once. */
static char *make_transient_row(const struct disk *disk, struct err *err)
{
    struct disk_record *record = malloc(sizeof(*record));
    char *row = NULL;

    if (record) {
        *record = disk->record;
        record->config.no_persist = false;
        row = state_table_row(record, err);
    }
    free(record);
    return row;
}

/* Returns false when one of them cannot be made. */
static bool fill(const char **rows, struct registry *registry, struct err *err)
{
    size_t number = 0;

    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (belongs(disk)) {
            rows[number] = row_of(disk, err);
            if (!rows[number++]) {
                return false;
            }
        }
    }
    return true;
}

static bool exists(const struct disk *disk)
{
    return disk->is_kept && !disk->is_removing;
}

static bool fill_whole(const char **rows, char **own, struct registry *registry, struct err *err)
{
    size_t number = 0;

    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (exists(disk)) {
            own[number] = belongs(disk) ? NULL : make_transient_row(disk, err);
            rows[number] = own[number] ? own[number] : belongs(disk) ? row_of(disk, err) : NULL;
            if (!rows[number++]) {
                return false;
            }
        }
    }
    return true;
}

static size_t count_disks(const struct registry *registry)
{
    size_t number = 0;

    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        number += exists(disk);
    }
    return number;
}

char *registry_table_whole(struct registry *registry, struct err *err)
{
    size_t number = count_disks(registry);
    const char **rows = calloc(number + 1, sizeof(*rows));
    char **own = calloc(number + 1, sizeof(*own));
    struct err why = {.code = -ENOMEM, .text = "out of memory"};
    char *text = NULL;

    if (rows && own && fill_whole(rows, own, registry, &why)) {
        text = state_table_text(rows, number);
    }
    for (size_t i = 0; own && i < number; i++) {
        free(own[i]);
    }
    free(own);
    free(rows);
    if (!text) {
        *err = why;
    }
    return text;
}

char *registry_table_text(void *arg, struct err *err)
{
    struct registry *registry = arg;
    size_t number = count_rows(registry);
    const char **rows = calloc(number + 1, sizeof(*rows));
    struct err why = {.code = -ENOMEM, .text = "out of memory"};
    char *text = NULL;

    if (rows && fill(rows, registry, &why)) {
        text = state_table_text(rows, number);
    }
    free(rows);
    if (!text) {
        (void)err_say(err, why.code, "cannot write %s: %s", state_path(registry->opts.state),
                      why.text);
    }
    return text;
}
