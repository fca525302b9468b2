/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control_socket.h"

#include "core/base/log.h"

/* Between two looks after a socket that has gone and cannot be made. */
#define LOOK_MS 1000

static void on_look_timer(uv_timer_t *timer);

static void look_later(struct control_socket *socket)
{
    uv_update_time(socket->look_timer.loop);
    (void)uv_timer_start(&socket->look_timer, on_look_timer, LOOK_MS, 0);
}

static void mend(struct control_socket *socket)
{
    struct unix_listener *listener = socket->listener;
    struct err err = {0};
    int ret;

    (void)uv_poll_stop(&socket->poll);
    ret = socket_dir_make(&socket->dir, listener->path, "/", &err);
    if (ret == 0) {
        ret = unix_listener_mend(listener, &err);
    }
    (void)uv_poll_start(&socket->poll, UV_READABLE, socket->on_listen);
    if (ret == 0) {
        log_warn("control: its socket %s had gone and was made anew", listener->path);
    } else if (!socket->is_faulty) {
        log_error("control: its socket has gone and cannot be made anew: %s", err.text);
    }
    socket->is_faulty = ret < 0;
}

static void look_at_socket(struct control_socket *socket)
{
    if (unix_listener_is_in_place(socket->listener)) {
        socket_dir_note(&socket->dir, socket->listener->path);
    } else {
        mend(socket);
    }
    if (socket->directory < 0) {
        socket->directory = socket_watch_add(&socket->watch, socket->listener->path);
    }
    if (socket->is_faulty || socket->directory < 0) {
        look_later(socket);
    }
}

static void on_look_timer(uv_timer_t *timer)
{
    look_at_socket(containerof(timer, struct control_socket, look_timer));
}

static void on_gone(void *arg, int directory, const char *name, bool is_lost)
{
    struct control_socket *socket = arg;

    if (is_lost) {
        socket->directory = -1;
    }
    if (!name || socket_watch_is_name(socket->listener->path, name)) {
        look_at_socket(socket);
    }
}

int control_socket_start(struct control_socket *socket, uv_loop_t *loop,
                         struct unix_listener *listener, uv_poll_cb on_listen, struct err *err)
{
    int ret = uv_poll_init(loop, &socket->poll, listener->fd);

    if (ret < 0) {
        return err_set(err, ret, "cannot watch %s", listener->path);
    }
    socket->listener = listener;
    socket->on_listen = on_listen;
    socket->directory = -1;
    socket->is_faulty = false;
    socket->dir = (struct socket_dir){0};
    (void)uv_poll_start(&socket->poll, UV_READABLE, on_listen);
    (void)uv_timer_init(loop, &socket->look_timer); /* cannot fail */
    socket_watch_init(&socket->watch, loop, on_gone, socket);
    look_at_socket(socket);
    return 0;
}

void control_socket_stop(struct control_socket *socket)
{
    uv_close((uv_handle_t *)&socket->poll, NULL);
    uv_close((uv_handle_t *)&socket->look_timer, NULL);
    socket_watch_close(&socket->watch);
}
