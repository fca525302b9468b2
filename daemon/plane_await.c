/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_await.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"

void plane_await_init(struct plane *plane, void (*take)(struct plane *plane))
{
    (void)uv_timer_init(&plane->worker.loop, &plane->await.timer); /* cannot fail */
    plane->await.take = take;
}

void plane_await_close(struct plane *plane)
{
    uv_close((uv_handle_t *)&plane->await.timer, NULL);
}

bool plane_await_has_guest(const struct plane *plane)
{
    return device_rings_running(plane->dev) > 0;
}

static void wait_for_guest(struct plane *plane)
{
    (void)snprintf(plane->reason, sizeof(plane->reason),
                   "its guest runs elsewhere: the image is not locked, and is taken when a queue "
                   "starts");
}

static void on_timer(uv_timer_t *timer)
{
    struct plane *plane = containerof(timer, struct plane, await.timer);

    if (plane_await_has_guest(plane)) {
        plane->await.take(plane);
    } else {
        plane->await.is_busy = false;
        wait_for_guest(plane); /* it has come, and gone */
    }
}

static void try_after(struct plane *plane, unsigned wait_ms)
{
    uv_update_time(&plane->worker.loop);
    (void)uv_timer_start(&plane->await.timer, on_timer, wait_ms, 0);
}

void plane_await_begin(struct plane *plane)
{
    plane->state = PLANE_WAITING;
    plane->await.is_busy = false;
    wait_for_guest(plane);
    log_info("%s: waits for its guest, and has not locked the image %s; front-ends connect to %s",
             plane->opts.name, plane->opts.image.path, plane->opts.socket_path);
    if (plane_await_has_guest(plane)) {
        try_after(plane, 0);
    }
}

bool plane_await_knows_holder(const struct plane *plane)
{
    return plane->state == PLANE_WAITING && plane->await.is_busy &&
           now_ns() - plane->await.told_ns < PLANE_AWAIT_TELL_MS * NS_PER_MS;
}

/*
 * Each try has a reason; who reads the log wants the first, and another one.  Who has the image is
 * looked for now and then alone, and told in between.
 */
void plane_await_refused(struct plane *plane, const struct err *err)
{
    bool is_told = plane->await.is_retry && err->code == -EBUSY;

    if (!is_told) {
        plane->await.told_ns = now_ns();
    }
    plane->await.is_busy = err->code == -EBUSY;
    if (!plane_await_has_guest(plane)) {
        plane->await.is_busy = false;
        wait_for_guest(plane);
        return;
    }
    if (!is_told && strcmp(plane->reason, err->text) != 0) {
        (void)snprintf(plane->reason, sizeof(plane->reason), "%s", err->text);
        log_limited(&plane->await.log, LOG_LEVEL_WARN,
                    "%s: its guest has come, and waits for the image, which is tried again: %s",
                    plane->opts.name, err_text_after(err, plane->opts.name));
    }
    try_after(plane, err->code == -EBUSY ? PLANE_AWAIT_BUSY_MS : PLANE_AWAIT_RETRY_MS);
}

void plane_await_end(struct plane *plane)
{
    (void)uv_timer_stop(&plane->await.timer);
}
