/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The back-end's own requests to the front-end, on a channel that we made.
 * Source: vhost-user, "Back-end communication", "Back-end message types".
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/client/vhost_user_link.h"

/* Requests that are read at once; back-ends that mean well have one, now and then. */
#define BATCH 16u

int vhost_user_link_open_channel(struct vhost_user_link *link, struct err *err)
{
    int pair[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, -errno, "%s: no socket pair", link->path);
    }
    const struct vhost_user_out out = {
        .request = VHOST_USER_SET_BACKEND_REQ_FD, .fds = &pair[1], .fd_count = 1};

    ret = vhost_user_link_set(link, &out, err);
    close(pair[1]);
    if (ret < 0) {
        close(pair[0]);
        return ret;
    }
    link->channel = pair[0];
    return 0;
}

/* Result 0: done; anything else: we do not know this request. */
static int acknowledge(struct vhost_user_link *link, const struct vhost_user_header *request,
                       uint64_t result)
{
    struct {
        struct vhost_user_header header;
        uint64_t result;
    } __attribute__((packed)) answer = {
        .header = {.request = request->request,
                   .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
                   .size = sizeof(result)},
        .result = result,
    };
    ssize_t sent = send(link->channel, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);

    return sent == (ssize_t)sizeof(answer) ? 0 : -ECONNRESET;
}

/*
 * A request that is partly there: back-ends send each with one call, so the rest follows at once
 * or never.  Returns bytes, 0 when nothing is there, or -errno.
 */
static int receive_request(struct vhost_user_link *link, struct vhost_user_header *header)
{
    uint8_t payload[VHOST_USER_MAX_PAYLOAD];
    ssize_t got = recv(link->channel, header, sizeof(*header), MSG_DONTWAIT);

    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    if (got != (ssize_t)sizeof(*header) || header->size > sizeof(payload)) {
        return got == 0 ? -ECONNRESET : -EPROTO;
    }
    if (header->size > 0) {
        got = recv(link->channel, payload, header->size, MSG_DONTWAIT);
        if (got != (ssize_t)header->size) {
            return -EPROTO;
        }
    }
    return 1;
}

/* Without it the guest learns of changes later; the disk itself goes on. */
static void give_up(struct vhost_user_link *link)
{
    close(link->channel);
    link->channel = -1;
}

/* Returns 1, 0 when there was none, or -errno. */
static int serve_request(struct vhost_user_link *link)
{
    struct vhost_user_header header;
    int ret = receive_request(link, &header);
    bool is_known;

    if (ret <= 0) {
        return ret;
    }
    is_known = header.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
    if (is_known) {
        link->config_changed = true;
    }
    if (header.flags & VHOST_USER_NEED_REPLY) {
        ret = acknowledge(link, &header, is_known ? 0 : 1);
        return ret < 0 ? ret : 1;
    }
    return 1;
}

bool vhost_user_link_serve_channel(struct vhost_user_link *link)
{
    int ret = link->channel >= 0;

    for (unsigned i = 0; i < BATCH && ret > 0; i++) {
        ret = serve_request(link);
    }
    if (ret < 0) {
        give_up(link);
    }
    return ret > 0;
}
