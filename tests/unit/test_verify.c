/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <string.h>

#include "cmd/bench/verify.h"

#define BLOCK 4096u
#define OFFSET (1u << 20)

struct world {
    struct verify verify;
    uint8_t data[BLOCK];
    struct err err;
};

static int start(void **state)
{
    static struct world world;

    memset(&world, 0, sizeof(world));
    assert_int_equal(verify_init(&world.verify, OFFSET, 8, BLOCK, &world.err), 0);
    *state = &world;
    return 0;
}

static int stop(void **state)
{
    struct world *w = *state;

    verify_fini(&w->verify);
    return 0;
}

static void write_block(struct world *w, uint64_t block, uint8_t *data)
{
    verify_fill(&w->verify, block, data);
    verify_written(&w->verify, block, true);
}

/* Wrong, and told with these words. */
static void expect_wrong(struct world *w, uint64_t block, const uint8_t *data, const char *words)
{
    uint64_t wrong = w->verify.wrong;

    assert_false(verify_check(&w->verify, block, data, &w->err));
    assert_int_equal(w->verify.wrong, wrong + 1);
    if (!strstr(w->err.text, words)) {
        assert_string_equal(w->err.text, words);
    }
}

static void what_was_written_last_is_right(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 3; i++) {
        write_block(w, 2, w->data);
        assert_true(verify_check(&w->verify, 2, w->data, &w->err));
    }
    assert_int_equal(w->verify.checked, 3);
    assert_int_equal(w->verify.wrong, 0);
}

static void block_that_was_never_written_may_hold_anything(void **state)
{
    struct world *w = *state;

    assert_true(verify_check(&w->verify, 0, w->data, &w->err));
    assert_int_equal(w->verify.checked, 0);
}

static void failed_write_leaves_nothing_to_check(void **state)
{
    struct world *w = *state;

    write_block(w, 0, w->data);
    verify_written(&w->verify, 0, false);
    memset(w->data, 1, sizeof(w->data));
    assert_true(verify_check(&w->verify, 0, w->data, &w->err));
}

static void stale_data_is_told(void **state)
{
    struct world *w = *state;
    uint8_t newer[BLOCK];

    write_block(w, 1, w->data);
    write_block(w, 1, newer);
    expect_wrong(w, 1, w->data, "offset 1052672: expected generation 2; seen generation 1: stale");
}

static void misplaced_data_is_told(void **state)
{
    struct world *w = *state;
    uint8_t other[BLOCK];

    write_block(w, 0, w->data);
    write_block(w, 3, other);
    expect_wrong(w, 0, other, "seen generation 1 of offset 1060864: misplaced");
}

static void lost_data_is_told(void **state)
{
    struct world *w = *state;

    write_block(w, 0, w->data);
    memset(w->data, 0, sizeof(w->data));
    expect_wrong(w, 0, w->data, "seen zeros");
}

static void data_of_another_run_is_told(void **state)
{
    struct world *w = *state;
    uint64_t run = w->verify.run;

    write_block(w, 0, w->data);
    w->verify.run = run + 1;
    expect_wrong(w, 0, w->data, "seen what another run wrote");
    w->verify.run = run;
}

static void foreign_data_is_told(void **state)
{
    struct world *w = *state;

    write_block(w, 0, w->data);
    memset(w->data, 'x', SECTOR_SIZE);
    expect_wrong(w, 0, w->data, "seen bytes of something else");
}

/* In whichever sector, at whichever byte. */
static void every_bit_counts(void **state)
{
    struct world *w = *state;

    write_block(w, 5, w->data);
    for (unsigned i = 0; i < BLOCK; i += 7) {
        w->data[i] ^= 0x10;
        assert_false(verify_check(&w->verify, 5, w->data, &w->err));
        w->data[i] ^= 0x10;
    }
    w->data[3 * SECTOR_SIZE + 100] ^= 1;
    expect_wrong(w, 5, w->data,
                 "offset 1070592: expected generation 1; seen other bytes from byte "
                 "100 of the sector on");
}

/* A request under way is a mark of its own and no generation. */
static void busy_mark_stays(void **state)
{
    struct world *w = *state;

    w->verify.block[4] |= VERIFY_BUSY;
    write_block(w, 4, w->data);
    assert_int_equal(w->verify.block[4], VERIFY_BUSY | 1);
    assert_true(verify_check(&w->verify, 4, w->data, &w->err));
}

static void generations_wrap_past_nothing_known(void **state)
{
    struct world *w = *state;

    w->verify.block[0] = ~VERIFY_BUSY;
    write_block(w, 0, w->data);
    assert_int_equal(w->verify.block[0], 1);
    assert_true(verify_check(&w->verify, 0, w->data, &w->err));
}

#define verify_test(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        verify_test(what_was_written_last_is_right),
        verify_test(block_that_was_never_written_may_hold_anything),
        verify_test(failed_write_leaves_nothing_to_check),
        verify_test(stale_data_is_told),
        verify_test(misplaced_data_is_told),
        verify_test(lost_data_is_told),
        verify_test(data_of_another_run_is_told),
        verify_test(foreign_data_is_told),
        verify_test(every_bit_counts),
        verify_test(busy_mark_stays),
        verify_test(generations_wrap_past_nothing_known),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
