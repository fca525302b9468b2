/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What of an image is being changed, and who waits for it: for a copy on read, a copy before a
 * write, a mirror, the allocation of a cluster.  Who has a range to himself keeps all others out of
 * it, those who share one only such.  What cannot have its range yet waits, in order of arrival,
 * and holds nothing; when its turn has come, its own lane is sent a message.
 *
 * Part of a node, for all its lanes.  Nothing is allocated: an io's range lies in its frame for as
 * long as the layer has the io, and all that are there are walked through, which is as many as are
 * under way at once.  The mutex is held for that walk, and never over I/O.
 *
 * An io has one range of a node at a time, whatever it waits for next: two that each have one and
 * ask for the other's would wait for ever.  A range is had for as long as its io is in flight and
 * no longer: whoever waits for a drain or a change of the image has none, nor has a request that is
 * held, or that a limit keeps in its ring.
 */

#include <pthread.h>

#include "core/base/message.h"
#include "core/block/node.h"

struct range {
    struct message message; /* `run` is the asker's: it has had to wait, and has its range now */
    struct path *path;      /* lent: the asker's; `run` is called on its lane, outside of a turn */
    struct io *io;          /* the asker's own business */
    uint64_t offset;        /* bytes */
    uint64_t length;        /* bytes, not 0 */
    struct range *next;     /* of the ranges: the one that came after it */
    unsigned ahead;         /* of the ranges: so many that came before keep it out */
    bool is_shared;
};

_Static_assert(sizeof(struct range) <= IO_FRAME_BYTES, "room for a range");

struct ranges {
    pthread_mutex_t mutex;
    struct range *first; /* in order of arrival, those who have theirs and those who wait */
};

static inline struct range *range_of(const struct io *io)
{
    return io->frame;
}

void ranges_init(struct ranges *ranges);

/* None is there. */
void ranges_fini(struct ranges *ranges);

/* Returns true: it is had.  False: it will be, and the message says when.  Thread: path's. */
bool range_take(struct ranges *ranges, struct range *range);

/*
 * It is no longer needed.  Thread: path's, as an io ends there, and so a lane's and no helper's:
 * the lane of one that goes on may end as soon as its message is there, but not amid a turn of
 * another.
 */
void range_end(struct ranges *ranges, struct range *range);
