/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A file descriptor on a loop: a callback when it can be read.  libuv lets go of a handle
 * only after the current turn, so a watch lives on its own and outlasts whoever asked for it:
 * after watch_close the callback is never called again and the fd may be closed.
 * Disk thread only.
 */

#include <uv.h>

#include "core/base/base.h"

struct watch {
    uv_poll_t poll;
    int fd;
    bool owns_fd;
    bool wants_edges;
    bool has_edges;
    void (*readable)(struct watch *watch);
    void *arg;              /* whose it is */
    unsigned *open_handles; /* counted down when the handle is gone */
};

/*
 * Returns 0 or -errno (-EPERM: a file that cannot be waited for, as a regular file).
 * On success the watch owns `fd` if `owns_fd`, and *open_handles is counted up.
 */
int watch_open(struct watch **out, uv_loop_t *loop, int fd, bool owns_fd,
               void (*readable)(struct watch *watch), void *arg, unsigned *open_handles);

/*
 * For an eventfd or timer: call back once for each time that it becomes readable anew (it is
 * written to, it expires), instead of for as long as it is.  Nobody is to read it, which saves
 * a system call for each wake-up.  Call it right after watch_open.
 */
void watch_edges(struct watch *watch);

/* NULL is fine. */
void watch_close(struct watch *watch);
