/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * An image is opened from descriptors that somebody gives who has it open, as one process does to
 * the next.  Copies of them stand for what arrives there.
 */

#define _GNU_SOURCE 1
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/block/image.h"
#include "tests/unit/image_world.h"

static int copy_fd(int fd)
{
    int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);

    assert_true((fd < 0) == (copy < 0));
    return copy;
}

static struct image_given arrive(const struct image *image)
{
    struct image_given given;

    image_give(image, &given);
    given.fd = copy_fd(given.fd);
    given.witness = copy_fd(given.witness);
    for (unsigned i = 0; i < given.claims; i++) {
        given.claim[i] = copy_fd(given.claim[i]);
    }
    return given;
}

static struct image *open_first(struct image_world *w, const struct image_opts *opts)
{
    struct image *image;

    assert_int_equal(image_open(&image, opts, &w->err), 0);
    return image;
}

static struct image *open_given(struct image_world *w, struct image_opts *opts,
                                struct image_given *given)
{
    struct image *image;

    opts->given = given;
    assert_int_equal(image_open(&image, opts, &w->err), 0);
    assert_int_equal(given->fd, -1);
    assert_int_equal(given->witness, -1);
    opts->given = NULL;
    return image;
}

/* Locks are of the open file description: they last until the last who has it has gone. */
static void locks_go_along(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image *first = open_first(w, &opts);
    struct image_given given = arrive(first);
    struct image *second = open_given(w, &opts, &given);

    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    image_close(first);
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    assert_int_equal(image_facts(second)->size, IMAGE_BYTES);
    image_close(second);
    assert_int_equal(image_world_try(w, &opts), 0);
}

/* Whose next process does not come to be goes on with its locks. */
static void who_gave_it_keeps_it_when_the_other_closes(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image *first = open_first(w, &opts);
    struct image_given given = arrive(first);

    image_close(open_given(w, &opts, &given));
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    image_close(first);
}

static void the_path_is_not_asked(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image *first = open_first(w, &opts);
    struct image_given given = arrive(first);
    struct image *second;

    assert_int_equal(unlink(w->image), 0);
    image_world_make(w->image, 2 * IMAGE_BYTES);
    second = open_given(w, &opts, &given);
    assert_int_equal(image_facts(second)->size, IMAGE_BYTES);
    assert_true(image_facts(second)->had_name); /* so that it is missed */
    image_close(first);
    image_close(second);
}

static void what_was_lost_stays_lost(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image *first = open_first(w, &opts);
    struct image_given given = arrive(first);
    struct image *second;

    given.loss = (struct image_loss){.code = -EIO, .op = IO_FLUSH, .time_s = 7};
    second = open_given(w, &opts, &given);
    assert_int_equal(image_lost(second).code, -EIO);
    assert_int_equal(image_lost(second).time_s, 7);
    image_close(second);
    image_close(first);
}

/* A bare descriptor of somebody who may open it, and does not use it: it gets its locks here. */
static void what_nobody_holds_is_locked(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image_given given = {.fd = open(w->image, O_RDWR | O_CLOEXEC), .witness = -1};
    struct image *image = open_given(w, &opts, &given);

    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    given = (struct image_given){.fd = open(w->image, O_RDWR | O_CLOEXEC), .witness = -1};
    opts.given = &given;
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    assert_int_equal(given.fd, -1);
    image_close(image);
}

static void an_image_without_a_file_has_nothing_to_give(void **state)
{
    struct image_world *w = *state;
    const struct image_opts opts = {.type = "null", .size = IMAGE_BYTES};
    struct image *image = open_first(w, &opts);
    struct image_given given;

    image_give(image, &given);
    assert_int_equal(given.fd, -1);
    image_close(image);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(locks_go_along),
        in_world(who_gave_it_keeps_it_when_the_other_closes),
        in_world(the_path_is_not_asked),
        in_world(what_was_lost_stays_lost),
        in_world(what_nobody_holds_is_locked),
        in_world(an_image_without_a_file_has_nothing_to_give),
    };

    return unit_run(tests);
}
