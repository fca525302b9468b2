/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_notice.h"

#include "core/base/log.h"
#include "core/block/image.h"
#include "daemon/plane_grow.h"
#include "daemon/plane_look.h"
#include "daemon/plane_resumed.h"

void plane_notice_init(struct plane *plane, void (*look)(struct plane *plane))
{
    (void)uv_timer_init(&plane->worker.loop, &plane->notice.timer); /* cannot fail */
    plane->notice.look = look;
}

void plane_notice_close(struct plane *plane)
{
    uv_close((uv_handle_t *)&plane->notice.timer, NULL);
}

static void on_timer(uv_timer_t *timer);

static void arm_timer(struct plane *plane, unsigned wait_ms)
{
    uv_update_time(&plane->worker.loop);
    (void)uv_timer_start(&plane->notice.timer, on_timer, wait_ms, 0);
}

/* Who runs again, or comes, begins anew. */
static void on_timer(uv_timer_t *timer)
{
    struct plane *plane = containerof(timer, struct plane, notice.timer);

    if (plane->state == PLANE_RUNNING && plane_look_fd(plane) >= 0 &&
        device_rings_running(plane->dev) > 0) {
        plane->notice.look(plane);
        arm_timer(plane, PLANE_NOTICE_MS);
    }
}

void plane_notice_begin(struct plane *plane)
{
    if (!uv_is_active((const uv_handle_t *)&plane->notice.timer)) {
        arm_timer(plane, 0);
    }
}

/* A size that a disk got while the look was under way may be newer. */
static bool may_follow(const struct plane *plane, uint64_t bytes)
{
    const struct image *image = device_image(plane->dev);
    struct err err = {0};

    return image && image->root == plane->look.measured &&
           plane->resize.phase == PLANE_RESIZE_NONE && bytes > device_capacity(plane->dev) &&
           bytes != plane->resize.left_over && plane_grow_check(plane, &err) == 0;
}

void plane_notice_looked(struct plane *plane)
{
    struct err err = {0};
    uint64_t bytes;

    if (!plane_look_size(plane, &bytes) || !may_follow(plane, bytes)) {
        return;
    }
    if (plane_grow(plane, plane->look.measured, bytes, &err) == 0) {
        plane_resumed_tell(plane);
    } else {
        log_limited(&plane->notice.log, LOG_LEVEL_WARN, "%s: its image has grown: %s",
                    plane->opts.name, err.text);
    }
}
