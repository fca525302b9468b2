/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_thread.h"

#include <assert.h>
#include <errno.h>

#include "daemon/plane_add.h"
#include "daemon/plane_await.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_freeze.h"
#include "daemon/plane_take.h"
#include "daemon/plane_image.h"
#include "daemon/plane_life.h"
#include "daemon/plane_medium.h"
#include "daemon/plane_move.h"
#include "daemon/plane_notice.h"
#include "daemon/plane_resize.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_set.h"
#include "daemon/plane_socket.h"
#include "daemon/plane_stop.h"
#include "daemon/plane_wait.h"

/* ---- requests ---- */

static void run_info(struct plane *plane, struct plane_request *request)
{
    plane_reply(plane, request);
}

static void run_look(struct plane *plane, struct plane_request *request)
{
    (void)plane_look_at_socket(plane, &request->err);
    plane_reply(plane, request);
}

static void run_hurry(struct plane *plane, struct plane_request *request)
{
    plane_add_hurry(plane, request);
}

static void run_set(struct plane *plane, struct plane_request *request)
{
    unsigned lanes;

    if (plane_set_moves(plane, &request->change, &lanes)) {
        plane_move(plane, request, lanes);
        return;
    }
    (void)plane_set(plane, &request->change, &request->has_changed, &request->err);
    plane_reply(plane, request);
}

static void (*const run_verb[])(struct plane *, struct plane_request *) = {
    [PLANE_OPEN] = plane_life_open,       [PLANE_INFO] = run_info,
    [PLANE_START] = plane_life_start,     [PLANE_STOP] = plane_stop,
    [PLANE_REMOVE] = plane_life_remove,   [PLANE_SET] = run_set,
    [PLANE_MEDIUM] = plane_medium_change, [PLANE_LOOK] = run_look,
    [PLANE_RESIZE] = plane_resize,        [PLANE_HURRY] = run_hurry,
    [PLANE_FREEZE] = plane_freeze,        [PLANE_THAW] = plane_given_go_on,
};

/* While it is added there is nothing yet that could be changed, nor when that has failed. */
static bool is_for_added(enum plane_verb verb)
{
    return verb == PLANE_START || verb == PLANE_STOP || verb == PLANE_SET || verb == PLANE_RESIZE ||
           verb == PLANE_LOOK || verb == PLANE_MEDIUM || verb == PLANE_FREEZE;
}

static int refuse_request(const struct plane *plane, enum plane_verb verb, struct err *err)
{
    const char *name = plane->opts.name;

    if (plane->state == PLANE_GONE) { /* requests may still be on their way */
        return err_say(err, -ENODEV, "%s: no such disk any more", name);
    }
    if (plane->state == PLANE_OPENING && is_for_added(verb)) {
        return err_say(err, -EBUSY, "%s: it %s", name,
                       plane_add_is_under_way(plane)
                           ? "is being added, and its image is not open yet"
                           : "was not added, and its image is being closed");
    }
    if (plane->state == PLANE_REMOVING && verb != PLANE_INFO && verb != PLANE_REMOVE) {
        return plane->is_exit ? err_say(err, -ESHUTDOWN, "%s: the daemon is ending", name)
                              : err_say(err, -EBUSY, "%s: the disk is being removed", name);
    }
    return 0;
}

static void run_asked(struct plane *plane, struct plane_request *request)
{
    struct plane_freeze *freeze = request->freeze;

    if (refuse_request(plane, request->verb, &request->err) < 0) {
        plane_reply(plane, request);
        if (freeze) {
            plane_freeze_refused(freeze);
        }
    } else {
        run_verb[request->verb](plane, request);
    }
}

/* Before the look at the image, which may take as long as the client waits. */
static bool refuse_unseen(struct plane *plane, struct plane_request *request)
{
    return request->verb == PLANE_REMOVE && plane->state != PLANE_REMOVING &&
           plane_life_refuse_used(plane, request);
}

static void run_request(struct message *message)
{
    struct plane_request *request = containerof(message, struct plane_request, message);
    struct plane *plane = request->plane;

    assert(worker_is_current(&plane->worker));
    if (refuse_unseen(plane, request)) {
        plane_reply(plane, request);
    } else if (!plane_fate_first(plane, request, run_asked)) {
        run_asked(plane, request);
    }
}

static void run_end(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, end_message);

    assert(plane->state == PLANE_GONE && !plane->waiting);
    uv_close((uv_handle_t *)&plane->timer, NULL);
    uv_close((uv_handle_t *)&plane->freeze_timer, NULL);
    plane_await_close(plane);
    plane_retry_close(plane);
    plane_notice_close(plane);
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
                void (*resumed)(struct plane *plane), struct err *err)
{
    plane->opts = *opts;
    plane_image_name(plane, opts->image.path);
    plane->settings = opts->settings;
    plane->image_id = opts->image_id;
    plane->state = PLANE_OPENING;
    plane->gone = gone;
    plane->ended = ended;
    plane->resumed = resumed;
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
