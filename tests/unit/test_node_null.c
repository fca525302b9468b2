/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/unit/operation.h"

static void open_null(struct way *way, uint32_t delay_ms)
{
    struct image_opts opts = {
        .type = "null", .size = 1ull << 30, .delay_ms = delay_ms, .max_inflight = 16};
    struct err err;

    assert_int_equal(way_open(way, &opts, &err), 0);
}

static void unknown_type_is_refused_by_name(void **state)
{
    struct image_opts opts = {.type = "floppy"};
    struct image *image;
    struct err err;

    assert_int_equal(image_open(&image, &opts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "floppy"));
}

static void cache_modes_have_names_both_ways(void **state)
{
    enum cache_mode mode;
    unsigned i;

    for (i = CACHE_NONE; i <= CACHE_UNSAFE; i++) {
        assert_true(cache_mode_parse(cache_mode_names[i], &mode));
        assert_int_equal(mode, i);
    }
    assert_null(cache_mode_names[i]);
    assert_false(cache_mode_parse("fast", &mode));
    assert_false(cache_mode_parse("", &mode));
    assert_true(cache_is_direct(CACHE_NONE) && cache_is_direct(CACHE_DIRECTSYNC));
    assert_false(cache_is_direct(CACHE_WRITEBACK) || cache_is_direct(CACHE_WRITETHROUGH));
    assert_true(cache_is_writethrough(CACHE_DIRECTSYNC));
    assert_false(cache_is_writethrough(CACHE_NONE));
    assert_false(cache_is_direct(CACHE_UNSAFE) || cache_is_writethrough(CACHE_UNSAFE));
}

static void engines_are_asked_for_by_name(void **state)
{
    static const char *const names[] = {
        [ENGINE_AUTO] = "auto", [ENGINE_AIO] = "aio", [ENGINE_IO_URING] = "io_uring"};
    enum io_engine engine;

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        assert_true(engine_parse(names[i], &engine));
        assert_int_equal(engine, i);
    }
    assert_false(engine_parse("threads", &engine));
    assert_false(engine_parse("native", &engine));
    assert_false(engine_parse("", &engine));
}

static void it_is_as_large_as_asked(void **state)
{
    struct way way;

    open_null(&way, 0);
    assert_int_equal(way.path->node->facts.size, 1ull << 30);
    assert_int_equal(way.path->node->facts.block_size, 512);
    assert_null(way.path->facts.engine);
    way_close(&way);
}

static void everything_succeeds_at_submit(void **state)
{
    struct way way;
    struct operation ops[3];
    uint8_t data[512];

    open_null(&way, 0);
    operation_init(&ops[0], IO_READ, 0, data, 512);
    operation_init(&ops[1], IO_WRITE, 0, data, 512);
    operation_init(&ops[2], IO_FLUSH, 0, NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        operation_queue(&ops[i], way.path);
        assert_int_equal(ops[i].times_done, 0);
    }
    context_submit(&way.context);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ops[i].times_done, 1);
        assert_int_equal(ops[i].io.result, 0);
    }
    way_close(&way);
}

/* The first and each third later, through a filter. */
static void image_that_is_to_fail_does_by_rule(void **state)
{
    struct image_opts opts = {.type = "null",
                              .size = 1 << 20,
                              .error = -ENOSPC,
                              .error_every = 3,
                              .holds_errors = true,
                              .max_inflight = 16};
    struct way way;
    uint8_t data[512];

    assert_int_equal(way_open(&way, &opts, NULL), 0);
    assert_int_equal(image_facts(way.image)->size, 1 << 20);
    assert_true(way.image->holds_errors);
    assert_int_equal(way.path->facts.max_inflight, 16);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(operation_do(way.path, IO_WRITE, 0, data, 512), i % 3 ? 0 : -ENOSPC);
    }
    way_close(&way);
}

static void delay_is_kept(void **state)
{
    struct way way;
    uint64_t start_ns = now_ns();
    struct operation op;

    open_null(&way, 30);
    operation_init(&op, IO_FLUSH, 0, NULL, 0);
    operation_queue(&op, way.path);
    context_submit(&way.context);
    context_reap(&way.context); /* too early, and must not block */
    assert_true(op.times_done == 0 || now_ns() - start_ns >= 30 * NS_PER_MS);
    assert_true(operations_run(way.path, &op, 1));
    assert_true(now_ns() - start_ns >= 30 * NS_PER_MS);
    way_close(&way);
}

static void delayed_operations_overlap(void **state)
{
    struct way way;
    uint64_t start_ns = now_ns();
    struct operation ops[64];

    open_null(&way, 300);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_init(&ops[i], IO_FLUSH, 0, NULL, 0);
        operation_queue(&ops[i], way.path);
    }
    assert_true(operations_run(way.path, ops, ARRAY_SIZE(ops)));
    assert_true(now_ns() - start_ns < 64 * 300 * NS_PER_MS);
    way_close(&way);
}

static void later_operations_are_not_forgotten_after_the_first(void **state)
{
    struct way way;
    struct operation ops[2];
    struct pollfd poll_fd = {.events = POLLIN};

    open_null(&way, 20);
    poll_fd.fd = way.path->ops->leaf->fd(way.path);
    operation_init(&ops[0], IO_FLUSH, 0, NULL, 0);
    operation_queue(&ops[0], way.path);
    context_submit(&way.context);
    poll(NULL, 0, 5);
    operation_init(&ops[1], IO_FLUSH, 0, NULL, 0);
    operation_queue(&ops[1], way.path);
    context_submit(&way.context);
    poll(&poll_fd, 1, 5000);
    context_reap(&way.context);
    assert_int_equal(ops[0].times_done, 1);
    assert_true(operations_run(way.path, ops, 2));
    way_close(&way);
}

/* Whoever watches the timer as long as it is readable must not be woken for ever. */
static void timer_is_quiet_when_all_is_done(void **state)
{
    struct way way;
    struct operation ops[2];
    struct pollfd poll_fd = {.events = POLLIN};

    open_null(&way, 5);
    poll_fd.fd = way.path->ops->leaf->fd(way.path);
    for (unsigned i = 0; i < 2; i++) {
        operation_init(&ops[i], IO_FLUSH, 0, NULL, 0);
        operation_queue(&ops[i], way.path);
        assert_true(operations_run(way.path, &ops[i], 1));
    }
    assert_int_equal(poll(&poll_fd, 1, 20), 0);
    way_close(&way);
}

/* As a loop does that spins: it asks again and again, and the timer may not have gone off. */
static void reap_needs_no_timer(void **state)
{
    struct way way;
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;
    struct operation op;

    open_null(&way, 20);
    operation_init(&op, IO_FLUSH, 0, NULL, 0);
    operation_queue(&op, way.path);
    context_submit(&way.context);
    while (context_reap(&way.context) == 0) {
        assert_true(now_ns() < deadline_ns);
    }
    assert_int_equal(op.times_done, 1);
    assert_int_equal(context_reap(&way.context), 0);
    way_close(&way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_type_is_refused_by_name),
        cmocka_unit_test(cache_modes_have_names_both_ways),
        cmocka_unit_test(engines_are_asked_for_by_name),
        cmocka_unit_test(it_is_as_large_as_asked),
        cmocka_unit_test(everything_succeeds_at_submit),
        cmocka_unit_test(image_that_is_to_fail_does_by_rule),
        cmocka_unit_test(delay_is_kept),
        cmocka_unit_test(delayed_operations_overlap),
        cmocka_unit_test(later_operations_are_not_forgotten_after_the_first),
        cmocka_unit_test(timer_is_quiet_when_all_is_done),
        cmocka_unit_test(reap_needs_no_timer),
    };

    return unit_run(tests);
}
