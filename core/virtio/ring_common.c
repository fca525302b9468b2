/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What all formats of rings have in common: slots, what is held, when a driver is told.
 */

#include <stdlib.h>

#include "core/virtio/ring_inside.h"

/* Slots come untouched from the system: a ring that is never used deep never costs its size. */
static int alloc_slots(struct ring *ring)
{
    const struct ring_layout *l = &ring->layout;
    size_t words = (l->size + RING_WORD_BITS - 1) / RING_WORD_BITS;
    int ret = slots_init(&ring->slots, l->slot_size + sizeof(struct iovec) * l->slot_iovs, l->size);

    if (ret < 0) {
        return ret;
    }
    ring->busy = calloc(2 * words, sizeof(*ring->busy));
    if (!ring->busy) {
        slots_fini(&ring->slots);
        return -ENOMEM;
    }
    ring->held = ring->busy + words;
    return 0;
}

static int check_part(const struct ring_part *part, const void *at, unsigned size, struct err *err)
{
    if (!at) {
        return err_say(err, -EFAULT, "its %s of %u entries lies outside guest memory", part->name,
                       size);
    }
    if (!is_aligned((uintptr_t)at, part->align)) {
        return err_say(err, -EINVAL, "its %s is not aligned to %u bytes", part->name, part->align);
    }
    return 0;
}

static void *find_part(struct mem *mem, const struct ring_part *part, uint64_t addr, unsigned size)
{
    return mem_at_user(mem, addr, part->bytes + (size_t)part->bytes_each * size);
}

static const struct ring_format *format_of(bool is_packed)
{
    return is_packed ? &ring_packed_format : &ring_split_format;
}

int ring_find(struct ring_parts *parts, struct mem *mem, const struct ring_addr *addr,
              unsigned size, bool is_packed, struct err *err)
{
    const struct ring_format *format = format_of(is_packed);
    int ret;

    parts->desc = find_part(mem, &format->desc, addr->desc, size);
    parts->avail = find_part(mem, &format->avail, addr->avail, size);
    parts->used = find_part(mem, &format->used, addr->used, size);
    ret = check_part(&format->desc, parts->desc, size, err);
    if (ret == 0) {
        ret = check_part(&format->avail, parts->avail, size, err);
    }
    return ret < 0 ? ret : check_part(&format->used, parts->used, size, err);
}

const char *ring_base_fault(bool is_packed, unsigned size, uint32_t base)
{
    return format_of(is_packed)->base_fault(size, base);
}

int ring_start(struct ring *ring, const struct ring_layout *layout, struct mem *mem)
{
    int ret;

    *ring = (struct ring){.layout = *layout, .format = format_of(layout->is_packed), .mem = mem};
    ret = alloc_slots(ring);
    if (ret < 0) {
        return ret;
    }
    ret = layout->is_in_order ? ring_order_init(ring) : 0;
    if (ret == 0) {
        ret = ring->format->start(ring);
    }
    if (ret < 0) {
        ring_stop(ring);
        return ret;
    }
    ring->published = ring->used;
    ring->signalled = ring->used;
    ring->layout.base = ring_base(ring); /* the log knows better */
    /* We do not know what the driver has been told before us. */
    ring->must_signal = true;
    ring->is_started = true;
    return 0;
}

void ring_stop(struct ring *ring)
{
    slots_fini(&ring->slots);
    free(ring->busy);
    free(ring->copies);
    free(ring->again);
    free(ring->order);
    ring->order = NULL;
    ring->again = NULL;
    ring->busy = NULL;
    ring->copies = NULL;
    ring->held = NULL;
    ring->held_count = 0;
    ring->is_retrying = false;
    ring->is_started = false;
    ring->log = NULL;
}

void ring_relocate(struct ring *ring, const struct ring_parts *parts)
{
    ring->layout.parts = *parts;
}

void ring_set_arrays(struct ring *ring, struct slots *arrays)
{
    assert(ring->inflight == 0);
    ring->layout.arrays = arrays;
}

void ring_set_log(struct ring *ring, const struct dirty_log *log, uint64_t addr)
{
    ring->log = log;
    ring->log_addr = addr;
}

uint64_t ring_used_bytes(bool is_packed, unsigned size)
{
    const struct ring_part *used = &format_of(is_packed)->used;

    return used->bytes + (uint64_t)used->bytes_each * size;
}

void ring_mark_used(const struct ring *ring, const void *at, unsigned len)
{
    uint64_t into = (uint64_t)((const uint8_t *)at - (const uint8_t *)ring->layout.parts.used);

    dirty_log_mark(ring->log, ring->log_addr + into, len);
}

void ring_break(struct ring *ring, const char *fault)
{
    ring->is_broken = true;
    ring->fault = fault;
}

/* The next name that is held; the size of the ring: there are no more. */
static unsigned next_held(const struct ring *ring)
{
    unsigned size = ring->layout.size;
    unsigned at = ring->retry_at;

    if (ring->again_at < ring->again_count) {
        return ring->again[ring->again_at];
    }

    while (at < size) {
        uint64_t bits = ring->held[at / RING_WORD_BITS] >> at % RING_WORD_BITS;

        if (bits) {
            return at + (unsigned)__builtin_ctzll(bits);
        }
        at = (at / RING_WORD_BITS + 1) * RING_WORD_BITS;
    }
    return size;
}

/* What was found in the log is all that was held then. */
static void go_on_behind(struct ring *ring, unsigned id)
{
    if (ring->again_at < ring->again_count) {
        ring->again_at++;
        ring->retry_at = ring->layout.size;
    } else {
        ring->retry_at = id + 1;
    }
}

/* Each is popped but once, as the next is looked for behind it: some may be held again. */
int ring_pop_held(struct ring *ring, struct chain **chain)
{
    unsigned id = next_held(ring);
    int ret;

    if (id == ring->layout.size) {
        ring->is_retrying = false;
        return 0;
    }
    ret = ring->format->gather(ring, id, chain);
    if (ret > 0) {
        ring->held[id / RING_WORD_BITS] &= ~ring_busy_bit(id);
        ring->held_count--;
        ring->inflight++;
        go_on_behind(ring, id);
    }
    return ret;
}

void ring_push_in_order(struct ring *ring, struct chain *chain, uint32_t len)
{
    unsigned id = chain->id;

    ring->inflight--;
    ring_give_chain(ring, chain);
    ring_order_push(ring, id, len);
}

void ring_hold(struct ring *ring, struct chain *chain)
{
    ring->held[chain->id / RING_WORD_BITS] |= ring_busy_bit(chain->id);
    ring->held_count++;
    ring->inflight--;
    ring_give_chain(ring, chain);
}

/* Of what was found in the log, and not tried yet, the order stays. */
void ring_retry(struct ring *ring)
{
    if (ring->again_count == 0 || ring->again_at > 0) {
        ring->again_count = 0;
        ring->retry_at = 0;
    }
    ring->is_retrying = ring->held_count > 0;
}

bool ring_move_array(struct chain *chain, size_t count, struct slots *to)
{
    struct ring_array *array = containerof(chain->iov, struct ring_array, iov);
    struct ring_array *other = slots_take(to);

    if (!other) {
        return false;
    }
    other->from = to;
    memcpy(other->iov, array->iov, count * sizeof(*array->iov));
    chain->iov = other->iov;
    slots_give(array->from, array);
    return true;
}

void ring_drop(struct ring *ring, struct chain *chain)
{
    ring_forget_chain(ring, chain);
}

bool ring_kicks_on(struct ring *ring)
{
    ring->format->ask_for_kicks(ring, true);
    /*
     * Our wish is visible before we look again; pairs with the driver's barrier between what it
     * offers and its look at our wish.  One of the two sees the other.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return ring_has_ahead(ring, 1);
}

/*
 * What a driver has not taken are the last `size` entries at most, so its wish lies there or ahead.
 * An older one would come to lie ahead of it, as a driver that never wants to be told puts its
 * wish half of all numbers ahead.
 */
static void forget_old(struct ring *ring)
{
    unsigned size = ring->layout.size;

    if (ring->published - ring->signalled > size) {
        ring->signalled = ring->published - size;
    }
}

bool ring_publish(struct ring *ring)
{
    uint32_t old = ring->published;

    ring->format->show(ring);
    ring->published = ring->used;
    /*
     * What was shown is visible before we look at the driver's wish; pairs with the driver's
     * barrier between its wish and its last look at what we show.
     */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!ring->must_signal && !ring->format->wants_signal(ring, old)) {
        forget_old(ring);
        return false;
    }
    ring->must_signal = false;
    ring->signalled = ring->published;
    return true;
}

bool ring_owes_signal(struct ring *ring)
{
    if (ring->signalled == ring->published || !ring->format->wants_signal(ring, ring->signalled)) {
        return false;
    }
    ring->signalled = ring->published;
    return true;
}
