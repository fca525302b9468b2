/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/worker.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/thread.h"
#include "daemon/limits.h"

/*
 * The loop is closed here and not by its thread: a sender may still be inside uv_async_send
 * for the message that made the thread leave, and that writes to the loop's eventfd.
 */
static void run_ended(struct message *message)
{
    struct worker *worker = containerof(message, struct worker, ended_message);
    int ret = pthread_join(worker->thread, NULL);

    assert(ret == 0);
    ret = uv_loop_close(&worker->loop);
    assert(ret == 0); /* -EBUSY: somebody forgot to close a handle */
    (void)ret;
    worker->ended(worker);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;

    thread_set_name(worker->name);
    atomic_store_explicit(&worker->tid, gettid(), memory_order_relaxed);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* 0: it ends when no handle is left */
    mailbox_send(worker->control, &worker->ended_message);
    return NULL;
}

/* The loop has not run: one turn lets the mailbox's handle finish closing. */
static void abandon_loop(struct worker *worker)
{
    mailbox_close(&worker->mailbox);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&worker->loop);
}

int worker_start(struct worker *worker, const char *name, struct mailbox *control,
                 void (*ended)(struct worker *worker), struct err *err)
{
    int ret = uv_loop_init(&worker->loop);

    if (ret < 0) {
        (void)err_set(err, ret, "%s: no event loop", name);
        limits_hint(err);
        return ret;
    }
    ret = mailbox_init(&worker->mailbox, &worker->loop);
    if (ret < 0) {
        (void)uv_loop_close(&worker->loop);
        (void)err_set(err, ret, "%s: no mailbox", name);
        limits_hint(err);
        return ret;
    }
    (void)snprintf(worker->name, sizeof(worker->name), "%s", name);
    worker->control = control;
    worker->ended = ended;
    worker->ended_message.run = run_ended;
    atomic_init(&worker->tid, 0);
    ret = thread_start(&worker->thread, worker_main, worker);
    if (ret < 0) {
        abandon_loop(worker);
        (void)err_set(err, ret, "%s: no thread", name);
        thread_hint(err);
        return ret;
    }
    return 0;
}

void worker_leave(struct worker *worker)
{
    assert(worker_is_current(worker));
    mailbox_close(&worker->mailbox);
}

bool worker_is_current(const struct worker *worker)
{
    return atomic_load_explicit(&worker->tid, memory_order_relaxed) == gettid();
}

pid_t worker_tid(const struct worker *worker)
{
    return atomic_load_explicit(&worker->tid, memory_order_relaxed);
}
