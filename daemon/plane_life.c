/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_life.h"

#include <errno.h>

#include "core/base/log.h"
#include "daemon/plane_add.h"
#include "daemon/plane_await.h"
#include "daemon/plane_close.h"
#include "daemon/plane_cpus.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_handover.h"
#include "daemon/plane_keep.h"
#include "daemon/plane_late.h"
#include "daemon/plane_medium.h"
#include "daemon/plane_move.h"
#include "daemon/plane_limits.h"
#include "daemon/plane_notice.h"
#include "daemon/plane_opening.h"
#include "daemon/plane_resize.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_socket.h"
#include "daemon/plane_state.h"
#include "daemon/plane_stop.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"

/* ---- open ---- */

void plane_life_open(struct plane *plane, struct plane_request *request)
{
    (void)uv_timer_init(&plane->worker.loop, &plane->timer); /* cannot fail */
    (void)uv_timer_init(&plane->worker.loop, &plane->freeze_timer);
    plane_cpus_begin(plane);
    plane_await_init(plane, plane_opening_take);
    plane_retry_init(plane, plane_opening_retry);
    plane_notice_init(plane, plane_fate_look);
    plane->guest_came = plane_handover_came;
    plane->guest_left = plane_handover_left;
    if (plane->opts.is_restored) {
        plane_opening_restore(plane, request);
    } else {
        plane_add_open(plane, request);
    }
}

/* ---- start ---- */

void plane_life_start(struct plane *plane, struct plane_request *request)
{
    request->has_changed = plane->state != PLANE_RUNNING;
    if (plane->state == PLANE_STOPPING && !plane_is_closing(plane)) {
        plane_stop_cancel(plane);
    } else if (plane->state != PLANE_RUNNING) {
        if (!plane_medium_refuse_start(plane, request)) {
            plane_opening_start(plane, request);
        }
        return;
    } else {
        request->has_changed = plane_look_at_socket(plane, &request->err) > 0;
    }
    if (plane->state == PLANE_RUNNING) {
        request->has_changed |= device_retry(plane->dev);
    }
    plane_reply(plane, request);
}

/* ---- remove ---- */

/*
 * Who insists waits no longer for a file system.  An image that was never the disk's keeps nobody:
 * nothing was written to it.
 */
static bool may_leave_image(const struct plane *plane, const struct plane_request *request)
{
    return plane->state == PLANE_OPENING || plane->close.opening ||
           (request->force && plane_is_closing(plane));
}

/* What is behind the close is done at once. */
static void on_remove_late(struct plane *plane, struct plane_request *request)
{
    if (!may_leave_image(plane, request)) {
        plane_late_answer(plane, request);
        return;
    }
    request->timeout_ms = PLANE_NO_TIMEOUT;
    plane_wait(plane, request, on_remove_late);
    if (plane_is_closing(plane)) {
        plane_close_leave(plane);
    }
}

/* Nothing can be lost any more: the end of the daemon need not wait for as long as for requests. */
static void hurry_close(struct plane *plane)
{
    if (plane_is_closing(plane)) {
        plane_wait_hurry(plane, now_ns() + PLANE_CLOSE_EXIT_MS * NS_PER_MS);
    }
}

static void on_device_closed(void *arg)
{
    struct plane *plane = arg;

    device_free(plane->dev);
    plane->dev = NULL;
    log_info("%s: closed", plane->opts.name);
    plane_state_gone(plane);
    plane_wait_done(plane, PLANE_REMOVE);
}

static void on_remove_closed(struct plane *plane)
{
    plane_limits_end(plane);
    device_stats(plane->dev, &plane->counters);
    device_close(plane->dev, on_device_closed, plane);
}

static void on_remove_synced(struct plane *plane)
{
    plane_close_attached(plane, plane->undo && plane->opts.image.create, on_remove_closed);
    hurry_close(plane);
}

/* The front-end need not wait for what the disk still has to do. */
static void on_transport_stopped(void *arg)
{
    struct plane *plane = arg;

    plane->vu = NULL;
    if (!device_image(plane->dev)) {
        plane->loss.code = 0; /* it was told when the image was closed */
    }
    plane_sync(plane, PAUSE_EXIT, on_remove_synced);
}

static void on_remove_drained(struct drain *drain)
{
    struct plane *plane = containerof(drain, struct plane, remove_drain);

    if (!plane->is_exit) {
        device_fail_held(plane->dev); /* there is no disk that would try it again */
    }
    if (plane->vu) {
        vhost_user_stop(plane->vu, on_transport_stopped, plane);
    } else {
        on_transport_stopped(plane);
    }
}

/* What was told to go on is in the table. */
static const char *what_cut_off_stop(const struct plane *plane)
{
    if (!plane->is_exit) {
        return "the disk is being removed";
    }
    return plane->is_stop_told ? "the daemon is ending; started again, it leaves the disk stopped"
                               : "the daemon is ending; started again, it runs the disk";
}

/* The same. */
static const char *what_cut_off_start(const struct plane *plane)
{
    if (!plane->is_exit) {
        return "the disk is being removed";
    }
    return plane->start.is_told ? "the daemon is ending; started again, it starts the disk"
                                : "the daemon is ending, the disk was not started";
}

static void begin_remove(struct plane *plane)
{
    device_drain_cancel(plane->dev, &plane->stop_drain);
    plane_sync_cancel(plane);
    plane_keep_forget(plane);
    plane_await_end(plane);
    plane_retry_end(plane);
    plane->is_handover = false;
    plane->state = PLANE_REMOVING;
    plane_wait_end(plane, PLANE_STOP, -ECANCELED, what_cut_off_stop(plane));
    plane_opening_drop(plane, what_cut_off_start(plane));
    plane_close_forget(plane);
    plane_medium_end(plane, -ECANCELED,
                     plane->is_exit ? "the daemon is ending" : "the disk is being removed");
    plane_move_cancel(plane);
    plane_wait_end(plane, PLANE_SET, -ECANCELED,
                   plane->is_exit ? "the daemon is ending, nothing is changed"
                                  : "the disk is being removed");
    plane_resize_cancel(plane);
    plane_wait_end(plane, PLANE_RESIZE, -ECANCELED,
                   plane->is_exit ? "the daemon is ending, and the resize with it"
                                  : "the disk is being removed");
    if (plane->vu) {
        vhost_user_unlisten(plane->vu);
    }
    plane->remove_drain = (struct drain){.done = on_remove_drained, .own_below = LANES_MAX};
    device_pause(plane->dev, PAUSE_EXIT, &plane->remove_drain);
}

static void hint_held(const struct plane *plane, struct err *err)
{
    struct stats stats;

    device_stats(plane->dev, &stats);
    if (stats.held > 0) {
        err_hint(err,
                 "%u of its requests failed and wait: a start tries them again, --force answers "
                 "them with I/O errors",
                 (unsigned)stats.held);
    }
}

bool plane_life_refuse_used(struct plane *plane, struct plane_request *request)
{
    struct vhost_user_peer peer;

    if (request->force || !plane->vu || !vhost_user_peer(plane->vu, &peer)) {
        return false;
    }
    (void)err_say(&request->err, -EBUSY,
                  "%s: in use by %s (pid %d); end that, or remove the disk by --force",
                  plane->opts.name, peer.comm[0] ? peer.comm : "a process", (int)peer.pid);
    hint_held(plane, &request->err);
    return true;
}

void plane_life_remove(struct plane *plane, struct plane_request *request)
{
    if (plane->state == PLANE_OPENING) {
        plane_add_cancel(plane, "it was removed before its image was open");
    }
    if (plane->state == PLANE_OPENING || plane->state == PLANE_REMOVING) {
        plane->undo |= request->undo;
        plane_wait(plane, request, on_remove_late);
        hurry_close(plane);
        return;
    }
    if (plane_fate_refuse(plane, request)) {
        return;
    }
    if (plane_life_refuse_used(plane, request)) {
        plane_reply(plane, request);
        return;
    }
    plane->undo = request->undo;
    plane->is_exit = request->is_exit;
    begin_remove(plane);
    plane_wait(plane, request, on_remove_late);
}
