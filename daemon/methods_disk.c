/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/disk_json.h"

struct target {
    char name[DISK_NAME_BYTES];
    struct settings change;
    bool force;
    int64_t timeout_ms;
};

#define NAME_PARAM                                                                 \
    .name = "name", .type = PARAM_STRING, .offset = offsetof(struct target, name), \
    .size = DISK_NAME_BYTES, .help = "of the disk"
#define TIMEOUT_PARAM                                                                           \
    .name = "timeout_ms", .type = PARAM_INTEGER, .offset = offsetof(struct target, timeout_ms), \
    .value = PROTOCOL_DRAIN_MS, .max = PROTOCOL_DRAIN_MS_MAX,                                   \
    .help = "how long to wait for requests in flight; what was begun goes on"

static const struct param no_params[] = {{NULL}};
static const struct param name_params[] = {{NAME_PARAM, .is_required = true}, {NULL}};
static const struct param stats_params[] = {{NAME_PARAM}, {NULL}};
static const struct param stop_params[] = {
    {NAME_PARAM, .is_required = true},
    {TIMEOUT_PARAM},
    {NULL},
};
static const struct param remove_params[] = {
    {NAME_PARAM, .is_required = true},
    {"force", .type = PARAM_BOOL, .offset = offsetof(struct target, force),
     .help = "also while a front-end is connected"},
    {TIMEOUT_PARAM},
    {NULL},
};
static const struct param set_params[] = {
    {NAME_PARAM, .is_required = true},
    SETTINGS_PARAMS(offsetof(struct target, change), true),
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

/* Nothing was asked: say why at once. */
static void answer_refused(struct call *call, int ret, const struct err *err)
{
    if (ret == -EINVAL || ret == -ENAMETOOLONG) {
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

static void run_add(struct methods *methods, struct call *call, const void *target)
{
    struct disk_config *config = malloc(sizeof(*config));
    struct err err = {0};
    int ret;

    if (!config) {
        ret = err_set(&err, -ENOMEM, "disk.add");
    } else {
        *config = *(const struct disk_config *)target;
        ret = registry_add(methods->registry, config, on_shown, call, &err);
    }
    free(config);
    answer_refused(call, ret, &err);
}

static void run_show(struct methods *methods, struct call *call, const void *target)
{
    struct disk *disk = find_disk(methods, call, ((const struct target *)target)->name);
    struct err err = {0};

    if (disk) {
        answer_refused(call, registry_info(disk, on_shown, call, &err), &err);
    }
}

static void on_changed(struct op *op)
{
    json_t *result;

    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
        return;
    }
    result = disk_json_show(op->disk, op->info);
    (void)json_object_set_new(result, "changed", json_boolean(op->has_changed));
    call_result(op->arg, result);
}

static void run_start(struct methods *methods, struct call *call, const void *target)
{
    struct disk *disk = find_disk(methods, call, ((const struct target *)target)->name);
    struct err err = {0};

    if (disk) {
        answer_refused(call, registry_start(disk, on_changed, call, &err), &err);
    }
}

static void run_stop(struct methods *methods, struct call *call, const void *target)
{
    const struct target *asked = target;
    struct disk *disk = find_disk(methods, call, asked->name);
    struct err err = {0};

    if (disk) {
        int ret = registry_stop_disk(disk, (uint32_t)asked->timeout_ms, on_changed, call, &err);

        answer_refused(call, ret, &err);
    }
}

static void run_set(struct methods *methods, struct call *call, const void *target)
{
    const struct target *asked = target;
    struct disk *disk = find_disk(methods, call, asked->name);
    struct err err = {0};

    if (disk) {
        answer_refused(call, registry_set(disk, &asked->change, on_changed, call, &err), &err);
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
        int ret = registry_remove(disk, asked->force, (uint32_t)asked->timeout_ms, on_removed, call,
                                  &err);

        answer_refused(call, ret, &err);
    }
}

/* ---- all disks, asked side by side ---- */

/* The answers so far, in the order of the table.  Freed when the last has come. */
struct gather {
    struct call *call;
    json_t *list;
    unsigned pending;
    json_t *(*of)(const struct disk *disk, const struct plane_info *info);
    json_t *(*stuck)(const struct disk *disk, const char *reason);
};

struct gather_slot {
    struct gather *gather;
    size_t index;
};

/* Places of disks that were removed meanwhile. */
static void drop_empty(json_t *list)
{
    for (size_t i = json_array_size(list); i > 0; i--) {
        if (json_is_null(json_array_get(list, i - 1))) {
            (void)json_array_remove(list, i - 1);
        }
    }
}

static void gather_end(struct gather *gather)
{
    gather->pending--;
    if (gather->pending == 0) {
        drop_empty(gather->list);
        call_result(gather->call, json_pack("{s:o}", "disks", gather->list));
        free(gather);
    }
}

static void gather_put(struct gather_slot *slot, const struct disk *disk,
                       const struct plane_info *info, const struct err *err)
{
    struct gather *gather = slot->gather;

    if (info) {
        (void)json_array_set_new(gather->list, slot->index, gather->of(disk, info));
    } else if (err->code != -ENODEV) {
        (void)json_array_set_new(gather->list, slot->index, gather->stuck(disk, err->text));
    }
    free(slot);
    gather_end(gather);
}

static void on_gathered(struct op *op)
{
    gather_put(op->arg, op->disk, op->info, &op->err);
}

static void gather_disk(struct gather *gather, struct disk *disk)
{
    struct gather_slot *slot = malloc(sizeof(*slot));
    struct err err = {0};

    if (!slot) {
        return;
    }
    slot->gather = gather;
    slot->index = json_array_size(gather->list);
    (void)json_array_append_new(gather->list, json_null());
    gather->pending++;
    if (registry_info(disk, on_gathered, slot, &err) < 0) {
        gather_put(slot, disk, NULL, &err);
    }
}

static void gather_all(struct methods *methods, struct call *call, const struct gather *how)
{
    struct gather *gather = malloc(sizeof(*gather));
    struct err err = {0};

    if (!gather) {
        (void)err_set(&err, -ENOMEM, "list of disks");
        call_refuse(call, &err);
        return;
    }
    *gather = *how;
    gather->call = call;
    gather->list = json_array();
    gather->pending = 1; /* ours, until all have been asked */
    for (struct disk *disk = methods->registry->disks; disk; disk = disk->next) {
        gather_disk(gather, disk);
    }
    gather_end(gather);
}

static void run_list(struct methods *methods, struct call *call, const void *target)
{
    static const struct gather how = {.of = disk_json_list, .stuck = disk_json_stuck};

    gather_all(methods, call, &how);
}

static json_t *stats_stuck(const struct disk *disk, const char *reason)
{
    return json_pack("{s:s, s:o}", "name", disk->record.config.name, "error", call_text(reason));
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
    static const struct gather how = {.of = disk_json_stats, .stuck = stats_stuck};
    const char *name = ((const struct target *)target)->name;
    struct disk *disk;
    struct err err = {0};

    if (!name[0]) {
        gather_all(methods, call, &how);
        return;
    }
    disk = find_disk(methods, call, name);
    if (disk) {
        answer_refused(call, registry_info(disk, on_stats, call, &err), &err);
    }
}

const struct method disk_methods[] = {
    {"disk.add", disk_config_params, sizeof(struct disk_config),
     "open an image and listen for a front-end", run_add},
    {"disk.remove", remove_params, sizeof(struct target),
     "take no more requests, answer those in flight, close everything", run_remove},
    {"disk.list", no_params, 0, "all disks", run_list},
    {"disk.show", name_params, sizeof(struct target), "all that is known of one disk", run_show},
    {"disk.stats", stats_params, sizeof(struct target), "counters of one disk, or of all",
     run_stats},
    {"disk.start", name_params, sizeof(struct target),
     "open the image again and go on where stop left off", run_start},
    {"disk.stop", stop_params, sizeof(struct target),
     "take no more requests, answer those in flight, close the image", run_stop},
    {"disk.set", set_params, sizeof(struct target), "change settings, all of those given or none",
     run_set},
    {NULL},
};
