/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/thread.h"
#include "core/block/path_file.h"
#include "core/block/wiper.h"
#include "tests/unit/image_world.h"

/*
 * Images whose ranges are given back and zeroed.  What the host answers can be other than it is:
 * so many calls fail with a code, of fallocate those of a mode.
 */
static struct {
    _Atomic int fallocate_code; /* errno, 0: as it is */
    _Atomic int fallocate_mode; /* bits, any of which is meant */
    _Atomic unsigned fallocate_times;
    _Atomic int fdatasync_code;
    _Atomic unsigned syncs;
    unsigned threads_refused;
    _Atomic unsigned fallocate_ms; /* how long each call takes */
    _Atomic uint64_t last_bytes;   /* of a call */
} host;

static uint64_t freed;

int __real_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (host.fallocate_code && (mode & host.fallocate_mode) && host.fallocate_times > 0) {
        host.fallocate_times--;
        errno = host.fallocate_code;
        return -1;
    }
    if (host.fallocate_ms > 0) {
        (void)usleep(host.fallocate_ms * 1000);
    }
    host.last_bytes = (uint64_t)len;
    return __real_fallocate(fd, mode, offset, len);
}

int __wrap_fdatasync(int fd)
{
    host.syncs++;
    if (host.fdatasync_code) {
        errno = host.fdatasync_code;
        return -1;
    }
    return __real_fdatasync(fd);
}

int __wrap_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    if (host.threads_refused > 0) {
        host.threads_refused--;
        return -EAGAIN;
    }
    return __real_thread_start(thread, run, arg);
}

static void refuse_fallocate(int code, int mode, unsigned times)
{
    host.fallocate_code = code;
    host.fallocate_mode = mode;
    host.fallocate_times = times;
}

static int wiper_world_start(void **state)
{
    memset(&host, 0, sizeof(host));
    freed = 0;
    return image_world_start(state);
}

/* Full of bytes that are not 0, and counted. */
static struct path *open_full(struct image_world *w, enum cache_mode cache)
{
    struct path *path = image_world_open(w, cache);
    uint8_t *data = aligned_buffer(IMAGE_BYTES);

    path->context->freed = &freed;
    assert_int_equal(operation_do(path, IO_WRITE, 0, data, IMAGE_BYTES), 0);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), 0);
    host.syncs = 0;
    free(data);
    return path;
}

static void wipe_init(struct operation *op, enum io_op kind, unsigned flags, uint64_t offset,
                      uint64_t length)
{
    operation_init(op, kind, offset, NULL, 0);
    op->io.flags = (uint16_t)flags;
    op->io.length = length;
    op->io.iov = NULL;
}

static int64_t wipe(struct path *path, enum io_op kind, unsigned flags, uint64_t offset,
                    uint64_t length)
{
    struct operation op;

    wipe_init(&op, kind, flags, offset, length);
    operation_queue(&op, path);
    assert_int_equal(op.times_done, 0);
    assert_true(operations_run(path, &op, 1));
    return op.io.result;
}

static uint64_t allocated(const struct image_world *w)
{
    struct stat st;

    assert_int_equal(stat(w->image, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* As the file has it, not the path. */
static void assert_zeroes_are(const struct image_world *w, uint64_t first, uint64_t end)
{
    uint8_t *data = malloc(IMAGE_BYTES);
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    assert_int_equal(pread(fd, data, IMAGE_BYTES, 0), IMAGE_BYTES);
    for (uint64_t i = 0; i < IMAGE_BYTES; i++) {
        if (data[i] != (i >= first && i < end ? 0 : 0xcc)) {
            fail_msg("byte %llu is %u", (unsigned long long)i, data[i]);
        }
    }
    close(fd);
    free(data);
}

#define MIB (1u << 20)

static bool makes_holes(const struct path *path)
{
    return path->node->facts.discard_block > 0;
}

/* The file system may need some blocks, or none any more, for what it knows of the file. */
static void assert_about_mib(uint64_t bytes)
{
    assert_true(bytes >= MIB - 16 * BLOCK && bytes <= MIB + 16 * BLOCK);
}

static void a_discard_gives_back_and_counts(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);
    uint64_t before = allocated(w);

    if (!makes_holes(path)) {
        skip();
    }
    assert_int_equal(wipe(path, IO_DISCARD, 0, MIB, MIB), 0);
    assert_about_mib(before - allocated(w));
    assert_about_mib(freed);
    assert_zeroes_are(w, MIB, 2 * MIB);
    assert_int_equal(wipe(path, IO_DISCARD, 0, MIB, MIB), 0);
    assert_about_mib(freed);
}

static void zeroes_that_may_be_unmapped_give_back(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_WRITEBACK);

    if (!makes_holes(path)) {
        skip();
    }
    assert_int_equal(wipe(path, IO_ZERO, IO_MAY_UNMAP, MIB, MIB), 0);
    assert_about_mib(freed);
    assert_zeroes_are(w, MIB, 2 * MIB);
}

static void stay_allocated(struct image_world *w, enum cache_mode cache)
{
    struct path *path = open_full(w, cache);
    uint64_t before = allocated(w);

    assert_int_equal(wipe(path, IO_ZERO, 0, MIB, MIB), 0);
    assert_true(allocated(w) >= before);
    assert_int_equal(freed, 0);
    assert_zeroes_are(w, MIB, 2 * MIB);
}

static void other_zeroes_stay_allocated(void **state)
{
    stay_allocated(*state, CACHE_WRITEBACK);
}

static void other_zeroes_stay_allocated_directly(void **state)
{
    stay_allocated(*state, CACHE_NONE);
}

static void zeroes_are_written_as_the_last_resort(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);
    uint64_t before = allocated(w);

    refuse_fallocate(EOPNOTSUPP, ~0, UINT32_MAX);
    assert_int_equal(wipe(path, IO_ZERO, IO_MAY_UNMAP, BLOCK, 3 * MIB), 0);
    assert_int_equal(host.fallocate_times, UINT32_MAX - 2); /* each way is asked for once */
    assert_zeroes_are(w, BLOCK, 3 * MIB + BLOCK);
    assert_true(allocated(w) >= before);
}

static void a_discard_that_cannot_be_done_changes_nothing(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_WRITEBACK);

    refuse_fallocate(EOPNOTSUPP, ~0, UINT32_MAX);
    assert_int_equal(wipe(path, IO_DISCARD, 0, MIB, MIB), 0);
    assert_int_equal(freed, 0);
    assert_zeroes_are(w, 0, 0);
}

static void sectors_within_blocks_are_zeroed_alone(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_WRITEBACK);

    assert_int_equal(wipe(path, IO_ZERO, IO_MAY_UNMAP, 512, 512), 0);
    assert_zeroes_are(w, 512, 1024);
    assert_int_equal(wipe(path, IO_ZERO, 0, 1024, BLOCK), 0);
    assert_zeroes_are(w, 512, 1024 + BLOCK);
}

/* Whoever reads waits for a piece. */
static void pieces_are_smaller_while_they_take_long(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);

    if (!makes_holes(path)) {
        skip();
    }
    host.fallocate_ms = 20;
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(wipe(path, IO_DISCARD, 0, 0, 2 * MIB), 0);
    }
    assert_int_equal(host.last_bytes, MIB);
    host.fallocate_ms = 0;
    for (unsigned i = 0; i < 100 && host.last_bytes == MIB; i++) {
        assert_int_equal(wipe(path, IO_DISCARD, 0, 0, 2 * MIB), 0);
    }
    assert_int_equal(host.last_bytes, 2 * MIB);
}

static void a_short_one_does_not_wait_for_a_long_one(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);
    struct operation ops[3];

    refuse_fallocate(EOPNOTSUPP, ~0, UINT32_MAX); /* so pieces have 1 MiB */
    wipe_init(&ops[0], IO_ZERO, 0, 0, 3 * MIB);
    wipe_init(&ops[1], IO_ZERO, 0, 3 * MIB, BLOCK);
    wipe_init(&ops[2], IO_ZERO, 0, 3 * MIB + BLOCK, BLOCK);
    for (unsigned i = 0; i < 3; i++) {
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, 3));
    assert_true(ops[1].order < ops[0].order && ops[2].order < ops[0].order);
    assert_zeroes_are(w, 0, 3 * MIB + 2 * BLOCK);
}

static void discards_are_left_off_when_somebody_has_waited(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);
    struct operation ops[2];

    if (!makes_holes(path)) {
        skip();
    }
    path->context->hurry_ns = now_ns() + 3600 * NS_PER_S; /* not yet */
    assert_int_equal(wipe(path, IO_DISCARD, 0, 0, MIB), 0);
    assert_zeroes_are(w, 0, MIB);
    path->context->hurry_ns = now_ns();
    wipe_init(&ops[0], IO_DISCARD, 0, MIB, MIB);
    wipe_init(&ops[1], IO_ZERO, IO_MAY_UNMAP, 0, 2 * BLOCK);
    operation_queue(&ops[0], path);
    operation_queue(&ops[1], path);
    assert_true(operations_run(path, ops, 2));
    assert_int_equal(ops[0].io.result, 0);
    assert_int_equal(ops[1].io.result, 0);
    assert_zeroes_are(w, 0, MIB);
    assert_int_equal(wipe(path, IO_ZERO, 0, MIB, MIB), 0); /* that is no hint */
    assert_zeroes_are(w, 0, 2 * MIB);
    path->context->hurry_ns = 0;
    assert_int_equal(wipe(path, IO_DISCARD, 0, 2 * MIB, MIB), 0);
    assert_zeroes_are(w, 0, 3 * MIB);
}

static void many_go_beside_reads_and_writes(void **state)
{
    enum { COUNT = 300 };
    struct path *path = open_full(*state, CACHE_NONE);
    struct operation *ops = calloc(COUNT, sizeof(*ops));
    uint8_t *data = aligned_buffer(BLOCK);

    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t offset = i * BLOCK;

        if (i % 3 == 0) {
            operation_init(&ops[i], IO_WRITE, offset, data, BLOCK);
        } else {
            wipe_init(&ops[i], i % 3 == 1 ? IO_DISCARD : IO_ZERO, IO_MAY_UNMAP, offset, BLOCK);
        }
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, COUNT));
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(ops[i].io.result, 0);
    }
    free(data);
    free(ops);
}

static void zeroes_are_stable_where_that_is_asked_for(void **state)
{
    struct path *path = open_full(*state, CACHE_NONE);

    assert_int_equal(wipe(path, IO_ZERO, 0, 0, MIB), 0);
    assert_int_equal(host.syncs, 0);
    assert_int_equal(wipe(path, IO_ZERO, IO_FUA, 0, MIB), 0);
    assert_int_equal(host.syncs, 1);
}

static void a_sync_after_zeroes_that_fails_fails_all_later_ones(void **state)
{
    struct path *path = open_full(*state, CACHE_WRITETHROUGH);

    host.fdatasync_code = EIO;
    assert_int_equal(wipe(path, IO_ZERO, IO_FUA, 0, MIB), -EIO);
    host.fdatasync_code = 0;
    assert_int_equal(wipe(path, IO_ZERO, IO_FUA, 0, MIB), -EIO);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), -EIO);
    assert_int_equal(wipe(path, IO_ZERO, 0, 0, MIB), 0);
}

static void errors_are_told_and_leave_others_alone(void **state)
{
    struct path *path = open_full(*state, CACHE_WRITEBACK);
    struct operation ops[2];

    refuse_fallocate(EIO, FALLOC_FL_PUNCH_HOLE, UINT32_MAX);
    wipe_init(&ops[0], IO_DISCARD, 0, 0, MIB);
    wipe_init(&ops[1], IO_ZERO, 0, MIB, MIB);
    operation_queue(&ops[0], path);
    operation_queue(&ops[1], path);
    assert_true(operations_run(path, ops, 2));
    assert_int_equal(ops[0].io.result, -EIO);
    assert_int_equal(ops[1].io.result, 0);
}

static void what_the_kernel_has_no_room_for_goes_again(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);

    refuse_fallocate(ENOMEM, ~0, 3);
    assert_int_equal(wipe(path, IO_ZERO, IO_MAY_UNMAP, MIB, MIB), 0);
    assert_int_equal(host.fallocate_times, 0);
    assert_zeroes_are(w, MIB, 2 * MIB);
}

static void a_helper_that_cannot_be_had_is_waited_for(void **state)
{
    struct image_world *w = *state;
    struct path *path = open_full(w, CACHE_NONE);

    host.threads_refused = 3;
    assert_int_equal(wipe(path, IO_ZERO, IO_MAY_UNMAP, MIB, MIB), 0);
    assert_int_equal(host.threads_refused, 0);
    assert_zeroes_are(w, MIB, 2 * MIB);
}

static void what_goes_on_in_a_reap_is_begun(void **state)
{
    struct path *path = open_full(*state, CACHE_NONE);
    struct operation op;

    wipe_init(&op, IO_ZERO, 0, 0, BLOCK);
    operation_queue(&op, path);
    assert_true(path->ops->leaf->is_held_back(path));
    assert_true(operations_run(path, &op, 1));
    assert_false(path->ops->leaf->is_held_back(path));
}

static void a_file_says_what_it_can_do(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct path *path = image_world_open(w, CACHE_WRITEBACK);

    assert_true(path->node->facts.can_zero);
    if (makes_holes(path)) {
        assert_true(is_power_of_2(path->node->facts.discard_block));
        assert_true(path->node->facts.discard_block >= 512);
    }
    way_close(&w->way);
    opts.is_readonly = true;
    path = image_world_open_with(w, &opts);
    assert_false(path->node->facts.can_zero);
    assert_int_equal(path->node->facts.discard_block, 0);
}

/* tmpfs knows no ZERO_RANGE.  Needs the right to mount. */
static void tmpfs_is_zeroed_and_given_back_and_may_be_full(void **state)
{
    struct image_world *w = *state;
    int64_t zero_result, hole_result, full_result;
    uint64_t before, after;

    assert_int_equal(unlink(w->image), 0);
    if (mount("none", w->dir, "tmpfs", 0, "size=6m") < 0) {
        image_world_make(w->image, IMAGE_BYTES);
        skip();
    }
    image_world_make(w->image, IMAGE_BYTES);
    (void)open_full(w, CACHE_WRITEBACK);
    before = allocated(w);
    zero_result = wipe(w->way.path, IO_ZERO, 0, MIB, MIB);
    assert_zeroes_are(w, MIB, 2 * MIB);
    after = allocated(w);
    hole_result = wipe(w->way.path, IO_ZERO, IO_MAY_UNMAP, MIB, MIB);
    image_world_make(w->other, 0);
    assert_int_equal(truncate(w->other, 3 * MIB), 0);
    int fd = open(w->other, O_RDWR | O_CLOEXEC);
    assert_int_equal(__real_fallocate(fd, 0, 0, 3 * MIB), 0);
    full_result = wipe(w->way.path, IO_ZERO, 0, MIB, MIB);
    close(fd);
    way_close(&w->way);
    unlink(w->image);
    unlink(w->other);
    assert_int_equal(umount(w->dir), 0);
    assert_int_equal(zero_result, 0);
    assert_int_equal(after, before);
    assert_int_equal(hole_result, 0);
    assert_about_mib(freed);
    assert_int_equal(full_result, -ENOSPC);
}

#undef by_engine
#define by_engine(test, which)                                                                     \
    {                                                                                              \
#test ", " #which, test, wiper_world_start, image_world_stop, (void *)&image_world_##which \
    }

#define in_world(test) cmocka_unit_test_setup_teardown(test, wiper_world_start, image_world_stop)

/* Once for each engine, as a wiper signals by what that has. */
#define wiper_tests(by)                                                             \
    by(a_discard_gives_back_and_counts), by(zeroes_that_may_be_unmapped_give_back), \
        by(other_zeroes_stay_allocated), by(other_zeroes_stay_allocated_directly),  \
        by(many_go_beside_reads_and_writes), by(a_helper_that_cannot_be_had_is_waited_for)

int main(void)
{
    const struct CMUnitTest tests[] = {
        wiper_tests(by_aio),
        wiper_tests(by_threads),
        for_uring(wiper_tests) in_world(zeroes_are_written_as_the_last_resort),
        in_world(a_discard_that_cannot_be_done_changes_nothing),
        in_world(sectors_within_blocks_are_zeroed_alone),
        in_world(pieces_are_smaller_while_they_take_long),
        in_world(a_short_one_does_not_wait_for_a_long_one),
        in_world(discards_are_left_off_when_somebody_has_waited),
        in_world(zeroes_are_stable_where_that_is_asked_for),
        in_world(a_sync_after_zeroes_that_fails_fails_all_later_ones),
        in_world(errors_are_told_and_leave_others_alone),
        in_world(what_the_kernel_has_no_room_for_goes_again),
        in_world(what_goes_on_in_a_reap_is_begun),
        in_world(a_file_says_what_it_can_do),
        in_world(tmpfs_is_zeroed_and_given_back_and_may_be_full),
    };

    return unit_run(tests);
}
