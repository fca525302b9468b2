/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The state file: any text is refused, or is a table from which a text is made that reads as the
 * same table.  The input is the text.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/virtio/blk.h"
#include "daemon/disk_pin.h"
#include "daemon/json_memory.h"
#include "daemon/plane.h"
#include "daemon/state_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What other code relies on. */
static void check_record(const struct disk_record *record)
{
    struct blk_opts blk = {
        .capacity = (uint64_t)record->size,
        .logical_block = (uint32_t)record->logical_block,
        .physical_block = (uint32_t)record->physical_block,
        .alignment = (uint32_t)record->alignment,
        .min_io = (uint32_t)record->min_io,
        .opt_io = (uint32_t)record->opt_io,
        .chs = disk_record_chs(record),
        .discard_block = (uint32_t)record->discard_block,
        .zeroes = (enum blk_zeroes)record->zeroes,
        .shown = disk_shown_to_blk(&record->shown),
        .is_readonly = record->config.readonly,
        .queues = (unsigned)record->config.queues,
    };
    struct plane_opts plane;
    struct blk device;

    assert(record->config.name[0] && !strchr(record->config.name, '/'));
    assert(record->config.socket[0] == '/');
    assert(record->config.settings.threads >= 1 &&
           record->config.settings.threads <= record->config.queues);
    disk_config_to_plane(&record->config, &plane);
    blk.seg_max = plane.seg_max;
    blk.limits = plane.limits;
    blk_init(&device, &blk);
}

static char *text_of(const struct disk_record *records, size_t count)
{
    char **rows = calloc(count + 1, sizeof(*rows));
    char *text;

    assert(rows);
    for (size_t i = 0; i < count; i++) {
        struct err err = {0};

        rows[i] = state_table_row(&records[i], &err);
        assert(rows[i]);
    }
    text = state_table_text((const char *const *)rows, count);
    for (size_t i = 0; i < count; i++) {
        free(rows[i]);
    }
    free(rows);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_set_up;
    struct disk_record *records;
    struct disk_record *again;
    size_t count, count_again;
    struct err err = {0};
    char *text;

    if (!is_set_up) {
        json_memory_install();
        is_set_up = true;
    }
    if (state_table_parse("file", (const char *)data, size, &records, &count, &err) < 0) {
        assert(err.text[0] && err.code < 0 && err.code != -ENOMEM);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        check_record(&records[i]);
    }
    text = text_of(records, count);
    assert(text);
    assert(state_table_parse("file", text, strlen(text), &again, &count_again, &err) == 0);
    assert(count_again == count);
    assert(memcmp(again, records, count * sizeof(*records)) == 0);
    free(text);
    free(again);
    free(records);
    return 0;
}
