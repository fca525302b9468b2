/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "transports/unix_socket.h"

/* A private directory with room for one socket. */
struct place {
    char dir[32];
    char path[48];
    char lock[64];
    struct err err;
};

static int place_start(void **state)
{
    static struct place place;

    memset(&place, 0, sizeof(place));
    strcpy(place.dir, "/tmp/vblk-unix-XXXXXX");
    assert_non_null(mkdtemp(place.dir));
    snprintf(place.path, sizeof(place.path), "%s/disk.sock", place.dir);
    snprintf(place.lock, sizeof(place.lock), "%s.lock", place.path);
    *state = &place;
    return 0;
}

/* Whatever a test has listened on is gone: the directory is empty. */
static int place_stop(void **state)
{
    struct place *place = *state;

    assert_return_code(rmdir(place->dir), errno);
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, path);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_return_code(stat(path, &st), errno);
    return st.st_mode & 07777;
}

static void client_can_connect(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd;

    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), 0);
    fd = connect_to(place->path);
    assert_true(fd >= 0);
    close(fd);
    unix_unlisten(&listener);
}

static void unlisten_leaves_nothing_behind(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), 0);
    unix_unlisten(&listener);
    assert_int_equal(access(place->path, F_OK), -1);
    assert_int_equal(access(place->lock, F_OK), -1);
    assert_int_equal(listener.fd, -1);
    unix_unlisten(&listener); /* and once more does nothing */
}

static void mode_does_not_depend_on_the_umask(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    mode_t before = umask(0077);

    assert_int_equal(unix_listen(&listener, place->path, 0660, &place->err), 0);
    assert_int_equal(mode_of(place->path), 0660);
    unix_unlisten(&listener);
    umask(0);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), 0);
    assert_int_equal(mode_of(place->path), 0600);
    unix_unlisten(&listener);
    umask(before);
}

static void path_in_use_is_refused(void **state)
{
    struct place *place = *state;
    struct unix_listener first, second;
    int fd;

    assert_int_equal(unix_listen(&first, place->path, 0600, &place->err), 0);
    assert_int_equal(unix_listen(&second, place->path, 0600, &place->err), -EADDRINUSE);
    assert_non_null(strstr(place->err.text, place->lock));
    unix_unlisten(&second); /* the loser must not harm the winner */
    fd = connect_to(place->path);
    assert_true(fd >= 0);
    close(fd);
    unix_unlisten(&first);
}

static void path_is_free_after_unlisten(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), 0);
        unix_unlisten(&listener);
    }
}

/* What a killed process leaves: socket and lock file, nobody holds the lock. */
static void stale_socket_is_taken_over(void **state)
{
    struct place *place = *state;
    struct unix_listener dead, listener;

    assert_int_equal(unix_listen(&dead, place->path, 0600, &place->err), 0);
    close(dead.fd);
    close(dead.lock_fd);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), 0);
    unix_unlisten(&listener);
}

static void file_that_is_no_socket_is_refused(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd = open(place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), -EEXIST);
    assert_int_equal(access(place->lock, F_OK), -1);
    assert_int_equal(unlink(place->path), 0);
}

static void symbolic_link_is_not_followed(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    assert_int_equal(symlink("elsewhere", place->path), 0);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), -EEXIST);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(symlink("elsewhere", place->lock), 0);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), -ELOOP);
    assert_int_equal(unlink(place->lock), 0);
}

static void long_path_is_refused_with_the_limit(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    char path[UNIX_PATH_BYTES + 1];

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(unix_listen(&listener, path, 0600, &place->err), -ENAMETOOLONG);
    assert_non_null(strstr(place->err.text, "107"));
    assert_int_equal(unix_listen(&listener, "", 0600, &place->err), -EINVAL);
}

/* The longest path that fits: the name is what is left of sun_path, its NUL included. */
static void longest_path_is_served(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    char path[UNIX_PATH_BYTES];
    size_t dir = strlen(place->dir);

    memcpy(path, place->dir, dir);
    memset(path + dir, 'x', sizeof(path) - dir);
    path[dir] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(unix_listen(&listener, path, 0600, &place->err), 0);
    unix_unlisten(&listener);
}

static void missing_directory_is_explained(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    char path[80];

    snprintf(path, sizeof(path), "%s/nowhere/disk.sock", place->dir);
    assert_int_equal(unix_listen(&listener, path, 0600, &place->err), -ENOENT);
    assert_non_null(strstr(place->err.text, "directory"));
}

static void socket_of_another_is_not_unlinked(void **state)
{
    struct place *place = *state;
    struct unix_listener ours, other;
    char moved[64];

    snprintf(moved, sizeof(moved), "%s/other.sock", place->dir);
    assert_int_equal(unix_listen(&other, moved, 0600, &place->err), 0);
    assert_int_equal(unix_listen(&ours, place->path, 0600, &place->err), 0);
    assert_int_equal(rename(moved, place->path), 0);
    unix_unlisten(&ours);
    assert_int_equal(access(place->path, F_OK), 0);
    unix_unlisten(&other);
    assert_int_equal(unlink(place->path), 0);
}

/* A lock on a file that no longer has the name protects nothing. */
static void lock_on_an_unlinked_file_does_not_count(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd = open(place->lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), -EADDRINUSE);
    assert_int_equal(unlink(place->lock), 0);
    assert_int_equal(unix_listen(&listener, place->path, 0600, &place->err), 0);
    unix_unlisten(&listener);
    close(fd);
}

#define place_test(test) cmocka_unit_test_setup_teardown(test, place_start, place_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(client_can_connect),
        place_test(unlisten_leaves_nothing_behind),
        place_test(mode_does_not_depend_on_the_umask),
        place_test(path_in_use_is_refused),
        place_test(path_is_free_after_unlisten),
        place_test(stale_socket_is_taken_over),
        place_test(file_that_is_no_socket_is_refused),
        place_test(symbolic_link_is_not_followed),
        place_test(long_path_is_refused_with_the_limit),
        place_test(longest_path_is_served),
        place_test(missing_directory_is_explained),
        place_test(socket_of_another_is_not_unlinked),
        place_test(lock_on_an_unlinked_file_does_not_count),
    };

    return unit_run(tests);
}
