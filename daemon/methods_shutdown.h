/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * daemon.shutdown: whoever asks for the end is told first what would go with it.
 * Thread: control.
 */

#include "daemon/method.h"

struct shutdown_target {
    bool force;
};

extern const struct param shutdown_params[];

/* `target` is a struct shutdown_target. */
void run_shutdown(struct methods *methods, struct call *call, const void *target);

/*
 * Tell those who asked for it that the daemon has ended: `lost->code` 0: in order, else it says
 * what is lost.  Before control_finish and registry_fini.
 */
void shutdown_tell(struct control *control, const struct registry *registry,
                   const struct err *lost);
