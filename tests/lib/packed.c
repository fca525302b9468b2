/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/packed.h"

#include <assert.h>

static bool wrap_at(const struct packed *drv, uint32_t place)
{
    return !(place & drv->size);
}

static struct vring_packed_desc *desc_at(const struct packed *drv, uint32_t place)
{
    return &drv->desc[place & (drv->size - 1)];
}

void packed_reset(struct packed *drv, uint32_t place)
{
    memset(drv->desc, 0, drv->size * sizeof(*drv->desc));
    /* As the rounds before have left it: used, up to the one that is under way. */
    for (uint32_t at = place - drv->size; at != place && place > 0; at++) {
        desc_at(drv, at)->flags = (uint16_t)(wrap_at(drv, at) ? PACKED_AVAIL | PACKED_USED : 0);
    }
    memset(drv->driver, 0, sizeof(*drv->driver));
    memset(drv->device, 0, sizeof(*drv->device));
    memset(drv->count, 0, sizeof(drv->count));
    drv->offered = drv->taken = place;
}

void packed_init(struct packed *drv, struct arena *arena, unsigned size)
{
    assert(size <= DRIVER_MAX_SIZE);
    drv->arena = arena;
    drv->size = size;
    drv->desc_addr = arena_take(arena, size * sizeof(*drv->desc), 16);
    drv->driver_addr = arena_take(arena, sizeof(*drv->driver), 4);
    drv->device_addr = arena_take(arena, sizeof(*drv->device), 4);
    drv->desc = arena_at(arena, drv->desc_addr);
    drv->driver = arena_at(arena, drv->driver_addr);
    drv->device = arena_at(arena, drv->device_addr);
    packed_reset(drv, 0);
}

struct ring_parts packed_parts(struct packed *drv, struct mem *mem)
{
    const struct ring_addr addr = {
        .desc = drv->desc_addr, .avail = drv->driver_addr, .used = drv->device_addr};
    struct ring_parts parts;
    int ret = ring_find(&parts, mem, &addr, drv->size, true, NULL);

    assert(ret == 0);
    (void)ret;
    return parts;
}

static uint16_t word_of(const struct packed *drv, uint32_t place)
{
    return (uint16_t)((place & (drv->size - 1)) | (wrap_at(drv, place) ? 0x8000u : 0));
}

uint32_t packed_base(const struct packed *drv, uint32_t place)
{
    return word_of(drv, place) * 0x10001u;
}

uint16_t packed_available(const struct packed *drv, uint32_t place)
{
    return wrap_at(drv, place) ? PACKED_AVAIL : PACKED_USED;
}

void packed_set(struct packed *drv, uint32_t place, uint64_t addr, uint32_t len, uint16_t id,
                uint16_t flags)
{
    struct vring_packed_desc *desc = desc_at(drv, place);

    desc->addr = addr;
    desc->len = len;
    desc->id = id;
    store16_release(&desc->flags, flags);
}

static uint16_t flags_of(const struct piece *piece, bool has_next)
{
    return (uint16_t)((piece->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
}

/* The first descriptor last. */
void packed_offer(struct packed *drv, const struct piece *pieces, unsigned count, uint16_t id)
{
    for (unsigned i = count; i-- > 0;) {
        uint32_t place = drv->offered + i;

        packed_set(drv, place, pieces[i].addr, pieces[i].len, id,
                   flags_of(&pieces[i], i + 1 < count) | packed_available(drv, place));
    }
    drv->offered += count;
    drv->count[id] = (uint16_t)count;
}

void packed_offer_indirect(struct packed *drv, const struct piece *pieces, unsigned count,
                           uint64_t table, uint16_t id)
{
    struct vring_packed_desc *desc = arena_at(drv->arena, table);

    for (unsigned i = 0; i < count; i++) {
        desc[i] = (struct vring_packed_desc){
            .addr = pieces[i].addr, .len = pieces[i].len, .flags = flags_of(&pieces[i], false)};
    }
    packed_set(drv, drv->offered, table, (uint32_t)(count * sizeof(*desc)), id,
               VRING_DESC_F_INDIRECT | packed_available(drv, drv->offered));
    drv->offered++;
    drv->count[id] = 1;
}

/* Pairs with the device's release store of the flags. */
bool packed_reap(struct packed *drv, struct used *used)
{
    const struct vring_packed_desc *desc = desc_at(drv, drv->taken);
    unsigned flags = load16_acquire(&desc->flags) & (PACKED_AVAIL | PACKED_USED);

    if (flags != (wrap_at(drv, drv->taken) ? PACKED_AVAIL | PACKED_USED : 0) ||
        drv->taken == drv->offered) {
        return false;
    }
    *used = (struct used){.id = desc->id, .len = desc->len};
    if (used->id < drv->size && drv->count[used->id] > 0) {
        drv->taken += drv->count[used->id];
        drv->count[used->id] = 0;
    } else {
        drv->taken++;
    }
    return true;
}

void packed_set_event(struct packed *drv, uint16_t flags, uint32_t place)
{
    store32(drv->driver, (uint32_t)flags << 16 | word_of(drv, place));
    /* Pairs with the device's barrier between what it shows and its load of this word. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
