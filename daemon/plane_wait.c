/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/plane_info.h"
#include "daemon/plane_move.h"

static void run_answer(struct message *message)
{
    struct plane_request *request = containerof(message, struct plane_request, message);

    request->answered(request);
}

void plane_reply(struct plane *plane, struct plane_request *request)
{
    plane_info_fill(plane, &request->info);
    request->message.run = run_answer;
    mailbox_send(plane->worker.control, &request->message);
}

/* One timer for all: set for the earliest deadline, rounded up so that it has passed by then. */
static void arm_timer(struct plane *plane)
{
    uint64_t earliest = UINT64_MAX;
    uint64_t now = now_ns();

    for (struct plane_request *request = plane->waiting; request; request = request->next) {
        earliest = min_of(earliest, request->deadline_ns);
    }
    if (earliest == UINT64_MAX) {
        uv_timer_stop(&plane->timer);
        return;
    }
    uv_update_time(&plane->worker.loop);
    uv_timer_start(&plane->timer, plane_on_timer,
                   earliest > now ? (earliest - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

void plane_wait(struct plane *plane, struct plane_request *request)
{
    request->deadline_ns = UINT64_MAX;
    if (request->timeout_ms != PLANE_NO_TIMEOUT) {
        request->deadline_ns = now_ns() + request->timeout_ms * NS_PER_MS;
    }
    request->next = plane->waiting;
    plane->waiting = request;
    arm_timer(plane);
}

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

static const char *what_goes_on(const struct plane *plane, const struct plane_request *request)
{
    if (request->verb == PLANE_SET) {
        return "nothing is changed, the disk goes on as before";
    }
    return plane->state == PLANE_REMOVING ? "the removal goes on" : "the disk goes on draining";
}

static void answer_late(struct plane *plane, struct plane_request *request)
{
    struct stats stats;
    char oldest[160];

    if (request->verb == PLANE_SET) {
        plane_move_cancel(plane);
    }
    device_stats(&plane->dev, &stats);
    say_oldest(&plane->dev, oldest, sizeof(oldest));
    (void)err_say(&request->err, -ETIMEDOUT, "%s: still draining: %u in flight, %s; %s",
                  plane->opts.name, (unsigned)stats.inflight, oldest, what_goes_on(plane, request));
    plane_reply(plane, request);
}

void plane_on_timer(uv_timer_t *timer)
{
    struct plane *plane = containerof(timer, struct plane, timer);
    struct plane_request **link = &plane->waiting;
    uint64_t now = now_ns();

    while (*link) {
        struct plane_request *request = *link;

        if (request->deadline_ns <= now) {
            *link = request->next;
            answer_late(plane, request);
        } else {
            link = &request->next;
        }
    }
    arm_timer(plane);
}

void plane_wait_answer(struct plane *plane, struct plane_request *request)
{
    struct plane_request **link = &plane->waiting;

    while (*link != request) {
        link = &(*link)->next;
    }
    *link = request->next;
    plane_reply(plane, request);
    arm_timer(plane);
}

void plane_wait_end(struct plane *plane, enum plane_verb verb, int code, const char *text)
{
    struct plane_request **link = &plane->waiting;

    while (*link) {
        struct plane_request *request = *link;

        if (request->verb != verb) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        if (code < 0) {
            (void)err_say(&request->err, code, "%s: %s", plane->opts.name, text);
        } else {
            request->has_changed = true;
        }
        plane_reply(plane, request);
    }
    arm_timer(plane);
}
