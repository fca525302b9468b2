/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the process may not do any more once it serves guests, so that a guest that finds a way in
 * has found little: no privilege gained, few capabilities, few system calls.
 * Thread: main, before there are others, which inherit it all.
 */

#include "core/base/base.h"
#include "core/base/err.h"

enum sandbox_mode {
    SANDBOX_AUTO, /* what this machine has; the log tells what it has not */
    SANDBOX_ON,   /* all of it, or no start */
    SANDBOX_OFF,
};

#define SANDBOX_TEXT_BYTES 256

struct sandbox {
    char text[SANDBOX_TEXT_BYTES]; /* for people: "no new privileges, seccomp" */
};

struct sandbox_user;

/*
 * `user` NULL, or not given: the one that it is.  With one, the process is left without any
 * capability: names are asked of a broker (core/base/names.h), which must have been started.
 * There is no way back.  Fails with SANDBOX_ON, and says what is missing, or when it cannot become
 * the user.
 */
int sandbox_enter(struct sandbox *sandbox, enum sandbox_mode mode, const struct sandbox_user *user,
                  struct err *err);

/* Returns false when it is none of auto, on, off. */
bool sandbox_parse_mode(const char *text, enum sandbox_mode *mode);
