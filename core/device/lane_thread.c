/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_thread.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device/lane_life.h"
#include "core/base/thread.h"

struct lane_thread {
    struct lane lane;
    uv_loop_t loop;
    pthread_t thread;
    struct message park;
    sem_t parked;            /* posted by the lane: it is parked, or the call has ended */
    sem_t go;                /* posted by the disk's thread: run `call`, or go on when it is NULL */
    void (*call)(void *arg); /* written before `go` is posted */
    void *arg;
};

static struct lane_thread *thread_of(struct lane *lane)
{
    assert(lane->index > 0);
    return containerof(lane, struct lane_thread, lane);
}

/* Signals are blocked in these threads, but a debugger interrupts as well. */
static void take_semaphore(sem_t *sem)
{
    while (sem_wait(sem) < 0) {
        assert(errno == EINTR);
    }
}

/* Until it is parked.  Should that be never, people can be told where to look. */
static void await_parked(struct lane_thread *t)
{
    _Atomic pid_t *awaited = t->lane.view->awaited;

    atomic_store_explicit(awaited, t->lane.tid, memory_order_relaxed);
    take_semaphore(&t->parked);
    atomic_store_explicit(awaited, 0, memory_order_relaxed);
}

/* ---- the lane's side ---- */

static void serve_parked(struct lane_thread *t)
{
    (void)sem_post(&t->parked);
    take_semaphore(&t->go);
    while (t->call) {
        t->call(t->arg);
        (void)sem_post(&t->parked);
        take_semaphore(&t->go);
    }
}

static void run_park(struct message *message)
{
    serve_parked(containerof(message, struct lane_thread, park));
}

/* "vda/1"; a long name gives way to the number. */
static void set_name(const struct lane *lane)
{
    char number[8];
    char name[16];

    (void)snprintf(number, sizeof(number), "/%u", lane->index);
    (void)snprintf(name, sizeof(name), "%.*s%s", (int)(sizeof(name) - 1 - strlen(number)),
                   lane->view->name, number);
    thread_set_name(name);
}

static void *run_lane(void *arg)
{
    struct lane_thread *t = arg;

    set_name(&t->lane);
    t->lane.tid = gettid();
    ringer_start(&t->lane.ringer);
    mem_guard_watch(&t->lane.view->mem);
    serve_parked(t);
    (void)uv_run(&t->loop, UV_RUN_DEFAULT); /* it ends when no handle is left */
    return NULL;
}

static void on_last_closed(struct lane *lane)
{
    /* It was the last handle: uv_run returns. */
}

static void close_lane(void *arg)
{
    mem_guard_watch(NULL);
    ringer_stop(&((struct lane *)arg)->ringer);
    lane_close(arg, on_last_closed);
}

/* ---- the disk's side ---- */

/* The loop has not run yet: it lets go of its handles here. */
static void abandon_lane(struct lane_thread *t)
{
    lane_close(&t->lane, on_last_closed);
    (void)uv_run(&t->loop, UV_RUN_DEFAULT);
}

static void init_sync(struct lane_thread *t)
{
    t->park.run = run_park;
    (void)sem_init(&t->parked, 0, 0); /* 0 is a good value, so they cannot fail */
    (void)sem_init(&t->go, 0, 0);
}

static void fini_sync(struct lane_thread *t)
{
    (void)sem_destroy(&t->parked);
    (void)sem_destroy(&t->go);
}

int lane_thread_start(struct lane **out, struct lane_view *view, unsigned index,
                      void (*turned)(struct lane *lane), void *owner, struct err *err)
{
    struct lane_thread *t = calloc(1, sizeof(*t));
    int ret;

    if (!t) {
        return err_set(err, -ENOMEM, "a thread");
    }
    ret = uv_loop_init(&t->loop);
    if (ret < 0) {
        err_set(err, ret, "no event loop");
        goto free_thread;
    }
    ret = lane_init(&t->lane, view, index, &t->loop, turned, owner);
    if (ret < 0) {
        err_set(err, ret, "no mailbox");
        goto close_loop;
    }
    init_sync(t);
    ret = thread_start(&t->thread, run_lane, t);
    if (ret < 0) {
        err_set(err, ret, "no thread");
        thread_hint(err);
        goto abandon;
    }
    take_semaphore(&t->parked);
    *out = &t->lane;
    return 0;

abandon:
    fini_sync(t);
    abandon_lane(t);
close_loop:
    (void)uv_loop_close(&t->loop);
free_thread:
    free(t);
    return ret;
}

void lane_thread_ask_park(struct lane *lane)
{
    mailbox_send(&lane->mailbox, &thread_of(lane)->park);
}

void lane_thread_await_park(struct lane *lane)
{
    await_parked(thread_of(lane));
}

void lane_thread_unpark(struct lane *lane)
{
    struct lane_thread *t = thread_of(lane);

    t->call = NULL;
    (void)sem_post(&t->go);
}

void lane_thread_call(struct lane *lane, void (*call)(void *arg), void *arg)
{
    struct lane_thread *t = thread_of(lane);

    t->call = call;
    t->arg = arg;
    (void)sem_post(&t->go);
    await_parked(t);
}

void lane_thread_stop(struct lane *lane)
{
    struct lane_thread *t = thread_of(lane);
    int ret;

    lane_thread_call(lane, close_lane, lane);
    lane_thread_unpark(lane);
    ret = pthread_join(t->thread, NULL);
    assert(ret == 0);
    ret = uv_loop_close(&t->loop);
    assert(ret == 0); /* -EBUSY: somebody forgot to close a handle */
    (void)ret;
    fini_sync(t);
    free(t);
}
