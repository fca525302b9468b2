/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A process that was killed and has not gone, with all that it has open, as one has that waits for
 * I/O; one that holds something and lives; and something that is held by no process any more.
 */

#include <stdbool.h>

#include <sys/types.h>

/* `hold` runs in it, and what it has opened stays open.  Returns its pid. */
pid_t living_begin(void (*hold)(void *arg), void *arg);
void living_end(pid_t pid);

/* Returns -1 where a process may not be traced. */
pid_t dying_begin(void (*hold)(void *arg), void *arg);
void dying_end(pid_t pid);

/* The open file of `fd`, which is closed, goes on without a process until the other is closed. */
int adrift_begin(int fd);
void adrift_end(int adrift);
