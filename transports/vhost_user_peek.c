/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_peek.h"

#include <errno.h>
#include <sys/socket.h>

ssize_t vu_peek(int fd, void *to, size_t want, bool *has_fds)
{
    struct iovec iov = {.iov_base = to, .iov_len = want};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t got;

    do {
        got = recvmsg(fd, &hdr, MSG_PEEK | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    *has_fds = got > 0 && (hdr.msg_flags & MSG_CTRUNC);
    return got < 0 ? -errno : got;
}
