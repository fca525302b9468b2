/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/raw_ring.h"

void raw_ring_set_desc(struct ring_driver *ring, unsigned index, uint64_t addr, uint32_t len,
                       uint16_t flags, uint16_t next)
{
    ring->desc[index] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

void raw_ring_put(struct ring_driver *ring, uint16_t head)
{
    store16(&ring->avail->ring[ring->avail_idx % ring->size], head);
    ring->avail_idx++;
}

void raw_ring_offer(struct ring_driver *ring, uint16_t head)
{
    raw_ring_put(ring, head);
    (void)ring_driver_show(ring); /* a kick is the caller's business */
}

void raw_ring_set_avail_idx(struct ring_driver *ring, uint16_t idx)
{
    ring->avail_idx = idx;
    (void)ring_driver_show(ring);
}

void raw_ring_set_used_event(struct ring_driver *ring, uint16_t idx)
{
    store16(&ring->avail->ring[ring->size], idx);
    /* Pairs with the device's barrier between its used index and its load of this word. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

unsigned raw_ring_used_count(const struct ring_driver *ring)
{
    return (uint16_t)(load16_acquire(&ring->used->idx) - ring->last_used);
}

struct ring_piece raw_ring_piece(const struct ring_driver *ring, uint64_t addr, uint32_t len,
                                 bool is_in)
{
    return (struct ring_piece){(void *)(uintptr_t)(addr - ring->offset), len, is_in};
}

void raw_ring_reset(struct ring_driver *ring, uint16_t base)
{
    bool has_event_idx = ring->has_event_idx;

    ring_driver_init(ring, ring->size, RING_DRIVER_MODERN_ALIGN, ring->desc, ring->offset,
                     ring->chain);
    ring->has_event_idx = has_event_idx;
    ring->avail_idx = ring->shown_idx = ring->last_used = base;
    store16(&ring->avail->idx, base);
    store16(&ring->used->idx, base);
}
