/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* accept4, O_PATH */
#include "transports/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file_lock.h"
#include "core/base/names.h"
#include "core/base/porter.h"

#define LOCK_PATH_BYTES (UNIX_PATH_BYTES + sizeof(UNIX_LOCK_SUFFIX))

/* Whoever gives up the lock unlinks its file, so an attempt may find that its file is gone. */
#define LOCK_ATTEMPTS 100

/*
 * To find out whether somebody listens, 20 ms apart.  A loop that serves others asks once, and
 * again by its clock.
 */
#define ALIVE_ATTEMPTS 5
#define ALIVE_AT_ONCE 1

#define BACKLOG 16

static void lock_path(char *to, const char *path)
{
    snprintf(to, LOCK_PATH_BYTES, "%s" UNIX_LOCK_SUFFIX, path);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is `fd` still the file that `path` names? */
static bool is_file_at(int fd, const char *path)
{
    struct stat open_file, named;

    return fstat(fd, &open_file) == 0 && names_lstat(path, &named) == 0 &&
           same_file(&open_file, &named);
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
    int fd = names_open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code;

    if (fd < 0) {
        return lock_open_failed(lock, err);
    }
    code = file_lock(fd);
    if (code < 0) {
        code = code == -EWOULDBLOCK
                   ? err_say(err, -EADDRINUSE, "%s: another process listens there (it holds %s)",
                             path, lock)
                   : err_set(err, code, "cannot lock %s", lock);
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
        (void)names_unlink(lock); /* what stays is a lock that nobody holds */
    }
    close(fd);
}

/* Does a process take connections at `path`?  A daemon that is just dying does so for a moment. */
static bool is_alive(const char *path, unsigned attempts)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    bool is_taken = true;

    for (unsigned attempt = 0; is_taken && attempt < attempts; attempt++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (attempt > 0) {
            (void)nanosleep(&moment, NULL);
        }
        is_taken =
            fd >= 0 && (names_connect(fd, path) == 0 || errno == EAGAIN); /* its queue is full */
        if (fd >= 0) {
            close(fd);
        }
    }
    return is_taken;
}

static bool is_socket(const char *path)
{
    struct stat st;

    return names_lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The lock is ours, so a socket that is there has no listener, unless its lock was deleted. */
static int remove_stale(const char *path, unsigned attempts, struct err *err)
{
    struct stat st;

    if (names_lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : err_set(err, -errno, "cannot look at %s", path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_say(err, -EEXIST, "%s is there and is no socket; move it or choose another path",
                       path);
    }
    if (is_alive(path, attempts)) {
        return err_say(err, -EADDRINUSE, "%s: another process listens there", path);
    }
    if (names_unlink(path) < 0 && errno != ENOENT) {
        return err_set(err, -errno, "cannot remove the stale socket %s", path);
    }
    return 0;
}

/*
 * Before anybody can connect, and by a file descriptor, as whoever may write to the directory could
 * put another file there.  An owner that an administrator gave to the file which has gone is its
 * only if we may.
 */
static int settle_socket(struct unix_listener *l, struct err *err)
{
    int fd = names_open(l->path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    struct stat st;
    int ret;

    if (fd < 0) {
        return err_set(err, -errno, "cannot look at %s", l->path);
    }
    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_nlink != 1) {
        ret = err_say(err, -EADDRINUSE, "%s: another process puts files there", l->path);
    } else {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
        ret = socket_rights_give(&l->rights, l->path, fd, &st, l->is_known, err);
    }
    close(fd);
    return ret;
}

/*
 * With the mode from the first moment: Linux gives the file that of the socket's inode, less the
 * umask.
 * Source: Linux, net/unix/af_unix.c, unix_bind_bsd().
 */
static int bind_with_rights(struct unix_listener *l, struct err *err)
{
    int ret;

    if (fchmod(l->fd, l->rights.mode) < 0) {
        return err_set(err, -errno, "cannot set the mode of %s", l->path);
    }
    if (names_bind(l->fd, l->path) < 0) {
        return err_set(err, -errno, "cannot bind %s", l->path);
    }
    ret = settle_socket(l, err);
    if (ret < 0) {
        (void)names_unlink(l->path);
    }
    return ret;
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

static bool has_socket(const struct unix_listener *l)
{
    struct stat st;

    return names_lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
}

/* Returns false when it has gone. */
static bool note_owner(struct unix_listener *l)
{
    struct stat st;

    if (names_lstat(l->path, &st) < 0 || st.st_dev != l->dev || st.st_ino != l->ino) {
        return false;
    }
    l->rights.mode = st.st_mode & 07777;
    l->rights.uid = st.st_uid;
    l->rights.gid = st.st_gid;
    l->is_known = true;
    return true;
}

/* Unlink the socket, but not one that somebody else has put in its place. */
static void unlink_ours(const struct unix_listener *l)
{
    if (has_socket(l)) {
        (void)names_unlink(l->path); /* what stays is stale, and taken over as such */
    }
}

/* A socket at l->path, where none is; l->fd, l->dev and l->ino are set. */
static int make_socket(struct unix_listener *l, struct err *err)
{
    int ret;

    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        return err_set(err, -errno, "no socket for %s", l->path);
    }
    ret = bind_with_rights(l, err);
    if (ret < 0) {
        goto close_fd;
    }
    if (listen(l->fd, BACKLOG) < 0) {
        ret = err_set(err, -errno, "cannot listen on %s", l->path);
        goto unlink_path;
    }
    return 0;

unlink_path:
    unlink_ours(l);
close_fd:
    close(l->fd);
    return ret;
}

int unix_listen(struct unix_listener *listener, const char *path,
                const struct socket_rights *rights, struct err *err)
{
    struct unix_listener l = {.fd = -1, .lock_fd = -1, .rights = *rights};
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
    l.took_over = is_socket(path);
    ret = remove_stale(path, ALIVE_ATTEMPTS, err);
    if (ret == 0) {
        ret = make_socket(&l, err);
    }
    if (ret < 0) {
        lock_give_up(l.lock_fd, path);
        return ret;
    }
    *listener = l;
    return 0;
}

static bool has_lock(const struct unix_listener *l)
{
    char lock[LOCK_PATH_BYTES];

    lock_path(lock, l->path);
    return is_file_at(l->lock_fd, lock);
}

bool unix_listener_is_in_place(struct unix_listener *listener)
{
    return has_lock(listener) && note_owner(listener);
}

/* The lock first, as always: whoever has it may touch the socket. */
static int mend_lock(struct unix_listener *l, struct err *err)
{
    int fd;

    if (has_lock(l)) {
        return 0;
    }
    fd = lock_take(l->path, err);
    if (fd < 0) {
        return fd;
    }
    close(l->lock_fd);
    l->lock_fd = fd;
    return 0;
}

static bool has_queue(const struct unix_listener *l)
{
    struct pollfd pollfd = {.fd = l->fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

/*
 * What peers have sent that nobody has accepted goes with the listener, file descriptors included,
 * and to close these may take for ever (core/base/porter.h).  Once it is shut down no more can
 * come.
 */
static void close_listening(int listening, uintptr_t owner)
{
    int fd;

    (void)shutdown(listening, SHUT_RDWR); /* cannot fail on a socket that listens */
    fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == EINVAL)) { /* nobody waits */
        close(listening);
        return;
    }
    porter_close(listening, owner);
    if (fd >= 0) {
        porter_close(fd, owner);
    }
}

/* Its number becomes `fd`; whoever has connected to the old one a moment ago sees the end. */
static int replace_socket(struct unix_listener *listener, int fd, struct err *err)
{
    int old = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);

    if (old < 0) {
        return err_set(err, -errno, "no file descriptor to make %s anew", listener->path);
    }
    if (dup3(fd, listener->fd, O_CLOEXEC) < 0) {
        int code = err_set(err, -errno, "%s", listener->path);

        close(old);
        return code;
    }
    close_listening(old, (uintptr_t)listener);
    return 0;
}

int unix_listener_mend(struct unix_listener *listener, struct err *err)
{
    struct unix_listener l = *listener;
    int ret = mend_lock(listener, err);

    if (ret < 0 || has_socket(listener)) {
        return ret;
    }
    if (has_queue(listener)) {
        return err_say(err, -EAGAIN, "%s: connections wait at the socket that has gone", l.path);
    }
    ret = remove_stale(l.path, ALIVE_AT_ONCE, err);
    if (ret == 0) {
        ret = make_socket(&l, err);
    }
    if (ret < 0) {
        return ret;
    }
    ret = replace_socket(listener, l.fd, err);
    if (ret < 0) {
        unlink_ours(&l);
    } else {
        listener->dev = l.dev;
        listener->ino = l.ino;
    }
    close(l.fd);
    return ret;
}

void unix_unlisten(struct unix_listener *listener)
{
    if (listener->fd < 0) {
        return;
    }
    /* First, so that nobody connects to a listener that will never answer. */
    close_listening(listener->fd, (uintptr_t)listener);
    unlink_ours(listener);
    lock_give_up(listener->lock_fd, listener->path);
    listener->fd = -1;
    listener->lock_fd = -1;
}
