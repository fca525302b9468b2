/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Memory in huge pages, cut into slots.  Many devices pay for each piece of memory that a request
 * has; here what is one piece for us is one for them.
 * Owned by its path; that one's thread only.
 */

#include "core/base/base.h"

#define HUGE_SLOTS 64u
#define HUGE_SLOT_BYTES (128u * 1024)

struct huge_pool {
    uint8_t *memory; /* owned; untouched, and so free of cost, until used */
    uint64_t free;   /* slots; bit = number */
};

/* Returns 0 or -ENOMEM.  A host that gives no huge pages gives others. */
int huge_pool_init(struct huge_pool *pool);
void huge_pool_fini(struct huge_pool *pool);

/* Adjoining slots for so many bytes, at most that of all slots; NULL: there are none together. */
uint8_t *huge_pool_get(struct huge_pool *pool, size_t bytes);
void huge_pool_put(struct huge_pool *pool, const uint8_t *memory, size_t bytes);

static inline bool huge_pool_is_unused(const struct huge_pool *pool)
{
    return pool->free == UINT64_MAX;
}

/* The host has its memory back; all is unused. */
void huge_pool_give_back(struct huge_pool *pool);
