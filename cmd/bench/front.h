/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The guest that vblkbench plays: a driver for its disk, memory shared with the back-end, where
 * nothing lies but rings, frames and data, and an eventfd for each queue's kicks and interrupts.
 * When the back-end leaves, the connection is made anew as soon as it is back.  Owned by main; one
 * thread.
 */

#include "cmd/bench/options.h"
#include "cmd/bench/shared.h"
#include "transports/client/vhost_user_bus.h"

/* A place for one request; its frame and its data lie in shared memory. */
struct front_slot {
    struct blk_driver_request request; /* its arg is the slot */
    struct front_slot *next;           /* in the list of free ones */
    uint64_t start_ns;
    uint64_t block; /* what it is about, in blocks of the load */
};

struct front {
    const char *name; /* for messages, lent */
    struct vhost_user_bus bus;
    struct shared shared;
    int epoll_fd;
    unsigned queues;
    struct blk_driver blk;
    struct blk_driver_queue *queue; /* owned, one for each */
    struct front_slot *slots;       /* owned: all of queue 0, then those of queue 1, ... */
    unsigned depth;
    uint64_t interrupts; /* as far as front_interrupts has counted */
    bool is_started;     /* the driver has rings to stop */
    bool is_stuck;       /* the back-end answers nothing any more: hang up at once */
};

/* Connect and start `options->queues` rings.  `ring_size_max` 0: not known. */
int front_open(struct front *front, const struct bench_options *options, const char *socket,
               unsigned ring_size_max, struct err *err);
void front_close(struct front *front);

/* The queue's first slot; `depth` of them follow each other. */
static inline struct front_slot *front_slots_of(const struct front *front, unsigned queue)
{
    return &front->slots[(size_t)queue * front->depth];
}

/* Ask for interrupts on all queues.  Returns true when something is there already. */
bool front_interrupts_on(struct front *front);
void front_interrupts_off(struct front *front);

/* Sleep until an interrupt, a change of the connection, a signal, or so long; 0: only look. */
void front_sleep(struct front *front, uint64_t timeout_ns);

/* All interrupts and kicks so far. */
uint64_t front_interrupts(struct front *front);
uint64_t front_kicks(const struct front *front);
