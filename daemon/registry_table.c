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
