/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A look at something of others that may block for ever, for who can do without: it is taken on a
 * thread of its own, and waited for so long and no longer.  One that is not back holds up nobody
 * a second time.  For a loop that goes on meanwhile there are errands (errand.h).
 */

#include <pthread.h>

#include "core/base/base.h"

/*
 * Embedded at the start of the caller's object, which is from malloc: the thread frees it when it
 * comes back too late.
 */
struct glance {
    struct glance *next; /* of those that are not back in time */
    pthread_t thread;
    pthread_cond_t is_back_cond;
    bool is_back;
    bool is_late;
    void (*run)(struct glance *glance); /* on its thread; touches nothing but the object */
    char what[64]; /* what is looked at: once at a time when it does not answer */
};

/*
 * Returns 0 when it is back, and -errno when there is no thread to be had: the object is the
 * caller's.  -ETIMEDOUT: it is not, after `timeout_ms` or since an earlier one, and the object is
 * not the caller's any more.
 * Thread: any; waits.
 */
int glance_take(struct glance *glance, unsigned timeout_ms);
