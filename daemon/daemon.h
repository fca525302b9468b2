/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The daemon: the control loop with its socket, the disks, the state directory; signals,
 * readiness, and the orderly end.
 * Thread: control, which is the main thread.
 */

#include "core/base/err.h"
#include "daemon/admission.h"

struct daemon_opts {
    const char *control_path;
    const char *socket_dir;
    const char *state_dir;
    struct admission admission;
    const char *sandbox; /* what there is of it, for people */
};

/*
 * Run until told to end.  Returns the exit status: 0 when all disks were drained, 1 when not,
 * or when it could not start (a sentence about that goes to standard error).
 * Before: signals_ignore, mem_guard_install, limits raised.
 */
int daemon_run(const struct daemon_opts *opts);
