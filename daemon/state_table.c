/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/virtio/blk_opts.h"
#include "daemon/disk_counters.h"
#include "daemon/disk_limits.h"
#include "daemon/json_memory.h"
#include "daemon/params.h"

#define STRINGIFY_(number) #number
#define STRINGIFY(number) STRINGIFY_(number)

static const struct param geometry_params[] = {
    {"size", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, size),
     .is_required = true, .min = 0, .max = INT64_MAX},
    {"logical_block_size", .type = PARAM_INTEGER,
     .offset = offsetof(struct disk_record, logical_block), .is_required = true, .min = 512,
     .max = 32768, .is_power_of_2 = true},
    {"physical_block_size", .type = PARAM_INTEGER,
     .offset = offsetof(struct disk_record, physical_block), .is_required = true, .min = 512,
     .max = 1 << 20, .is_power_of_2 = true},
    {"alignment_offset", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, alignment),
     .min = 0, .max = UINT32_MAX},
    {"min_io_size", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, min_io), .min = 0,
     .max = UINT32_MAX},
    {"opt_io_size", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, opt_io), .min = 0,
     .max = UINT32_MAX},
    {"cylinders", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, cylinders),
     .min = 0, .max = UINT16_MAX},
    {"heads", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, heads), .min = 0,
     .max = UINT8_MAX},
    {"sectors", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, sectors), .min = 0,
     .max = UINT8_MAX},
    {"discard_block_size", .type = PARAM_INTEGER,
     .offset = offsetof(struct disk_record, discard_block), .min = 0, .max = 1u << 31},
    {"zeroes", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, zeroes), .min = 0,
     .max = BLK_ZEROES_UNMAP},
    {NULL},
};

#define OPENED(member)                                                            \
    .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, opened.member), \
    .min = INT64_MIN, .max = INT64_MAX

static const struct param opened_params[] = {
    {"boot", .type = PARAM_STRING, .offset = offsetof(struct disk_record, opened.boot),
     .size = BOOT_ID_BYTES},
    {"device", OPENED(device)},
    {"inode", OPENED(inode)},
    {"born_ns", OPENED(born_ns)},
    {NULL},
};

static const struct param record_params[] = {
    {"config", .type = PARAM_OBJECT, .offset = offsetof(struct disk_record, config),
     .is_required = true, .members = disk_params},
    {"stopped", .type = PARAM_BOOL, .offset = offsetof(struct disk_record, is_stopped)},
    {"writethrough", .type = PARAM_BOOL, .offset = offsetof(struct disk_record, is_writethrough)},
    {"geometry", .type = PARAM_OBJECT, .is_required = true, .members = geometry_params},
    {"shown", .type = PARAM_OBJECT, .offset = offsetof(struct disk_record, shown),
     .members = disk_shown_params},
    {"opened", .type = PARAM_OBJECT, .members = opened_params},
    {"counters", .type = PARAM_OBJECT, .offset = offsetof(struct disk_record, counters),
     .members = disk_counters_params},
    {NULL},
};

int state_table_refuse(const char *path, struct err *err, const char *why)
{
    if (strstr(why, PARAMS_UNKNOWN)) {
        (void)err_say(err, -EINVAL, "%s is of another build of vblkd, or edited: %s", path, why);
        err_hint(err, "start the vblkd that wrote it, or take that member out, or move the file "
                      "away to start without its disks");
    } else {
        (void)err_say(err, -EINVAL, "%s is damaged: %s", path, why);
        err_hint(err, "mend it, or move it away to start without its disks");
    }
    return -EINVAL;
}

static int check_version(const char *path, const json_t *table, struct err *err)
{
    const json_t *version = json_object_get(table, "version");

    if (!json_is_integer(version)) {
        return state_table_refuse(path, err, "it has no version");
    }
    if (json_integer_value(version) < 1) {
        return state_table_refuse(path, err, "it has a version that there never was");
    }
    if (json_integer_value(version) > STATE_VERSION) {
        (void)err_say(err, -EINVAL,
                      "%s was written by a newer vblkd: it has version %" JSON_INTEGER_FORMAT
                      ", and this one knows none after %d",
                      path, json_integer_value(version), STATE_VERSION);
        err_hint(err,
                 "start that one, or put %s.%d in its place if that is there, which has the disks "
                 "as they were before, or move the file away to start without its disks",
                 path, STATE_VERSION);
        return -EINVAL;
    }
    return 0;
}

int state_table_version(const char *text)
{
    int version = 0;

    return sscanf(text, "{\"version\":%d", &version) == 1 ? version : 0; /* NOLINT: or 0 */
}

/* Written since version 1: a row without them has lost them, and with them what they said. */
static int refuse_lost(const json_t *row, struct err *err)
{
    static const char *const names[] = {"readonly", "serial", "queues", "queue_size", "socket"};
    const json_t *config = json_object_get(row, "config");

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (!json_object_get(config, names[i])) {
            return err_say(err, -EINVAL, "config.%s: is missing", names[i]);
        }
    }
    if (json_is_true(json_object_get(config, "no_persist"))) {
        return err_say(err, -EINVAL, "config.no_persist: such a disk is in no table");
    }
    return json_object_get(row, "stopped") ? 0 : err_say(err, -EINVAL, "stopped: is missing");
}

/* What the guest sees must be what it was asked to be, and what a disk can have. */
static int check_geometry(const struct disk_record *record, struct err *err)
{
    const struct disk_config *config = &record->config;
    struct blk_opts blk = {
        .capacity = (uint64_t)record->size,
        .logical_block = (uint32_t)record->logical_block,
        .physical_block = (uint32_t)record->physical_block,
        .alignment = (uint32_t)record->alignment,
        .min_io = (uint32_t)record->min_io,
        .chs = disk_record_chs(record),
        .discard_block = (uint32_t)record->discard_block,
        .zeroes = (enum blk_zeroes)record->zeroes,
        .shown = disk_shown_to_blk(&record->shown),
        .may_be_empty = image_type_of(&config->image)->is_empty,
        .is_readonly = config->readonly,
        .limits = disk_limits_of(config),
    };

    if ((config->logical_block_size && config->logical_block_size != record->logical_block) ||
        (config->emulate_512 && record->logical_block != SECTOR_SIZE) ||
        (config->physical_block_size && config->physical_block_size != record->physical_block)) {
        return err_say(err, -EINVAL, "geometry: its block sizes are not those of config");
    }
    if ((config->alignment_offset && config->alignment_offset != record->alignment) ||
        (config->min_io && config->min_io != record->min_io) ||
        (config->opt_io && config->opt_io != record->opt_io)) {
        return err_say(err, -EINVAL,
                       "geometry: its alignment_offset and I/O sizes are not those of config");
    }
    if (config->discard_granularity && config->discard_granularity != record->discard_block) {
        return err_say(err, -EINVAL, "geometry: its discard_block_size is not that of config");
    }
    return blk_opts_check(&blk, err);
}

/* As it was asked for, if it was. */
static int check_chs(const struct disk_record *record, struct err *err)
{
    struct blk_chs asked;

    if (!blk_chs_parse(record->config.geometry, &asked) ||
        (asked.cylinders == record->cylinders && asked.heads == record->heads &&
         asked.sectors == record->sectors)) {
        return 0;
    }
    return err_say(err, -EINVAL,
                   "geometry: its cylinders, heads and sectors are not those of config");
}

/* Of a version without packed rings: its guest was shown none. */
static void withhold_packed(const json_t *row, struct disk_record *record)
{
    if (!json_object_get(json_object_get(row, "config"), "packed")) {
        (void)snprintf(record->config.packed, sizeof(record->config.packed), "off");
    }
}

static int read_row(const json_t *row, struct disk_record *record, struct err *err)
{
    int ret;

    if (!json_is_object(row)) {
        return err_say(err, -EINVAL, "is not an object");
    }
    ret = params_read(row, record_params, "", record, err);
    if (ret == 0) {
        withhold_packed(row, record);
        ret = refuse_lost(row, err);
    }
    if (ret == 0) {
        ret = disk_config_complete(&record->config, "", err);
    }
    if (ret == 0) {
        ret = check_chs(record, err);
    }
    return ret < 0 ? ret : check_geometry(record, err);
}

static int read_rows(const json_t *disks, struct disk_record *records, struct err *err)
{
    for (size_t i = 0; i < json_array_size(disks); i++) {
        struct err why = {0};

        if (read_row(json_array_get(disks, i), &records[i], &why) < 0) {
            return err_say(err, -EINVAL, "disks[%zu]: %s", i, why.text);
        }
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct disk_record *const *left = a;
    const struct disk_record *const *right = b;

    return strcmp((*left)->config.name, (*right)->config.name);
}

static int compare_sockets(const void *a, const void *b)
{
    const struct disk_record *const *left = a;
    const struct disk_record *const *right = b;

    return strcmp((*left)->config.socket, (*right)->config.socket);
}

/* A name and a socket belong to one disk.  `sorted` has room for all. */
static int refuse_twins(const struct disk_record *records, const struct disk_record **sorted,
                        size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &records[i];
    }
    qsort(sorted, count, sizeof(*sorted), compare_names); /* NOLINT: of pointers */
    for (size_t i = 1; i < count; i++) {
        if (compare_names(&sorted[i - 1], &sorted[i]) == 0) {
            return err_say(err, -EINVAL, "two disks are named \"%s\"", sorted[i]->config.name);
        }
    }
    qsort(sorted, count, sizeof(*sorted), compare_sockets); /* NOLINT: of pointers */
    for (size_t i = 1; i < count; i++) {
        if (compare_sockets(&sorted[i - 1], &sorted[i]) == 0) {
            return err_say(err, -EINVAL, "the disks %s and %s have the same socket",
                           sorted[i - 1]->config.name, sorted[i]->config.name);
        }
    }
    return 0;
}

static int read_table(const char *path, const json_t *disks, struct disk_record *records,
                      struct err *err)
{
    size_t count = json_array_size(disks);
    const struct disk_record **sorted = calloc(count + 1, sizeof(struct disk_record *));
    struct err why = {0};
    int ret;

    if (!sorted) {
        return err_set(err, -ENOMEM, "%s", path);
    }
    ret = read_rows(disks, records, &why);
    if (ret == 0) {
        ret = refuse_twins(records, sorted, count, &why);
    }
    free(sorted);
    return ret < 0 ? state_table_refuse(path, err, why.text) : 0;
}

static int read_records(const char *path, const json_t *table, struct disk_record **records,
                        size_t *count, struct err *err)
{
    const json_t *disks = json_object_get(table, "disks");
    struct disk_record *list;
    int ret;

    if (!json_is_array(disks) || json_object_size(table) != 2) {
        return state_table_refuse(path, err, "its members are not \"version\" and \"disks\"");
    }
    list = calloc(json_array_size(disks) + 1, sizeof(*list));
    if (!list) {
        return err_set(err, -ENOMEM, "%s", path);
    }
    ret = read_table(path, disks, list, err);
    if (ret < 0) {
        free(list);
        return ret;
    }
    *records = list;
    *count = json_array_size(disks);
    return 0;
}

int state_table_parse(const char *path, const char *text, size_t len, struct disk_record **records,
                      size_t *count, struct err *err)
{
    unsigned before = json_memory_failures();
    json_error_t error;
    struct err why = {0};
    json_auto_t *table = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    int ret;

    if (json_memory_failures() != before) {
        return err_set(err, -ENOMEM, "%s", path);
    }
    if (!table) {
        (void)err_say(&why, -EINVAL, "line %d: %s", error.line, error.text);
        return state_table_refuse(path, err, why.text);
    }
    ret = check_version(path, table, err);
    return ret < 0 ? ret : read_records(path, table, records, count, err);
}

/* Does `text` read as the record that it was made of? */
static int read_back(const char *text, const struct disk_record *record, struct err *err)
{
    unsigned before = json_memory_failures();
    json_auto_t *row = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct disk_record *again = calloc(1, sizeof(*again));
    const char *member = NULL;
    int ret = -ENOMEM;

    if (json_memory_failures() == before && again) {
        ret = read_row(row, again, err);
    }
    if (ret == 0) {
        member = params_differ(record_params, record, again);
    }
    free(again);
    if (ret == -ENOMEM) {
        return err_set(err, ret, "%s", record->config.name);
    }
    return member ? err_say(err, -EINVAL, "%s does not come back as it was", member) : ret;
}

char *state_table_row(const struct disk_record *record, struct err *err)
{
    unsigned before = json_memory_failures();
    json_auto_t *row = params_write(record_params, record);
    char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    struct err why = {0};

    if (json_memory_failures() != before) {
        (void)err_set(&why, -ENOMEM, "%s", record->config.name);
    } else if (!text) {
        (void)err_say(&why, -EILSEQ, "it has text that is not UTF-8");
    } else {
        (void)read_back(text, record, &why);
    }
    if (why.code < 0) {
        (void)err_say(err, why.code, "the row of the disk %s cannot be made: %s",
                      record->config.name, why.text);
        json_memory_free(text);
        return NULL;
    }
    return text;
}

static const char *separator(size_t index)
{
    return index > 0 ? ",\n" : "\n";
}

char *state_table_text(const char *const *rows, size_t count)
{
    static const char head[] = "{\"version\":" STRINGIFY(STATE_VERSION) ",\"disks\":[";
    static const char tail[] = "\n]}\n";
    size_t size = sizeof(head) + sizeof(tail);
    char *text;
    char *end;

    for (size_t i = 0; i < count; i++) {
        if (!rows[i]) {
            return NULL;
        }
        size += strlen(separator(i)) + strlen(rows[i]);
    }
    text = malloc(size);
    end = text ? stpcpy(text, head) : NULL;
    for (size_t i = 0; end && i < count; i++) {
        end = stpcpy(stpcpy(end, separator(i)), rows[i]);
    }
    if (end) {
        (void)stpcpy(end, tail);
    }
    return text;
}
