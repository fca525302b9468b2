/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/driver.h"

#include <assert.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

/* VIRTIO 1.2, 2.7 "Split Virtqueues": the alignment that each part demands. */
#define DESC_ALIGN 16
#define AVAIL_ALIGN 2
#define USED_ALIGN 4

static size_t avail_bytes(unsigned size)
{
    return 2u * (3u + size);
}

static size_t used_bytes(unsigned size)
{
    return 2u * 3u + sizeof(struct vring_used_elem) * size;
}

/* The word after the available ring: VIRTIO 1.2, 2.7.6. */
static uint16_t *used_event(const struct driver *drv)
{
    return (uint16_t *)&drv->avail->ring[drv->size];
}

/* The word after the used ring: VIRTIO 1.2, 2.7.8. */
static uint16_t *avail_event(const struct driver *drv)
{
    return (uint16_t *)&drv->used->ring[drv->size];
}

void driver_reset(struct driver *drv, uint16_t base)
{
    memset(drv->desc, 0, sizeof(struct vring_desc) * drv->size);
    memset(drv->avail, 0, avail_bytes(drv->size));
    memset(drv->used, 0, used_bytes(drv->size));
    drv->avail_idx = base;
    drv->shown_idx = base;
    drv->last_used = base;
    store16(&drv->avail->idx, base);
    store16(&drv->used->idx, base);
    drv->free_count = drv->size;
    for (unsigned i = 0; i < drv->size; i++) {
        drv->free[i] = (uint16_t)(drv->size - 1 - i);
    }
}

void driver_init(struct driver *drv, struct arena *arena, unsigned size)
{
    assert(size <= DRIVER_MAX_SIZE);
    memset(drv, 0, sizeof(*drv));
    drv->arena = arena;
    drv->size = size;
    drv->desc_addr = arena_take(arena, sizeof(struct vring_desc) * size, DESC_ALIGN);
    drv->avail_addr = arena_take(arena, avail_bytes(size), AVAIL_ALIGN);
    drv->used_addr = arena_take(arena, used_bytes(size), USED_ALIGN);
    drv->desc = arena_at(arena, drv->desc_addr);
    drv->avail = arena_at(arena, drv->avail_addr);
    drv->used = arena_at(arena, drv->used_addr);
    driver_reset(drv, 0);
}

void driver_set_desc(struct driver *drv, unsigned index, uint64_t addr, uint32_t len,
                     uint16_t flags, uint16_t next)
{
    drv->desc[index] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

void driver_set_table(struct driver *drv, uint64_t table, unsigned index, uint64_t addr,
                      uint32_t len, uint16_t flags, uint16_t next)
{
    struct vring_desc *desc = arena_at(drv->arena, table);

    desc[index] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static uint16_t take_desc(struct driver *drv)
{
    if (drv->free_count == 0) {
        errx(EXIT_FAILURE, "the test's ring has no free descriptor");
    }
    return drv->free[--drv->free_count];
}

static uint16_t piece_flags(const struct piece *piece, bool has_next)
{
    return (uint16_t)((piece->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
}

uint16_t driver_chain(struct driver *drv, const struct piece *pieces, unsigned count)
{
    uint16_t head = take_desc(drv);
    uint16_t index = head;

    for (unsigned i = 0; i < count; i++) {
        bool has_next = i + 1 < count;
        uint16_t next = has_next ? take_desc(drv) : 0;

        driver_set_desc(drv, index, pieces[i].addr, pieces[i].len,
                        piece_flags(&pieces[i], has_next), next);
        index = next;
    }
    return head;
}

static void fill_table(struct driver *drv, const struct piece *pieces, unsigned count,
                       uint64_t table)
{
    for (unsigned i = 0; i < count; i++) {
        driver_set_table(drv, table, i, pieces[i].addr, pieces[i].len,
                         piece_flags(&pieces[i], i + 1 < count), (uint16_t)(i + 1));
    }
}

uint16_t driver_chain_indirect(struct driver *drv, const struct piece *pieces, unsigned count,
                               unsigned direct, uint64_t table)
{
    uint16_t head = take_desc(drv);
    uint16_t index = head;

    for (unsigned i = 0; i < direct; i++) {
        uint16_t next = take_desc(drv);

        driver_set_desc(drv, index, pieces[i].addr, pieces[i].len, piece_flags(&pieces[i], true),
                        next);
        index = next;
    }
    fill_table(drv, pieces + direct, count - direct, table);
    driver_set_desc(drv, index, table, (uint32_t)(sizeof(struct vring_desc) * (count - direct)),
                    VRING_DESC_F_INDIRECT, 0);
    return head;
}

void driver_put(struct driver *drv, uint16_t head)
{
    store16(&drv->avail->ring[drv->avail_idx % drv->size], head);
    drv->avail_idx++;
}

void driver_show(struct driver *drv)
{
    /* Pairs with the device's acquire load of avail->idx: descriptors and heads before it. */
    store16_release(&drv->avail->idx, drv->avail_idx);
    drv->shown_idx = drv->avail_idx;
}

void driver_offer(struct driver *drv, uint16_t head)
{
    driver_put(drv, head);
    driver_show(drv);
}

bool driver_must_kick(const struct driver *drv, uint16_t old_idx)
{
    /* Pairs with the device's barrier between asking for kicks and its second look. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (drv->has_event_idx) {
        return (uint16_t)(drv->shown_idx - driver_avail_event(drv) - 1) <
               (uint16_t)(drv->shown_idx - old_idx);
    }
    return !driver_no_notify(drv);
}

static void free_chain(struct driver *drv, uint16_t head)
{
    uint16_t index = head;

    /* Bounded: a test may have spoiled the chain. */
    for (unsigned i = 0; i < drv->size && drv->free_count < drv->size; i++) {
        drv->free[drv->free_count++] = index;
        if (!(drv->desc[index].flags & VRING_DESC_F_NEXT) || drv->desc[index].next >= drv->size) {
            break;
        }
        index = drv->desc[index].next;
    }
}

bool driver_reap(struct driver *drv, struct used *used)
{
    const struct vring_used_elem *elem = &drv->used->ring[drv->last_used % drv->size];

    /* Pairs with the device's release store of used->idx: element and data before it. */
    if (load16_acquire(&drv->used->idx) == drv->last_used) {
        return false;
    }
    *used = (struct used){.id = elem->id, .len = elem->len};
    drv->last_used++;
    if (used->id < drv->size) {
        free_chain(drv, (uint16_t)used->id);
    }
    return true;
}

unsigned driver_used_count(const struct driver *drv)
{
    return (uint16_t)(load16_acquire(&drv->used->idx) - drv->last_used);
}

void driver_set_used_event(struct driver *drv, uint16_t idx)
{
    store16(used_event(drv), idx);
    /* Pairs with the device's barrier between its used index and its load of this word. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void driver_set_no_interrupt(struct driver *drv, bool on)
{
    store16(&drv->avail->flags, on ? VRING_AVAIL_F_NO_INTERRUPT : 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

uint16_t driver_avail_event(const struct driver *drv)
{
    return load16(avail_event(drv));
}

bool driver_no_notify(const struct driver *drv)
{
    return load16(&drv->used->flags) & VRING_USED_F_NO_NOTIFY;
}

void driver_set_avail_idx(struct driver *drv, uint16_t idx)
{
    drv->avail_idx = idx;
    driver_show(drv);
}
