/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/socket_dir.h"

/* The daemon's own directory, "run" in one of the test's. */
struct place {
    char root[64];
    char run[80];
    char path[128]; /* of a socket */
    struct socket_dir dir;
    struct err err;
};

static int place_start(void **state)
{
    static struct place place;

    place = (struct place){.root = "/tmp/vblk-socket-dir-XXXXXX"};
    if (!mkdtemp(place.root)) {
        return -1;
    }
    (void)snprintf(place.run, sizeof(place.run), "%s/run", place.root);
    *state = &place;
    return 0;
}

static int place_stop(void **state)
{
    const struct place *place = *state;
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf %s", place->root);
    return system(command); /* NOLINT(cert-env33-c): a path of ours */
}

static void assert_made(struct place *place, const char *socket, const char *dir, mode_t mode)
{
    char name[160];
    struct stat st;

    (void)snprintf(place->path, sizeof(place->path), "%s/%s", place->root, socket);
    assert_int_equal(socket_dir_make(&place->dir, place->path, place->run, &place->err), 0);
    (void)snprintf(name, sizeof(name), "%s/%s", place->root, dir);
    if (mode == 0) {
        assert_int_equal(stat(name, &st), -1);
    } else {
        assert_return_code(stat(name, &st), errno);
        assert_int_equal(st.st_mode & 07777, mode);
    }
}

static void directories_are_made_up_to_the_one_of_the_socket(void **state)
{
    const mode_t before = umask(0077);

    assert_made(*state, "run/s", "run", SOCKET_DIR_MODE);
    assert_made(*state, "run/a/b/s", "run/a", SOCKET_DIR_MODE);
    assert_made(*state, "run/a/b/s", "run/a/b", SOCKET_DIR_MODE);
    assert_made(*state, "run/a/b/s", "run/a/b/s", 0);
    (void)umask(before);
}

static void elsewhere_nothing_is_made(void **state)
{
    struct place *place = *state;

    assert_made(place, "other/s", "other", 0);
    assert_made(place, "runs/s", "runs", 0);
    assert_made(place, "run/../other/s", "other", 0);
    assert_made(place, "run/./x/s", "run/x", 0);
    assert_made(place, "s", "s", 0);
    assert_int_equal(socket_dir_make(&place->dir, "/s", place->run, &place->err), 0);
    (void)snprintf(place->path, sizeof(place->path), "%s/s", place->run);
    assert_int_equal(socket_dir_make(&place->dir, place->path, NULL, &place->err), 0);
    assert_int_equal(access(place->run, F_OK), -1);
}

static void directory_that_is_there_stays_as_it_is(void **state)
{
    struct place *place = *state;

    assert_return_code(mkdir(place->run, 0700), errno);
    place->dir = (struct socket_dir){.mode = 0777, .is_known = true};
    assert_made(place, "run/s", "run", 0700);
}

static void directory_that_is_made_anew_has_mode_and_owner_of_the_old_one(void **state)
{
    struct place *place = *state;
    gid_t group = geteuid() == 0 ? 12345 : getegid();
    uid_t user = geteuid() == 0 ? 12345 : geteuid();
    struct stat st;

    assert_return_code(mkdir(place->run, 0700), errno);
    assert_return_code(chown(place->run, user, group), errno);
    assert_return_code(chmod(place->run, 02750), errno);
    (void)snprintf(place->path, sizeof(place->path), "%s/s", place->run);
    socket_dir_note(&place->dir, place->path);
    assert_return_code(rmdir(place->run), errno);
    socket_dir_note(&place->dir, place->path); /* it has gone: what is known stays */
    assert_made(place, "run/s", "run", 02750);
    assert_return_code(stat(place->run, &st), errno);
    assert_int_equal(st.st_uid, user);
    assert_int_equal(st.st_gid, group);
}

/* To an owner that it cannot be given to: then it is nobody else's. */
static void directory_that_cannot_be_given_back_lets_nobody_in(void **state)
{
    struct place *place = *state;

    if (geteuid() != 0) {
        skip();
    }
    assert_return_code(chmod(place->root, 0777), errno);
    place->dir = (struct socket_dir){.mode = 0755, .uid = 12345, .gid = 12345, .is_known = true};
    assert_return_code(seteuid(65534), errno);
    assert_made(place, "run/s", "run", 0700);
    assert_return_code(seteuid(0), errno);
}

static void what_cannot_be_made_is_told(void **state)
{
    struct place *place = *state;

    assert_return_code(mkdir(place->run, 0700), errno);
    assert_int_equal(symlink("/nowhere/at/all", strcat(strcpy(place->path, place->run), "/a")), 0);
    (void)snprintf(place->path, sizeof(place->path), "%s/a/b/s", place->run);
    assert_int_equal(socket_dir_make(&place->dir, place->path, place->run, &place->err), -ENOENT);
    assert_non_null(strstr(place->err.text, "cannot make the directory "));
}

#define place_test(test) cmocka_unit_test_setup_teardown(test, place_start, place_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(directories_are_made_up_to_the_one_of_the_socket),
        place_test(elsewhere_nothing_is_made),
        place_test(directory_that_is_there_stays_as_it_is),
        place_test(directory_that_is_made_anew_has_mode_and_owner_of_the_old_one),
        place_test(directory_that_cannot_be_given_back_lets_nobody_in),
        place_test(what_cannot_be_made_is_told),
    };

    return unit_run(tests);
}
