/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_ask.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/limits.h"
#include "daemon/op.h"
#include "daemon/protocol.h"
#include "daemon/registry_group.h"

static void send_question(struct op *op, const struct plane_request *question)
{
    op->request.force = question->force;
    op->request.wants_look = question->wants_look;
    op->request.decides = question->decides;
    op->request.undo = question->undo;
    op->request.new_image = question->new_image;
    op->request.is_exit = question->is_exit;
    op->request.timeout_ms = question->timeout_ms;
    op->request.change = question->change;
    op->request.medium = question->medium;
    op->request.size = question->size;
    op->request.shrink = question->shrink;
    op_send(op);
}

/* What a client asks for: a disk that does not answer is asked nothing more. */
static int ask_for_client(struct disk *disk, const struct plane_request *question,
                          uint64_t within_ms, void (*done)(struct op *op), void *arg,
                          struct err *err)
{
    struct op *op;

    if (disk->is_absent) {
        return err_say(err, -EAGAIN,
                       "%s: it could not be brought back, as the log says, and is tried again when "
                       "vblkd is started again; until then it can be removed",
                       disk->record.config.name);
    }
    if (disk->late_ops > 0) {
        return op_refuse_stuck(disk, err);
    }
    op = op_new(disk, question->verb, within_ms, done, arg);
    if (!op) {
        return err_set(err, -ENOMEM, "%s", disk->record.config.name);
    }
    send_question(op, question);
    return 0;
}

/*
 * What the daemon itself wants, so it must arrive: also at a disk that is slow just now, and
 * also without memory.
 */
static int ask_for_daemon(struct disk *disk, const struct plane_request *question,
                          uint64_t within_ms, void (*done)(struct op *op), struct err *err)
{
    struct op *op = op_new_own(disk, question->verb, within_ms, done);

    if (!op) {
        return err_set(err, -ENOMEM, "%s", disk->record.config.name);
    }
    send_question(op, question);
    return 0;
}

/* How long control waits for an answer that may take `timeout_ms` by itself. */
static uint64_t with_grace(uint32_t timeout_ms)
{
    return timeout_ms == PLANE_NO_TIMEOUT ? PROTOCOL_SHUTDOWN_MS + PROTOCOL_GRACE_MS
                                          : (uint64_t)timeout_ms + PROTOCOL_GRACE_MS;
}

int disk_info(struct disk *disk, bool look, void (*done)(struct op *op), void *arg, struct err *err)
{
    struct plane_request question = {.verb = PLANE_INFO, .wants_look = look};

    return ask_for_client(disk, &question, PROTOCOL_INFO_MS, done, arg, err);
}

int disk_examine(struct disk *disk, void (*done)(struct op *op), void *arg, struct err *err)
{
    struct plane_request question = {.verb = PLANE_INFO, .wants_look = true, .decides = true};

    return ask_for_client(disk, &question, PROTOCOL_EXAMINE_MS, done, arg, err);
}

int disk_start(struct disk *disk, bool new_image, void (*done)(struct op *op), void *arg,
               struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_START,
        .new_image = new_image,
        .timeout_ms = disk->registry->opts.open_ms,
    };

    return ask_for_client(disk, &question, with_grace(question.timeout_ms), done, arg, err);
}

int disk_stop(struct disk *disk, bool force, uint32_t timeout_ms, void (*done)(struct op *op),
              void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_STOP,
        .force = force,
        .timeout_ms = timeout_ms,
    };

    return ask_for_client(disk, &question, with_grace(timeout_ms), done, arg, err);
}

int disk_set(struct disk *disk, const struct settings *change, void (*done)(struct op *op),
             void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_SET, .change = *change, .timeout_ms = PROTOCOL_MOVE_MS};
    const struct disk_config *config = &disk->record.config;
    int ret = registry_group_change(disk, &question.change, err);

    if (ret == 0) {
        ret = disk_config_check_change(config, &question.change, err);
    }
    if (ret == 0 && change->threads > config->settings.threads) {
        ret = limits_check(config->name, "more threads", err);
    }
    return ret < 0 ? ret : ask_for_client(disk, &question, PROTOCOL_SET_MS, done, arg, err);
}

int disk_change_medium(struct disk *disk, struct medium_ask *ask, bool force, uint32_t timeout_ms,
                       void (*done)(struct op *op), void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_MEDIUM,
        .medium = ask,
        .force = force,
        .timeout_ms = timeout_ms,
    };
    int ret = ask ? limits_check(disk->record.config.name, "another image", err) : err->code;

    if (ret == 0) {
        ret = ask_for_client(disk, &question, with_grace(timeout_ms), done, arg, err);
    }
    if (ret < 0) {
        free(ask);
    }
    return ret;
}

int disk_resize(struct disk *disk, uint64_t size, bool shrink, uint32_t timeout_ms,
                void (*done)(struct op *op), void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_RESIZE,
        .size = size,
        .shrink = shrink,
        .timeout_ms = timeout_ms,
    };

    return ask_for_client(disk, &question, with_grace(timeout_ms), done, arg, err);
}

/* It has no thread, and nothing that would have to end. */
static int remove_absent(struct disk *disk, uint64_t within_ms, void (*done)(struct op *op),
                         void *arg, struct err *err)
{
    struct op *op = op_new(disk, PLANE_REMOVE, within_ms, done, arg);

    if (!op) {
        return err_set(err, -ENOMEM, "%s", disk->record.config.name);
    }
    op_grant(op);
    return 0;
}

int disk_remove(struct disk *disk, bool force, uint32_t timeout_ms, void (*done)(struct op *op),
                void *arg, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_REMOVE,
        .force = force,
        .timeout_ms = timeout_ms,
    };

    return disk->is_absent
               ? remove_absent(disk, with_grace(timeout_ms), done, arg, err)
               : ask_for_client(disk, &question, with_grace(timeout_ms), done, arg, err);
}

int disk_take_back(struct disk *disk, struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_REMOVE,
        .force = true,
        .undo = true,
        .timeout_ms = PLANE_NO_TIMEOUT,
    };

    disk->is_taken_back = true;
    return ask_for_daemon(disk, &question, with_grace(PLANE_NO_TIMEOUT), NULL, err);
}

void disk_hurry(struct disk *disk)
{
    struct plane_request question = {.verb = PLANE_HURRY};

    /* Without memory it has the time that it has. */
    (void)ask_for_daemon(disk, &question, with_grace(PROTOCOL_SHUTDOWN_MS), NULL, NULL);
}

int disk_ask_exit(struct disk *disk, void (*done)(struct op *op), struct err *err)
{
    struct plane_request question = {
        .verb = PLANE_REMOVE,
        .force = true,
        .is_exit = true,
        .timeout_ms = PROTOCOL_SHUTDOWN_MS,
    };

    return ask_for_daemon(disk, &question, with_grace(PROTOCOL_SHUTDOWN_MS), done, err);
}
