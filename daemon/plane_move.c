/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_move.h"

#include <errno.h>

#include "core/base/log.h"
#include "daemon/plane_late.h"
#include "daemon/plane_set.h"
#include "daemon/plane_wait.h"

static void tell_moved(const struct plane *plane, uint64_t took_ns)
{
    unsigned count = device_lane_count(plane->dev);

    log_info("%s: %u thread%s serve%s its queues, which took %.1f ms to move", plane->opts.name,
             count, count == 1 ? "" : "s", count == 1 ? "s" : "", (double)took_ns / NS_PER_MS);
}

static void on_drained(struct drain *drain)
{
    struct plane *plane = containerof(drain, struct plane, move_drain);
    struct plane_request *request = plane->moving;
    uint64_t start_ns = now_ns();

    plane->moving = NULL;
    if (plane_set(plane, &request->change, &request->has_changed, &request->err) == 0) {
        tell_moved(plane, now_ns() - start_ns);
    } else {
        err_hint(&request->err, "the disk goes on with %u", device_lane_count(plane->dev));
    }
    device_resume(plane->dev, PAUSE_MOVE);
    plane_wait_answer(plane, request);
}

void plane_move_cancel(struct plane *plane)
{
    if (plane->moving) {
        plane->moving = NULL;
        device_drain_cancel(plane->dev, &plane->move_drain);
        device_resume(plane->dev, PAUSE_MOVE);
    }
}

static void on_late(struct plane *plane, struct plane_request *request)
{
    plane_move_cancel(plane);
    plane_late_answer(plane, request);
}

void plane_move(struct plane *plane, struct plane_request *request, unsigned lanes)
{
    if (plane->moving) {
        (void)err_say(&request->err, -EBUSY, "%s: threads: they are being changed already",
                      plane->opts.name);
        plane_reply(plane, request);
        return;
    }
    plane->moving = request;
    plane->move_drain = (struct drain){.done = on_drained, .own_below = lanes};
    plane_wait(plane, request, on_late);
    device_pause(plane->dev, PAUSE_MOVE, &plane->move_drain);
}
