/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How vblkvm comes to its end: told by a signal, and within a limit of time.  The first signal
 * ends the guest.  When the rest takes long, as its disks may finish their requests in flight,
 * the user is told what it waits for; another signal, or the limit, gives up.
 *
 * A thread of its own, for every other one may be waiting for a back-end.
 * Owner: the launcher.
 */

#include "cmd/vm/machine.h"

struct ending {
    struct machine *machine; /* parent */
    int signal_fd;           /* owned, as done_fd */
    int done_fd;
    pthread_t thread;
};

/* Before any other thread, so that all of them leave the signals to this one. */
int ending_open(struct ending *ending, struct machine *machine, struct err *err);

/* All has ended in time. */
void ending_close(struct ending *ending);
