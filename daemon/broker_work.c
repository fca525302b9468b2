/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* O_PATH, O_DIRECT */
#include "daemon/broker_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/holder.h"
#include "transports/unix_socket.h"

/* Of an image, and of a lock; never O_TRUNC or O_APPEND. */
#define OPEN_FLAGS                                                                         \
    (O_ACCMODE | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_DIRECT | O_DIRECTORY | \
     O_EXCL | O_CREAT | O_PATH | O_LARGEFILE)

bool broker_opens(const struct names_question *question)
{
    return question->op == NAMES_OPEN || question->op == NAMES_REOPEN;
}

static int refuse(void)
{
    errno = NAMES_REFUSED;
    return -1;
}

/* The process that asks says where they may be: broker_ask.c. */
static int refuse_socket(void)
{
    errno = BROKER_NO_SOCKET;
    return -1;
}

static bool is_lock(const char *path)
{
    size_t len = strlen(path), end = strlen(UNIX_LOCK_SUFFIX);

    return len > end && strcmp(path + len - end, UNIX_LOCK_SUFFIX) == 0;
}

/* The directory of `path` as it is now; *base is what follows, which is one name.  -1: errno. */
static int open_parent(const char *path, const char **base)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');

    *base = slash + 1;
    if (strcmp(*base, ".") == 0 || (*base)[0] == '\0') {
        return refuse();
    }
    (void)snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int keep_errno_close(int fd, int ret)
{
    int code = errno;

    close(fd);
    errno = code;
    return ret;
}

/* Of a path that may be one of a socket or its lock. */
static int open_socket_parent(const struct broker_rules *rules, const char *path, const char **base)
{
    int dir = open_parent(path, base);

    return dir < 0 || broker_allows_in(rules, dir, *base, BROKER_SOCKET)
               ? dir
               : keep_errno_close(dir, refuse_socket());
}

/* ---- open ---- */

/* A lock that is there has nothing in it. */
static bool is_as_made(int fd, bool lock)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
        (lock && st.st_size > 0)) {
        return false;
    }
    if (!lock) {
        broker_made(fd, "");
    }
    return true;
}

static int create(const struct broker_rules *rules, const struct names_question *q)
{
    bool lock = is_lock(q->path) && (q->flags & O_NOFOLLOW);
    const char *base;
    int dir = open_parent(q->path, &base);
    int fd = -1;

    if (dir < 0) {
        return -1;
    }
    if (lock && !broker_allows_in(rules, dir, base, BROKER_SOCKET)) {
        return keep_errno_close(dir, refuse_socket());
    }
    if (!lock && (!(q->flags & O_EXCL) || !broker_allows_in(rules, dir, base, BROKER_IMAGE))) {
        return keep_errno_close(dir, refuse());
    }
    fd = openat(dir, base, q->flags | O_NOFOLLOW | O_CLOEXEC, q->mode & 0600);
    if (fd >= 0 && !is_as_made(fd, lock)) {
        fd = keep_errno_close(fd, refuse());
    }
    return keep_errno_close(dir, fd);
}

/* An image that was deleted lies where it was, for who has it open. */
static bool find_place(int meant, const struct names_question *q, const struct stat *st,
                       char place[PATH_MAX])
{
    return q->op == NAMES_REOPEN && st->st_nlink == 0 ? broker_name(meant, place)
                                                      : broker_place(meant, place);
}

/* To set its mode, or to have what is in it on stable storage. */
static bool may_open_dir(const struct broker_rules *rules, const char *place,
                         const struct names_question *q)
{
    return (q->flags & O_DIRECTORY) && (q->flags & O_ACCMODE) == O_RDONLY &&
           (broker_allows(rules, place, BROKER_FOLDER) ||
            broker_allows(rules, place, BROKER_SOCKET_DIR));
}

/* What may be opened of what is meant.  A FIFO or terminal never is, which could hold up anybody.
 */
static bool may_open(const struct broker_rules *rules, int meant, const struct names_question *q)
{
    char place[PATH_MAX];
    struct stat st;

    if (fstat(meant, &st) < 0 || !find_place(meant, q, &st, place)) {
        return false;
    }
    if (q->flags & O_PATH) {
        return S_ISSOCK(st.st_mode) && broker_allows(rules, place, BROKER_SOCKET);
    }
    if (S_ISDIR(st.st_mode)) {
        return may_open_dir(rules, place, q);
    }
    if (is_lock(place) && S_ISREG(st.st_mode) && st.st_size == 0 &&
        broker_allows(rules, place, BROKER_SOCKET)) {
        return (q->flags & O_ACCMODE) == O_RDONLY;
    }
    return (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && !(st.st_mode & (S_ISUID | S_ISGID)) &&
           broker_allows(rules, place, BROKER_IMAGE);
}

/* By the file itself, so that what was looked at is what is opened. */
static int open_meant(const struct broker_rules *rules, int meant, const struct names_question *q)
{
    char name[32];

    if (!may_open(rules, meant, q)) {
        return refuse();
    }
    if (q->flags & O_PATH) {
        return fcntl(meant, F_DUPFD_CLOEXEC, 0);
    }
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", meant);
    return open(name, (q->flags & ~O_NOFOLLOW) | O_CLOEXEC);
}

static int open_name(const struct broker_rules *rules, const struct names_question *q)
{
    int meant;

    if ((q->flags & ~OPEN_FLAGS) || ((q->flags & O_CREAT) && (q->flags & (O_PATH | O_DIRECTORY)))) {
        return refuse(); /* beside O_PATH, the kernel forgets O_CREAT and O_EXCL */
    }
    if (q->flags & O_CREAT) {
        return create(rules, q);
    }
    meant = open(q->path, O_PATH | O_CLOEXEC | (q->flags & O_NOFOLLOW));
    return meant < 0 ? -1 : keep_errno_close(meant, open_meant(rules, meant, q));
}

static int reopen(const struct broker_rules *rules, const struct names_question *q, int fd)
{
    if ((q->flags & ~(O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_LARGEFILE)) != O_RDONLY) {
        return refuse();
    }
    return open_meant(rules, fd, q);
}

/* ---- what is made, and goes ---- */

static bool has_lock_beside(int dir, const char *base)
{
    char lock[NAME_MAX + 1];
    struct stat st;

    return snprintf(lock, sizeof(lock), "%s" UNIX_LOCK_SUFFIX, base) < (int)sizeof(lock) &&
           fstatat(dir, lock, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* Sockets of a daemon before us have a lock beside them. */
static bool may_unlink(const struct broker_rules *rules, int dir, const char *base)
{
    bool is_place = broker_allows_in(rules, dir, base, BROKER_SOCKET);
    struct stat st;

    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return true; /* let it fail */
    }
    if (S_ISSOCK(st.st_mode)) {
        return is_place && (broker_has_made(dir, base) || has_lock_beside(dir, base));
    }
    return S_ISREG(st.st_mode) &&
           ((is_lock(base) && st.st_size == 0 && is_place) ||
            (broker_has_made(dir, base) && broker_allows_in(rules, dir, base, BROKER_IMAGE)));
}

static int unlink_name(const struct broker_rules *rules, const struct names_question *q)
{
    const char *base;
    int dir = open_parent(q->path, &base);

    if (dir < 0) {
        return -1;
    }
    return keep_errno_close(dir, may_unlink(rules, dir, base) ? unlinkat(dir, base, 0) : refuse());
}

/* Who owns the directory may have put another one there, but none that is root's and new. */
static int note_dir(int dir, const char *base)
{
    int made = openat(dir, base, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (made >= 0) {
        if (fstat(made, &st) == 0 && st.st_uid == geteuid()) {
            broker_made(made, "");
        }
        close(made);
    }
    return 0;
}

static int make_dir_in(const struct broker_rules *rules, int dir, const char *base, mode_t mode)
{
    struct stat st;

    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    if (!broker_allows_in(rules, dir, base, BROKER_SOCKET_DIR)) {
        return refuse_socket();
    }
    return mkdirat(dir, base, mode & 0755) < 0 ? -1 : note_dir(dir, base);
}

/* Of a path whose beginning is there already, each part is tried. */
static int make_dir(const struct broker_rules *rules, const struct names_question *q)
{
    char path[PATH_MAX];
    const char *base;
    int dir;

    (void)snprintf(path, sizeof(path), "%s", q->path);
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--) {
        path[len - 1] = '\0';
    }
    dir = open_parent(path, &base);
    return dir < 0 ? -1 : keep_errno_close(dir, make_dir_in(rules, dir, base, q->mode));
}

/* In that directory, wherever its name leads by now. */
static int bind_in(int fd, int dir, const char *base)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir, base) >=
        (int)sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

/* It is the process's, as others of its sockets are, until it is given away. */
static int give_socket(const struct broker_rules *rules, int dir, const char *base)
{
    int file = openat(dir, base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    int ret = 0;

    if (file < 0) {
        return 0;
    }
    if (fstat(file, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_nlink == 1 &&
        st.st_uid == geteuid()) {
        broker_made(file, "");
        ret = fchownat(file, "", rules->uid, rules->gid, AT_EMPTY_PATH);
    }
    return keep_errno_close(file, ret);
}

static int bind_name(const struct broker_rules *rules, const struct names_question *q, int fd)
{
    const char *base;
    int dir = open_socket_parent(rules, q->path, &base);
    int ret = dir < 0 ? -1 : bind_in(fd, dir, base);

    if (ret == 0) {
        ret = give_socket(rules, dir, base);
    }
    return dir < 0 ? -1 : keep_errno_close(dir, ret);
}

static int connect_in(int dir, const char *base)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int file = openat(dir, base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int fd = file < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int ret = -1;

    if (fd >= 0) {
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
        ret = keep_errno_close(fd, connect(fd, (struct sockaddr *)&address, sizeof(address)));
    }
    return file < 0 ? -1 : keep_errno_close(file, ret);
}

/* Only whether somebody listens: no connection of root's is given away. */
static int connect_name(const struct broker_rules *rules, const struct names_question *q)
{
    const char *base;
    int dir = open_socket_parent(rules, q->path, &base);

    return dir < 0 ? -1 : keep_errno_close(dir, connect_in(dir, base));
}

/* Of sockets and locks. */
static int lstat_name(const struct broker_rules *rules, const struct names_question *q,
                      struct stat *st)
{
    const char *base;
    int dir = open_socket_parent(rules, q->path, &base);

    return dir < 0 ? -1 : keep_errno_close(dir, fstatat(dir, base, st, AT_SYMLINK_NOFOLLOW));
}

/* The directory of a socket. */
static int watch_name(const struct broker_rules *rules, const struct names_question *q, int inotify)
{
    char place[PATH_MAX], name[32];
    int dir = open(q->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0) {
        return -1;
    }
    if (!broker_place(dir, place) || !broker_allows(rules, place, BROKER_SOCKET_DIR)) {
        return keep_errno_close(dir, refuse_socket());
    }
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", dir);
    return keep_errno_close(dir, inotify_add_watch(inotify, name, (uint32_t)q->flags));
}

/* ---- owners, modes, labels: of what was made here ---- */

/*
 * A directory is never for everybody, who could put links there, and has no label.  What was moved
 * is its owner's.
 */
static bool may_change(const struct broker_rules *rules, const struct names_question *q, int fd)
{
    char place[PATH_MAX];
    struct stat st;

    if (fstat(fd, &st) < 0 || !broker_has_made(fd, "") || !broker_place(fd, place)) {
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        return q->op != NAMES_LABEL && !(q->mode & S_IWOTH) &&
               broker_allows(rules, place, BROKER_SOCKET_DIR);
    }
    return S_ISSOCK(st.st_mode) && broker_allows(rules, place, BROKER_SOCKET);
}

static int change(const struct broker_rules *rules, const struct names_question *q, int fd,
                  struct names_answer *answer)
{
    bool is_label = q->op == NAMES_LABEL;

    if (!may_change(rules, q, fd) || (q->mode & ~0777u) ||
        (is_label && strcmp(q->text, "security.selinux") != 0 &&
         strcmp(q->text, "security.SMACK64") != 0)) {
        return refuse();
    }
    names_do(q, fd, answer);
    errno = answer->code;
    return answer->ret;
}

/* ---- */

static int find_holder(const struct broker_rules *rules, const struct names_question *q, int fd,
                       struct names_answer *answer)
{
    const struct lock_span span = {.first = q->first, .len = q->len};
    struct holder holder;

    memset(&holder, 0, sizeof(holder)); /* it goes as it lies in memory */
    if (!holder_find_other(rules->asker, fd, &span, &holder)) {
        return 0;
    }
    memcpy(answer->text, &holder, sizeof(holder));
    return (int)sizeof(holder);
}

/* Whatever an image's path leads to, by whichever links, is told, and its place is not asked. */
static int look(const struct names_question *q, struct names_answer *answer)
{
    names_do(q, -1, answer);
    errno = answer->code;
    return answer->ret;
}

static int work_by_fd(const struct broker_rules *rules, const struct names_question *q, int fd,
                      struct names_answer *answer)
{
    if (fd < 0) {
        return refuse();
    }
    switch (q->op) {
    case NAMES_REOPEN:
        return reopen(rules, q, fd);
    case NAMES_CHOWN:
    case NAMES_CHMOD:
    case NAMES_LABEL:
        return change(rules, q, fd, answer);
    case NAMES_HOLDER:
        return find_holder(rules, q, fd, answer);
    default:
        return refuse();
    }
}

static int work_by_name(const struct broker_rules *rules, const struct names_question *q, int fd,
                        struct names_answer *answer)
{
    switch (q->op) {
    case NAMES_OPEN:
        return open_name(rules, q);
    case NAMES_STAT:
    case NAMES_READLINK:
        return look(q, answer);
    case NAMES_LSTAT:
        return lstat_name(rules, q, &answer->st);
    case NAMES_WATCH:
        return watch_name(rules, q, fd);
    case NAMES_UNLINK:
        return unlink_name(rules, q);
    case NAMES_MKDIR:
        return make_dir(rules, q);
    case NAMES_BIND:
        return bind_name(rules, q, fd);
    case NAMES_CONNECT:
        return connect_name(rules, q);
    default:
        return work_by_fd(rules, q, fd, answer);
    }
}

void broker_work(const struct broker_rules *rules, const struct names_question *question, int fd,
                 struct names_answer *answer)
{
    bool has_path = question->path[0] != '\0';

    *answer = (struct names_answer){0};
    if (has_path) {
        answer->ret =
            broker_is_path(question->path) ? work_by_name(rules, question, fd, answer) : refuse();
    } else {
        answer->ret = work_by_fd(rules, question, fd, answer);
    }
    answer->code = answer->ret < 0 ? errno : 0;
}
