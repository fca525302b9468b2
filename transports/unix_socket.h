/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A listening UNIX socket that can be taken over safely: beside PATH lies PATH.lock, held
 * (flock) by whoever listens.  With the lock in hand a socket file that is there is stale and
 * is unlinked; without it, somebody lives there and the path is refused.
 * Thread: any; the caller owns the struct.
 */

#include <sys/types.h>

#include "core/base.h"
#include "core/err.h"

#define UNIX_PATH_BYTES 108 /* sizeof sun_path, the final NUL included */

struct unix_listener {
    int fd;      /* listening, non-blocking; -1: none */
    int lock_fd; /* -1: none */
    dev_t dev;   /* of the socket file, to know it again */
    ino_t ino;
    char path[UNIX_PATH_BYTES];
};

/* Returns 0; -ENAMETOOLONG, -EADDRINUSE, -EEXIST (no socket), or what the system said. */
int unix_listen(struct unix_listener *listener, const char *path, mode_t mode, struct err *err);

/* Close, unlink, unlock.  Nothing happens on one that does not listen. */
void unix_unlisten(struct unix_listener *listener);
