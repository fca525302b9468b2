/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A listening UNIX socket that can be taken over safely: beside PATH lies PATH.lock, held
 * (flock) by whoever listens.  With the lock in hand a socket file that is there and takes no
 * connection is stale, and is unlinked; without it, or when it does, somebody lives there and
 * the path is refused.  The file of a lock may be deleted like any other, so the lock alone does
 * not tell.
 * Thread: any; the caller owns the struct.
 */

#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/err.h"
#include "transports/socket_rights.h"

#define UNIX_PATH_BYTES 108 /* sizeof sun_path, the final NUL included */
#define UNIX_LOCK_SUFFIX ".lock"

struct unix_listener {
    int fd;      /* listening, non-blocking; -1: none */
    int lock_fd; /* -1: none */
    dev_t dev;   /* of the socket file, to know it again */
    ino_t ino;
    struct socket_rights rights; /* mode and owner as it had them when it was last in its place */
    bool is_known;               /* it was found there */
    bool took_over; /* a socket lay there: whoever listened before did not end in order */
    char path[UNIX_PATH_BYTES];
};

/*
 * Returns 0; -ENAMETOOLONG, -EADDRINUSE, -EEXIST (no socket), or what the system said; -EPERM: it
 * cannot be given to that owner.
 */
int unix_listen(struct unix_listener *listener, const char *path,
                const struct socket_rights *rights, struct err *err);

/*
 * Are the socket and the lock still where they were made?  Its mode and owner are noted, for one
 * that is made in its place.
 */
bool unix_listener_is_in_place(struct unix_listener *listener);

/*
 * Make those anew that have gone; who is connected does not notice.  `listener->fd` keeps its
 * number and becomes another socket, so whoever polls it must stop before and start afterwards.
 * Returns 0; -EAGAIN: somebody waits at the old socket, accept that first; -EADDRINUSE: another
 * process has taken the place, as far as one look tells; or as unix_listen.  After an error the
 * socket is as it was, while the lock may have been made anew.
 */
int unix_listener_mend(struct unix_listener *listener, struct err *err);

/* Close, unlink, unlock.  Nothing happens on one that does not listen. */
void unix_unlisten(struct unix_listener *listener);
