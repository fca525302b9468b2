/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_freeze.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>

#include "core/block/image.h"
#include "daemon/plane_close.h"
#include "daemon/plane_late.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_wait.h"

/* Between two looks whether all is at rest. */
#define LOOK_MS 1

struct plane_freeze *plane_freeze_new(void)
{
    struct plane_freeze *freeze = calloc(1, sizeof(*freeze));

    if (freeze && uv_sem_init(&freeze->thaw, 0) < 0) {
        free(freeze);
        return NULL;
    }
    if (freeze) {
        freeze->holders = 2;
        plane_given_init(&freeze->given);
    }
    return freeze;
}

static void put_freeze(struct plane_freeze *freeze)
{
    if (atomic_fetch_sub_explicit(&freeze->holders, 1, memory_order_acq_rel) == 1) {
        plane_given_fini(&freeze->given, false);
        uv_sem_destroy(&freeze->thaw);
        free(freeze);
    }
}

void plane_freeze_let_go(struct plane_freeze *freeze)
{
    uv_sem_post(&freeze->thaw);
    put_freeze(freeze);
}

/* ---- the disk's thread ---- */

void plane_freeze_refused(struct plane_freeze *freeze)
{
    put_freeze(freeze);
}

static bool waits_for_others(const struct plane *plane)
{
    for (const struct plane_request *request = plane->waiting; request; request = request->next) {
        if (request != plane->freezing) {
            return true;
        }
    }
    return false;
}

/* What it is at, that cannot be handed over half done; NULL: nothing. */
static const char *work_of(const struct plane *plane)
{
    if (plane->state == PLANE_STOPPING || plane->state == PLANE_OPENING ||
        plane->state == PLANE_REMOVING) {
        return "it is between two states";
    }
    if (plane->image_opening || plane_is_closing(plane) || plane->start.phase != PLANE_START_NONE) {
        return "its image is being opened, or closed";
    }
    if (plane->medium.phase != MEDIUM_NONE || plane->resize.phase != PLANE_RESIZE_NONE ||
        plane->moving) {
        return "a change of it is under way";
    }
    if (plane->cache.is_busy || plane->keep.is_busy || plane->again.is_busy) {
        return "what has become of it is being written to the state file";
    }
    if (waits_for_others(plane)) {
        return "somebody else waits for it";
    }
    return plane->vu ? vhost_user_work(plane->vu) : NULL;
}

static void go_on(struct plane *plane)
{
    (void)uv_timer_stop(&plane->freeze_timer);
    device_drain_cancel(plane->dev, &plane->freeze_drain);
    plane->freezing = NULL;
    if (plane->vu) {
        vhost_user_hold(plane->vu, false);
    }
    device_resume(plane->dev, PAUSE_UPGRADE);
}

static int fill_given(struct plane *plane, struct plane_given *given, struct err *err)
{
    const struct image *image = device_image(plane->dev);
    struct err why = {0};

    (void)snprintf(given->name, sizeof(given->name), "%s", plane->opts.name);
    given->state = plane->state;
    (void)snprintf(given->reason, sizeof(given->reason), "%s", plane->reason);
    given->retries = plane->state == PLANE_FAILED && plane_retry_is_due(plane);
    given->paused_ns = plane->freeze_begun_ns;
    device_stats(plane->dev, &given->stats);
    if (image) {
        image_give(image, &given->image);
    }
    if (!plane->vu || vhost_user_give(plane->vu, &given->vu, &why) == 0) {
        return 0;
    }
    return err_say(err, why.code, "%s: %s", plane->opts.name, why.text);
}

/* Its other threads as well: nobody looks at a ring any more. */
static void stand_still(struct plane *plane, struct plane_freeze *freeze)
{
    device_park(plane->dev);
    uv_sem_wait(&freeze->thaw);
    device_unpark(plane->dev);
}

static void freeze_now(struct plane *plane)
{
    struct plane_request *request = plane->freezing;
    struct plane_freeze *freeze = request->freeze;
    bool is_given = fill_given(plane, &freeze->given, &request->err) == 0;

    (void)uv_timer_stop(&plane->freeze_timer);
    plane_wait_answer(plane, request);
    if (is_given) {
        stand_still(plane, freeze);
    }
    go_on(plane);
    put_freeze(freeze);
}

static void on_look(uv_timer_t *timer)
{
    struct plane *plane = containerof(timer, struct plane, freeze_timer);

    if (plane->is_freeze_drained && !work_of(plane)) {
        freeze_now(plane);
    }
}

static void on_drained(struct drain *drain)
{
    containerof(drain, struct plane, freeze_drain)->is_freeze_drained = true;
}

static void say_late(struct plane *plane, struct plane_request *request)
{
    const char *work = plane->is_freeze_drained ? work_of(plane) : NULL;

    if (work) {
        (void)err_say(&request->err, -EBUSY, "%s: %s", plane->opts.name, work);
    } else {
        plane_late_say(plane, request);
    }
}

static void on_freeze_late(struct plane *plane, struct plane_request *request)
{
    struct plane_freeze *freeze = request->freeze;

    say_late(plane, request);
    go_on(plane);
    plane_reply(plane, request);
    put_freeze(freeze);
}

void plane_freeze(struct plane *plane, struct plane_request *request)
{
    plane->freezing = request;
    plane->is_freeze_drained = false;
    plane->freeze_begun_ns = now_ns();
    if (plane->vu) {
        vhost_user_hold(plane->vu, true);
    }
    plane->freeze_drain = (struct drain){.done = on_drained, .own_below = LANES_MAX};
    plane_wait(plane, request, on_freeze_late);
    (void)uv_timer_start(&plane->freeze_timer, on_look, 0, LOOK_MS); /* it is open */
    device_pause(plane->dev, PAUSE_UPGRADE, &plane->freeze_drain);
}
