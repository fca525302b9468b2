/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Whom a disk waits for before it uses its image: a process that was killed and has not ended, and
 * I/O that goes on without one.
 */

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "core/base/file_lock.h"
#include "core/base/holder.h"
#include "core/block/image_fence.h"
#include "core/block/image_id.h"
#include "core/block/image_progress.h"
#include "core/block/image_wait.h"
#include "tests/unit/dying.h"
#include "tests/unit/image_world.h"

#define FENCE 0xfedcba9876543210u
#define MANY 50u /* more naps than anybody has patience for who lives */

/* What happens while somebody waits. */
static struct {
    unsigned naps;
    unsigned after; /* so many of them */
    pid_t dying;    /* ends, 0: nobody does */
    int adrift;     /* ends, -1: nothing does */
    struct image_progress *progress;
    bool cancels;
    char waits_for[IMAGE_WAIT_BYTES];
} world;

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)time;
    (void)rest;
    if (++world.naps != world.after) {
        return 0;
    }
    if (world.progress) {
        (void)image_wait_text(world.progress, world.waits_for);
        atomic_store(&world.progress->is_unwanted, world.cancels);
    }
    if (world.dying > 0) {
        dying_end(world.dying);
    }
    if (world.adrift >= 0) {
        adrift_end(world.adrift);
    }
    return 0;
}

static int start_fence_world(void **state)
{
    memset(&world, 0, sizeof(world));
    world.after = MANY;
    world.adrift = -1;
    return image_world_start(state);
}

static struct image_opts fenced_opts(const struct image_world *w, uint64_t fence)
{
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    opts.fence = fence;
    opts.is_shareable = true;
    opts.owner = "vda";
    return opts;
}

static void hold_fence(void *arg)
{
    const struct image_world *w = arg;
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || image_fence_set(fd, FENCE) < 0) {
        _exit(1);
    }
}

static void hold_image(void *arg)
{
    struct image_world *w = arg;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image *image;

    if (image_open(&image, &opts, &w->err) < 0) {
        _exit(1);
    }
}

static void hold_flock(void *arg)
{
    const struct image_world *w = arg;
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || file_lock(fd) < 0) {
        _exit(1);
    }
}

static void hold_all_bytes(void *arg)
{
    const struct image_world *w = arg;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        _exit(1);
    }
}

static pid_t dying_or_skip(void (*hold)(void *arg), void *arg)
{
    pid_t pid = dying_begin(hold, arg);

    if (pid < 0) {
        skip();
    }
    return pid;
}

static struct holder find_holder(const struct image_world *w)
{
    static const struct lock_span any = {.len = 0};
    struct holder holder = {0};
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    (void)holder_find(fd, &any, &holder);
    close(fd);
    return holder;
}

static void dying_holder_is_told_from_one_that_lives(void **state)
{
    struct image_world *w = *state;
    struct holder holder;
    pid_t pid = living_begin(hold_fence, w);

    holder = find_holder(w);
    assert_int_equal(holder.pid, pid);
    assert_false(holder.is_dying);
    living_end(pid);
    pid = dying_or_skip(hold_fence, w);
    holder = find_holder(w);
    assert_int_equal(holder.pid, pid);
    assert_true(holder.is_dying);
    dying_end(pid);
    assert_int_equal(find_holder(w).pid, 0);
}

static void disk_waits_for_its_predecessor_that_dies(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    struct image_progress progress = {0};
    char pid[64];

    opts.progress = &progress;
    world.progress = &progress;
    world.dying = dying_or_skip(hold_fence, w);
    (void)snprintf(pid, sizeof(pid), "(pid %ld), which is ending", (long)world.dying);
    assert_int_equal(image_world_try(w, &opts), 0);
    assert_true(world.naps >= MANY);
    assert_non_null(strstr(world.waits_for, pid));
    assert_false(image_wait_text(&progress, world.waits_for));
}

static void disk_waits_for_what_is_under_way_for_nobody(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    struct image_progress progress = {0};
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    opts.progress = &progress;
    opts.is_readonly = true;
    world.progress = &progress;
    assert_int_equal(image_fence_set(fd, FENCE), 0);
    world.adrift = adrift_begin(fd);
    assert_int_equal(image_world_try(w, &opts), 0);
    assert_true(world.naps >= MANY);
    assert_non_null(strstr(world.waits_for, "a process that has gone"));
}

static void other_disk_of_the_image_does_not_wait(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE + 1);
    pid_t pid = dying_or_skip(hold_fence, w);

    assert_int_equal(image_world_try(w, &opts), 0);
    assert_int_equal(world.naps, 0);
    dying_end(pid);
}

static void lock_of_a_dying_process_is_waited_for(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    world.dying = dying_or_skip(hold_image, w);
    assert_int_equal(image_world_try(w, &opts), 0);
    assert_true(world.naps >= MANY);
}

static void lock_of_a_process_that_lives_is_not(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    pid_t pid = living_begin(hold_image, w);
    char text[32];

    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    assert_true(world.naps < MANY);
    (void)snprintf(text, sizeof(text), "(pid %ld)", (long)pid);
    assert_non_null(strstr(w->err.text, text));
    living_end(pid);
}

static void fence_of_a_process_that_lives_refuses(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    pid_t pid = living_begin(hold_fence, w);
    char text[32];

    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    (void)snprintf(text, sizeof(text), "(pid %ld)", (long)pid);
    assert_non_null(strstr(w->err.text, text));
    living_end(pid);
}

static void image_that_the_disk_has_is_told_as_its_own(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    assert_int_equal(image_fence_set(fd, FENCE), 0);
    opts.ours = image_id_of_fd(fd);
    assert_int_equal(image_world_try(w, &opts), -EALREADY);
    assert_int_equal(world.naps, 0);
    close(fd);
}

/* As with a disk that is removed and added again while the closing of its image hangs. */
static void own_opening_for_the_disk_is_not_waited_for(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    struct image *first;

    assert_int_equal(image_open(&first, &opts, &w->err), 0);
    assert_int_equal(image_world_try(w, &opts), 0);
    assert_int_equal(world.naps, 0);
    image_close(first);
}

static void what_it_has_closed_is_no_excuse(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    pid_t pid;

    assert_int_equal(image_world_try(w, &opts), 0);
    pid = living_begin(hold_fence, w);
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    living_end(pid);
}

static void lock_on_all_bytes_is_no_fence(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    pid_t pid = living_begin(hold_all_bytes, w);
    struct err err = {0};

    assert_int_equal(image_fence_await(&opts, &err), 0);
    assert_int_equal(world.naps, 0);
    living_end(pid);
}

static void who_is_not_wanted_any_more_stops_to_wait(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = fenced_opts(w, FENCE);
    struct image_progress progress = {0};
    pid_t pid = dying_or_skip(hold_fence, w);

    opts.progress = &progress;
    world.progress = &progress;
    world.cancels = true;
    assert_int_equal(image_world_try(w, &opts), -ECANCELED);
    dying_end(pid);
    pid = dying_or_skip(hold_image, w);
    opts.is_shareable = false;
    atomic_store(&progress.is_unwanted, false);
    world.naps = 0;
    assert_int_equal(image_world_try(w, &opts), -ECANCELED);
    dying_end(pid);
}

/* ---- the lock of a socket, or of a directory ---- */

static bool is_told_to_end(void)
{
    return world.cancels && world.naps >= MANY;
}

static void file_lock_of_a_dying_process_is_waited_for(void **state)
{
    struct image_world *w = *state;

    world.dying = dying_or_skip(hold_flock, w);
    assert_int_equal(file_lock_await(w->image, "test", is_told_to_end), 0);
    assert_true(world.naps >= MANY);
}

static void file_lock_of_one_that_lives_is_not(void **state)
{
    struct image_world *w = *state;
    pid_t pid = living_begin(hold_flock, w);

    assert_int_equal(file_lock_await(w->image, "test", is_told_to_end), 0);
    assert_int_equal(world.naps, 0);
    living_end(pid);
    assert_int_equal(file_lock_await(w->image, "test", is_told_to_end), 0);
    assert_int_equal(file_lock_await("/nowhere", "test", is_told_to_end), 0);
}

static void who_is_told_to_end_does_not_wait_for_a_file_lock(void **state)
{
    struct image_world *w = *state;
    pid_t pid = dying_or_skip(hold_flock, w);

    world.cancels = true;
    assert_int_equal(file_lock_await(w->image, "test", is_told_to_end), -ECANCELED);
    dying_end(pid);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, start_fence_world, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(dying_holder_is_told_from_one_that_lives),
        in_world(disk_waits_for_its_predecessor_that_dies),
        in_world(disk_waits_for_what_is_under_way_for_nobody),
        in_world(other_disk_of_the_image_does_not_wait),
        in_world(lock_of_a_dying_process_is_waited_for),
        in_world(lock_of_a_process_that_lives_is_not),
        in_world(fence_of_a_process_that_lives_refuses),
        in_world(image_that_the_disk_has_is_told_as_its_own),
        in_world(own_opening_for_the_disk_is_not_waited_for),
        in_world(what_it_has_closed_is_no_excuse),
        in_world(lock_on_all_bytes_is_no_fence),
        in_world(who_is_not_wanted_any_more_stops_to_wait),
        in_world(file_lock_of_a_dying_process_is_waited_for),
        in_world(file_lock_of_one_that_lives_is_not),
        in_world(who_is_told_to_end_does_not_wait_for_a_file_lock),
    };

    return unit_run(tests);
}
