/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What signals do to the daemon: some end it in order, and of the others none ends it but
 * SIGKILL and those of faults, as guests' requests in flight would be lost.
 * Owned by the daemon.  Thread: control; all other threads have signals blocked (thread_start).
 * Source: Linux man-pages, signal(7), "Standard signals".
 */

#include <signal.h>
#include <uv.h>

#include "core/base/base.h"

#define SIGNALS_ENDING 5

struct signals {
    uv_signal_t handle[SIGNALS_ENDING];
    bool was_told;
    void (*end)(void *arg);
    void (*hurry)(void *arg);
    void *arg;
};

/*
 * Ignore those that would end the process otherwise: a terminal that was closed (SIGHUP), a
 * reader that has gone, a limit of file size (the write fails with EFBIG).  Not of use after
 * threads were started.
 */
void signals_ignore(void);

/* Those that mean the end stay away, while there is no loop to watch for them. */
void signals_hold(sigset_t *before);

/* Has one of them come meanwhile? */
bool signals_have_come(void);

/*
 * Watch those that mean the end: `end(arg)` at the first, `hurry(arg)` when one that a person
 * sends comes again.  One that was ignored when the process began stays so.  Returns 0 or -errno;
 * after an error nothing may be closed, the process ends.
 */
int signals_init(struct signals *signals, uv_loop_t *loop, void (*end)(void *arg),
                 void (*hurry)(void *arg), void *arg);

void signals_close(struct signals *signals);
