/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_take.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/disk_counters.h"
#include "daemon/plane_await.h"
#include "daemon/plane_image.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_wait.h"

static int take_socket(struct plane *plane, struct plane_given *given, struct err *err)
{
    int ret = given->vu.listener.fd >= 0 ? plane_listen(plane, err) : 0;

    if (ret == 0 && given->vu.fd >= 0) {
        ret = vhost_user_take(plane->vu, &given->vu, err);
    }
    return ret;
}

/* As it was there. */
static int enter_state(struct plane *plane, const struct plane_given *given,
                       image_opened *on_opened, struct err *err)
{
    switch (given->state) {
    case PLANE_RUNNING:
        return plane_begin_image(plane, on_opened, err);
    case PLANE_WAITING:
        plane_await_begin(plane);
        return 0;
    case PLANE_FAILED:
        plane->state = PLANE_FAILED;
        (void)snprintf(plane->reason, sizeof(plane->reason), "%s", given->reason);
        if (given->retries) {
            plane_retry_after(plane, &(struct err){.code = -ENOENT});
        }
        return 0;
    default:
        return 0; /* it is stopped */
    }
}

/* In place of those of its row, which they began with there. */
static void count_on(struct plane *plane, const struct plane_given *given)
{
    struct stats past;

    disk_counters_keep(&past, &given->stats);
    device_count_from(plane->dev, &past);
}

bool plane_given_begin(struct plane *plane, image_opened *on_opened)
{
    struct plane_given *given = plane->opts.given;

    device_pause(plane->dev, PAUSE_UPGRADE, NULL);
    count_on(plane, given);
    if (take_socket(plane, given, &given->err) == 0 &&
        enter_state(plane, given, on_opened, &given->err) == 0) {
        given->is_ready = !plane->image_opening;
    }
    return plane->image_opening != NULL;
}

/* A connection that cannot go on has ended, as that of a front-end that does something wrong. */
void plane_given_go_on(struct plane *plane, struct plane_request *request)
{
    struct plane_given *given = plane->opts.given;

    if (plane->vu) {
        (void)vhost_user_take_rings(plane->vu, &given->vu, &request->err);
    }
    plane->opts.given = NULL;
    device_resume(plane->dev, PAUSE_UPGRADE);
    plane_reply(plane, request);
}
