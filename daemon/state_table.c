/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
     .max = UINT32_MAX, .is_power_of_2 = true},
    {"opt_io_size", .type = PARAM_INTEGER, .offset = offsetof(struct disk_record, opt_io), .min = 0,
     .max = UINT32_MAX},
    {NULL},
};

static const struct param record_params[] = {
    {"config", .type = PARAM_OBJECT, .is_required = true, .members = disk_config_params},
    {"stopped", .type = PARAM_BOOL, .offset = offsetof(struct disk_record, is_stopped)},
    {"geometry", .type = PARAM_OBJECT, .is_required = true, .members = geometry_params},
    {NULL},
};

int state_table_refuse(const char *path, struct err *err, const char *why)
{
    (void)err_say(err, -EINVAL, "%s is damaged: %s", path, why);
    err_hint(err, "mend it, or move it away to start without its disks");
    return -EINVAL;
}

static int check_version(const char *path, const json_t *table, struct err *err)
{
    const json_t *version = json_object_get(table, "version");

    if (!json_is_integer(version)) {
        return state_table_refuse(path, err, "it has no version");
    }
    if (json_integer_value(version) != STATE_VERSION) {
        return err_say(err, -EINVAL,
                       "%s has version %" JSON_INTEGER_FORMAT " and this vblkd knows version %d; "
                       "start the vblkd that wrote it, or move the file away",
                       path, json_integer_value(version), STATE_VERSION);
    }
    return 0;
}

static int read_record(const json_t *value, struct disk_record *record, size_t index,
                       struct err *err)
{
    char where[32];

    (void)snprintf(where, sizeof(where), "disks[%zu]", index);
    if (!json_is_object(value)) {
        return err_say(err, -EINVAL, "%s: is not an object", where);
    }
    return params_read(value, record_params, where, record, err);
}

static int read_records(const char *path, const json_t *table, struct disk_record **records,
                        size_t *count, struct err *err)
{
    const json_t *disks = json_object_get(table, "disks");
    struct err why = {0};
    struct disk_record *list;

    if (!json_is_array(disks) || json_object_size(table) != 2) {
        return state_table_refuse(path, err, "its members are not \"version\" and \"disks\"");
    }
    list = calloc(json_array_size(disks) + 1, sizeof(*list));
    if (!list) {
        return err_set(err, -ENOMEM, "%s", path);
    }
    for (size_t i = 0; i < json_array_size(disks); i++) {
        if (read_record(json_array_get(disks, i), &list[i], i, &why) < 0 ||
            disk_config_complete(&list[i].config, "", &why) < 0) {
            free(list);
            return state_table_refuse(path, err, why.text);
        }
    }
    *records = list;
    *count = json_array_size(disks);
    return 0;
}

int state_table_parse(const char *path, const char *text, size_t len, struct disk_record **records,
                      size_t *count, struct err *err)
{
    json_error_t error;
    struct err why = {0};
    json_auto_t *table = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    int ret;

    if (!table) {
        (void)err_say(&why, -EINVAL, "line %d: %s", error.line, error.text);
        return state_table_refuse(path, err, why.text);
    }
    ret = check_version(path, table, err);
    return ret < 0 ? ret : read_records(path, table, records, count, err);
}

char *state_table_row(const struct disk_record *record)
{
    json_auto_t *row = params_write(record_params, record);

    return json_dumps(row, JSON_COMPACT);
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
