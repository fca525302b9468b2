/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry_life.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "daemon/disk_ask.h"
#include "daemon/disk_counters.h"
#include "daemon/disk_fence.h"
#include "daemon/limits.h"
#include "daemon/op.h"
#include "daemon/plane_thread.h"
#include "daemon/protocol.h"
#include "daemon/registry_group.h"
#include "daemon/registry_keep.h"
#include "daemon/registry_sockets.h"
#include "daemon/registry_table.h"

/* ---- the table ---- */

static void append_disk(struct disk **list, struct disk *disk)
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

/* ---- the end of a disk, and of all ---- */

static void free_disk(struct disk *disk)
{
    free(disk->own);
    free(disk->row);
    free(disk);
}

static bool have_ended(const struct disk *list)
{
    while (list && list->has_ended) {
        list = list->next;
    }
    return !list;
}

static void on_kept(void *arg)
{
    struct registry *registry = arg;

    registry->stopped(registry->arg, !registry->has_hung);
}

static void check_stopped(struct registry *registry)
{
    bool is_over =
        have_ended(registry->disks) && have_ended(registry->dying) && registry->op_count == 0;

    if (registry->is_stopping && registry->ending == 0 && (registry->has_hung || is_over) &&
        !registry->has_stopped) {
        registry->has_stopped = true;
        keeper_finish(&registry->keeper, on_kept);
    }
}

static void leave_table(struct disk *disk)
{
    bool is_known = unlink_disk(&disk->registry->disks, disk);

    assert(is_known);
    (void)is_known;
    registry_sockets_drop(disk);
    append_disk(&disk->registry->dying, disk);
}

/* An op of the disk has ended: free it when it was the last, and its thread has ended. */
static void on_released(struct disk *disk)
{
    struct registry *registry = disk->registry;

    if (disk->is_absent && disk->is_removing && !registry->is_stopping) {
        disk->is_absent = false;
        leave_table(disk);
    }
    if (disk->has_ended && disk->ops == 0 && !registry->is_stopping && !disk->is_absent) {
        (void)unlink_disk(&registry->dying, disk);
        free_disk(disk);
    }
    check_stopped(registry);
}

/*
 * At the end of the daemon disks stay in the table: it may have to be written.  So does one that
 * could not be brought back, as for lack of files: nobody has removed it.  (Then on_released.)
 */
static void on_gone(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);

    disk->is_absent = disk->is_opening && disk->is_kept && !disk->registry->is_stopping;
    if (!disk->registry->is_stopping && !disk->is_absent) {
        leave_table(disk);
    }
    disk->is_gone = true;
    plane_end(plane);
}

/*
 * The table has the stop, or the start, as its client was told that it goes on, but not which image
 * that has opened; nobody waits.
 */
static void on_resumed(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);
    struct registry *registry = disk->registry;
    bool is_other = registry_keep_image(disk, &plane->again.info);

    if (disk->record.is_stopped == !plane->again.runs && !is_other) {
        return;
    }
    disk->record.is_stopped = !plane->again.runs;
    free(disk->row);
    disk->row = NULL;
    keeper_change(&registry->keeper);
    if (!registry->has_stopped) {
        keeper_soon(&registry->keeper);
    }
}

static void on_ended(struct plane *plane)
{
    struct disk *disk = containerof(plane, struct disk, plane);

    disk->has_ended = true;
    on_released(disk);
}

/* ---- add, restore, stop ---- */

static struct disk *new_disk(struct registry *registry, const struct disk_record *record,
                             bool is_restored)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    if (!disk) {
        return NULL;
    }
    disk->own = calloc(1, sizeof(*disk->own));
    if (!disk->own) {
        free(disk);
        return NULL;
    }
    disk->registry = registry;
    disk->record = *record;
    disk->is_opening = true;
    disk->directory = -1;
    disk->is_kept = is_restored;
    if (is_restored) {
        registry_group_restore(registry, &disk->record.config);
    }
    return disk;
}

static struct plane_opts plane_opts_of(const struct disk *disk)
{
    const struct disk_record *record = &disk->record;
    struct plane_opts opts;

    disk_config_to_plane(&record->config, &opts);
    opts.socket_dir = disk->registry->opts.socket_dir;
    opts.fence = disk_fence(disk->registry->boot, &disk->registry->state_dir, record->config.name);
    opts.keep_cache = registry_cache_keep;
    opts.keep_handover = registry_handover_keep;
    opts.keep_medium = registry_medium_keep;
    opts.keep_size = registry_size_keep;
    if (disk->is_kept) {
        opts.is_restored = true;
        opts.given = registry_given(disk->registry, record->config.name);
        opts.is_stopped = record->is_stopped;
        opts.is_writethrough = record->is_writethrough;
        opts.geometry = (struct plane_geometry){
            .size = (uint64_t)record->size,
            .logical_block = (uint32_t)record->logical_block,
            .physical_block = (uint32_t)record->physical_block,
            .alignment = (uint32_t)record->alignment,
            .min_io = (uint32_t)record->min_io,
            .opt_io = (uint32_t)record->opt_io,
            .chs = disk_record_chs(record),
            .discard_block = (uint32_t)record->discard_block,
            .zeroes = (enum blk_zeroes)record->zeroes,
            .shown = disk_shown_to_blk(&record->shown),
        };
        opts.counters = record->counters;
        opts.image_id = disk_opened_id(&record->opened, disk->registry->boot);
    }
    return opts;
}

/* The disk's thread itself sees to it that what takes long goes on. */
static uint64_t open_within_ms(const struct registry *registry, const struct plane_opts *opts)
{
    bool allocates = opts->image.preallocation != PREALLOCATION_OFF;

    return (allocates ? PROTOCOL_ALLOCATE_MS : (uint64_t)registry->opts.open_ms) +
           PROTOCOL_GRACE_MS;
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
    op = op_new(disk, PLANE_OPEN, open_within_ms(registry, &opts), done, arg);
    if (!op) {
        ret = err_set(err, -ENOMEM, "%s", record->config.name);
        goto free_disk;
    }
    ret = plane_start(&disk->plane, &opts, registry->opts.mailbox, on_gone, on_ended, on_resumed,
                      err);
    if (ret < 0) {
        goto drop_op;
    }
    append_disk(&registry->disks, disk);
    op->request.timeout_ms = registry->opts.open_ms;
    op_send(op);
    return 0;

drop_op:
    op_drop(op);
free_disk:
    free_disk(disk);
    return ret;
}

int registry_add(struct registry *registry, struct disk_config *config, void (*done)(struct op *op),
                 void *arg, struct err *err)
{
    struct disk_record *record;
    bool has_serial = config->serial[0] != '\0';
    int ret = disk_config_complete(config, registry->opts.socket_dir, err);

    if (ret == 0) {
        ret = disk_config_check_new(config, err);
    }
    if (ret == 0) {
        ret = disk_config_check_here(config, err);
    }
    if (ret == 0) {
        ret = registry_refuse_taken(registry, config, err);
    }
    if (ret == 0) {
        ret = registry_group_enter(registry, config, err);
    }
    if (ret == 0 && !has_serial) {
        registry_choose_serial(registry, config);
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

int registry_restore(struct registry *registry, const struct disk_record *records, size_t count,
                     void (*restored)(void *arg), void *arg, struct err *err)
{
    uint64_t files = 0;
    int ret;

    for (size_t i = 0; i < count; i++) {
        files += disk_record_files(&records[i]);
    }
    ret = limits_check_all(count, files, err);
    for (size_t i = 0; i < count && ret == 0; i++) {
        ret = registry_refuse_taken(registry, &records[i].config, err);
    }
    if (ret < 0) {
        return ret;
    }
    registry->restored = restored;
    registry->arg = arg;
    registry->restoring = 1; /* ours, until all have been asked */
    for (size_t i = 0; i < count; i++) {
        registry->restoring++;
        ret = start_disk(registry, &records[i], true, on_restored, NULL, err);
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

/* Nobody waits for them: if they cannot be written, those of the end before are there. */
static void keep_counters(struct disk *disk, const struct stats *stats)
{
    struct stats kept;

    disk_counters_keep(&kept, stats);
    if (memcmp(&kept, &disk->record.counters, sizeof(kept)) != 0) {
        disk->record.counters = kept;
        free(disk->row);
        disk->row = NULL;
        keeper_change(&disk->registry->keeper);
    }
}

/* One whose thread has gone has ended, whether that was told here already or not. */
static void on_disk_ending(struct op *op)
{
    if (op->request.verb == PLANE_REMOVE && op->request.info.state == PLANE_GONE &&
        op->disk->is_kept) {
        keep_counters(op->disk, &op->request.info.device.stats);
    }
    if (op->err.code == -ENODEV) {
        op->err.code = 0;
    }
    if (op->request.is_done && op->err.code < 0) {
        log_error("%s", op->err.text);
        op->registry->has_lost = true;
        op->err.code = 0;
    }
    disk_ending(op->registry, &op->err);
}

static void end_disk(struct disk *disk)
{
    struct err err = {0};

    disk->registry->ending++;
    if (disk->is_opening && !disk->is_kept && !disk->is_taken_back) {
        disk->ends_then = true;
        disk_hurry(disk);
        return;
    }
    if (disk_ask_exit(disk, on_disk_ending, &err) < 0) {
        disk_ending(disk->registry, &err);
    }
}

/*
 * Its client is told that the disk is not added: so be it, should it be opened all the same.  By
 * now, as what else was asked of it, a removal for one, is done before what is asked then.
 */
static void take_back(struct disk *disk)
{
    struct err err = {0};

    log_warn("%s: not opened in time: if it opens all the same, it is removed again",
             disk->record.config.name);
    if (disk_take_back(disk, &err) < 0) {
        log_error("%s: %s", disk->record.config.name, err.text);
    }
}

static void on_opened(struct op *op, const struct err *late)
{
    struct disk *disk = op->disk;
    bool ends = disk->ends_then;

    if (late && !disk->is_kept && !disk->is_gone && !ends) {
        take_back(disk);
    }
    disk->is_opening = disk->is_opening && late;
    if (!late && disk->is_kept && !disk->is_gone && !disk->registry->is_stopping) {
        registry_sockets_add(disk);
    }
    disk->ends_then = false;
    if (ends && disk->is_kept) {
        end_disk(disk);
    }
    if (ends) {
        disk_ending(disk->registry, late ? late : &(struct err){0});
    }
}

void registry_stop(struct registry *registry, void (*stopped)(void *arg, bool is_clean), void *arg)
{
    registry->is_stopping = true;
    registry->stopped = stopped;
    registry->arg = arg;
    registry->ending = 1; /* ours, until all have been asked */
    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (!disk->is_absent) {
            end_disk(disk);
        }
    }
    disk_ending(registry, &(struct err){0});
}

int registry_init(struct registry *registry, const struct registry_opts *opts)
{
    struct keeper_opts keeper = {
        .loop = opts->loop,
        .state = opts->state,
        .text = registry_table_text,
        .arg = registry,
    };
    int ret;

    memset(registry, 0, sizeof(*registry));
    registry->opts = *opts;
    registry->timer_ns = UINT64_MAX;
    registry->opened = on_opened;
    registry->released = on_released;
    boot_id_read(registry->boot);
    ret = state_stat(opts->state, &registry->state_dir);
    if (ret == 0) {
        ret = keeper_init(&registry->keeper, &keeper);
    }
    if (ret == 0) {
        ret = registry_sockets_init(registry);
    }
    return ret < 0 ? ret : uv_timer_init(opts->loop, &registry->timer);
}

static void free_disks(struct disk **list)
{
    while (*list) {
        struct disk *disk = *list;

        *list = disk->next;
        free_disk(disk);
    }
}

void registry_fini(struct registry *registry)
{
    assert(registry->has_stopped && registry->op_count == 0);
    free_disks(&registry->disks);
    free_disks(&registry->dying);
    keeper_fini(&registry->keeper);
    registry_sockets_fini(registry);
    uv_close((uv_handle_t *)&registry->timer, NULL);
}
