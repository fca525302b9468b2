/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/virtio/inflight.h"

#include <stdlib.h>

/* ---- both formats ---- */

uint64_t ring_inflight_bytes(bool is_packed, unsigned size)
{
    uint64_t bytes =
        is_packed
            ? sizeof(struct inflight_packed) + (uint64_t)size * sizeof(struct inflight_packed_desc)
            : sizeof(struct inflight_split) + (uint64_t)size * sizeof(struct inflight_split_desc);

    return round_up(bytes, CACHE_LINE);
}

void ring_inflight_forget(const struct inflight_area *area)
{
    /* Both formats have it at the same place. */
    store16_release(&((struct inflight_split *)area->at)->version, 0);
}

static int compare_found(const void *a, const void *b)
{
    uint64_t first = ((const struct inflight_found *)a)->counter;
    uint64_t second = ((const struct inflight_found *)b)->counter;

    return first < second ? -1 : first > second;
}

int inflight_hold_found(struct ring *ring, struct inflight_found *found, unsigned count)
{
    if (count == 0) {
        return 0;
    }
    ring->again = calloc(count, sizeof(*ring->again));
    if (!ring->again) {
        return -ENOMEM;
    }
    qsort(found, count, sizeof(*found), compare_found);
    for (unsigned i = 0; i < count; i++) {
        unsigned word = found[i].id / RING_WORD_BITS;

        ring->again[i] = found[i].id;
        ring->busy[word] |= ring_busy_bit(found[i].id);
        ring->held[word] |= ring_busy_bit(found[i].id);
        if (ring->order) {
            ring_order_add(ring, found[i].id);
        }
    }
    ring->again_count = count;
    ring->held_count = count;
    ring->counter = found[count - 1].counter + 1;
    ring->is_retrying = true;
    return 0;
}

/* What the log says of itself; both formats begin with the same words. */
static const char *inflight_fault(const struct ring *ring, const struct inflight_split *head,
                                  uint64_t (*bytes_of)(unsigned entries))
{
    uint64_t room = ring->layout.inflight.bytes;

    if (head->version == 0) {
        return NULL;
    }
    if (head->version != INFLIGHT_VERSION || head->features != 0) {
        return "what the front-end keeps of its requests in flight is of a version that is not "
               "known here";
    }
    return head->desc_num < ring->layout.size || bytes_of(head->desc_num) > room ? INFLIGHT_FOREIGN
                                                                                 : NULL;
}

/*
 * A copy of the log, of as many entries as it has.  NULL with `*ret` 0: it was never used, or the
 * ring is broken now.
 */
static void *copy_log(struct ring *ring, uint64_t (*bytes_of)(unsigned entries), int *ret)
{
    const struct inflight_split *log = ring->layout.inflight.at;
    struct inflight_split head;
    const char *fault;
    void *copy;

    *ret = 0;
    if (bytes_of(ring->layout.size) > ring->layout.inflight.bytes) {
        ring_break(ring, "what the front-end keeps of its requests in flight is too small for the "
                         "ring");
        return NULL; /* it may not even have a head */
    }
    copy_once(&head, log, sizeof(head));
    fault = inflight_fault(ring, &head, bytes_of);
    if (fault) {
        ring_break(ring, fault);
    }
    if (fault || head.version == 0) {
        return NULL;
    }
    copy = malloc(bytes_of(head.desc_num));
    if (!copy) {
        *ret = -ENOMEM;
        return NULL;
    }
    copy_once(copy, log, bytes_of(head.desc_num));
    ((struct inflight_split *)copy)->desc_num = head.desc_num; /* as it was judged */
    return copy;
}

/* ---- split ---- */

/* Bounded, as the list may have been written to: what is off then is what its own disk tries again.
 */
void inflight_split_shown(struct ring *ring, struct inflight_split *log)
{
    unsigned at = load16(&log->last_batch_head);

    for (uint32_t i = ring->published; i != ring->used && at < ring->layout.size; i++) {
        store8_release(&log->desc[at].is_inflight, 0);
        at = load16(&log->desc[at].next);
    }
    store16_release(&log->used_idx, (uint16_t)ring->used);
}

static uint64_t split_log_bytes(unsigned entries)
{
    return sizeof(struct inflight_split) + (uint64_t)entries * sizeof(struct inflight_split_desc);
}

/* The batch whose index was shown, but that was not taken out of the log as a whole. */
static void end_split_batch(const struct ring *ring, struct inflight_split *copy)
{
    struct inflight_split *log = inflight_split_of(ring);
    unsigned count = (uint16_t)(ring->used - copy->used_idx);
    unsigned at = copy->last_batch_head;

    for (; count <= ring->layout.size && count > 0 && at < ring->layout.size; count--) {
        copy->desc[at].is_inflight = 0;
        store8_release(&log->desc[at].is_inflight, 0);
        at = copy->desc[at].next;
    }
    store16_release(&log->used_idx, (uint16_t)ring->used);
}

/* Returns how many there are, or -1: a head that the ring does not have. */
static int find_split(const struct ring *ring, const struct inflight_split *copy,
                      struct inflight_found *found)
{
    int count = 0;

    for (unsigned i = 0; i < copy->desc_num; i++) {
        if (!copy->desc[i].is_inflight) {
            continue;
        }
        if (i >= ring->layout.size) {
            return -1;
        }
        found[count++] =
            (struct inflight_found){.counter = copy->desc[i].counter, .id = (uint16_t)i};
    }
    return count;
}

/*
 * Requests that are in flight, and an index that is not where it was when they were: it is another
 * ring's.  With none in flight, a ring may have begun anew.
 */
static bool is_of_split(const struct ring *ring, const struct inflight_split *before, int count)
{
    return count == 0 || (uint16_t)(ring->used - before->used_idx) <= ring->layout.size;
}

static int take_split(struct ring *ring, struct inflight_split *copy)
{
    struct inflight_found *found = calloc(ring->layout.size, sizeof(*found));
    struct inflight_split before = *copy;
    int count, ret = 0;

    if (!found) {
        return -ENOMEM;
    }
    end_split_batch(ring, copy);
    count = find_split(ring, copy, found);
    if (count < 0 || !is_of_split(ring, &before, count)) {
        ring_break(ring, INFLIGHT_FOREIGN);
    } else {
        ring->last_avail = (uint16_t)(ring->used + (unsigned)count);
        ret = inflight_hold_found(ring, found, (unsigned)count);
    }
    free(found);
    return ret;
}

static void begin_split(struct ring *ring)
{
    struct inflight_split *log = inflight_split_of(ring);

    memset(log, 0, split_log_bytes(ring->layout.size));
    store16(&log->desc_num, (uint16_t)ring->layout.size);
    store16(&log->used_idx, (uint16_t)ring->used);
    store16_release(&log->version, INFLIGHT_VERSION);
}

int inflight_split_start(struct ring *ring)
{
    struct inflight_split *copy;
    int ret;

    copy = copy_log(ring, split_log_bytes, &ret);
    if (!copy) {
        if (ret == 0 && !ring->is_broken) {
            begin_split(ring);
        }
        return ret;
    }
    ret = take_split(ring, copy);
    free(copy);
    return ret;
}

/* ---- packed ---- */

static uint64_t packed_log_bytes(unsigned entries)
{
    return sizeof(struct inflight_packed) + (uint64_t)entries * sizeof(struct inflight_packed_desc);
}

static bool is_batch_open(const struct inflight_packed *log)
{
    return log->used.idx != log->used.old_idx || log->used.wrap != log->used.old_wrap;
}

/* What was shown counts, what was not is taken back.  Whichever, it may be done again. */
static void end_packed_batch(struct inflight_packed *log, bool was_shown)
{
    if (was_shown) {
        log->free.old_head = log->free.head;
        log->used.old_idx = log->used.idx;
        log->used.old_wrap = log->used.wrap;
    } else {
        log->free.head = log->free.old_head;
        log->used.idx = log->used.old_idx;
        log->used.wrap = log->used.old_wrap;
    }
}

struct inflight_packed *
inflight_packed_read(struct ring *ring,
                     bool (*is_shown)(const struct ring *ring, unsigned index, bool wrap), int *ret)
{
    struct inflight_packed *copy = copy_log(ring, packed_log_bytes, ret);
    struct inflight_packed *log = inflight_packed_of(ring);

    if (!copy) {
        return NULL;
    }
    if (copy->used.idx >= ring->layout.size || copy->used.old_idx >= ring->layout.size) {
        ring_break(ring, INFLIGHT_FOREIGN);
        free(copy);
        return NULL;
    }
    end_packed_batch(copy, is_batch_open(copy) &&
                               is_shown(ring, copy->used.old_idx, copy->used.old_wrap != 0));
    store32_release(&log->free.word, copy->free.word);
    store64_release(&log->used.word, copy->used.word);
    return copy;
}

void inflight_packed_begin(struct ring *ring, unsigned used_idx, bool used_wrap)
{
    struct inflight_packed *log = inflight_packed_of(ring);
    const union inflight_used used = {.idx = (uint16_t)used_idx,
                                      .old_idx = (uint16_t)used_idx,
                                      .wrap = used_wrap,
                                      .old_wrap = used_wrap};

    memset(log, 0, packed_log_bytes(ring->layout.size));
    for (unsigned i = 0; i < ring->layout.size; i++) {
        store16(&log->desc[i].next, (uint16_t)(i + 1));
    }
    store64_release(&log->used.word, used.word);
    store16(&log->desc_num, (uint16_t)ring->layout.size);
    store16_release(&log->version, INFLIGHT_VERSION);
}
