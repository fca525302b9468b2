/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Tells when files of sockets are deleted, moved or given to somebody else, by directory: cleaners
 * of temporary directories do that, and administrators.  It costs nothing while nothing happens,
 * and sees nothing of what happens to the directories above.
 * Owned by whoever has the sockets.  Thread: control.
 * Source: Linux man-pages, inotify(7).
 */

#include <uv.h>

#include "core/base/base.h"

struct socket_watch {
    /*
     * `name` in the watched directory has gone or changed.  NULL: what happened there is not known,
     * or to the directory itself, all its files must be looked at; after `is_lost` it is watched no
     * more. `directory` -1: any of them.
     */
    void (*gone)(void *arg, int directory, const char *name, bool is_lost);
    void *arg;
    int fd; /* owned, -1: the host has none left */
    uv_poll_t poll;
};

/* Without a watch to be had all else works, and socket_watch_add fails. */
void socket_watch_init(struct socket_watch *watch, uv_loop_t *loop,
                       void (*gone)(void *arg, int directory, const char *name, bool is_lost),
                       void *arg);

/* Watch the directory of `path`.  Returns its number, the same for each of its files, or -errno. */
int socket_watch_add(struct socket_watch *watch, const char *path);

/* None of its files is watched any more.  Nothing on -1. */
void socket_watch_drop(struct socket_watch *watch, int directory);

void socket_watch_close(struct socket_watch *watch);

/* Is `name` that of `path` or of its lock? */
bool socket_watch_is_name(const char *path, const char *name);
