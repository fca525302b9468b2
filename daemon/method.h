/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A method of the control protocol as the table has it, and what methods act on.
 * Thread: control.
 */

#include "daemon/call.h"
#include "daemon/gather.h"
#include "daemon/registry.h"

struct farewell;

/* Owned by the daemon. */
struct methods {
    struct registry *registry;
    void (*shutdown)(void *arg); /* begin the orderly end; returns at once */
    void (*hand_over)(void *arg, struct call *call, const void *target); /* answers the call */
    void *arg;
    const char *sandbox; /* what there is of it, for people */
    struct gather gather;
    struct farewell *farewell; /* owned: what shutdown would lose is looked for, NULL: it is not */
};

struct method {
    const char *name;
    const struct param *params;
    size_t target_size; /* of the struct that params_read fills */
    const char *help;
    void (*run)(struct methods *methods, struct call *call, const void *target);
    const struct param *fixed; /* rows that it has no more, as they are settled; NULL: none */
    bool is_reader;            /* changes nothing: those who may only read may call it */
};
