/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What the log of requests in flight says of a packed ring that starts.
 */

#include <stdlib.h>

#include "core/virtio/ring_packed_inside.h"

/* Its entries, while they are looked through.  Each has its place, once. */
struct log_walk {
    struct ring *ring;
    const struct inflight_packed *log; /* a copy */
    struct inflight_found *found;
    uint8_t *is_seen;
    unsigned seen;
    unsigned chains;
    unsigned descriptors;
};

static bool see_entry(struct log_walk *walk, unsigned at)
{
    if (at >= walk->log->desc_num || walk->is_seen[at]) {
        return false;
    }
    walk->is_seen[at] = true;
    walk->seen++;
    return true;
}

/* To the next one, which it is from now on for our copies as well. */
static unsigned follow_entry(struct log_walk *walk, unsigned at)
{
    unsigned next = walk->log->desc[at].next;

    walk->ring->copies->link[at] = (uint16_t)(next - at - 1u);
    return next;
}

/* Whatever is free is not in flight, as it was to be written down last. */
static bool walk_free(struct log_walk *walk)
{
    struct ring_copies *copies = walk->ring->copies;
    struct inflight_packed *log = inflight_packed_of(walk->ring);
    unsigned at = walk->log->free.head;

    copies->free = (uint16_t)at;
    while (at < walk->log->desc_num) {
        if (!see_entry(walk, at)) {
            return false;
        }
        store8_release(&log->desc[at].is_inflight, 0);
        at = follow_entry(walk, at);
    }
    return true;
}

static void copy_entry(struct vring_desc *to, const struct inflight_packed_desc *from, bool is_last)
{
    unsigned flags = from->flags & ~(unsigned)VRING_DESC_F_NEXT;

    *to = (struct vring_desc){.addr = from->addr,
                              .len = from->len,
                              .flags = (uint16_t)(flags | (is_last ? 0 : VRING_DESC_F_NEXT)),
                              .next = from->next};
}

/* A name has one chain, of descriptors that the ring has room for. */
static bool keep_found(struct log_walk *walk, const struct copied_chain *chain)
{
    const struct inflight_packed_desc *head = &walk->log->desc[chain->head];
    unsigned id = walk->log->desc[chain->last].id;
    unsigned size = walk->ring->layout.size;

    if (chain->last != head->last || id >= size || walk->ring->copies->chain[id].count > 0 ||
        chain->count > size - walk->descriptors) {
        return false;
    }
    walk->ring->copies->chain[id] = *chain;
    walk->descriptors += chain->count;
    walk->found[walk->chains++] =
        (struct inflight_found){.counter = head->counter, .id = (uint16_t)id};
    return true;
}

static bool walk_chain(struct log_walk *walk, unsigned head)
{
    struct copied_chain chain = {.head = (uint16_t)head, .count = walk->log->desc[head].num};
    unsigned at = head;

    for (unsigned i = 0; i < chain.count; i++) {
        if (!see_entry(walk, at)) {
            return false;
        }
        copy_entry(&walk->ring->copies->desc[at], &walk->log->desc[at], i + 1u == chain.count);
        chain.last = (uint16_t)at;
        at = follow_entry(walk, at);
    }
    return chain.count > 0 && keep_found(walk, &chain);
}

/* Every entry is free, or of a chain in flight. */
static bool walk_log(struct log_walk *walk)
{
    if (!walk_free(walk)) {
        return false;
    }
    for (unsigned i = 0; i < walk->log->desc_num; i++) {
        if (!walk->is_seen[i] && walk->log->desc[i].is_inflight && !walk_chain(walk, i)) {
            return false;
        }
    }
    return walk->seen == walk->log->desc_num;
}

static int take_found(struct log_walk *walk)
{
    struct ring *ring = walk->ring;

    if (!walk_log(walk)) {
        ring_break(ring, INFLIGHT_FOREIGN);
        return 0;
    }
    ring->used = walk->log->used.idx + (walk->log->used.wrap ? 0 : ring->layout.size);
    ring->popped = ring->used + walk->descriptors;
    return inflight_hold_found(ring, walk->found, walk->chains);
}

static int take_log(struct ring *ring, const struct inflight_packed *log)
{
    struct log_walk walk = {.ring = ring, .log = log};
    int ret = ring_packed_alloc(ring, log->desc_num);

    walk.found = calloc(ring->layout.size, sizeof(*walk.found));
    walk.is_seen = calloc(log->desc_num, sizeof(*walk.is_seen));
    if (ret == 0) {
        ret = walk.found && walk.is_seen ? take_found(&walk) : -ENOMEM;
    }
    free(walk.found);
    free(walk.is_seen);
    return ret;
}

/* Was the batch shown that begins there? */
static bool is_batch_shown(const struct ring *ring, unsigned index, bool wrap)
{
    uint32_t place = index + (wrap ? 0 : ring->layout.size);

    return !packed_is_available(ring, place, load16(&packed_desc_at(ring, place)->flags));
}

int ring_packed_take_log(struct ring *ring)
{
    int ret;
    struct inflight_packed *log = inflight_packed_read(ring, is_batch_shown, &ret);

    if (!log) {
        return ret;
    }
    ret = take_log(ring, log);
    free(log);
    return ret < 0 ? ret : 1;
}
