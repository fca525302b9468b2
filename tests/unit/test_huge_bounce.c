/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/block/path_file.h"
#include "tests/unit/image_world.h"

#define LARGE (128u << 10)
#define ALL_BUT_TWO ((HUGE_SLOTS - 2) * (size_t)HUGE_SLOT_BYTES)

/* ---- the memory ---- */

static void slots_are_where_they_fit(void **state)
{
    struct huge_pool pool;
    uint8_t *a, *b, *c;

    assert_int_equal(huge_pool_init(&pool), 0);
    assert_int_equal((uintptr_t)pool.memory % (2u << 20), 0);
    a = huge_pool_get(&pool, 1);
    b = huge_pool_get(&pool, 2 * HUGE_SLOT_BYTES + 1);
    c = huge_pool_get(&pool, HUGE_SLOT_BYTES);
    assert_ptr_equal(a, pool.memory);
    assert_ptr_equal(b, a + HUGE_SLOT_BYTES);
    assert_ptr_equal(c, b + 3 * HUGE_SLOT_BYTES);
    huge_pool_put(&pool, b, 2 * HUGE_SLOT_BYTES + 1);
    assert_ptr_equal(huge_pool_get(&pool, 4 * HUGE_SLOT_BYTES), c + HUGE_SLOT_BYTES);
    assert_ptr_equal(huge_pool_get(&pool, 3 * HUGE_SLOT_BYTES), b);
    huge_pool_fini(&pool);
}

static void all_slots_can_be_had_and_no_more(void **state)
{
    struct huge_pool pool;
    uint8_t *all;

    assert_int_equal(huge_pool_init(&pool), 0);
    all = huge_pool_get(&pool, HUGE_SLOTS * (size_t)HUGE_SLOT_BYTES);
    assert_ptr_equal(all, pool.memory);
    memset(all, 1, HUGE_SLOTS * (size_t)HUGE_SLOT_BYTES);
    assert_null(huge_pool_get(&pool, 1));
    huge_pool_put(&pool, all, HUGE_SLOTS * (size_t)HUGE_SLOT_BYTES);
    assert_true(huge_pool_is_unused(&pool));
    huge_pool_give_back(&pool);
    assert_int_equal(pool.memory[0], 0);
    huge_pool_fini(&pool);
}

/* ---- operations through it ---- */

static struct path *open_huge(struct image_world *w, enum huge_use use)
{
    struct path *path = image_world_open(w, CACHE_NONE);

    path->context->huge_use = use;
    return path;
}

static struct huge_bounce *huge_of(struct path *path)
{
    return &containerof(path, struct path_file, path)->huge;
}

static void expect_bounced(struct path *path, unsigned operations, unsigned bounced)
{
    struct submitted submitted = context_submit(path->context);

    assert_int_equal(submitted.operations, operations);
    assert_int_equal(submitted.bounced, bounced);
}

static void assert_unused(struct path *path)
{
    assert_true(huge_pool_is_unused(&huge_of(path)->pool));
    assert_int_equal(huge_of(path)->learn.inflight, 0);
}

/* In three pieces of memory, the last one first. */
static void make_scattered(struct operation *op, enum io_op kind, uint64_t offset, uint8_t *data)
{
    operation_init(op, kind, offset, data + LARGE - BLOCK, BLOCK);
    operation_add(op, data, BLOCK);
    operation_add(op, data + BLOCK, LARGE - 2 * BLOCK);
}

static void large_operations_move_what_they_are_to(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *out = aligned_buffer(LARGE), *in = aligned_buffer(LARGE);
    struct operation op;

    fill_bytes(out, LARGE, 1);
    make_scattered(&op, IO_WRITE, LARGE, out);
    operation_queue(&op, path);
    expect_bounced(path, 1, 1);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
    make_scattered(&op, IO_READ, LARGE, in);
    operation_queue(&op, path);
    expect_bounced(path, 1, 1);
    assert_true(operations_run(path, &op, 1));
    assert_memory_equal(in, out, LARGE);
    path->context->huge_use = HUGE_OFF;
    memset(in, 0xcc, LARGE);
    assert_int_equal(operation_do(path, IO_READ, LARGE, in, LARGE), 0);
    assert_memory_equal(in, out + LARGE - BLOCK, BLOCK);
    assert_memory_equal(in + BLOCK, out, LARGE - BLOCK);
    assert_unused(path);
    assert_int_equal(huge_of(path)->learn.slice.ended, 0);
    free(in);
    free(out);
}

static void neighbours_go_together(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *out = aligned_buffer(LARGE), *in = aligned_buffer(LARGE);
    static struct operation ops[LARGE / BLOCK];

    fill_bytes(out, LARGE, 2);
    for (unsigned round = 0; round < 2; round++) {
        enum io_op kind = round == 0 ? IO_WRITE : IO_READ;

        for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
            operation_init(&ops[i], kind, i * BLOCK, (round == 0 ? out : in) + i * BLOCK, BLOCK);
            operation_queue(&ops[i], path);
        }
        expect_bounced(path, 1, 1);
        assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    }
    assert_memory_equal(in, out, LARGE);
    assert_unused(path);
    free(in);
    free(out);
}

static void what_is_small_goes_straight(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *data = aligned_buffer(LARGE);
    struct operation ops[3];

    operation_init(&ops[0], IO_READ, 0, data, HUGE_BYTES_MIN - BLOCK);
    operation_init(&ops[1], IO_READ, LARGE, data + 1, LARGE - BLOCK); /* has a bounce buffer */
    operation_init(&ops[2], IO_FLUSH, 0, NULL, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_queue(&ops[i], path);
    }
    expect_bounced(path, 3, 0);
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    assert_unused(path);
    free(data);
}

/* Each of so many bytes, in places apart; not queued yet. */
static void make_reads(struct operation *ops, const size_t *lengths, unsigned count, uint8_t *data)
{
    for (unsigned i = 0; i < count; i++) {
        operation_init(&ops[i], IO_READ, i * 4 * LARGE, data + i * 4 * LARGE, lengths[i]);
    }
}

static void run_reads(struct path *path, struct operation *ops, unsigned count, unsigned at_first)
{
    uint8_t *taken = huge_pool_get(&huge_of(path)->pool, ALL_BUT_TWO);

    for (unsigned i = 0; i < count; i++) {
        operation_queue(&ops[i], path);
    }
    expect_bounced(path, at_first, 2);
    assert_true(path->ops->leaf->is_held_back(path));
    assert_true(operations_run(path, ops, count));
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(ops[i].io.result, 0);
    }
    assert_false(path->ops->leaf->is_held_back(path));
    huge_pool_put(&huge_of(path)->pool, taken, ALL_BUT_TWO);
    assert_unused(path);
}

/* And lets what is small go past. */
static void what_finds_no_slots_waits(void **state)
{
    static const size_t lengths[] = {LARGE, LARGE, LARGE, BLOCK, LARGE, 2 * BLOCK};
    struct path *path = open_huge(*state, HUGE_ON);
    struct operation ops[ARRAY_SIZE(lengths)];
    uint8_t *data = aligned_buffer(IMAGE_BYTES), *want = aligned_buffer(IMAGE_BYTES);

    fill_bytes(want, IMAGE_BYTES, 5);
    assert_int_equal(operation_do(path, IO_WRITE, 0, want, IMAGE_BYTES), 0);
    make_reads(ops, lengths, ARRAY_SIZE(ops), data);
    run_reads(path, ops, ARRAY_SIZE(ops), 4);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        assert_memory_equal(data + i * 4 * LARGE, want + i * 4 * LARGE, lengths[i]);
    }
    free(want);
    free(data);
}

/* What needs many slots is not passed by all that need one. */
static void who_waits_for_slots_is_served_in_order(void **state)
{
    static const size_t lengths[] = {LARGE, 2 * LARGE, LARGE, LARGE};
    struct path *path = open_huge(*state, HUGE_ON);
    struct operation ops[ARRAY_SIZE(lengths)];
    uint8_t *data = aligned_buffer(IMAGE_BYTES);
    uint8_t *taken = huge_pool_get(&huge_of(path)->pool, ALL_BUT_TWO);

    make_reads(ops, lengths, ARRAY_SIZE(ops), data);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_queue(&ops[i], path);
    }
    expect_bounced(path, 1, 1);
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    assert_true(ops[0].order < ops[1].order && ops[1].order < ops[2].order);
    huge_pool_put(&huge_of(path)->pool, taken, ALL_BUT_TWO);
    assert_unused(path);
    free(data);
}

/* A group that waits is gathered anew. */
static void groups_wait_as_well(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *out = aligned_buffer(2 * LARGE), *in = aligned_buffer(2 * LARGE);
    uint8_t *taken = huge_pool_get(&huge_of(path)->pool, ALL_BUT_TWO);
    static struct operation ops[3 + LARGE / BLOCK];

    fill_bytes(out, 2 * LARGE, 6);
    operation_init(&ops[0], IO_READ, 4 * LARGE, in, 2 * LARGE);
    operation_queue(&ops[0], path);
    for (unsigned i = 1; i < ARRAY_SIZE(ops) - 1; i++) {
        operation_init(&ops[i], IO_WRITE, i * BLOCK, out + i * BLOCK, BLOCK);
        operation_queue(&ops[i], path);
    }
    expect_bounced(path, 1, 1);
    operation_init(&ops[ARRAY_SIZE(ops) - 1], IO_WRITE, 8 * LARGE, out, BLOCK);
    operation_queue(&ops[ARRAY_SIZE(ops) - 1], path);
    expect_bounced(path, 1, 0);
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    huge_pool_put(&huge_of(path)->pool, taken, ALL_BUT_TWO);
    assert_unused(path);
    assert_int_equal(operation_do(path, IO_READ, BLOCK, in, LARGE + BLOCK), 0);
    assert_memory_equal(in, out + BLOCK, LARGE + BLOCK);
    free(in);
    free(out);
}

/* The one that had the slots is refused by the kernel: nothing is under way that would end. */
static void who_waits_goes_on_when_the_other_is_refused(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *data = aligned_buffer(3 * LARGE);
    uint8_t *taken = huge_pool_get(&huge_of(path)->pool, ALL_BUT_TWO);
    struct operation ops[2];

    operation_init(&ops[0], IO_WRITE, (uint64_t)INT64_MAX - LARGE + 1, data, 2 * LARGE);
    operation_init(&ops[1], IO_WRITE, 0, data + 2 * LARGE, LARGE);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    assert_true(ops[0].io.result < 0);
    assert_int_equal(ops[1].io.result, 0);
    huge_pool_put(&huge_of(path)->pool, taken, ALL_BUT_TWO);
    assert_unused(path);
    free(data);
}

static void nothing_of_the_page_cache_is_copied_twice(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    uint8_t *data = aligned_buffer(LARGE);
    struct operation op;

    path->context->huge_use = HUGE_ON;
    operation_init(&op, IO_READ, 0, data, LARGE);
    operation_queue(&op, path);
    expect_bounced(path, 1, 0);
    assert_true(operations_run(path, &op, 1));
    free(data);
}

static void assert_all_are(const uint8_t *data, uint8_t value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(data[i], value);
    }
}

/* The image ends within it.  The slots still hold what was written, which is not to be seen. */
static void short_read_has_what_there_is(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_huge(w, HUGE_ON);
    uint8_t *data = aligned_buffer(LARGE), *want = aligned_buffer(LARGE);

    fill_bytes(want, LARGE, 3);
    memset(data, 0xcc, LARGE);
    assert_int_equal(operation_do(path, IO_WRITE, 0, want, LARGE), 0);
    assert_int_equal(truncate(w->image, LARGE / 2), 0);
    assert_int_equal(operation_do(path, IO_READ, 0, data, LARGE), -ENODATA);
    assert_memory_equal(data, want, LARGE / 2);
    assert_all_are(data + LARGE / 2, 0xcc, LARGE / 2);
    assert_unused(path);
    free(want);
    free(data);
}

/* Nor does a read that fails show whatever was in its slots. */
static void read_that_fails_copies_nothing(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *data = aligned_buffer(LARGE), *other = aligned_buffer(LARGE);

    fill_bytes(other, LARGE, 7);
    memset(data, 0xcc, LARGE);
    assert_int_equal(operation_do(path, IO_WRITE, 0, other, LARGE), 0);
    assert_int_equal(operation_do(path, IO_READ, IMAGE_BYTES, data, LARGE), -ENODATA);
    assert_true(operation_do(path, IO_READ, (uint64_t)INT64_MAX - LARGE + 1, data, LARGE) < 0);
    assert_all_are(data, 0xcc, LARGE);
    assert_unused(path);
    free(other);
    free(data);
}

/* One that is refused in the middle: those behind it are forgotten by the engine, and go again. */
static void what_the_engine_forgets_is_prepared_again(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *out = aligned_buffer(3 * LARGE), *in = aligned_buffer(3 * LARGE);
    struct operation ops[3];

    fill_bytes(out, 3 * LARGE, 4);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        uint64_t offset = i == 1 ? (uint64_t)INT64_MAX - LARGE + 1 : i * 2 * LARGE;

        operation_init(&ops[i], IO_WRITE, offset, out + i * LARGE, LARGE);
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    assert_int_equal(ops[0].io.result, 0);
    assert_true(ops[1].io.result < 0);
    assert_int_equal(ops[2].io.result, 0);
    assert_unused(path);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i += 2) {
        assert_int_equal(operation_do(path, IO_READ, i * 2 * LARGE, in + i * LARGE, LARGE), 0);
        assert_memory_equal(in + i * LARGE, out + i * LARGE, LARGE);
    }
    free(in);
    free(out);
}

static void rest(struct path *path)
{
    path->ops->leaf->rest(path);
}

static void memory_goes_back_when_it_was_not_used_for_a_while(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *data = aligned_buffer(LARGE);

    for (unsigned i = 0; i < 2; i++) {
        assert_false(context_keeps_memory(path->context));
        assert_int_equal(operation_do(path, IO_WRITE, 0, data, LARGE), 0);
        assert_true(context_keeps_memory(path->context));
        rest(path); /* there was use since the last time */
        assert_int_equal(huge_of(path)->pool.memory[0], 0xcc);
        rest(path);
        assert_int_equal(huge_of(path)->pool.memory[0], 0);
    }
    free(data);
}

static void memory_that_is_in_use_stays(void **state)
{
    struct path *path = open_huge(*state, HUGE_ON);
    uint8_t *out = aligned_buffer(LARGE), *in = aligned_buffer(LARGE);
    struct operation op;

    fill_bytes(out, LARGE, 8);
    assert_int_equal(operation_do(path, IO_WRITE, 0, out, LARGE), 0);
    operation_init(&op, IO_READ, 0, in, LARGE);
    operation_queue(&op, path);
    expect_bounced(path, 1, 1);
    rest(path);
    rest(path);
    assert_true(context_keeps_memory(path->context));
    assert_true(operations_run(path, &op, 1));
    assert_memory_equal(in, out, LARGE);
    rest(path);
    assert_false(context_keeps_memory(path->context));
    free(in);
    free(out);
}

/* ---- what counts ---- */

static void begin_large(struct huge_bounce *huge, struct operation *op, uint8_t *data)
{
    struct engine_op engine_op = {.iov_count = 1};

    operation_init(op, IO_READ, 0, data, LARGE);
    *file_io_of(&op->io) = (struct file_io){.group = 1, .group_bytes = LARGE};
    assert_true(huge_bounce_prepare(huge, &op->io, &engine_op));
    huge_bounce_begin(huge, &op->io);
}

/* What began before the last results were looked for was not done within the call. */
static void at_once_is_what_the_first_look_finds(void **state)
{
    struct context context = {.huge_use = HUGE_AUTO};
    uint8_t *data = aligned_buffer(LARGE);
    struct huge_bounce huge;
    struct operation old, new;

    assert_int_equal(huge_bounce_init(&huge, &context), 0);
    begin_large(&huge, &old, data);
    huge_bounce_reaped(&huge);
    begin_large(&huge, &new, data);
    huge_bounce_end(&huge, &old.io, LARGE);
    assert_int_equal(huge.learn.slice.at_once, 0);
    huge_bounce_end(&huge, &new.io, LARGE);
    assert_int_equal(huge.learn.slice.at_once, 1);
    assert_int_equal(huge.learn.inflight, 0);
    huge_bounce_fini(&huge);
    free(data);
}

#define huge_tests(by)                                                                     \
    by(large_operations_move_what_they_are_to), by(what_is_small_goes_straight),           \
        by(what_finds_no_slots_waits), by(who_waits_for_slots_is_served_in_order),         \
        by(who_waits_goes_on_when_the_other_is_refused),                                   \
        by(nothing_of_the_page_cache_is_copied_twice), by(short_read_has_what_there_is),   \
        by(read_that_fails_copies_nothing), by(what_the_engine_forgets_is_prepared_again), \
        by(memory_goes_back_when_it_was_not_used_for_a_while), by(memory_that_is_in_use_stays)

/* By engines that merge. */
#define merge_tests(by) by(neighbours_go_together), by(groups_wait_as_well)

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(slots_are_where_they_fit),
                                       cmocka_unit_test(all_slots_can_be_had_and_no_more),
                                       cmocka_unit_test(at_once_is_what_the_first_look_finds),
                                       huge_tests(by_aio),
                                       merge_tests(by_aio),
                                       huge_tests(by_threads),
                                       for_uring(huge_tests) for_uring(merge_tests)};

    return unit_run(tests);
}
