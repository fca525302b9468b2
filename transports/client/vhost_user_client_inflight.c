/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The in-flight region: memory in which a back-end notes what it has taken, and that outlives it.
 * It is kept here for the next one, and looked at by nobody here.
 * Source: vhost-user, "Inflight I/O tracking".
 */
#include <errno.h>
#include <unistd.h>

#include "transports/client/vhost_user_client_state.h"

bool client_keeps_inflight(const struct vhost_user_client *client)
{
    return vhost_user_link_has(&client->link, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

void client_forget_inflight(struct vhost_user_client *client)
{
    if (client->inflight_fd >= 0) {
        close(client->inflight_fd);
        client->inflight_fd = -1;
    }
}

/* A back-end that has no use for one says so by a size of 0. */
static int get_region(struct vhost_user_client *client, struct err *err)
{
    struct vhost_user_inflight *region = &client->inflight;
    unsigned rings = min_of(client->opts.rings, client->max_rings);
    const struct vhost_user_inflight wish = {
        .num_queues = (uint16_t)rings,
        .queue_size = client->opts.ring_size,
    };
    const struct vhost_user_out out = {
        .request = VHOST_USER_GET_INFLIGHT_FD, .len = sizeof(wish), .payload = &wish};
    int ret = vhost_user_link_ask_fd(&client->link, &out, region, sizeof(*region),
                                     &client->inflight_fd, err);

    if (ret == 0 && region->mmap_size == 0) {
        client_forget_inflight(client);
    } else if (ret == 0 && client->inflight_fd < 0) {
        return err_say(err, -EPROTO, "%s: no memory came with the answer to GET_INFLIGHT_FD",
                       client->path);
    }
    region->num_queues = wish.num_queues;
    region->queue_size = wish.queue_size;
    return ret;
}

int client_send_inflight(struct vhost_user_client *client, struct err *err)
{
    const struct vhost_user_out out = {
        .request = VHOST_USER_SET_INFLIGHT_FD,
        .len = sizeof(client->inflight),
        .payload = &client->inflight,
        .fds = &client->inflight_fd,
        .fd_count = 1,
    };
    int ret = 0;

    if (!client_keeps_inflight(client)) {
        client_forget_inflight(client); /* one that does not write to it makes it wrong */
        return 0;
    }
    if (client->inflight_fd < 0) {
        ret = get_region(client, err);
    }
    return ret < 0 || client->inflight_fd < 0 ? ret : vhost_user_link_set(&client->link, &out, err);
}
