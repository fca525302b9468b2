/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_retry.h"

#include <errno.h>

#include "daemon/plane_close.h"

void plane_retry_init(struct plane *plane, void (*start)(struct plane *plane))
{
    (void)uv_timer_init(&plane->worker.loop, &plane->retry.timer); /* cannot fail */
    plane->retry.start = start;
}

void plane_retry_close(struct plane *plane)
{
    uv_close((uv_handle_t *)&plane->retry.timer, NULL);
}

static void wait_for_next(struct plane *plane);

/* What has the disk by now goes first. */
static bool is_busy(const struct plane *plane)
{
    return plane->start.phase != PLANE_START_NONE || plane_is_closing(plane) ||
           plane->medium.phase != MEDIUM_NONE || plane->resize.phase != PLANE_RESIZE_NONE;
}

static void on_retry(uv_timer_t *timer)
{
    struct plane *plane = containerof(timer, struct plane, retry.timer);

    if (plane->state != PLANE_FAILED) {
        return;
    }
    if (is_busy(plane)) {
        wait_for_next(plane);
    } else {
        plane->retry.start(plane);
    }
}

static void wait_for_next(struct plane *plane)
{
    uv_update_time(&plane->worker.loop);
    (void)uv_timer_start(&plane->retry.timer, on_retry, plane->retry.wait_ms, 0);
}

void plane_retry_after(struct plane *plane, const struct err *err)
{
    struct plane_retry *retry = &plane->retry;

    if (err->code == -EBUSY || err->code == -ESTALE) {
        plane_retry_end(plane);
        return;
    }
    retry->wait_ms =
        retry->wait_ms ? min_of(2 * retry->wait_ms, (unsigned)PLANE_RETRY_MS_MAX) : PLANE_RETRY_MS;
    wait_for_next(plane);
}

void plane_retry_soon(struct plane *plane)
{
    if (plane_retry_is_due(plane)) {
        plane->retry.wait_ms = PLANE_RETRY_MS;
        wait_for_next(plane);
    }
}

void plane_retry_end(struct plane *plane)
{
    plane->retry.wait_ms = 0;
    (void)uv_timer_stop(&plane->retry.timer);
}

bool plane_retry_is_due(const struct plane *plane)
{
    return plane->retry.wait_ms > 0;
}
