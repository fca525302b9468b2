/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What all paths of one thread have in common: which of them begin and end operations, and how
 * the thread is reached.  It knows no loop: whoever has it watches the leaves' file descriptors,
 * calls submit and reap, and knows how to be woken and sent messages.
 * Part of a lane; used by its thread, or the disk's own while that one is parked.
 */

#include <stdatomic.h>

#include "core/base/message.h"
#include "core/base/trial.h"
#include "core/block/flight.h"
#include "core/block/image_opts.h"
#include "core/block/node.h"

/* Of one image: its leaf, and filters that wait. */
#define CONTEXT_LEAVES 8u

struct context_ops {
    /* See context_wake and context_send. */
    void (*wake)(struct context *context);
    void (*send)(struct context *context, struct message *message);

    /* Is this its thread?  For assertions; NULL: that cannot be told. */
    bool (*is_current)(const struct context *context);
};

struct context {
    const struct context_ops *ops;
    struct flight *flight; /* lent: its `own` counts what another context has sent here */
    uint64_t *freed; /* lent: counts bytes that file systems were given back; NULL: nobody does */
    enum huge_use huge_use;

    /*
     * When somebody will have waited for long enough for what is in flight: from then on what is no
     * more than a hint is left off; 0: nobody waits.  Stored by the disk's thread, with the lane
     * parked; its partner is the load of a helper that is not (wiper.c).  It orders nothing else.
     */
    _Atomic uint64_t hurry_ns;
    struct trial_turn turn; /* of what its lane, and paths, try */
    unsigned leaf_count;
    struct path *leaf[CONTEXT_LEAVES]; /* each there from its attach to its detach */
};

/* Returns 0 or -errno: there is no room for more. */
int context_add(struct context *context, struct path *leaf, struct err *err);
void context_remove(struct context *context, struct path *leaf);

/*
 * Something is about to begin or end, and not within submit or reap: from a message.  Without this
 * it would neither be submitted nor published.
 */
static inline void context_wake(struct context *context)
{
    context->ops->wake(context);
}

/* Have the message run on the context's thread.  Thread: any. */
static inline void context_send(struct context *context, struct message *message)
{
    context->ops->send(context, message);
}

static inline bool context_is_current(const struct context *context)
{
    return !context->ops->is_current || context->ops->is_current(context);
}

/* Each as struct leaf_ops has it, for all leaves. */
static inline struct submitted context_submit(struct context *context)
{
    struct submitted all = {0};

    for (unsigned i = 0; i < context->leaf_count; i++) {
        struct path *leaf = context->leaf[i];
        struct submitted one = leaf->ops->leaf->submit(leaf);

        all.calls += one.calls;
        all.operations += one.operations;
        all.merged += one.merged;
        all.bounced += one.bounced;
    }
    return all;
}

static inline unsigned context_reap(struct context *context)
{
    unsigned count = 0;

    for (unsigned i = 0; i < context->leaf_count; i++) {
        count += context->leaf[i]->ops->leaf->reap(context->leaf[i]);
    }
    return count;
}

static inline bool context_is_held_back(const struct context *context)
{
    bool is_held_back = false;

    for (unsigned i = 0; i < context->leaf_count; i++) {
        is_held_back |= context->leaf[i]->ops->leaf->is_held_back(context->leaf[i]);
    }
    return is_held_back;
}

static inline bool context_must_look(const struct context *context)
{
    bool must_look = false;

    for (unsigned i = 0; i < context->leaf_count; i++) {
        must_look |= context->leaf[i]->must_look;
    }
    return must_look;
}

static inline bool context_keeps_memory(const struct context *context)
{
    bool keeps_memory = false;

    for (unsigned i = 0; i < context->leaf_count; i++) {
        keeps_memory |= context->leaf[i]->keeps_memory;
    }
    return keeps_memory;
}

static inline void context_rest(struct context *context)
{
    for (unsigned i = 0; i < context->leaf_count; i++) {
        if (context->leaf[i]->keeps_memory) {
            context->leaf[i]->ops->leaf->rest(context->leaf[i]);
        }
    }
}
