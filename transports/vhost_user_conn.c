/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* POLLRDHUP */
#include "transports/vhost_user_conn.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES sizeof(struct vhost_user_header)

/* After so many messages the disk's other work has its turn. */
#define MESSAGES_A_TURN 16

static void on_poll(uv_poll_t *poll, int status, int events);

static void close_fds(struct vu_msg *msg)
{
    for (unsigned i = 0; i < msg->fd_count; i++) {
        if (msg->fd[i] >= 0) {
            close(msg->fd[i]);
        }
    }
    msg->fd_count = 0;
}

static void forget_message(struct vu_conn *conn)
{
    close_fds(&conn->msg);
    conn->have = 0;
}

void vu_conn_fail(struct vu_conn *conn, const char *fault)
{
    if (conn->is_over) {
        return;
    }
    conn->is_over = true;
    (void)uv_poll_stop(&conn->poll);
    (void)uv_timer_stop(&conn->stall);
    conn->ops->over(conn, fault);
}

static bool has_unsent(const struct vu_conn *conn)
{
    return conn->out_sent < conn->out_len;
}

static void on_stall(uv_timer_t *timer)
{
    struct vu_conn *conn = containerof(timer, struct vu_conn, stall);

    vu_conn_fail(conn, has_unsent(conn) ? "does not read its replies"
                                        : "sent half a message and no more");
}

/* Is the peer due to do something?  It has so much time for all of it. */
static void watch_stall(struct vu_conn *conn)
{
    if (!has_unsent(conn) && (conn->is_suspended || conn->have == 0)) {
        (void)uv_timer_stop(&conn->stall);
    } else if (!uv_is_active((uv_handle_t *)&conn->stall)) {
        (void)uv_timer_start(&conn->stall, on_stall, conn->ops->stall_ms, 0);
    }
}

/*
 * Poll for what is to come next: room for a reply, or a message, or nothing.
 * Neither polls nor timers that are open can fail to start.
 */
static void watch(struct vu_conn *conn)
{
    if (conn->is_over) {
        return;
    }
    watch_stall(conn);
    if (has_unsent(conn)) {
        (void)uv_poll_start(&conn->poll, UV_WRITABLE, on_poll);
    } else if (!conn->is_suspended) {
        (void)uv_poll_start(&conn->poll, UV_READABLE, on_poll);
    } else {
        (void)uv_poll_stop(&conn->poll);
    }
}

/*
 * Fds come with the bytes that they were sent with, and a message's bytes are never read
 * together with another's: whatever arrives now belongs to the message at hand.
 * Returns false when there are more than a message may have.
 */
static bool take_fds(struct vu_msg *msg, struct msghdr *hdr)
{
    bool fits = !(hdr->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (msg->fd_count < VHOST_USER_MAX_FDS) {
                msg->fd[msg->fd_count++] = fd;
            } else {
                close(fd);
                fits = false;
            }
        }
    }
    return fits;
}

static bool would_block(int code)
{
    return code == EAGAIN || code == EWOULDBLOCK;
}

static void receive_failed(struct vu_conn *conn, int code)
{
    char text[96];

    if (code == ECONNRESET) {
        vu_conn_fail(conn, NULL);
        return;
    }
    snprintf(text, sizeof(text), "cannot receive: %s", strerror(code));
    vu_conn_fail(conn, text);
}

/* Up to `want` bytes to `to`.  Returns true when all have come. */
static bool receive(struct vu_conn *conn, void *to, size_t want)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_USER_MAX_FDS)];
    } control;
    struct iovec iov = {.iov_base = to, .iov_len = want};
    struct msghdr hdr = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t got;

    do {
        got = recvmsg(conn->fd, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (!would_block(errno)) {
            receive_failed(conn, errno);
        }
        return false;
    }
    if (!take_fds(&conn->msg, &hdr)) {
        vu_conn_fail(conn, "more than 8 file descriptors in a message, or no room for them here");
        return false;
    }
    if (got == 0) {
        vu_conn_fail(conn, conn->have > 0 ? "closed in the middle of a message" : NULL);
        return false;
    }
    conn->have += (size_t)got;
    return (size_t)got == want;
}

static bool header_ok(struct vu_conn *conn)
{
    const struct vhost_user_header *header = &conn->msg.header;
    char text[96];

    if ((header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION) {
        snprintf(text, sizeof(text), "message %u: version %u, this is version 1", header->request,
                 header->flags & VHOST_USER_VERSION_MASK);
    } else if (header->size > VHOST_USER_MAX_PAYLOAD) {
        snprintf(text, sizeof(text), "message %u: payload of %u bytes, %u is the most",
                 header->request, header->size, VHOST_USER_MAX_PAYLOAD);
    } else {
        return true;
    }
    vu_conn_fail(conn, text);
    return false;
}

/*
 * Go on with the message at hand.  Exactly the header, then exactly its payload: with more,
 * the fds of the next message would be attached to this one.
 * Returns true when the message is whole.
 */
static bool receive_message(struct vu_conn *conn)
{
    struct vu_msg *msg = &conn->msg;
    size_t payload;

    if (conn->have < HEADER_BYTES) {
        if (!receive(conn, (uint8_t *)&msg->header + conn->have, HEADER_BYTES - conn->have) ||
            !header_ok(conn)) {
            return false;
        }
    }
    payload = conn->have - HEADER_BYTES;
    return payload == msg->header.size ||
           receive(conn, msg->payload.bytes + payload, msg->header.size - payload);
}

static void on_readable(struct vu_conn *conn)
{
    for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
        if (!receive_message(conn)) {
            break;
        }
        conn->ops->message(conn, &conn->msg);
        if (conn->is_over || conn->is_suspended) {
            return;
        }
        forget_message(conn);
        if (has_unsent(conn)) {
            return;
        }
    }
    if (!conn->is_over) {
        watch_stall(conn);
    }
}

/* Send what the socket takes. */
static void flush(struct vu_conn *conn)
{
    while (has_unsent(conn)) {
        ssize_t sent = send(conn->fd, conn->out + conn->out_sent, conn->out_len - conn->out_sent,
                            MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent >= 0) {
            conn->out_sent += (size_t)sent;
        } else if (would_block(errno)) {
            break;
        } else if (errno != EINTR) {
            vu_conn_fail(conn, NULL); /* gone without waiting for its reply */
            return;
        }
    }
    watch(conn);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct vu_conn *conn = containerof(poll, struct vu_conn, poll);

    if (status < 0) {
        vu_conn_fail(conn, NULL); /* the peer reset the connection */
    } else if (events & UV_WRITABLE) {
        flush(conn);
    } else if (events & UV_READABLE) {
        on_readable(conn);
    }
}

void vu_conn_reply(struct vu_conn *conn, uint32_t request, const void *payload, uint32_t size)
{
    struct vhost_user_header header = {
        .request = request, .flags = VHOST_USER_VERSION | VHOST_USER_REPLY, .size = size};

    assert(size <= VHOST_USER_MAX_PAYLOAD && !has_unsent(conn));
    if (conn->is_over) {
        return;
    }
    memcpy(conn->out, &header, sizeof(header));
    memcpy(conn->out + sizeof(header), payload, size);
    conn->out_len = sizeof(header) + size;
    conn->out_sent = 0;
    flush(conn);
}

void vu_conn_suspend(struct vu_conn *conn)
{
    conn->is_suspended = true;
    watch(conn);
}

void vu_conn_resume(struct vu_conn *conn)
{
    assert(conn->is_suspended);
    conn->is_suspended = false;
    forget_message(conn);
    watch(conn);
}

bool vu_conn_peer_left(const struct vu_conn *conn)
{
    struct pollfd p = {.fd = conn->fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

int vu_conn_open(struct vu_conn *conn, uv_loop_t *loop, int fd, const struct vu_conn_ops *ops)
{
    int ret;

    memset(conn, 0, sizeof(*conn));
    ret = uv_poll_init(loop, &conn->poll, fd);
    if (ret < 0) {
        return ret;
    }
    (void)uv_timer_init(loop, &conn->stall); /* cannot fail */
    conn->open_handles = 2;
    conn->fd = fd;
    conn->ops = ops;
    watch(conn);
    return 0;
}

static void handle_closed(struct vu_conn *conn)
{
    conn->open_handles--;
    if (conn->open_handles == 0) {
        conn->ops->closed(conn);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    handle_closed(containerof((uv_poll_t *)handle, struct vu_conn, poll));
}

static void on_stall_closed(uv_handle_t *handle)
{
    handle_closed(containerof((uv_timer_t *)handle, struct vu_conn, stall));
}

void vu_conn_close(struct vu_conn *conn)
{
    conn->is_over = true;
    forget_message(conn);
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    uv_close((uv_handle_t *)&conn->stall, on_stall_closed);
    close(conn->fd);
    conn->fd = -1;
}
