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
#include <sys/xattr.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/lock_holder.h"
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

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    fd = connect_to(place->path);
    assert_true(fd >= 0);
    close(fd);
    unix_unlisten(&listener);
}

static void unlisten_leaves_nothing_behind(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd;

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    fd = listener.fd;
    unix_unlisten(&listener);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* where nobody waits it takes no porter */
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

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0660), &place->err), 0);
    assert_int_equal(mode_of(place->path), 0660);
    unix_unlisten(&listener);
    umask(0);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(mode_of(place->path), 0600);
    unix_unlisten(&listener);
    umask(before);
}

static void path_in_use_is_refused(void **state)
{
    struct place *place = *state;
    struct unix_listener first, second;
    int fd;

    assert_int_equal(unix_listen(&first, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unix_listen(&second, place->path, SOCKET_OWN(0600), &place->err), -EADDRINUSE);
    assert_non_null(strstr(place->err.text, place->lock));
    unix_unlisten(&second); /* the loser must not harm the winner */
    fd = connect_to(place->path);
    assert_true(fd >= 0);
    close(fd);
    unix_unlisten(&first);
}

/* As one that was killed may have it whose other thread is still leaving. */
static void one_who_is_about_to_leave_is_waited_for(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd = open(place->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(flock(fd, LOCK_EX), 0);
    lock_holder_begin(fd);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_true(lock_holder_has_let_go());
    unix_unlisten(&listener);
}

static void path_is_free_after_unlisten(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
        unix_unlisten(&listener);
    }
}

/* What a killed process leaves: socket and lock file, nobody holds the lock. */
static void stale_socket_is_taken_over(void **state)
{
    struct place *place = *state;
    struct unix_listener dead, listener;

    assert_int_equal(unix_listen(&dead, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_false(dead.took_over);
    close(dead.fd);
    close(dead.lock_fd);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_true(listener.took_over);
    unix_unlisten(&listener);
}

static void file_that_is_no_socket_is_refused(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd = open(place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), -EEXIST);
    assert_int_equal(access(place->lock, F_OK), -1);
    assert_int_equal(unlink(place->path), 0);
}

static void symbolic_link_is_not_followed(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    assert_int_equal(symlink("elsewhere", place->path), 0);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), -EEXIST);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(symlink("elsewhere", place->lock), 0);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), -ELOOP);
    assert_int_equal(unlink(place->lock), 0);
}

static void long_path_is_refused_with_the_limit(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    char path[UNIX_PATH_BYTES + 1];

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(unix_listen(&listener, path, SOCKET_OWN(0600), &place->err), -ENAMETOOLONG);
    assert_non_null(strstr(place->err.text, "107"));
    assert_int_equal(unix_listen(&listener, "", SOCKET_OWN(0600), &place->err), -EINVAL);
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
    assert_int_equal(unix_listen(&listener, path, SOCKET_OWN(0600), &place->err), 0);
    unix_unlisten(&listener);
}

static void missing_directory_is_explained(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    char path[80];

    snprintf(path, sizeof(path), "%s/nowhere/disk.sock", place->dir);
    assert_int_equal(unix_listen(&listener, path, SOCKET_OWN(0600), &place->err), -ENOENT);
    assert_non_null(strstr(place->err.text, "directory"));
}

static void socket_of_another_is_not_unlinked(void **state)
{
    struct place *place = *state;
    struct unix_listener ours, other;
    char moved[64];

    snprintf(moved, sizeof(moved), "%s/other.sock", place->dir);
    assert_int_equal(unix_listen(&other, moved, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unix_listen(&ours, place->path, SOCKET_OWN(0600), &place->err), 0);
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
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err),
                     -EADDRINUSE);
    assert_int_equal(unlink(place->lock), 0);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    unix_unlisten(&listener);
    close(fd);
}

/* The lock was deleted: the socket itself tells that somebody lives there. */
static void listener_without_its_lock_is_not_robbed(void **state)
{
    struct place *place = *state;
    struct unix_listener first, second;
    int fd;

    assert_int_equal(unix_listen(&first, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unlink(place->lock), 0);
    assert_false(unix_listener_is_in_place(&first));
    assert_int_equal(unix_listen(&second, place->path, SOCKET_OWN(0600), &place->err), -EADDRINUSE);
    fd = connect_to(place->path);
    assert_true(fd >= 0);
    close(fd);
    unix_unlisten(&first);
}

static void accept_one(struct unix_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

    assert_true(fd >= 0);
    close(fd);
}

static void socket_that_has_gone_is_made_anew(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int before;
    int fd;

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0640), &place->err), 0);
    assert_true(unix_listener_is_in_place(&listener));
    before = listener.fd;
    assert_int_equal(unlink(place->path), 0);
    assert_false(unix_listener_is_in_place(&listener));
    assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
    assert_true(unix_listener_is_in_place(&listener));
    assert_int_equal(listener.fd, before);
    assert_int_equal(fcntl(listener.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(mode_of(place->path), 0640);
    fd = connect_to(place->path);
    assert_true(fd >= 0);
    accept_one(&listener);
    close(fd);
    unix_unlisten(&listener);
}

/* As an administrator gave it to a monitor; another owner only root can give. */
static void socket_that_is_made_anew_has_mode_and_owner_of_the_old_one(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    gid_t group = geteuid() == 0 ? 12345 : getegid();
    uid_t user = geteuid() == 0 ? 12345 : geteuid();
    struct stat st;

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_return_code(chown(place->path, user, group), errno);
    assert_return_code(chmod(place->path, 0660), errno);
    assert_true(unix_listener_is_in_place(&listener));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(unlink(place->path), 0);
        assert_false(unix_listener_is_in_place(&listener));
        assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
        assert_int_equal(mode_of(place->path), 0660);
        assert_return_code(stat(place->path, &st), errno);
        assert_int_equal(st.st_uid, user);
        assert_int_equal(st.st_gid, group);
    }
    unix_unlisten(&listener);
}

static void assert_rights(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    struct stat st;

    assert_return_code(lstat(path, &st), errno);
    assert_int_equal(st.st_mode & 07777, mode);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

/* Whatever the umask; another owner only root can give. */
static void socket_has_the_rights_that_were_asked_for(void **state)
{
    struct place *place = *state;
    const struct socket_rights rights = {
        .mode = 0660,
        .uid = geteuid() == 0 ? 12345 : geteuid(),
        .gid = geteuid() == 0 ? 54321 : getegid(),
    };
    struct unix_listener listener;

    for (unsigned i = 0; i < 3; i++) {
        const mode_t before = umask(i == 0 ? 0077 : i == 1 ? 0 : 0777);

        assert_int_equal(unix_listen(&listener, place->path, &rights, &place->err), 0);
        (void)umask(before);
        assert_rights(place->path, 0660, rights.uid, rights.gid);
        assert_int_equal(mode_of(place->lock), i == 2 ? 0 : 0600);
        assert_int_equal(unlink(place->path), 0); /* before anybody has seen it */
        assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
        assert_rights(place->path, 0660, rights.uid, rights.gid);
        unix_unlisten(&listener);
    }
}

/* Whoever may not give it away has none, rather than one with other rights. */
static void owner_that_cannot_be_given_is_refused(void **state)
{
    struct place *place = *state;
    struct socket_rights rights = {.mode = 0666, .uid = 12345, .gid = (gid_t)-1};
    struct unix_listener listener;

    if (geteuid() != 0) {
        skip();
    }
    assert_return_code(chown(place->dir, 65534, 65534), errno);
    assert_return_code(seteuid(65534), errno);
    assert_int_equal(unix_listen(&listener, place->path, &rights, &place->err), -EPERM);
    assert_non_null(strstr(place->err.text, "to user 12345: "));
    assert_non_null(strstr(place->err.text, "; that takes root, or CAP_CHOWN"));
    rights.gid = 54321;
    rights.uid = (uid_t)-1;
    assert_int_equal(unix_listen(&listener, place->path, &rights, &place->err), -EPERM);
    assert_non_null(strstr(place->err.text, "to group 54321: "));
    assert_int_equal(access(place->path, F_OK), -1);
    assert_int_equal(access(place->lock, F_OK), -1);
    assert_return_code(seteuid(0), errno);
}

/* One that was given away by hand is nobody else's where that cannot be done again. */
static void socket_that_cannot_be_given_back_lets_nobody_in(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    if (geteuid() != 0) {
        skip();
    }
    assert_return_code(chown(place->dir, 65534, 65534), errno);
    assert_return_code(seteuid(65534), errno);
    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_return_code(seteuid(0), errno);
    assert_return_code(chown(place->path, 12345, 12345), errno);
    assert_return_code(chmod(place->path, 0666), errno);
    assert_true(unix_listener_is_in_place(&listener));
    assert_int_equal(unlink(place->path), 0);
    assert_return_code(seteuid(65534), errno);
    assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
    assert_rights(place->path, 0600, 65534, 0);
    unix_unlisten(&listener);
    assert_return_code(seteuid(0), errno);
}

/* As a security module would find it; where there is none, a file may have it all the same. */
static void socket_has_the_label_that_was_asked_for(void **state)
{
    static const char name[] = "security.selinux";
    static const char label[] = "system_u:object_r:svirt_image_t:s0";
    struct place *place = *state;
    const struct socket_rights rights = {
        .mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .xattr = name, .label = label};
    struct unix_listener listener;
    char found[64] = "";

    if (socket_rights_xattr() || geteuid() != 0 ||
        setxattr(place->dir, name, label, sizeof(label), 0) < 0) {
        skip(); /* a policy may know no such label, and not each file system has any */
    }
    assert_int_equal(unix_listen(&listener, place->path, &rights, &place->err), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(lgetxattr(place->path, name, found, sizeof(found)), sizeof(label));
        assert_string_equal(found, label);
        assert_int_equal(unlink(place->path), 0);
        assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
    }
    unix_unlisten(&listener);
}

static void label_that_cannot_be_given_is_refused(void **state)
{
    struct place *place = *state;
    const struct socket_rights rights = {
        .mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .xattr = "nothing.selinux", .label = "x"};
    struct unix_listener listener;

    assert_int_equal(unix_listen(&listener, place->path, &rights, &place->err), -EOPNOTSUPP);
    assert_non_null(strstr(place->err.text, "the label \"x\" (nothing.selinux): "));
    assert_int_equal(access(place->path, F_OK), -1);
}

static void lock_that_has_gone_is_made_anew(void **state)
{
    struct place *place = *state;
    struct unix_listener listener, second;

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unlink(place->lock), 0);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
    assert_true(unix_listener_is_in_place(&listener));
    assert_int_equal(unix_listen(&second, place->path, SOCKET_OWN(0600), &place->err), -EADDRINUSE);
    assert_non_null(strstr(place->err.text, place->lock));
    unix_unlisten(&listener);
}

/* Whoever connected before the file went must not be turned away. */
static void socket_with_a_queue_is_not_closed(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;
    int fd;

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    fd = connect_to(place->path);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(unix_listener_mend(&listener, &place->err), -EAGAIN);
    accept_one(&listener);
    assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
    close(fd);
    unix_unlisten(&listener);
}

static void place_that_another_has_taken_stays_his(void **state)
{
    struct place *place = *state;
    struct unix_listener ours, other;

    assert_int_equal(unix_listen(&ours, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unlink(place->lock), 0);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(unix_listen(&other, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unix_listener_mend(&ours, &place->err), -EADDRINUSE);
    unix_unlisten(&ours);
    assert_true(unix_listener_is_in_place(&other));
    unix_unlisten(&other);
}

/* A socket that somebody else has bound, without a lock. */
static int bind_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, path);
    assert_return_code(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
    assert_return_code(listen(fd, 16), errno);
    return fd;
}

static unsigned accept_all(int listener)
{
    unsigned count = 0;
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(fd);
        count++;
    }
    return count;
}

/* Guests wait meanwhile: it asks once, where a daemon that starts asks for 80 ms. */
static void whoever_has_taken_the_place_is_asked_once(void **state)
{
    struct place *place = *state;
    struct unix_listener ours, starting;
    int other;

    assert_int_equal(unix_listen(&ours, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unlink(place->path), 0);
    other = bind_at(place->path);
    assert_int_equal(unix_listener_mend(&ours, &place->err), -EADDRINUSE);
    assert_int_equal(accept_all(other), 1);
    unix_unlisten(&ours);
    assert_int_equal(unix_listen(&starting, place->path, SOCKET_OWN(0600), &place->err),
                     -EADDRINUSE);
    assert_true(accept_all(other) > 1);
    close(other);
    assert_int_equal(unlink(place->path), 0);
}

static void missing_place_is_told_and_mended_when_it_is_back(void **state)
{
    struct place *place = *state;
    struct unix_listener listener;

    assert_int_equal(unix_listen(&listener, place->path, SOCKET_OWN(0600), &place->err), 0);
    assert_int_equal(unlink(place->lock), 0);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(rmdir(place->dir), 0);
    assert_int_equal(unix_listener_mend(&listener, &place->err), -ENOENT);
    assert_int_equal(mkdir(place->dir, 0700), 0);
    assert_int_equal(unix_listener_mend(&listener, &place->err), 0);
    assert_true(unix_listener_is_in_place(&listener));
    unix_unlisten(&listener);
}

#define place_test(test) cmocka_unit_test_setup_teardown(test, place_start, place_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(client_can_connect),
        place_test(unlisten_leaves_nothing_behind),
        place_test(mode_does_not_depend_on_the_umask),
        place_test(path_in_use_is_refused),
        place_test(one_who_is_about_to_leave_is_waited_for),
        place_test(path_is_free_after_unlisten),
        place_test(stale_socket_is_taken_over),
        place_test(file_that_is_no_socket_is_refused),
        place_test(symbolic_link_is_not_followed),
        place_test(long_path_is_refused_with_the_limit),
        place_test(longest_path_is_served),
        place_test(missing_directory_is_explained),
        place_test(socket_of_another_is_not_unlinked),
        place_test(lock_on_an_unlinked_file_does_not_count),
        place_test(listener_without_its_lock_is_not_robbed),
        place_test(socket_that_has_gone_is_made_anew),
        place_test(socket_that_is_made_anew_has_mode_and_owner_of_the_old_one),
        place_test(socket_has_the_rights_that_were_asked_for),
        place_test(owner_that_cannot_be_given_is_refused),
        place_test(socket_that_cannot_be_given_back_lets_nobody_in),
        place_test(socket_has_the_label_that_was_asked_for),
        place_test(label_that_cannot_be_given_is_refused),
        place_test(lock_that_has_gone_is_made_anew),
        place_test(socket_with_a_queue_is_not_closed),
        place_test(place_that_another_has_taken_stays_his),
        place_test(whoever_has_taken_the_place_is_asked_once),
        place_test(missing_place_is_told_and_mended_when_it_is_back),
    };

    return unit_run(tests);
}
