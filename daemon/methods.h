/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The methods of the control protocol: one table of names, declared parameters and
 * functions, which daemon.methods tells to whoever asks.
 * Thread: control.
 */

#include "daemon/call.h"
#include "daemon/registry.h"

/* What methods act on.  Owned by the daemon. */
struct methods {
    struct registry *registry;
    void (*shutdown)(void *arg); /* begin the orderly end; returns at once */
    void *arg;
};

struct method {
    const char *name;
    const struct param *params;
    size_t target_size; /* of the struct that params_read fills */
    const char *help;
    void (*run)(struct methods *methods, struct call *call, const void *target);
};

/* Ends with a method without a name. */
extern const struct method disk_methods[];

/* Run `name` and see that the call is answered, now or later.  `arg` is a struct methods. */
void methods_run(struct call *call, const char *name, const json_t *params, void *arg);
