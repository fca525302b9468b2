/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/limits.h"
#include "daemon/op.h"
#include "daemon/protocol.h"

/* ---- the table ---- */

static void append(struct disk **list, struct disk *disk)
{
    while (*list) {
        list = &(*list)->next;
    }
    disk->next = NULL;
    *list = disk;
}

/* Returns false when it is not on the list. */
static bool unlink_disk(struct disk **list, struct disk *disk)
{
    while (*list && *list != disk) {
        list = &(*list)->next;
    }
    if (!*list) {
        return false;
    }
    *list = disk->next;
    return true;
}

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

static int refuse_taken(const struct registry *registry, const struct disk_config *config,
                        struct err *err)
{
    if (registry_find(registry, config->name, NULL)) {
        return err_say(err, -EEXIST, "%s: there is a disk of that name already", config->name);
    }
    if (strcmp(config->socket, registry->opts.control_path) == 0) {
        return err_say(err, -EADDRINUSE, "%s: %s is the daemon's control socket", config->name,
                       config->socket);
    }
    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (strcmp(config->socket, disk->record.config.socket) == 0) {
            return err_say(err, -EADDRINUSE, "%s: the socket %s belongs to the disk %s",
                           config->name, config->socket, disk->record.config.name);
        }
    }
    return 0;
}

/* ---- the end of a disk, and of all ---- */

static void check_stopped(struct registry *registry)
{
    if (!registry->stopped || registry->ending > 0) {
        return;
    }
    if (registry->has_hung || (!registry->disks && !registry->dying && !registry->ops)) {
        void (*stopped)(void *arg, bool is_clean) = registry->stopped;

        registry->stopped = NULL;
        stopped(registry->arg, !registry->has_hung);
    }
}

void registry_release(struct disk *disk)
{
    struct registry *registry = disk->registry;

    if (disk->has_ended && disk->ops == 0) {
        (void)unlink_disk(&registry->dying, disk);
        free(disk->row);
        free(disk);
    }
    check_stopped(registry);
}

static void on_gone(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    bool is_known = unlink_disk(&disk->registry->disks, disk);

    assert(is_known);
    (void)is_known;
    append(&disk->registry->dying, disk);
    plane_end(plane);
}

static void on_ended(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);

    disk->has_ended = true;
    registry_release(disk);
}

/* ---- questions ---- */

static int ask(struct disk *disk, const struct plane_request *question, uint64_t within_ms,
               void (*done)(struct op *op), void *arg, struct err *err)
{
    struct op *op;

    if (disk->late_ops > 0) {
        return op_refuse_stuck(disk, err);
    }
    op = op_new(disk, question->verb, within_ms, done, arg);
    if (!op) {
        return err_set(err, -ENOMEM, "%s", disk->record.config.name);
    }
    op->request.force = question->force;
    op->request.undo = question->undo;
    op->request.timeout_ms = question->timeout_ms;
    op->request.change = question->change;
    op_send(op);
    return 0;
}

/* How long control waits for an answer that may take `timeout_ms` by itself. */
static uint64_t with_grace(uint32_t timeout_ms)
{
    return timeout_ms == PLANE_NO_TIMEOUT ? PROTOCOL_SHUTDOWN_MS + PROTOCOL_GRACE_MS
                                          : (uint64_t)timeout_ms + PROTOCOL_GRACE_MS;
}

int registry_info(struct disk *disk, void (*done)(struct op *op), void *arg, struct err *err)
{
    struct plane_request question = {.verb = PLANE_INFO};

    return ask(disk, &question, PROTOCOL_INFO_MS, done, arg, err);
}

int registry_start(struct disk *disk, void (*done)(struct op *op), void *arg, struct err *err)
{
    struct plane_request question = {.verb = PLANE_START};

    return ask(disk, &question, disk->registry->opts.open_ms, done, arg, err);
}

int registry_stop_disk(struct disk *disk, uint32_t timeout_ms, void (*done)(struct op *op),
                       void *arg, struct err *err)
{
    struct plane_request question = {.verb = PLANE_STOP, .timeout_ms = timeout_ms};

    return ask(disk, &question, with_grace(timeout_ms), done, arg, err);
}

int registry_set(struct disk *disk, const struct settings *change, void (*done)(struct op *op),
                 void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_SET, .change = *change, .timeout_ms = PROTOCOL_MOVE_MS};
    const struct disk_config *config = &disk->record.config;
    int ret = disk_config_check_change(config, change, err);

    if (ret == 0 && change->threads > config->settings.threads) {
        ret = limits_check(config->name, "more threads", err);
    }
    return ret < 0 ? ret : ask(disk, &question, PROTOCOL_SET_MS, done, arg, err);
}

int registry_remove(struct disk *disk, bool force, uint32_t timeout_ms, void (*done)(struct op *op),
                    void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_REMOVE,
        .force = force,
        .timeout_ms = timeout_ms,
    };

    return ask(disk, &question, with_grace(timeout_ms), done, arg, err);
}

int registry_take_back(struct disk *disk, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_REMOVE,
        .force = true,
        .undo = true,
        .timeout_ms = PLANE_NO_TIMEOUT,
    };

    return ask(disk, &question, with_grace(PLANE_NO_TIMEOUT), NULL, NULL, err);
}

/* ---- add, restore, stop ---- */

static struct disk *new_disk(struct registry *registry, const struct disk_record *record,
                             bool is_restored)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    if (disk) {
        disk->registry = registry;
        disk->record = *record;
        disk->is_kept = is_restored;
    }
    return disk;
}

static struct plane_opts plane_opts_of(const struct disk *disk)
{
    const struct disk_record *record = &disk->record;
    struct plane_opts opts;

    disk_config_to_plane(&record->config, &opts);
    if (disk->is_kept) {
        opts.is_restored = true;
        opts.is_stopped = record->is_stopped;
        opts.geometry = (struct plane_geometry){
            .size = (uint64_t)record->size,
            .logical_block = (uint32_t)record->logical_block,
            .physical_block = (uint32_t)record->physical_block,
            .opt_io = (uint32_t)record->opt_io,
        };
    }
    return opts;
}

static int start_disk(struct registry *registry, const struct disk_record *record, bool is_restored,
                      void (*done)(struct op *op), void *arg, struct err *err)
{
    struct disk *disk = new_disk(registry, record, is_restored);
    struct plane_opts opts;
    struct op *op;
    int ret;

    if (!disk) {
        return err_set(err, -ENOMEM, "%s", record->config.name);
    }
    opts = plane_opts_of(disk);
    op = op_new(disk, PLANE_OPEN, registry->opts.open_ms, done, arg);
    if (!op) {
        ret = err_set(err, -ENOMEM, "%s", record->config.name);
        goto free_disk;
    }
    ret = plane_start(&disk->plane, &opts, registry->opts.mailbox, on_gone, on_ended, err);
    if (ret < 0) {
        goto drop_op;
    }
    append(&registry->disks, disk);
    op_send(op);
    return 0;

drop_op:
    op_drop(op);
free_disk:
    free(disk);
    return ret;
}

int registry_add(struct registry *registry, struct disk_config *config, void (*done)(struct op *op),
                 void *arg, struct err *err)
{
    struct disk_record *record;
    int ret = disk_config_complete(config, registry->opts.socket_dir, err);

    if (ret == 0) {
        ret = refuse_taken(registry, config, err);
    }
    if (ret == 0) {
        ret = limits_check(config->name, "one more disk", err);
    }
    if (ret < 0) {
        return ret;
    }
    record = calloc(1, sizeof(*record));
    if (!record) {
        return err_set(err, -ENOMEM, "%s", config->name);
    }
    record->config = *config;
    ret = start_disk(registry, record, false, done, arg, err);
    free(record);
    return ret;
}

static void on_restored(struct op *op)
{
    struct registry *registry = op->registry;

    if (op->err.code < 0) {
        log_error("%s", op->err.text);
    }
    registry->restoring--;
    if (registry->restoring == 0) {
        registry->restored(registry->arg);
    }
}

/*
 * At least, and without guests: loop, timer or image, socket and lock.  Further threads have 5,
 * when the image is opened.
 */
static uint64_t files_of(const struct disk_record *record)
{
    uint64_t files = strcmp(record->config.image.type, "null") == 0 ? 7 : 8;

    return record->is_stopped ? files : files + 5 * ((uint64_t)record->config.settings.threads - 1);
}

/* A daemon that comes up without files for its control socket could not be told to end. */
static int check_files(const struct disk_record *records, size_t count, struct err *err)
{
    uint64_t files = 0;

    for (size_t i = 0; i < count; i++) {
        files += files_of(&records[i]);
    }
    return limits_check_all(count, files, err);
}

int registry_restore(struct registry *registry, const struct disk_record *records, size_t count,
                     void (*restored)(void *arg), void *arg, struct err *err)
{
    int ret = check_files(records, count, err);

    if (ret < 0) {
        return ret;
    }
    registry->restored = restored;
    registry->arg = arg;
    registry->restoring = 1; /* ours, until all have been asked */
    for (size_t i = 0; i < count; i++) {
        ret = refuse_taken(registry, &records[i].config, err);
        if (ret == 0) {
            registry->restoring++;
            ret = start_disk(registry, &records[i], true, on_restored, NULL, err);
        }
        if (ret < 0) {
            return ret;
        }
    }
    registry->restoring--;
    if (registry->restoring == 0) {
        restored(arg);
    }
    return 0;
}

static void disk_ending(struct registry *registry, const struct err *err)
{
    registry->ending--;
    if (err->code < 0) {
        log_error("%s", err->text);
        registry->has_hung = true;
    }
    check_stopped(registry);
}

static void on_disk_ending(struct op *op)
{
    disk_ending(op->registry, &op->err);
}

void registry_stop(struct registry *registry, void (*stopped)(void *arg, bool is_clean), void *arg)
{
    registry->is_stopping = true;
    registry->stopped = stopped;
    registry->arg = arg;
    registry->ending = 1; /* ours, until all have been asked */
    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        struct err err = {0};

        registry->ending++;
        if (registry_remove(disk, true, PROTOCOL_SHUTDOWN_MS, on_disk_ending, NULL, &err) < 0) {
            disk_ending(registry, &err);
        }
    }
    disk_ending(registry, &(struct err){0});
}

int registry_init(struct registry *registry, const struct registry_opts *opts)
{
    memset(registry, 0, sizeof(*registry));
    registry->opts = *opts;
    registry->timer_ns = UINT64_MAX;
    return uv_timer_init(opts->loop, &registry->timer);
}

void registry_fini(struct registry *registry)
{
    assert(!registry->disks && !registry->dying && !registry->ops);
    uv_close((uv_handle_t *)&registry->timer, NULL);
}
