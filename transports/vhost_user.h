/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A vhost-user back-end: one listening UNIX socket for one disk, one front-end at a time.
 * It tells the device where the rings are and is out of the way while I/O flows.
 * Owned by the disk's thread, used by it alone.
 * Source: QEMU documentation, "Vhost-user Protocol".
 */

#include <sys/types.h>
#include <uv.h>

#include "core/device/device.h"
#include "core/base/err.h"
#include "transports/vhost_user_peer.h"

struct socket_rights;
struct vhost_user;
struct vu_given;

struct vhost_user_opts {
    const char *name;        /* of the disk, for log lines; lent for the object's life */
    const char *socket_path; /* lent for the object's life */
    const struct socket_rights
        *rights; /* lent for the call; what they lend, for the object's life */

    /*
     * The driver has switched its disk to writethrough, or back (device_info): whoever outlives us
     * keeps that, and calls vhost_user_kept when what was written before is on stable storage, and
     * that as well, but not from within.  NULL: nobody.  Not called again before that, but for
     * another connection.
     */
    void (*keep_cache)(void *arg);

    /*
     * A ring runs, and none did before; and: the front-end has stopped the last that did while what
     * is stored to guest memory is logged, so its guest may go on elsewhere as soon as that is
     * answered.  Neither may end the connection.  NULL: nobody.
     */
    void (*guest_came)(void *arg);
    void (*guest_left)(void *arg);
    void *arg;         /* of these three */
    unsigned keep_ms;  /* how long the front-end waits for that, 0: the default */
    unsigned state_ms; /* how long the state of a migration may be on its way, the same */

    /* Of another process: its listening socket is taken over, and it is held; NULL: it is made. */
    struct vu_given *given; /* lent for the call */
};

/*
 * Listen.  The device stays paused by PAUSE_GONE until a front-end has connected.
 * Refuses a path that is too long, that another process listens on, or that is no socket.
 */
int vhost_user_start(struct vhost_user **out, uv_loop_t *loop, struct device *dev,
                     const struct vhost_user_opts *opts, struct err *err);

/*
 * For tests of the tests: front-ends' logs of requests in flight are taken and ignored, by all
 * disks of this process.  Thread: control, before there are disks.
 */
void vhost_user_debug_no_recovery(void);

/*
 * Is the listening socket where it was made?  Returns 0; 1: it had gone and was made anew, and
 * whoever is connected stays; -errno: as unix_listener_mend.
 */
int vhost_user_look(struct vhost_user *vu, struct err *err);

/* Has the guest been told of its disk's new size? */
enum vhost_user_told {
    VHOST_USER_TOLD,        /* its front-end has */
    VHOST_USER_WILL_TELL,   /* the same, and is once more when a ring starts: none runs */
    VHOST_USER_CANNOT_TELL, /* its front-end cannot be, or has left */
    VHOST_USER_NOBODY,      /* no front-end is connected */
};

/* Tell the driver that the config space has changed, where the front-end can be told. */
enum vhost_user_told vhost_user_config_changed(struct vhost_user *vu);

/*
 * Is the guest on its way to another host, or from there: is what is stored to its memory logged,
 * or was its state taken, or brought, and it does not run?
 */
bool vhost_user_is_migrating(const struct vhost_user *vu);

/*
 * After keep_cache: err->code 0, or -errno with a reason, which the front-end learns of.
 * Writethrough is served in any case.  Nothing happens when nobody waits for it any more.
 */
void vhost_user_kept(struct vhost_user *vu, const struct err *err);

/* ---- to another process and from it, see vhost_user_given.h ---- */

/* Accept nobody and read nothing, until it is let go on. */
void vhost_user_hold(struct vhost_user *vu, bool on);

/* Held: what it is at; constant text, NULL: it is at rest. */
const char *vhost_user_work(const struct vhost_user *vu);

/*
 * At rest, with nothing in flight.  A front-end whose memory was truncated is not given: its rings
 * are broken, and it sees the end of its connection.  Returns 0 or -errno; `given` is
 * vu_given_fini's then.
 */
int vhost_user_give(const struct vhost_user *vu, struct vu_given *given, struct err *err);

/*
 * The other process, with a socket of that: go on with its connection, and touch nothing of the
 * guest's yet.  Returns 0 or -errno: then the connection is to be left alone, as it is the other
 * one's still.
 */
int vhost_user_take(struct vhost_user *vu, struct vu_given *given, struct err *err);

/* The guest is ours: start its rings, and let it go on. */
int vhost_user_take_rings(struct vhost_user *vu, struct vu_given *given, struct err *err);

/* Returns false when no front-end is connected. */
bool vhost_user_peer(const struct vhost_user *vu, struct vhost_user_peer *peer);

/*
 * The last front-end, when it broke the rules of the protocol and was hung up on, and why: for
 * people, "" when it left in order.  The object's own.
 */
const char *vhost_user_hung_up(const struct vhost_user *vu);

/* Close and unlink the listening socket; a connection goes on. */
void vhost_user_unlisten(struct vhost_user *vu);

/*
 * Close the connection and free the object; `done(arg)` runs when all its handles are closed.
 * The device has been drained before.  Ends the device's rings and mapping.
 */
void vhost_user_stop(struct vhost_user *vu, void (*done)(void *arg), void *arg);
