/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/ring.h"

#include <errno.h>
#include <sys/mman.h>

/*
 * Slots and their pieces come zeroed and untouched from the system: a ring that is never
 * used deep never costs its full size.
 */
static int alloc_slots(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    size_t slots = round_up(l->slot_size, CACHE_LINE) * l->size;
    size_t bytes = slots + sizeof(struct iovec) * l->iov_max * l->size;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED) {
        return -ENOMEM;
    }
    ring->stride = round_up(l->slot_size, CACHE_LINE);
    ring->slots = map;
    ring->slots_bytes = bytes;
    ring->iov = (struct iovec *)((uint8_t *)map + slots);
    return 0;
}

int ring_start(struct ring *ring, const struct ring_layout *layout, struct mem *mem)
{
    int ret;

    *ring = (struct ring){.layout = *layout, .mem = mem};
    ret = alloc_slots(ring);
    if (ret < 0) {
        return ret;
    }
    ring->last_avail = layout->last_avail;
    ring->avail_idx = layout->last_avail;
    /* The one time that the used index is read: whoever served the ring before us wrote it. */
    ring->used_idx = load16(&layout->used->idx);
    ring->published_idx = ring->used_idx;
    /* We do not know what the driver has been told before us. */
    ring->must_signal = true;
    ring->is_started = true;
    return 0;
}

void ring_stop(struct ring *ring)
{
    if (ring->slots) {
        munmap(ring->slots, ring->slots_bytes);
    }
    ring->slots = NULL;
    ring->is_started = false;
}

void ring_relocate(struct ring *ring, struct vring_desc *desc, struct vring_avail *avail,
                   struct vring_used *used)
{
    ring->layout.desc = desc;
    ring->layout.avail = avail;
    ring->layout.used = used;
}

void ring_break(struct ring *ring, const char *fault)
{
    ring->is_broken = true;
    ring->fault = fault;
}

/* The first fault is the one that is told. */
static void chain_fault(struct chain *chain, const char *fault)
{
    if (!chain->fault) {
        chain->fault = fault;
    }
}

static void add_piece(struct ring *ring, struct chain *chain, bool is_in, void *at, size_t len)
{
    unsigned count = chain->out_count + chain->in_count;

    if (count == ring->layout.iov_max) {
        chain_fault(chain, "too many segments");
    }
    if (chain->fault) {
        return;
    }
    chain->iov[count] = (struct iovec){.iov_base = at, .iov_len = len};
    if (is_in) {
        chain->in_count++;
    } else {
        chain->out_count++;
    }
}

/*
 * Add one buffer, in as many pieces as there are memory regions under it.  After a fault only
 * `last_in` is followed further, as the answer goes there.
 * Source: VIRTIO 1.2, 2.7.4.2 "Device Requirements: Message Framing", 2.7.5 "The Virtqueue
 * Descriptor Table" (device-readable before device-writable).
 */
static void add_buffer(struct ring *ring, struct chain *chain, const struct vring_desc *desc)
{
    bool is_in = (desc->flags & VRING_DESC_F_WRITE) != 0;
    uint64_t addr = desc->addr;
    uint64_t left = desc->len;

    if (is_in) {
        chain->in_bytes += left;
    } else {
        chain->out_bytes += left;
        if (chain->in_bytes > 0 && left > 0) {
            chain_fault(chain, "a readable buffer follows a writable one");
        }
    }
    while (left > 0) {
        uint64_t piece = left;
        uint8_t *at = mem_piece(ring->mem, addr, &piece);

        if (!at) {
            chain_fault(chain, "a buffer lies outside guest memory");
            if (is_in) {
                chain->last_in = NULL;
            }
            return;
        }
        if (is_in) {
            chain->last_in = at + piece - 1;
        }
        add_piece(ring, chain, is_in, at, piece);
        addr += piece;
        left -= piece;
    }
}

/* An indirect table: its address, and our address of it when it lies in one piece. */
struct table {
    uint64_t addr;
    const uint8_t *at;
    uint32_t count;
};

static bool table_read(struct ring *ring, const struct table *table, uint32_t index,
                       struct vring_desc *desc)
{
    size_t into = (size_t)index * sizeof(*desc);

    if (table->at) {
        copy_once(desc, table->at + into, sizeof(*desc));
        return true;
    }
    return mem_read(ring->mem, table->addr + into, desc, sizeof(*desc));
}

/*
 * Returns NULL, or the fault that leaves us not knowing where the chain ends.
 * Source: VIRTIO 1.2, 2.7.5.3 "Indirect Descriptors".
 */
static const char *walk_indirect(struct ring *ring, struct chain *chain,
                                 const struct vring_desc *entry)
{
    struct table table = {.addr = entry->addr, .count = entry->len / sizeof(*entry)};
    struct vring_desc desc;
    uint32_t next = 0;

    if (entry->len == 0 || entry->len % sizeof(*entry) != 0) {
        return "an indirect table's length is no multiple of 16";
    }
    table.at = mem_at(ring->mem, entry->addr, entry->len);
    for (uint32_t steps = 0; steps < min_of(table.count, (uint32_t)RING_MAX_SIZE); steps++) {
        if (!table_read(ring, &table, next, &desc)) {
            return "an indirect table lies outside guest memory";
        }
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return "an indirect table holds another one";
        }
        add_buffer(ring, chain, &desc);
        if (!(desc.flags & VRING_DESC_F_NEXT)) {
            return NULL;
        }
        next = desc.next;
        if (next >= table.count) {
            return "an indirect descriptor points past its table";
        }
    }
    return "an indirect table loops or is too long";
}

static const char *walk(struct ring *ring, struct chain *chain)
{
    const struct ring_layout *l = &ring->layout;
    struct vring_desc desc;
    unsigned next = chain->head;

    for (unsigned steps = 0; steps < l->size; steps++) {
        copy_once(&desc, &l->desc[next], sizeof(desc));
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            if (!l->has_indirect) {
                return "an indirect descriptor without the feature";
            }
            if (desc.flags & VRING_DESC_F_NEXT) {
                return "a descriptor is indirect and has a next one";
            }
            return walk_indirect(ring, chain, &desc);
        }
        add_buffer(ring, chain, &desc);
        if (!(desc.flags & VRING_DESC_F_NEXT)) {
            return NULL;
        }
        next = desc.next;
        if (next >= l->size) {
            return "a descriptor points past the table";
        }
    }
    return "descriptors form a loop";
}

/*
 * Refresh our copy of the driver's index when we have served all of the last one.
 * Acquire: pairs with the driver's barrier between filling the ring and moving the index; it
 * makes the heads and descriptors below the index visible.
 */
static int look(struct ring *ring)
{
    if (ring->avail_idx == ring->last_avail) {
        uint16_t idx = load16_acquire(&ring->layout.avail->idx);

        if ((uint16_t)(idx - ring->last_avail) > ring->layout.size) {
            ring_break(ring, "the available index is further ahead than the ring is long");
            return -EPROTO;
        }
        ring->avail_idx = idx;
    }
    return ring->avail_idx != ring->last_avail;
}

/* The slot of the next head, or NULL when the driver may not have offered it. */
static struct chain *take_head(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    uint16_t head = load16(&l->avail->ring[ring->last_avail & (l->size - 1)]);
    struct chain *chain;

    if (head >= l->size) {
        ring_break(ring, "a head lies past the descriptor table");
        return NULL;
    }
    chain = ring_slot(ring, head);
    if (chain->is_busy) {
        ring_break(ring, "a head was offered again while it is in flight");
        return NULL;
    }
    *chain = (struct chain){
        .head = head,
        .iov = ring->iov + (size_t)l->iov_max * head,
    };
    return chain;
}

int ring_pop(struct ring *ring, struct chain **chain)
{
    const char *fault;
    int ret;

    if (ring->is_broken) {
        return -EPROTO;
    }
    ret = look(ring);
    if (ret <= 0) {
        return ret;
    }
    *chain = take_head(ring);
    if (!*chain) {
        return -EPROTO;
    }
    fault = walk(ring, *chain);
    if (fault) {
        ring_break(ring, fault);
        return -EPROTO;
    }
    (*chain)->is_busy = true;
    ring->last_avail++;
    ring->inflight++;
    return 1;
}

/* The driver's avail_event word, at the end of the used ring; its used_event likewise. */
static void *avail_event(const struct ring *ring)
{
    return &ring->layout.used->ring[ring->layout.size];
}

static const void *used_event(const struct ring *ring)
{
    return &ring->layout.avail->ring[ring->layout.size];
}

void ring_kicks_off(struct ring *ring)
{
    if (ring->layout.has_event_idx) {
        /* An index that the driver has passed already. */
        store16(avail_event(ring), ring->last_avail - 1);
    } else {
        store16(&ring->layout.used->flags, VRING_USED_F_NO_NOTIFY);
    }
}

bool ring_kicks_on(struct ring *ring)
{
    if (ring->layout.has_event_idx) {
        store16(avail_event(ring), ring->last_avail);
    } else {
        store16(&ring->layout.used->flags, 0);
    }
    /*
     * Our wish is visible before we look again; pairs with the driver's barrier between its
     * index and its look at our wish.  One of the two sees the other.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load16(&ring->layout.avail->idx) != ring->last_avail;
}

void ring_push(struct ring *ring, struct chain *chain, uint32_t len)
{
    const struct ring_layout *l = &ring->layout;
    struct vring_used_elem *elem = &l->used->ring[ring->used_idx & (l->size - 1)];

    __atomic_store_n(&elem->id, chain->head, __ATOMIC_RELAXED);
    __atomic_store_n(&elem->len, len, __ATOMIC_RELAXED);
    ring->used_idx++;
    ring->inflight--;
    chain->is_busy = false;
}

void ring_drop(struct ring *ring, struct chain *chain)
{
    ring->inflight--;
    chain->is_busy = false;
}

bool ring_publish(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    uint16_t old = ring->published_idx;
    uint16_t new = ring->used_idx;

    /* Release: data, status and used elements are visible before the index that covers them. */
    store16_release(&l->used->idx, new);
    ring->published_idx = new;
    /*
     * The index is visible before we look at the driver's wish; pairs with the driver's barrier
     * between its wish and its last look at the index.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (ring->must_signal) {
        ring->must_signal = false;
        return true;
    }
    if (l->has_event_idx) {
        uint16_t event = load16(used_event(ring));

        return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    return !(load16(&l->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}
