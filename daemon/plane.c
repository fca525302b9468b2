/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/limits.h"
#include "daemon/plane_image.h"
#include "daemon/plane_move.h"
#include "daemon/plane_set.h"
#include "daemon/plane_wait.h"

/* ---- open ---- */

static void run_gone(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, gone_message);

    plane->gone(plane);
}

/* Sent before the removers' answers: the name is free when they are told. */
static void tell_gone(struct plane *plane)
{
    plane->state = PLANE_GONE;
    plane->gone_message.run = run_gone;
    mailbox_send(plane->worker.control, &plane->gone_message);
}

static void on_open_undone(struct device *dev)
{
    struct plane *plane = containerof(dev, struct plane, dev);

    tell_gone(plane);
    plane_reply(plane, plane->opening);
}

static void open_failed(struct plane *plane, struct plane_request *request)
{
    if (plane->state == PLANE_OPENING) {
        tell_gone(plane);
        plane_reply(plane, request);
        return;
    }
    plane->state = PLANE_OPENING;
    plane->opening = request;
    device_close(&plane->dev, on_open_undone);
}

static void set_running(struct plane *plane)
{
    plane->state = PLANE_RUNNING;
    plane->reason[0] = '\0';
    device_resume(&plane->dev, PAUSE_ADMIN);
    log_info("%s: running, %" PRIu64 " bytes, front-ends connect to %s", plane->opts.name,
             plane->dev.blk.opts.capacity, plane->opts.socket_path);
}

static void set_failed(struct plane *plane, const struct err *err)
{
    plane->state = PLANE_FAILED;
    (void)snprintf(plane->reason, sizeof(plane->reason), "%s", err->text);
    log_error("%s: %s", plane->opts.name, err->text);
}

/* At the start of the daemon nobody waits for an answer: log all of it. */
static void restore_failed(struct plane *plane, struct err *err)
{
    limits_hint(err);
    set_failed(plane, err);
}

/* A disk of the state file exists, whatever has become of its image or socket. */
static int restore(struct plane *plane, struct err *err)
{
    struct err why = {0};

    if (plane_init_device(plane, NULL, err) < 0) {
        return err->code;
    }
    if (plane_listen(plane, &why) < 0) {
        restore_failed(plane, &why);
    } else if (plane->opts.is_stopped) {
        log_info("%s: stopped, as it was", plane->opts.name);
    } else if (plane_open_image(plane, &why) < 0) {
        restore_failed(plane, &why);
    } else {
        set_running(plane);
    }
    return 0;
}

static void run_open(struct plane *plane, struct plane_request *request)
{
    int ret;

    (void)uv_timer_init(&plane->worker.loop, &plane->timer); /* cannot fail */
    if (plane->opts.is_restored) {
        ret = restore(plane, &request->err);
    } else {
        ret = plane_open_new(plane, &request->err);
        if (ret == 0) {
            set_running(plane);
        }
    }
    if (ret < 0) {
        open_failed(plane, request);
        return;
    }
    plane_reply(plane, request);
}

/* ---- start ---- */

static int start(struct plane *plane, struct err *err)
{
    int ret = plane->vu ? 0 : plane_listen(plane, err);

    if (ret == 0) {
        ret = plane_open_image(plane, err);
    }
    if (ret < 0) {
        if (plane->state == PLANE_FAILED) {
            set_failed(plane, err);
        }
        return ret;
    }
    if (ret == 1) {
        log_info("%s: the image has grown to %" PRIu64 " bytes", plane->opts.name,
                 plane->dev.blk.opts.capacity);
        vhost_user_config_changed(plane->vu);
    }
    set_running(plane);
    return 0;
}

/* The drain has not ended: go on as if nobody had asked. */
static void cancel_stop(struct plane *plane)
{
    device_drain_cancel(&plane->dev, &plane->stop_drain);
    set_running(plane);
    plane_wait_end(plane, PLANE_STOP, -ECANCELED, "started again while it was draining");
}

static void run_start(struct plane *plane, struct plane_request *request)
{
    request->has_changed = plane->state != PLANE_RUNNING;
    if (plane->state == PLANE_STOPPING) {
        cancel_stop(plane);
    } else if (plane->state != PLANE_RUNNING) {
        (void)start(plane, &request->err);
    }
    plane_reply(plane, request);
}

/* ---- stop ---- */

static void set_stopped(struct plane *plane)
{
    plane_close_image(plane);
    plane->state = PLANE_STOPPED;
    plane->reason[0] = '\0';
    log_info("%s: stopped, the image is closed", plane->opts.name);
}

static void on_stop_drained(struct drain *drain)
{
    struct plane *plane = containerof(drain, struct plane, stop_drain);

    set_stopped(plane);
    plane_wait_end(plane, PLANE_STOP, 0, NULL);
}

static void run_stop(struct plane *plane, struct plane_request *request)
{
    switch (plane->state) {
    case PLANE_RUNNING:
        plane->state = PLANE_STOPPING;
        plane->stop_drain.done = on_stop_drained;
        plane_wait(plane, request);
        device_pause(&plane->dev, PAUSE_ADMIN, &plane->stop_drain);
        return;
    case PLANE_STOPPING:
        plane_wait(plane, request);
        return;
    case PLANE_FAILED:
        set_stopped(plane);
        request->has_changed = true;
        break;
    default:
        break;
    }
    plane_reply(plane, request);
}

/* ---- remove ---- */

static void on_device_closed(struct device *dev)
{
    struct plane *plane = containerof(dev, struct plane, dev);

    log_info("%s: closed", plane->opts.name);
    tell_gone(plane);
    plane_wait_end(plane, PLANE_REMOVE, 0, NULL);
}

static void on_transport_stopped(void *arg)
{
    struct plane *plane = arg;

    plane->vu = NULL;
    if (plane->undo) {
        plane_unmake_image(plane); /* before somebody else can lock it */
    }
    plane_close_image(plane);
    device_close(&plane->dev, on_device_closed);
}

static void on_remove_drained(struct drain *drain)
{
    struct plane *plane = containerof(drain, struct plane, remove_drain);

    if (plane->vu) {
        vhost_user_stop(plane->vu, on_transport_stopped, plane);
    } else {
        on_transport_stopped(plane);
    }
}

static void begin_remove(struct plane *plane)
{
    device_drain_cancel(&plane->dev, &plane->stop_drain);
    plane->state = PLANE_REMOVING;
    plane_wait_end(plane, PLANE_STOP, -ECANCELED, "the disk is being removed");
    plane_move_cancel(plane);
    plane_wait_end(plane, PLANE_SET, -ECANCELED, "the disk is being removed");
    if (plane->vu) {
        vhost_user_unlisten(plane->vu);
    }
    plane->remove_drain.done = on_remove_drained;
    device_pause(&plane->dev, PAUSE_EXIT, &plane->remove_drain);
}

static bool refuse_while_in_use(struct plane *plane, struct plane_request *request)
{
    struct vhost_user_peer peer;

    if (request->force || !plane->vu || !vhost_user_peer(plane->vu, &peer)) {
        return false;
    }
    (void)err_say(&request->err, -EBUSY, "%s: in use by %s (pid %d); end that, or remove by force",
                  plane->opts.name, peer.comm[0] ? peer.comm : "a process", (int)peer.pid);
    return true;
}

static void run_remove(struct plane *plane, struct plane_request *request)
{
    if (plane->state == PLANE_REMOVING) {
        plane_wait(plane, request);
        return;
    }
    if (refuse_while_in_use(plane, request)) {
        plane_reply(plane, request);
        return;
    }
    plane->undo = request->undo;
    begin_remove(plane);
    plane_wait(plane, request);
}

/* ---- requests ---- */

static void run_info(struct plane *plane, struct plane_request *request)
{
    plane_reply(plane, request);
}

static void run_set(struct plane *plane, struct plane_request *request)
{
    if (plane_set_moves(plane, &request->change)) {
        plane_move(plane, request);
        return;
    }
    (void)plane_set(plane, &request->change, &request->has_changed, &request->err);
    plane_reply(plane, request);
}

static void (*const run_verb[])(struct plane *, struct plane_request *) = {
    [PLANE_OPEN] = run_open, [PLANE_INFO] = run_info,     [PLANE_START] = run_start,
    [PLANE_STOP] = run_stop, [PLANE_REMOVE] = run_remove, [PLANE_SET] = run_set,
};

/* A disk whose open failed is closing its handles, or gone: requests may still be on their way. */
static const char *why_not(const struct plane *plane, enum plane_verb verb)
{
    if (plane->state == PLANE_GONE || (plane->state == PLANE_OPENING && verb != PLANE_OPEN)) {
        return "no such disk any more";
    }
    if (plane->state == PLANE_REMOVING && verb != PLANE_INFO && verb != PLANE_REMOVE) {
        return "the disk is being removed";
    }
    return NULL;
}

static void run_request(struct message *message)
{
    struct plane_request *request = containerof(message, struct plane_request, message);
    struct plane *plane = request->plane;
    const char *refusal = why_not(plane, request->verb);

    assert(worker_is_current(&plane->worker));
    if (refusal) {
        (void)err_say(&request->err, plane->state == PLANE_REMOVING ? -EBUSY : -ENODEV, "%s: %s",
                      plane->opts.name, refusal);
        plane_reply(plane, request);
        return;
    }
    run_verb[request->verb](plane, request);
}

static void run_end(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, end_message);

    assert(plane->state == PLANE_GONE && !plane->waiting);
    uv_close((uv_handle_t *)&plane->timer, NULL);
    worker_leave(&plane->worker);
}

/* ---- the control thread's side ---- */

static void on_ended(struct worker *worker)
{
    struct plane *plane = containerof(worker, struct plane, worker);

    plane->ended(plane);
}

int plane_start(struct plane *plane, const struct plane_opts *opts, struct mailbox *control,
                void (*gone)(struct plane *plane), void (*ended)(struct plane *plane),
                struct err *err)
{
    plane->opts = *opts;
    plane->settings = opts->settings;
    plane->state = PLANE_OPENING;
    plane->gone = gone;
    plane->ended = ended;
    return worker_start(&plane->worker, opts->name, control, on_ended, err);
}

void plane_send(struct plane *plane, struct plane_request *request)
{
    request->plane = plane;
    request->err.code = 0;
    request->message.run = run_request;
    mailbox_send(&plane->worker.mailbox, &request->message);
}

void plane_end(struct plane *plane)
{
    plane->end_message.run = run_end;
    mailbox_send(&plane->worker.mailbox, &plane->end_message);
}

const char *plane_state_name(enum plane_state state)
{
    static const char *const name[] = {
        [PLANE_OPENING] = "opening", [PLANE_RUNNING] = "running", [PLANE_STOPPING] = "stopping",
        [PLANE_STOPPED] = "stopped", [PLANE_FAILED] = "failed",   [PLANE_REMOVING] = "removing",
        [PLANE_GONE] = "gone",
    };

    return name[state];
}
