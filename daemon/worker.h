/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A thread with a libuv loop of its own, and the mailboxes through which threads speak.
 *
 * A message is embedded in the sender's own object, so nothing is allocated on arrival.  It
 * is owned by one side at a time: sending hands it over with all that it points to, and the
 * answer hands it back the same way.
 *
 * Words shared between threads, each with its partner:
 *   mailbox.head  mailbox_send pushes (release); on_mail takes all (acquire), and so sees
 *                 what the sender wrote before it sent
 *   worker.tid    worker_main stores (relaxed); worker_tid loads, for people only
 * Everything else of a worker is the control thread's before worker_start and after the
 * join, and its own thread's in between.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <uv.h>

#include "core/base.h"
#include "core/err.h"

struct message {
    struct message *next;
    void (*run)(struct message *message); /* on the receiver's thread; may free the message */
};

/* Owned by the receiver, whose loop it wakes. */
struct mailbox {
    uv_async_t async;
    _Atomic(struct message *) head; /* newest first */
};

/* Thread: the loop's, or the one that has not yet handed the loop over. */
int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop);

/* Nobody may send any more.  Thread: the receiver's. */
void mailbox_close(struct mailbox *mailbox);

/*
 * Messages of one sender run in the order sent.  The mailbox must stay until this returns:
 * whoever frees it has to know that no sender is inside.
 * Thread: any.
 */
void mailbox_send(struct mailbox *mailbox, struct message *message);

struct worker {
    uv_loop_t loop;
    struct mailbox mailbox;
    struct mailbox *control; /* lent: outlives the worker */
    pthread_t thread;
    _Atomic pid_t tid; /* 0: not running yet */
    struct message ended_message;
    void (*ended)(struct worker *worker);
    char name[16]; /* as the kernel shows it */
};

/*
 * Start the thread.  When it has left its loop, it is joined and `ended` runs, on the
 * control thread; after that the worker's memory may go.
 * Thread: control.
 */
int worker_start(struct worker *worker, const char *name, struct mailbox *control,
                 void (*ended)(struct worker *worker), struct err *err);

/*
 * Close the mailbox; the thread ends when its other handles are closed as well.
 * Thread: the worker's, from the last message that control sends.
 */
void worker_leave(struct worker *worker);

bool worker_is_current(const struct worker *worker);

/* The kernel's number of the thread, 0 when it has not run yet.  Thread: any. */
pid_t worker_tid(const struct worker *worker);
