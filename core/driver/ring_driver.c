/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/driver/ring_driver.h"

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
                      uint64_t offset, struct ring_driver_chain *chain)
{
    uint8_t *bytes = memory;

    memset(memory, 0, ring_driver_bytes(size, align));
    *ring = (struct ring_driver){
        .desc = memory,
        .avail = (struct vring_avail *)(bytes + sizeof(struct vring_desc) * size),
        .used = (struct vring_used *)(bytes + used_offset(size, align)),
        .chain = chain,
        .offset = offset,
        .size = size,
        .free_count = size,
        .wants_interrupts = true,
    };
    for (unsigned i = 0; chain && i < size; i++) {
        chain[i] = (struct ring_driver_chain){.next = (uint16_t)((i + 1) & (size - 1))};
    }
}

static void offer_head(struct ring_driver *ring, uint16_t head)
{
    store16(&ring->avail->ring[ring->avail_idx & (ring->size - 1)], head);
    ring->avail_idx++;
}

static void describe_piece(const struct ring_driver *ring, struct vring_desc *desc,
                           const struct ring_piece *piece, bool has_next, uint16_t next)
{
    desc->addr = ring_driver_addr(ring, piece->data);
    desc->len = piece->len;
    desc->flags =
        (uint16_t)((piece->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
    desc->next = next;
}

/* A used element tells no more than 32 bits. */
static uint32_t in_bytes(const struct ring_piece *pieces, unsigned count)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        bytes += pieces[i].is_in ? pieces[i].len : 0;
    }
    return (uint32_t)min_of(bytes, (uint64_t)UINT32_MAX);
}

/* The first `count` free descriptors are a chain from now on. */
static void take_free(struct ring_driver *ring, unsigned count, uint32_t bytes, uint16_t behind)
{
    struct ring_driver_chain *chain = &ring->chain[ring->free_head];

    chain->count = (uint16_t)count;
    chain->in_bytes = bytes;
    ring->free_head = behind;
    ring->free_count -= count;
}

int ring_driver_add(struct ring_driver *ring, const struct ring_piece *pieces, unsigned count)
{
    uint16_t head = ring->free_head;
    uint16_t index = head;

    if (ring->is_packed) {
        return ring_driver_packed_add(ring, pieces, count, in_bytes(pieces, count));
    }
    if (count == 0 || count > ring->free_count) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        uint16_t next = ring->chain[index].next;

        describe_piece(ring, &ring->desc[index], &pieces[i], i + 1 < count, next);
        index = next;
    }
    take_free(ring, count, in_bytes(pieces, count), index);
    offer_head(ring, head);
    return head;
}

/* Source: VIRTIO 1.2, 2.7.5.3 "Indirect Descriptors". */
int ring_driver_add_indirect(struct ring_driver *ring, struct vring_desc *table,
                             const struct ring_piece *pieces, unsigned count)
{
    uint16_t head = ring->free_head;
    struct vring_desc *desc = &ring->desc[head];

    if (ring->is_packed) {
        return ring_driver_packed_add_indirect(ring, table, pieces, count, in_bytes(pieces, count));
    }
    if (count == 0 || ring->free_count == 0) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        describe_piece(ring, &table[i], &pieces[i], i + 1 < count, (uint16_t)(i + 1));
    }
    take_free(ring, 1, in_bytes(pieces, count), ring->chain[head].next);
    desc->addr = ring_driver_addr(ring, table);
    desc->len = (uint32_t)(count * sizeof(*table));
    desc->flags = VRING_DESC_F_INDIRECT;
    offer_head(ring, head);
    return head;
}

static uint16_t read_wish(const struct ring_driver *ring)
{
    return ring->has_event_idx ? load16(avail_event(ring))
                               : load16(&ring->used->flags) & VRING_USED_F_NO_NOTIFY;
}

/* Does a device with this wish want a kick for what was shown from `old` on? */
static bool is_kick_wanted(const struct ring_driver *ring, uint16_t wish, uint16_t old)
{
    uint16_t new = ring->shown_idx;

    if (ring->has_event_idx) {
        return (uint16_t)(new - wish - 1) < (uint16_t)(new - old);
    }
    return new != old && !wish;
}

/*
 * Where a wish that is new begins to count.  Not with something new to show: a device that asks no
 * more has left an index behind that it has passed, and that was never kicked for.
 */
static uint16_t look_from(const struct ring_driver *ring, uint16_t old, uint16_t wish)
{
    bool is_second_look = ring->shown_idx == old && load16(&ring->used->idx) != old;

    if (!is_second_look || wish == ring->wish) {
        return old;
    }
    return (uint16_t)(old - ring->kicked_idx) > ring->size ? (uint16_t)(old - ring->size)
                                                           : ring->kicked_idx;
}

bool ring_driver_show(struct ring_driver *ring)
{
    uint16_t old = ring->shown_idx;
    uint16_t new = ring->avail_idx;
    uint16_t wish;
    bool is_wanted;

    if (ring->is_packed) {
        return ring_driver_packed_show(ring);
    }
    /* Pairs with the device's acquire load of the index: descriptors and heads come before it. */
    store16_release(&ring->avail->idx, new);
    ring->shown_idx = new;
    /*
     * The index is visible before we look at the device's wish; pairs with the device's barrier
     * between its wish and its second look at the index.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    wish = read_wish(ring);
    is_wanted = is_kick_wanted(ring, wish, look_from(ring, old, wish));
    ring->wish = wish;
    if (is_wanted) {
        ring->kicked_idx = new;
    }
    return is_wanted;
}

static void free_chain(struct ring_driver *ring, uint16_t head)
{
    struct ring_driver_chain *chain = ring->chain;
    uint16_t last = head;

    for (unsigned i = 1; i < chain[head].count; i++) {
        last = chain[last].next;
    }
    ring->free_count += chain[head].count;
    chain[head].count = 0;
    chain[last].next = ring->free_head;
    ring->free_head = head;
}

/*
 * "Never" as a number lies half of all numbers ahead, and is moved on before it is reached (on a
 * ring of the largest size it may be, now and then, for an interrupt that says nothing); not
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

/*
 * How many elements there are to take.  More than chains that were shown is a fault, and none.
 * Pairs with the device's release store of the index: elements and data come before it.
 */
static uint16_t used_count(struct ring_driver *ring)
{
    uint16_t count = (uint16_t)(load16_acquire(&ring->used->idx) - ring->last_used);

    if (count > (uint16_t)(ring->shown_idx - ring->last_used)) {
        ring->fault = "its used index passed all that was under way";
        return 0;
    }
    return count;
}

/*
 * The next element, copied first: the device may change it at any time.  NULL, or the fault.
 * Source: VIRTIO 1.2, 2.7.8.3 "Legacy Interface: The Virtqueue Used Ring" (many set a wrong len).
 */
static const char *read_used(const struct ring_driver *ring, uint16_t *head, uint32_t *len)
{
    const struct vring_used_elem *elem = &ring->used->ring[ring->last_used & (ring->size - 1)];
    uint32_t id = __atomic_load_n(&elem->id, __ATOMIC_RELAXED);
    uint32_t written = __atomic_load_n(&elem->len, __ATOMIC_RELAXED);

    if (id >= ring->size || ring->chain[id].count == 0) {
        return "it gave back what was not under way";
    }
    if (written > ring->chain[id].in_bytes && !ring->has_vague_len) {
        return "it says that it wrote more than there was room for";
    }
    *head = (uint16_t)id;
    *len = min_of(written, ring->chain[id].in_bytes);
    return NULL;
}

bool ring_driver_take(struct ring_driver *ring, uint16_t *head, uint32_t *len)
{
    if (ring->is_packed) {
        return ring_driver_packed_take(ring, head, len);
    }
    if (ring->fault || used_count(ring) == 0) {
        return false;
    }
    ring->fault = read_used(ring, head, len);
    if (ring->fault) {
        return false;
    }
    ring->last_used++;
    free_chain(ring, *head);
    if (ring->has_event_idx && (ring->wants_interrupts || ring->last_used % NEVER_STEP == 0)) {
        set_used_event(ring);
    }
    return true;
}

bool ring_driver_interrupts(struct ring_driver *ring, bool on)
{
    if (ring->is_packed) {
        return ring_driver_packed_interrupts(ring, on);
    }
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
