/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/proofs/proof.h"

#include "core/base/base.h"

typedef unsigned __int128 wide;

void prove_ranges_cannot_wrap(void)
{
    uint64_t first = nondet_64(), count = nondet_64(), capacity = nondet_64();

    prove(range_ok(first, count, capacity) == ((wide)first + count <= capacity),
          "a range is inside where its end, which cannot wrap, is");
}

void prove_rounding(void)
{
    uint64_t value = nondet_64(), align = nondet_64();
    uint64_t down;

    given(is_power_of_2(align));
    down = round_down(value, align);
    prove(down <= value && value - down < align, "what is below is less than an alignment below");
    prove(is_aligned(down, align), "it is aligned");
    given(value <= UINT64_MAX - align);
    prove(round_up(value, align) >= value && round_up(value, align) - value < align,
          "what is above is less than an alignment above");
}
