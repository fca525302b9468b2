/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * File descriptors over a UNIX socket.  Thread: any.
 */

#include <sys/socket.h>
#include <sys/types.h>

/* The most that one message can carry.  Source: Linux, SCM_MAX_FD. */
#define FDS_MAX 253

union fds_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

/*
 * Send what can be sent at once; `count` fds, which stay the caller's, go with the first byte.
 * Returns the bytes or -errno.
 */
ssize_t fds_send(int to, const void *data, size_t len, const int *fds, unsigned count);
