/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The control socket and its clients: lines in, lines out, and the limits that keep one
 * client from harming the others.  It knows nothing of what the lines say.
 * Owned by the daemon.  Thread: control.
 */

#include <uv.h>

#include "core/base/log.h"
#include "daemon/admission.h"
#include "daemon/control_socket.h"
#include "daemon/protocol.h"

struct call;

/* One connection.  Freed when its handle is closed; its calls are told before. */
struct client {
    uv_pipe_t pipe;
    struct client *next;
    struct control *control; /* parent */
    struct call *calls;      /* requests under way; each knows us until it is answered */
    enum rights rights;
    unsigned call_count;
    size_t used; /* bytes in `input` */
    bool is_reading;
    bool is_consuming; /* lines are being handled: do not start over */
    bool is_at_eof;    /* nothing more to come; answers may still be owed */
    bool is_ending;    /* close when all is written */
    bool is_closing;   /* uv_close was called */
    bool is_lent;      /* somebody else reads from it: see client_lend */
    bool awaits_end;   /* it has asked for the end of the daemon, and is told how that went */
    char input[PROTOCOL_LINE_MAX + 1];
};

struct control_opts {
    uv_loop_t *loop;                   /* lent */
    struct unix_listener *listener;    /* lent; it listens already */
    const struct admission *admission; /* lent */
    void (*line)(struct client *client, const char *line, size_t len, void *arg);
    void (*gone)(struct client *client); /* its calls are answered to nobody from now on */
    void *arg;
};

/* Clients that can be served when the process has no file descriptors left. */
#define CONTROL_SPARE_FDS 8

struct control {
    struct control_opts opts;
    struct control_socket socket;
    uv_timer_t accept_retry;
    int spare[CONTROL_SPARE_FDS]; /* owned, -1: in use for a client */
    struct client *clients;
    unsigned client_count;
    struct log_limit log;
    bool is_listening;
    void (*finished)(void *arg);
    uv_timer_t patience;
};

/* Accept clients from now on. */
int control_start(struct control *control, const struct control_opts *opts, struct err *err);

/* Accept no more; those who are connected stay. */
void control_unlisten(struct control *control);

/* Close all connections as soon as their answers are written; then `finished(arg)`. */
void control_finish(struct control *control, void (*finished)(void *arg));

/*
 * Queue one line (a line feed is added).  May end the client, whose memory stays for now.
 * Returns 0, or -ENOMEM when there was no memory for it and the client knows of nothing.
 */
int client_send(struct client *client, const char *text);

/* The same without memory, for a short line; a client that cannot take it now is closed. */
void client_send_now(struct client *client, const char *text);

/* Accept nobody for a while: who connects waits in the socket's queue. */
void control_hold(struct control *control, bool on);

/* Who it is, or -errno. */
struct ucred;
int client_peer(const struct client *client, struct ucred *peer);

/*
 * Its connection, for somebody who speaks on it himself from the next answer on: nothing is read
 * from it here any more.  A copy, the caller's; -errno.
 */
int client_lend(struct client *client);

/* It can be told nothing more. */
void client_close(struct client *client);

/* One of its calls has been answered: read on, or close, as the case may be. */
void client_call_ended(struct client *client);
