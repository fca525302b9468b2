/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/block/retry.h"
#include "tests/unit/image_world.h"
#include "tests/unit/operation.h"

#define FOR_EVER 1000000

/*
 * The kernel, with a word of ours: it refuses the next few calls of a kind, and its clock goes as
 * far as we like.
 */
struct refusals {
    _Atomic int code; /* an errno */
    _Atomic unsigned left;
    _Atomic unsigned calls;
};

static struct refusals submits;
static struct refusals reads;
static struct refusals writes;
static struct refusals syncs;
static _Atomic uint64_t skew_ns;
static _Atomic size_t most; /* bytes that a call moves, 0: all */

static void refuse(struct refusals *refusals, int code, unsigned count)
{
    refusals->code = code;
    refusals->left = count;
    refusals->calls = 0;
}

static bool is_refused(struct refusals *refusals)
{
    refusals->calls++;
    if (refusals->left == 0) {
        return false;
    }
    refusals->left--;
    errno = refusals->code;
    return true;
}

int io_submit(io_context_t context, long count, struct iocb **iocbs)
{
    long ret;

    if (is_refused(&submits)) {
        return -submits.code;
    }
    ret = syscall(SYS_io_submit, context, count, iocbs);
    return ret < 0 ? -errno : (int)ret;
}

/* So much of `iov` as a call moves; returns how many pieces that is. */
static int cut(struct iovec *to, const struct iovec *iov, int count)
{
    size_t left = most ? most : SIZE_MAX;
    int used = 0;

    while (used < count && left > 0) {
        to[used] = iov[used];
        to[used].iov_len = min_of(iov[used].iov_len, left);
        left -= to[used++].iov_len;
    }
    return used;
}

/* What is in the page cache is not asked for here, so that the threads are. */
ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    struct iovec few[OPERATION_IOVS];

    if (flags) {
        errno = EAGAIN;
        return -1;
    }
    count = cut(few, iov, count);
    return is_refused(&reads) ? -1 : preadv(fd, few, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    struct iovec few[OPERATION_IOVS];

    count = cut(few, iov, count);
    return is_refused(&writes) ? -1 : pwritev(fd, few, count, offset);
}

int fdatasync(int fd)
{
    return is_refused(&syncs) ? -1 : fsync(fd);
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    int ret = (int)syscall(SYS_clock_gettime, id, time);

    time->tv_sec += (time_t)(skew_ns / NS_PER_S);
    return ret;
}

static int start(void **state)
{
    refuse(&submits, 0, 0);
    refuse(&reads, 0, 0);
    refuse(&writes, 0, 0);
    refuse(&syncs, 0, 0);
    skew_ns = 0;
    most = 0;
    return image_world_start(state);
}

static uint8_t data[4][512];

static void queue_reads(struct path *path, struct operation *ops, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        operation_init(&ops[i], IO_READ, i * 512, data[i], 512);
        operation_queue(&ops[i], path);
    }
}

/* ---- submits ---- */

static void refused_submit_is_tried_again(void **state)
{
    const int codes[] = {EAGAIN, ENOMEM, EINTR};
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);

    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
        refuse(&submits, codes[i], 5);
        assert_int_equal(operation_do(path, IO_WRITE, 0, data[0], 512), 0);
        assert_int_equal(submits.calls, 6);
        assert_false(context_must_look(path->context));
    }
}

static void refused_flush_is_tried_again(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);

    refuse(&submits, EAGAIN, 5);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), 0);
}

/* Nothing will be signalled, so somebody has to look; but each submit is one attempt only. */
static void refused_submit_is_looked_at_later(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    struct operation op;

    refuse(&submits, EAGAIN, 2);
    queue_reads(path, &op, 1);
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(context_submit(path->context).operations, 0);
        assert_int_equal(submits.calls, i);
        assert_true(context_must_look(path->context));
        assert_true(context_is_held_back(path->context));
    }
    assert_int_equal(context_submit(path->context).operations, 1);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
}

/* The one under way may be a flush of minutes, and there may be room before it ends. */
static void refused_submit_is_looked_at_whatever_is_under_way(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    struct operation ops[2];

    queue_reads(path, ops, 1);
    assert_int_equal(context_submit(path->context).operations, 1);
    refuse(&submits, EAGAIN, 2);
    operation_init(&ops[1], IO_READ, BLOCK, data[1], 512);
    operation_queue(&ops[1], path);
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(context_submit(path->context).operations, 0);
        assert_true(context_must_look(path->context));
        skew_ns += RETRY_NS; /* that it waits for the other one does not count */
    }
    assert_int_equal(context_submit(path->context).operations, 1);
    assert_true(operations_run(path, ops, 2));
    assert_int_equal(ops[1].io.result, 0);
    assert_false(context_must_look(path->context));
}

static void refused_group_stays_one(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    struct operation ops[4];
    struct submitted submitted;

    refuse(&submits, EAGAIN, 1);
    queue_reads(path, ops, 4);
    assert_int_equal(context_submit(path->context).operations, 0);
    submitted = context_submit(path->context);
    assert_int_equal(submitted.operations, 1);
    assert_int_equal(submitted.merged, 3);
    assert_true(operations_run(path, ops, 4));
}

static void other_refusals_are_told_at_once(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);

    refuse(&submits, EFAULT, 1);
    assert_int_equal(operation_do(path, IO_READ, 0, data[0], 512), -EFAULT);
    assert_int_equal(operation_do(path, IO_READ, 0, data[0], 512), 0);
}

static void after_long_refused_requests_fail_and_new_ones_get_their_time(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    struct operation ops[3];

    refuse(&submits, EAGAIN, FOR_EVER);
    for (unsigned i = 0; i < 3; i++) {
        operation_init(&ops[i], IO_READ, i * BLOCK, data[i], 512); /* not to be merged */
        operation_queue(&ops[i], path);
    }
    context_submit(path->context);
    skew_ns = RETRY_NS - NS_PER_S;
    context_submit(path->context);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ops[i].times_done, 0);
    }
    skew_ns = RETRY_NS + NS_PER_S;
    context_submit(path->context);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ops[i].times_done, 1);
        assert_int_equal(ops[i].io.result, -EAGAIN);
    }
    assert_false(context_must_look(path->context));
    skew_ns = 10 * RETRY_NS;
    refuse(&submits, EAGAIN, 3);
    assert_int_equal(operation_do(path, IO_READ, 0, data[0], 512), 0);
}

/* ---- results ---- */

static void result_of_the_moment_is_tried_again(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);
    uint8_t found[512];

    fill_bytes(data[0], 512, 7);
    refuse(&writes, EAGAIN, 3);
    assert_int_equal(operation_do(path, IO_WRITE, 512, data[0], 512), 0);
    assert_int_equal(writes.calls, 4);
    assert_int_equal(pread(fd, found, 512, 512), 512);
    assert_memory_equal(found, data[0], 512);
    refuse(&reads, ENOMEM, 3);
    assert_int_equal(operation_do(path, IO_READ, 512, data[1], 512), 0);
    assert_int_equal(reads.calls, 4);
    assert_memory_equal(data[1], data[0], 512);
    assert_false(context_must_look(path->context));
    close(fd);
}

/* It would have the same result at once: not before a millisecond has passed. */
static void result_of_the_moment_waits_a_little(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    struct operation op;
    uint64_t start_ns = now_ns();

    refuse(&reads, EAGAIN, 5);
    queue_reads(path, &op, 1);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
    assert_true(now_ns() - start_ns >= 5 * RETRY_PAUSE_NS);
}

static void result_is_told_when_it_stays_the_same(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    struct operation op;

    refuse(&reads, ENOMEM, FOR_EVER);
    queue_reads(path, &op, 1);
    ((struct file_io *)op.frame)->tries = RETRY_NS / RETRY_PAUSE_NS - 3;
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, -ENOMEM);
    assert_int_equal(reads.calls, 4);
    assert_false(context_must_look(path->context));
}

/* Its error may be all that is ever heard of lost pages. */
static void sync_of_the_page_cache_is_not_tried_again(void **state)
{
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);

    refuse(&syncs, EINTR, 1);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), -EINTR);
    assert_int_equal(syncs.calls, 1);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), -EINTR);
}

/* The witness knows that nothing is lost. */
static void stable_write_of_the_page_cache_is_tried_again(void **state)
{
    const int codes[] = {EAGAIN, ENOMEM, EINTR};
    struct path *path = image_world_open(*state, CACHE_WRITETHROUGH);
    struct operation op;

    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
        refuse(&writes, codes[i], 3);
        operation_init(&op, IO_WRITE, 0, data[0], 512);
        op.io.flags = IO_FUA;
        operation_queue(&op, path);
        assert_true(operations_run(path, &op, 1));
        assert_int_equal(op.io.result, 0);
        assert_int_equal(writes.calls, 4);
        assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), 0);
    }
}

#define with_engine(test, which)                                           \
    {                                                                      \
#test, test, start, image_world_stop, (void *)&image_world_##which \
    }

/* A piece that has moved in part goes on alone, and those behind it as they are. */
static void the_rest_of_a_short_transfer_goes_on_where_it_stopped(void **state)
{
    static const size_t pieces[] = {1000, 1, 3000, 95, 4096, 2048, 2048};
    struct path *path = image_world_open(*state, CACHE_WRITEBACK);
    uint8_t out[12288], in[12288] = {0};
    struct operation write, read;
    size_t at = 0;

    fill_bytes(out, sizeof(out), 7);
    operation_init(&write, IO_WRITE, BLOCK, NULL, 0);
    operation_init(&read, IO_READ, BLOCK, NULL, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
        operation_add(&write, out + at, pieces[i]);
        operation_add(&read, in + at, pieces[i]);
        at += pieces[i];
    }
    most = 1500;
    operation_queue(&write, path);
    assert_true(operations_run(path, &write, 1));
    assert_int_equal(write.io.result, 0);
    assert_int_equal(writes.calls, 10);
    operation_queue(&read, path);
    assert_true(operations_run(path, &read, 1));
    assert_int_equal(read.io.result, 0);
    assert_memory_equal(in, out, sizeof(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_engine(refused_submit_is_tried_again, aio),
        with_engine(refused_flush_is_tried_again, aio),
        with_engine(refused_submit_is_looked_at_later, aio),
        with_engine(refused_submit_is_looked_at_whatever_is_under_way, aio),
        with_engine(refused_group_stays_one, aio),
        with_engine(other_refusals_are_told_at_once, aio),
        with_engine(after_long_refused_requests_fail_and_new_ones_get_their_time, aio),
        with_engine(result_of_the_moment_is_tried_again, threads),
        with_engine(result_of_the_moment_waits_a_little, threads),
        with_engine(result_is_told_when_it_stays_the_same, threads),
        with_engine(sync_of_the_page_cache_is_not_tried_again, threads),
        with_engine(stable_write_of_the_page_cache_is_tried_again, threads),
        with_engine(the_rest_of_a_short_transfer_goes_on_where_it_stopped, threads),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return unit_run(tests);
}
