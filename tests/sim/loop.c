/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "core/base/base.h"
#include "tests/sim/kernel.h"
#include "tests/sim/sim.h"

#define HANDLES 48u
#define LOOPS (SIM_LANES + 1)
#define LOOP_FD 1000000

enum kind { ASYNC, CHECK, IDLE, TIMER, POLL };

struct sim_handle {
    uv_handle_t *handle;
    enum kind kind;
    bool is_active;
    bool is_pending; /* sent to; of an fd that is watched for edges: written to */
    bool is_closing;
    bool has_edges;
    int fd;
    uint64_t due_ms;
    void (*run)(void); /* of its kind's type */
    uv_close_cb closed;
};

struct sim_loop {
    const uv_loop_t *loop; /* NULL: there is none */
    bool is_parked;
    bool has_run; /* callbacks, since the last check phase */
    unsigned count;
    struct sim_handle handle[HANDLES];
};

static struct sim_loop loops[LOOPS];

int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);

void loop_kill_all(void)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        loops[i] = (struct sim_loop){0};
    }
}

static struct sim_loop *sim_loop_of(const uv_loop_t *loop)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        if (loops[i].loop == loop) {
            return &loops[i];
        }
    }
    abort();
}

int uv_loop_init(uv_loop_t *loop)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        if (!loops[i].loop) {
            loops[i] = (struct sim_loop){.loop = loop};
            return 0;
        }
    }
    return UV_ENOMEM;
}

int uv_loop_close(uv_loop_t *loop)
{
    struct sim_loop *sim_loop = sim_loop_of(loop);

    if (sim_loop->count > 0) {
        return UV_EBUSY;
    }
    sim_loop->loop = NULL;
    return 0;
}

void loop_park(const uv_loop_t *loop, bool is_parked)
{
    sim_loop_of(loop)->is_parked = is_parked;
}

/* ---- handles ---- */

static struct sim_handle *add_handle(uv_loop_t *loop, void *handle, enum kind kind)
{
    struct sim_loop *sim_loop = sim_loop_of(loop);
    struct sim_handle *own = &sim_loop->handle[sim_loop->count++];

    assert(sim_loop->count <= HANDLES);
    *own = (struct sim_handle){.handle = handle, .kind = kind};
    own->handle->loop = loop;
    return own;
}

static struct sim_handle *find_handle(const void *handle)
{
    struct sim_loop *loop = sim_loop_of(((const uv_handle_t *)handle)->loop);

    for (unsigned i = 0; i < loop->count; i++) {
        if (loop->handle[i].handle == handle) {
            return &loop->handle[i];
        }
    }
    abort();
}

int uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb cb)
{
    struct sim_handle *own = add_handle(loop, async, ASYNC);

    own->run = (void (*)(void))cb;
    own->is_active = true;
    return 0;
}

int uv_async_send(uv_async_t *async)
{
    find_handle(async)->is_pending = true;
    return 0;
}

int uv_check_init(uv_loop_t *loop, uv_check_t *check)
{
    (void)add_handle(loop, check, CHECK);
    return 0;
}

int uv_check_start(uv_check_t *check, uv_check_cb cb)
{
    struct sim_handle *own = find_handle(check);

    own->run = (void (*)(void))cb;
    own->is_active = true;
    return 0;
}

int uv_idle_init(uv_loop_t *loop, uv_idle_t *idle)
{
    (void)add_handle(loop, idle, IDLE);
    return 0;
}

int uv_idle_start(uv_idle_t *idle, uv_idle_cb cb)
{
    find_handle(idle)->is_active = true;
    return 0;
}

int uv_idle_stop(uv_idle_t *idle)
{
    find_handle(idle)->is_active = false;
    return 0;
}

static uint64_t now_ms(void)
{
    return sim.now_ns / NS_PER_MS;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    (void)add_handle(loop, timer, TIMER);
    return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    struct sim_handle *own = find_handle(timer);

    assert(repeat == 0);
    own->run = (void (*)(void))cb;
    own->is_active = true;
    own->due_ms = now_ms() + timeout;
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    find_handle(timer)->is_active = false;
    return 0;
}

uint64_t uv_timer_get_due_in(const uv_timer_t *timer)
{
    uint64_t due_ms = find_handle(timer)->due_ms;

    return due_ms > now_ms() ? due_ms - now_ms() : 0;
}

int uv_is_active(const uv_handle_t *handle)
{
    return find_handle(handle)->is_active;
}

int uv_poll_init(uv_loop_t *loop, uv_poll_t *poll, int fd)
{
    add_handle(loop, poll, POLL)->fd = fd;
    return 0;
}

int uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb cb)
{
    struct sim_handle *own = find_handle(poll);

    own->run = (void (*)(void))cb;
    own->is_active = true;
    return 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
    struct sim_handle *own = find_handle(handle);

    assert(!own->is_closing);
    own->is_closing = true;
    own->is_active = false;
    own->closed = cb;
}

int uv_backend_fd(const uv_loop_t *loop)
{
    return LOOP_FD + (int)(sim_loop_of(loop) - loops);
}

/* To watch for edges tells of what can be read already. */
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    struct sim_loop *loop = &loops[epoll_fd - LOOP_FD];

    assert(op == EPOLL_CTL_MOD && (event->events & EPOLLET));
    for (unsigned i = 0; i < loop->count; i++) {
        struct sim_handle *own = &loop->handle[i];

        if (own->kind == POLL && own->fd == fd && !own->is_closing) {
            own->has_edges = true;
            own->is_pending = kernel_count(fd) > 0;
        }
    }
    return 0;
}

void loop_signalled(int fd)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        for (unsigned j = 0; j < loops[i].count; j++) {
            struct sim_handle *own = &loops[i].handle[j];

            own->is_pending |= own->kind == POLL && own->fd == fd;
        }
    }
}

/* ---- running ---- */

static bool could_run(const struct sim_loop *loop, const struct sim_handle *own)
{
    if (!own->is_active) {
        return own->is_closing;
    }
    switch (own->kind) {
    case ASYNC:
        return own->is_pending;
    case CHECK:
        return loop->has_run;
    case IDLE:
        return true; /* it keeps the loop from sleeping: a check phase follows */
    case TIMER:
        return own->due_ms <= now_ms();
    case POLL:
    default:
        return own->has_edges ? own->is_pending : kernel_count(own->fd) > 0;
    }
}

static unsigned count_ready(const struct sim_loop *loop)
{
    unsigned count = 0;

    for (unsigned i = 0; !loop->is_parked && i < loop->count; i++) {
        count += could_run(loop, &loop->handle[i]);
    }
    return count;
}

unsigned loop_ready(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < LOOPS; i++) {
        count += count_ready(&loops[i]);
    }
    return count;
}

/* Those that are closing by now; what they close comes in the next such phase. */
static void run_closing(struct sim_loop *loop)
{
    struct sim_handle closing[HANDLES];
    unsigned count = 0, left = 0;

    for (unsigned i = 0; i < loop->count; i++) {
        if (loop->handle[i].is_closing) {
            closing[count++] = loop->handle[i];
        } else {
            loop->handle[left++] = loop->handle[i];
        }
    }
    loop->count = left;
    for (unsigned i = 0; i < count; i++) {
        if (closing[i].closed) {
            closing[i].closed(closing[i].handle);
        }
    }
}

static void run_check(struct sim_loop *loop)
{
    loop->has_run = false;
    for (unsigned i = 0; i < loop->count; i++) {
        if (loop->handle[i].kind == CHECK && loop->handle[i].is_active) {
            ((uv_check_cb)loop->handle[i].run)((uv_check_t *)loop->handle[i].handle);
            return;
        }
    }
}

static void run_handle(struct sim_loop *loop, struct sim_handle *own)
{
    uv_handle_t *handle = own->handle;

    if (own->is_closing) {
        run_closing(loop);
        return;
    }
    loop->has_run = own->kind != CHECK && own->kind != IDLE;
    own->is_pending = false;
    switch (own->kind) {
    case ASYNC:
        ((uv_async_cb)own->run)((uv_async_t *)handle);
        break;
    case TIMER:
        own->is_active = false;
        ((uv_timer_cb)own->run)((uv_timer_t *)handle);
        break;
    case POLL:
        ((uv_poll_cb)own->run)((uv_poll_t *)handle, 0, UV_READABLE);
        break;
    case CHECK:
    case IDLE:
    default:
        run_check(loop);
    }
}

static const char *const kinds[] = {"message", "turn", "turn", "timer", "readable"};

void loop_run(unsigned which)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        for (unsigned j = 0; !loops[i].is_parked && j < loops[i].count; j++) {
            struct sim_handle *own = &loops[i].handle[j];

            if (could_run(&loops[i], own) && which-- == 0) {
                sim_trace("lane %u: %s", i, own->is_closing ? "close" : kinds[own->kind]);
                run_handle(&loops[i], own);
                return;
            }
        }
    }
}

void loop_run_async(uv_async_t *async)
{
    struct sim_handle *own = find_handle(async);

    if (own->is_pending) {
        run_handle(sim_loop_of(async->loop), own);
    }
}

void loop_finish(uv_loop_t *loop)
{
    struct sim_loop *sim_loop = sim_loop_of(loop);

    while (sim_loop->count > 0) {
        run_closing(sim_loop);
    }
}

uint64_t loop_next_ms(void)
{
    uint64_t next_ms = UINT64_MAX;

    for (unsigned i = 0; i < LOOPS; i++) {
        for (unsigned j = 0; j < loops[i].count; j++) {
            const struct sim_handle *own = &loops[i].handle[j];

            if (own->kind == TIMER && own->is_active) {
                next_ms = min_of(next_ms, own->due_ms);
            }
        }
    }
    return next_ms;
}
