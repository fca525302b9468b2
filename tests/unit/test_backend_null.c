/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/backend.h"
#include "tests/unit/operation.h"

static struct backend *open_null(uint32_t delay_ms)
{
    struct backend_opts opts = {
        .type = "null", .size = 1ull << 30, .delay_ms = delay_ms, .max_inflight = 16};
    struct backend *backend;
    struct err err;

    assert_int_equal(backend_open(&backend, &opts, &err), 0);
    return backend;
}

static void unknown_type_is_refused_by_name(void **state)
{
    struct backend_opts opts = {.type = "floppy"};
    struct backend *backend;
    struct err err;

    assert_int_equal(backend_open(&backend, &opts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "floppy"));
}

static void cache_modes_have_names_both_ways(void **state)
{
    enum cache_mode mode;
    unsigned i;

    for (i = CACHE_NONE; i <= CACHE_WRITETHROUGH; i++) {
        assert_true(cache_mode_parse(cache_mode_names[i], &mode));
        assert_int_equal(mode, i);
    }
    assert_null(cache_mode_names[i]);
    assert_false(cache_mode_parse("unsafe", &mode));
    assert_false(cache_mode_parse("", &mode));
    assert_true(cache_is_direct(CACHE_NONE) && cache_is_direct(CACHE_DIRECTSYNC));
    assert_false(cache_is_direct(CACHE_WRITEBACK) || cache_is_direct(CACHE_WRITETHROUGH));
    assert_true(cache_is_writethrough(CACHE_DIRECTSYNC));
    assert_false(cache_is_writethrough(CACHE_NONE));
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
    struct backend *backend = open_null(0);

    assert_int_equal(backend->size, 1ull << 30);
    assert_int_equal(backend->block_size, 512);
    assert_null(backend->engine);
    backend_close(backend);
}

static void everything_succeeds_at_submit(void **state)
{
    struct backend *backend = open_null(0);
    struct operation ops[3];
    uint8_t data[512];

    operation_init(&ops[0], IO_READ, 0, data, 512);
    operation_init(&ops[1], IO_WRITE, 0, data, 512);
    operation_init(&ops[2], IO_FLUSH, 0, NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        operation_queue(&ops[i], backend);
        assert_int_equal(ops[i].times_done, 0);
    }
    backend->ops->submit(backend);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ops[i].times_done, 1);
        assert_int_equal(ops[i].io.result, 0);
    }
    backend_close(backend);
}

static void delay_is_kept(void **state)
{
    struct backend *backend = open_null(30);
    uint64_t start_ns = now_ns();
    struct operation op;

    operation_init(&op, IO_FLUSH, 0, NULL, 0);
    operation_queue(&op, backend);
    backend->ops->submit(backend);
    backend->ops->reap(backend); /* too early, and must not block */
    assert_int_equal(op.times_done, 0);
    assert_true(operations_run(backend, &op, 1));
    assert_true(now_ns() - start_ns >= 30 * NS_PER_MS);
    backend_close(backend);
}

static void delayed_operations_overlap(void **state)
{
    struct backend *backend = open_null(30);
    uint64_t start_ns = now_ns();
    struct operation ops[64];

    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_init(&ops[i], IO_FLUSH, 0, NULL, 0);
        operation_queue(&ops[i], backend);
    }
    assert_true(operations_run(backend, ops, ARRAY_SIZE(ops)));
    assert_true(now_ns() - start_ns < 64 * 30 * NS_PER_MS);
    backend_close(backend);
}

static void later_operations_are_not_forgotten_after_the_first(void **state)
{
    struct backend *backend = open_null(20);
    struct operation ops[2];
    struct pollfd poll_fd = {.fd = backend->ops->fd(backend), .events = POLLIN};

    operation_init(&ops[0], IO_FLUSH, 0, NULL, 0);
    operation_queue(&ops[0], backend);
    backend->ops->submit(backend);
    poll(NULL, 0, 5);
    operation_init(&ops[1], IO_FLUSH, 0, NULL, 0);
    operation_queue(&ops[1], backend);
    backend->ops->submit(backend);
    poll(&poll_fd, 1, 5000);
    backend->ops->reap(backend);
    assert_int_equal(ops[0].times_done, 1);
    assert_true(operations_run(backend, ops, 2));
    backend_close(backend);
}

/* Whoever watches the timer as long as it is readable must not be woken for ever. */
static void timer_is_quiet_when_all_is_done(void **state)
{
    struct backend *backend = open_null(5);
    struct operation ops[2];
    struct pollfd poll_fd = {.fd = backend->ops->fd(backend), .events = POLLIN};

    for (unsigned i = 0; i < 2; i++) {
        operation_init(&ops[i], IO_FLUSH, 0, NULL, 0);
        operation_queue(&ops[i], backend);
        assert_true(operations_run(backend, &ops[i], 1));
    }
    assert_int_equal(poll(&poll_fd, 1, 20), 0);
    backend_close(backend);
}

/* As a loop does that spins: it asks again and again, and the timer may not have gone off. */
static void reap_needs_no_timer(void **state)
{
    struct backend *backend = open_null(20);
    uint64_t deadline_ns = now_ns() + 5 * NS_PER_S;
    struct operation op;

    operation_init(&op, IO_FLUSH, 0, NULL, 0);
    operation_queue(&op, backend);
    backend->ops->submit(backend);
    while (backend->ops->reap(backend) == 0) {
        assert_true(now_ns() < deadline_ns);
    }
    assert_int_equal(op.times_done, 1);
    assert_int_equal(backend->ops->reap(backend), 0);
    backend_close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_type_is_refused_by_name),
        cmocka_unit_test(cache_modes_have_names_both_ways),
        cmocka_unit_test(engines_are_asked_for_by_name),
        cmocka_unit_test(it_is_as_large_as_asked),
        cmocka_unit_test(everything_succeeds_at_submit),
        cmocka_unit_test(delay_is_kept),
        cmocka_unit_test(delayed_operations_overlap),
        cmocka_unit_test(later_operations_are_not_forgotten_after_the_first),
        cmocka_unit_test(timer_is_quiet_when_all_is_done),
        cmocka_unit_test(reap_needs_no_timer),
    };

    return unit_run(tests);
}
