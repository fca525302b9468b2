/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How many requests a lane gives to its image with one call: learned, for reads and writes apart.
 *
 * A call for each costs time that a call for many saves; but the image waits until the last of many
 * is there, and the guest gets their answers in bunches.  Which is worse depends on device,
 * processor, guest and depth, so it is tried: the size in use and one of half or twice as many
 * take turns for slices of time, and the one that finishes more requests stays.  Then it rests,
 * for longer each time that nothing was found, and until the load changes.
 *
 * A slice says nothing where its size was not what ended the batches, or the disk was idle.
 * Part of a lane.
 */

#include "core/base/base.h"
#include "core/base/trial.h"
#include "core/block/merge.h"

enum batch_kind { BATCH_READ, BATCH_WRITE, BATCH_KINDS };

/* The sizes are the powers of two up to this. */
#define BATCH_LEVELS 6u
#define BATCH_MOST (1u << (BATCH_LEVELS - 1))

enum batch_way { BATCH_DOWN, BATCH_UP, BATCH_WAYS };

/* Of one kind. */
struct batch_learned {
    unsigned level;                   /* the size is 1 << level */
    unsigned losses[BATCH_WAYS];      /* trials in a row that found nothing */
    uint64_t rest_end_ns[BATCH_WAYS]; /* no trial before */
    bool is_used;                     /* there was a batch */
};

/* Of one slice. */
struct batch_slice {
    uint64_t start_ns;
    uint64_t start_requests; /* of all kinds, finished by then */
    unsigned inflight;       /* at the start: what they do is another size's still */
    uint64_t idle_ns;        /* nothing was in flight for so long */
    unsigned batches[BATCH_KINDS];
    unsigned full[BATCH_KINDS];      /* those that their size has ended */
    unsigned over[BATCH_KINDS];      /* those with more than their mark */
    unsigned taken[BATCH_KINDS];     /* requests */
    unsigned continued[BATCH_KINDS]; /* of those, continuing their predecessor */
    bool has_settled;                /* what was in flight when it began is over */
};

struct batch_trial {
    bool is_on;
    enum batch_kind kind;
    enum batch_way way;
    unsigned level; /* the one that is tried */
    struct trial compared;
};

#define BATCH_NOWHERE UINT64_MAX

/* Of the batch that is being taken. */
struct batch_taken {
    unsigned count;
    uint64_t bytes; /* of the last requests that continue each other */
    uint64_t
        end; /* bytes: where the next one would continue them, also after the batch was given */
};

struct batch {
    bool is_full; /* the batch that is being taken */
    struct batch_taken taken[BATCH_KINDS];
    unsigned size[BATCH_KINDS]; /* at this moment */
    unsigned mark[BATCH_KINDS]; /* the next smaller one, or of two that are compared */
    unsigned fixed;             /* the size for ever, 0: it learns */
    struct batch_learned learned[BATCH_KINDS];
    struct batch_slice slice;
    struct batch_trial trial;
    uint64_t idle_start_ns; /* 0: something is in flight */
    uint64_t look_ns;       /* there is nothing to look at before */
    uint64_t steady_rate;   /* requests a second while no trial is on, 0: not known */
    uint64_t recent_rate;   /* sum of the last slices, so many: */
    unsigned recent;
    uint64_t forget_ns; /* no other load is found before */
};

/* Forgets what was learned.  `fixed`: the size for ever, 0: it learns. */
void batch_init(struct batch *batch, unsigned fixed, uint64_t now_ns);

/* The size in use, leaving trials aside: for people.  0: nothing of the kind was taken so. */
unsigned batch_size(const struct batch *batch, enum batch_kind kind);

/*
 * A request of the guest was taken.  One that continues its predecessor costs nothing, as they are
 * one operation to the image: a small size would end merging, and never be found to be too small.
 */
static inline void batch_take(struct batch *batch, enum batch_kind kind, uint64_t offset,
                              uint64_t length)
{
    struct batch_taken *taken = &batch->taken[kind];
    bool continues = offset == taken->end && taken->bytes + length <= MERGE_BYTES;

    batch->slice.taken[kind]++;
    batch->slice.continued[kind] += continues;
    taken->bytes = continues ? taken->bytes + length : length;
    taken->end = offset + length;
    batch->taken[kind ^ 1].end = BATCH_NOWHERE;
    if (!continues || taken->count == 0) {
        batch->is_full |= ++taken->count >= batch->size[kind];
    }
}

/* Something else was taken: nothing continues what was before. */
static inline void batch_cut(struct batch *batch)
{
    batch->taken[BATCH_READ].end = BATCH_NOWHERE;
    batch->taken[BATCH_WRITE].end = BATCH_NOWHERE;
}

/* What was taken is given to the image. */
void batch_give(struct batch *batch, uint64_t now_ns);

/* Nothing is in flight any more. */
static inline void batch_idle(struct batch *batch, uint64_t now_ns)
{
    if (batch->idle_start_ns == 0) {
        batch->idle_start_ns = now_ns;
    }
}

/* A millisecond after each look. */
static inline bool batch_is_due(const struct batch *batch, uint64_t now_ns)
{
    return now_ns >= batch->look_ns;
}

/*
 * Is the slice over?  `finished`: requests, since the lane began; `inflight`: those that are not;
 * `turn`: of its thread's trials.  When it is due.
 */
void batch_look(struct batch *batch, struct trial_turn *turn, uint64_t finished, unsigned inflight,
                uint64_t now_ns);
