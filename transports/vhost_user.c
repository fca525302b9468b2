/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* accept4, struct ucred */
#include "transports/vhost_user.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/device/device_given.h"
#include "transports/unix_socket.h"
#include "transports/vhost_user_conn.h"
#include "transports/vhost_user_given.h"
#include "transports/vhost_user_session.h"

/* Messages are sent in one piece and replies waited for; this long is a peer that was stopped. */
#define STALL_MS 30000

/* So long may a file system take to say what a front-end's file is. */
#define LOOK_MS 3000

/* How long to leave the listening socket alone when there is no fd for a connection. */
#define ACCEPT_RETRY_MS 200

/*
 * So long may it take to keep what the driver has said of its cache.  QEMU waits for the answer,
 * and all processors of the guest with it.
 */
#define KEEP_MS 10000

/* What is migrated waits for the network, and the guest with it; longer is given up. */
#define STATE_MS 30000

/* What porters know the disk by, and how many of them one connection may come to need. */
#define OWNER(vu) ((uintptr_t)(vu)->dev)
#define PORTERS_OF_CONNECTION 2u

enum state {
    IDLE, /* nobody is connected */
    CONNECTED,
    LEAVING, /* what is in flight has to end */
    CLOSING, /* the connection's handle has to be closed */
};

struct vhost_user {
    struct device *dev; /* lent */
    const char *name;   /* lent */
    uv_loop_t *loop;    /* lent */
    enum state state;
    unsigned open_handles;
    struct unix_listener listener;
    uv_poll_t listen_poll;
    uv_timer_t accept_retry;
    struct vu_conn conn; /* open when the state is not IDLE */
    struct vu_session session;
    struct vu_cache cache;
    struct vu_guest guest;
    struct drain drain;
    struct vhost_user_peer peer;
    char label[160];   /* "vda: qemu-system-x86 (pid 123)" */
    char hung_up[512]; /* on whom last, and why; "": on nobody, or one after it left in order */
    struct log_limit connect_log;
    struct log_limit leave_log;
    struct log_limit fault_log;
    struct log_limit refuse_log;
    bool is_held;
    bool has_lacked_porters; /* at the last look at who waits */
    void (*done)(void *arg); /* of vhost_user_stop, NULL: not called yet */
    void *arg;
};

static void on_listen(uv_poll_t *poll, int status, int events);

static void handle_closed(struct vhost_user *vu)
{
    vu->open_handles--;
    if (vu->open_handles == 0 && vu->done) {
        vu->done(vu->arg);
        free(vu);
    }
}

static void listen_again(struct vhost_user *vu)
{
    if (vu->listener.fd >= 0 && !vu->done && !vu->is_held) {
        (void)uv_poll_start(&vu->listen_poll, UV_READABLE, on_listen); /* it is open */
    }
}

static void on_drained(struct drain *drain)
{
    struct vhost_user *vu = containerof(drain, struct vhost_user, drain);

    device_reset(vu->dev);
    vu->state = CLOSING;
    vu_conn_close(&vu->conn);
}

static void on_message(struct vu_conn *conn, struct vu_msg *msg)
{
    struct vhost_user *vu = containerof(conn, struct vhost_user, conn);

    vu_session_message(&vu->session, msg);
}

/* Memory is unmapped and the next front-end served when nothing is in flight any more. */
static void on_over(struct vu_conn *conn, const char *fault)
{
    struct vhost_user *vu = containerof(conn, struct vhost_user, conn);

    if (fault) {
        log_limited(&vu->fault_log, LOG_LEVEL_WARN, "%s: %s, connection closed", vu->label, fault);
        (void)snprintf(vu->hung_up, sizeof(vu->hung_up), "%s (pid %d): %s", vu_peer_comm(&vu->peer),
                       (int)vu->peer.pid, fault);
    } else {
        vu->hung_up[0] = '\0';
        log_limited(&vu->leave_log, LOG_LEVEL_INFO, "%s disconnected", vu->label);
    }
    vu->state = LEAVING;
    vu->drain = (struct drain){.done = on_drained, .own_below = LANES_MAX};
    device_pause(vu->dev, PAUSE_GONE, &vu->drain);
    vu_session_end(&vu->session);
}

static void on_conn_closed(struct vu_conn *conn)
{
    struct vhost_user *vu = containerof(conn, struct vhost_user, conn);

    vu->state = IDLE;
    listen_again(vu);
    handle_closed(vu);
}

static const struct vu_conn_ops conn_ops = {.message = on_message,
                                            .over = on_over,
                                            .closed = on_conn_closed,
                                            .stall_ms = STALL_MS,
                                            .look_ms = LOOK_MS};

/* Returns 0, or -errno: `fd` is closed. */
static int open_connection(struct vhost_user *vu, int fd)
{
    int ret = vu_conn_open(&vu->conn, vu->loop, fd, OWNER(vu), &conn_ops);

    if (ret < 0) {
        log_limited(&vu->fault_log, LOG_LEVEL_ERROR, "%s: cannot serve a connection: %s", vu->name,
                    uv_strerror(ret));
        porter_close(fd, OWNER(vu));
        return ret;
    }
    vu->open_handles++;
    vu->state = CONNECTED;
    vu->peer = vu_peer_of(fd);
    snprintf(vu->label, sizeof(vu->label), "%s: %s (pid %d)", vu->name, vu_peer_comm(&vu->peer),
             (int)vu->peer.pid);
    vu_session_begin(&vu->session, vu->label);
    return 0;
}

static void connect_peer(struct vhost_user *vu, int fd)
{
    if (open_connection(vu, fd) == 0) {
        log_limited(&vu->connect_log, LOG_LEVEL_INFO, "%s connected", vu->label);
        device_resume(vu->dev, PAUSE_GONE);
    }
}

static void refuse_peer(struct vhost_user *vu, int fd)
{
    struct vhost_user_peer peer = vu_peer_of(fd);

    porter_close(fd, OWNER(vu));
    log_limited(&vu->refuse_log, LOG_LEVEL_WARN,
                "%s: %s (pid %d) refused, %s (pid %d) is connected", vu->name, vu_peer_comm(&peer),
                (int)peer.pid, vu_peer_comm(&vu->peer), (int)vu->peer.pid);
}

static void on_accept_retry(uv_timer_t *timer)
{
    listen_again(containerof(timer, struct vhost_user, accept_retry));
}

static void accept_later(struct vhost_user *vu)
{
    (void)uv_poll_stop(&vu->listen_poll);
    (void)uv_timer_start(&vu->accept_retry, on_accept_retry, ACCEPT_RETRY_MS, 0);
}

/* Without an fd for it, a connection stays in the queue and the socket stays readable. */
static void accept_failed(struct vhost_user *vu, int code)
{
    if (code == EAGAIN || code == EWOULDBLOCK || code == EINTR || code == ECONNABORTED) {
        return;
    }
    log_limited(&vu->fault_log, LOG_LEVEL_ERROR, "%s: cannot accept a connection: %s", vu->name,
                strerror(code));
    accept_later(vu);
}

/*
 * A front-end that comes again and again with files that hang gets no more threads for it.  One
 * that is to be refused takes one, and leaves those of the one that is connected.
 */
static bool lacks_porters(const struct vhost_user *vu)
{
    unsigned refusal = vu->state == CONNECTED ? 1 : 0;

    return porter_count(OWNER(vu)) + refusal + PORTERS_OF_CONNECTION > PORTERS_OF_ONE;
}

static void say_who_waits(struct vhost_user *vu)
{
    log_limited(&vu->fault_log, LOG_LEVEL_ERROR,
                "%s: %u threads wait for files that front-ends handed in, nobody is served until "
                "one comes back: end the server of that file system",
                vu->name, porter_count(OWNER(vu)));
}

/* Any of them may be busy for a moment: what is so at two looks in a row is worth a word. */
static void wait_for_porters(struct vhost_user *vu)
{
    if (vu->has_lacked_porters) {
        say_who_waits(vu);
    }
    vu->has_lacked_porters = true;
    accept_later(vu);
}

/*
 * A front-end that reconnects at once, or a second one after the first has left, must not be
 * refused because we have yet to see the first one leave: it waits in the queue until then.
 */
static bool must_wait(const struct vhost_user *vu)
{
    return vu->state == LEAVING || vu->state == CLOSING ||
           (vu->state == CONNECTED && vu_conn_peer_left(&vu->conn));
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct vhost_user *vu = containerof(poll, struct vhost_user, listen_poll);
    int fd;

    (void)status; /* accept4 says it better */
    (void)events;
    if (must_wait(vu)) {
        (void)uv_poll_stop(&vu->listen_poll); /* on_conn_closed starts it again */
        return;
    }
    if (lacks_porters(vu)) {
        wait_for_porters(vu);
        return;
    }
    vu->has_lacked_porters = false;
    fd = accept4(vu->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        accept_failed(vu, errno);
    } else if (vu->state == CONNECTED) {
        refuse_peer(vu, fd);
    } else {
        connect_peer(vu, fd);
    }
}

static int have_listener(struct vhost_user *vu, const struct vhost_user_opts *opts, struct err *err)
{
    struct vu_given *given = opts->given;

    if (!given) {
        return unix_listen(&vu->listener, opts->socket_path, opts->rights, err);
    }
    vu->listener = given->listener;
    vu->listener.rights.label = opts->rights->label;
    vu->listener.rights.xattr = opts->rights->xattr;
    vu->is_held = true;
    given->listener.fd = -1;
    given->listener.lock_fd = -1;
    return 0;
}

int vhost_user_start(struct vhost_user **out, uv_loop_t *loop, struct device *dev,
                     const struct vhost_user_opts *opts, struct err *err)
{
    int ret;
    struct vhost_user *vu = calloc(1, sizeof(*vu));

    if (!vu) {
        return err_set(err, -ENOMEM, "vhost-user transport");
    }
    vu->dev = dev;
    vu->name = opts->name;
    vu->loop = loop;
    ret = porter_init();
    if (ret < 0) {
        err_set(err, ret, "no socket for those who receive file descriptors");
        goto free_vu;
    }
    ret = have_listener(vu, opts, err);
    if (ret < 0) {
        goto free_vu;
    }
    ret = uv_poll_init(loop, &vu->listen_poll, vu->listener.fd);
    if (ret < 0) {
        err_set(err, ret, "cannot watch %s", opts->socket_path);
        goto unlisten;
    }
    (void)uv_timer_init(loop, &vu->accept_retry); /* cannot fail */
    vu->cache = (struct vu_cache){.keep = opts->keep_cache,
                                  .arg = opts->arg,
                                  .patience_ms = opts->keep_ms ? opts->keep_ms : KEEP_MS};
    vu->guest =
        (struct vu_guest){.came = opts->guest_came, .left = opts->guest_left, .arg = opts->arg};
    vu_session_init(&vu->session, loop, dev, &vu->conn, &vu->cache, &vu->guest);
    vu->session.state_ms = opts->state_ms ? opts->state_ms : STATE_MS;
    vu->open_handles = 5;
    listen_again(vu);
    *out = vu;
    return 0;

unlisten:
    if (opts->given) { /* it is another process's still */
        opts->given->listener = vu->listener;
    } else {
        unix_unlisten(&vu->listener);
    }
free_vu:
    free(vu);
    return ret;
}

int vhost_user_look(struct vhost_user *vu, struct err *err)
{
    int ret;

    if (vu->listener.fd < 0 || unix_listener_is_in_place(&vu->listener)) {
        return 0;
    }
    (void)uv_poll_stop(&vu->listen_poll);
    ret = unix_listener_mend(&vu->listener, err);
    listen_again(vu);
    return ret < 0 ? ret : 1;
}

enum vhost_user_told vhost_user_config_changed(struct vhost_user *vu)
{
    if (vu->state != CONNECTED) {
        return VHOST_USER_NOBODY;
    }
    if (!vu_session_config_changed(&vu->session)) {
        return VHOST_USER_CANNOT_TELL;
    }
    return vu->session.has_rings ? VHOST_USER_TOLD : VHOST_USER_WILL_TELL;
}

bool vhost_user_is_migrating(const struct vhost_user *vu)
{
    return vu->state == CONNECTED && vu_session_is_migrating(&vu->session);
}

void vhost_user_kept(struct vhost_user *vu, const struct err *err)
{
    vu_session_kept(&vu->session, err);
}

void vhost_user_hold(struct vhost_user *vu, bool on)
{
    vu->is_held = on;
    if (!on) {
        listen_again(vu);
    } else if (vu->listener.fd >= 0) {
        (void)uv_poll_stop(&vu->listen_poll);
    }
    if (vu->state == CONNECTED) {
        vu_conn_hold(&vu->conn, on);
    }
}

const char *vhost_user_work(const struct vhost_user *vu)
{
    const char *work;

    if (vu->state == IDLE) {
        return NULL;
    }
    if (vu->state != CONNECTED) {
        return "its front-end is leaving";
    }
    work = vu_session_work(&vu->session);
    if (!work && !vu_conn_is_at_rest(&vu->conn)) {
        work = "a message of its front-end, or the answer, is on its way";
    }
    return work;
}

int vhost_user_give(const struct vhost_user *vu, struct vu_given *given, struct err *err)
{
    bool can_go_on = vu->state == CONNECTED && !device_has_lost_memory(vu->dev);

    vu_given_init(given);
    given->listener = vu->listener;
    return can_go_on ? vu_given_fill(given, &vu->session, err) : 0;
}

int vhost_user_take(struct vhost_user *vu, struct vu_given *given, struct err *err)
{
    int fd = given->fd;
    int ret;

    given->fd = -1;
    ret = open_connection(vu, fd);
    if (ret < 0) {
        return err_set(err, ret, "its front-end's connection");
    }
    vu_conn_hold(&vu->conn, true);
    ret = vu_given_repeat(given, &vu->session, err);
    if (ret == 0) {
        device_resume(vu->dev, PAUSE_GONE);
    }
    return ret;
}

int vhost_user_take_rings(struct vhost_user *vu, struct vu_given *given, struct err *err)
{
    int ret = vu->state == CONNECTED ? vu_given_kick(given, &vu->session, err) : 0;

    if (ret < 0) {
        vu_conn_fail(&vu->conn, err->text);
    }
    vhost_user_hold(vu, false);
    return ret;
}

bool vhost_user_peer(const struct vhost_user *vu, struct vhost_user_peer *peer)
{
    if (vu->state != CONNECTED) {
        return false;
    }
    *peer = vu->peer;
    return true;
}

const char *vhost_user_hung_up(const struct vhost_user *vu)
{
    return vu->hung_up;
}

static void on_handle_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void close_handle(struct vhost_user *vu, uv_handle_t *handle)
{
    handle->data = vu;
    uv_close(handle, on_handle_closed);
}

/*
 * The handle first: closed after its fd, it would take whoever has that number by then out of the
 * loop.
 */
void vhost_user_unlisten(struct vhost_user *vu)
{
    if (vu->listener.fd < 0) {
        return;
    }
    (void)uv_timer_stop(&vu->accept_retry);
    close_handle(vu, (uv_handle_t *)&vu->listen_poll);
    unix_unlisten(&vu->listener);
}

/* Whoever is connected is cut off; the device is drained, so nothing has to be waited for. */
static void cut_off(struct vhost_user *vu)
{
    device_pause(vu->dev, PAUSE_GONE, NULL);
    device_drain_cancel(vu->dev, &vu->drain);
    vu_session_end(&vu->session);
    device_reset(vu->dev);
    vu->state = CLOSING;
    vu_conn_close(&vu->conn);
}

void vhost_user_stop(struct vhost_user *vu, void (*done)(void *arg), void *arg)
{
    assert(!vu->done);
    vhost_user_unlisten(vu);
    vu->done = done;
    vu->arg = arg;
    if (vu->state == CONNECTED || vu->state == LEAVING) {
        cut_off(vu);
    }
    close_handle(vu, (uv_handle_t *)&vu->accept_retry);
    close_handle(vu, (uv_handle_t *)&vu->session.settle);
    close_handle(vu, (uv_handle_t *)&vu->session.patience);
    close_handle(vu, (uv_handle_t *)&vu->session.transfer_timer);
}
