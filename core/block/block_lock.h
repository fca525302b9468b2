/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who changes which bytes of an image: many at once where they share, as writes of whole blocks do,
 * and one alone, who reads a block, changes a part of it and writes it back, and would put back
 * what others have written meanwhile.
 *
 * As range.h, but made for many who share and few who are alone.  While nobody is, who shares meets
 * no word that another lane writes: it is on a list of its lane's, under that lane's own mutex.
 * Who wants bytes alone is on a list of all, and looks at the lists of all lanes.
 *
 * That none of two misses the other: who shares looks whether anybody is alone while it holds its
 * lane's mutex, and is on the lane's list when it lets go of that; who is alone counts itself
 * first, and then takes each lane's mutex.  Whichever of them has the mutex second sees the other.
 * All else, which is who waits for whom, happens under the mutex of all, in order of arrival, so
 * nobody waits in a circle and nobody for ever.
 *
 * Part of a node, for all its lanes, and of its paths, for one each.  Nothing is allocated.  No
 * mutex is held over I/O.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/base.h"
#include "core/base/message.h"

struct block_lane;
struct context;

/* Of somebody who asks. */
struct block_lock {
    /*
     * The asker's: it has had to wait, and has it now.  Called on its lane: within the end of
     * another of the same lane, or from a message, after context_wake.
     */
    void (*had)(struct block_lock *lock);

    uint64_t first; /* bytes */
    uint64_t end;   /* behind the last of them */
    bool is_alone;

    /* Its own business: */
    bool is_counted; /* it is had, and some who want to be alone wait for it; under both mutexes */
    unsigned ahead;  /* so many that came before keep it out */
    struct block_lane *lane;
    struct block_lock *next;  /* of the list that it is on */
    struct block_lock **link; /* what points to it there */
    struct message message;
};

struct block_list {
    struct block_lock *first;
    struct block_lock **last;
};

/* Of a path. */
struct block_lane {
    pthread_mutex_t mutex;
    struct block_list sharing; /* those who have what they share; under the mutex */
    struct block_locks *locks; /* parent: the node's */
    struct context *context;   /* parent: the path's */
    struct block_lane *next;
};

/* Of a node.  The order of mutexes: this one, then that of a lane. */
struct block_locks {
    pthread_mutex_t mutex;
    _Atomic unsigned alone_count; /* of the next; changed under the mutex */
    struct block_list alone;      /* those who are, or wait for it, in order of arrival */
    struct block_list waiting;    /* to share */
    struct block_lane *lanes;
};

void block_locks_init(struct block_locks *locks);
void block_locks_fini(struct block_locks *locks);

/* Thread: the context's. */
void block_lane_open(struct block_lane *lane, struct block_locks *locks, struct context *context);
void block_lane_close(struct block_lane *lane);

/*
 * `had`, `first`, `end` and `is_alone` are set.  Returns true: it is had.  False: it will be, and
 * `had` says when.  Thread: the lane's.
 */
bool block_lock_take(struct block_lane *lane, struct block_lock *lock);

/* It is no longer needed.  Thread: the lane's. */
void block_lock_end(struct block_lock *lock);
