/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The directory of a socket, which vblkd makes if it is the daemon's own socket directory, or below
 * it: a reboot, or a cleaner, may have taken it away.  Owned by whoever has the socket.
 * Thread: the owner's.
 */

#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/err.h"

/* Others may go through, to sockets whose own mode lets them in, and not look around. */
#define SOCKET_DIR_MODE 0711

/* As it was when it was there. */
struct socket_dir {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    bool is_known;
};

/* Note mode and owner of the directory of `path`, if it is there. */
void socket_dir_note(struct socket_dir *dir, const char *path);

/*
 * Make the directory of `path` when it is not there and `below`, NULL: none, is it or lies above
 * it, with the mode and owner that were noted.  Returns 0, also when there is nothing to be done or
 * nobody may do it, or -errno.
 */
int socket_dir_make(const struct socket_dir *dir, const char *path, const char *below,
                    struct err *err);
