/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A vhost-user back-end that serves no request: it answers messages as it is told, well or
 * badly, on a thread of its own, and remembers what it was told.
 * Written from the specification, not from transports/: see tests/lib/vhost_msg.h.
 */

#include <pthread.h>

#include "tests/lib/vhost_msg.h"

#define FAKE_RINGS 2
#define FAKE_BASE 77  /* of each ring when it stops, unless it is told another */
#define FAKE_FLOODS 3 /* threads: one of them always runs */

struct fake_opts {
    uint64_t features; /* bit 30 decides on the protocol features */
    uint64_t protocol_features;
    uint32_t mute;         /* this request is never answered, 0: none */
    uint32_t refuse;       /* this one is refused */
    uint32_t hang_up;      /* at this one the connection is closed */
    uint32_t leave_after;  /* the same, once this one is answered */
    bool asks_first;       /* wants an answer on its channel before it gives GET_VRING_BASE's */
    unsigned drain_ms;     /* a ring takes that long to stop */
    unsigned delay_ms;     /* each answer does */
    unsigned inflight_fds; /* as many come with an in-flight region */
    bool tracks_nothing;   /* and it is one of no bytes */
    bool floods;           /* says on its channel, without end, that the config space changed */
    uint32_t base;         /* of a ring when it stops, 0: FAKE_BASE */
    uint64_t capacity;
};

struct fake_ring {
    uint32_t size;
    uint32_t base;
    struct vhost_vring_addr_msg addr;
    bool has_kick;
    bool has_call;
    bool is_enabled;
};

/* Written by its thread; read by the test when nothing is under way, or through fake_wait. */
struct fake_backend {
    struct fake_opts opts;
    char dir[32];
    char path[48];
    int listen_fd;
    pthread_mutex_t lock; /* over sock: one side closes it, the other shuts it down */
    int sock;
    int channel;
    pthread_t thread;
    pthread_t flood[FAKE_FLOODS]; /* with opts.floods, while there is a channel */
    uint64_t features;            /* as set by the front-end */
    uint64_t protocol_features;
    unsigned regions;
    struct fake_ring ring[FAKE_RINGS];
    struct vhost_inflight_msg inflight; /* as it was asked for */
    struct vhost_inflight_msg inflight_set;
    uint64_t inflight_inode; /* of the memory that was given, and of the one that came */
    uint64_t inflight_set_inode;
    unsigned seen[64]; /* messages, by request */
    uint32_t order[256];
    unsigned order_count;
    unsigned channel_answers;
    _Atomic unsigned connections;
    _Atomic bool is_ending;
};

void fake_start(struct fake_backend *fake, const struct fake_opts *opts);

/* Stop listening and hang up; the socket file stays where it is. */
void fake_leave(struct fake_backend *fake);

/* Again, as a new process would: it knows nothing. */
void fake_return(struct fake_backend *fake, const struct fake_opts *opts);

/* Say that the config space changed. */
void fake_change_config(struct fake_backend *fake, uint64_t capacity);

void fake_end(struct fake_backend *fake);
