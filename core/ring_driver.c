/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/ring_driver.h"

/* The word after the heads: VIRTIO 1.2, 2.7.6 "The Virtqueue Available Ring". */
static uint16_t *used_event(const struct ring_driver *ring)
{
    return (uint16_t *)&ring->avail->ring[ring->size];
}

/* The word after the used elements: VIRTIO 1.2, 2.7.8 "The Virtqueue Used Ring". */
static const void *avail_event(const struct ring_driver *ring)
{
    return &ring->used->ring[ring->size];
}

static size_t used_offset(unsigned size, unsigned align)
{
    size_t avail_bytes = 2u * (3u + size);

    return round_up(sizeof(struct vring_desc) * size + avail_bytes, align);
}

size_t ring_driver_bytes(unsigned size, unsigned align)
{
    size_t used_bytes = 2u * 3u + sizeof(struct vring_used_elem) * size;

    return used_offset(size, align) + round_up(used_bytes, align);
}

void ring_driver_init(struct ring_driver *ring, unsigned size, unsigned align, void *memory,
                      uint64_t offset)
{
    uint8_t *bytes = memory;

    memset(memory, 0, ring_driver_bytes(size, align));
    *ring = (struct ring_driver){
        .desc = memory,
        .avail = (struct vring_avail *)(bytes + sizeof(struct vring_desc) * size),
        .used = (struct vring_used *)(bytes + used_offset(size, align)),
        .offset = offset,
        .size = size,
        .free_count = size,
        .wants_interrupts = true,
    };
    for (unsigned i = 0; i < size; i++) {
        ring->desc[i].next = (uint16_t)(i + 1);
    }
}

static void offer(struct ring_driver *ring, uint16_t head)
{
    store16(&ring->avail->ring[ring->avail_idx & (ring->size - 1)], head);
    ring->avail_idx++;
}

static void describe(const struct ring_driver *ring, struct vring_desc *desc,
                     const struct ring_piece *piece, bool has_next)
{
    desc->addr = ring_driver_addr(ring, piece->data);
    desc->len = piece->len;
    desc->flags =
        (uint16_t)((piece->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
}

int ring_driver_add(struct ring_driver *ring, const struct ring_piece *pieces, unsigned count)
{
    uint16_t head = ring->free_head;
    uint16_t index = head;

    if (count == 0 || count > ring->free_count) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        struct vring_desc *desc = &ring->desc[index];

        describe(ring, desc, &pieces[i], i + 1 < count);
        index = desc->next & (uint16_t)(ring->size - 1);
    }
    ring->free_head = index;
    ring->free_count -= count;
    offer(ring, head);
    return head;
}

/* Source: VIRTIO 1.2, 2.7.5.3 "Indirect Descriptors". */
int ring_driver_add_indirect(struct ring_driver *ring, struct vring_desc *table,
                             const struct ring_piece *pieces, unsigned count)
{
    uint16_t head = ring->free_head;
    struct vring_desc *desc = &ring->desc[head];

    if (count == 0 || ring->free_count == 0) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        describe(ring, &table[i], &pieces[i], i + 1 < count);
        table[i].next = (uint16_t)(i + 1);
    }
    ring->free_head = desc->next & (uint16_t)(ring->size - 1);
    ring->free_count--;
    desc->addr = ring_driver_addr(ring, table);
    desc->len = (uint32_t)(count * sizeof(*table));
    desc->flags = VRING_DESC_F_INDIRECT;
    offer(ring, head);
    return head;
}

bool ring_driver_show(struct ring_driver *ring)
{
    uint16_t old = ring->shown_idx;
    uint16_t new = ring->avail_idx;

    /* Pairs with the device's acquire load of the index: descriptors and heads come before it. */
    store16_release(&ring->avail->idx, new);
    ring->shown_idx = new;
    /*
     * The index is visible before we look at the device's wish; pairs with the device's barrier
     * between its wish and its second look at the index.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (ring->has_event_idx) {
        uint16_t event = load16(avail_event(ring));

        return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    return new != old && !(load16(&ring->used->flags) & VRING_USED_F_NO_NOTIFY);
}

/* Bounded, as the device could have written to the table. */
static void free_chain(struct ring_driver *ring, uint16_t head)
{
    uint16_t last = head;
    unsigned count = 1;

    while ((ring->desc[last].flags & VRING_DESC_F_NEXT) && ring->free_count + count < ring->size) {
        last = ring->desc[last].next & (uint16_t)(ring->size - 1);
        count++;
    }
    ring->desc[last].next = ring->free_head;
    ring->free_head = head;
    ring->free_count += count;
}

/*
 * "Never" as a number lies half of all numbers ahead, and is moved on before it is reached; not
 * with each chain, as the device's processor reads that word, too.
 */
#define NEVER_STEP 0x4000u

/* Where the next interrupt is wanted, with the event index. */
static void set_used_event(struct ring_driver *ring)
{
    uint16_t event =
        ring->wants_interrupts ? ring->last_used : (uint16_t)(ring->last_used + 0x8000u);

    store16(used_event(ring), event);
}

bool ring_driver_take(struct ring_driver *ring, uint16_t *head, uint32_t *len)
{
    const struct vring_used_elem *elem = &ring->used->ring[ring->last_used & (ring->size - 1)];
    uint32_t id;

    /* Pairs with the device's release store of the index: element and data come before it. */
    if (ring->is_broken || load16_acquire(&ring->used->idx) == ring->last_used) {
        return false;
    }
    id = __atomic_load_n(&elem->id, __ATOMIC_RELAXED);
    if (id >= ring->size || ring->free_count == ring->size) {
        ring->is_broken = true;
        return false;
    }
    *head = (uint16_t)id;
    *len = __atomic_load_n(&elem->len, __ATOMIC_RELAXED);
    ring->last_used++;
    free_chain(ring, *head);
    if (ring->has_event_idx && (ring->wants_interrupts || ring->last_used % NEVER_STEP == 0)) {
        set_used_event(ring);
    }
    return true;
}

bool ring_driver_interrupts(struct ring_driver *ring, bool on)
{
    ring->wants_interrupts = on;
    if (ring->has_event_idx) {
        set_used_event(ring);
    } else {
        store16(&ring->avail->flags, on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
    }
    /*
     * Our wish is visible before we look again; pairs with the device's barrier between its used
     * index and its look at our wish.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load16(&ring->used->idx) != ring->last_used;
}
