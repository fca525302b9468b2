/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Guest memory of which each look finds something else, whatever was there before: so it is for who
 * shares it with a driver that means ill.  What finds it keeps the promises that prove_mem.c
 * proves: a place of it, or none.
 */

#include "tests/proofs/proof.h"

/* Loads and copies are those below. */
#define load16 base_load16
#define load16_acquire base_load16_acquire
#define load32 base_load32
#define copy_once base_copy_once
#include "core/base/base.h"
#undef load16
#undef load16_acquire
#undef load32
#undef copy_once

static inline uint16_t load16(const void *p)
{
    prove(__CPROVER_r_ok(p, 2), "what is loaded is there");
    return nondet_16();
}

static inline uint16_t load16_acquire(const void *p)
{
    return load16(p);
}

static inline uint32_t load32(const void *p)
{
    prove(__CPROVER_r_ok(p, 4), "what is loaded is there");
    return nondet_32();
}

static inline void copy_once(void *to, const void *from, size_t len)
{
    prove(__CPROVER_r_ok(from, len), "what is copied is there");
    __CPROVER_havoc_slice(to, len);
}

#define mem_at_last base_mem_at_last
#include "core/virtio/mem.h"
#undef mem_at_last

#define GUEST_BYTES 64u
static uint8_t guest[GUEST_BYTES];

/* Fewer ways, where the others are those of another proof. */
static bool has_no_edges; /* of regions within a buffer */

static inline bool is_in_guest(const uint8_t *at, size_t len)
{
    return __CPROVER_same_object(at, guest) && len <= GUEST_BYTES &&
           (size_t)(at - guest) <= GUEST_BYTES - len;
}

void *mem_piece(struct mem *mem, uint64_t addr, uint64_t *len)
{
    uint64_t into = nondet_64(), piece = nondet_64();

    (void)mem;
    (void)addr;
    if (into >= GUEST_BYTES) {
        return NULL;
    }
    given(piece > 0 && piece <= *len && piece <= GUEST_BYTES - into);
    given(!has_no_edges || piece == *len);
    *len = piece;
    return guest + into;
}

void *mem_at(struct mem *mem, uint64_t addr, uint64_t len)
{
    uint64_t piece = len;
    void *at = mem_piece(mem, addr, &piece);

    return piece == len ? at : NULL;
}

static inline uint8_t *mem_at_last(const struct mem *mem, uint64_t addr, uint64_t len)
{
    (void)mem;
    return mem_at(NULL, addr, len);
}

bool mem_read(struct mem *mem, uint64_t addr, void *to, size_t len)
{
    (void)mem;
    (void)addr;
    __CPROVER_havoc_slice(to, len);
    return nondet_bool();
}
