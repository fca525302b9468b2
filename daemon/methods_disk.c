/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods_disk.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/disk_ask.h"
#include "daemon/disk_json.h"
#include "daemon/disk_params.h"
#include "daemon/json_memory.h"
#include "daemon/methods_resize.h"
#include "daemon/registry_life.h"

struct target {
    char name[DISK_NAME_BYTES];
    struct settings change;
    bool force;
    bool new_image;
    int64_t timeout_ms;
};

#define NAME_PARAM                                                                 \
    .name = "name", .type = PARAM_STRING, .offset = offsetof(struct target, name), \
    .size = DISK_NAME_BYTES, .help = "of the disk"
#define TIMEOUT_PARAM                                                                           \
    .name = "timeout_ms", .type = PARAM_INTEGER, .offset = offsetof(struct target, timeout_ms), \
    .value = PROTOCOL_DRAIN_MS, .max = PROTOCOL_DRAIN_MS_MAX,                                   \
    .help = "how long to wait for requests in flight, and the flush; what was begun goes on"

static const struct param no_params[] = {{NULL}};
static const struct param name_params[] = {{NAME_PARAM, .is_required = true}, {NULL}};
static const struct param stats_params[] = {{NAME_PARAM}, {NULL}};
static const struct param start_params[] = {
    {NAME_PARAM, .is_required = true},
    {"new_image", .type = PARAM_BOOL, .offset = offsetof(struct target, new_image),
     .help = "also with another file or device than the one that was open last"},
    {NULL},
};
static const struct param stop_params[] = {
    {NAME_PARAM, .is_required = true},
    {"force", .type = PARAM_BOOL, .offset = offsetof(struct target, force),
     .help = "also while the image was deleted or replaced"},
    {TIMEOUT_PARAM},
    {NULL},
};
static const struct param remove_params[] = {
    {NAME_PARAM, .is_required = true},
    {"force", .type = PARAM_BOOL, .offset = offsetof(struct target, force),
     .help = "also while a front-end is connected, or the image was deleted or replaced"},
    {TIMEOUT_PARAM},
    {NULL},
};
static const struct param set_params[] = {
    {NAME_PARAM, .is_required = true},
    SETTINGS_ROW(struct target, change, .is_change = true),
    {NULL},
};

/* ---- one disk ---- */

/* Find the disk, or answer that there is none. */
static struct disk *find_disk(struct methods *methods, struct call *call, const char *name)
{
    struct err err = {0};
    struct disk *disk = registry_find(methods->registry, name, &err);

    if (!disk) {
        call_refuse(call, &err);
    }
    return disk;
}

/* Nothing was asked: say why at once.  What the parameters themselves allow no disk is -EINVAL. */
static void answer_refused(struct call *call, int ret, const struct err *err)
{
    if (ret == -EINVAL) {
        call_error(call, RPC_INVALID_PARAMS, err->text);
    } else if (ret < 0) {
        call_refuse(call, err);
    }
}

static void on_shown(struct op *op)
{
    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
    } else {
        call_result(op->arg, disk_json_show(op->disk, op->info));
    }
}

static void on_added(struct op *op)
{
    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
    } else {
        call_result(op->arg, disk_json_added(op->disk, op->info));
    }
}

static void run_add(struct methods *methods, struct call *call, const void *target)
{
    struct disk_config *config = malloc(sizeof(*config));
    struct err err = {0};
    int ret;

    if (!config) {
        ret = err_set(&err, -ENOMEM, "disk.add");
    } else {
        *config = *(const struct disk_config *)target;
        ret = registry_add(methods->registry, config, on_added, call, &err);
    }
    free(config);
    answer_refused(call, ret, &err);
}

static void run_show(struct methods *methods, struct call *call, const void *target)
{
    struct disk *disk = find_disk(methods, call, ((const struct target *)target)->name);
    struct err err = {0};

    if (disk) {
        answer_refused(call, disk_info(disk, true, on_shown, call, &err), &err);
    }
}

static void on_changed(struct op *op)
{
    unsigned before = json_memory_failures();
    json_t *result;

    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
        return;
    }
    result = disk_json_show(op->disk, op->info);
    (void)json_object_set_new(result, "changed", json_boolean(op->has_changed));
    call_result(op->arg, json_memory_check(result, before));
}

static void run_start(struct methods *methods, struct call *call, const void *target)
{
    const struct target *asked = target;
    struct disk *disk = find_disk(methods, call, asked->name);
    struct err err = {0};

    if (disk) {
        answer_refused(call, disk_start(disk, asked->new_image, on_changed, call, &err), &err);
    }
}

static void run_stop(struct methods *methods, struct call *call, const void *target)
{
    const struct target *asked = target;
    struct disk *disk = find_disk(methods, call, asked->name);
    struct err err = {0};

    if (disk) {
        int ret =
            disk_stop(disk, asked->force, (uint32_t)asked->timeout_ms, on_changed, call, &err);

        answer_refused(call, ret, &err);
    }
}

static void run_set(struct methods *methods, struct call *call, const void *target)
{
    const struct target *asked = target;
    struct disk *disk;
    struct err err = {0};

    if (!settings_is_change(&asked->change)) {
        call_error(call, RPC_INVALID_PARAMS, "no setting is given, at least one is needed");
        return;
    }
    if (disk_config_check_values(&asked->change, &err) < 0) {
        call_error(call, RPC_INVALID_PARAMS, err.text);
        return;
    }
    disk = find_disk(methods, call, asked->name);
    /* What does not fit this disk may fit another. */
    if (disk && disk_set(disk, &asked->change, on_changed, call, &err) < 0) {
        call_refuse(call, &err);
    }
}

static void on_removed(struct op *op)
{
    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
    } else {
        call_result(op->arg, json_pack("{s:s}", "name", op->disk->record.config.name));
    }
}

static void run_remove(struct methods *methods, struct call *call, const void *target)
{
    const struct target *asked = target;
    struct disk *disk = find_disk(methods, call, asked->name);
    struct err err = {0};

    if (disk) {
        int ret =
            disk_remove(disk, asked->force, (uint32_t)asked->timeout_ms, on_removed, call, &err);

        answer_refused(call, ret, &err);
    }
}

/* ---- all disks, asked side by side ---- */

static void run_list(struct methods *methods, struct call *call, const void *target)
{
    static const struct gather_kind kind = {
        .has_warnings = true, .of = disk_json_list, .stuck = disk_json_stuck, .looks = true};

    gather_all(&methods->gather, methods->registry, call, &kind);
}

static json_t *stats_stuck(const struct disk *disk, const char *reason)
{
    unsigned before = json_memory_failures();
    json_t *object =
        json_pack("{s:s, s:o}", "name", disk->record.config.name, "error", call_text(reason));

    return json_memory_check(object, before);
}

static void on_stats(struct op *op)
{
    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
    } else {
        call_result(op->arg, disk_json_stats(op->disk, op->info));
    }
}

static void run_stats(struct methods *methods, struct call *call, const void *target)
{
    static const struct gather_kind kind = {.of = disk_json_stats, .stuck = stats_stuck};
    const char *name = ((const struct target *)target)->name;
    struct disk *disk;
    struct err err = {0};

    if (!name[0]) {
        gather_all(&methods->gather, methods->registry, call, &kind);
        return;
    }
    disk = find_disk(methods, call, name);
    if (disk) {
        answer_refused(call, disk_info(disk, false, on_stats, call, &err), &err);
    }
}

const struct method disk_methods[] = {
    {"disk.add", disk_params, sizeof(struct disk_config),
     "open an image and listen for a front-end", run_add},
    {"disk.remove", remove_params, sizeof(struct target),
     "take no more requests, answer those in flight, flush the image, close everything",
     run_remove},
    {"disk.list", no_params, 0, "all disks", run_list, .is_reader = true},
    {"disk.show", name_params, sizeof(struct target), "all that is known of one disk", run_show,
     .is_reader = true},
    {"disk.stats", stats_params, sizeof(struct target), "counters of one disk, or of all",
     run_stats, .is_reader = true},
    {"disk.start", start_params, sizeof(struct target),
     "open the image again and go on where stop left off", run_start},
    {"disk.stop", stop_params, sizeof(struct target),
     "take no more requests, answer those in flight, flush and close the image", run_stop},
    {"disk.set", set_params, sizeof(struct target), "change settings, all of those given or none",
     run_set, disk_params},
    {"disk.resize", resize_params, sizeof(struct resize_target),
     "another size under its guest: one that is given, or what the image has", run_resize},
    {NULL},
};
