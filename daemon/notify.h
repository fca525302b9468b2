/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Tell the service manager how far we are: a datagram to $NOTIFY_SOCKET, a path or, with a
 * leading '@', an abstract name.  A manager that does not read does not hold us up: it is told
 * again until it has room, as one that is never told READY=1 ends the service.
 * Thread: control.
 * Source: sd_notify(3), "Notes".
 */

#include <uv.h>

/* Owned by the daemon. */
struct notify {
    uv_timer_t again;
    const char *state; /* still to be told; lent for good */
};

/* Returns libuv's -errno. */
int notify_init(struct notify *notify, uv_loop_t *loop);

/* What was not told is not told any more. */
void notify_close(struct notify *notify);

/* The same once, at once, of any text: where nobody has the time to try again. */
void notify_once(const char *state);

/*
 * `state` such as "READY=1", lent for good; in place of one that could not be told so far.  Nothing
 * happens when nobody asked to be told.
 */
void notify_manager(struct notify *notify, const char *state);
