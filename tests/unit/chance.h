/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Numbers by chance that are the same in each run, for tests that try anything.
 * Source: Marsaglia, "Xorshift RNGs".
 */

#include "core/base/base.h"

static uint64_t state_of_chance = 0x9e3779b97f4a7c15ull;

static inline void chance_begin(void)
{
    state_of_chance = 0x9e3779b97f4a7c15ull;
}

/* Below `limit`, by a state of the caller's, who is one of several threads; not 0. */
static inline uint32_t chance_below(uint64_t *state, uint32_t limit)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32) % limit;
}

/* Below `limit`. */
static inline uint32_t chance(uint32_t limit)
{
    return chance_below(&state_of_chance, limit);
}
