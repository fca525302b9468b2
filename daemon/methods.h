/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The methods of the control protocol: one table of names, declared parameters and
 * functions, which daemon.methods tells to whoever asks.
 * Thread: control.
 */

#include "daemon/method.h"

/* Run `name` and see that the call is answered, now or later.  `arg` is a struct methods. */
void methods_run(struct call *call, const char *name, const json_t *params, void *arg);
