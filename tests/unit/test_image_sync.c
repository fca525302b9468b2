/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/image_world.h"
#include "tests/unit/operation.h"

/*
 * A file system that takes writes and cannot write them back: ext4 on a loop device, whose own
 * file lies on a tmpfs that is smaller than it says.
 */
#define CHUNK (1u << 20)
#define CHUNKS 24u

__attribute__((format(printf, 1, 2))) static bool run(const char *fmt, ...)
{
    char command[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    return system(command) == 0;
}

/* Leaves the world as it was, and skips the test, where it may not mount. */
static void make_leaky(struct image_world *w)
{
    if (!run("PATH=$PATH:/usr/sbin:/sbin && cd %s && mkdir small fs && "
             "mount -t tmpfs -o size=12m none small && truncate -s 64M small/disk && "
             "mkfs.ext4 -q -F -O ^has_journal small/disk && "
             "mount -o loop small/disk fs && truncate -s 32M fs/image 2>/dev/null",
             w->dir)) {
        (void)run("cd %s && umount small 2>/dev/null; rmdir small fs", w->dir);
        skip();
    }
    (void)unlink(w->image);
    (void)snprintf(w->image, sizeof(w->image), "%s/fs/image", w->dir);
}

static int leaky_stop(void **state)
{
    struct image_world *w = *state;

    way_close(&w->way);
    (void)run("cd %s && [ ! -d fs ] || { umount fs; umount small; rmdir fs small; }", w->dir);
    return image_world_stop(state);
}

static void open_leaky(struct image_world *w, enum cache_mode cache)
{
    struct image_opts opts = image_world_opts(w, w->image, cache);

    make_leaky(w);
    image_world_open_with(w, &opts);
}

/* More than there is room for; the result of the last. */
static int64_t write_all(struct path *path, bool is_fua)
{
    uint8_t *data = aligned_buffer(CHUNK);
    int64_t result = 0;

    for (unsigned i = 0; i < CHUNKS && result == 0; i++) {
        struct operation op;

        operation_init(&op, IO_WRITE, (uint64_t)i * CHUNK, data, CHUNK);
        op.io.flags = is_fua ? IO_FUA : 0;
        operation_queue(&op, path);
        assert_true(operations_run(path, &op, 1));
        result = op.io.result;
    }
    free(data);
    return result;
}

static int64_t flush(struct path *path)
{
    return operation_do(path, IO_FLUSH, 0, NULL, 0);
}

/* What the kernel has forgotten after the second. */
static void expect_flushes_to_fail(struct path *path)
{
    for (unsigned i = 0; i < 5; i++) {
        assert_true(flush(path) < 0);
    }
}

static void flush_that_failed_fails_all_later_ones(void **state)
{
    struct image_world *w = *state;
    int64_t before = time(NULL);
    struct image_loss loss;

    open_leaky(w, CACHE_WRITEBACK);
    assert_int_equal(image_lost(w->way.image).code, 0);
    assert_int_equal(write_all(w->way.path, false), 0);
    expect_flushes_to_fail(w->way.path);
    loss = image_lost(w->way.image);
    assert_true(loss.code == -ENOSPC || loss.code == -EIO);
    assert_int_equal(loss.op, IO_FLUSH);
    assert_true(loss.time_s >= before && loss.time_s <= time(NULL));
}

static void later_flushes_do_not_reach_the_kernel(void **state)
{
    struct image_world *w = *state;
    struct submitted submitted;
    struct operation op;

    open_leaky(w, CACHE_WRITEBACK);
    assert_int_equal(write_all(w->way.path, false), 0);
    assert_true(flush(w->way.path) < 0);
    operation_init(&op, IO_FLUSH, 0, NULL, 0);
    operation_queue(&op, w->way.path);
    assert_int_equal(op.times_done, 0);
    submitted = context_submit(&w->way.context);
    assert_int_equal(submitted.calls, 0);
    assert_int_equal(op.times_done, 1);
    assert_true(op.io.result < 0);
}

static void failed_flush_of_one_lane_is_the_others_too(void **state)
{
    struct image_world *w = *state;
    struct context context = {0};
    struct path *other;

    open_leaky(w, CACHE_WRITEBACK);
    assert_int_equal(path_open(&other, w->way.image->root, &context, &w->err), 0);
    assert_int_equal(write_all(other, false), 0);
    assert_true(flush(w->way.path) < 0);
    expect_flushes_to_fail(other);
    path_close(other);
}

static void image_that_is_opened_anew_can_be_flushed(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts;
    uint8_t data[512] = {0};

    open_leaky(w, CACHE_WRITEBACK);
    assert_int_equal(write_all(w->way.path, false), 0);
    expect_flushes_to_fail(w->way.path);
    way_close(&w->way);
    assert_true(run("rm -f %s && truncate -s 32M %s", w->image, w->image));
    opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    image_world_open_with(w, &opts);
    assert_int_equal(operation_do(w->way.path, IO_READ, 0, data, sizeof(data)), 0);
    assert_int_equal(flush(w->way.path), 0);
    assert_int_equal(image_lost(w->way.image).code, 0);
}

/* The image's own descriptor: what all lanes share. */
static int fd_of(const char *path)
{
    DIR *dir = opendir("/proc/self/fd");
    char *image = realpath(path, NULL);
    struct dirent *entry;
    int fd = -1;

    assert_non_null(dir);
    while (fd < 0 && (entry = readdir(dir))) {
        char link[320], target[512] = "";

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
        if (readlink(link, target, sizeof(target) - 1) > 0 && strcmp(target, image) == 0 &&
            (fcntl(atoi(entry->d_name), F_GETFL) & O_ACCMODE) == O_RDWR) {
            fd = atoi(entry->d_name);
        }
    }
    free(image);
    closedir(dir);
    return fd;
}

/* As when two flushes are under way, and the one that was told has not come back yet. */
static void take_the_error_away(const struct image_world *w)
{
    int fd = fd_of(w->image);
    unsigned failed = 0;

    assert_true(fd >= 0);
    while (fdatasync(fd) < 0) {
        failed++;
        assert_true(failed < 10);
    }
    assert_true(failed > 0);
}

static void error_that_another_flush_was_told_of_is_seen(void **state)
{
    struct image_world *w = *state;

    open_leaky(w, CACHE_WRITEBACK);
    assert_int_equal(write_all(w->way.path, false), 0);
    take_the_error_away(w);
    expect_flushes_to_fail(w->way.path);
}

static void error_that_a_flush_was_told_of_is_seen_by_a_stable_write(void **state)
{
    struct image_world *w = *state;
    uint8_t data[512] = {0};
    struct operation op;

    open_leaky(w, CACHE_WRITEBACK);
    assert_int_equal(write_all(w->way.path, false), 0);
    take_the_error_away(w);
    operation_init(&op, IO_WRITE, 0, data, sizeof(data));
    op.io.flags = IO_FUA;
    operation_queue(&op, w->way.path);
    assert_true(operations_run(w->way.path, &op, 1));
    assert_true(op.io.result < 0);
    expect_flushes_to_fail(w->way.path);
}

static void stable_write_that_failed_is_a_flush_that_failed(void **state)
{
    struct image_world *w = *state;

    open_leaky(w, CACHE_WRITETHROUGH);
    assert_true(write_all(w->way.path, true) < 0);
    expect_flushes_to_fail(w->way.path);
    assert_int_equal(image_lost(w->way.image).op, IO_WRITE);
}

/* What was answered before is with the device; what was not has its own error. */
static void direct_image_has_nothing_to_lose(void **state)
{
    struct image_world *w = *state;

    open_leaky(w, CACHE_NONE);
    assert_true(write_all(w->way.path, false) < 0);
    assert_int_equal(image_lost(w->way.image).code, 0);
}

static int64_t write_stable(struct path *path, uint64_t offset, void *data, size_t len)
{
    struct operation op;

    operation_init(&op, IO_WRITE, offset, data, len);
    op.io.flags = IO_FUA;
    operation_queue(&op, path);
    return operations_run(path, &op, 1) ? op.io.result : -ETIMEDOUT;
}

static void stable_write_that_never_began_is_no_loss(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITETHROUGH);
    uint8_t data[512] = {0};
    struct rlimit old, limit;
    int64_t result;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* which objects to bad memory */
    }
    assert_int_equal(write_stable(path, 0, (void *)4096, 512), -EFAULT);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    result = write_stable(path, 2 << 20, data, 512);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(flush(path), 0);
    assert_int_equal(write_stable(path, 0, data, 512), 0);
    assert_int_equal(image_lost(w->way.image).code, 0);
}

/* The full file system says so at once: nothing of the page is there that could be lost. */
static void stable_write_without_room_is_no_loss(void **state)
{
    struct image_world *w = *state;
    int64_t result, flushed;

    assert_int_equal(unlink(w->image), 0);
    if (mount("none", w->dir, "tmpfs", 0, "size=4m") < 0) {
        image_world_make(w->image, IMAGE_BYTES);
        skip();
    }
    image_world_make(w->image, CHUNK * CHUNKS);
    image_world_open(w, CACHE_WRITETHROUGH);
    result = write_all(w->way.path, true);
    flushed = flush(w->way.path);
    way_close(&w->way);
    (void)unlink(w->image);
    assert_int_equal(umount(w->dir), 0);
    assert_int_equal(result, -ENOSPC);
    assert_int_equal(flushed, 0);
}

#define leaky_by(test, which)                                                                \
    {                                                                                        \
#test ", " #which, test, image_world_start, leaky_stop, (void *)&image_world_##which \
    }
#define leaky_by_aio(test) leaky_by(test, aio)
#define leaky_by_threads(test) leaky_by(test, threads)
#define leaky_by_uring(test) leaky_by(test, uring)

#define engine_tests(by)                                                                           \
    by(flush_that_failed_fails_all_later_ones), by(later_flushes_do_not_reach_the_kernel),         \
        by(failed_flush_of_one_lane_is_the_others_too),                                            \
        by(stable_write_that_failed_is_a_flush_that_failed), by(direct_image_has_nothing_to_lose), \
        by(stable_write_that_never_began_is_no_loss)

#ifdef HAVE_LIBURING
#define leaky_for_uring(list) list(leaky_by_uring),
#else
#define leaky_for_uring(list)
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_tests(leaky_by_aio),
        engine_tests(leaky_by_threads),
        leaky_for_uring(engine_tests) leaky_by_aio(image_that_is_opened_anew_can_be_flushed),
        leaky_by_aio(error_that_another_flush_was_told_of_is_seen),
        leaky_by_aio(error_that_a_flush_was_told_of_is_seen_by_a_stable_write),
        leaky_by_aio(stable_write_without_room_is_no_loss),
    };

    return unit_run(tests);
}
