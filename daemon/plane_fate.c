/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_fate.h"

#include <errno.h>

#include "core/base/log.h"
#include "daemon/plane_look.h"
#include "daemon/plane_notice.h"
#include "daemon/plane_sync.h"
#include "daemon/plane_wait.h"

static void go_on(struct plane *plane, uint64_t begun_ns, bool is_blind)
{
    struct plane_request *request;

    while ((request = plane_wait_take_asker(plane, begun_ns))) {
        request->is_blind = is_blind;
        plane_wait_go_on(plane, request);
    }
}

/* Who asked while the look was under way, and decides by it, wants one of its own. */
static void on_looked(struct plane *plane)
{
    plane_notice_looked(plane);
    go_on(plane, plane->look.begun_ns, false);
    if (plane_wait_has_asker(plane) && !plane_look_begin(plane, on_looked)) {
        go_on(plane, UINT64_MAX, true);
    }
    plane_sync_wake(plane);
}

void plane_fate_look(struct plane *plane)
{
    if (!plane->look.is_busy) {
        (void)plane_look_begin(plane, on_looked);
    }
}

static bool wants_look(const struct plane *plane, const struct plane_request *request)
{
    switch (request->verb) {
    case PLANE_INFO:
        return request->wants_look && (request->decides || !plane_look_hangs(plane));
    case PLANE_STOP:
    case PLANE_MEDIUM:
        return plane->state == PLANE_RUNNING;
    case PLANE_REMOVE:
        return plane->state != PLANE_REMOVING;
    default:
        return false;
    }
}

/*
 * A stop may go on without an answer, as its image is not closed before there is one; a removal
 * cannot be taken back, so it waits for as long as its client does.
 */
static uint64_t patience_ms(const struct plane_request *request)
{
    if (request->verb == PLANE_INFO && !request->decides) {
        return PLANE_LOOK_TELL_MS;
    }
    if (request->verb == PLANE_REMOVE && !request->force &&
        request->timeout_ms > PLANE_LOOK_DECIDE_MS) {
        return request->timeout_ms;
    }
    return PLANE_LOOK_DECIDE_MS;
}

bool plane_fate_first(struct plane *plane, struct plane_request *request,
                      void (*then)(struct plane *plane, struct plane_request *request))
{
    if (plane_look_fd(plane) < 0 || !wants_look(plane, request)) {
        return false;
    }
    request->asked_ns = now_ns();
    if (!plane->look.is_busy && !plane_look_begin(plane, on_looked)) {
        request->is_blind = true;
        return false;
    }
    plane_wait_until(plane, request, request->asked_ns + patience_ms(request) * NS_PER_MS, then);
    return true;
}

static void say_fate(const struct plane *plane, char *text, size_t size)
{
    image_fate_say(&plane->look.latest, plane->opts.image.path, plane_look_fd(plane), text, size);
}

bool plane_fate_objects(const struct plane *plane, const struct plane_request *request,
                        struct err *err)
{
    const struct plane_look *look = &plane->look;
    char text[400];

    if (image_fate_is_danger(&look->latest)) {
        say_fate(plane, text, sizeof(text));
        (void)err_say(err, -ESTALE, "%s: %s", plane->opts.name, text);
    } else if (request->is_blind) {
        plane_look_say_blind(plane->opts.name, err);
    } else if (look->is_busy && request->verb == PLANE_REMOVE) {
        plane_look_say_hangs(plane->opts.name, plane_look_age_ns(plane), err);
        err_hint(err, "nothing is changed");
    } else {
        return false;
    }
    err_hint(err, "or use --force");
    return true;
}

bool plane_fate_refuse(struct plane *plane, struct plane_request *request)
{
    if (request->force || plane_look_fd(plane) < 0 ||
        !plane_fate_objects(plane, request, &request->err)) {
        return false;
    }
    plane_reply(plane, request);
    return true;
}

bool plane_fate_may_refuse_stop(const struct plane *plane)
{
    return plane->state == PLANE_STOPPING && !plane->is_stop_forced && plane_look_fd(plane) >= 0;
}

bool plane_fate_refuse_stop(struct plane *plane)
{
    struct err err = {0};
    const struct plane_request stop = {.verb = PLANE_STOP};

    if (!plane_fate_may_refuse_stop(plane) || !plane_fate_objects(plane, &stop, &err)) {
        return false;
    }
    log_error("%s: not %s: %s", plane->opts.name, plane->is_handover ? "handed over" : "stopped",
              err_text_after(&err, plane->opts.name));
    plane_wait_refuse(plane, PLANE_STOP, &err);
    return true;
}
