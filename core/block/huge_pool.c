/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/huge_pool.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#define POOL_BYTES (HUGE_SLOTS * (size_t)HUGE_SLOT_BYTES)

/* Of x86 and most others; elsewhere the kernel takes what fits. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

_Static_assert(HUGE_SLOTS == 64, "a bit each");

/* The part of `memory` that begins with a huge page; what is around it is given back. */
static uint8_t *trim_to_huge(uint8_t *memory)
{
    size_t before = -(uintptr_t)memory % HUGE_PAGE_BYTES;

    if (before > 0) {
        (void)munmap(memory, before);
    }
    (void)munmap(memory + before + POOL_BYTES, HUGE_PAGE_BYTES - before);
    return memory + before;
}

int huge_pool_init(struct huge_pool *pool)
{
    void *memory = mmap(NULL, POOL_BYTES + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        return -ENOMEM;
    }
    pool->memory = trim_to_huge(memory);
    pool->free = UINT64_MAX;
    (void)madvise(pool->memory, POOL_BYTES, MADV_HUGEPAGE); /* it is of use without, but no gain */
    return 0;
}

void huge_pool_fini(struct huge_pool *pool)
{
    munmap(pool->memory, POOL_BYTES);
    pool->memory = NULL;
}

static unsigned slots_for(size_t bytes)
{
    return (unsigned)((bytes + HUGE_SLOT_BYTES - 1) / HUGE_SLOT_BYTES);
}

static uint64_t slots_mask(unsigned count)
{
    return count < HUGE_SLOTS ? BIT(count) - 1 : UINT64_MAX;
}

/* The first of `count` in a row, or none: each step leaves those that have one more behind them. */
uint8_t *huge_pool_get(struct huge_pool *pool, size_t bytes)
{
    unsigned count = slots_for(bytes);
    uint64_t starts = pool->free;
    unsigned first;

    assert(count > 0 && count <= HUGE_SLOTS);
    for (unsigned i = 1; i < count && starts; i++) {
        starts &= starts >> 1;
    }
    if (!starts) {
        return NULL;
    }
    first = (unsigned)__builtin_ctzll(starts);
    pool->free &= ~(slots_mask(count) << first);
    return pool->memory + first * (size_t)HUGE_SLOT_BYTES;
}

void huge_pool_put(struct huge_pool *pool, const uint8_t *memory, size_t bytes)
{
    unsigned first = (unsigned)((size_t)(memory - pool->memory) / HUGE_SLOT_BYTES);

    pool->free |= slots_mask(slots_for(bytes)) << first;
}

void huge_pool_give_back(struct huge_pool *pool)
{
    assert(huge_pool_is_unused(pool));
    (void)madvise(pool->memory, POOL_BYTES, MADV_DONTNEED); /* private memory: it cannot fail */
}
