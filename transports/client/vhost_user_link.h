/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A front-end's connection to a vhost-user back-end: whole messages out, whole answers in, each
 * within a deadline.  Beside it, the channel on which the back-end sends requests of its own.
 * Owned by a vhost_user_client, used by one thread at a time.
 *
 * Functions return 0 or -errno with `err` filled in, naming socket and message.  -EREMOTEIO says
 * that the back-end refused and the connection goes on; after any other error it is of no use.
 */

#include "core/base/base.h"
#include "core/base/err.h"
#include "transports/vhost_user_wire.h"

struct vhost_user_link {
    const char *path; /* lent by the parent */
    int sock;         /* owned, non-blocking; -1: not connected */
    int channel;      /* owned, our end of the back-end's own channel; -1: none */
    unsigned timeout_ms;
    unsigned setup_ms;          /* of all the messages that a new connection begins with */
    uint64_t limit_end_ns;      /* of what is under way in several messages, 0: nothing is */
    unsigned limit_ms;          /* that it may take in all */
    const char *limit_of;       /* its name, constant text */
    uint64_t protocol_features; /* as agreed */
    bool config_changed;        /* the back-end said so; the parent clears it */
};

/* One message; `fds` are lent. */
struct vhost_user_out {
    uint32_t request;
    uint32_t len;
    const void *payload;
    const int *fds;
    unsigned fd_count;
};

/* All messages from now on together may take `ms`; `what`: constant text, NULL: no longer. */
void vhost_user_link_limit(struct vhost_user_link *link, const char *what, unsigned ms);

/* The set-up begins; the parent ends it by vhost_user_link_limit. */
int vhost_user_link_open(struct vhost_user_link *link, struct err *err);
void vhost_user_link_close(struct vhost_user_link *link);

static inline bool vhost_user_link_has(const struct vhost_user_link *link, uint64_t protocol_bit)
{
    return link->protocol_features & protocol_bit;
}

/*
 * Send and receive the answer, of at most `reply_bytes`, into `reply`; its length goes to
 * `*reply_len`.  `patience` multiplies the deadline.
 */
#define VHOST_USER_LINK_FOR_EVER 0u
int vhost_user_link_ask(struct vhost_user_link *link, const struct vhost_user_out *out, void *reply,
                        uint32_t reply_bytes, uint32_t *reply_len, unsigned patience,
                        struct err *err);

/*
 * The same for an answer of exactly `reply_bytes`, and the file descriptor that may come with it:
 * the caller's, -1: none came.
 */
int vhost_user_link_ask_fd(struct vhost_user_link *link, const struct vhost_user_out *out,
                           void *reply, uint32_t reply_bytes, int *fd, struct err *err);

int vhost_user_link_get_u64(struct vhost_user_link *link, uint32_t request, uint64_t *value,
                            struct err *err);

/* Send; with REPLY_ACK agreed, wait until the back-end has done it. */
int vhost_user_link_set(struct vhost_user_link *link, const struct vhost_user_out *out,
                        struct err *err);
int vhost_user_link_set_u64(struct vhost_user_link *link, uint32_t request, uint64_t value,
                            struct err *err);

/* Make the channel and give its other end to the back-end. */
int vhost_user_link_open_channel(struct vhost_user_link *link, struct err *err);

/*
 * Read and acknowledge what the back-end has sent on its channel, without waiting, and no more
 * than a few messages, as it may send them faster than they are read.  Returns true when there may
 * be more.
 */
bool vhost_user_link_serve_channel(struct vhost_user_link *link);
