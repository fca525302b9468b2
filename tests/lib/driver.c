/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/driver.h"

#include <assert.h>
#include <err.h>
#include <stdlib.h>

void driver_reset(struct driver *drv, uint16_t base)
{
    raw_ring_reset(&drv->ring, base);
    drv->free_count = drv->ring.size;
    for (unsigned i = 0; i < drv->ring.size; i++) {
        drv->free[i] = (uint16_t)(drv->ring.size - 1 - i);
    }
}

void driver_init(struct driver *drv, struct arena *arena, unsigned size)
{
    uint64_t addr = arena_take(arena, ring_driver_bytes(size, RING_DRIVER_MODERN_ALIGN), 16);

    assert(size <= DRIVER_MAX_SIZE);
    *drv = (struct driver){.arena = arena};
    ring_driver_init(&drv->ring, size, RING_DRIVER_MODERN_ALIGN, arena_at(arena, addr),
                     arena->guest_addr - (uintptr_t)arena->host, NULL);
    driver_reset(drv, 0);
}

void driver_set_table(struct driver *drv, uint64_t table, unsigned index, uint64_t addr,
                      uint32_t len, uint16_t flags, uint16_t next)
{
    struct vring_desc *desc = arena_at(drv->arena, table);

    desc[index] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static uint16_t take_desc(struct driver *drv)
{
    if (drv->free_count == 0) {
        errx(EXIT_FAILURE, "the test's ring has no free descriptor");
    }
    return drv->free[--drv->free_count];
}

static uint16_t piece_flags(const struct piece *piece, bool has_next)
{
    return (uint16_t)((piece->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
}

/* Returns the descriptor behind the last piece, if there `is_more` to come. */
static uint16_t chain_from(struct driver *drv, uint16_t index, const struct piece *pieces,
                           unsigned count, bool is_more)
{
    for (unsigned i = 0; i < count; i++) {
        bool has_next = is_more || i + 1 < count;
        uint16_t next = has_next ? take_desc(drv) : 0;

        raw_ring_set_desc(&drv->ring, index, pieces[i].addr, pieces[i].len,
                          piece_flags(&pieces[i], has_next), next);
        index = next;
    }
    return index;
}

uint16_t driver_chain(struct driver *drv, const struct piece *pieces, unsigned count)
{
    uint16_t head = take_desc(drv);

    (void)chain_from(drv, head, pieces, count, false);
    return head;
}

uint16_t driver_chain_indirect(struct driver *drv, const struct piece *pieces, unsigned count,
                               unsigned direct, uint64_t table)
{
    uint16_t head = take_desc(drv);
    uint16_t index = chain_from(drv, head, pieces, direct, true);

    for (unsigned i = direct; i < count; i++) {
        driver_set_table(drv, table, i - direct, pieces[i].addr, pieces[i].len,
                         piece_flags(&pieces[i], i + 1 < count), (uint16_t)(i - direct + 1));
    }
    raw_ring_set_desc(&drv->ring, index, table,
                      (uint32_t)(sizeof(struct vring_desc) * (count - direct)),
                      VRING_DESC_F_INDIRECT, 0);
    return head;
}

void driver_offer(struct driver *drv, uint16_t head)
{
    raw_ring_offer(&drv->ring, head);
}

static void free_chain(struct driver *drv, uint16_t head)
{
    const struct ring_driver *ring = &drv->ring;
    uint16_t index = head;

    /* Bounded: a test may have spoiled the chain. */
    for (unsigned i = 0; i < ring->size && drv->free_count < ring->size; i++) {
        drv->free[drv->free_count++] = index;
        if (!(ring->desc[index].flags & VRING_DESC_F_NEXT) ||
            ring->desc[index].next >= ring->size) {
            break;
        }
        index = ring->desc[index].next;
    }
}

bool driver_reap(struct driver *drv, struct used *used)
{
    struct ring_driver *ring = &drv->ring;
    const struct vring_used_elem *elem = &ring->used->ring[ring->last_used % ring->size];

    if (raw_ring_used_count(ring) == 0) {
        return false;
    }
    *used = (struct used){.id = elem->id, .len = elem->len};
    ring->last_used++;
    if (used->id < ring->size) {
        free_chain(drv, (uint16_t)used->id);
    }
    return true;
}
