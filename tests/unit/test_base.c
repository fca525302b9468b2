/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <string.h>

#include "core/base/features.h"

static void zero_is_no_power_of_2(void **state)
{
    assert_false(is_power_of_2(0));
}

static void powers_of_2_are_told_from_the_rest(void **state)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_true(is_power_of_2(1ull << bit));
    }
    assert_false(is_power_of_2(3));
    assert_false(is_power_of_2(UINT64_MAX));
}

static void rounding_keeps_multiples(void **state)
{
    assert_int_equal(round_down(4096, 512), 4096);
    assert_int_equal(round_up(4096, 512), 4096);
    assert_int_equal(round_up(0, 512), 0);
}

static void rounding_goes_to_the_next_multiple(void **state)
{
    assert_int_equal(round_down(4095, 512), 3584);
    assert_int_equal(round_up(4097, 512), 4608);
    assert_true(round_down(UINT64_MAX, 4096) == 0xfffffffffffff000ull);
}

static void alignment_is_of_the_value(void **state)
{
    assert_true(is_aligned(0, 4096));
    assert_true(is_aligned(8192, 4096));
    assert_false(is_aligned(8191, 4096));
    assert_false(is_aligned(1ull << 63 | 1, 2));
}

static void range_may_end_at_the_capacity(void **state)
{
    assert_true(range_ok(0, 10, 10));
    assert_true(range_ok(9, 1, 10));
    assert_false(range_ok(9, 2, 10));
    assert_false(range_ok(10, 1, 10));
    assert_false(range_ok(0, 11, 10));
}

static void empty_range_may_lie_at_the_end(void **state)
{
    assert_true(range_ok(10, 0, 10));
    assert_false(range_ok(11, 0, 10));
}

static void range_near_2_to_the_64_does_not_wrap(void **state)
{
    assert_false(range_ok(UINT64_MAX, 2, 10));
    assert_false(range_ok(2, UINT64_MAX, 10));
    assert_false(range_ok(UINT64_MAX, UINT64_MAX, UINT64_MAX - 1));
    assert_true(range_ok(0, UINT64_MAX, UINT64_MAX));
}

static void containerof_finds_the_outer_struct(void **state)
{
    struct outer {
        int before;
        char member;
    } outer;

    assert_ptr_equal(containerof(&outer.member, struct outer, member), &outer);
}

static void min_evaluates_its_arguments_once(void **state)
{
    int calls = 3;

    assert_int_equal(min_of(calls++, 10), 3);
    assert_int_equal(calls, 4);
    assert_int_equal(min_of(10, 2), 2);
}

static void time_does_not_go_back(void **state)
{
    uint64_t before = now_ns();

    assert_true(before > 0);
    assert_true(now_ns() >= before);
}

static void stored_words_are_little_endian(void **state)
{
    uint16_t word;

    store16(&word, 0x1234);
    assert_int_equal(((uint8_t *)&word)[0], 0x34);
    assert_int_equal(load16(&word), 0x1234);
    store16_release(&word, 0xfffe);
    assert_int_equal(load16_acquire(&word), 0xfffe);
}

static void features_are_told_by_number_and_name(void **state)
{
    char text[FEATURES_TEXT_BYTES];

    (void)state;
    assert_string_equal(features_say(0, text), "0x0");
    assert_string_equal(features_say(BIT(5) | BIT(13) | BIT(34), text),
                        "0x400002020 (ro, discard, ring_packed)");
    assert_string_equal(features_say(BIT(62), text), "0x4000000000000000");
    assert_int_equal(strlen(features_say(UINT64_MAX, text)), FEATURES_TEXT_BYTES - 1);
    assert_null(feature_name(64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_is_no_power_of_2),
        cmocka_unit_test(powers_of_2_are_told_from_the_rest),
        cmocka_unit_test(rounding_keeps_multiples),
        cmocka_unit_test(rounding_goes_to_the_next_multiple),
        cmocka_unit_test(alignment_is_of_the_value),
        cmocka_unit_test(range_may_end_at_the_capacity),
        cmocka_unit_test(empty_range_may_lie_at_the_end),
        cmocka_unit_test(range_near_2_to_the_64_does_not_wrap),
        cmocka_unit_test(containerof_finds_the_outer_struct),
        cmocka_unit_test(min_evaluates_its_arguments_once),
        cmocka_unit_test(time_does_not_go_back),
        cmocka_unit_test(stored_words_are_little_endian),
        cmocka_unit_test(features_are_told_by_number_and_name),
    };

    return unit_run(tests);
}
