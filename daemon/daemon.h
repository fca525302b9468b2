/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The daemon: the control loop with its socket, the disks, the state directory; signals,
 * readiness, and the orderly end.
 * Thread: control, which is the main thread.
 */

#include "daemon/daemon_opts.h"

/*
 * Run until told to end.  Returns the exit status: 0 when all disks were drained, 1 when not,
 * or when it could not start (a sentence about that goes to standard error).
 * Before: signals_ignore, mem_guard_install, limits raised.
 */
int daemon_run(const struct daemon_opts *opts);
