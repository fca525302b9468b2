/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "core/base/ringer.h"
#include "daemon/control.h"
#include "daemon/hand_over.h"
#include "daemon/let_go.h"
#include "daemon/methods.h"
#include "daemon/methods_shutdown.h"
#include "daemon/notify.h"
#include "daemon/paths.h"
#include "daemon/predecessor.h"
#include "daemon/protocol.h"
#include "daemon/registry_life.h"
#include "daemon/signals.h"
#include "daemon/socket_dir.h"
#include "daemon/state.h"
#include "daemon/take_over.h"
#include "daemon/take_over_disks.h"
#include "daemon/worker.h"
#include "transports/unix_socket.h"

/* The disks have PROTOCOL_SHUTDOWN_MS; past this something else hangs. */
#define LAST_RESORT_MS (PROTOCOL_SHUTDOWN_MS + 2 * PROTOCOL_GRACE_MS)

/* How often is looked for threads that a front-end keeps waiting. */
#define RINGERS_MS 1000

struct daemon {
    const struct daemon_opts *opts;
    uv_loop_t loop;
    struct mailbox mailbox;
    struct signals signals;
    uv_timer_t last_resort;
    uv_timer_t ringers; /* looks for threads that a front-end keeps waiting */
    struct notify notify;
    struct unix_listener listener;
    struct state *state;
    struct registry registry;
    struct control control;
    struct methods methods;
    struct hand_over hand;
    bool is_taking;  /* disks that are to come are another process's still */
    bool is_thawing; /* disks that came have yet to go on here */
    bool ends_then;  /* when they have, or stay: the daemon ends */
    bool has_control;
    bool is_ending;
    struct err lost; /* at its end, code 0: nothing */
    int status;
};

/* Threads may be stuck: nothing of theirs can be waited for or freed. */
__attribute__((noreturn)) static void give_up(const struct daemon *daemon, const char *why)
{
    log_error("daemon: %s, ending without waiting any longer", why);
    (void)log_stop(LOG_STOP_MS);
    let_go(daemon->state);
    _exit(1);
}

/* It goes on with its disks, and this one has touched nothing of them. */
__attribute__((noreturn)) static void leave_disks(const struct daemon *daemon,
                                                  const struct err *err)
{
    take_over_failed(daemon->opts->take_over, err);
    log_error("daemon: nothing was taken over: %s", err->text);
    (void)log_stop(LOG_STOP_MS);
    _exit(EXIT_FAILURE);
}

/* ---- the orderly end, step by step ---- */

static void on_control_finished(void *arg)
{
    struct daemon *daemon = arg;

    mailbox_close(&daemon->mailbox);
    uv_close((uv_handle_t *)&daemon->last_resort, NULL);
    uv_close((uv_handle_t *)&daemon->ringers, NULL);
    signals_close(&daemon->signals);
    notify_close(&daemon->notify);
}

static void on_state_stopped(void *arg)
{
    struct daemon *daemon = arg;

    daemon->state = NULL; /* freed */
    if (daemon->registry.has_lost) {
        (void)err_say(&daemon->lost, -EIO,
                      "what was written to some disks may be lost, see its log");
    }
    if (daemon->has_control) {
        shutdown_tell(&daemon->control, &daemon->registry, &daemon->lost);
    }
    registry_fini(&daemon->registry);
    if (daemon->has_control) {
        control_finish(&daemon->control, on_control_finished);
    } else {
        on_control_finished(daemon);
    }
}

static void on_disks_stopped(void *arg, bool is_clean)
{
    struct daemon *daemon = arg;
    struct err err = {0};

    if (keeper_lost(&daemon->registry.keeper, &err) < 0) {
        daemon->status = EXIT_FAILURE;
        (void)err_say(&daemon->lost, err.code, "what was changed last is lost: %s", err.text);
        log_error("daemon: %s", daemon->lost.text);
    }
    if (!is_clean) {
        give_up(daemon, "not all disks could be drained");
    }
    state_stop(daemon->state, on_state_stopped, daemon);
}

static void on_ringers(uv_timer_t *timer)
{
    (void)ringers_watch();
}

static void on_last_resort(uv_timer_t *timer)
{
    const struct daemon *daemon = containerof(timer, struct daemon, last_resort);

    give_up(daemon, "something does not end");
}

static void end_daemon(void *arg)
{
    struct daemon *daemon = arg;
    struct err err = {0};

    if (daemon->is_ending) {
        return;
    }
    if (daemon->is_taking) {
        (void)err_say(&err, -ECANCELED, "it was told to end");
        leave_disks(daemon, &err);
    }
    if (daemon->is_thawing || hand_over_is_under_way(&daemon->hand)) {
        daemon->ends_then = true;
        hand_over_cancel(&daemon->hand, "the daemon was told to end");
        return;
    }
    daemon->is_ending = true;
    notify_manager(&daemon->notify, "STOPPING=1");
    log_info("daemon: ending, draining all disks");
    if (daemon->has_control) {
        control_unlisten(&daemon->control);
    }
    unix_unlisten(&daemon->listener);
    (void)uv_timer_start(&daemon->last_resort, on_last_resort, LAST_RESORT_MS, 0);
    registry_stop(&daemon->registry, on_disks_stopped, daemon);
}

static void hurry(void *arg)
{
    give_up(arg, "told to end for the second time");
}

/* ---- the start ---- */

static void on_line(struct client *client, const char *line, size_t len, void *arg)
{
    struct daemon *daemon = arg;

    call_line(client, line, len, methods_run, &daemon->methods);
}

static void on_gone(struct client *client)
{
    const struct daemon *daemon = client->control->opts.arg;

    hand_over_client_gone((struct hand_over *)&daemon->hand, client);
    call_forget_client(client);
}

/* From now on the first answer may be given. */
static void open_control(struct daemon *daemon)
{
    struct control_opts opts = {
        .loop = &daemon->loop,
        .listener = &daemon->listener,
        .line = on_line,
        .gone = on_gone,
        .admission = &daemon->opts->admission,
        .arg = daemon,
    };
    struct err err = {0};

    if (control_start(&daemon->control, &opts, &err) < 0) {
        give_up(daemon, err.text);
    }
    daemon->has_control = true;
    log_info("daemon: ready, control socket %s", daemon->opts->control_path);
    notify_manager(&daemon->notify, "READY=1");
}

/* ---- disks from another process ---- */

/* All that came goes on here. */
static void on_thawed(void *arg)
{
    struct daemon *daemon = arg;

    daemon->is_thawing = false;
    daemon->registry.opts.given_count = 0;
    if (daemon->ends_then) {
        end_daemon(daemon);
    }
}

static void take_disks(struct daemon *daemon)
{
    struct err err = {0};

    if (take_over_commit(daemon->opts->take_over, &err) < 0) {
        leave_disks(daemon, &err);
    }
    daemon->is_taking = false;
    daemon->is_thawing = true;
    take_over_thaw(daemon->opts->take_over, &daemon->registry, on_thawed, daemon);
    state_note_holder(daemon->state);
    keeper_change(&daemon->registry.keeper); /* the other one may not have got that far */
    keeper_soon(&daemon->registry.keeper);
}

/* All disks are there. */
static void on_restored(void *arg)
{
    struct daemon *daemon = arg;

    if (daemon->is_ending) {
        return;
    }
    if (daemon->opts->take_over) {
        take_disks(daemon);
    }
    open_control(daemon);
}

/* ---- disks to another process ---- */

static void on_hand_over(void *arg, struct call *call, const void *target)
{
    struct daemon *daemon = arg;

    hand_over_begin(&daemon->hand, call, target);
}

static void on_stayed(void *arg)
{
    struct daemon *daemon = arg;

    if (daemon->ends_then) {
        end_daemon(daemon);
    }
}

static void init_hand_over(struct daemon *daemon)
{
    const struct hand_over_opts opts = {
        .daemon = daemon->opts,
        .registry = &daemon->registry,
        .control = &daemon->control,
        .listener = &daemon->listener,
        .state = daemon->state,
        .mailbox = &daemon->mailbox,
        .stayed = on_stayed,
        .arg = daemon,
    };

    hand_over_init(&daemon->hand, &opts);
    daemon->methods.hand_over = on_hand_over;
}

/* Then everybody can reach the control socket, and each is looked at there. */
static bool has_others(const struct daemon_opts *opts)
{
    return opts->admission.count > 0;
}

/* The first may be the second's, too. */
static int make_dirs(const struct daemon_opts *opts, struct err *err)
{
    int ret = paths_make_dir(opts->socket_dir, SOCKET_DIR_MODE, err);

    if (ret == 0) {
        ret = paths_make_parent(opts->control_path, has_others(opts) ? SOCKET_DIR_MODE : 0700, err);
    }
    if (ret == 0) {
        ret = paths_make_dir(opts->state_dir, 0700, err);
    }
    return ret;
}

/* Handles that last as long as the loop.  What fails here fails for lack of fds or memory. */
static int init_loop(struct daemon *daemon, struct err *err)
{
    int ret = uv_loop_init(&daemon->loop);

    if (ret == 0) {
        ret = mailbox_init(&daemon->mailbox, &daemon->loop);
    }
    if (ret == 0) {
        ret = uv_timer_init(&daemon->loop, &daemon->last_resort);
    }
    if (ret == 0) {
        ret = uv_timer_init(&daemon->loop, &daemon->ringers);
    }
    if (ret == 0) {
        ret = uv_timer_start(&daemon->ringers, on_ringers, RINGERS_MS, RINGERS_MS);
    }
    if (ret == 0) {
        ret = notify_init(&daemon->notify, &daemon->loop);
    }
    if (ret == 0) {
        ret = signals_init(&daemon->signals, &daemon->loop, end_daemon, hurry, daemon);
    }
    return ret < 0 ? err_set(err, ret, "event loop") : 0;
}

static int init_registry(struct daemon *daemon, struct err *err)
{
    struct registry_opts opts = {
        .loop = &daemon->loop,
        .mailbox = &daemon->mailbox,
        .state = daemon->state,
        .socket_dir = daemon->opts->socket_dir,
        .control_path = daemon->opts->control_path,
        .open_ms = PROTOCOL_OPEN_MS,
    };
    int ret;

    if (daemon->opts->take_over) {
        opts.given = daemon->opts->take_over->disk;
        opts.given_count = daemon->opts->take_over->count;
    }
    init_hand_over(daemon);
    daemon->methods.registry = &daemon->registry;
    daemon->methods.shutdown = end_daemon;
    daemon->methods.arg = daemon;
    daemon->methods.sandbox = daemon->opts->sandbox;
    ret = registry_init(&daemon->registry, &opts);
    return ret < 0 ? err_set(err, ret, "cannot set up the table of disks") : 0;
}

/* The disks that are there may have guests by now: they are drained. */
static int restore_disks(struct daemon *daemon, const struct disk_record *records, size_t count,
                         struct err *err)
{
    int ret = registry_restore(&daemon->registry, records, count, on_restored, daemon, err);

    if (ret == 0 || !daemon->registry.disks || daemon->opts->take_over) {
        return ret;
    }
    log_error("daemon: %s", err->text);
    daemon->status = EXIT_FAILURE;
    end_daemon(daemon);
    return 0;
}

/* From here on there are threads: what fails ends the process at once. */
static int start_disks(struct daemon *daemon, struct err *err)
{
    struct take_over *take = daemon->opts->take_over;
    struct disk_record *records;
    size_t count;
    int ret = take ? take_over_state(take, daemon->opts, &daemon->state, &records, &count, err)
                   : state_read(daemon->state, &records, &count, err);

    if (ret < 0) {
        return ret;
    }
    ret = state_start(daemon->state, &daemon->mailbox, err);
    if (ret == 0) {
        ret = init_registry(daemon, err);
    }
    if (ret == 0) {
        ret = restore_disks(daemon, records, count, err);
    }
    free(records);
    return ret;
}

/* The locks first: a second daemon must not touch anything. */
static int start_daemon(struct daemon *daemon, struct err *err)
{
    const struct daemon_opts *opts = daemon->opts;
    int ret = make_dirs(opts, err);

    if (ret == 0 && predecessor_await(opts->control_path, opts->state_dir) < 0) {
        ret = err_say(err, -ECANCELED, "told to end before it had begun");
    }
    if (ret < 0) {
        return ret;
    }
    ret = unix_listen(&daemon->listener, opts->control_path,
                      SOCKET_OWN(has_others(opts) ? 0666 : 0600), err);
    if (ret < 0) {
        return ret;
    }
    if (daemon->listener.took_over) {
        log_warn(
            "daemon: the one before was killed, or crashed: what it had in flight is tried again "
            "when monitors connect that kept a log of it; others' guests may have to be reset");
    }
    ret = state_open(&daemon->state, opts->state_dir, err);
    if (ret == 0) {
        ret = init_loop(daemon, err);
    }
    if (ret == 0) {
        ret = start_disks(daemon, err);
    }
    if (ret < 0) {
        unix_unlisten(&daemon->listener);
    }
    return ret;
}

/* What it has is the other's still: a failure ends the process, and nothing is undone. */
static int start_taking(struct daemon *daemon, struct err *err)
{
    int ret = init_loop(daemon, err);

    daemon->is_taking = true;
    daemon->listener = daemon->opts->take_over->listener;
    if (ret == 0) {
        ret = start_disks(daemon, err);
    }
    if (ret < 0) {
        leave_disks(daemon, err);
    }
    return ret;
}

int daemon_run(const struct daemon_opts *opts)
{
    static struct daemon daemon; /* of this size it does not belong on a stack */
    struct err err = {0};
    int ret;

    daemon.opts = opts;
    ret = opts->take_over ? start_taking(&daemon, &err) : start_daemon(&daemon, &err);
    if (ret == -ECANCELED) {
        log_info("daemon: %s", err.text);
        return EXIT_SUCCESS;
    }
    if (ret < 0) {
        log_error("daemon: %s", err.text);
        (void)log_stop(LOG_STOP_MS);
        _exit(1); /* threads may have been started: they end with the process */
    }
    (void)uv_run(&daemon.loop, UV_RUN_DEFAULT); /* until every handle is closed */
    (void)uv_loop_close(&daemon.loop);
    if (daemon.registry.has_lost) {
        log_error(
            "daemon: all disks drained, ended; what was written to some may be lost, see above");
        return 1;
    }
    log_info("daemon: all disks drained, ended");
    return daemon.status;
}
