/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/virtio/ring_inside.h"

/* The first fault is the one that is told. */
static void chain_fault(struct chain *chain, const char *fault)
{
    if (!chain->fault) {
        chain->fault = fault;
    }
}

/* The slot is full: go on in an array, with what there is.  Returns false when it cannot. */
static bool take_array(struct ring *ring, struct chain *chain)
{
    struct ring_array *array;

    if (chain->is_long || !ring->layout.arrays) {
        chain->fault = "too many segments";
        return false;
    }
    array = slots_take(ring->layout.arrays);
    if (!array) {
        chain->fault = "too many segments at once";
        chain->lacks_array = true;
        return false;
    }
    array->from = ring->layout.arrays;
    memcpy(array->iov, chain->iov, chain->room * sizeof(*array->iov));
    chain->iov = array->iov;
    chain->room = RING_MAX_IOVS;
    chain->is_long = true;
    return true;
}

static void put_piece(struct chain *chain, unsigned count, bool is_in, uint8_t *at, size_t len)
{
    chain->iov[count] = (struct iovec){.iov_base = at, .iov_len = len};
    if (is_in) {
        chain->last_in = at + len - 1;
        chain->in_count++;
    } else {
        chain->out_count++;
    }
}

/* Bytes and order; no memory is looked up. */
static void count_buffer(struct chain *chain, const struct vring_desc *desc, bool is_in)
{
    if (is_in) {
        chain->in_bytes += desc->len;
        return;
    }
    chain->out_bytes += desc->len;
    if (chain->in_bytes > 0) {
        chain_fault(chain, "a readable buffer follows a writable one");
    }
}

/*
 * A writable buffer that is not looked up, or not to its end: where the status goes if nothing
 * follows.  No memory reaches up to the last address.
 */
static void note_last_in(struct chain *chain, const struct vring_desc *desc)
{
    uint64_t last = desc->addr + (desc->len - 1);

    chain->last_in_addr = last >= desc->addr ? last : UINT64_MAX;
    chain->has_last_in_addr = true;
}

/*
 * A buffer that lies elsewhere than the last one, or in several regions, or needs more room, or has
 * a fault.  Inlined it would take registers from the others.
 */
static __attribute__((noinline)) void add_pieces(struct ring *ring, struct chain *chain,
                                                 const struct vring_desc *desc, bool is_in)
{
    uint64_t addr = desc->addr;
    uint64_t left = desc->len;

    while (left > 0 && !chain->fault) {
        unsigned count = chain->out_count + chain->in_count;
        uint64_t piece = left;
        uint8_t *at = mem_piece(ring->mem, addr, &piece);

        if (!at) {
            chain_fault(chain, "a buffer lies outside guest memory");
        } else if (count < chain->room || take_array(ring, chain)) {
            put_piece(chain, count, is_in, at, piece);
        }
        addr += piece;
        left -= piece;
    }
    if (chain->fault && is_in) {
        note_last_in(chain, desc);
    }
}

/*
 * Add one buffer, in as many pieces as there are memory regions under it.  After a fault no
 * memory is looked up: however many regions a front-end has under how many buffers, a chain costs
 * no more than its descriptors and the pieces that there is room for.
 * Source: VIRTIO 1.2, 2.7.4.2 "Device Requirements: Message Framing", 2.7.5 "The Virtqueue
 * Descriptor Table" (device-readable before device-writable).
 */
static void add_buffer(struct ring *ring, struct chain *chain, const struct vring_desc *desc)
{
    bool is_in = (desc->flags & VRING_DESC_F_WRITE) != 0;
    unsigned count = chain->out_count + chain->in_count;
    uint8_t *at;

    if (desc->len == 0) {
        return;
    }
    count_buffer(chain, desc, is_in);
    at = mem_at_last(ring->mem, desc->addr, desc->len);
    if (at && count < chain->room && !chain->fault) {
        put_piece(chain, count, is_in, at, desc->len);
    } else {
        add_pieces(ring, chain, desc, is_in);
    }
}

/* The last writable byte of a chain that was not looked up to its end. */
static void find_last_in(struct ring *ring, struct chain *chain)
{
    if (chain->has_last_in_addr) {
        chain->last_in = mem_at(ring->mem, chain->last_in_addr, 1);
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
 * The table of a packed ring: as many descriptors as its length says, in their order, of which no
 * flag counts but that of the direction.
 * Source: VIRTIO 1.2, 2.8.7 "Indirect Flag: Scatter-Gather Support".
 */
static const char *walk_packed_table(struct ring *ring, struct chain *chain,
                                     const struct table *table)
{
    struct vring_desc desc;

    if (table->count > RING_MAX_CHAIN) {
        return "an indirect table is too long";
    }
    for (uint32_t i = 0; i < table->count; i++) {
        if (!table_read(ring, table, i, &desc)) {
            return "an indirect table lies outside guest memory";
        }
        desc.flags = desc.next; /* id and flags are where a split ring has flags and next */
        add_buffer(ring, chain, &desc);
    }
    return NULL;
}

/*
 * Returns NULL, or the fault that leaves us not knowing where the chain ends.
 * Source: VIRTIO 1.2, 2.7.5.3 "Indirect Descriptors".
 */
static const char *walk_indirect(struct ring *ring, struct chain *chain,
                                 const struct vring_desc *entry)
{
    struct table table = {.addr = entry->addr, .count = entry->len / sizeof(*entry)};
    uint32_t limit = min_of(table.count, RING_MAX_CHAIN);
    struct vring_desc desc;
    uint32_t next = 0;

    if (entry->len == 0 || entry->len % sizeof(*entry) != 0) {
        return "an indirect table's length is no multiple of 16";
    }
    table.at = mem_at_last(ring->mem, entry->addr, entry->len);
    if (!table.at) {
        table.at = mem_at(ring->mem, entry->addr, entry->len);
    }
    if (ring->layout.is_packed) {
        return walk_packed_table(ring, chain, &table);
    }
    for (uint32_t steps = 0; steps < limit; steps++) {
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

static const char *walk_table(struct ring *ring, struct chain *chain,
                              const struct vring_desc *table, unsigned head)
{
    const struct ring_layout *l = &ring->layout;
    unsigned limit = min_of(l->size, RING_MAX_CHAIN);
    struct vring_desc desc;
    unsigned next = head;

    for (unsigned steps = 0; steps < limit; steps++) {
        copy_once(&desc, &table[next], sizeof(desc));
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
    return "descriptors form a loop, or a chain that is too long";
}

const char *ring_walk(struct ring *ring, struct chain *chain, const struct vring_desc *table,
                      unsigned head)
{
    const char *fault = walk_table(ring, chain, table, head);

    if (!fault) {
        find_last_in(ring, chain);
    }
    return fault;
}
