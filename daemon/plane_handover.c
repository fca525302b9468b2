/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_handover.h"

#include "core/block/image.h"
#include "daemon/plane_await.h"
#include "daemon/plane_close.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_notice.h"
#include "daemon/plane_opening.h"
#include "daemon/plane_stop.h"

/* Who only reads it shares it, and what has no file nobody else can have. */
static bool keeps_others_off(const struct plane *plane)
{
    const struct image *image = device_image(plane->dev);

    return image && node_has_file(image->root) && !plane->opts.image.is_readonly;
}

/* A disk that is being stopped, or is removed, closes its image anyway. */
void plane_handover_left(void *arg)
{
    struct plane *plane = arg;

    if (plane->state == PLANE_RUNNING && keeps_others_off(plane)) {
        plane_fate_look(plane);
        plane_stop_to_hand_over(plane);
    }
}

/*
 * The migration has failed, say, and the guest goes on here.  Once it is being told to control, or
 * the image is being closed, that is looked at when it is over.
 */
void plane_handover_came(void *arg)
{
    struct plane *plane = arg;

    plane_notice_begin(plane);
    if (plane->state == PLANE_WAITING) {
        plane_await_end(plane);
        plane_opening_take(plane);
    } else if (plane->state == PLANE_STOPPING && plane->is_handover && !plane->keep.done &&
               !plane_is_closing(plane)) {
        plane_stop_cancel(plane);
    }
}
