/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The packed format.  Source: VIRTIO 1.2, 2.8 "Packed Virtqueues".
 *
 * A place in the ring is a count of descriptors that never ends: its lower bits are the index, and
 * the next one, inverted, is the wrap counter.  From `published` to `popped` lies what the driver
 * may not touch, `size` descriptors at most.
 *
 * Who is done first is answered in the place of who was first, so a descriptor in the ring may be
 * overwritten while its chain is in flight.  What was popped is copied, to chains as a split ring
 * has them; so all that walks those serves both formats, and a chain that is held can be walked
 * again.
 */

#include <stdlib.h>

#include "core/virtio/ring_packed_inside.h"

#define WRAP_BIT (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

int ring_packed_alloc(struct ring *ring, size_t entries)
{
    size_t size = ring->layout.size;
    struct ring_copies *copies =
        calloc(1, sizeof(*copies) + size * (sizeof(*copies->pushed) + sizeof(*copies->chain)) +
                      entries * (sizeof(*copies->desc) + sizeof(*copies->link)));

    if (!copies) {
        return -ENOMEM;
    }
    copies->desc = (struct vring_desc *)(copies + 1);
    copies->pushed = (struct pushed_chain *)(copies->desc + entries);
    copies->chain = (struct copied_chain *)(copies->pushed + size);
    copies->link = (uint16_t *)(copies->chain + size);
    ring->copies = copies;
    return 0;
}

static void free_copies(struct ring_copies *copies, const struct copied_chain *chain)
{
    copies->link[chain->last] = (uint16_t)(copies->free - chain->last - 1u);
    copies->free = chain->head;
}

/* A place as the driver and a front-end tell it, and the other way round. */
static uint16_t word_of(const struct ring *ring, uint32_t place)
{
    return (uint16_t)((place & (ring->layout.size - 1)) |
                      (packed_wrap_at(ring, place) ? WRAP_BIT : 0));
}

static uint32_t place_of_word(unsigned size, uint16_t word)
{
    return (word & ~WRAP_BIT) + (word & WRAP_BIT ? 0 : size);
}

/* How far the place of `base` to pop is ahead of the one to use. */
static uint32_t under_way(unsigned size, uint32_t base)
{
    return (place_of_word(size, (uint16_t)base) - place_of_word(size, (uint16_t)(base >> 16))) &
           (2 * size - 1);
}

static const char *packed_base_fault(unsigned size, uint32_t base)
{
    if ((base & ~WRAP_BIT & UINT16_MAX) >= size || (base >> 16 & ~WRAP_BIT) >= size) {
        return "lies past the end of the ring";
    }
    return under_way(size, base) > size ? "has used more than was available" : NULL;
}

uint32_t ring_packed_base(const struct ring *ring)
{
    return word_of(ring, ring->popped) | (uint32_t)word_of(ring, ring->published) << 16;
}

/*
 * With no word of another, by the base.  What is used there already was answered after the
 * front-end last heard of it, and nothing tells where we would have to go on.
 */
static int start_at_base(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    uint16_t flags = load16(&packed_desc_at(ring, ring->popped)->flags);

    if (ring->is_broken) {
        return 0;
    }
    if ((flags & (PACKED_AVAIL | PACKED_USED)) == packed_used_flags(ring, ring->popped)) {
        ring_break(ring, "the front-end goes on where requests were answered already: with packed "
                         "rings it has to keep what is in flight (INFLIGHT_SHMFD); the guest has "
                         "to be reset");
    } else if (l->inflight.at) {
        inflight_packed_begin(ring, ring->used & (l->size - 1), packed_wrap_at(ring, ring->used));
    } else {
        ring->is_inherited = l->base != RING_PACKED_BASE;
    }
    return ring_packed_alloc(ring, l->size);
}

static int packed_start(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    int ret = 0;

    assert(!packed_base_fault(l->size, l->base));
    ring->used = place_of_word(l->size, (uint16_t)(l->base >> 16));
    ring->popped = ring->used + under_way(l->size, l->base);
    if (l->inflight.at) {
        ret = ring_packed_take_log(ring);
    }
    return ret == 0 ? start_at_base(ring) : min_of(ret, 0);
}

bool ring_packed_has_ahead(const struct ring *ring, unsigned count)
{
    uint32_t place = ring->popped + count - 1;

    return count <= ring->layout.size &&
           packed_is_available(ring, place, load16(&packed_desc_at(ring, place)->flags));
}

/*
 * Copy the chain that begins at the next place.  The copies are taken when the chain is.
 *
 * flags  of its first descriptor, read before all else
 * Returns the id, or -EPROTO when the driver may not have offered it.
 */
static int copy_chain(struct ring *ring, uint16_t flags, struct copied_chain *chain)
{
    struct ring_copies *copies = ring->copies;
    unsigned limit = min_of(ring->layout.size - (ring->popped - ring->published), RING_MAX_CHAIN);
    struct vring_packed_desc desc;

    *chain = (struct copied_chain){.head = copies->free, .last = copies->free};
    while (chain->count < limit) {
        copy_once(&desc, packed_desc_at(ring, ring->popped + chain->count), sizeof(desc));
        if (chain->count++ > 0) {
            uint16_t next = packed_next_free(copies, chain->last);

            copies->desc[chain->last].next = next;
            chain->last = next;
            flags = desc.flags;
        }
        copies->desc[chain->last] =
            (struct vring_desc){.addr = desc.addr, .len = desc.len, .flags = flags};
        if (!(flags & VRING_DESC_F_NEXT)) {
            return desc.id;
        }
    }
    ring_break(ring, limit == RING_MAX_CHAIN ? "a chain is too long"
                                             : "a chain goes on into what is in flight");
    return -EPROTO;
}

/* The id of the next chain, or -EPROTO. */
static int next_id(struct ring *ring, uint16_t flags, struct copied_chain *chain)
{
    int id = copy_chain(ring, flags, chain);

    if (id < 0) {
        return id;
    }
    if ((unsigned)id >= ring->layout.size) {
        ring_break(ring, "a buffer id lies past the size of the ring");
        return -EPROTO;
    }
    if (ring_is_busy(ring, (unsigned)id)) {
        ring_break(ring, ring_why_again(ring));
        return -EPROTO;
    }
    return id;
}

static int packed_gather(struct ring *ring, unsigned id, struct chain **chain)
{
    const struct ring_copies *copies = ring->copies;

    return ring_gather(ring, id, copies->desc, copies->chain[id].head, chain);
}

/* It counts with the last store, when the entries are no longer free. */
static void log_popped(struct ring *ring, struct inflight_packed *log,
                       const struct copied_chain *copy, uint16_t id)
{
    const struct vring_desc *copies = ring->copies->desc;
    unsigned at = copy->head;

    for (unsigned i = 0; i < copy->count; i++) {
        store64(&log->desc[at].addr, copies[at].addr);
        store32(&log->desc[at].len, copies[at].len);
        store16(&log->desc[at].flags, copies[at].flags);
        store16(&log->desc[at].id, id);
        at = copies[at].next;
    }
    store16(&log->desc[copy->head].num, copy->count);
    store16(&log->desc[copy->head].last, copy->last);
    store64(&log->desc[copy->head].counter, ring->counter++);
    store8_release(&log->desc[copy->head].is_inflight, 1);
    inflight_store_free(log, ring->copies->free, ring->copies->free);
}

static int pop_new(struct ring *ring, uint16_t flags, struct chain **chain)
{
    struct ring_copies *copies = ring->copies;
    struct copied_chain copy;
    int id = next_id(ring, flags, &copy);
    int ret;

    if (id < 0) {
        return id;
    }
    ret = ring_gather(ring, (unsigned)id, copies->desc, copy.head, chain);
    if (ret > 0) {
        copies->chain[id] = copy;
        copies->free = packed_next_free(copies, copy.last);
        ring->popped += copy.count;
        ring_mark_chain(ring, *chain);
        if (ring->layout.inflight.at) {
            log_popped(ring, inflight_packed_of(ring), &copy, (uint16_t)id);
        }
    }
    return ret;
}

/*
 * Acquire: pairs with the driver's barrier before it sets the flags of a chain's first descriptor;
 * it makes the rest of that one, and the others, visible.
 */
static int packed_pop(struct ring *ring, struct chain **chain)
{
    uint16_t flags;
    int ret = ring_pop_before(ring, chain);

    if (ret != 0) {
        return ret;
    }
    flags = load16_acquire(&packed_desc_at(ring, ring->popped)->flags);
    if (!packed_is_available(ring, ring->popped, flags)) {
        ring->is_inherited = false;
        return 0;
    }
    return pop_new(ring, flags, chain);
}

/* Its copies stay until it was shown: until then it may have to be tried again, by another. */
static void packed_answer(struct ring *ring, unsigned id, uint32_t len)
{
    struct ring_copies *copies = ring->copies;
    const struct copied_chain *copy = &copies->chain[id];

    copies->pushed[copies->pushed_count++] =
        (struct pushed_chain){.len = len, .id = (uint16_t)id, .copy = *copy};
    ring->used += copy->count;
}

static void packed_push(struct ring *ring, struct chain *chain, uint32_t len)
{
    packed_answer(ring, chain->id, len);
    ring_forget_chain(ring, chain);
}

static void log_used(const struct ring *ring, struct inflight_packed *log, uint32_t place,
                     uint32_t old_place)
{
    unsigned mask = ring->layout.size - 1;
    const union inflight_used used = {.idx = (uint16_t)(place & mask),
                                      .old_idx = (uint16_t)(old_place & mask),
                                      .wrap = packed_wrap_at(ring, place),
                                      .old_wrap = packed_wrap_at(ring, old_place)};

    store64_release(&log->used.word, used.word);
}

/*
 * What the log calls a batch is one chain here: what is shown of a batch behind its first
 * descriptor would stay in the ring when the batch is taken back.
 */
static void log_batch(struct ring *ring, struct inflight_packed *log, uint32_t place,
                      const struct copied_chain *copy)
{
    uint16_t was_free = ring->copies->free;

    store16(&log->desc[copy->last].next, was_free);
    inflight_store_free(log, copy->head, was_free);
    log_used(ring, log, place + copy->count, place);
}

static void log_batch_shown(struct ring *ring, struct inflight_packed *log, uint32_t place,
                            const struct copied_chain *copy)
{
    store8_release(&log->desc[copy->head].is_inflight, 0);
    inflight_store_free(log, copy->head, copy->head);
    log_used(ring, log, place + copy->count, place + copy->count);
}

/*
 * Release: data, status, id and length are visible before the flags.
 * Source: VIRTIO 1.2, 2.8.3 "Write Flag" (a length without it is none).
 */
static void show_pushed(struct ring *ring, const struct pushed_chain *pushed, uint32_t place)
{
    struct vring_packed_desc *desc = packed_desc_at(ring, place);

    store16(&desc->id, pushed->id);
    store32(&desc->len, pushed->len);
    store16_release(&desc->flags, (uint16_t)(packed_used_flags(ring, place) |
                                             (pushed->len > 0 ? VRING_DESC_F_WRITE : 0)));
    if (ring->log) {
        mem_mark(ring->mem, desc, sizeof(*desc));
    }
}

/* In their order, each as a whole: whoever finds the ring after us goes on behind those. */
static void packed_show(struct ring *ring)
{
    struct ring_copies *copies = ring->copies;
    struct inflight_packed *log = inflight_packed_of(ring);
    uint32_t place = ring->published;

    for (unsigned i = 0; i < copies->pushed_count; i++) {
        const struct pushed_chain *pushed = &copies->pushed[i];

        if (log) {
            log_batch(ring, log, place, &pushed->copy);
        }
        show_pushed(ring, pushed, place);
        if (log) {
            log_batch_shown(ring, log, place, &pushed->copy);
        }
        free_copies(copies, &pushed->copy);
        place += pushed->copy.count;
    }
    copies->pushed_count = 0;
}

/* Both words of a wish are read, and written, at once: they belong together. */
static uint32_t wish_of(uint16_t flags, uint16_t place)
{
    return (uint32_t)flags << 16 | place;
}

/* Source: VIRTIO 1.2, 2.8.10 "Driver and Device Event Suppression". */
static bool packed_wants_signal(const struct ring *ring, uint32_t old)
{
    const struct ring_layout *l = &ring->layout;
    uint32_t wish = load32(l->parts.driver);
    unsigned flags = wish >> 16 & 3;

    if (flags == VRING_PACKED_EVENT_FLAG_DESC && l->has_event_idx) {
        uint32_t ahead = (place_of_word(l->size, (uint16_t)wish) - old) & (2 * l->size - 1);

        return ahead < ring->published - old;
    }
    return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
}

static void packed_ask_for_kicks(struct ring *ring, bool on)
{
    const struct ring_layout *l = &ring->layout;
    uint16_t flags = !on                ? VRING_PACKED_EVENT_FLAG_DISABLE
                     : l->has_event_idx ? VRING_PACKED_EVENT_FLAG_DESC
                                        : VRING_PACKED_EVENT_FLAG_ENABLE;

    store32(l->parts.device, wish_of(flags, word_of(ring, ring->popped)));
    ring_log_used(ring, l->parts.device, sizeof(*l->parts.device));
}

/* Source: VIRTIO 1.2, 2.8.10.1 "Structure Size and Alignment". */
const struct ring_format ring_packed_format = {
    .desc = {"descriptor ring", 0, sizeof(struct vring_packed_desc), 16},
    .avail = {"driver event suppression", sizeof(struct vring_packed_desc_event), 0, 4},
    .used = {"device event suppression", sizeof(struct vring_packed_desc_event), 0, 4},
    .base_fault = packed_base_fault,
    .start = packed_start,
    .pop = packed_pop,
    .push = packed_push,
    .answer = packed_answer,
    .gather = packed_gather,
    .show = packed_show,
    .wants_signal = packed_wants_signal,
    .ask_for_kicks = packed_ask_for_kicks,
};
