/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The socket on which control listens, and sees to it that it is where it was made.
 * Owned by struct control.  Thread: control.
 */

#include <uv.h>

#include "daemon/socket_dir.h"
#include "daemon/socket_watch.h"
#include "transports/unix_socket.h"

struct control_socket {
    struct unix_listener *listener; /* lent; it listens already */
    uv_poll_t poll;                 /* stopped and started by who accepts */
    uv_poll_cb on_listen;
    struct socket_watch watch; /* of the listener */
    uv_timer_t look_timer;     /* runs while the socket is not in its place, or not watched */
    struct socket_dir dir;     /* as it was when the socket was last in its place */
    int directory;             /* as `watch` numbers it, -1: not watched */
    bool is_faulty;            /* not in its place, and that was logged */
};

/* Poll the socket, with `on_listen`. */
int control_socket_start(struct control_socket *socket, uv_loop_t *loop,
                         struct unix_listener *listener, uv_poll_cb on_listen, struct err *err);

/* Before the listener is closed. */
void control_socket_stop(struct control_socket *socket);
