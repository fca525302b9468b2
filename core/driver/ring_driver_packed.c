/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The packed format.  Source: VIRTIO 1.2, 2.8 "Packed Virtqueues".
 *
 * A place in the ring is a count of descriptors that never ends: its lower bits are the index, and
 * the next one, inverted, is the wrap counter.
 */

#include "core/driver/ring_driver.h"

#define AVAIL_FLAG (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_FLAG (1u << VRING_PACKED_DESC_F_USED)
#define WRAP_BIT (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static bool driver_wrap_at(const struct ring_driver *ring, uint32_t place)
{
    return !(place & ring->size);
}

static struct vring_packed_desc *driver_desc_at(const struct ring_driver *ring, uint32_t place)
{
    return &ring->packed[place & (ring->size - 1)];
}

static uint16_t driver_word_of(const struct ring_driver *ring, uint32_t place)
{
    return (uint16_t)((place & (ring->size - 1)) | (driver_wrap_at(ring, place) ? WRAP_BIT : 0));
}

static uint32_t driver_place_of(const struct ring_driver *ring, uint16_t word)
{
    return (word & ~WRAP_BIT) + (word & WRAP_BIT ? 0 : ring->size);
}

void ring_driver_init_packed(struct ring_driver *ring, unsigned size, void *memory, uint64_t offset,
                             struct ring_driver_chain *chain)
{
    struct vring_packed_desc *desc = memory;
    struct vring_packed_desc_event *event = (struct vring_packed_desc_event *)(desc + size);

    ring_driver_init(ring, size, RING_DRIVER_MODERN_ALIGN, memory, offset, chain);
    ring->is_packed = true;
    ring->packed = desc;
    ring->driver = &event[0];
    ring->device = &event[1];
}

/*
 * The flags of the first descriptor that the device was not shown are the last that are written:
 * before those it looks at no other.
 */
static void write_packed_desc(struct ring_driver *ring, const struct vring_packed_desc *desc)
{
    uint32_t place = ring->place.added++;
    struct vring_packed_desc *at = driver_desc_at(ring, place);
    uint16_t flags =
        (uint16_t)(desc->flags | (driver_wrap_at(ring, place) ? AVAIL_FLAG : USED_FLAG));

    at->addr = desc->addr;
    at->len = desc->len;
    at->id = desc->id;
    if (place == ring->place.shown) {
        ring->place.first_flags = flags;
    } else {
        store16(&at->flags, flags);
    }
}

static uint16_t piece_flags(const struct ring_piece *piece, bool has_next)
{
    return (uint16_t)((piece->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
}

/* A name for a chain of `count` descriptors. */
static uint16_t take_free_id(struct ring_driver *ring, unsigned count, uint32_t in_bytes)
{
    uint16_t id = ring->free_head;

    ring->free_head = ring->chain[id].next;
    ring->chain[id].count = (uint16_t)count;
    ring->chain[id].in_bytes = in_bytes;
    ring->free_count -= count;
    return id;
}

int ring_driver_packed_add(struct ring_driver *ring, const struct ring_piece *pieces,
                           unsigned count, uint32_t in_bytes)
{
    uint16_t id;

    if (count == 0 || count > ring->free_count) {
        return -1;
    }
    id = take_free_id(ring, count, in_bytes);
    for (unsigned i = 0; i < count; i++) {
        const struct vring_packed_desc desc = {.addr = ring_driver_addr(ring, pieces[i].data),
                                               .len = pieces[i].len,
                                               .id = id,
                                               .flags = piece_flags(&pieces[i], i + 1 < count)};

        write_packed_desc(ring, &desc);
    }
    return id;
}

/* Source: VIRTIO 1.2, 2.8.7 "Indirect Flag: Scatter-Gather Support". */
int ring_driver_packed_add_indirect(struct ring_driver *ring, struct vring_desc *table,
                                    const struct ring_piece *pieces, unsigned count,
                                    uint32_t in_bytes)
{
    struct vring_packed_desc *packed = (struct vring_packed_desc *)table;
    struct vring_packed_desc desc = {.addr = ring_driver_addr(ring, table),
                                     .len = (uint32_t)(count * sizeof(*packed)),
                                     .flags = VRING_DESC_F_INDIRECT};

    if (count == 0 || ring->free_count == 0) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        packed[i] = (struct vring_packed_desc){.addr = ring_driver_addr(ring, pieces[i].data),
                                               .len = pieces[i].len,
                                               .flags = piece_flags(&pieces[i], false)};
    }
    desc.id = take_free_id(ring, 1, in_bytes);
    write_packed_desc(ring, &desc);
    return desc.id;
}

/* Does a device with this wish want a kick for what was shown from `old` on? */
static bool is_packed_kick_wanted(const struct ring_driver *ring, uint32_t wish, uint32_t old)
{
    uint32_t count = ring->place.shown - old;
    unsigned flags = wish >> 16 & 3;

    if (flags == VRING_PACKED_EVENT_FLAG_DESC && ring->has_event_idx) {
        return ((driver_place_of(ring, (uint16_t)wish) - old) & (2 * ring->size - 1)) < count;
    }
    return count > 0 && flags != VRING_PACKED_EVENT_FLAG_DISABLE;
}

/* Where a wish that is new begins to count: see ring_driver_show. */
static uint32_t look_from_place(const struct ring_driver *ring, uint32_t old, uint32_t wish)
{
    bool is_second_look = ring->place.shown == old && ring->place.taken != old;

    if (!is_second_look || wish == ring->place.wish) {
        return old;
    }
    return old - ring->place.kicked > ring->size ? old - ring->size : ring->place.kicked;
}

bool ring_driver_packed_show(struct ring_driver *ring)
{
    uint32_t old = ring->place.shown;
    uint32_t wish;
    bool is_wanted;

    if (ring->place.added != old) {
        /* Pairs with the device's acquire load of these flags: the rest comes before them. */
        store16_release(&driver_desc_at(ring, old)->flags, ring->place.first_flags);
        ring->place.shown = ring->place.added;
    }
    /*
     * The flags are visible before we look at the device's wish; pairs with the device's barrier
     * between its wish and its second look at the ring.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    wish = load32(ring->device);
    is_wanted = is_packed_kick_wanted(ring, wish, look_from_place(ring, old, wish));
    ring->place.wish = wish;
    if (is_wanted) {
        ring->place.kicked = ring->place.shown;
    }
    return is_wanted;
}

/* Pairs with the device's release store of the flags: id, length and data come before them. */
static bool has_used(const struct ring_driver *ring, uint16_t *flags)
{
    unsigned used = driver_wrap_at(ring, ring->place.taken) ? AVAIL_FLAG | USED_FLAG : 0;

    *flags = load16_acquire(&driver_desc_at(ring, ring->place.taken)->flags);
    return ring->place.taken != ring->place.shown && (*flags & (AVAIL_FLAG | USED_FLAG)) == used;
}

/*
 * What the device says, read once.  NULL, or the fault.
 * Source: VIRTIO 1.2, 2.8.3 "Write Flag" (a length without it is none).
 */
static const char *read_used_desc(const struct ring_driver *ring, uint16_t flags, uint16_t *id,
                                  uint32_t *len)
{
    const struct vring_packed_desc *desc = driver_desc_at(ring, ring->place.taken);
    uint32_t written = flags & VRING_DESC_F_WRITE ? load32(&desc->len) : 0;

    *id = load16(&desc->id);
    if (*id >= ring->size || ring->chain[*id].count == 0 ||
        ring->chain[*id].count > ring->place.shown - ring->place.taken) {
        return "it gave back what was not under way";
    }
    if (written > ring->chain[*id].in_bytes && !ring->has_vague_len) {
        return "it says that it wrote more than there was room for";
    }
    *len = min_of(written, ring->chain[*id].in_bytes);
    return NULL;
}

/* Where the next interrupt is wanted, if any.  Both words at once, as they belong together. */
static void set_driver_wish(const struct ring_driver *ring)
{
    uint32_t flags = !ring->wants_interrupts ? VRING_PACKED_EVENT_FLAG_DISABLE
                     : ring->has_event_idx   ? VRING_PACKED_EVENT_FLAG_DESC
                                             : VRING_PACKED_EVENT_FLAG_ENABLE;

    store32(ring->driver, flags << 16 | driver_word_of(ring, ring->place.taken));
}

bool ring_driver_packed_take(struct ring_driver *ring, uint16_t *id, uint32_t *len)
{
    struct ring_driver_chain *chain;
    uint16_t flags;

    if (ring->fault || !has_used(ring, &flags)) {
        return false;
    }
    ring->fault = read_used_desc(ring, flags, id, len);
    if (ring->fault) {
        return false;
    }
    chain = &ring->chain[*id];
    ring->place.taken += chain->count;
    ring->free_count += chain->count;
    chain->count = 0;
    chain->next = ring->free_head;
    ring->free_head = *id;
    if (ring->has_event_idx && ring->wants_interrupts) {
        set_driver_wish(ring);
    }
    return true;
}

bool ring_driver_packed_interrupts(struct ring_driver *ring, bool on)
{
    uint16_t flags;

    ring->wants_interrupts = on;
    set_driver_wish(ring);
    /*
     * Our wish is visible before we look again; pairs with the device's barrier between what it
     * shows and its look at our wish.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return has_used(ring, &flags);
}
