/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/op.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/limits.h"
#include "daemon/state_table.h"

/* The state letter of /proc/PID/task/TID/stat, '?' when it cannot be told. */
static char thread_state(pid_t tid)
{
    char path[64];
    char stat[256] = "";
    const char *end;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    file = fopen(path, "re");
    if (!file) {
        return '?';
    }
    if (!fgets(stat, sizeof(stat), file)) {
        stat[0] = '\0';
    }
    (void)fclose(file);
    end = strrchr(stat, ')'); /* the name in parentheses may have any character */
    return end && end[1] == ' ' ? end[2] : '?';
}

int op_refuse_stuck(const struct disk *disk, struct err *err)
{
    const struct image_config *image = &disk->record.config.image;
    pid_t awaited = atomic_load_explicit(&disk->plane.dev.awaited, memory_order_relaxed);
    pid_t tid = awaited ? awaited : worker_tid(&disk->plane.worker);
    const char *on = image->path[0] ? " on " : "";

    return err_say(err, -ETIMEDOUT,
                   "%s: the disk's thread does not answer; it may be stuck in a system call%s%s "
                   "(state %c in /proc/%d/task/%d)",
                   disk->record.config.name, on, image->path, thread_state(tid), (int)getpid(),
                   (int)tid);
}

static void say_late(struct op *op)
{
    if (op->is_saving) {
        (void)err_say(&op->err, -ETIMEDOUT,
                      "%s: it was done, but %s could not be written in time; "
                      "the write goes on",
                      op->disk->record.config.name, state_path(op->registry->opts.state));
    } else {
        (void)op_refuse_stuck(op->disk, &op->err);
    }
}

static void end_late(struct op *op)
{
    op->is_late = true;
    op->disk->late_ops += op->is_saving ? 0 : 1;
    op->info = NULL;
    say_late(op);
    if (op->done) {
        op->done(op);
    }
}

static void on_timer(uv_timer_t *timer);

/* Let the timer run at `deadline_ns`, if it does not run before. */
static void arm_timer(struct registry *registry, uint64_t deadline_ns)
{
    uint64_t now = now_ns();

    if (deadline_ns >= registry->timer_ns) {
        return;
    }
    registry->timer_ns = deadline_ns;
    uv_update_time(registry->opts.loop);
    uv_timer_start(&registry->timer, on_timer,
                   deadline_ns > now ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

static void stop_timer(struct registry *registry)
{
    registry->timer_ns = UINT64_MAX;
    uv_timer_stop(&registry->timer);
}

/* `done` may ask for more, so the walk starts again after each. */
static void on_timer(uv_timer_t *timer)
{
    struct registry *registry = containerof(timer, struct registry, timer);
    uint64_t now = now_ns();
    uint64_t earliest = UINT64_MAX;
    struct op *op = registry->ops;

    stop_timer(registry);
    while (op) {
        if (!op->is_late && op->deadline_ns <= now) {
            end_late(op);
            op = registry->ops;
            earliest = UINT64_MAX;
        } else {
            earliest = op->is_late ? earliest : min_of(earliest, op->deadline_ns);
            op = op->next;
        }
    }
    arm_timer(registry, earliest);
}

static void push_op(struct op *op)
{
    struct registry *registry = op->registry;

    op->next = registry->ops;
    op->link = &registry->ops;
    if (op->next) {
        op->next->link = &op->next;
    }
    registry->ops = op;
}

struct op *op_new(struct disk *disk, enum plane_verb verb, uint64_t within_ms,
                  void (*done)(struct op *op), void *arg)
{
    struct op *op = calloc(1, sizeof(*op));

    if (!op) {
        return NULL;
    }
    op->registry = disk->registry;
    op->disk = disk;
    op->request.verb = verb;
    op->deadline_ns = now_ns() + within_ms * NS_PER_MS;
    op->done = done;
    op->arg = arg;
    push_op(op);
    disk->ops++;
    arm_timer(op->registry, op->deadline_ns);
    return op;
}

/* The timer may run for an op that has gone; that costs less than to look for the next. */
static void unlink_op(struct op *op)
{
    *op->link = op->next;
    if (op->next) {
        op->next->link = op->link;
    }
    op->disk->ops--;
    if (!op->registry->ops) {
        stop_timer(op->registry);
    }
}

void op_drop(struct op *op)
{
    unlink_op(op);
    free(op);
}

/* The answer is complete: tell whoever waits, unless it was late. */
static void finish(struct op *op)
{
    struct disk *disk = op->disk;

    unlink_op(op);
    if (!op->is_late && op->done) {
        op->done(op);
    }
    free(op);
    registry_release(disk);
}

static void on_saved(struct state_save *save)
{
    struct op *op = containerof(save, struct op, save);

    if (save->err.code < 0) {
        log_error("%s", save->err.text);
        if (op->err.code == 0) {
            (void)err_say(&op->err, save->err.code,
                          "%s: it was done, but will not outlast the daemon: %s",
                          op->disk->record.config.name, save->err.text);
        }
    }
    finish(op);
}

static size_t count_kept(const struct registry *registry)
{
    size_t count = 0;

    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        count += disk->is_kept && !disk->is_removing;
    }
    return count;
}

/* Rows are kept: with many disks, to write all of them anew for each change takes too long. */
static const char *row_of(struct disk *disk)
{
    if (!disk->row) {
        disk->row = state_table_row(&disk->record);
    }
    return disk->row;
}

/* The answer waits until the table is on stable storage. */
static void save_table(struct op *op)
{
    struct registry *registry = op->registry;
    const char **rows = calloc(count_kept(registry) + 1, sizeof(*rows));
    size_t count = 0;

    if (!rows) {
        (void)err_set(&op->err, -ENOMEM, "%s", state_path(registry->opts.state));
        finish(op);
        return;
    }
    for (struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (disk->is_kept && !disk->is_removing) {
            rows[count++] = row_of(disk);
        }
    }
    op->is_saving = true;
    op->save.done = on_saved;
    state_save(registry->opts.state, rows, count, &op->save);
    free(rows);
}

static void keep_geometry(struct disk *disk, const struct plane_info *info)
{
    disk->record.size = (int64_t)info->geometry.size;
    disk->record.logical_block = info->geometry.logical_block;
    disk->record.physical_block = info->geometry.physical_block;
    disk->record.opt_io = info->geometry.opt_io;
}

/* Its client was told that the disk was not added: so be it. */
static void take_back(struct disk *disk)
{
    struct err err = {0};

    log_warn("%s: opened too late, removed again", disk->record.config.name);
    if (registry_take_back(disk, &err) < 0) {
        log_error("%s: %s", disk->record.config.name, err.text);
    }
}

static bool opened(struct op *op)
{
    struct disk *disk = op->disk;

    if (op->err.code < 0) {
        return false;
    }
    keep_geometry(disk, &op->request.info);
    if (disk->is_kept) {
        return false; /* from the state file */
    }
    if (op->is_late) {
        take_back(disk);
        return false;
    }
    disk_config_created(&disk->record.config);
    disk->is_kept = true;
    return true;
}

static bool started(struct op *op)
{
    if (op->err.code < 0) {
        return false;
    }
    keep_geometry(op->disk, &op->request.info);
    op->disk->record.is_stopped = false;
    return true;
}

/* Past the time-out the stop goes on, so it counts. */
static bool stopped(struct op *op)
{
    bool was_stopped = op->disk->record.is_stopped;

    if (op->err.code < 0 && op->err.code != -ETIMEDOUT) {
        return false;
    }
    op->disk->record.is_stopped = true;
    return !was_stopped;
}

static bool removed(struct op *op)
{
    if (op->err.code < 0 && op->err.code != -ETIMEDOUT) {
        return false;
    }
    op->disk->is_removing = true;
    return op->disk->is_kept;
}

/* The same change as on the disk's thread; a late one counts as well. */
static bool settings_changed(struct op *op)
{
    return op->err.code == 0 &&
           settings_apply(&op->disk->record.config.settings, &op->request.change) &&
           op->disk->is_kept;
}

/* What the answer means for the table.  Returns true when it must be written. */
static bool apply(struct op *op)
{
    if (op->request.verb != PLANE_INFO) {
        free(op->disk->row); /* the record may change */
        op->disk->row = NULL;
    }
    switch (op->request.verb) {
    case PLANE_OPEN:
        return opened(op);
    case PLANE_START:
        return started(op);
    case PLANE_STOP:
        return stopped(op);
    case PLANE_REMOVE:
        return removed(op);
    case PLANE_SET:
        return settings_changed(op);
    default:
        return false;
    }
}

static void on_answered(struct plane_request *request)
{
    struct op *op = containerof(request, struct op, request);

    op->disk->late_ops -= op->is_late;
    op->err = request->err;
    limits_hint(&op->err);
    op->info = request->err.code == 0 ? &request->info : NULL;
    op->has_changed = request->has_changed;
    if (apply(op) && !op->registry->is_stopping) {
        save_table(op);
    } else {
        finish(op);
    }
}

void op_send(struct op *op)
{
    op->request.answered = on_answered;
    plane_send(&op->disk->plane, &op->request);
}
