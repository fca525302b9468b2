/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_SUFFIX ".lock"
#define LOCK_PATH_BYTES (UNIX_PATH_BYTES + sizeof(LOCK_SUFFIX))

/* Whoever gives up the lock unlinks its file, so an attempt may find that its file is gone. */
#define LOCK_ATTEMPTS 100

#define BACKLOG 16

static void lock_path(char *to, const char *path)
{
    snprintf(to, LOCK_PATH_BYTES, "%s" LOCK_SUFFIX, path);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is `fd` still the file that `path` names? */
static bool is_file_at(int fd, const char *path)
{
    struct stat open_file, named;

    return fstat(fd, &open_file) == 0 && lstat(path, &named) == 0 && same_file(&open_file, &named);
}

static int lock_open_failed(const char *lock, struct err *err)
{
    int code = -errno;

    err_set(err, code, "cannot create %s", lock);
    if (code == -ENOENT) {
        err_hint(err, "the directory must exist");
    } else if (code == -EACCES || code == -EPERM) {
        err_hint(err, "the directory must be writable, and a lock file that is there must be ours");
    }
    return code;
}

/* One attempt: the locked fd, or -errno; -EAGAIN when the file was unlinked meanwhile. */
static int lock_once(const char *path, const char *lock, struct err *err)
{
    int code;
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return lock_open_failed(lock, err);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        code = errno == EWOULDBLOCK
                   ? err_say(err, -EADDRINUSE, "%s: another process listens there (it holds %s)",
                             path, lock)
                   : err_set(err, -errno, "cannot lock %s", lock);
        close(fd);
        return code;
    }
    if (!is_file_at(fd, lock)) {
        close(fd);
        return -EAGAIN;
    }
    return fd;
}

static int lock_take(const char *path, struct err *err)
{
    char lock[LOCK_PATH_BYTES];

    lock_path(lock, path);
    for (unsigned attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        int fd = lock_once(path, lock, err);

        if (fd != -EAGAIN) {
            return fd;
        }
    }
    return err_say(err, -EADDRINUSE, "%s: %s does not stay in place, another process removes it",
                   path, lock);
}

/* The file goes while the lock is held: a newcomer locks a new file or finds ours gone. */
static void lock_give_up(int fd, const char *path)
{
    char lock[LOCK_PATH_BYTES];

    lock_path(lock, path);
    if (is_file_at(fd, lock)) {
        (void)unlink(lock); /* what stays is a lock that nobody holds */
    }
    close(fd);
}

/* The lock is ours, so a socket that is there has no listener any more. */
static int remove_stale(const char *path, struct err *err)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : err_set(err, -errno, "cannot look at %s", path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_say(err, -EEXIST, "%s is there and is no socket; move it or choose another path",
                       path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return err_set(err, -errno, "cannot remove the stale socket %s", path);
    }
    return 0;
}

/*
 * Bind with `mode` from the first moment: Linux gives the file the mode of the socket's inode,
 * less the umask.  Where the umask was in the way, chmod before anybody can connect.
 * Source: Linux, net/unix/af_unix.c, unix_bind_bsd().
 */
static int bind_with_mode(struct unix_listener *l, const char *path, mode_t mode, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct stat st;

    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (fchmod(l->fd, mode) < 0) {
        return err_set(err, -errno, "cannot set the mode of %s", path);
    }
    if (bind(l->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        return err_set(err, -errno, "cannot bind %s", path);
    }
    if (lstat(path, &st) < 0 ||
        ((st.st_mode & 07777) != mode && (chmod(path, mode) < 0 || lstat(path, &st) < 0))) {
        int code = err_set(err, -errno, "cannot set the mode of %s", path);

        (void)unlink(path);
        return code;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    return 0;
}

static int check_path(const char *path, struct err *err)
{
    size_t len = strlen(path);

    if (len == 0) {
        return err_say(err, -EINVAL, "the path of the socket is empty");
    }
    if (len >= UNIX_PATH_BYTES) {
        return err_say(err, -ENAMETOOLONG,
                       "%s: the path of a socket has at most %d bytes, this one has %zu", path,
                       UNIX_PATH_BYTES - 1, len);
    }
    return 0;
}

/* Unlink the socket, but not one that somebody else has put in its place. */
static void unlink_ours(const struct unix_listener *l)
{
    struct stat st;

    if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino) {
        (void)unlink(l->path); /* what stays is stale, and taken over as such */
    }
}

int unix_listen(struct unix_listener *listener, const char *path, mode_t mode, struct err *err)
{
    struct unix_listener l = {.fd = -1, .lock_fd = -1};
    int ret = check_path(path, err);

    *listener = l;
    if (ret < 0) {
        return ret;
    }
    memcpy(l.path, path, strlen(path) + 1);
    l.lock_fd = lock_take(path, err);
    if (l.lock_fd < 0) {
        return l.lock_fd;
    }
    ret = remove_stale(path, err);
    if (ret < 0) {
        goto unlock;
    }
    l.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l.fd < 0) {
        ret = err_set(err, -errno, "no socket for %s", path);
        goto unlock;
    }
    ret = bind_with_mode(&l, path, mode, err);
    if (ret < 0) {
        goto close_fd;
    }
    if (listen(l.fd, BACKLOG) < 0) {
        ret = err_set(err, -errno, "cannot listen on %s", path);
        goto unlink_path;
    }
    *listener = l;
    return 0;

unlink_path:
    unlink_ours(&l);
close_fd:
    close(l.fd);
unlock:
    lock_give_up(l.lock_fd, path);
    return ret;
}

void unix_unlisten(struct unix_listener *listener)
{
    if (listener->fd < 0) {
        return;
    }
    /* First, so that nobody connects to a listener that will never answer. */
    close(listener->fd);
    unlink_ours(listener);
    lock_give_up(listener->lock_fd, listener->path);
    listener->fd = -1;
    listener->lock_fd = -1;
}
