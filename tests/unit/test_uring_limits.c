/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cpus.h"
#include "core/block/engine.h"

/* What goes by a ring of ours is seen by no filter of system calls, so the ring itself refuses. */

#ifdef HAVE_LIBURING

#include <liburing.h>

struct world {
    int image;
    struct engine *engine;
    int ring_fd; /* the engine's */
};

static bool is_ring(int fd)
{
    char path[64];
    char link[64] = "";

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return readlink(path, link, sizeof(link) - 1) > 0 && strcmp(link, "anon_inode:[io_uring]") == 0;
}

static int start(void **state)
{
    static struct world w;
    char name[] = "/tmp/vblk-uring.XXXXXX";
    struct err err = {0};
    struct engine_opts opts = {.wanted = 16, .path = name};

    w = (struct world){.image = mkstemp(name), .ring_fd = -1};
    assert_true(w.image >= 0 && unlink(name) == 0 && ftruncate(w.image, 4096) == 0);
    opts.fd = w.image;
    if (engine_uring_ops.open(&w.engine, &opts, &err) < 0) {
        w.engine = NULL; /* not to be had here: nothing to test */
    }
    for (int fd = 0; w.engine && fd < 100; fd++) {
        w.ring_fd = is_ring(fd) ? fd : w.ring_fd;
    }
    *state = &w;
    return 0;
}

static int stop(void **state)
{
    struct world *w = *state;

    if (w->engine) {
        engine_uring_ops.close(w->engine);
    }
    close(w->image);
    return 0;
}

static struct world *world_of(void **state)
{
    struct world *w = *state;

    if (!w->engine) {
        skip();
    }
    assert_true(w->ring_fd >= 0);
    return w;
}

/* The engine's ring once more, as whoever has broken in could use it; closed by
 * io_uring_queue_exit. */
static void map_again(const struct world *w, struct io_uring *ring)
{
    struct io_uring_params params = {0};
    struct io_uring like_it;

    assert_int_equal(io_uring_queue_init_params(16, &like_it, &params), 0);
    io_uring_queue_exit(&like_it);
    assert_int_equal(io_uring_queue_mmap(dup(w->ring_fd), &params, ring), 0);
    ring->sq.sqe_head = *ring->sq.khead; /* the second who maps it begins where the first is */
    ring->sq.sqe_tail = *ring->sq.ktail;
}

static int64_t reap_one(const struct world *w)
{
    struct engine_event event;

    while (engine_uring_ops.reap(w->engine, &event, 1) == 0) {
    }
    return event.result;
}

static int64_t try_op(const struct world *w, void (*prepare)(struct io_uring_sqe *sqe, int fd))
{
    struct io_uring ring;
    struct io_uring_sqe *sqe;

    map_again(w, &ring);
    sqe = io_uring_get_sqe(&ring);
    assert_non_null(sqe);
    prepare(sqe, w->image);
    sqe->user_data = 1;
    assert_int_equal(io_uring_submit(&ring), 1);
    io_uring_queue_exit(&ring);
    return reap_one(w);
}

static void prepare_openat(struct io_uring_sqe *sqe, int fd)
{
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}

static void prepare_close(struct io_uring_sqe *sqe, int fd)
{
    io_uring_prep_close(sqe, fd);
}

static void prepare_linked_fsync(struct io_uring_sqe *sqe, int fd)
{
    io_uring_prep_fsync(sqe, fd, 0);
    sqe->flags = IOSQE_IO_LINK;
}

static void prepare_own_fsync(struct io_uring_sqe *sqe, int fd)
{
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
}

static void a_ring_does_what_images_need_and_nothing_else(void **state)
{
    const struct world *w = world_of(state);

    assert_int_equal(try_op(w, prepare_own_fsync), 0);
    assert_int_equal(try_op(w, prepare_openat), -EACCES);
    assert_int_equal(try_op(w, prepare_close), -EACCES);
    assert_int_equal(try_op(w, prepare_linked_fsync), -EACCES);
    assert_int_equal(try_op(w, prepare_own_fsync), 0);
}

static void nothing_is_registered_any_more_but_the_processors(void **state)
{
    const struct world *w = world_of(state);
    struct io_uring ring = {.ring_fd = w->ring_fd, .enter_ring_fd = w->ring_fd};
    struct cpus cpus;

    assert_int_equal(io_uring_register_files(&ring, &w->image, 1), -EACCES);
    assert_int_equal(io_uring_unregister_eventfd(&ring), -EACCES);
    cpus_of(&cpus, 0);
    assert_int_equal(
        io_uring_register_iowq_aff(&ring, sizeof(cpus.word), (const cpu_set_t *)cpus.word), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ring_does_what_images_need_and_nothing_else, start, stop),
        cmocka_unit_test_setup_teardown(nothing_is_registered_any_more_but_the_processors, start,
                                        stop),
    };

    return unit_run(tests);
}

#else

static void there_is_no_io_uring(void **state)
{
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_is_no_io_uring)};

    return unit_run(tests);
}

#endif
