/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A device that the kernel says is claimed: by a process that was killed and has not ended, which
 * is waited for, or by one that lives.
 */

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "core/block/image_progress.h"
#include "core/block/image_wait.h"
#include "tests/unit/dying.h"
#include "tests/unit/image_world.h"

#define MANY 50u /* more naps than anybody has patience for who lives */

/* What happens while somebody waits. */
static struct {
    unsigned naps;
    pid_t dying; /* ends after MANY of them; 0: nobody does */
    bool cancels;
    struct image_progress progress;
    char waits_for[IMAGE_WAIT_BYTES];
    char device[32];
    int loop_fd;
} world;

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)time;
    (void)rest;
    if (++world.naps != MANY) {
        return 0;
    }
    (void)image_wait_text(&world.progress, world.waits_for);
    atomic_store(&world.progress.is_unwanted, world.cancels);
    if (world.dying > 0) {
        dying_end(world.dying);
        world.dying = 0;
    }
    return 0;
}

/* Returns false where there are no loop devices for us.  It goes with the last who has it open. */
static bool attach(const char *image)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int file = open(image, O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (unsigned)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int ret = -1;

    for (unsigned i = 0; control >= 0 && file >= 0 && ret < 0 && i < 20; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);

        (void)snprintf(world.device, sizeof(world.device), "/dev/loop%d", number);
        world.loop_fd = number < 0 ? -1 : open(world.device, O_RDWR | O_CLOEXEC);
        ret = world.loop_fd < 0 ? -1 : ioctl(world.loop_fd, LOOP_CONFIGURE, &config);
        if (ret < 0 && world.loop_fd >= 0) { /* somebody else was first */
            close(world.loop_fd);
        }
    }
    close(control);
    close(file);
    return ret == 0;
}

static int start_claim_world(void **state)
{
    memset(&world, 0, sizeof(world));
    return image_world_start(state);
}

static struct image_opts claim_opts(const struct image_world *w)
{
    struct image_opts opts = image_world_opts(w, world.device, CACHE_WRITEBACK);

    opts.owner = "vdb";
    opts.progress = &world.progress;
    return opts;
}

static void hold_device(void *arg)
{
    struct image_world *w = arg;
    struct image_opts opts = claim_opts(w);
    struct image *image;

    if (image_open(&image, &opts, &w->err) < 0) {
        _exit(1);
    }
}

static void attach_or_skip(const struct image_world *w)
{
    if (!attach(w->image)) {
        skip();
    }
}

static pid_t dying_or_skip(struct image_world *w)
{
    pid_t pid;

    attach_or_skip(w);
    pid = dying_begin(hold_device, w);
    if (pid < 0) {
        close(world.loop_fd);
        skip();
    }
    return pid;
}

static void expect_waited(struct image_world *w, const struct image_opts *opts)
{
    char pid[64];

    world.dying = dying_or_skip(w);
    (void)snprintf(pid, sizeof(pid), "(pid %ld), which is ending", (long)world.dying);
    assert_int_equal(image_world_try(w, opts), 0);
    assert_true(world.naps >= MANY);
    assert_non_null(strstr(world.waits_for, pid));
    assert_false(image_wait_text(&world.progress, world.waits_for));
    close(world.loop_fd);
}

static void claim_of_a_dying_process_is_waited_for(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = claim_opts(w);

    expect_waited(w, &opts);
}

static void by_a_range_as_well(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = claim_opts(w);

    opts.range.length = IMAGE_BYTES / 2;
    expect_waited(w, &opts);
}

static void claim_of_one_that_lives_is_not(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = claim_opts(w);
    char text[32];
    pid_t pid;

    attach_or_skip(w);
    pid = living_begin(hold_device, w);
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    assert_true(world.naps < MANY);
    (void)snprintf(text, sizeof(text), "(pid %ld)", (long)pid);
    assert_non_null(strstr(w->err.text, text));
    opts.is_retry = true; /* who has it was told */
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    assert_null(strstr(w->err.text, text));
    living_end(pid);
    close(world.loop_fd);
}

static void who_is_not_wanted_any_more_stops_to_wait(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = claim_opts(w);
    pid_t pid = dying_or_skip(w);

    world.cancels = true;
    assert_int_equal(image_world_try(w, &opts), -ECANCELED);
    assert_non_null(strstr(w->err.text, "not opened any more"));
    dying_end(pid);
    close(world.loop_fd);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, start_claim_world, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(claim_of_a_dying_process_is_waited_for),
        in_world(by_a_range_as_well),
        in_world(claim_of_one_that_lives_is_not),
        in_world(who_is_not_wanted_any_more_stops_to_wait),
    };

    return unit_run(tests);
}
