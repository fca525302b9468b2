/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/vhost_msg.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

int vhost_connect(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int sock;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(addr.sun_path, path);
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0) {
        return -errno;
    }
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int ret = -errno;

        close(sock);
        return ret;
    }
    return sock;
}

static ssize_t send_with_fds(int sock, struct iovec *iov, const int *fds, unsigned fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_MAX_FDS * 2)];
    } control = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 1};

    if (fd_count > 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
    }
    return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

int vhost_send_bytes(int sock, const void *bytes, size_t len, const int *fds, unsigned fd_count)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

    while (iov.iov_len > 0) {
        ssize_t sent = send_with_fds(sock, &iov, fds, fd_count);

        if (sent < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        iov.iov_base = (char *)iov.iov_base + sent;
        iov.iov_len -= (size_t)sent;
        fd_count = 0;
    }
    return 0;
}

int vhost_send(int sock, const struct vhost_out *out)
{
    uint8_t bytes[VHOST_HEADER_BYTES + VHOST_MAX_PAYLOAD];
    uint32_t header[3] = {out->request, out->flags, out->size};

    if (out->len > VHOST_MAX_PAYLOAD) {
        return -EMSGSIZE;
    }
    memcpy(bytes, header, sizeof(header));
    if (out->len > 0) {
        memcpy(bytes + sizeof(header), out->payload, out->len);
    }
    return vhost_send_bytes(sock, bytes, sizeof(header) + out->len, out->fds, out->fd_count);
}

static int recv_all(int sock, void *to, size_t len, uint64_t deadline_ns)
{
    while (len > 0) {
        struct pollfd poll_fd = {.fd = sock, .events = POLLIN};
        uint64_t now = now_ns();
        int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / NS_PER_MS) : 0;
        ssize_t got;

        if (poll(&poll_fd, 1, left_ms) == 0) {
            return -ETIMEDOUT;
        }
        got = recv(sock, to, len, MSG_DONTWAIT);
        if (got == 0) {
            return -ECONNRESET;
        }
        if (got < 0 && errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        if (got > 0) {
            to = (char *)to + got;
            len -= (size_t)got;
        }
    }
    return 0;
}

int vhost_recv(int sock, struct vhost_in *in, int timeout_ms)
{
    uint64_t deadline_ns = now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    uint32_t header[3];
    int ret = recv_all(sock, header, sizeof(header), deadline_ns);

    if (ret < 0) {
        return ret;
    }
    in->request = header[0];
    in->flags = header[1];
    in->size = header[2];
    if (in->size > sizeof(in->payload)) {
        return -EPROTO;
    }
    return recv_all(sock, in->payload, in->size, deadline_ns);
}
