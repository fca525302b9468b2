/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* struct ucred, O_PATH */
#include "daemon/hand_over.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/given_json.h"
#include "daemon/json_memory.h"
#include "daemon/notify.h"
#include "daemon/op.h"
#include "daemon/plane_freeze.h"
#include "daemon/registry_table.h"
#include "daemon/protocol.h"
#include "daemon/state.h"

/* The other one opens images and maps memory, and answers. */
#define READY_MS 10000u
#define SEND_MS 10000u

/* The last words are said at once, or there is nobody. */
#define COMMIT_MS 5000u

/* ---- here it goes on ---- */

static void forget(struct hand_over *hand)
{
    if (hand->sock >= 0) {
        close(hand->sock);
        hand->sock = -1;
    }
    if (hand->cwd >= 0) {
        close(hand->cwd);
        hand->cwd = -1;
    }
    free(hand->parcel.fd);
    json_memory_free(hand->parcel.text);
    hand->parcel = (struct parcel){0};
    free(hand->freeze);
    hand->freeze = NULL;
    hand->count = 0;
    hand->is_under_way = false;
    hand->opts.registry->is_frozen = false;
    control_hold(hand->opts.control, false);
}

static void answer_refusal(struct hand_over *hand)
{
    if (hand->call) {
        call_refuse(hand->call, &hand->err);
        hand->call = NULL;
    } else if (hand->client) {
        client_close(hand->client);
    }
    hand->client = NULL;
}

static void stay(struct hand_over *hand)
{
    log_warn("daemon: the disks were not handed over to process %d, and go on here: %s",
             (int)hand->heir, hand->err.text);
    for (size_t i = 0; i < hand->count; i++) {
        plane_freeze_let_go(hand->freeze[i]);
    }
    answer_refusal(hand);
    forget(hand);
    hand->opts.stayed(hand->opts.arg);
}

/* ---- there ---- */

/* The service manager is told by who is its main process still. */
static void tell_manager(pid_t pid)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "MAINPID=%d", (int)pid);
    notify_once(text);
}

__attribute__((noreturn)) static void go(const struct hand_over *hand)
{
    tell_manager(hand->heir);
    log_info("daemon: %zu disk%s went to process %d, ended", hand->count,
             hand->count == 1 ? "" : "s", (int)hand->heir);
    (void)log_stop(LOG_STOP_MS);
    _exit(EXIT_SUCCESS); /* nothing is closed in order: all of it is the other's */
}

/*
 * One that ends before it has said so has touched nothing.  One that says nothing and is still
 * there may be about to: it has been told.
 */
static bool is_taken(struct hand_over *hand)
{
    int said = parcel_say(hand->sock, HAND_OVER_GO, COMMIT_MS);
    int heard = said < 0 ? said : parcel_hear(hand->sock, COMMIT_MS);

    if (said < 0 || (heard < 0 && heard != -ETIMEDOUT)) {
        (void)err_say(&hand->err, heard, "it has ended before it went on with them");
        return false;
    }
    return true;
}

static void on_ready(struct errand *errand)
{
    struct hand_over *hand = containerof(errand, struct hand_over, errand);

    hand->is_sending = false;
    if (hand->err.code == 0) {
        hand->err = hand->sent;
    }
    if (hand->err.code == 0 && is_taken(hand)) {
        go(hand);
    }
    stay(hand);
}

/* On a thread of its own: the other one may take its time. */
static void send_all(struct errand *errand)
{
    struct hand_over *hand = containerof(errand, struct hand_over, errand);
    int ret = parcel_send(hand->sock, &hand->parcel, SEND_MS);
    struct err *err = &hand->sent;

    err->code = 0;
    if (ret == 0) {
        ret = parcel_hear(hand->sock, READY_MS);
    }
    if (ret == -EPIPE) {
        (void)err_say(err, ret, "it has ended before it was ready");
    } else if (ret < 0) {
        (void)err_set(err, ret, "it does not become ready");
    } else if (ret != HAND_OVER_READY) {
        (void)err_say(err, -EPROTO, "it says something else than that it is ready");
    }
}

/* ---- what it is sent ---- */

static json_t *disks_json(const struct hand_over *hand, struct given_fds *fds)
{
    json_t *list = json_array();

    for (size_t i = 0; i < hand->count; i++) {
        (void)json_array_append_new(list, given_disk(fds, &hand->freeze[i]->given));
    }
    return list;
}

static json_t *admission_json(const struct admission *admission)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < admission->count; i++) {
        (void)json_array_append_new(list, json_pack("{s:I, s:b, s:i}", "id",
                                                    (json_int_t)admission->list[i].id, "group",
                                                    (int)admission->list[i].is_group, "rights",
                                                    (int)admission->list[i].rights));
    }
    return list;
}

static mode_t umask_now(void)
{
    mode_t mask = umask(0);

    (void)umask(mask);
    return mask;
}

static json_t *settings_json(const struct hand_over *hand, struct given_fds *fds)
{
    const struct daemon_opts *daemon = hand->opts.daemon;
    const char *notify = getenv("NOTIFY_SOCKET");
    const char *journal = getenv("JOURNAL_STREAM");

    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:i, s:s, s:s, s:o, s:[o, o, o]}", "control",
                     daemon->control_path, "socket_dir", daemon->socket_dir, "state_dir",
                     daemon->state_dir, "log_level", (int)daemon->level, "sandbox",
                     (int)daemon->sandbox_mode, "admission", admission_json(&daemon->admission),
                     "umask", (int)umask_now(), "notify", notify ? notify : "", "journal",
                     journal ? journal : "", "cwd", given_fd(fds, hand->cwd), "std",
                     given_fd(fds, STDIN_FILENO), given_fd(fds, STDOUT_FILENO),
                     given_fd(fds, STDERR_FILENO));
}

static json_t *all_json(const struct hand_over *hand, struct given_fds *fds, const char *table)
{
    int dir_fd, lock_fd;

    state_give(hand->opts.state, &dir_fd, &lock_fd);
    return json_pack("{s:i, s:i, s:o, s:o, s:o, s:o, s:s, s:o}", "version", GIVEN_VERSION, "pid",
                     (int)getpid(), "settings", settings_json(hand, fds), "listener",
                     given_listener(fds, hand->opts.listener), "state_dir", given_fd(fds, dir_fd),
                     "state_lock", given_fd(fds, lock_fd), "table", table, "disks",
                     disks_json(hand, fds));
}

static int make_parcel(struct hand_over *hand, struct err *err)
{
    unsigned before = json_memory_failures();
    struct given_fds fds = {.parcel = &hand->parcel};
    char *table = registry_table_whole(hand->opts.registry, err);
    json_auto_t *all = NULL;

    hand->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    all = table ? all_json(hand, &fds, table) : NULL;
    free(table);
    hand->parcel.text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (json_memory_failures() != before || fds.has_failed || !hand->parcel.text) {
        return err->code < 0 ? err->code : err_say(err, -ENOMEM, "no memory for what they are");
    }
    hand->parcel.bytes = strlen(hand->parcel.text);
    return 0;
}

/* ---- all are frozen ---- */

static void send_parcel(struct hand_over *hand)
{
    int ret = hand->err.code < 0 ? hand->err.code : make_parcel(hand, &hand->err);

    if (ret == 0) {
        hand->sock = client_lend(hand->client);
        ret = hand->sock < 0 ? err_set(&hand->err, hand->sock, "its connection") : 0;
    }
    if (ret == 0) {
        call_result(hand->call,
                    json_pack("{s:i, s:i}", "pid", (int)getpid(), "version", GIVEN_VERSION));
        hand->call = NULL;
        hand->errand.run = send_all;
        hand->errand.done = on_ready;
        ret = errand_send(&hand->errand, hand->opts.mailbox);
        hand->is_sending = ret == 0;
        ret = ret < 0 ? err_set(&hand->err, ret, "no thread") : 0;
    }
    if (ret < 0) {
        stay(hand);
    }
}

/* Written or not: the next one has it from us, and goes on trying. */
static void on_kept(struct keep *keep, const struct err *err)
{
    struct hand_over *hand = containerof(keep, struct hand_over, keep);

    (void)err;
    hand->is_keeping = false;
    if (hand->is_under_way) {
        send_parcel(hand);
    }
}

/* Nobody writes to the state file when it is the other's. */
static void wait_for_table(struct hand_over *hand)
{
    struct keeper *keeper = &hand->opts.registry->keeper;

    if (hand->err.code < 0) {
        stay(hand);
    } else if (keeper_is_dirty(keeper)) {
        hand->is_keeping = true;
        hand->keep.done = on_kept;
        keeper_wait(keeper, &hand->keep);
    } else {
        send_parcel(hand);
    }
}

static void count_down(struct hand_over *hand)
{
    if (--hand->pending == 0) {
        wait_for_table(hand);
    }
}

static void on_frozen(struct op *op)
{
    struct hand_over *hand = op->arg;

    if (op->err.code < 0 && hand->err.code == 0) {
        hand->err = op->err;
    }
    if (op->err.code == 0) {
        op->request.freeze->given.is_transient = op->disk->record.config.no_persist;
    }
    count_down(hand);
}

/* ---- the beginning ---- */

static int freeze_disk(struct hand_over *hand, struct disk *disk, uint32_t timeout_ms)
{
    struct plane_freeze *freeze = plane_freeze_new();
    struct op *op;

    if (!freeze) {
        return err_set(&hand->err, -ENOMEM, "%s", disk->record.config.name);
    }
    op = op_new(disk, PLANE_FREEZE, timeout_ms + PROTOCOL_GRACE_MS, on_frozen, hand);
    if (!op) {
        plane_freeze_let_go(freeze);
        plane_freeze_let_go(freeze); /* the disk's share as well */
        return err_set(&hand->err, -ENOMEM, "%s", disk->record.config.name);
    }
    op->request.freeze = freeze;
    op->request.timeout_ms = timeout_ms;
    hand->freeze[hand->count++] = freeze;
    hand->pending++;
    op_send(op);
    return 0;
}

static void freeze_all(struct hand_over *hand, uint32_t timeout_ms)
{
    int ret = 0;

    hand->pending = 1; /* ours, until all have been asked */
    for (struct disk *disk = hand->opts.registry->disks; disk && ret == 0; disk = disk->next) {
        if (!disk->is_absent) {
            ret = freeze_disk(hand, disk, timeout_ms);
        }
    }
    count_down(hand);
}

static int refuse_busy(const struct registry *registry, struct err *err)
{
    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        const char *name = disk->record.config.name;

        if (disk->late_ops > 0) {
            return op_refuse_stuck(disk, err);
        }
        if (disk->is_opening || disk->is_removing) {
            return err_say(err, -EBUSY, "%s: it is being %s", name,
                           disk->is_opening ? "opened" : "removed");
        }
    }
    return registry->dying ? err_say(err, -EBUSY, "%s: it is being removed",
                                     registry->dying->record.config.name)
                           : 0;
}

static int check_asker(const struct hand_over *hand, const struct call *call,
                       const struct hand_over_target *target, struct err *err)
{
    struct ucred peer;

    if (hand->is_under_way || hand->is_keeping || hand->is_sending) {
        return err_say(err, -EBUSY, "another process is just being handed all disks");
    }
    if (target->version != GIVEN_VERSION) {
        return err_say(err, -EPROTONOSUPPORT,
                       "disks are handed over in version %d, and version %d is asked for: restart "
                       "the daemon instead",
                       GIVEN_VERSION, (int)target->version);
    }
    if (hand->opts.daemon->has_user) {
        return err_say(err, -ENOTSUP,
                       "with --user disks cannot be handed over: restart the daemon instead");
    }
    if (!call->client || client_peer(call->client, &peer) < 0) {
        return err_say(err, -EPIPE, "whoever asked has gone");
    }
    if (peer.uid != geteuid()) {
        return err_say(err, -EPERM,
                       "this vblkd runs as user %u, and the new one as user %u: upgrade it as that "
                       "user",
                       (unsigned)geteuid(), (unsigned)peer.uid);
    }
    return refuse_busy(hand->opts.registry, err);
}

static size_t disks_of(const struct registry *registry)
{
    size_t count = 0;

    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        count++;
    }
    return count;
}

void hand_over_begin(struct hand_over *hand, struct call *call,
                     const struct hand_over_target *target)
{
    struct err err = {0};
    struct ucred peer = {0};

    if (check_asker(hand, call, target, &err) < 0) {
        call_refuse(call, &err);
        return;
    }
    hand->freeze = calloc(disks_of(hand->opts.registry) + 1, sizeof(struct plane_freeze *));
    if (!hand->freeze) {
        (void)err_set(&err, -ENOMEM, "daemon.hand_over");
        call_refuse(call, &err);
        return;
    }
    (void)client_peer(call->client, &peer);
    hand->call = call;
    hand->client = call->client;
    hand->heir = peer.pid;
    hand->err = (struct err){0};
    hand->is_under_way = true;
    hand->opts.registry->is_frozen = true;
    control_hold(hand->opts.control, true);
    log_info("daemon: process %d asks for all disks", (int)hand->heir);
    freeze_all(hand, (uint32_t)target->timeout_ms);
}

void hand_over_client_gone(struct hand_over *hand, const struct client *client)
{
    if (hand->client == client) {
        hand->client = NULL;
        if (hand->err.code == 0) {
            (void)err_say(&hand->err, -EPIPE, "it has gone");
        }
    }
}

void hand_over_init(struct hand_over *hand, const struct hand_over_opts *opts)
{
    *hand = (struct hand_over){.opts = *opts, .sock = -1, .cwd = -1};
}

void hand_over_cancel(struct hand_over *hand, const char *why)
{
    if (hand->is_under_way && hand->err.code == 0) {
        (void)err_say(&hand->err, -ECANCELED, "%s", why);
    }
}

bool hand_over_is_under_way(const struct hand_over *hand)
{
    return hand->is_under_way;
}
