/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/block/image_id.h"
#include "tests/unit/image_world.h"

static struct image_id id_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct image_id id;

    assert_true(fd >= 0);
    id = image_id_of_fd(fd);
    close(fd);
    return id;
}

static void file_stays_the_same_whatever_is_done_to_it(void **state)
{
    struct image_world *w = *state;
    struct image_id before = id_of(w->image);
    struct image_id after;

    assert_true(before.device != 0 && before.inode != 0);
    assert_int_equal(rename(w->image, w->other), 0);
    assert_int_equal(truncate(w->other, 2 * IMAGE_BYTES), 0);
    assert_int_equal(chmod(w->other, 0644), 0);
    after = id_of(w->other);
    assert_true(image_id_same(&before, &after));
}

static void another_file_is_not_the_same(void **state)
{
    struct image_world *w = *state;
    struct image_id a = id_of(w->image);
    struct image_id b;

    image_world_make(w->other, IMAGE_BYTES);
    b = id_of(w->other);
    assert_false(image_id_same(&a, &b));
}

/* ext4 gives the number of a file that was deleted to the next. */
static void inode_number_that_is_used_again_is_another_file(void **state)
{
    struct image_id a = {.device = makedev(8, 1), .inode = 12, .born_ns = 1000};
    struct image_id b = a;

    b.born_ns = 2000;
    assert_false(image_id_same(&a, &b));
    b.born_ns = 0; /* a file system that does not know */
    assert_true(image_id_same(&a, &b));
}

static void file_systems_without_a_device_may_be_mounted_anew(void **state)
{
    struct image_id a = {.device = makedev(0, 45), .inode = 257, .born_ns = 1000};
    struct image_id b = a;

    b.device = makedev(0, 46);
    assert_true(image_id_same(&a, &b));
    b.inode = 258;
    assert_false(image_id_same(&a, &b));
}

/* As /dev/loop1 that was /dev/loop0, within one boot. */
static void file_system_may_come_back_on_another_device(void **state)
{
    struct image_id a = {.device = makedev(7, 0), .inode = 12, .born_ns = 1000};
    struct image_id b = a;

    b.device = makedev(7, 1);
    assert_true(image_id_same(&a, &b));
    b.inode = 13;
    assert_false(image_id_same(&a, &b));
    b.inode = 12;
    b.born_ns = 2000;
    assert_false(image_id_same(&a, &b));
    b.born_ns = 0; /* a file system that does not know */
    assert_false(image_id_same(&a, &b));
}

static void device_is_known_by_its_number(void **state)
{
    struct image_id a = {.device = makedev(253, 3)};
    struct image_id b = {.device = makedev(253, 4)};
    char text[IMAGE_ID_BYTES];

    assert_false(image_id_same(&a, &b));
    assert_true(image_id_same(&a, &a));
    image_id_say(&a, text);
    assert_string_equal(text, "device 253:3");
}

static void what_cannot_be_told_is_taken_for_the_same(void **state)
{
    struct image_id a = {.device = makedev(8, 1), .inode = 12};
    struct image_id unknown = {0};

    assert_true(image_id_same(&a, &unknown));
    assert_true(image_id_same(&unknown, &a));
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(file_stays_the_same_whatever_is_done_to_it),
        in_world(another_file_is_not_the_same),
        cmocka_unit_test(inode_number_that_is_used_again_is_another_file),
        cmocka_unit_test(file_systems_without_a_device_may_be_mounted_anew),
        cmocka_unit_test(file_system_may_come_back_on_another_device),
        cmocka_unit_test(device_is_known_by_its_number),
        cmocka_unit_test(what_cannot_be_told_is_taken_for_the_same),
    };

    return unit_run(tests);
}
