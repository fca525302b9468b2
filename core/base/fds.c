/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/fds.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

ssize_t fds_send(int to, const void *data, size_t len, const int *fds, unsigned count)
{
    union fds_control control;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): sendmsg takes no const */
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (count > 0) {
        struct cmsghdr *cmsg;

        memset(&control, 0, CMSG_SPACE(sizeof(int) * count));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    }
    do {
        sent = sendmsg(to, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}
