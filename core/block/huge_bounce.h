/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Large operations of a path go through memory in huge pages where that is faster: a device that
 * pays for each piece of memory takes 128 KiB from there as one piece, and as 32 from a guest's
 * memory in pages of 4 KiB.  Whether it is faster is learned (huge_learn.h), or said.
 *
 * What finds no slots waits for those that are under way: were it to go straight, all would be as
 * slow as the device is at that.  Small operations go past it, large ones do not.
 * Owned by its path; that one's thread only.
 */

#include "core/block/context.h"
#include "core/block/engine.h"
#include "core/block/file_io.h"
#include "core/block/huge_learn.h"
#include "core/block/huge_pool.h"

/* What has fewer pages has little to gain. */
#define HUGE_BYTES_MIN (16u * 1024)

struct huge_bounce {
    struct context *context; /* parent: what was said of it, and whose trial is on */
    struct huge_pool pool;
    struct huge_learn learn;
    struct io_list waiting; /* for slots, in order: some are under way, or `has_freed` */
    bool has_freed;         /* since those who wait last tried */
    bool holds_memory;
    bool has_used_it; /* since the last rest */
    uint16_t reaps;   /* that have ended, so as to know what began before the last */
    uint64_t look_ns; /* of this batch; 0: there was no large operation yet */
};

/* Returns 0 or -ENOMEM. */
int huge_bounce_init(struct huge_bounce *huge, struct context *context);
void huge_bounce_fini(struct huge_bounce *huge);

static inline bool huge_bounce_is_waiting(const struct huge_bounce *huge)
{
    return huge->waiting.first;
}

/* Those that wait are pending again, before those that came later. */
void huge_bounce_release(struct huge_bounce *huge, struct io_list *pending);

/* A batch is about to be made of what is pending; those that wait go before that, if they may. */
static inline void huge_bounce_batch(struct huge_bounce *huge, struct io_list *pending)
{
    huge->look_ns = 0;
    if (huge_bounce_is_waiting(huge) && huge->has_freed) {
        huge_bounce_release(huge, pending);
    }
}

/* See huge_bounce_prepare. */
bool huge_bounce_prepare_large(struct huge_bounce *huge, struct io *io, struct engine_op *op);

/*
 * `op` has been made of `io` and its group, and is about to be added to a batch.  Returns false
 * when it has to wait instead.
 */
static inline bool huge_bounce_prepare(struct huge_bounce *huge, struct io *io,
                                       struct engine_op *op)
{
    return file_io_of(io)->group_bytes < HUGE_BYTES_MIN || huge_bounce_prepare_large(huge, io, op);
}

/* The group that begins at this place in the list leaves it, and waits. */
void huge_bounce_wait(struct huge_bounce *huge, struct io_list *pending, struct io **at);

/* The engine has not taken it: it is prepared again. */
void huge_bounce_undo(struct huge_bounce *huge, struct io *io);

/* See huge_bounce_begin and huge_bounce_end. */
void huge_bounce_begin_large(struct huge_bounce *huge, struct io *io);
void huge_bounce_end_large(struct huge_bounce *huge, struct io *io, int64_t result);

/* The engine has taken it. */
static inline void huge_bounce_begin(struct huge_bounce *huge, struct io *io)
{
    if (file_io_of(io)->is_large) {
        huge_bounce_begin_large(huge, io);
    }
}

/* So many bytes have moved, or -errno: its group have theirs from here on, in their own memory. */
static inline void huge_bounce_end(struct huge_bounce *huge, struct io *io, int64_t result)
{
    if (file_io_of(io)->is_large) {
        huge_bounce_end_large(huge, io, result);
    }
}

/* Every few seconds while `holds_memory`: what was not used since the last time goes back. */
void huge_bounce_rest(struct huge_bounce *huge);

/* All results that there were have ended. */
static inline void huge_bounce_reaped(struct huge_bounce *huge)
{
    huge->reaps++;
}
