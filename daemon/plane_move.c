/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_move.h"

#include <errno.h>

#include "daemon/plane_set.h"
#include "daemon/plane_wait.h"

static void tell(const struct plane *plane, uint64_t took_ns)
{
    unsigned count = plane->dev.lane_count;

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
        tell(plane, now_ns() - start_ns);
    } else {
        err_hint(&request->err, "the disk goes on with %u", plane->dev.lane_count);
    }
    device_resume(&plane->dev, PAUSE_MOVE);
    plane_wait_answer(plane, request);
}

void plane_move(struct plane *plane, struct plane_request *request)
{
    if (plane->moving) {
        (void)err_say(&request->err, -EBUSY, "%s: threads: they are being changed already",
                      plane->opts.name);
        plane_reply(plane, request);
        return;
    }
    plane->moving = request;
    plane->move_drain.done = on_drained;
    plane_wait(plane, request);
    device_pause(&plane->dev, PAUSE_MOVE, &plane->move_drain);
}

void plane_move_cancel(struct plane *plane)
{
    if (plane->moving) {
        plane->moving = NULL;
        device_drain_cancel(&plane->dev, &plane->move_drain);
        device_resume(&plane->dev, PAUSE_MOVE);
    }
}
