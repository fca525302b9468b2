/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/predecessor.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#include "core/base/base.h"
#include "core/base/file_lock.h"
#include "daemon/signals.h"
#include "daemon/state.h"
#include "transports/unix_socket.h"

static int await_one(const char *path, const char *name)
{
    char lock[PATH_MAX + 16];

    (void)snprintf(lock, sizeof(lock), "%s%s", path, name);
    return file_lock_await(lock, "daemon", signals_have_come);
}

/* Signals are looked at, and not delivered: what comes meanwhile is to end it in order. */
int predecessor_await(const char *control_path, const char *state_dir)
{
    sigset_t before;
    int ret;

    signals_hold(&before);
    ret = await_one(control_path, UNIX_LOCK_SUFFIX);
    if (ret == 0) {
        ret = await_one(state_dir, "/" STATE_LOCK_NAME);
    }
    if (ret == 0) {
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return ret;
}
