/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Threads as this daemon has them.  Thread: any. */

#include <pthread.h>

#include "core/base/err.h"

/* Signals stay with the thread that had them; faults go to whoever causes them.  0 or -errno. */
int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

/* What to do when there is none to be had. */
void thread_hint(struct err *err);

/* The calling thread's, for people; the kernel keeps its first 15 bytes. */
void thread_set_name(const char *name);
