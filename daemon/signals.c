/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/signals.h"

#include <signal.h>

/*
 * SIGXCPU: the limit of processor time has passed its soft half, SIGKILL follows.  SIGPWR: the
 * power is failing.  Both may come again without anybody being impatient.
 */
static const int ending[] = {SIGTERM, SIGINT, SIGQUIT, SIGPWR, SIGXCPU};
_Static_assert(ARRAY_SIZE(ending) == SIGNALS_ENDING, "a handle for each");

/*
 * SIGTTIN and SIGTTOU would stop it, all disks included, when it writes its log in the
 * background of a terminal (stty tostop).
 */
static const int ignored[] = {
    SIGHUP,  SIGUSR1, SIGUSR2,   SIGPIPE, SIGALRM, SIGVTALRM,
    SIGPROF, SIGIO,   SIGSTKFLT, SIGXFSZ, SIGTTIN, SIGTTOU,
};

void signals_ignore(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN); /* fails for numbers that do not exist only */
    }
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        (void)signal(number, SIG_IGN);
    }
}

/* As under nohup, or in the background of a script. */
static bool is_ignored(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    (void)sigaction(number, NULL, &action); /* cannot fail for these */
    return action.sa_handler == SIG_IGN;
}

static void ending_set(sigset_t *set)
{
    (void)sigemptyset(set);
    for (unsigned i = 0; i < SIGNALS_ENDING; i++) {
        if (!is_ignored(ending[i])) {
            (void)sigaddset(set, ending[i]);
        }
    }
}

void signals_hold(sigset_t *before)
{
    sigset_t set;

    ending_set(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, before);
}

bool signals_have_come(void)
{
    sigset_t pending;
    bool has_come = false;

    (void)sigpending(&pending);
    for (unsigned i = 0; i < SIGNALS_ENDING; i++) {
        has_come |= sigismember(&pending, ending[i]) == 1;
    }
    return has_come;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct signals *signals = handle->data;

    if (!signals->was_told) {
        signals->was_told = true;
        signals->end(signals->arg);
    } else if (number != SIGPWR && number != SIGXCPU) {
        signals->hurry(signals->arg);
    }
}

int signals_init(struct signals *signals, uv_loop_t *loop, void (*end)(void *arg),
                 void (*hurry)(void *arg), void *arg)
{
    int ret = 0;

    *signals = (struct signals){.end = end, .hurry = hurry, .arg = arg};
    for (unsigned i = 0; ret == 0 && i < SIGNALS_ENDING; i++) {
        ret = uv_signal_init(loop, &signals->handle[i]);
        signals->handle[i].data = signals;
        if (ret == 0 && !is_ignored(ending[i])) {
            ret = uv_signal_start(&signals->handle[i], on_signal, ending[i]);
        }
    }
    return ret;
}

void signals_close(struct signals *signals)
{
    for (unsigned i = 0; i < SIGNALS_ENDING; i++) {
        uv_close((uv_handle_t *)&signals->handle[i], NULL);
    }
}
