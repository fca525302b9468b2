/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods_medium.h"

#include <errno.h>

#include "daemon/disk_ask.h"
#include "daemon/disk_json.h"
#include "daemon/disk_medium.h"
#include "daemon/json_memory.h"
#include "daemon/told_json.h"

struct target {
    char name[DISK_NAME_BYTES];
    struct medium_target medium;
    bool force;
    int64_t timeout_ms;
};

static const char *const raw[] = {"raw", NULL};

#define TARGET(member) .offset = offsetof(struct target, member)
#define TARGET_TEXT(member) TARGET(member), .size = sizeof(((struct target *)NULL)->member)

#define NAME_ROW                                                                  \
    .name = "name", .type = PARAM_STRING, TARGET_TEXT(name), .is_required = true, \
    .help = "of the disk"
#define FORMAT_ROW                                                                      \
    .name = "format", .type = PARAM_STRING, TARGET_TEXT(medium.format), .choices = raw, \
    .help = "raw: take its bytes as they are"
#define TIMEOUT_ROW                                                                              \
    .name = "timeout_ms", .type = PARAM_INTEGER, TARGET(timeout_ms), .value = PROTOCOL_DRAIN_MS, \
    .max = PROTOCOL_DRAIN_MS_MAX, .help = "how long it may take; past that nothing is changed"

static const struct param replace_params[] = {
    {NAME_ROW},
    {"path", .type = PARAM_PATH, TARGET_TEXT(medium.path), .is_required = true,
     .help = "absolute path of the image that has its bytes"},
    {FORMAT_ROW},
    {"force", .type = PARAM_BOOL, TARGET(force),
     .help = "also while the disk runs, and may have been written to since"},
    {TIMEOUT_ROW},
    {NULL},
};

static const struct param insert_params[] = {
    {NAME_ROW},
    {"path", .type = PARAM_PATH, TARGET_TEXT(medium.path), .is_required = true,
     .help = "absolute path of the image"},
    {FORMAT_ROW},
    {TIMEOUT_ROW},
    {NULL},
};
static const struct param eject_params[] = {
    {NAME_ROW},
    {"force", .type = PARAM_BOOL, TARGET(force),
     .help = "also while a front-end is connected, or the image was deleted or replaced"},
    {TIMEOUT_ROW},
    {NULL},
};

static void on_medium_changed(struct op *op)
{
    unsigned before = json_memory_failures();
    const char *path = op->request.medium->before.path;
    json_t *result;

    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
        return;
    }
    result = disk_json_show(op->disk, op->info);
    (void)json_object_set_new(result, "changed", json_boolean(op->has_changed));
    (void)json_object_set_new(result, "image_before", path[0] ? call_text(path) : json_null());
    if (op->request.medium->change != MEDIUM_REPLACE) {
        told_json_set(result, op->has_changed, op->request.told, op->info->peer.comm);
    }
    call_result(op->arg, json_memory_check(result, before));
}

static void change_medium(struct methods *methods, struct call *call, const struct target *target,
                          enum medium_change change)
{
    const struct medium_target *medium = change == MEDIUM_EJECT ? NULL : &target->medium;
    struct err err = {0};
    struct disk *disk = registry_find(methods->registry, target->name, &err);
    struct medium_ask *ask = disk ? disk_medium_new(disk, change, medium, &err) : NULL;

    if (!ask || disk_change_medium(disk, ask, target->force, (uint32_t)target->timeout_ms,
                                   on_medium_changed, call, &err) < 0) {
        call_refuse(call, &err);
    }
}

static void run_replace(struct methods *methods, struct call *call, const void *target)
{
    change_medium(methods, call, target, MEDIUM_REPLACE);
}

static void run_insert(struct methods *methods, struct call *call, const void *target)
{
    change_medium(methods, call, target, MEDIUM_INSERT);
}

static void run_eject(struct methods *methods, struct call *call, const void *target)
{
    change_medium(methods, call, target, MEDIUM_EJECT);
}

const struct method medium_methods[] = {
    {"disk.replace", replace_params, sizeof(struct target),
     "serve the disk from another image that has the same bytes", run_replace},
    {"disk.insert", insert_params, sizeof(struct target), "give a disk that is empty an image",
     run_insert},
    {"disk.eject", eject_params, sizeof(struct target),
     "flush and close the image, and leave the disk empty", run_eject},
    {NULL},
};
