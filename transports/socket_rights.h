/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who may connect to a socket: mode, owner and label of its file, which has them before anybody
 * can.  Plain values.
 * Thread: any.
 */

#include <sys/stat.h>
#include <sys/types.h>

#include "core/base/err.h"

struct socket_rights {
    mode_t mode;
    uid_t uid;         /* SOCKET_ANYBODY: whoever makes it */
    gid_t gid;         /* the same, or the directory's */
    const char *xattr; /* lent: the name of the attribute that has the label, NULL: none has */
    const char *label; /* lent */
};

#define SOCKET_ANYBODY ((uid_t)-1)

/* Of whoever makes it. */
#define SOCKET_OWN(mode_)           \
    (&(const struct socket_rights){ \
        .mode = (mode_),            \
        .uid = SOCKET_ANYBODY,      \
        .gid = SOCKET_ANYBODY,      \
    })

/*
 * Give them to the file of `path` (for sentences), which is open as `fd`, with O_PATH at least, and
 * has `st`.  `may_keep`: where it cannot be given away it stays as it is, with no rights for
 * others. Returns 0 or -errno; -EPERM: it may not be given to that owner.
 */
int socket_rights_give(const struct socket_rights *rights, const char *path, int fd,
                       const struct stat *st, bool may_keep, struct err *err);

/* Of the kernel's security module: the attribute's name, NULL: it has none that labels files. */
const char *socket_rights_xattr(void);
