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

#include "transports/vhost_user_peek.h"

#define HEADER_BYTES sizeof(struct vhost_user_header)

/* After so many messages the disk's other work has its turn. */
#define MESSAGES_A_TURN 16

/* When all porters that one may have are at work: until the next look. */
#define BUSY_MS 2

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_answer(uv_poll_t *poll, int status, int events);

/* They were let in: to close them takes no time. */
static void close_fds(struct vu_msg *msg)
{
    for (unsigned i = 0; i < msg->fd_count; i++) {
        if (msg->fd[i].fd >= 0) {
            close(msg->fd[i].fd);
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
    if (conn->answer[0] >= 0) {
        (void)uv_poll_stop(&conn->answer_poll);
    }
    (void)uv_timer_stop(&conn->stall);
    conn->ops->over(conn, fault);
}

static bool has_unsent(const struct vu_conn *conn)
{
    return vu_reply_has_unsent(&conn->reply);
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
    if (conn->is_over || conn->is_handed) {
        return;
    }
    watch_stall(conn);
    if (has_unsent(conn)) {
        (void)uv_poll_start(&conn->poll, UV_WRITABLE, on_poll);
    } else if (!conn->is_suspended && !conn->is_held) {
        (void)uv_poll_start(&conn->poll, UV_READABLE, on_poll);
    } else {
        (void)uv_poll_stop(&conn->poll);
    }
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

/* What is to come next: header or payload.  Exactly one of them, see receive_message. */
static void *next_bytes(struct vu_conn *conn, size_t *want)
{
    struct vu_msg *msg = &conn->msg;

    if (conn->have < HEADER_BYTES) {
        *want = HEADER_BYTES - conn->have;
        return (uint8_t *)&msg->header + conn->have;
    }
    *want = HEADER_BYTES + msg->header.size - conn->have;
    return msg->payload.bytes + (conn->have - HEADER_BYTES);
}

static void on_late(uv_timer_t *timer)
{
    vu_conn_fail(containerof(timer, struct vu_conn, stall),
                 "a file that came is on a file system that does not answer; guest memory must be "
                 "a memfd, or a file on hugetlbfs, tmpfs or a local file system");
}

/* The way on which porters answer, made when it is needed first.  Returns 0 or -errno. */
static int open_answers(struct vu_conn *conn)
{
    int pair[2];
    int ret;

    if (conn->answer[0] >= 0) {
        return 0;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    ret = uv_poll_init(conn->poll.loop, &conn->answer_poll, pair[0]);
    if (ret < 0) {
        close(pair[0]);
        close(pair[1]);
        return ret;
    }
    conn->open_handles++;
    memcpy(conn->answer, pair, sizeof(pair));
    return 0;
}

static void hand_over(struct vu_conn *conn, size_t want);

static void on_free(uv_timer_t *timer)
{
    struct vu_conn *conn = containerof(timer, struct vu_conn, stall);
    size_t want;

    (void)next_bytes(conn, &want);
    hand_over(conn, want);
}

/* Porters of the messages before are about to be done, or wait as long as this one may. */
static bool may_wait(struct vu_conn *conn, int code)
{
    if (conn->busy_end_ns == 0) {
        conn->busy_end_ns = now_ns() + conn->ops->look_ms * NS_PER_MS;
    }
    return code == -EBUSY && now_ns() < conn->busy_end_ns;
}

/* Let a porter receive the bytes, and what comes with them. */
static void hand_over(struct vu_conn *conn, size_t want)
{
    char text[128];
    int ret = open_answers(conn);

    if (ret == 0) {
        ret = porter_receive(conn->fd, want, conn->answer[1], conn->owner);
    }
    if (ret < 0 && !may_wait(conn, ret)) {
        snprintf(text, sizeof(text), "no thread to receive file descriptors: %s", strerror(-ret));
        vu_conn_fail(conn, text);
        return;
    }
    conn->is_handed = true;
    (void)uv_poll_stop(&conn->poll);
    if (ret < 0) {
        (void)uv_timer_start(&conn->stall, on_free, BUSY_MS, 0);
        return;
    }
    conn->busy_end_ns = 0;
    (void)uv_poll_start(&conn->answer_poll, UV_READABLE, on_answer); /* they are open */
    (void)uv_timer_start(&conn->stall, on_late, conn->ops->look_ms, 0);
}

/* The result of a receive, by whomever: bytes, 0 at the end, or -errno. */
static void received(struct vu_conn *conn, ssize_t got)
{
    if (got > 0) {
        conn->have += (size_t)got;
    } else if (got == 0) {
        vu_conn_fail(conn, conn->have > 0 ? "closed in the middle of a message" : NULL);
    } else if (!would_block((int)-got)) {
        receive_failed(conn, (int)-got);
    }
}

/*
 * Receive what is to come next.  Returns true when all of it is there.
 * Bytes that were seen without fds are still there, and still without.
 */
static bool receive(struct vu_conn *conn)
{
    bool has_fds;
    size_t want;
    void *to = next_bytes(conn, &want);
    ssize_t got = vu_peek(conn->fd, to, want, &has_fds);

    if (has_fds) {
        hand_over(conn, want);
        return false;
    }
    if (got > 0) {
        got = recv(conn->fd, to, (size_t)got, MSG_DONTWAIT);
        got = got < 0 ? -errno : got;
    }
    received(conn, got);
    return got == (ssize_t)want;
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
    if (conn->have < HEADER_BYTES && !receive(conn)) {
        return false;
    }
    return header_ok(conn) && (conn->have == HEADER_BYTES + conn->msg.header.size || receive(conn));
}

static void on_readable(struct vu_conn *conn)
{
    for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
        if (conn->is_held || !receive_message(conn)) {
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
    watch(conn);
}

/* Returns false when there are more than a message may have; those are closed. */
static bool take_fds(struct vu_msg *msg, const struct porter_answer *answer)
{
    bool fits = !answer->has_more_fds;

    for (unsigned i = 0; i < answer->fd_count; i++) {
        if (msg->fd_count < VHOST_USER_MAX_FDS) {
            msg->fd[msg->fd_count++] = answer->fd[i];
        } else {
            close(answer->fd[i].fd);
            fits = false;
        }
    }
    return fits;
}

/*
 * Fds come with the bytes that they were sent with, and a message's bytes are never read
 * together with another's: whatever arrives now belongs to the message at hand.
 */
static void take_answer(struct vu_conn *conn, const struct porter_answer *answer)
{
    size_t want;
    void *to = next_bytes(conn, &want);

    if (!take_fds(&conn->msg, answer)) {
        vu_conn_fail(conn, "more than 8 file descriptors in a message, or no room for them here");
        return;
    }
    if (answer->got > 0) {
        memcpy(to, answer->bytes, min_of((size_t)answer->got, want));
    }
    received(conn, answer->got);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct vu_conn *conn = containerof(poll, struct vu_conn, answer_poll);
    struct porter_answer answer;
    int ret = porter_take(conn->answer[0], &answer);

    (void)status; /* the call says it better */
    (void)events;
    if (ret == -EAGAIN) {
        return;
    }
    conn->is_handed = false;
    (void)uv_poll_stop(&conn->answer_poll);
    (void)uv_timer_stop(&conn->stall);
    if (ret < 0) {
        receive_failed(conn, -ret);
        return;
    }
    take_answer(conn, &answer);
    if (!conn->is_over) {
        on_readable(conn);
    }
}

/* Send what the socket takes. */
static void flush(struct vu_conn *conn)
{
    if (vu_reply_send(&conn->reply, conn->fd) < 0) {
        vu_conn_fail(conn, NULL); /* gone without waiting for its reply */
        return;
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
    if (!conn->is_over) {
        vu_reply_set(&conn->reply, request, payload, size);
        flush(conn);
    }
}

void vu_conn_reply_with(struct vu_conn *conn, int fd)
{
    assert(conn->reply.fd < 0);
    conn->reply.fd = fd;
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

/* A message that was received while it was held has nobody else to begin with it. */
void vu_conn_hold(struct vu_conn *conn, bool on)
{
    conn->is_held = on;
    if (on || conn->is_suspended || conn->is_handed || conn->is_over || has_unsent(conn)) {
        watch(conn);
    } else {
        on_readable(conn);
    }
}

bool vu_conn_is_at_rest(const struct vu_conn *conn)
{
    return !conn->is_over && !conn->is_suspended && !conn->is_handed && !has_unsent(conn);
}

void vu_conn_take(struct vu_conn *conn, const struct vu_msg *msg, size_t have)
{
    assert(conn->is_held && conn->have == 0);
    conn->msg = *msg;
    conn->have = have;
}

bool vu_conn_peer_left(const struct vu_conn *conn)
{
    struct pollfd p = {.fd = conn->fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

int vu_conn_open(struct vu_conn *conn, uv_loop_t *loop, int fd, uintptr_t owner,
                 const struct vu_conn_ops *ops)
{
    int ret;

    memset(conn, 0, sizeof(*conn));
    conn->answer[0] = -1;
    conn->answer[1] = -1;
    vu_reply_init(&conn->reply);
    ret = uv_poll_init(loop, &conn->poll, fd);
    if (ret < 0) {
        return ret;
    }
    (void)uv_timer_init(loop, &conn->stall); /* cannot fail */
    conn->open_handles = 2;
    conn->fd = fd;
    conn->owner = owner;
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

static void on_answer_poll_closed(uv_handle_t *handle)
{
    handle_closed(containerof((uv_poll_t *)handle, struct vu_conn, answer_poll));
}

static void on_stall_closed(uv_handle_t *handle)
{
    handle_closed(containerof((uv_timer_t *)handle, struct vu_conn, stall));
}

/* An answer that is on its way finds nobody, and the porter closes what came. */
static void close_answers(struct vu_conn *conn)
{
    if (conn->answer[0] < 0) {
        return;
    }
    uv_close((uv_handle_t *)&conn->answer_poll, on_answer_poll_closed);
    close(conn->answer[0]);
    close(conn->answer[1]);
}

void vu_conn_close(struct vu_conn *conn)
{
    conn->is_over = true;
    forget_message(conn);
    vu_reply_fini(&conn->reply);
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    uv_close((uv_handle_t *)&conn->stall, on_stall_closed);
    close_answers(conn);
    porter_close(conn->fd, conn->owner);
    conn->fd = -1;
}
