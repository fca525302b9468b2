/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/zeroes.h"
#include "tests/unit/unit.h"

#include <string.h>

#define BYTES 1100u

static uint8_t memory[BYTES + 2];

static bool fills(uint8_t *at, size_t len)
{
    const struct iovec iov = {.iov_base = at, .iov_len = len};

    return zeroes_fill(&iov, 1);
}

static void zeroes_of_any_length_and_place_are_found(void **state)
{
    memset(memory, 0, sizeof(memory));
    memory[0] = 1;
    for (size_t len = 0; len <= BYTES; len++) {
        memory[len + 1] = 1; /* just behind */
        assert_true(fills(memory + 1, len));
        memory[len + 1] = 0;
    }
}

/* Each bit of each byte. */
static void one_bit_anywhere_is_seen(void **state)
{
    memset(memory, 0, sizeof(memory));
    for (size_t at = 0; at < BYTES; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memory[1 + at] = (uint8_t)(1u << bit);
            assert_false(fills(memory + 1, BYTES));
            assert_false(fills(memory + 1, at + 1));
            assert_true(fills(memory + 1, at));
            assert_true(fills(memory + 2 + at, BYTES - at - 1));
        }
        memory[1 + at] = 0;
    }
}

static void all_pieces_are_looked_at(void **state)
{
    struct iovec iov[4] = {
        {memory, 300}, {memory + 300, 0}, {memory + 300, 5}, {memory + 305, 513}};

    memset(memory, 0, sizeof(memory));
    assert_true(zeroes_fill(iov, 4));
    assert_true(zeroes_fill(iov, 0));
    for (size_t at = 0; at < 818; at++) {
        memory[at] = 1;
        assert_false(zeroes_fill(iov, 4));
        memory[at] = 0;
    }
    memory[818] = 1;
    assert_true(zeroes_fill(iov, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroes_of_any_length_and_place_are_found),
        cmocka_unit_test(one_bit_anywhere_is_seen),
        cmocka_unit_test(all_pieces_are_looked_at),
    };

    return unit_run(tests);
}
