/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A reply on its way out, and the fd that may go with it.  One at a time.
 * Embedded in its connection; disk thread only.
 */

#include "transports/vhost_user_wire.h"

#include <stdbool.h>
#include <stddef.h>

struct vu_reply {
    size_t len;  /* bytes */
    size_t sent; /* of those, gone */
    int fd;      /* owned: goes with the first of them; -1: none */
    uint8_t bytes[sizeof(struct vhost_user_header) + VHOST_USER_MAX_PAYLOAD];
};

void vu_reply_init(struct vu_reply *reply);

/* Close the fd, if it is still there. */
void vu_reply_fini(struct vu_reply *reply);

/* What it is to be: `size` bytes, VHOST_USER_MAX_PAYLOAD at most. */
void vu_reply_set(struct vu_reply *reply, uint32_t request, const void *payload, uint32_t size);

static inline bool vu_reply_has_unsent(const struct vu_reply *reply)
{
    return reply->sent < reply->len;
}

/* Send what the socket takes.  Returns 0, or -errno: the peer has gone. */
int vu_reply_send(struct vu_reply *reply, int sock);
