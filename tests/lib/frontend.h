/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A guest and its VMM for tests: the project's own front-end and drivers (vhost_user_client,
 * ring_driver, blk_driver) with memory, rings and a stock of requests.  Works with any
 * back-end, not only ours; and without one, for tests that play the back-end themselves.
 * What no well-behaved front-end sends goes through its socket, by vhost_msg.h.
 * One thread.  Functions return 0 or -errno.
 */

#include "tests/lib/arena.h"
#include "tests/lib/raw_ring.h"
#include "tests/lib/vhost_msg.h"
#include "transports/client/vhost_user_bus.h"

#define FRONTEND_TIMEOUT_MS 10000

/* Where its memory lies in the guest's address space. */
#define FRONTEND_GUEST_ADDR 0x100000ull

struct frontend_opts {
    const char *socket;
    unsigned queues;
    unsigned queue_size;      /* up to BLK_DRIVER_MAX_SIZE */
    unsigned depth;           /* requests at once on each ring */
    uint32_t request_bytes;   /* largest data part of one */
    uint64_t accept;          /* feature bits, if offered, beyond those that its driver knows */
    uint64_t refuse;          /* feature bits that it does not accept; see vhost_user_client.h */
    uint64_t refuse_protocol; /* protocol feature bits that it does not accept */
    bool is_packed;           /* packed rings, which the back-end has to have */
    bool is_tracked;          /* with an in-flight region, as packed rings always are */
    bool follows;             /* while it waits it reconnects, as a VMM does */
};

struct frontend_ring;

/* One request, ours; what the device sees of it is in the arena. */
struct frontend_request {
    struct frontend_ring *ring; /* parent */
    struct frontend_request *next;
    struct blk_driver_request *blk; /* our side of it; its arg is this request */
    void *data;                     /* of request_bytes */
};

struct frontend_ring {
    struct frontend *fe;            /* parent */
    struct vhost_user_bus_fds *fds; /* in fe->bus */
    struct blk_driver_queue *queue; /* in fe->queue */
    struct ring_driver *drv;        /* in the queue */
    unsigned inflight;
    struct frontend_request *requests; /* owned, `depth` of them */
    struct blk_driver_request *blk;    /* owned, one for each of them */
    struct frontend_request *free;
};

struct frontend {
    struct frontend_opts opts;
    struct blk_driver_ops ops; /* the bus's, but for `accept` */
    struct vhost_user_bus bus; /* its err: of the latest call that failed */
    struct arena arena;
    struct blk_driver blk;
    struct blk_driver_queue *queue; /* owned, `queues` of them */
    struct frontend_ring *ring;     /* owned, `queues` of them */
};

/* Memory and rings of our own; connects nowhere yet. */
void frontend_init(struct frontend *fe, const struct frontend_opts *opts);
void frontend_fini(struct frontend *fe);

/* Connect and agree on the protocol; no features, no memory, no rings. */
int frontend_connect(struct frontend *fe);

/* What the guest accepts. */
int frontend_accept(struct frontend *fe, uint64_t features);

/* Share all of our memory. */
int frontend_share(struct frontend *fe);

/* Tell the back-end about one ring, as it is in memory now, and enable it. */
int frontend_ring_start(struct frontend *fe, unsigned index, uint32_t base);

/* Empty a ring and start it. */
int frontend_ring_begin(struct frontend *fe, unsigned index);

/* What was used in a ring and not reaped; and the base of a ring of which nothing else is taken. */
unsigned frontend_used_count(const struct frontend_ring *ring);
uint32_t frontend_used_base(const struct frontend_ring *ring);

/* Stop it and learn where it would go on; `base` may be NULL. */
int frontend_ring_stop(struct frontend *fe, unsigned index, uint32_t *base);

/* All of it: connect, share, and have the driver negotiate features and start new rings. */
int frontend_start(struct frontend *fe);

/* The same for the rings that are there, which go on after the last used element. */
int frontend_resume(struct frontend *fe);

/* Close the socket, whatever is in flight; frontend_start or frontend_resume may follow. */
void frontend_disconnect(struct frontend *fe);

/*
 * Requests.  `frontend_prepare` returns NULL when `depth` requests are under way; fill in
 * `data`, put it into the ring with `frontend_put`, show all that were put to the device and
 * kick if it wants with `frontend_kick`.  `frontend_reap` returns the next that is done, or
 * NULL; its memory may be used until `frontend_release`.
 */
struct frontend_request *frontend_prepare(struct frontend_ring *ring, uint32_t type,
                                          uint64_t sector, uint32_t len);
void frontend_put(struct frontend_request *request);
void frontend_kick(struct frontend_ring *ring);
struct frontend_request *frontend_reap(struct frontend_ring *ring);
void frontend_release(struct frontend_request *request);

/* Wait until a ring has something to reap. */
int frontend_wait(struct frontend *fe, int timeout_ms);

/* One request, from start to end; the status byte or -errno. */
int frontend_do(struct frontend_ring *ring, uint32_t type, uint64_t sector, void *data,
                uint32_t len);

/* ---- messages of the test's own on the front-end's connection ---- */

int frontend_sock(const struct frontend *fe);

/* The protocol features that were agreed on. */
uint64_t frontend_protocol_features(const struct frontend *fe);

/* Send a message, with an fd unless that is -1; with REPLY_ACK, -EREMOTEIO when refused. */
int frontend_set(struct frontend *fe, uint32_t request, const void *payload, uint32_t len, int fd);
int frontend_set_u64(struct frontend *fe, uint32_t request, uint64_t value, int fd);
int frontend_set_vring(struct frontend *fe, uint32_t request, uint32_t index, uint32_t num);

int frontend_get_u64(struct frontend *fe, uint32_t request, uint64_t *value);
