/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The inside of vblkd in a fuzz target's process: control, its table of disks, their threads, the
 * state file.  The target's thread is control, and a client of it.
 * One in a process, and it ends with that.  Thread: the target's.
 */

#include <jansson.h>

#include "core/base/base.h"

/* A path in its directory, which goes with the process. */
#define HOST_PATH_BYTES 96

void host_start(void);
void host_path(char path[HOST_PATH_BYTES], const char *name);

/* One turn of control's loop; what it has answered is checked. */
void host_turn(void);

/* The same until the deadline: somebody who waits for ever is a fault. */
void host_turn_until(uint64_t deadline_ns);

/* Ask for `method` with `params`, JSON of an object, and go on. */
void host_ask(const char *method, const char *params);

/* Until all that was asked is answered. */
void host_settle(void);

/*
 * Ask and wait.  The result, the caller's, or NULL: it was refused, which is told when it may not
 * be.
 */
json_t *host_call(const char *method, const char *params, bool may_not_fail);

/* Whether the disks that are there are those of the table, and how many threads end still. */
unsigned host_disks(void);
unsigned host_ending(void);
