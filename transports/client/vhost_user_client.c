/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/client/vhost_user_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transports/client/vhost_user_client_state.h"

#define FIRST_RETRY_MS 10u
#define LAST_RETRY_MS 1000u

/* How many deadlines all the messages of a new connection take together. */
#define SETUP_PATIENCE 3u

/*
 * How often a back-end that floods its channel is listened to, and the config space is read for
 * it: the caller's loop, and whoever waits for it, has the time between.
 */
#define PAUSE_MS 20u

/* Make the fd readable in `ms`; 0: now. */
static void wake_in(struct vhost_user_client *client, unsigned ms)
{
    struct itimerspec spec = {
        .it_value = {.tv_sec = ms / 1000, .tv_nsec = ms > 0 ? ms % 1000 * 1000000L : 1}};

    (void)timerfd_settime(client->timer_fd, 0, &spec, NULL); /* a timer of ours, a valid time */
}

void client_wake(struct vhost_user_client *client)
{
    wake_in(client, 0);
}

static unsigned next_retry_ms(const struct vhost_user_client *client)
{
    return client->retry_ms == 0 ? FIRST_RETRY_MS : min_of(client->retry_ms * 2, LAST_RETRY_MS);
}

/* A back-end that takes each connection and leaves at once is as one that takes none. */
void client_leave(struct vhost_user_client *client, const struct err *why)
{
    bool has_lasted = now_ns() - client->connected_ns >= LAST_RETRY_MS * NS_PER_MS;

    vhost_user_link_close(&client->link);
    client->why = *why;
    client->retry_why = (struct err){0};
    client->was_told_gone = false;
    client->retry_ms = has_lasted ? 0 : next_retry_ms(client);
    wake_in(client, 0);
}

static int watch(struct vhost_user_client *client, int fd, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};

    if (fd >= 0 && epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return err_set(err, -errno, "%s: epoll", client->path);
    }
    return 0;
}

/* From nothing to a back-end that knows all that it is to know. */
static int connect_all(struct vhost_user_client *client, struct err *err)
{
    int ret = vhost_user_link_open(&client->link, err);

    if (ret < 0) {
        return ret;
    }
    ret = client_negotiate(client, err);
    if (ret == 0) {
        ret = client_restore(client, err);
    }
    if (ret == 0) {
        ret = watch(client, client->link.sock, err);
    }
    if (ret == 0) {
        client->is_channel_paused = false;
        ret = watch(client, client->link.channel, err);
    }
    vhost_user_link_limit(&client->link, NULL, 0);
    client->connected_ns = now_ns();
    if (ret < 0) {
        vhost_user_link_close(&client->link);
    }
    return ret;
}

static void retry_later(struct vhost_user_client *client, const struct err *why)
{
    if (strcmp(why->text, client->retry_why.text) != 0) {
        client->retry_why = *why;
        if (client->opts.retry_failed) {
            client->opts.retry_failed(client->opts.arg, why);
        }
    }
    client->retry_ms = next_retry_ms(client);
    wake_in(client, client->retry_ms);
}

/* Once for each time that it goes.  Returns true when a retry is due, too. */
static bool tell_gone(struct vhost_user_client *client)
{
    if (client->was_told_gone) {
        return true;
    }
    client->was_told_gone = true;
    if (client->opts.gone) {
        client->opts.gone(client->opts.arg, &client->why);
    }
    if (client->retry_ms > 0) {
        wake_in(client, client->retry_ms);
    }
    return client->retry_ms == 0;
}

static void reconnect(struct vhost_user_client *client)
{
    uint8_t before[CLIENT_CONFIG_BYTES];
    struct err err = {0};

    if (!tell_gone(client)) {
        return;
    }
    memcpy(before, client->config, sizeof(before));
    if (connect_all(client, &err) < 0) {
        memcpy(client->config, before, sizeof(before));
        retry_later(client, &err);
        return;
    }
    client->reconnects++;
    client_nudge(client);
    if (client->opts.back) {
        client->opts.back(client->opts.arg);
    }
    if (memcmp(before, client->config, sizeof(before)) != 0 && client->opts.config_changed) {
        client->opts.config_changed(client->opts.arg);
    }
}

static void refresh_config(struct vhost_user_client *client)
{
    struct err err = {0};

    client->link.config_changed = false;
    client->refreshed_ns = now_ns();
    if (client_read_config(client, &err) < 0) {
        if (err.code != -EREMOTEIO) {
            client_leave(client, &err);
        }
        return;
    }
    if (client->opts.config_changed) {
        client->opts.config_changed(client->opts.arg);
    }
}

/* Nobody has a message under way, so what is readable is a hang-up, or nonsense. */
static void look_at_socket(struct vhost_user_client *client)
{
    struct err err = {0};
    char byte;
    ssize_t got = recv(client->link.sock, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

    if (got == 0) {
        err_say(&err, -ECONNRESET, "%s: the back-end closed the connection", client->path);
    } else if (got > 0) {
        err_say(&err, -EPROTO, "%s: the back-end sent something that nobody asked for",
                client->path);
    } else if (errno != EAGAIN && errno != EINTR) {
        err_set(&err, -errno, "%s: connection", client->path);
    }
    if (err.code != 0) {
        client_leave(client, &err);
    }
}

/* Out of the client's fd, as it would stay readable. */
static void pause_channel(struct vhost_user_client *client)
{
    (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, client->link.channel, NULL); /* it is in */
    client->is_channel_paused = true;
    wake_in(client, PAUSE_MS);
}

/* Without memory for it, what changes is seen late: when something else wakes us. */
static void resume_channel(struct vhost_user_client *client)
{
    struct err err;

    client->is_channel_paused = watch(client, client->link.channel, &err) < 0;
}

static void serve_channel(struct vhost_user_client *client, bool is_due)
{
    if (client->is_channel_paused && is_due) {
        resume_channel(client);
    }
    if (!client->is_channel_paused && vhost_user_link_serve_channel(&client->link)) {
        pause_channel(client);
    }
}

static bool may_refresh(const struct vhost_user_client *client)
{
    return now_ns() - client->refreshed_ns >= PAUSE_MS * NS_PER_MS;
}

void vhost_user_client_dispatch(struct vhost_user_client *client)
{
    uint64_t expirations;
    bool is_due = read(client->timer_fd, &expirations, sizeof(expirations)) > 0;

    if (client->link.sock >= 0) {
        serve_channel(client, is_due);
        look_at_socket(client);
        is_due = client->link.sock < 0;
    }
    if (client->link.sock >= 0 && client->link.config_changed && may_refresh(client)) {
        refresh_config(client);
        is_due = client->link.sock < 0;
    }
    if (client->link.sock < 0 && is_due) {
        reconnect(client);
    }
    if (client->link.sock >= 0 && client->link.config_changed) {
        wake_in(client, PAUSE_MS);
    }
}

int vhost_user_client_fd(const struct vhost_user_client *client)
{
    return client->epoll_fd;
}

bool vhost_user_client_is_connected(const struct vhost_user_client *client)
{
    return client->link.sock >= 0;
}

void vhost_user_client_limit(struct vhost_user_client *client, const char *what)
{
    vhost_user_link_limit(&client->link, what, client->link.setup_ms);
}

unsigned vhost_user_client_reconnects(const struct vhost_user_client *client)
{
    return client->reconnects;
}

void vhost_user_client_close(struct vhost_user_client *client)
{
    vhost_user_link_close(&client->link);
    client_forget_inflight(client);
    close(client->timer_fd);
    close(client->epoll_fd);
    free(client);
}

int vhost_user_client_open(struct vhost_user_client **out,
                           const struct vhost_user_client_opts *opts, struct err *err)
{
    struct vhost_user_client *client = calloc(1, sizeof(*client));
    int ret;

    assert(opts->ring_size == 0 || opts->rings > 0);
    if (!client) {
        return err_set(err, -ENOMEM, "%s: front-end", opts->socket);
    }
    client->opts = *opts;
    client->inflight_fd = -1;
    if (opts->ring_size == 0) {
        client->opts.refuse_protocol |= VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD;
    }
    client->link = (struct vhost_user_link){
        .path = client->path,
        .sock = -1,
        .channel = -1,
        .timeout_ms = opts->timeout_ms ? opts->timeout_ms : VHOST_USER_CLIENT_TIMEOUT_MS,
    };
    client->link.setup_ms = SETUP_PATIENCE * client->link.timeout_ms;
    if (snprintf(client->path, sizeof(client->path), "%s", opts->socket) >=
        (int)sizeof(client->path)) {
        ret = err_say(err, -ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes",
                      opts->socket, sizeof(client->path) - 1);
        goto free_client;
    }
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll_fd < 0) {
        ret = err_set(err, -errno, "%s: epoll", client->path);
        goto free_client;
    }
    client->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (client->timer_fd < 0) {
        ret = err_set(err, -errno, "%s: timer", client->path);
        goto close_epoll;
    }
    ret = watch(client, client->timer_fd, err);
    if (ret == 0) {
        ret = connect_all(client, err);
    }
    if (ret < 0) {
        goto close_timer;
    }
    *out = client;
    return 0;

close_timer:
    close(client->timer_fd);
close_epoll:
    close(client->epoll_fd);
free_client:
    free(client);
    return ret;
}
