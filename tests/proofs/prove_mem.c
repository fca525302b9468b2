/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Two regions stand for all: the search halves, and what is asserted is about one region, or two
 * that are neighbours.
 */
#define MEM_MAX_REGIONS 2

#include "tests/proofs/proof.h"

#include "core/virtio/mem.c"

int err_say(struct err *err, int code, const char *format, ...)
{
    (void)err;
    (void)format;
    return code;
}

static uint8_t anywhere[1]; /* pointers of regions are compared and never followed */

/* What mem_add keeps up: in order, apart, none wraps, none larger than may be mapped. */
static bool is_sound(const struct mem *mem)
{
    for (unsigned i = 0; i < mem->count; i++) {
        const struct mem_layout *l = &mem->region[i].layout;

        if (l->size == 0 || l->size > MEM_MAX_BYTES || l->guest_addr + l->size < l->guest_addr ||
            l->user_addr + l->size < l->user_addr) {
            return false;
        }
        if (i > 0 &&
            mem->region[i - 1].layout.guest_addr + mem->region[i - 1].layout.size > l->guest_addr) {
            return false;
        }
    }
    return true;
}

static void make_any(struct mem *mem)
{
    given(mem->count <= MEM_MAX_REGIONS);
    for (unsigned i = 0; i < MEM_MAX_REGIONS; i++) {
        mem->region[i].host = anywhere;
    }
    given(is_sound(mem));
    mem_last = nondet_32();
}

static const struct mem_region *region_at(const struct mem *mem, uint64_t addr)
{
    for (unsigned i = 0; i < mem->count; i++) {
        if (region_holds(&mem->region[i], addr)) {
            return &mem->region[i];
        }
    }
    return NULL;
}

void prove_pieces_lie_in_their_region(void)
{
    struct mem mem;
    uint64_t addr = nondet_64(), wanted = nondet_64(), len = wanted;
    const struct mem_region *region;
    const uint8_t *at;

    make_any(&mem);
    given(wanted > 0);
    region = region_at(&mem, addr);
    at = mem_piece(&mem, addr, &len);
    prove((at != NULL) == (region != NULL), "an address is found where a region holds it");
    if (region) {
        uint64_t into = addr - region->layout.guest_addr;

        prove((uintptr_t)at == (uintptr_t)region->host + into, "it is that of the region");
        prove(len > 0 && len <= wanted && len <= region->layout.size - into,
              "a piece is no longer than was asked for, nor than what is left of the region");
        prove(len == wanted || len == region->layout.size - into, "and no shorter");
    }
}

void prove_hint_finds_what_the_search_finds(void)
{
    struct mem mem;
    uint64_t addr = nondet_64(), len = nondet_64();
    const uint8_t *at;

    make_any(&mem);
    given(len > 0);
    at = mem_at_last(&mem, addr, len);
    if (at) {
        prove(at == mem_at(&mem, addr, len), "a hint is right or of no use");
    }
}

void prove_rings_lie_in_one_region(void)
{
    struct mem mem;
    uint64_t addr = nondet_64(), len = nondet_64();
    bool is_found = false;

    make_any(&mem);
    if (mem_at_user(&mem, addr, len)) {
        for (unsigned i = 0; i < mem.count; i++) {
            const struct mem_layout *l = &mem.region[i].layout;

            is_found |= addr >= l->user_addr && addr - l->user_addr < l->size &&
                        len <= l->size - (addr - l->user_addr);
        }
        prove(is_found, "what is found of the front-end's addresses is all there");
    }
}

/* The kernel may say anything of the file, and map it anywhere. */
void prove_regions_that_are_added_are_apart(void)
{
    struct mem mem;
    struct mem_layout layout = {.guest_addr = nondet_64(),
                                .size = nondet_64(),
                                .user_addr = nondet_64(),
                                .offset = nondet_64()};
    struct mem_region region = {.layout = layout, .host = anywhere};

    make_any(&mem);
    given(layout.size <= MEM_MAX_BYTES); /* map_region refuses others */
    if (check_layout(&mem, &layout, NULL) == 0) {
        prove(mem.count < MEM_MAX_REGIONS, "there is room");
        insert_region(&mem, &region);
        prove(is_sound(&mem), "all regions are in order and apart as before");
    }
}
