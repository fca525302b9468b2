/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/keeper.h"
#include "tests/unit/control_world.h"

#define WAITERS 3

struct waiter {
    struct keep keep;
    struct bench *bench;
    struct err err;
    bool is_done;
};

/* The table is a number, which has its file. */
struct bench {
    struct control_world control;
    char file[96];
    char new_file[112];
    struct state *state;
    struct keeper keeper;
    struct waiter waiter[WAITERS];
    unsigned table;
    unsigned tables_made;
    bool has_memory;
    bool is_finished;
    bool has_ended;
};

static char *make_text(void *arg, struct err *err)
{
    struct bench *b = arg;
    char *text = NULL;

    b->tables_made++;
    if (!b->has_memory || asprintf(&text, "%u\n", b->table) < 0) {
        (void)err_say(err, -ENOMEM, "no memory for the table");
        return NULL;
    }
    return text;
}

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct keeper_opts opts = {.text = make_text, .arg = b};

    assert_non_null(b);
    *state = b;
    b->has_memory = true;
    control_world_start(&b->control, "keeper");
    (void)snprintf(b->file, sizeof(b->file), "%s/disks.json", b->control.dir);
    (void)snprintf(b->new_file, sizeof(b->new_file), "%s.new", b->file);
    assert_int_equal(state_open(&b->state, b->control.dir, NULL), 0);
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    opts.loop = &b->control.loop;
    opts.state = b->state;
    assert_int_equal(keeper_init(&b->keeper, &opts), 0);
    return 0;
}

static void on_finished(void *arg)
{
    ((struct bench *)arg)->is_finished = true;
}

static void on_ended(void *arg)
{
    ((struct bench *)arg)->has_ended = true;
}

static void finish(struct bench *b)
{
    keeper_finish(&b->keeper, on_finished);
    control_world_wait(&b->control, &b->is_finished);
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    if (!b->is_finished) {
        finish(b);
    }
    keeper_fini(&b->keeper);
    state_stop(b->state, on_ended, b);
    control_world_wait(&b->control, &b->has_ended);
    control_world_stop(&b->control);
    free(b);
    return 0;
}

static void on_done(struct keep *keep, const struct err *err)
{
    struct waiter *waiter = containerof(keep, struct waiter, keep);

    assert_false(waiter->is_done);
    waiter->err = *err;
    waiter->is_done = true;
}

static void begin_change(struct bench *b, unsigned slot)
{
    b->waiter[slot] = (struct waiter){.keep.done = on_done, .bench = b};
    b->table++;
    keeper_change(&b->keeper);
    keeper_wait(&b->keeper, &b->waiter[slot].keep);
}

static int end_change(struct bench *b, unsigned slot)
{
    control_world_wait(&b->control, &b->waiter[slot].is_done);
    return b->waiter[slot].err.code;
}

static int change(struct bench *b)
{
    begin_change(b, 0);
    return end_change(b, 0);
}

static unsigned number_in_file(struct bench *b)
{
    FILE *file = fopen(b->file, "r");
    unsigned number = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u", &number), 1);
    assert_int_equal(fclose(file), 0);
    return number;
}

/* A directory is in the way of the new file, or no longer. */
static void break_file(struct bench *b)
{
    assert_int_equal(mkdir(b->new_file, 0700), 0);
}

static void mend_file(struct bench *b)
{
    assert_int_equal(rmdir(b->new_file), 0);
}

static void change_is_there_when_it_is_told(void **state)
{
    struct bench *b = *state;

    assert_false(keeper_is_dirty(&b->keeper));
    begin_change(b, 0);
    assert_true(keeper_is_dirty(&b->keeper));
    assert_int_equal(end_change(b, 0), 0);
    assert_false(keeper_is_dirty(&b->keeper));
    assert_int_equal(number_in_file(b), 1);
}

static void what_changes_during_a_write_goes_with_the_next(void **state)
{
    struct bench *b = *state;

    for (unsigned i = 0; i < WAITERS; i++) {
        begin_change(b, i);
    }
    for (unsigned i = 0; i < WAITERS; i++) {
        assert_int_equal(end_change(b, i), 0);
    }
    assert_int_equal(number_in_file(b), WAITERS);
    assert_int_equal(b->tables_made, 2);
}

static void each_change_that_is_not_there_is_told_so(void **state)
{
    struct bench *b = *state;
    struct err err = {0};

    break_file(b);
    assert_int_equal(change(b), -EISDIR);
    assert_int_equal(change(b), -EISDIR);
    assert_non_null(strstr(b->waiter[0].err.text, b->file));
    assert_int_equal(keeper_why(&b->keeper, &err), -EISDIR);
    mend_file(b);
}

static void next_change_brings_those_before(void **state)
{
    struct bench *b = *state;
    struct err err = {0};

    break_file(b);
    assert_int_equal(change(b), -EISDIR);
    mend_file(b);
    assert_int_equal(change(b), 0);
    assert_int_equal(number_in_file(b), 2);
    assert_int_equal(keeper_why(&b->keeper, &err), 0);
}

static void what_failed_is_tried_again_by_the_clock(void **state)
{
    struct bench *b = *state;

    break_file(b);
    assert_int_equal(change(b), -EISDIR);
    mend_file(b);
    while (keeper_is_dirty(&b->keeper)) {
        assert_true(uv_run(&b->control.loop, UV_RUN_ONCE) != 0);
    }
    assert_int_equal(number_in_file(b), 1);
    assert_int_equal(b->tables_made, 2);
}

static void tries_by_the_clock_become_rarer(void **state)
{
    struct bench *b = *state;
    uint64_t start_ns = now_ns();

    break_file(b);
    assert_int_equal(change(b), -EISDIR);
    while (b->tables_made < 3) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_true(now_ns() - start_ns >= 3 * (uint64_t)KEEPER_RETRY_MS * NS_PER_MS);
    mend_file(b);
}

static void table_that_cannot_be_made_is_told_and_made_later(void **state)
{
    struct bench *b = *state;

    assert_int_equal(change(b), 0);
    b->has_memory = false;
    assert_int_equal(change(b), -ENOMEM);
    assert_int_equal(number_in_file(b), 1);
    b->has_memory = true;
    finish(b);
    assert_int_equal(number_in_file(b), 2);
}

static void end_tries_once_more(void **state)
{
    struct bench *b = *state;

    break_file(b);
    assert_int_equal(change(b), -EISDIR);
    mend_file(b);
    finish(b);
    assert_int_equal(number_in_file(b), 1);
    assert_int_equal(b->tables_made, 2);
}

static void end_waits_for_what_is_under_way_and_what_is_not(void **state)
{
    struct bench *b = *state;

    begin_change(b, 0);
    begin_change(b, 1);
    b->table++;
    keeper_change(&b->keeper);
    finish(b);
    assert_int_equal(number_in_file(b), 3);
}

static void end_comes_though_nothing_can_be_written(void **state)
{
    struct bench *b = *state;
    struct err err = {0};

    break_file(b);
    assert_int_equal(change(b), -EISDIR);
    finish(b);
    assert_int_equal(b->tables_made, 2);
    assert_int_equal(keeper_why(&b->keeper, &err), -EISDIR);
}

static void what_nobody_waits_for_is_written_and_no_loss(void **state)
{
    struct bench *b = *state;
    struct err err = {0};

    assert_int_equal(change(b), 0);
    break_file(b);
    b->table++;
    keeper_change(&b->keeper);
    keeper_soon(&b->keeper);
    while (b->keeper.err.code == 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_equal(keeper_why(&b->keeper, &err), -EISDIR);
    assert_int_equal(keeper_lost(&b->keeper, &err), 0);
    assert_int_equal(change(b), -EISDIR);
    assert_int_equal(keeper_lost(&b->keeper, &err), -EISDIR);
    mend_file(b);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(change_is_there_when_it_is_told),
        bench_test(what_changes_during_a_write_goes_with_the_next),
        bench_test(each_change_that_is_not_there_is_told_so),
        bench_test(next_change_brings_those_before),
        bench_test(what_failed_is_tried_again_by_the_clock),
        bench_test(tries_by_the_clock_become_rarer),
        bench_test(table_that_cannot_be_made_is_told_and_made_later),
        bench_test(what_nobody_waits_for_is_written_and_no_loss),
        bench_test(end_tries_once_more),
        bench_test(end_waits_for_what_is_under_way_and_what_is_not),
        bench_test(end_comes_though_nothing_can_be_written),
    };

    return unit_run(tests);
}
