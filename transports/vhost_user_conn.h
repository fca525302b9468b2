/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One vhost-user connection: bytes and fds of a socket in, whole messages out, and replies
 * the other way.  It knows the header of a message and nothing of its meaning.
 *
 * One message at a time: the next is read when the owner is done with the last one and its
 * reply has gone out, so a peer that does not read its replies stops being read itself.
 * A peer that leaves a message half sent, or its reply unread, for long is gone or means ill:
 * fds that are on their way may be all that keeps its end of the socket open.
 *
 * Bytes that fds came with are received by a porter (core/base/porter.h), as nobody else may touch
 * what a peer has sent.  Meanwhile the loop goes on, and nothing is read here.
 *
 * Embedded in its owner; disk thread only.  The memory may go when `closed` has been called.
 * "vu" stands for vhost-user here and in the files that serve the messages.
 */

#include <uv.h>

#include "core/base/base.h"
#include "core/base/porter.h"
#include "transports/vhost_user_reply.h"
#include "transports/vhost_user_wire.h"

/*
 * A message as it arrived.  Fds are the connection's; who takes one leaves -1.  One that was not
 * let in is counted as well, so that it can be refused by name.
 */
struct vu_msg {
    struct vhost_user_header header;
    unsigned fd_count; /* as received, those taken included */
    struct foreign fd[VHOST_USER_MAX_FDS];
    union vhost_user_payload payload;
};

struct vu_conn;

struct vu_conn_ops {
    /* A whole message, lent until the return, or until vu_conn_resume after vu_conn_suspend. */
    void (*message)(struct vu_conn *conn, struct vu_msg *msg);

    /*
     * The connection is at its end and nothing more is read or written; the owner closes it.
     * `fault` is NULL when the peer just left.
     */
    void (*over)(struct vu_conn *conn, const char *fault);

    void (*closed)(struct vu_conn *conn);

    unsigned stall_ms; /* how long the peer may take to end a message, or to read a reply */
    unsigned look_ms;  /* how long it may take to find out what its fds are */
};

struct vu_conn {
    uv_poll_t poll;
    uv_poll_t answer_poll;
    uv_timer_t stall;
    unsigned open_handles;
    const struct vu_conn_ops *ops;
    uintptr_t owner;
    int fd;               /* owned, -1: closed */
    int answer[2];        /* owned: porters write to the second; -1: not needed yet */
    bool is_handed;       /* to a porter, or waits for one */
    uint64_t busy_end_ns; /* until when it may wait for one, 0: it does not */
    bool is_suspended;
    bool is_held; /* nothing is read; what is at work goes on */
    bool is_over;
    size_t have; /* bytes of `msg` received, header and payload */
    struct vu_reply reply;
    struct vu_msg msg;
};

/*
 * Takes `fd` (connected, non-blocking) when it succeeds; `owner` is what porters know the disk by.
 * Returns 0 or -errno.
 */
int vu_conn_open(struct vu_conn *conn, uv_loop_t *loop, int fd, uintptr_t owner,
                 const struct vu_conn_ops *ops);

/* Close socket and fds of a message at hand; `closed` follows from the loop.  No reply waits. */
void vu_conn_close(struct vu_conn *conn);

/*
 * Answer the message at hand with `size` bytes (at most VHOST_USER_MAX_PAYLOAD).
 * Once for each message, from within `message` or while suspended.
 */
void vu_conn_reply(struct vu_conn *conn, uint32_t request, const void *payload, uint32_t size);

/* Let `fd` go with the answer to come; it is the connection's from now on. */
void vu_conn_reply_with(struct vu_conn *conn, int fd);

/* The message at hand takes longer: read no other until resume. */
void vu_conn_suspend(struct vu_conn *conn);
void vu_conn_resume(struct vu_conn *conn);

/*
 * Read nothing, nor begin with what was read, until it is let go on.  Is nothing at work then, with
 * a porter or on its way out?
 */
void vu_conn_hold(struct vu_conn *conn, bool on);
bool vu_conn_is_at_rest(const struct vu_conn *conn);

/*
 * Go on in the middle of a message, of which another process has received `have` bytes.  The
 * connection is held; fds in `msg` are its own from now on.
 */
void vu_conn_take(struct vu_conn *conn, const struct vu_msg *msg, size_t have);

/* End the connection for `fault`; calls `over`.  Nothing happens on one that is over. */
void vu_conn_fail(struct vu_conn *conn, const char *fault);

/* Has the peer closed its side?  Also told when there are messages of it left to read. */
bool vu_conn_peer_left(const struct vu_conn *conn);
