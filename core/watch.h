/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A file descriptor on a loop: a callback when it can be read.  libuv lets go of a handle
 * only after the current turn, so a watch lives on its own and outlasts whoever asked for it:
 * after watch_close the callback is never called again and the fd may be closed.
 * Disk thread only.
 */

#include <uv.h>

#include "core/base.h"

struct watch {
    uv_poll_t poll;
    int fd;
    bool owns_fd;
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

/* NULL is fine. */
void watch_close(struct watch *watch);
