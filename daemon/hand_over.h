/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * All disks go to another process, which somebody has started and which has asked for them by the
 * control socket (take_over.h).  They are frozen side by side; then it is sent what they are, and
 * makes ready.  When it has said so it is told that they are its own, and this process ends without
 * touching anything.  Whatever fails before that, the disks go on here.
 * Owned by the daemon.  Thread: control.
 */

#include "core/base/errand.h"
#include "core/base/parcel.h"
#include "daemon/call.h"
#include "daemon/daemon_opts.h"
#include "daemon/methods_upgrade.h"
#include "daemon/registry.h"
#include "daemon/state.h"

struct plane_freeze;

struct hand_over_opts {
    const struct daemon_opts *daemon; /* lent, as are all of these */
    struct registry *registry;
    struct control *control;
    struct unix_listener *listener;
    struct state *state;
    struct mailbox *mailbox;
    void (*stayed)(void *arg); /* it has not come to pass */
    void *arg;
};

struct hand_over {
    struct hand_over_opts opts;
    struct call *call;            /* that asked; NULL: it was answered */
    struct client *client;        /* whose it is, NULL: it has gone */
    struct plane_freeze **freeze; /* owned; those of the disks */
    size_t count;
    size_t pending;  /* that are not frozen yet */
    struct err err;  /* why it does not come to pass */
    struct err sent; /* the errand's while it is under way: the same */
    struct keep keep;
    bool is_keeping;
    struct errand errand;
    bool is_sending; /* the errand is under way */
    int cwd;         /* owned: the working directory; -1: none */
    int sock;        /* owned: the connection, for the errand; -1: none */
    struct parcel parcel;
    pid_t heir;
    bool is_under_way;
};

void hand_over_init(struct hand_over *hand, const struct hand_over_opts *opts);

void hand_over_begin(struct hand_over *hand, struct call *call,
                     const struct hand_over_target *target);

void hand_over_client_gone(struct hand_over *hand, const struct client *client);
bool hand_over_is_under_way(const struct hand_over *hand);

/* The daemon is to end, and not in this way: `stayed` tells when it can. */
void hand_over_cancel(struct hand_over *hand, const char *why);
