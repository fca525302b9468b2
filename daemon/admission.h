/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who may connect to the control socket, and what for: by the credentials that the kernel has of a
 * client, unix(7) SO_PEERCRED and SO_PEERGROUPS.  Root and the daemon's own user may do all.
 * Plain values.  Thread: control.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "core/base/err.h"

/* Each includes those before it. */
enum rights {
    RIGHTS_NONE,
    RIGHTS_READ,   /* methods that change nothing */
    RIGHTS_CHANGE, /* all of them */
    RIGHTS_OWNER,  /* the same, and there is always room for one more client of that kind */
};

#define ADMISSIONS_MAX 64u

struct admission {
    struct {
        id_t id;
        bool is_group;
        enum rights rights;
    } list[ADMISSIONS_MAX];
    unsigned count;
};

/*
 * `text` is NAME, a number, or either with ":read", and more of them behind commas.  Names are
 * looked up at once.  Returns 0, -EINVAL or -ENOSPC with what is wrong; nothing is added then.
 */
int admission_add(struct admission *admission, const char *text, bool is_group, struct err *err);

/* The most that is given to whoever is at the other end of `fd`, a connected UNIX socket. */
enum rights admission_rights(const struct admission *admission, int fd);
