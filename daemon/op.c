/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/op.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/limits.h"
#include "daemon/plane_thread.h"
#include "daemon/registry_group.h"
#include "daemon/stuck.h"

/* Past that control is late itself; and what an op that is due is given then, once. */
#define EXCUSE_MS 500

int op_refuse_stuck(const struct disk *disk, struct err *err)
{
    const struct disk_config *config = &disk->record.config;
    pid_t awaited = atomic_load_explicit(&disk->plane.awaited, memory_order_relaxed);

    return stuck_refuse(config->name, awaited ? awaited : worker_tid(&disk->plane.worker),
                        config->image.path, err);
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

static void push_op(struct op **list, struct op *op)
{
    op->next = *list;
    op->link = list;
    if (op->next) {
        op->next->link = &op->next;
    }
    *list = op;
}

static void pull_op(struct op *op)
{
    *op->link = op->next;
    if (op->next) {
        op->next->link = op->link;
    }
}

static void end_late(struct op *op)
{
    pull_op(op);
    push_op(&op->registry->late, op);
    op->is_late = true;
    op->disk->late_ops += op->is_saving ? 0 : 1;
    op->info = NULL;
    say_late(op);
    if (op->done) {
        op->done(op);
    }
    if (op->request.verb == PLANE_OPEN && !op->is_saving) {
        op->registry->opened(op, &op->err);
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

/* Returns true when the op has some time left, or is given some. */
static bool is_in_time(struct op *op, uint64_t now, bool excuse)
{
    if (op->deadline_ns <= now && excuse && !op->is_excused) {
        op->is_excused = true;
        op->deadline_ns = now + EXCUSE_MS * NS_PER_MS;
    }
    return op->deadline_ns > now;
}

/* Move those that are late to registry->due.  Returns the earliest deadline of the others. */
static uint64_t sort_out(struct registry *registry, uint64_t now, bool excuse)
{
    uint64_t earliest = UINT64_MAX;
    struct op *next;

    for (struct op *op = registry->ops; op; op = next) {
        next = op->next;
        if (is_in_time(op, now, excuse)) {
            earliest = min_of(earliest, op->deadline_ns);
        } else {
            pull_op(op);
            push_op(&registry->due, op);
        }
    }
    return earliest;
}

/*
 * What has been answered is not late, though control comes to it only now.  And when the timer
 * itself is late (the process was stopped, or a callback took long) the disks' threads may have
 * had no time either.  `done` may ask for more, which is on registry->ops.
 */
static void on_timer(uv_timer_t *timer)
{
    struct registry *registry = containerof(timer, struct registry, timer);
    uint64_t since = registry->timer_ns;
    uint64_t now;

    mailbox_run(registry->opts.mailbox);
    stop_timer(registry);
    now = now_ns();
    arm_timer(registry, sort_out(registry, now, now > since + EXCUSE_MS * NS_PER_MS));
    while (registry->due) {
        end_late(registry->due);
    }
}

/* `op` is zeroed memory, which the op takes over, or NULL. */
static struct op *begin_op(struct op *op, struct disk *disk, enum plane_verb verb,
                           uint64_t within_ms, void (*done)(struct op *op))
{
    if (!op) {
        return NULL;
    }
    op->registry = disk->registry;
    op->disk = disk;
    op->request.verb = verb;
    op->deadline_ns = now_ns() + within_ms * NS_PER_MS;
    op->done = done;
    push_op(&op->registry->ops, op);
    op->registry->op_count++;
    disk->ops++;
    arm_timer(op->registry, op->deadline_ns);
    return op;
}

struct op *op_new(struct disk *disk, enum plane_verb verb, uint64_t within_ms,
                  void (*done)(struct op *op), void *arg)
{
    struct op *op = begin_op(calloc(1, sizeof(*op)), disk, verb, within_ms, done);

    if (op) {
        op->arg = arg;
    }
    return op;
}

struct op *op_new_own(struct disk *disk, enum plane_verb verb, uint64_t within_ms,
                      void (*done)(struct op *op))
{
    struct op *op = disk->own ? disk->own : calloc(1, sizeof(*op));

    disk->own = NULL;
    op = begin_op(op, disk, verb, within_ms, done);
    if (op) {
        op->is_own = true;
    }
    return op;
}

static void free_op(struct op *op)
{
    free(op->request.medium);
    free(op);
}

/* The timer may run for an op that has gone; that costs less than to look for the next. */
static void unlink_op(struct op *op)
{
    pull_op(op);
    op->registry->op_count--;
    op->disk->ops--;
    if (!op->registry->ops) {
        stop_timer(op->registry);
    }
}

void op_drop(struct op *op)
{
    unlink_op(op);
    free_op(op);
}

/* The answer is complete: tell whoever waits, unless it was late. */
static void end_op(struct op *op)
{
    struct registry *registry = op->registry;
    struct disk *disk = op->disk;

    unlink_op(op);
    if (!op->is_late && op->done) {
        op->done(op);
    }
    free_op(op);
    registry->released(disk);
}

static const char *what_will_be(enum plane_verb verb)
{
    switch (verb) {
    case PLANE_OPEN:
        return "the disk will not be there";
    case PLANE_REMOVE:
        return "the disk will be there again";
    default:
        return "it will be as it was before";
    }
}

/* Each of those whose table is not there is told so, not the first one alone. */
static void on_kept(struct keep *keep, const struct err *err)
{
    struct op *op = containerof(keep, struct op, keep);

    if (err->code < 0 && op->err.code == 0) {
        (void)err_say(
            &op->err, err->code,
            "%s: it was done, but %s when vblkd is started again: %s; vblkd goes on trying",
            op->disk->record.config.name, what_will_be(op->request.verb), err->text);
    }
    end_op(op);
}

static bool opened(struct op *op)
{
    struct disk *disk = op->disk;
    bool is_other;

    if (op->err.code < 0) {
        return false;
    }
    is_other = registry_keep_image(disk, &op->request.info);
    if (disk->is_kept) { /* from the state file: other when it is the first time in this boot */
        op->is_unasked = true;
        return is_other;
    }
    if (op->is_late) {
        return false; /* its client was told that the disk was not added */
    }
    disk_config_created(&disk->record.config);
    disk->is_kept = true;
    return true;
}

/* Past our time-out it goes on, so it counts; past one of a file system it has failed. */
static bool started(struct op *op)
{
    struct disk_record *record = &op->disk->record;
    bool was_stopped = record->is_stopped;

    if (op->err.code < 0 && !op->request.goes_on) {
        return false;
    }
    record->is_stopped = false;
    if (op->err.code < 0) {
        return was_stopped;
    }
    (void)registry_keep_image(op->disk, &op->request.info);
    return true;
}

/* Past the time-out the stop goes on, so it counts. */
static bool stopped(struct op *op)
{
    bool was_stopped = op->disk->record.is_stopped;

    if (op->err.code < 0 && op->err.code != -ETIMEDOUT && !op->request.is_done) {
        return false;
    }
    op->disk->record.is_stopped = true;
    return !was_stopped;
}

/* At the end of the daemon disks go and stay in the table. */
static bool removed(struct op *op)
{
    if (op->is_own) {
        return false;
    }
    if (op->err.code < 0 && op->err.code != -ETIMEDOUT && !op->request.is_done) {
        return false;
    }
    op->disk->is_removing = true;
    return op->disk->is_kept;
}

/* The same change as on the disk's thread; a late one counts as well. */
static bool settings_changed(struct op *op)
{
    if (op->err.code < 0 ||
        !settings_apply(&op->disk->record.config.settings, &op->request.change)) {
        return false;
    }
    registry_group_learn(op->disk);
    registry_group_spread(op->disk);
    return op->disk->is_kept;
}

/* What the guest has, also where the rest of it has failed; a late one counts as well. */
static bool resized(struct op *op)
{
    return op->request.has_changed && registry_keep_image(op->disk, &op->request.info) &&
           op->disk->is_kept;
}

static bool may_change(enum plane_verb verb)
{
    return verb != PLANE_INFO && verb != PLANE_LOOK && verb != PLANE_HURRY &&
           verb != PLANE_FREEZE && verb != PLANE_THAW;
}

/* What the answer means for the table.  Returns true when it is otherwise than before. */
static bool apply(struct op *op)
{
    if (may_change(op->request.verb)) {
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
    case PLANE_RESIZE:
        return resized(op);
    default:
        return false;
    }
}

/* The answer waits until the table is on stable storage, with what is not there from before. */
static void keep(struct op *op, bool has_changed)
{
    struct keeper *keeper = &op->registry->keeper;
    bool is_done = op->err.code == 0 && may_change(op->request.verb) && !op->is_own;

    if (has_changed) {
        keeper_change(keeper);
    }
    if (op->is_unasked) {
        keeper_soon(keeper);
        end_op(op);
    } else if (has_changed || (is_done && keeper_is_dirty(keeper))) {
        op->is_saving = true;
        op->keep.done = on_kept;
        keeper_wait(keeper, &op->keep);
    } else {
        end_op(op);
    }
}

static void on_answered(struct plane_request *request)
{
    struct op *op = containerof(request, struct op, request);
    bool has_changed;

    op->disk->late_ops -= op->is_late;
    op->err = request->err;
    limits_hint(&op->err);
    op->info = request->err.code == 0 ? &request->info : NULL;
    op->has_changed = request->has_changed;
    op->disk->fate = request->info.fate;
    op->disk->image_fd = request->info.image_fd;
    op->disk->is_left |= request->is_left;
    has_changed = apply(op);
    if (op->request.verb == PLANE_OPEN) {
        op->registry->opened(op, NULL);
    }
    keep(op, has_changed);
}

void op_grant(struct op *op)
{
    on_answered(&op->request);
}

void op_send(struct op *op)
{
    op->request.answered = on_answered;
    plane_send(&op->disk->plane, &op->request);
}
