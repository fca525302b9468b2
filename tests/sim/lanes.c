/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * In the place of core/device/lane_thread.c: lanes without threads.  One that is parked is a loop
 * that does not run, so nobody waits for it.  And of others that would call the kernel or wait for
 * somebody: ringer.c, log.c.
 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/device/lane_life.h"
#include "core/device/lane_thread.h"
#include "tests/sim/kernel.h"
#include "tests/sim/loop.h"
#include "tests/sim/sim.h"

struct sim_thread {
    struct lane lane;
    uv_loop_t loop;
};

static struct sim_thread *sim_thread_of(struct lane *lane)
{
    return containerof(lane, struct sim_thread, lane);
}

static void on_last_closed(struct lane *lane)
{
    /* Its loop is empty. */
}

int lane_thread_start(struct lane **out, struct lane_view *view, unsigned index,
                      void (*turned)(struct lane *lane), void *owner, struct err *err)
{
    struct sim_thread *t = calloc(1, sizeof(*t));
    int ret = uv_loop_init(&t->loop);

    if (ret == 0) {
        ret = lane_init(&t->lane, view, index, &t->loop, turned, owner);
    }
    assert(ret == 0);
    t->lane.tid = gettid();
    loop_park(&t->loop, true);
    *out = &t->lane;
    return ret;
}

void lane_thread_ask_park(struct lane *lane)
{
    /* Its mail is read up to here, before it is parked. */
    loop_run_async(&lane->mailbox.async);
}

void lane_thread_await_park(struct lane *lane)
{
    loop_park(lane->loop, true);
}

void lane_thread_unpark(struct lane *lane)
{
    loop_park(lane->loop, false);
}

void lane_thread_call(struct lane *lane, void (*call)(void *arg), void *arg)
{
    call(arg);
}

void lane_thread_stop(struct lane *lane)
{
    struct sim_thread *t = sim_thread_of(lane);
    int ret;

    lane_close(lane, on_last_closed);
    loop_finish(&t->loop);
    ret = uv_loop_close(&t->loop);
    assert(ret == 0);
    (void)ret;
    free(t);
}

/* ---- ringer.h ---- */

void ringer_start(struct ringer *ringer)
{
    ringer->tid = gettid();
}

void ringer_stop(struct ringer *ringer)
{
    /* It is on no list. */
}

bool ringer_signal(int fd)
{
    if (fd >= 0) {
        kernel_signal(fd);
    }
    return true;
}

ssize_t ringer_read(int fd)
{
    return kernel_take(fd) > 0 ? 8 : -EAGAIN;
}

/* ---- log.h ---- */

static PRINTF_LIKE(1, 0) void trace_log(const char *fmt, va_list args)
{
    char text[512];

    (void)vsnprintf(text, sizeof(text), fmt, args);
    sim_trace_line("log: %s", text);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (sim.is_traced) {
        va_start(args, fmt);
        trace_log(fmt, args);
        va_end(args);
    }
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (sim.is_traced) {
        va_start(args, fmt);
        trace_log(fmt, args);
        va_end(args);
    }
}
