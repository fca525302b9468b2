/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A driver and the device's side of the same ring, of either format: what tests of drivers start
 * from.  They start both, each in its own way.
 */

#include "tests/unit/unit.h"

#include <string.h>

#include "core/driver/ring_driver.h"
#include "core/virtio/ring.h"
#include "tests/lib/arena.h"
#include "tests/lib/find_parts.h"

#define SIZE 8u
#define GUEST 0x100000ull
#define ARENA_BYTES 0x40000u

struct world {
    struct mem mem;
    struct arena arena;
    struct ring_driver drv;
    struct ring_driver_chain chain[SIZE];
    struct ring ring;
    struct vring_desc *tables; /* a page of the arena's */
    uint8_t *data;             /* another */
};

/* Memory and nothing else. */
static inline void world_init(struct world *w)
{
    struct mem_layout layout = {.guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = GUEST};

    memset(w, 0, sizeof(*w));
    mem_init(&w->mem);
    arena_init(&w->arena, GUEST, ARENA_BYTES);
    assert_int_equal(mem_add(&w->mem, &layout, w->arena.fd, NULL), 0);
    w->data = arena_at(&w->arena, arena_take(&w->arena, 4096, 4096));
    w->tables = arena_at(&w->arena, arena_take(&w->arena, 4096, 4096));
}

static inline int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

/* The last piece is the device's to write. */
static inline int add(struct world *w, unsigned count)
{
    struct ring_piece pieces[SIZE];

    for (unsigned i = 0; i < count; i++) {
        pieces[i] = (struct ring_piece){w->data + 64 * i, 64, i + 1 == count};
    }
    return ring_driver_add(&w->drv, pieces, count);
}

static inline struct chain *pop(struct world *w)
{
    struct chain *chain = NULL;

    assert_int_equal(ring_pop(&w->ring, &chain), 1);
    return chain;
}

static inline bool serve(struct world *w, uint32_t len)
{
    ring_push(&w->ring, pop(w), len);
    return ring_publish(&w->ring);
}

/* Returns the name of a chain that was answered. */
static inline uint16_t take(struct world *w)
{
    uint16_t id;
    uint32_t len;

    assert_true(ring_driver_take(&w->drv, &id, &len));
    return id;
}
