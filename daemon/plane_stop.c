/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_retry.h"
#include "daemon/plane_stop.h"

#include <errno.h>

#include "core/base/log.h"
#include "daemon/plane_await.h"
#include "daemon/plane_close.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_keep.h"
#include "daemon/plane_late.h"
#include "daemon/plane_medium.h"
#include "daemon/plane_opening.h"
#include "daemon/plane_resumed.h"
#include "daemon/plane_state.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"

void plane_stop_cancel(struct plane *plane)
{
    device_drain_cancel(plane->dev, &plane->stop_drain);
    plane_sync_cancel(plane);
    plane_keep_forget(plane);
    plane->is_handover = false;
    plane_state_running(plane);
    plane_wait_end(plane, PLANE_STOP, -ECANCELED, "started again while it was draining");
}

static void on_stop_closed(struct plane *plane)
{
    if (plane->is_handover) {
        plane->is_handover = false;
        plane_await_begin(plane);
    } else {
        plane_state_stopped(plane);
    }
    plane_wait_done(plane, PLANE_STOP);
    plane_opening_closed(plane);
}

/* Control knows it as handed over: it is to know that it is not. */
static void on_stop_kept(struct plane *plane)
{
    if (plane->is_handover && plane_await_has_guest(plane)) {
        plane_stop_cancel(plane);
        plane_resumed_tell(plane);
        return;
    }
    plane_close_attached(plane, false, on_stop_closed);
}

/*
 * A guest that was answered what is lost by now would go on elsewhere and never hear of it: here
 * all its flushes fail.  Who stops the disk is told.
 */
static bool refuse_loss(struct plane *plane)
{
    if (!plane->is_handover || plane->loss.code == 0) {
        return false;
    }
    plane->sync.failed = plane->loss;
    log_error("%s: not handed over, as what its guest has written may be lost; stop hands it over "
              "all the same",
              plane->opts.name);
    return true;
}

static void on_stop_synced(struct plane *plane)
{
    if (refuse_loss(plane) || plane_fate_refuse_stop(plane)) {
        plane->is_handover = false;
        plane_state_running(plane);
        plane_resumed_tell(plane);
    } else if (plane->is_handover) {
        plane_keep(plane, on_stop_kept);
    } else {
        plane_close_attached(plane, false, on_stop_closed);
    }
}

static void on_stop_drained(struct drain *drain)
{
    struct plane *plane = containerof(drain, struct plane, stop_drain);

    plane_sync(plane, PAUSE_ADMIN, on_stop_synced);
}

static void enter_stopping(struct plane *plane, bool force)
{
    plane->state = PLANE_STOPPING;
    plane->is_stop_forced = force;
    plane->is_stop_told = false;
}

static void begin_stop(struct plane *plane)
{
    plane_medium_drop(plane, -ECANCELED, "stopped before it had the other image");
    plane->stop_drain = (struct drain){.done = on_stop_drained, .own_below = LANES_MAX};
    device_pause(plane->dev, PAUSE_ADMIN, &plane->stop_drain);
}

void plane_stop_to_hand_over(struct plane *plane)
{
    log_info("%s: its guest has been migrated, the image is handed over", plane->opts.name);
    plane->is_handover = true;
    enter_stopping(plane, false);
    begin_stop(plane);
}

/* Whoever wants it stopped wants it for longer. */
static void join_stop(struct plane *plane, struct plane_request *request)
{
    plane->is_handover = false;
    plane->is_stop_forced |= request->force;
    plane_wait(plane, request, plane_late_answer);
}

/* It is no different from one that runs, but that nothing is in flight. */
static void stop_opening(struct plane *plane, struct plane_request *request)
{
    enter_stopping(plane, request->force);
    plane_wait(plane, request, plane_late_answer);
    plane_close_attached(plane, false, on_stop_closed);
}

static void stop_running(struct plane *plane, struct plane_request *request)
{
    if (plane_fate_refuse(plane, request)) {
        return;
    }
    enter_stopping(plane, request->force);
    plane_wait(plane, request, plane_late_answer);
    begin_stop(plane);
}

void plane_stop(struct plane *plane, struct plane_request *request)
{
    bool was_opening = plane->image_opening != NULL;

    if (plane_opening_refuse(plane, request)) {
        return;
    }
    plane_await_end(plane);
    plane_retry_end(plane);
    plane_opening_drop(plane, "stopped before its image was open");
    if (was_opening) {
        stop_opening(plane, request);
        return;
    }
    switch (plane->state) {
    case PLANE_RUNNING:
        stop_running(plane, request);
        return;
    case PLANE_STOPPING:
        join_stop(plane, request);
        return;
    case PLANE_WAITING:
    case PLANE_FAILED:
        plane_state_stopped(plane);
        request->has_changed = true;
        break;
    default:
        break;
    }
    plane_reply(plane, request);
}
