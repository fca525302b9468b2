/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/thread.h"

#include <signal.h>
#include <stdio.h>

int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
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
    ret = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -ret;
}

void thread_hint(struct err *err)
{
    err_hint(err, "raise the limit of threads: TasksMax= in the systemd unit of vblkd, "
                  "ulimit -u, or kernel.threads-max, kernel.pid_max and vm.max_map_count "
                  "with sysctl");
}

void thread_set_name(const char *name)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%s", name);
    (void)pthread_setname_np(pthread_self(), text); /* it fits; no more depends on it */
}
