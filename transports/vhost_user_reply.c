/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_reply.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fds.h"

void vu_reply_init(struct vu_reply *reply)
{
    reply->len = 0;
    reply->sent = 0;
    reply->fd = -1;
}

void vu_reply_fini(struct vu_reply *reply)
{
    if (reply->fd >= 0) {
        close(reply->fd);
        reply->fd = -1;
    }
}

void vu_reply_set(struct vu_reply *reply, uint32_t request, const void *payload, uint32_t size)
{
    struct vhost_user_header header = {
        .request = request, .flags = VHOST_USER_VERSION | VHOST_USER_REPLY, .size = size};

    assert(size <= VHOST_USER_MAX_PAYLOAD && !vu_reply_has_unsent(reply));
    memcpy(reply->bytes, &header, sizeof(header));
    memcpy(reply->bytes + sizeof(header), payload, size);
    reply->len = sizeof(header) + size;
    reply->sent = 0;
}

int vu_reply_send(struct vu_reply *reply, int sock)
{
    while (vu_reply_has_unsent(reply)) {
        ssize_t sent = fds_send(sock, reply->bytes + reply->sent, reply->len - reply->sent,
                                &reply->fd, reply->fd >= 0 ? 1 : 0);

        if (sent == -EAGAIN || sent == -EWOULDBLOCK) {
            return 0;
        }
        if (sent < 0) {
            return (int)sent;
        }
        reply->sent += (size_t)sent;
        vu_reply_fini(reply);
    }
    return 0;
}
