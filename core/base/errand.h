/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Something that may block for ever, done on a thread of its own, so that its sender goes on.
 * Embedded in the sender's object, and the errand's thread's from errand_send to `done`: what
 * `run` touches must stay until then.  Signals stay with other threads.
 */

#include <pthread.h>

#include "core/base/mailbox.h"

struct errand {
    struct message message;
    struct mailbox *home; /* the sender's */
    pthread_t thread;
    void (*run)(struct errand *errand);  /* on the errand's thread */
    void (*done)(struct errand *errand); /* back on the sender's */
};

/*
 * `home` must stay until `done` has run.  Returns 0, or -errno (no thread is to be had), and then
 * neither function runs.
 */
int errand_send(struct errand *errand, struct mailbox *home);
