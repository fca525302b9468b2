/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's socket and connection on their way to another process, which tells itself what the
 * front-end has told this one, message by message, as if it came from there: so all of it is
 * checked and kept by the one way that there is.  What no message says stands beside them. Plain
 * values but for the list.  Descriptors are lent by who gives, and the taker's own. Disk thread, or
 * any other while the disk's has stopped.
 */

#include "core/base/err.h"
#include "core/device/device.h"
#include "transports/unix_socket.h"
#include "transports/vhost_user_wire.h"

/* One that is repeated: all of them are short, and have one descriptor at most. */
#define VU_GIVEN_PAYLOAD 64u

struct vu_given_msg {
    struct vhost_user_header header;
    uint8_t payload[VU_GIVEN_PAYLOAD];
    int fd; /* -1: none */
};

struct vu_given {
    struct unix_listener listener; /* fd -1: it does not listen */
    int fd;                        /* of the connection; -1: nobody is connected */
    uint64_t read_capacity;        /* see struct vu_session */
    bool is_in_doubt;              /* of the cache, see blk_doubt */
    bool is_vouched;
    uint64_t has_started; /* bit = ring: since it was reset */
    uint64_t is_broken;

    /* In the order in which they are to be repeated; those that start and signal are the last. */
    struct vu_given_msg *msg; /* owned */
    unsigned count;

    /* The message of which a part has been received. */
    size_t have; /* bytes, header included */
    uint8_t bytes[sizeof(struct vhost_user_header) + VHOST_USER_MAX_PAYLOAD];
    unsigned fd_count;
    int fds[VHOST_USER_MAX_FDS];
};

struct vu_conn;
struct vu_session;

void vu_given_init(struct vu_given *given);

/* Free the list, and close what was not taken if it is `ours`. */
void vu_given_fini(struct vu_given *given, bool ours);

/*
 * All that the front-end has told, at rest and with nothing in flight.
 * Returns 0, -ENOMEM, -ENOTSUP: what it has told cannot be passed on.
 */
int vu_given_fill(struct vu_given *given, const struct vu_session *session, struct err *err);

/* The other process: all that touches nothing; and the rest of it.  Returns 0 or -errno. */
int vu_given_repeat(struct vu_given *given, struct vu_session *session, struct err *err);
int vu_given_kick(struct vu_given *given, struct vu_session *session, struct err *err);
