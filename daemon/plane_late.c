/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_late.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/plane_close.h"
#include "daemon/plane_fate.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"

/* "the oldest a write of 4096 bytes at offset 8192, for 12.3 s" */
static void say_oldest(struct device *dev, char *text, size_t size)
{
    struct device_oldest oldest;
    const char *kind;
    char range[64] = "";

    if (!device_oldest(dev, &oldest)) {
        (void)snprintf(text, size, "all of them answered by now");
        return;
    }
    kind = oldest.kind == STATS_OTHER ? "request" : stats_type_name(oldest.kind);
    if (oldest.kind == STATS_READ || oldest.kind == STATS_WRITE) {
        (void)snprintf(range, sizeof(range), " of %" PRIu64 " bytes at offset %" PRIu64,
                       oldest.length, oldest.offset);
    }
    (void)snprintf(text, size, "the oldest a %s%s, for %.1f s", kind, range,
                   (double)oldest.age_ns / NS_PER_S);
}

/* What is not done in time is not done. */
static bool is_change(const struct plane_request *request)
{
    return request->verb == PLANE_SET || request->verb == PLANE_RESIZE ||
           request->verb == PLANE_FREEZE;
}

static const char *what_goes_on(const struct plane *plane, const struct plane_request *request)
{
    if (is_change(request)) {
        return "nothing is changed, the disk goes on as before";
    }
    if (request->is_exit) {
        return "vblkd ends all the same: what becomes of the bytes is seen by nobody";
    }
    if (plane->state == PLANE_REMOVING) {
        return "the removal goes on";
    }
    return plane_fate_may_refuse_stop(plane) ? "the stop goes on, unless it would lose the image"
                                             : "the stop goes on";
}

void plane_late_say(struct plane *plane, struct plane_request *request)
{
    struct stats stats;
    char oldest[160];

    device_stats(plane->dev, &stats);
    say_oldest(plane->dev, oldest, sizeof(oldest));
    (void)err_say(&request->err, -ETIMEDOUT, "%s: still draining: %u in flight, %s; %s",
                  plane->opts.name, (unsigned)stats.inflight, oldest, what_goes_on(plane, request));
}

/* It waits for a flush, or for a look at the image's file. */
static void say_syncing(struct plane *plane, struct plane_request *request, uint64_t age_ns)
{
    if (!plane->sync.flush.begun_ns && plane_sync_waits_for_file(plane)) {
        (void)err_say(&request->err, -ETIMEDOUT,
                      "%s: all requests are answered, but the image's file system does not answer, "
                      "for %.1f s; %s",
                      plane->opts.name, (double)age_ns / NS_PER_S, what_goes_on(plane, request));
        return;
    }
    (void)err_say(&request->err, -ETIMEDOUT,
                  "%s: all requests are answered, but the bytes that they wrote are still on their "
                  "way to stable storage, for %.1f s; %s",
                  plane->opts.name, (double)age_ns / NS_PER_S, what_goes_on(plane, request));
}

static void say_closing(struct plane *plane, struct plane_request *request)
{
    (void)err_say(&request->err, -ETIMEDOUT,
                  "%s: all requests are answered, but its image is still being %s, for %.1f s, "
                  "as the file system does not answer; %s",
                  plane->opts.name, plane->close.opening ? "opened" : "closed",
                  (double)plane_close_age_ns(plane) / NS_PER_S, what_goes_on(plane, request));
    if (!request->is_exit) {
        err_hint(&request->err, "remove --force ends %s after its time-out",
                 plane->state == PLANE_REMOVING ? "it" : "the disk instead");
    }
}

void plane_late_answer(struct plane *plane, struct plane_request *request)
{
    uint64_t syncing_ns = plane_sync_age_ns(plane);

    plane->is_stop_told |= request->verb == PLANE_STOP;
    if (plane_is_closing(plane) && !is_change(request)) {
        say_closing(plane, request);
    } else if (syncing_ns > 0 && !is_change(request)) {
        say_syncing(plane, request, syncing_ns);
    } else {
        plane_late_say(plane, request);
    }
    plane_reply(plane, request);
}
