/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* MSG_CMSG_CLOEXEC */
#include "core/base/parcel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Source: Linux, include/net/scm.h, SCM_MAX_FD. */
#define FDS_AT_ONCE 253u

/* While the kernel has too many descriptors on their way for this user (ETOOMANYREFS). */
#define CROWDED_MS 1

static const char parcel_magic[8] = "vblkpcl"; /* with its NUL */

struct parcel_head {
    char magic[8];
    uint64_t bytes;
    uint64_t fds;
};

/* One side of an exchange that has a time. */
struct exchange {
    int sock;
    uint64_t end_ns;
};

static struct exchange exchange_of(int sock, unsigned timeout_ms)
{
    return (struct exchange){.sock = sock, .end_ns = now_ns() + timeout_ms * NS_PER_MS};
}

/* Until `events`.  Returns 0, -ETIMEDOUT or -errno. */
static int wait_for_peer(const struct exchange *exchange, short events)
{
    struct pollfd pollfd = {.fd = exchange->sock, .events = events};
    int ret;

    do {
        uint64_t now = now_ns();
        uint64_t left = now < exchange->end_ns ? exchange->end_ns - now : 0;

        ret = poll(&pollfd, 1, (int)((left + NS_PER_MS - 1) / NS_PER_MS));
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return -errno;
    }
    return ret == 0 ? -ETIMEDOUT : 0;
}

/* ---- send ---- */

/* What a failed send comes to: 0 to try it again. */
static int after_failed_send(const struct exchange *exchange)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return wait_for_peer(exchange, POLLOUT);
    }
    if (errno == ETOOMANYREFS && now_ns() < exchange->end_ns) {
        (void)poll(NULL, 0, CROWDED_MS);
        return 0;
    }
    return -errno;
}

static int send_message(const struct exchange *exchange, const struct msghdr *message, size_t *sent)
{
    int ret = 0;
    ssize_t done;

    do {
        done = sendmsg(exchange->sock, message, MSG_NOSIGNAL | MSG_DONTWAIT);
        ret = done < 0 ? after_failed_send(exchange) : 0;
    } while (done < 0 && ret == 0);
    *sent = done < 0 ? 0 : (size_t)done;
    return ret;
}

static int send_bytes(const struct exchange *exchange, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    int ret = 0;

    while (count > 0 && ret == 0) {
        struct iovec iov = {.iov_base = (void *)at, .iov_len = count};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        size_t sent;

        ret = send_message(exchange, &message, &sent);
        at += sent;
        count -= sent;
    }
    return ret;
}

/* Room for what comes beside the bytes, aligned as the kernel wants it. */
union fd_room {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * FDS_AT_ONCE)];
};

/* With a byte, as nothing comes without one. */
static int send_some_fds(const struct exchange *exchange, const int *fd, unsigned count)
{
    char byte = 'f';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union fd_room room = {0};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    size_t sent;

    room.head.cmsg_level = SOL_SOCKET;
    room.head.cmsg_type = SCM_RIGHTS;
    room.head.cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(&room.head), fd, sizeof(int) * count);
    return send_message(exchange, &message, &sent);
}

int parcel_send(int sock, const struct parcel *parcel, unsigned timeout_ms)
{
    const struct exchange exchange = exchange_of(sock, timeout_ms);
    struct parcel_head head = {.bytes = parcel->bytes, .fds = parcel->fd_count};
    int ret;

    memcpy(head.magic, parcel_magic, sizeof(head.magic));
    ret = send_bytes(&exchange, &head, sizeof(head));
    for (unsigned at = 0; at < parcel->fd_count && ret == 0; at += FDS_AT_ONCE) {
        ret = send_some_fds(&exchange, parcel->fd + at, min_of(parcel->fd_count - at, FDS_AT_ONCE));
    }
    return ret == 0 ? send_bytes(&exchange, parcel->text, parcel->bytes) : ret;
}

/* ---- receive ---- */

static int receive_message(const struct exchange *exchange, struct msghdr *message, size_t *got)
{
    ssize_t done;
    int ret;

    do {
        done = recvmsg(exchange->sock, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        ret = 0;
        if (done < 0) {
            ret = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR
                      ? wait_for_peer(exchange, POLLIN)
                      : -errno;
        }
    } while (done < 0 && ret == 0);
    *got = done < 0 ? 0 : (size_t)done;
    return done == 0 || ret == -ECONNRESET ? -EPIPE : ret;
}

static int receive_bytes(const struct exchange *exchange, void *bytes, size_t count)
{
    uint8_t *at = bytes;
    int ret = 0;

    while (count > 0 && ret == 0) {
        struct iovec iov = {.iov_base = at, .iov_len = count};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        size_t got;

        ret = receive_message(exchange, &message, &got);
        at += got;
        count -= got;
    }
    return ret;
}

/* Those of one message, into the list; what has no place there is closed. */
static void keep_fds(struct parcel *parcel, unsigned wanted, struct msghdr *message)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        bool is_fds = head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS;
        size_t count = is_fds ? (head->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
            if (parcel->fd_count < wanted) {
                parcel->fd[parcel->fd_count++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

static int receive_some_fds(const struct exchange *exchange, struct parcel *parcel, unsigned wanted)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union fd_room room = {0};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof(room.bytes)};
    unsigned before = parcel->fd_count;
    size_t got;
    int ret = receive_message(exchange, &message, &got);

    if (ret < 0) {
        return ret;
    }
    keep_fds(parcel, wanted, &message);
    if (message.msg_flags & MSG_CTRUNC) {
        return -EMFILE;
    }
    return parcel->fd_count > before ? 0 : -EPROTO;
}

static int receive_rest(const struct exchange *exchange, struct parcel *parcel,
                        const struct parcel_head *head)
{
    int ret = 0;

    parcel->text = malloc(head->bytes + 1);
    parcel->fd = calloc(head->fds + 1, sizeof(*parcel->fd));
    if (!parcel->text || !parcel->fd) {
        return -ENOMEM;
    }
    while (parcel->fd_count < head->fds && ret == 0) {
        ret = receive_some_fds(exchange, parcel, (unsigned)head->fds);
    }
    if (ret == 0) {
        ret = receive_bytes(exchange, parcel->text, head->bytes);
    }
    parcel->text[head->bytes] = '\0';
    parcel->bytes = head->bytes;
    return ret;
}

int parcel_receive(int sock, struct parcel *parcel, unsigned timeout_ms)
{
    const struct exchange exchange = exchange_of(sock, timeout_ms);
    struct parcel_head head;
    int ret = receive_bytes(&exchange, &head, sizeof(head));

    *parcel = (struct parcel){0};
    if (ret == 0 && (memcmp(head.magic, parcel_magic, sizeof(head.magic)) != 0 ||
                     head.bytes > PARCEL_BYTES_MAX || head.fds > PARCEL_FDS_MAX)) {
        ret = -EPROTO;
    }
    if (ret == 0) {
        ret = receive_rest(&exchange, parcel, &head);
    }
    if (ret < 0) {
        parcel_fini(parcel);
    }
    return ret;
}

void parcel_fini(struct parcel *parcel)
{
    for (unsigned i = 0; i < parcel->fd_count; i++) {
        if (parcel->fd[i] >= 0) {
            close(parcel->fd[i]);
        }
    }
    free(parcel->fd);
    free(parcel->text);
    *parcel = (struct parcel){0};
}

int parcel_take(struct parcel *parcel, unsigned number)
{
    int fd = number < parcel->fd_count ? parcel->fd[number] : -1;

    if (fd >= 0) {
        parcel->fd[number] = -1;
    }
    return fd;
}

int parcel_say(int sock, char word, unsigned timeout_ms)
{
    const struct exchange exchange = exchange_of(sock, timeout_ms);

    return send_bytes(&exchange, &word, 1);
}

int parcel_hear(int sock, unsigned timeout_ms)
{
    const struct exchange exchange = exchange_of(sock, timeout_ms);
    char word;
    int ret = receive_bytes(&exchange, &word, 1);

    return ret < 0 ? ret : (int)(unsigned char)word;
}
