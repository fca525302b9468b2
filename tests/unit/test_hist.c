/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include "cmd/bench/hist.h"

static struct hist hist;

static int empty(void **state)
{
    (void)state;
    memset(&hist, 0, sizeof(hist));
    return 0;
}

static void empty_one_has_no_values(void **state)
{
    (void)state;
    assert_int_equal(hist_quantile(&hist, 500), 0);
    assert_true(hist_mean(&hist) == 0);
    assert_int_equal(hist.max, 0);
}

static void single_value_is_every_quantile(void **state)
{
    (void)state;
    hist_add(&hist, 123456789);
    assert_int_equal(hist_quantile(&hist, 1), 123456789);
    assert_int_equal(hist_quantile(&hist, 500), 123456789);
    assert_int_equal(hist_quantile(&hist, 1000), 123456789);
    assert_int_equal(hist.min, 123456789);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 200; i++) {
        hist_add(&hist, i);
    }
    for (unsigned i = 1; i <= 100; i++) {
        assert_int_equal(hist_quantile(&hist, i * 10), 2 * i);
    }
}

/* From one nanosecond to minutes: never below the value, and less than 1 % above it. */
static void every_value_is_told_within_one_percent(void **state)
{
    (void)state;
    for (uint64_t value = 1; value < 1ull << HIST_BITS; value += value / 97 + 1) {
        uint64_t told;

        memset(&hist, 0, sizeof(hist));
        hist_add(&hist, value);
        hist_add(&hist, 1ull << (HIST_BITS - 1)); /* or the largest would cut it */
        told = hist_quantile(&hist, 500);
        if (value < 1ull << (HIST_BITS - 1)) {
            assert_true(told >= value && told - value <= value / 100);
        }
    }
}

static void quantiles_grow_with_their_share(void **state)
{
    uint64_t last = 0;

    (void)state;
    for (uint64_t value = 1; value < 1ull << 45; value += value / 3 + 1) {
        hist_add(&hist, value);
    }
    for (unsigned i = 1; i <= 1000; i++) {
        uint64_t told = hist_quantile(&hist, i);

        assert_true(told >= last);
        last = told;
    }
}

static void rare_large_values_show_where_they_belong(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 9990; i++) {
        hist_add(&hist, 100);
    }
    for (unsigned i = 0; i < 10; i++) {
        hist_add(&hist, 1000000);
    }
    assert_int_equal(hist_quantile(&hist, 990), 100);
    assert_int_equal(hist_quantile(&hist, 999), 100);
    assert_int_equal(hist_quantile(&hist, 1000), 1000000);
    assert_true(hist_mean(&hist) > 1099 && hist_mean(&hist) < 1100);
    hist_add(&hist, 1000000);
    assert_int_equal(hist_quantile(&hist, 999), 1000000);
}

/* Longer than it can tell apart: counted all the same, and the largest is exact. */
static void endless_values_are_kept(void **state)
{
    (void)state;
    hist_add(&hist, 5);
    hist_add(&hist, UINT64_MAX / 4);
    assert_int_equal(hist.count, 2);
    assert_int_equal(hist.max, UINT64_MAX / 4);
    assert_int_equal(hist_quantile(&hist, 500), 5);
    assert_int_equal(hist_quantile(&hist, 1000), (1ull << HIST_BITS) - 1);
}

#define hist_test(name) cmocka_unit_test_setup(name, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        hist_test(empty_one_has_no_values),
        hist_test(single_value_is_every_quantile),
        hist_test(small_values_are_exact),
        hist_test(every_value_is_told_within_one_percent),
        hist_test(quantiles_grow_with_their_share),
        hist_test(rare_large_values_show_where_they_belong),
        hist_test(endless_values_are_kept),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
