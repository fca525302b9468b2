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

/* Below `limit`. */
static inline uint32_t chance(uint32_t limit)
{
    state_of_chance ^= state_of_chance << 13;
    state_of_chance ^= state_of_chance >> 7;
    state_of_chance ^= state_of_chance << 17;
    return (uint32_t)(state_of_chance >> 32) % limit;
}
