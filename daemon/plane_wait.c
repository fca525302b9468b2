/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_wait.h"

#include "core/block/image_sync.h"
#include "daemon/plane_info.h"
#include "daemon/plane_look.h"

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

void plane_wait_go_on(struct plane *plane, struct plane_request *request)
{
    void (*then)(struct plane * plane, struct plane_request * request) = request->then;

    request->then = NULL;
    then(plane, request);
}

static void on_timer(uv_timer_t *timer);

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
    uv_timer_start(&plane->timer, on_timer,
                   earliest > now ? (earliest - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

static void push(struct plane *plane, struct plane_request *request, uint64_t deadline_ns)
{
    request->deadline_ns = deadline_ns;
    request->next = plane->waiting;
    plane->waiting = request;
    arm_timer(plane);
}

/* A look takes no more of its time than what everybody is granted for it. */
void plane_wait(struct plane *plane, struct plane_request *request,
                void (*late)(struct plane *plane, struct plane_request *request))
{
    bool is_patient = request->timeout_ms == PLANE_NO_TIMEOUT;
    uint64_t begun_ns = now_ns();

    request->late = late;
    if (request->asked_ns) {
        begun_ns = min_of(begun_ns, request->asked_ns + PLANE_LOOK_DECIDE_MS * NS_PER_MS);
    }
    push(plane, request, is_patient ? UINT64_MAX : begun_ns + request->timeout_ms * NS_PER_MS);
}

void plane_wait_until(struct plane *plane, struct plane_request *request, uint64_t deadline_ns,
                      void (*then)(struct plane *plane, struct plane_request *request))
{
    request->then = then;
    push(plane, request, deadline_ns);
}

void plane_wait_hurry(struct plane *plane, uint64_t deadline_ns)
{
    for (struct plane_request *request = plane->waiting; request; request = request->next) {
        if (request->is_exit || request->verb == PLANE_OPEN) {
            request->deadline_ns = min_of(request->deadline_ns, deadline_ns);
        }
    }
    arm_timer(plane);
}

/* The next whose time has passed is taken off the list; what is done with it may change that. */
static struct plane_request *take_late(struct plane *plane, uint64_t now)
{
    struct plane_request **link = &plane->waiting;
    struct plane_request *request;

    while (*link && (*link)->deadline_ns > now) {
        link = &(*link)->next;
    }
    request = *link;
    if (request) {
        *link = request->next;
    }
    return request;
}

static void on_timer(uv_timer_t *timer)
{
    struct plane *plane = containerof(timer, struct plane, timer);
    struct plane_request *request;
    uint64_t now = now_ns();

    while ((request = take_late(plane, now))) {
        if (request->then) {
            plane_wait_go_on(plane, request);
        } else {
            request->late(plane, request);
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

bool plane_wait_has_asker(const struct plane *plane)
{
    const struct plane_request *request = plane->waiting;

    while (request && !request->then) {
        request = request->next;
    }
    return request != NULL;
}

static bool is_asker(const struct plane_request *request, uint64_t begun_ns)
{
    bool only_tells = request->verb == PLANE_INFO && !request->decides;

    return request->then && (only_tells || request->asked_ns <= begun_ns);
}

/* The list has the newest first, and they go on in the order in which they came. */
struct plane_request *plane_wait_take_asker(struct plane *plane, uint64_t begun_ns)
{
    struct plane_request **oldest = NULL;
    struct plane_request *request = NULL;

    for (struct plane_request **link = &plane->waiting; *link; link = &(*link)->next) {
        if (is_asker(*link, begun_ns)) {
            oldest = link;
        }
    }
    if (oldest) {
        request = *oldest;
        *oldest = request->next;
    }
    return request;
}

/* Take the next off the list that waits for `verb` to be done; NULL: there is none. */
static struct plane_request *take_waiting(struct plane *plane, enum plane_verb verb)
{
    struct plane_request **link = &plane->waiting;
    struct plane_request *request;

    while (*link && ((*link)->verb != verb || (*link)->then)) {
        link = &(*link)->next;
    }
    request = *link;
    if (request) {
        *link = request->next;
    }
    return request;
}

void plane_wait_refuse(struct plane *plane, enum plane_verb verb, const struct err *err)
{
    struct plane_request *request;

    while ((request = take_waiting(plane, verb))) {
        request->err = *err;
        plane_reply(plane, request);
    }
    arm_timer(plane);
}

void plane_wait_end(struct plane *plane, enum plane_verb verb, int code, const char *text)
{
    struct err err;

    (void)err_say(&err, code, "%s: %s", plane->opts.name, text);
    plane_wait_refuse(plane, verb, &err);
}

/*
 * What was done is no success where bytes were lost, nor where the image is not free; but the end
 * of the daemon is not for that.
 */
static void say_end(const struct plane *plane, const struct plane_request *request, struct err *err)
{
    char what[256];

    if (plane->close.is_left && !request->is_exit) {
        (void)err_say(err, -ETIMEDOUT,
                      "%s: it was done, but its image may be in use until its file system answers",
                      plane->opts.name);
        err_hint(err, "do not use it elsewhere before (%.200s)", plane->opts.image.path);
    }
    if (plane->loss.code < 0) {
        image_loss_say(&plane->loss, what, sizeof(what));
        (void)err_say(err, plane->loss.code, "%s: it was done, but %s", plane->opts.name, what);
        err_hint(err, "see to the host's file system, and check the guest's");
    }
}

void plane_wait_done(struct plane *plane, enum plane_verb verb)
{
    struct plane_request *request;

    while ((request = take_waiting(plane, verb))) {
        request->has_changed = true;
        request->is_done = true;
        request->is_left = plane->close.is_left;
        say_end(plane, request, &request->err);
        plane_reply(plane, request);
    }
    arm_timer(plane);
}
