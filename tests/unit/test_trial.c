/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include "core/base/trial.h"

/* Until it ends, with the rates of the way in use and of the tried one; drifts by so much a slice.
 */
static enum trial_end run(struct trial *trial, uint64_t used, uint64_t tried, uint64_t drift)
{
    enum trial_end end = TRIAL_GOES_ON;

    for (uint64_t slices = 0; end == TRIAL_GOES_ON; slices++) {
        assert_true(slices < 100);
        end = trial_note(trial, (trial_is_tried(trial) ? tried : used) + slices * drift);
    }
    return end;
}

static void what_is_faster_by_more_than_the_bar_wins(void **state)
{
    struct trial faster = {.bar = 100};
    struct trial hardly = {.bar = 100};

    assert_int_equal(run(&faster, 1000, 1200, 0), TRIAL_WON);
    assert_int_equal(run(&hardly, 1000, 1050, 0), TRIAL_LOST);
}

static void bar_below_zero_lets_what_is_no_slower_win(void **state)
{
    struct trial same = {.bar = -50};
    struct trial slower = {.bar = -50};

    assert_int_equal(run(&same, 1000, 1000, 0), TRIAL_WON);
    assert_int_equal(run(&slower, 1000, 900, 0), TRIAL_LOST);
}

static void drift_favours_neither(void **state)
{
    struct trial trial = {.bar = 10};

    assert_int_equal(run(&trial, 1000, 1000, 100), TRIAL_LOST);
}

/* Rounds that scatter: +300 and -280 permille in turns, which is above the bar by chance. */
static void what_scatters_too_much_changes_nothing(void **state)
{
    struct trial trial = {.bar = 0};
    enum trial_end end = TRIAL_GOES_ON;

    while (end == TRIAL_GOES_ON) {
        uint64_t tried = trial.rounds % 2 == 0 ? 1300 : 820;

        end = trial_note(&trial, trial_is_tried(&trial) ? tried : 1000);
    }
    assert_true(trial.rounds > 3);
    assert_true(trial.gain_sum > 0);
    assert_int_equal(end, TRIAL_LOST);
}

static void what_is_far_slower_is_not_tried_for_long(void **state)
{
    struct trial slower = {.bar = 10};
    struct trial far_slower = {.bar = 10};

    assert_int_equal(trial_note(&slower, 1000), TRIAL_GOES_ON);
    assert_int_equal(trial_note(&slower, 600), TRIAL_GOES_ON);
    assert_int_equal(trial_note(&slower, 600), TRIAL_LOST);
    assert_int_equal(trial_note(&far_slower, 1000), TRIAL_GOES_ON);
    assert_int_equal(trial_note(&far_slower, 400), TRIAL_LOST);
}

static void nothing_at_all_is_a_rate_as_well(void **state)
{
    struct trial trial = {.bar = 10};

    assert_int_equal(run(&trial, 0, 0, 0), TRIAL_LOST);
}

/* As when all that was asked for in the other slices has failed: bytes a second. */
static void anything_is_more_than_nothing(void **state)
{
    for (uint64_t rate = 1000; rate <= 100 * (uint64_t)NS_PER_S; rate *= 10) {
        struct trial trial = {.bar = 100};

        assert_int_equal(run(&trial, 0, rate, 0), TRIAL_WON);
        assert_in_range(trial.rounds, 1, 3);
    }
}

static void one_round_that_was_disturbed_decides_nothing(void **state)
{
    struct trial trial = {.bar = 100};

    for (unsigned slice = 0; slice < 4; slice++) {
        uint64_t rate = trial_is_tried(&trial) ? 1000 : 1;

        assert_int_equal(trial_note(&trial, rate), TRIAL_GOES_ON);
    }
    assert_int_equal(run(&trial, 1000, 1000, 0), TRIAL_LOST);
}

/* ---- turns ---- */

static const char who[3];

static bool may(struct trial_turn *turn, unsigned number, uint64_t seconds)
{
    return trial_may_be_on(turn, &who[number], true, seconds * NS_PER_S);
}

static void leave(struct trial_turn *turn, unsigned number)
{
    assert_false(trial_may_be_on(turn, &who[number], false, 0));
}

static void one_trial_is_on_at_a_time(void **state)
{
    struct trial_turn turn = {0};

    for (unsigned i = 0; i < 10; i++) {
        assert_true(may(&turn, 0, 1)); /* however long it takes */
        assert_false(may(&turn, 1, 1));
    }
    leave(&turn, 1); /* it has none that would end */
    assert_false(may(&turn, 2, 1));
    leave(&turn, 0);
    assert_true(may(&turn, 1, 1));
}

static void who_had_to_wait_is_next(void **state)
{
    struct trial_turn turn = {0};

    assert_true(may(&turn, 0, 1));
    assert_false(may(&turn, 1, 1));
    assert_false(may(&turn, 2, 1));
    leave(&turn, 0);
    assert_false(may(&turn, 0, 1));
    assert_true(may(&turn, 1, 1));
    leave(&turn, 1);
    assert_true(may(&turn, 0, 1));
}

static void who_asks_no_more_loses_its_turn(void **state)
{
    struct trial_turn turn = {0};

    assert_true(may(&turn, 0, 1));
    assert_false(may(&turn, 1, 1));
    assert_true(may(&turn, 2, 3));  /* neither of them has come again */
    assert_false(may(&turn, 0, 3)); /* its trial is over */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_faster_by_more_than_the_bar_wins),
        cmocka_unit_test(bar_below_zero_lets_what_is_no_slower_win),
        cmocka_unit_test(drift_favours_neither),
        cmocka_unit_test(what_scatters_too_much_changes_nothing),
        cmocka_unit_test(what_is_far_slower_is_not_tried_for_long),
        cmocka_unit_test(nothing_at_all_is_a_rate_as_well),
        cmocka_unit_test(anything_is_more_than_nothing),
        cmocka_unit_test(one_round_that_was_disturbed_decides_nothing),
        cmocka_unit_test(one_trial_is_on_at_a_time),
        cmocka_unit_test(who_had_to_wait_is_next),
        cmocka_unit_test(who_asks_no_more_loses_its_turn),
    };

    return unit_run(tests);
}
