/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Pieces of memory of one size that are taken and given back without a call of the system: the
 * one given back last is taken first, as its memory is still in the cache.  They lie in one
 * mapping, which costs only what was ever taken of it.
 *
 * Each begins with a `struct slot`; the rest is its user's, and is as the last one left it.
 * Owned by who makes them; one thread.
 */

#include "core/base/base.h"

struct slot {
    struct slot *next; /* of those that are free; while it is taken, itself */
};

struct slots {
    uint8_t *memory; /* owned */
    size_t stride;   /* bytes, whole cache lines */
    unsigned count;
    unsigned fresh; /* the first that was never taken */
    struct slot *free;
};

/* `count` slots of at least `bytes`.  Returns 0 or -ENOMEM. */
int slots_init(struct slots *slots, size_t bytes, unsigned count);

/* Whatever is taken is gone.  Slots that are all zero have nothing to give up. */
void slots_fini(struct slots *slots);

static inline bool slots_has_free(const struct slots *slots)
{
    return slots->free || slots->fresh < slots->count;
}

/* NULL: all are taken. */
static inline void *slots_take(struct slots *slots)
{
    struct slot *slot = slots->free;

    if (slot) {
        slots->free = slot->next;
    } else if (slots->fresh < slots->count) {
        slot = (struct slot *)(slots->memory + slots->stride * slots->fresh++);
    } else {
        return NULL;
    }
    slot->next = slot;
    return slot;
}

static inline void slots_give(struct slots *slots, void *taken)
{
    struct slot *slot = taken;

    slot->next = slots->free;
    slots->free = slot;
}

/* Walk over those that are taken: `*at` is 0 at first.  NULL: there are no more. */
void *slots_next_taken(const struct slots *slots, unsigned *at);
