/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Whom the process becomes that serves guests.
 * Thread: main, before there are others.
 */

#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/err.h"

struct sandbox_user {
    bool is_given;
    bool has_group;
    uid_t uid;
    gid_t gid;
    char name[64]; /* as it was given */
};

/* A name or a number; the group of a name is the user's own, until another one is given. */
int sandbox_user_parse(struct sandbox_user *user, const char *text, struct err *err);
int sandbox_group_parse(struct sandbox_user *user, const char *text, struct err *err);

/* May we become that? */
int sandbox_user_check(const struct sandbox_user *user, struct err *err);

/* With the groups that a name has. */
int sandbox_user_become(const struct sandbox_user *user, struct err *err);

/*
 * A state directory of root's becomes the user's, and what vblkd made there as root, also in one
 * that is the user's already.  -EADDRINUSE: another vblkd has it, and it stays as it is.
 */
int sandbox_user_give(const struct sandbox_user *user, const char *dir, struct err *err);
