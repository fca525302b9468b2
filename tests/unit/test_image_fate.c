/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/block/image_fate.h"
#include "tests/unit/image_world.h"

struct world {
    struct image_world *image;
    int fd;
    bool had_name;
    struct image_fate fate;
    char text[600];
};

static struct world world;

static int start(void **state)
{
    int ret = image_world_start(state);

    world = (struct world){.image = *state, .had_name = true};
    world.fd = open(world.image->image, O_RDWR | O_CLOEXEC);
    assert_true(world.fd >= 0);
    return ret;
}

static int stop(void **state)
{
    close(world.fd);
    return image_world_stop(state);
}

static enum image_fate_kind look(void)
{
    image_fate_look(&world.fate, world.image->image, world.fd, world.had_name);
    image_fate_say(&world.fate, world.image->image, world.fd, world.text, sizeof(world.text));
    return world.fate.kind;
}

static void expect_text(const char *part)
{
    if (!strstr(world.text, part)) {
        print_error("%s\n", world.text);
        fail();
    }
}

static void expect_line_that_saves(void)
{
    char line[96];

    (void)snprintf(line, sizeof(line), "cp --sparse=always /proc/%d/fd/%d /SOMEWHERE",
                   (int)getpid(), world.fd);
    expect_text(line);
}

static void image_that_is_there_is_nothing_to_talk_of(void **state)
{
    assert_int_equal(look(), IMAGE_THERE);
    assert_string_equal(world.text, "");
}

static void image_behind_a_link_is_there(void **state)
{
    assert_int_equal(rename(world.image->image, world.image->other), 0);
    assert_int_equal(symlink(strrchr(world.image->other, '/') + 1, world.image->image), 0);
    assert_int_equal(look(), IMAGE_THERE);
    assert_int_equal(unlink(world.image->image), 0);
    assert_int_equal(link(world.image->other, world.image->image), 0);
    assert_int_equal(look(), IMAGE_THERE);
}

static void deleted_image_is_told_with_the_line_that_saves_it(void **state)
{
    assert_int_equal(unlink(world.image->image), 0);
    assert_int_equal(look(), IMAGE_DELETED);
    assert_true(image_fate_is_danger(&world.fate));
    expect_text("the image was deleted, and its data is lost when it is closed");
    expect_line_that_saves();
    expect_text(world.image->image);
    assert_true(world.fate.id.inode != 0);
}

/* As one that is bind-mounted is, which only root can do. */
static void deleted_image_that_its_path_still_leads_to_is_deleted(void **state)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", world.fd);
    image_fate_look(&world.fate, path, world.fd, true);
    assert_int_equal(world.fate.kind, IMAGE_THERE);
    assert_int_equal(unlink(world.image->image), 0);
    image_fate_look(&world.fate, path, world.fd, true);
    assert_int_equal(world.fate.kind, IMAGE_DELETED);
    assert_false(world.fate.has_name);
}

/* As that of /proc/PID/fd/N that somebody else has open, a memfd for one. */
static void image_that_had_no_name_when_it_was_opened_is_there(void **state)
{
    struct image_fate fate;
    char path[64];
    int fd = memfd_create("image", MFD_CLOEXEC);

    assert_true(fd >= 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    image_fate_look(&fate, path, fd, false);
    assert_int_equal(fate.kind, IMAGE_THERE);
    image_fate_look(&fate, world.image->image, fd, false);
    assert_int_equal(fate.kind, IMAGE_REPLACED);
    assert_false(fate.has_name);
    close(fd);
}

static void moved_image_is_told_with_its_new_place(void **state)
{
    assert_int_equal(rename(world.image->image, world.image->other), 0);
    assert_int_equal(look(), IMAGE_MOVED);
    assert_false(image_fate_is_danger(&world.fate));
    expect_text(strrchr(world.image->other, '/'));
    expect_text("put it back, or a symbolic link to it");
}

static void replaced_image_is_told_whether_it_has_a_name(void **state)
{
    assert_int_equal(rename(world.image->image, world.image->other), 0);
    image_world_make(world.image->image, IMAGE_BYTES);
    assert_int_equal(look(), IMAGE_REPLACED);
    assert_true(image_fate_is_danger(&world.fate));
    expect_text("leads to another one; for the one that is open, let the guest write no more");
    expect_text("or put it back: it is at ");
    expect_text(strrchr(world.image->other, '/'));
    expect_line_that_saves();
    assert_int_equal(unlink(world.image->other), 0);
    assert_int_equal(look(), IMAGE_REPLACED);
    expect_text("the image was deleted and another one put in its place, and its data is lost");
}

static void line_that_saves_is_not_cut(void **state)
{
    assert_int_equal(rename(world.image->image, world.image->other), 0);
    image_world_make(world.image->image, IMAGE_BYTES);
    assert_int_equal(look(), IMAGE_REPLACED);
    memset(world.fate.where, 'x', sizeof(world.fate.where) - 1);
    image_fate_say(&world.fate, world.image->image, world.fd, world.text, 350);
    expect_line_that_saves();
}

static void expect_names(void)
{
    char names[96];
    struct stat st;

    assert_int_equal(fstat(world.fd, &st), 0);
    (void)snprintf(names, sizeof(names), "at 1 other name, which 'find DIR -inum %llu' tells",
                   (unsigned long long)st.st_ino);
    expect_text(names);
    expect_line_that_saves();
    assert_null(strstr(world.text, "(deleted)"));
}

/* The kernel knows the name by which it was opened alone, and says that this is deleted. */
static void names_that_the_kernel_does_not_tell_are_to_be_found(void **state)
{
    assert_int_equal(link(world.image->image, world.image->other), 0);
    assert_int_equal(look(), IMAGE_THERE);
    assert_int_equal(unlink(world.image->image), 0);
    assert_int_equal(look(), IMAGE_MOVED);
    expect_names();
    image_world_make(world.image->image, IMAGE_BYTES);
    assert_int_equal(look(), IMAGE_REPLACED);
    expect_text("it is at 1 other name");
    expect_names();
    assert_int_equal(unlink(world.image->other), 0);
}

static void name_that_ends_as_the_kernel_says_deleted_is_one(void **state)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s/a (deleted)", world.image->dir);
    assert_int_equal(rename(world.image->image, name), 0);
    assert_int_equal(look(), IMAGE_MOVED);
    expect_text("/a (deleted): put it back");
    assert_int_equal(unlink(name), 0);
}

/* What NFS makes of a file that is deleted while it is open. */
static void name_that_nfs_gives_is_none(void **state)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s/.nfs0000000000a1b2c3", world.image->dir);
    assert_int_equal(rename(world.image->image, name), 0);
    assert_int_equal(look(), IMAGE_DELETED);
    assert_int_equal(unlink(name), 0);
}

static void directory_that_is_gone_took_the_image_with_it(void **state)
{
    char path[128];
    struct image_fate fate;

    (void)snprintf(path, sizeof(path), "%s/no/such/image", world.image->dir);
    assert_int_equal(unlink(world.image->image), 0);
    image_fate_look(&fate, path, world.fd, true);
    assert_int_equal(fate.kind, IMAGE_DELETED);
}

static void directory_that_may_not_be_read_tells_nothing(void **state)
{
    uid_t uid = geteuid();

    if (uid != 0) {
        skip();
    }
    assert_int_equal(chmod(world.image->dir, 0), 0);
    assert_int_equal(seteuid(65534), 0);
    (void)look();
    assert_int_equal(seteuid(uid), 0);
    assert_int_equal(chmod(world.image->dir, 0700), 0);
    assert_int_equal(world.fate.kind, IMAGE_UNKNOWN);
    assert_string_equal(world.text, "");
}

static void only_the_file_that_is_open_is_deleted(void **state)
{
    int fd;

    assert_int_equal(rename(world.image->image, world.image->other), 0);
    assert_int_equal(image_fate_unlink(world.image->image, world.fd, true), -ESTALE);
    fd = open(world.image->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(image_fate_unlink(world.image->image, world.fd, true), -ESTALE);
    assert_int_equal(access(world.image->image, F_OK), 0);
    assert_int_equal(image_fate_unlink(world.image->image, fd, true), 0);
    assert_int_not_equal(access(world.image->image, F_OK), 0);
    close(fd);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(image_that_is_there_is_nothing_to_talk_of),
        in_world(image_behind_a_link_is_there),
        in_world(deleted_image_is_told_with_the_line_that_saves_it),
        in_world(deleted_image_that_its_path_still_leads_to_is_deleted),
        in_world(image_that_had_no_name_when_it_was_opened_is_there),
        in_world(moved_image_is_told_with_its_new_place),
        in_world(replaced_image_is_told_whether_it_has_a_name),
        in_world(line_that_saves_is_not_cut),
        in_world(names_that_the_kernel_does_not_tell_are_to_be_found),
        in_world(name_that_ends_as_the_kernel_says_deleted_is_one),
        in_world(name_that_nfs_gives_is_none),
        in_world(directory_that_is_gone_took_the_image_with_it),
        in_world(directory_that_may_not_be_read_tells_nothing),
        in_world(only_the_file_that_is_open_is_deleted),
    };

    return unit_run(tests);
}
