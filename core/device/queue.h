/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is served of a ring: where it is, who serves it, how its driver kicks and is called.  What
 * the front-end has told of it is a ring_setup.
 * Owned by the device.  Its lane's thread, or the disk's own while that one is parked.
 */

#include "core/device/held.h"
#include "core/device/lane.h"
#include "core/virtio/ring.h"

/* Requests that were taken and may not go yet (lane_delay.h), in order. */
struct delayed {
    struct request *first; /* NULL: there are none */
    struct request *last;
    uint64_t opens_ns; /* of the first */
    unsigned count;
};

/* Those that go past others: each has a list of its own. */
enum delay_way { DELAY_READS, DELAY_WRITES, DELAY_WAYS };

struct queue {
    struct lane_view *view; /* the parent's */
    struct lane *lane;      /* one of the device's: who serves it */
    struct ring ring;
    struct watch *kick; /* owned, NULL: none; owns the kick fd */
    int call_fd;        /* owned, -1: none */
    int err_fd;         /* owned, -1: none */
    unsigned index;
    struct held held;
    uint64_t gate_ns;       /* of a ring that is gated: until then */
    uint64_t gate_since_ns; /* its next waits for that since then, 0: it does not */
    struct delayed delayed[DELAY_WAYS];
    bool is_enabled;
    bool is_paused;    /* by device_ring_pause */
    bool is_suspended; /* by device_ring_suspend: what it holds stays in its log when it stops */
    bool is_told;      /* size and addresses: it runs when there are memory and a kick fd */
    bool is_fault_told;
    uint16_t refusals_told; /* bit = enum refusal */
    bool has_kick;          /* since it was set up: the driver, or its monitor, has kicked */
    bool is_blind;          /* the driver kicks, and no request is there to be seen */
    bool has_moved; /* since it started: the available index has, so the memory is the driver's */
    uint8_t apart[CACHE_LINE]; /* no cache line has two rings, of two threads */
};

void queue_init(struct queue *q, struct lane_view *view, unsigned index, struct lane *lane);

/* From here on nothing is written to where it lies.  Nothing of it is in flight. */
void queue_stop(struct queue *q);

/* May requests be popped from it, as far as the ring itself is concerned? */
static inline bool queue_is_live(const struct queue *q)
{
    return q->ring.is_started && q->is_enabled && !q->is_paused && !q->ring.is_broken;
}

/* The lowest ring of a set (bit = index), taken out of it. */
static inline struct queue *queue_take(const struct lane_view *view, uint64_t *set)
{
    struct queue *q = &view->queue[__builtin_ctzll(*set)];

    *set &= *set - 1;
    return q;
}

/* ---- kicks ---- */

/*
 * Wait for kicks by `fd` from now on, and no longer by the one before.  `fd` is lent until
 * queue_own_kick.
 */
int queue_open_kick(struct queue *q, int fd, struct err *err);
void queue_own_kick(struct queue *q);
void queue_close_kick(struct queue *q);

/*
 * Move it, with nothing in flight.  First open a watch of its kick fd on the loop of the new
 * lane, which may fail: `*kick` is NULL when it has no kick fd, or is there already.
 */
int queue_open_moved_kick(struct queue *q, struct lane *lane, struct watch **kick, struct err *err);
void queue_move(struct queue *q, struct lane *lane, struct watch *kick);

/* ---- signals: queue_signal.c ---- */

/* Take over `fd`, -1: none, and close the one before. */
void queue_set_call(struct queue *q, int fd);
void queue_set_err(struct queue *q, int fd);

/* Signal the call fd, if there is one. */
void queue_call(struct queue *q);

/* Say once why the ring is broken, and tell the front-end by the error fd. */
void queue_tell_fault(struct queue *q);

/* ---- a driver whose memory is not seen: queue_blind.c ---- */

/* It starts: nothing is known of its kicks, and nothing was told of it. */
void queue_forget_told(struct queue *q);

/* The ring was kicked, and has not been seen to move. */
void queue_look_for_blind(struct queue *q);

/* Is it still so that its driver kicks where nothing is seen?  Parked. */
bool queue_is_blind(const struct queue *q);
