/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The split format.  Source: VIRTIO 1.2, 2.7 "Split Virtqueues".
 */

#include "core/virtio/inflight.h"

static const char *split_base_fault(unsigned size, uint32_t base)
{
    (void)size;
    return base <= UINT16_MAX ? NULL : "does not fit in 16 bits";
}

static int split_start(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;

    ring->last_avail = (uint16_t)l->base;
    ring->avail_idx = ring->last_avail;
    /* The one time that the used index is read: whoever served the ring before us wrote it. */
    ring->used = load16(&l->parts.used->idx);
    if (l->inflight.at) {
        int ret = inflight_split_start(ring);

        ring->avail_idx = ring->last_avail;
        return ret;
    }
    ring->is_inherited = ring->used != 0 || l->base != 0;
    return 0;
}

/*
 * Refresh our copy of the driver's index, as we have served all of the last one.
 * Acquire: pairs with the driver's barrier between filling the ring and moving the index; it
 * makes the heads and descriptors below the index visible.
 */
static int read_avail_idx(struct ring *ring)
{
    uint16_t idx = load16_acquire(&ring->layout.parts.avail->idx);

    if ((uint16_t)(idx - ring->last_avail) > ring->layout.size) {
        ring_break(ring, "the available index is further ahead than the ring is long");
        return -EPROTO;
    }
    ring->is_inherited &= !ring_has_moved(ring);
    ring->avail_idx = idx;
    return ring->avail_idx != ring->last_avail;
}

/* The next head, or -EPROTO when the driver may not have offered it. */
static int next_head(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    unsigned head = load16(&l->parts.avail->ring[ring->last_avail & (l->size - 1)]);

    if (head >= l->size) {
        ring_break(ring, "a head lies past the descriptor table");
        return -EPROTO;
    }
    if (ring_is_busy(ring, head)) {
        ring_break(ring, ring_why_again(ring));
        return -EPROTO;
    }
    return (int)head;
}

static int split_gather(struct ring *ring, unsigned head, struct chain **chain)
{
    return ring_gather(ring, head, ring->layout.parts.desc, head, chain);
}

static int split_pop(struct ring *ring, struct chain **chain)
{
    int ret = ring_pop_before(ring, chain);
    int head;

    if (ret != 0) {
        return ret;
    }
    if (ring->avail_idx == ring->last_avail) {
        ret = read_avail_idx(ring);
        if (ret <= 0) {
            return ret;
        }
    }
    head = next_head(ring);
    if (head < 0) {
        return head;
    }
    ret = ring_gather(ring, (unsigned)head, ring->layout.parts.desc, (unsigned)head, chain);
    if (ret > 0) {
        inflight_split_popped(ring, (unsigned)head);
        ring_mark_chain(ring, *chain);
        ring->last_avail++;
    }
    return ret;
}

static void split_answer(struct ring *ring, unsigned id, uint32_t len)
{
    const struct ring_layout *l = &ring->layout;
    struct vring_used_elem *elem = &l->parts.used->ring[ring->used & (l->size - 1)];

    __atomic_store_n(&elem->id, id, __ATOMIC_RELAXED);
    __atomic_store_n(&elem->len, len, __ATOMIC_RELAXED);
    ring_log_used(ring, elem, sizeof(*elem));
    inflight_split_pushed(ring, id);
    ring->used++;
}

static void split_push(struct ring *ring, struct chain *chain, uint32_t len)
{
    split_answer(ring, chain->id, len);
    ring_forget_chain(ring, chain);
}

/* Release: data, status and used elements are visible before the index that covers them. */
static void split_show(struct ring *ring)
{
    struct vring_used *used = ring->layout.parts.used;

    store16_release(&used->idx, (uint16_t)ring->used);
    ring_log_used(ring, &used->idx, sizeof(used->idx));
    if (ring->layout.inflight.at) {
        inflight_split_shown(ring, ring->layout.inflight.at);
    }
}

/* The driver's avail_event word, at the end of the used ring; its used_event likewise. */
static void *avail_event_word(const struct ring *ring)
{
    return &ring->layout.parts.used->ring[ring->layout.size];
}

static const void *used_event_word(const struct ring *ring)
{
    return &ring->layout.parts.avail->ring[ring->layout.size];
}

static bool split_wants_signal(const struct ring *ring, uint32_t old)
{
    const struct ring_layout *l = &ring->layout;
    uint32_t new = ring->published;

    if (l->has_event_idx) {
        uint16_t event = load16(used_event_word(ring));

        return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    return !(load16(&l->parts.avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* An index that the driver has passed already asks for none. */
static void split_ask_for_kicks(struct ring *ring, bool on)
{
    bool has_event_idx = ring->layout.has_event_idx;
    void *wish = has_event_idx ? avail_event_word(ring) : &ring->layout.parts.used->flags;

    if (has_event_idx) {
        store16(wish, on ? ring->last_avail : (uint16_t)(ring->last_avail - 1));
    } else {
        store16(wish, on ? 0 : VRING_USED_F_NO_NOTIFY);
    }
    ring_log_used(ring, wish, sizeof(uint16_t));
}

/*
 * The available and the used part begin with flags and index, and end with an event index.
 * Source: VIRTIO 1.2, 2.7 "Split Virtqueues" (size and alignment of the three parts).
 */
const struct ring_format ring_split_format = {
    .desc = {"descriptor table", 0, sizeof(struct vring_desc), 16},
    .avail = {"available ring", 6, 2, 2},
    .used = {"used ring", 6, sizeof(struct vring_used_elem), 4},
    .base_fault = split_base_fault,
    .start = split_start,
    .pop = split_pop,
    .push = split_push,
    .answer = split_answer,
    .gather = split_gather,
    .show = split_show,
    .wants_signal = split_wants_signal,
    .ask_for_kicks = split_ask_for_kicks,
};
