/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The inside of a vhost_user_client: vhost_user_client.c keeps it connected,
 * vhost_user_client_setup.c, _inflight.c and _ring.c tell the back-end what it is to know.
 */

#include "transports/client/vhost_user_client.h"
#include "transports/client/vhost_user_link.h"

/*
 * As much of struct virtio_blk_config as every back-end has: up to and with write zeroes.
 * Some refuse to be asked for more than they know.
 */
#define CLIENT_CONFIG_BYTES 60u

struct client_ring {
    struct vhost_user_client_ring set; /* as ring_start was told */
    bool is_started;
};

struct vhost_user_client {
    struct vhost_user_client_opts opts;
    char path[108];
    struct vhost_user_link link;
    int epoll_fd; /* owned: socket, channel and timer behind one fd */
    int timer_fd; /* owned: due when dispatch has work that no fd shows */

    uint64_t offered;  /* by the back-end, as connected last */
    uint64_t accepted; /* by the guest */
    bool has_accepted;
    unsigned max_rings;
    uint8_t config[CLIENT_CONFIG_BYTES];
    struct vhost_user_client_region region[VHOST_USER_CLIENT_MAX_REGIONS];
    unsigned region_count;
    struct vhost_user_inflight inflight; /* as it was got from the back-end */
    int inflight_fd;                     /* owned: of its memory; -1: there is none */
    struct client_ring ring[VHOST_USER_CLIENT_MAX_RINGS];

    bool is_channel_paused; /* the back-end sent too much at once: it waits for the timer */
    uint64_t refreshed_ns;  /* when the config space was read for a change of it */
    uint64_t connected_ns;  /* the last connection stands, or stood, since */
    struct err why;         /* the back-end was left */
    struct err retry_why;   /* the last retry failed */
    bool was_told_gone;
    unsigned retry_ms; /* until the next retry, 0: at once; kept where connections do not last */
    unsigned reconnects;
};

/* Agree on the protocol and read features, number of rings, config space. */
int client_negotiate(struct vhost_user_client *client, struct err *err);

/* Tell a back-end that came back all that its predecessor knew. */
int client_restore(struct vhost_user_client *client, struct err *err);

int client_restore_rings(struct vhost_user_client *client, struct err *err);

/* Is there an in-flight region between the driver that accepted the features and this back-end? */
bool client_keeps_inflight(const struct vhost_user_client *client);

/* Tell the back-end of the region, the first one after it was forgotten: ask it for one. */
int client_send_inflight(struct vhost_user_client *client, struct err *err);
void client_forget_inflight(struct vhost_user_client *client);

/* Signal each ring's call and kick fd once: whatever was lost, both sides look again. */
void client_nudge(struct vhost_user_client *client);

/* Read the config space anew. */
int client_read_config(struct vhost_user_client *client, struct err *err);

/* The link failed: hang up and let dispatch try again. */
void client_leave(struct vhost_user_client *client, const struct err *why);

/* Make the client's fd readable now. */
void client_wake(struct vhost_user_client *client);

/*
 * How a set-up call ends: a back-end that broke off is as one that was away, for all is told
 * to the next one; only a refusal is the caller's business.
 */
int client_conclude(struct vhost_user_client *client, int ret, const struct err *why,
                    struct err *err);
