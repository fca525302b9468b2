/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/block/merge.h"
#include "tests/unit/image_world.h"
#include "tests/unit/operation.h"

#define MANY 32u

/* `count` blocks one after the other, each into or from its own part of `data`. */
static void queue_run(struct path *path, struct operation *ops, unsigned count, enum io_op kind,
                      uint8_t *data)
{
    for (unsigned i = 0; i < count; i++) {
        operation_init(&ops[i], kind, i * BLOCK, data + i * BLOCK, BLOCK);
        operation_queue(&ops[i], path);
    }
}

static void expect_started(struct path *path, unsigned operations, unsigned merged)
{
    struct submitted submitted = context_submit(path->context);

    assert_int_equal(submitted.operations, operations);
    assert_int_equal(submitted.merged, merged);
    assert_int_equal(submitted.calls, 1);
}

static void neighbours_are_one_operation(struct image_world *w, enum cache_mode cache)
{
    struct path *path = image_world_open(w, cache);
    static struct operation ops[MANY];
    uint8_t *out = aligned_buffer(MANY * BLOCK);
    uint8_t *in = aligned_buffer(MANY * BLOCK);
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    fill_bytes(out, MANY * BLOCK, 1);
    queue_run(path, ops, MANY, IO_WRITE, out);
    expect_started(path, 1, MANY - 1);
    assert_true(operations_run(path, ops, MANY));
    assert_int_equal(pread(fd, in, MANY * BLOCK, 0), MANY * BLOCK);
    assert_memory_equal(in, out, MANY * BLOCK);
    memset(in, 0, MANY * BLOCK);
    queue_run(path, ops, MANY, IO_READ, in);
    expect_started(path, 1, MANY - 1);
    assert_true(operations_run(path, ops, MANY));
    assert_memory_equal(in, out, MANY * BLOCK);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(ops[i].io.result, 0);
    }
    close(fd);
    free(in);
    free(out);
}

/* What does not fit the count of a group's bytes is no neighbour of what lies inside of it. */
static void larger_than_4_gib_is_alone(void **state)
{
    static uint8_t data[BLOCK];
    struct operation ops[2];
    struct engine_op op;
    struct merge merge;

    assert_int_equal(merge_init(&merge), 0);
    operation_init(&ops[0], IO_WRITE, 0, data, UINT32_MAX);
    operation_add(&ops[0], data, BLOCK + 1);
    operation_init(&ops[1], IO_WRITE, BLOCK, data, BLOCK);
    ops[0].io.next = &ops[1].io;
    assert_ptr_equal(merge_gather(&merge, &ops[0].io, &op), &ops[1].io);
    assert_int_equal(file_io_of(&ops[0].io)->group, 1);
    assert_int_equal(file_io_of(&ops[0].io)->group_bytes, UINT32_MAX);
    merge_fini(&merge);
}

static void neighbours_are_one_operation_with_direct_io(void **state)
{
    neighbours_are_one_operation(*state, CACHE_NONE);
}

static void neighbours_are_one_operation_buffered(void **state)
{
    neighbours_are_one_operation(*state, CACHE_WRITEBACK);
}

static void strangers_stay_apart(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct operation ops[8];
    static uint8_t data[8][512];

    operation_init(&ops[0], IO_READ, 0, data[0], 512);
    operation_init(&ops[1], IO_READ, 1024, data[1], 512);  /* a gap */
    operation_init(&ops[2], IO_READ, 512, data[2], 512);   /* backwards */
    operation_init(&ops[3], IO_WRITE, 1024, data[3], 512); /* the other way */
    operation_init(&ops[4], IO_WRITE, 1536, data[4], 512); /* to be stable */
    ops[4].io.flags = IO_FUA;
    operation_init(&ops[5], IO_FLUSH, 0, NULL, 0);
    operation_init(&ops[6], IO_FLUSH, 0, NULL, 0);
    operation_init(&ops[7], IO_WRITE, 2048, data[5], 512); /* not next in the queue */
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_queue(&ops[i], path);
    }
    expect_started(path, ARRAY_SIZE(ops), 0);
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
}

static void stable_writes_go_together(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct operation ops[2];
    static uint8_t data[2][512];

    for (unsigned i = 0; i < 2; i++) {
        operation_init(&ops[i], IO_WRITE, i * 512, data[i], 512);
        ops[i].io.flags = IO_FUA;
        operation_queue(&ops[i], path);
    }
    expect_started(path, 1, 1);
    assert_true(operations_run(path, ops, 2));
}

static void bounced_requests_stay_apart(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    struct operation ops[4];
    uint8_t *data = aligned_buffer(5 * BLOCK);

    queue_run(path, ops, 4, IO_WRITE, data + 1);
    expect_started(path, 4, 0);
    assert_true(operations_run(path, ops, 4));
    free(data);
}

static void no_operation_is_larger_than_the_limit(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct operation ops[5];
    size_t len = MERGE_BYTES / 2;
    uint8_t *data = aligned_buffer(len);

    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_init(&ops[i], IO_READ, i * len, data, len);
        operation_queue(&ops[i], path);
    }
    expect_started(path, 3, 2);
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    free(data);
}

/* Pieces of memory: of one operation, and of all of a batch. */
static void no_operation_has_more_pieces_than_the_limit(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    const unsigned each = OPERATION_IOVS, count = MERGE_POOL / each + 8;
    struct operation *ops = calloc(count, sizeof(*ops));
    uint8_t *data = aligned_buffer(512);

    for (unsigned i = 0; i < count; i++) {
        operation_init(&ops[i], IO_READ, i * 512, data, 512 / each);
        for (unsigned j = 1; j < each; j++) {
            operation_add(&ops[i], data + j * (512 / each), 512 / each);
        }
        operation_queue(&ops[i], path);
    }
    expect_started(path, MERGE_POOL / MERGE_IOVS + 8, MERGE_POOL / each - MERGE_POOL / MERGE_IOVS);
    assert_true(operations_run(path, ops, count));
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(ops[i].io.result, 0);
    }
    free(data);
    free(ops);
}

/* The image ends within a merged read: those before the end must not suffer. */
static void each_of_a_short_group_gets_its_own_result(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct operation ops[8];
    uint8_t *data = aligned_buffer(8 * BLOCK);

    assert_int_equal(truncate(w->image, 3 * BLOCK + 512), 0);
    queue_run(path, ops, 8, IO_READ, data);
    expect_started(path, 1, 7);
    assert_true(operations_run(path, ops, 8));
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(ops[i].io.result, i < 3 ? 0 : -ENODATA);
    }
    assert_int_equal(data[0], 0);
    assert_int_equal(data[3 * BLOCK - 1], 0);
    free(data);
}

/* The kernel refuses the memory of one: the others must not suffer. */
static void each_of_a_refused_group_gets_its_own_result(struct image_world *w,
                                                        enum cache_mode cache)
{
    struct path *path = image_world_open(w, cache);
    struct operation ops[4];
    uint8_t *data;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* it sees the bad address, too */
    }
    data = aligned_buffer(4 * BLOCK);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *at = i == 2 ? (uint8_t *)BLOCK : data + i * BLOCK;

        operation_init(&ops[i], IO_WRITE, i * BLOCK, at, BLOCK);
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, 4));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(ops[i].io.result, i == 2 ? -EFAULT : 0);
    }
    free(data);
}

static void each_of_a_refused_group_gets_its_own_result_with_direct_io(void **state)
{
    each_of_a_refused_group_gets_its_own_result(*state, CACHE_NONE);
}

static void each_of_a_refused_group_gets_its_own_result_buffered(void **state)
{
    each_of_a_refused_group_gets_its_own_result(*state, CACHE_WRITEBACK);
}

/* An iovec that the kernel does not even look at: io_submit itself fails. */
static void group_that_cannot_be_submitted_is_taken_apart(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct operation ops[4];
    uint8_t *data;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* it sees the bad address, too */
    }
    data = aligned_buffer(4 * BLOCK);
    queue_run(path, ops, 4, IO_READ, data);
    ops[1].iov[0].iov_base = (void *)(UINTPTR_MAX - BLOCK + 1);
    ops[1].asked_iov[0] = ops[1].iov[0];
    assert_true(operations_run(path, ops, 4));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(ops[i].io.result, i == 1 ? -EFAULT : 0);
    }
    free(data);
}

#define merge_tests(by)                                                                           \
    by(neighbours_are_one_operation_with_direct_io), by(neighbours_are_one_operation_buffered),   \
        by(strangers_stay_apart), by(stable_writes_go_together), by(bounced_requests_stay_apart), \
        by(no_operation_is_larger_than_the_limit),                                                \
        by(no_operation_has_more_pieces_than_the_limit),                                          \
        by(each_of_a_short_group_gets_its_own_result),                                            \
        by(each_of_a_refused_group_gets_its_own_result_with_direct_io),                           \
        by(each_of_a_refused_group_gets_its_own_result_buffered),                                 \
        by(group_that_cannot_be_submitted_is_taken_apart)

/* It would have to hold the pieces of a merged operation until that has ended. */
static void threads_do_not_merge(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    static struct operation ops[MANY];
    uint8_t *data = aligned_buffer(MANY * BLOCK);

    queue_run(path, ops, MANY, IO_WRITE, data);
    expect_started(path, MANY, 0);
    assert_true(operations_run(path, ops, MANY));
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(larger_than_4_gib_is_alone), merge_tests(by_aio),
        by_threads(threads_do_not_merge),
        by_threads(each_of_a_refused_group_gets_its_own_result_buffered), for_uring(merge_tests)};

    return unit_run(tests);
}
