/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* What was pushed newest first, in the order in which it was sent. */
static struct message *oldest_first(struct message *newest)
{
    struct message *list = NULL;

    while (newest) {
        struct message *next = newest->next;

        newest->next = list;
        list = newest;
        newest = next;
    }
    return list;
}

/* One wake-up may stand for many messages: libuv merges them. */
static void on_mail(uv_async_t *async)
{
    struct mailbox *mailbox = containerof(async, struct mailbox, async);
    struct message *message =
        oldest_first(atomic_exchange_explicit(&mailbox->head, NULL, memory_order_acquire));

    while (message) {
        struct message *next = message->next;

        message->run(message);
        message = next;
    }
}

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop)
{
    atomic_init(&mailbox->head, NULL);
    return uv_async_init(loop, &mailbox->async, on_mail);
}

void mailbox_close(struct mailbox *mailbox)
{
    assert(!atomic_load_explicit(&mailbox->head, memory_order_relaxed));
    uv_close((uv_handle_t *)&mailbox->async, NULL);
}

void mailbox_send(struct mailbox *mailbox, struct message *message)
{
    struct message *head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);

    do {
        message->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->head, &head, message,
                                                    memory_order_release, memory_order_relaxed));
    (void)uv_async_send(&mailbox->async); /* fails for handles that are no uv_async_t only */
}

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

    (void)pthread_setname_np(pthread_self(), worker->name); /* a name for people, no more */
    atomic_store_explicit(&worker->tid, gettid(), memory_order_relaxed);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* 0: it ends when no handle is left */
    mailbox_send(worker->control, &worker->ended_message);
    return NULL;
}

/* Signals are the control thread's; faults stay with the thread that caused them. */
static int start_thread(struct worker *worker)
{
    sigset_t blocked;
    sigset_t before;
    int ret;

    (void)sigfillset(&blocked);
    (void)sigdelset(&blocked, SIGBUS);
    (void)sigdelset(&blocked, SIGSEGV);
    (void)sigdelset(&blocked, SIGILL);
    (void)sigdelset(&blocked, SIGFPE);
    (void)sigdelset(&blocked, SIGABRT);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    ret = pthread_create(&worker->thread, NULL, worker_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -ret;
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
        return err_set(err, ret, "%s: no event loop", name);
    }
    ret = mailbox_init(&worker->mailbox, &worker->loop);
    if (ret < 0) {
        (void)uv_loop_close(&worker->loop);
        return err_set(err, ret, "%s: no mailbox", name);
    }
    (void)snprintf(worker->name, sizeof(worker->name), "%s", name);
    worker->control = control;
    worker->ended = ended;
    worker->ended_message.run = run_ended;
    atomic_init(&worker->tid, 0);
    ret = start_thread(worker);
    if (ret < 0) {
        abandon_loop(worker);
        return err_set(err, ret, "%s: no thread", name);
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
