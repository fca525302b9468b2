/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's own thread, with a libuv loop and a mailbox for what control asks.
 *
 * Words shared between threads: worker.tid, which worker_main stores (relaxed) and worker_tid
 * loads, for people only.  Everything else of a worker is the control thread's before worker_start
 * and after the join, and its own thread's in between.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <uv.h>

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/base/mailbox.h"

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
