/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* AT_EMPTY_PATH */
#include "core/base/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static void (*ask_whom)(const struct names_question *question, int fd, struct names_answer *answer);

void names_ask_at(void (*ask)(const struct names_question *question, int fd,
                              struct names_answer *answer))
{
    ask_whom = ask;
}

bool names_are_asked(void)
{
    return ask_whom;
}

/* ---- the calls themselves ---- */

#define FD_NAME_BYTES 32

/* A name for a file that is open for nothing but to be meant. */
static const char *name_of_fd(int fd, char name[FD_NAME_BYTES])
{
    (void)snprintf(name, FD_NAME_BYTES, "/proc/self/fd/%d", fd);
    return name;
}

static int address_call(int fd, const char *path,
                        int (*call)(int fd, const struct sockaddr *address, socklen_t len))
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    return call(fd, (struct sockaddr *)&address, sizeof(address));
}

static int bind_call(int fd, const struct sockaddr *address, socklen_t len)
{
    return bind(fd, address, len);
}

static int connect_call(int fd, const struct sockaddr *address, socklen_t len)
{
    return connect(fd, address, len);
}

static int name_call(const struct names_question *q, int fd, struct names_answer *answer)
{
    switch (q->op) {
    case NAMES_OPEN:
        return open(q->path, q->flags, q->mode);
    case NAMES_STAT:
        return stat(q->path, &answer->st);
    case NAMES_LSTAT:
        return lstat(q->path, &answer->st);
    case NAMES_READLINK:
        return (int)readlink(q->path, answer->text, sizeof(answer->text));
    case NAMES_UNLINK:
        return unlink(q->path);
    case NAMES_MKDIR:
        return mkdir(q->path, q->mode);
    case NAMES_BIND:
        return address_call(fd, q->path, bind_call);
    case NAMES_CONNECT:
        return address_call(fd, q->path, connect_call);
    case NAMES_WATCH:
        return inotify_add_watch(fd, q->path, (uint32_t)q->flags);
    default:
        errno = EINVAL;
        return -1;
    }
}

static int fd_call(const struct names_question *q, int fd)
{
    char name[FD_NAME_BYTES];

    switch (q->op) {
    case NAMES_REOPEN:
        return open(name_of_fd(fd, name), q->flags);
    case NAMES_CHOWN:
        return fchownat(fd, "", q->uid, q->gid, AT_EMPTY_PATH);
    case NAMES_CHMOD:
        return chmod(name_of_fd(fd, name), q->mode);
    case NAMES_LABEL:
    default:
        return setxattr(name_of_fd(fd, name), q->text, q->value, strlen(q->value) + 1, 0);
    }
}

static bool is_of_fd(enum names_op op)
{
    return op == NAMES_REOPEN || op == NAMES_CHOWN || op == NAMES_CHMOD || op == NAMES_LABEL;
}

void names_do(const struct names_question *question, int fd, struct names_answer *answer)
{
    answer->ret = is_of_fd(question->op) ? fd_call(question, fd) : name_call(question, fd, answer);
    answer->code = answer->ret < 0 ? errno : 0;
}

/* ---- whoever needs one ---- */

void names_put(const struct names_question *question, int fd, struct names_answer *answer)
{
    if (ask_whom) {
        ask_whom(question, fd, answer);
    } else {
        names_do(question, fd, answer);
    }
    if (answer->ret < 0) {
        errno = answer->code;
    }
}

/* Returns false, with errno, when it does not fit. */
static bool put_path(struct names_question *question, const char *path)
{
    size_t len = strlen(path);

    if (len >= sizeof(question->path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(question->path, path, len + 1);
    return true;
}

static int ask_about(struct names_question *question, const char *path, int fd,
                     struct names_answer *answer)
{
    if (!put_path(question, path)) {
        return -1;
    }
    names_put(question, fd, answer);
    return answer->ret;
}

static int ask_simply(struct names_question question, const char *path, int fd)
{
    struct names_answer answer;

    return ask_about(&question, path, fd, &answer);
}

int names_open(const char *path, int flags, mode_t mode)
{
    return ask_simply((struct names_question){.op = NAMES_OPEN, .flags = flags, .mode = mode}, path,
                      -1);
}

int names_reopen(int fd, int flags)
{
    return ask_simply((struct names_question){.op = NAMES_REOPEN, .flags = flags}, "", fd);
}

static int stat_by(enum names_op op, const char *path, struct stat *st)
{
    struct names_question question = {.op = op};
    struct names_answer answer;
    int ret = ask_about(&question, path, -1, &answer);

    if (ret == 0) {
        *st = answer.st;
    }
    return ret;
}

int names_stat(const char *path, struct stat *st)
{
    return stat_by(NAMES_STAT, path, st);
}

int names_lstat(const char *path, struct stat *st)
{
    return stat_by(NAMES_LSTAT, path, st);
}

ssize_t names_readlink(const char *path, char *text, size_t size)
{
    struct names_question question = {.op = NAMES_READLINK};
    struct names_answer answer;
    int ret = ask_about(&question, path, -1, &answer);

    if (ret > 0) {
        ret = (size_t)ret < size ? ret : (int)size;
        memcpy(text, answer.text, (size_t)ret);
    }
    return ret;
}

int names_unlink(const char *path)
{
    return ask_simply((struct names_question){.op = NAMES_UNLINK}, path, -1);
}

int names_mkdir(const char *path, mode_t mode)
{
    return ask_simply((struct names_question){.op = NAMES_MKDIR, .mode = mode}, path, -1);
}

int names_bind(int fd, const char *path)
{
    return ask_simply((struct names_question){.op = NAMES_BIND}, path, fd);
}

int names_connect(int fd, const char *path)
{
    return ask_simply((struct names_question){.op = NAMES_CONNECT}, path, fd);
}

int names_chown(int fd, uid_t uid, gid_t gid)
{
    return ask_simply((struct names_question){.op = NAMES_CHOWN, .uid = uid, .gid = gid}, "", fd);
}

int names_chmod(int fd, mode_t mode)
{
    return ask_simply((struct names_question){.op = NAMES_CHMOD, .mode = mode}, "", fd);
}

int names_label(int fd, const char *name, const char *value)
{
    struct names_question question = {.op = NAMES_LABEL};

    if (strlen(name) >= sizeof(question.text) || strlen(value) >= sizeof(question.value)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(question.text, name, strlen(name) + 1);
    memcpy(question.value, value, strlen(value) + 1);
    return ask_simply(question, "", fd);
}

int names_watch(int inotify, const char *path, uint32_t events)
{
    return ask_simply((struct names_question){.op = NAMES_WATCH, .flags = (int)events}, path,
                      inotify);
}
