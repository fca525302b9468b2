/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A vhost-user back-end's disk as a blk_driver in this process sees it: registers that are
 * messages, or answered here as a VMM would, and eventfds for each ring.  The caller connects
 * the client and shares memory; the driver does the rest through the ops.
 * Owned by the driver's caller; one thread.
 */

#include "core/driver/blk_driver.h"
#include "core/base/err.h"
#include "transports/client/vhost_user_client.h"

/* Eventfds of a ring. */
struct vhost_user_bus_fds {
    int kick;
    int call;
    int err; /* -1: none */
};

struct vhost_user_bus {
    struct vhost_user_client *client;                           /* owned, NULL: not connected */
    struct vhost_user_bus_fds fds[VHOST_USER_CLIENT_MAX_RINGS]; /* owned, `rings` of them */
    unsigned rings;
    uint8_t status; /* of the virtio device */
    struct err err; /* of the latest call that failed: the driver has no place for it */
};

/* Its `bus` is a vhost_user_bus. */
extern const struct blk_driver_ops vhost_user_bus_ops;

/*
 * Make the eventfds; connects nowhere.  Returns 0 or -errno with `err` filled in, and is undone by
 * vhost_user_bus_fini either way.
 */
int vhost_user_bus_init(struct vhost_user_bus *bus, unsigned rings, bool has_err_fds,
                        struct err *err);

/* Also hangs up.  A bus that is all zero has nothing to undo. */
void vhost_user_bus_fini(struct vhost_user_bus *bus);

/* Start a ring that need not be new: `base` is where it goes on.  0 or -errno. */
int vhost_user_bus_ring_start(struct vhost_user_bus *bus, unsigned index,
                              const struct ring_driver *ring, uint32_t base);
