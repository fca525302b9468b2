/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/ending.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/base/log.h"

#define PATIENCE_MS 3000u /* until the user is told */
#define LIMIT_MS 60000u   /* as long as a front-end waits for a ring that is stopped */

/* The signals that end it, as far as they can be caught. */
static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct progress {
    uint64_t ended_ns; /* when the guest ended, 0: it runs */
    bool has_signal;
    bool was_told;
};

/* "vda, vdb": who has requests in flight. */
static void name_disks(const struct machine *machine, char *text, size_t room)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < machine->disk_count && used < room; i++) {
        if (machine->disk[i].is_stopping) {
            used += (size_t)snprintf(text + used, room - used, "%s%s", used > 0 ? ", " : "",
                                     machine->disk[i].name);
        }
    }
}

static void describe(const struct machine *machine, char *text, size_t room)
{
    char names[256];

    name_disks(machine, names, sizeof(names));
    (void)snprintf(text, room, "%s%s",
                   names[0] ? "the requests in flight of " : "a back-end, or the console's reader",
                   names);
}

/* What the others hold is the kernel's to clean up, the terminal is not. */
static void give_up(struct machine *machine)
{
    char what[320];

    describe(machine, what, sizeof(what));
    console_restore();
    (void)pthread_mutex_lock(&machine->end_lock);
    log_plain("vblkvm: %s%sgave up waiting for %s", machine->why, machine->why[0] ? "; " : "",
              what);
    (void)log_stop(LOG_STOP_MS);
    _exit(EXIT_FAILURE);
}

static void take_signal(struct ending *ending, struct progress *progress)
{
    struct signalfd_siginfo info;

    if (read(ending->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return;
    }
    if (progress->has_signal || progress->was_told) {
        give_up(ending->machine);
    }
    progress->has_signal = true;
    machine_end(ending->machine, EXIT_FAILURE, "ended by signal %s",
                sigabbrev_np((int)info.ssi_signo));
}

static unsigned elapsed_ms(const struct progress *progress)
{
    return (unsigned)((now_ns() - progress->ended_ns) / NS_PER_MS);
}

static void look_at_clock(struct ending *ending, struct progress *progress)
{
    char what[320];

    if (elapsed_ms(progress) >= LIMIT_MS) {
        give_up(ending->machine);
    }
    if (elapsed_ms(progress) >= PATIENCE_MS && !progress->was_told) {
        progress->was_told = true;
        describe(ending->machine, what, sizeof(what));
        log_plain("vblkvm: waiting for %s; another signal gives up", what);
    }
}

static int remaining_ms(const struct progress *progress)
{
    unsigned until = progress->was_told ? LIMIT_MS : PATIENCE_MS;
    unsigned now;

    if (progress->ended_ns == 0) {
        return -1;
    }
    now = elapsed_ms(progress);
    return now < until ? (int)(until - now) : 0;
}

enum { POLL_DONE, POLL_SIGNAL, POLL_END, POLL_COUNT };

static void *watch(void *arg)
{
    struct ending *ending = arg;
    struct progress progress = {0};
    struct pollfd polled[POLL_COUNT] = {
        [POLL_DONE] = {.fd = ending->done_fd, .events = POLLIN},
        [POLL_SIGNAL] = {.fd = ending->signal_fd, .events = POLLIN},
        [POLL_END] = {.fd = ending->machine->end_fd, .events = POLLIN},
    };

    while (!polled[POLL_DONE].revents) {
        if (poll(polled, POLL_COUNT, remaining_ms(&progress)) < 0) {
            continue; /* EINTR */
        }
        if (polled[POLL_END].revents) {
            progress.ended_ns = now_ns();
            polled[POLL_END].fd = -1; /* it stays readable */
        }
        if (polled[POLL_SIGNAL].revents) {
            take_signal(ending, &progress);
        }
        if (progress.ended_ns != 0 && !polled[POLL_DONE].revents) {
            look_at_clock(ending, &progress);
        }
    }
    return NULL;
}

/* What is ignored stays so, as nohup wants it: a signalfd would take it all the same. */
static bool is_ignored(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    (void)sigaction(number, NULL, &action); /* cannot fail for these */
    return action.sa_handler == SIG_IGN;
}

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < ARRAY_SIZE(end_signals); i++) {
        if (!is_ignored(end_signals[i])) {
            sigaddset(&set, end_signals[i]);
        }
    }
    (void)sigprocmask(SIG_BLOCK, &set, NULL); /* cannot fail with these arguments */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int ending_open(struct ending *ending, struct machine *machine, struct err *err)
{
    int ret;

    ending->machine = machine;
    ending->signal_fd = open_signals();
    if (ending->signal_fd < 0) {
        return err_set(err, -errno, "signalfd");
    }
    ending->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ending->done_fd < 0) {
        ret = err_set(err, -errno, "eventfd");
        goto close_signals;
    }
    ret = -pthread_create(&ending->thread, NULL, watch, ending);
    if (ret < 0) {
        err_set(err, ret, "cannot start a thread");
        goto close_done;
    }
    return 0;

close_done:
    close(ending->done_fd);
close_signals:
    close(ending->signal_fd);
    return ret;
}

void ending_close(struct ending *ending)
{
    (void)eventfd_write(ending->done_fd, 1);
    (void)pthread_join(ending->thread, NULL);
    close(ending->done_fd);
    close(ending->signal_fd);
}
