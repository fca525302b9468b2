/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A vhost-user front-end for a disk: what a VMM needs to put a device of any back-end before
 * its guest.  It keeps what it was told (features, memory, rings), so that it can tell it all
 * to a back-end that went away and came back; meanwhile the guest just waits.
 *
 * Drive it from any loop: poll vhost_user_client_fd() for POLLIN, then call
 * vhost_user_client_dispatch().  Every call may wait for the back-end, `timeout_ms` for each
 * answer, and three times that for all answers of a new connection, whatever the back-end sends
 * meanwhile.  Thread: one at a time, the caller serializes; call-backs come from dispatch only.
 *
 * Functions return 0 or -errno with `err` filled in.  While the back-end is away, set-up calls
 * return 0: what they say is done at the reconnect.  A back-end that refuses is -EREMOTEIO.
 * Source: QEMU documentation, "Vhost-user Protocol".
 */

#include "core/base/base.h"
#include "core/base/err.h"

#define VHOST_USER_CLIENT_MAX_RINGS 64
#define VHOST_USER_CLIENT_MAX_REGIONS 8 /* as many as one SET_MEM_TABLE holds */
#define VHOST_USER_CLIENT_TIMEOUT_MS 5000
#define VHOST_USER_CLIENT_STOP_PATIENCE 12u /* slow disks may take that long */
#define VHOST_USER_CLIENT_FOR_EVER UINT32_MAX

/* Where a packed ring begins that was never served; a split one begins at 0. */
#define VHOST_USER_CLIENT_PACKED_BASE 0x80008000u

struct vhost_user_client;

struct vhost_user_client_opts {
    const char *socket;  /* path, copied */
    unsigned timeout_ms; /* for each answer; 0: VHOST_USER_CLIENT_TIMEOUT_MS */

    /*
     * Bits that are taken as not offered, of the features (also, for tests, the one that there are
     * protocol features at all) and, for tests, of the protocol features.
     */
    uint64_t refuse;
    uint64_t refuse_protocol;

    /*
     * How many rings are used at most, and of how many entries: for the in-flight region, which
     * lets a back-end that comes back go on with what its predecessor had in flight.  The region is
     * got anew each time that features are set, as then a driver begins.  ring_size 0: there is
     * none, and no packed ring.
     */
    unsigned rings;
    uint16_t ring_size;

    /*
     * How many times `timeout_ms` a ring may take to stop, as its requests are answered first;
     * 0: VHOST_USER_CLIENT_STOP_PATIENCE.  For a guest that goes on there is no limit: it uses the
     * memory again, and requests that are under way would still write to it.
     */
    unsigned stop_patience;

    /* All may be NULL. */
    void (*config_changed)(void *arg);                      /* as read by config_read now */
    void (*gone)(void *arg, const struct err *why);         /* once for each time it leaves */
    void (*retry_failed)(void *arg, const struct err *why); /* when the reason is a new one */
    void (*back)(void *arg);                                /* connected, all set up anew */
    void *arg;
};

/* Memory of the guest: `fd` is lent until close, and so is its mapping at `host`. */
struct vhost_user_client_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t offset; /* in the file */
    void *host;      /* our own address of guest_addr */
    int fd;
};

/* Fds are lent from ring_start to ring_stop. */
struct vhost_user_client_ring {
    unsigned size;
    uint64_t desc; /* guest physical addresses */
    uint64_t avail;
    uint64_t used;
    uint32_t base; /* as the back-end is told: of a split ring the next available index */
    int kick_fd;   /* eventfd: guest -> back-end */
    int call_fd;   /* eventfd: back-end -> guest, -1: the guest polls */
    int err_fd;    /* -1: none */
};

/* Connect and agree on the protocol.  A back-end that is not there is an error here. */
int vhost_user_client_open(struct vhost_user_client **out,
                           const struct vhost_user_client_opts *opts, struct err *err);

/* Hang up.  Stop the rings first, or requests may still be written to memory. */
void vhost_user_client_close(struct vhost_user_client *client);

/* Readable when dispatch has something to do; the same one from open to close. */
int vhost_user_client_fd(const struct vhost_user_client *client);

/*
 * Serve what the fd announces: config changes, a hang-up, a retry that is due.
 * First retry at once, then after 10 ms, doubled each time up to 1 s; and on from there when the
 * connection did not last for 1 s.
 */
void vhost_user_client_dispatch(struct vhost_user_client *client);

/*
 * All that is asked from now on may take as long, together, as the set-up of a connection; `what`
 * that is, for people, constant text.  NULL: no longer, as after a reconnect.
 */
void vhost_user_client_limit(struct vhost_user_client *client, const char *what);

bool vhost_user_client_is_connected(const struct vhost_user_client *client);

/* How often the back-end came back. */
unsigned vhost_user_client_reconnects(const struct vhost_user_client *client);

/*
 * Bits that a guest may be offered: the device's, without those of vhost-user itself.  Packed rings
 * only with an in-flight region: where such a ring goes on, when the back-end has come back,
 * nobody knows else.
 */
uint64_t vhost_user_client_features(const struct vhost_user_client *client);

/* Rings that the back-end can serve, at most VHOST_USER_CLIENT_MAX_RINGS. */
unsigned vhost_user_client_max_rings(const struct vhost_user_client *client);

/* Share a piece of memory.  Before the first ring starts. */
int vhost_user_client_add_memory(struct vhost_user_client *client,
                                 const struct vhost_user_client_region *region, struct err *err);

/* What the guest accepted; a subset of vhost_user_client_features.  No ring may run. */
int vhost_user_client_set_features(struct vhost_user_client *client, uint64_t features,
                                   struct err *err);

/* Set up and enable a ring.  -EINVAL when its parts are not aligned, or not in shared memory. */
int vhost_user_client_ring_start(struct vhost_user_client *client, unsigned index,
                                 const struct vhost_user_client_ring *ring, struct err *err);

/*
 * Stop a ring and learn where it would go on (`base` may be NULL).  Waits, with the patience
 * of the options, until its requests are answered: then nothing of it touches memory.  With a
 * back-end that is or goes away, `base` is the used index, and of a packed ring the base that it
 * was started with: the in-flight region has a later one.  No error when the ring does not run.
 */
int vhost_user_client_ring_stop(struct vhost_user_client *client, unsigned index, uint32_t *base,
                                struct err *err);

/* Signal another fd from now on (-1: none), for guest notifiers that are assigned live. */
int vhost_user_client_ring_set_call(struct vhost_user_client *client, unsigned index, int call_fd,
                                    struct err *err);

/* Take kicks from another fd from now on. */
int vhost_user_client_ring_set_kick(struct vhost_user_client *client, unsigned index, int kick_fd,
                                    struct err *err);

/*
 * The config space as last read from the back-end: no message goes out, so a vCPU may ask as
 * often as it likes.  Bytes past what the back-end has read as zero.
 */
void vhost_user_client_config_read(const struct vhost_user_client *client, uint32_t offset,
                                   void *to, uint32_t len);

/* Write to the back-end's config space; -ENOTCONN while it is away. */
int vhost_user_client_config_write(struct vhost_user_client *client, uint32_t offset,
                                   const void *from, uint32_t len, struct err *err);
