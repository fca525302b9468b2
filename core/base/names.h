/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * System calls that take a name which a person has chosen: of an image, a socket, a directory of
 * sockets.  Whoever serves guests as a user without rights is not allowed them, and asks a process
 * that is (daemon/broker.h); without such a process they are the system calls themselves.
 * All return what these return, with errno; those below besides.
 * Thread: any, once names_ask_at was called or not.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define NAMES_REFUSED ENOTNAM /* it is none of those that we may use */
#define NAMES_GONE EOWNERDEAD /* nobody is there to ask any more */

#define NAMES_TEXT_BYTES 256

enum names_op {
    NAMES_OPEN,
    NAMES_REOPEN, /* `fd` once more, by an open file description of its own */
    NAMES_STAT,
    NAMES_LSTAT,
    NAMES_READLINK,
    NAMES_UNLINK,
    NAMES_MKDIR,
    NAMES_BIND,    /* `fd` */
    NAMES_CONNECT, /* `fd` */
    NAMES_CHOWN,   /* `fd`, which means a file */
    NAMES_CHMOD,   /* the same */
    NAMES_LABEL,   /* the same */
    NAMES_WATCH,   /* by `fd`, inotify's */
    NAMES_HOLDER,  /* who has locked the file `fd`, a struct holder in the text of the answer */
};

struct names_question {
    enum names_op op;
    int flags; /* of open; what to watch for */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    int64_t first; /* of a span of bytes */
    int64_t len;
    char path[PATH_MAX];
    char text[NAMES_TEXT_BYTES]; /* the name of a label */
    char value[NAMES_TEXT_BYTES];
};

struct names_answer {
    int ret;
    int code; /* errno, when ret is -1 */
    struct stat st;
    char text[PATH_MAX]; /* a link, a holder; `ret` bytes */
};

/*
 * Whom to ask: `fd` goes along, -1: none; what is opened comes back as `ret`.  Before there are
 * threads; NULL: nobody.
 */
void names_ask_at(void (*ask)(const struct names_question *question, int fd,
                              struct names_answer *answer));
bool names_are_asked(void);

int names_open(const char *path, int flags, mode_t mode);
int names_reopen(int fd, int flags);
int names_stat(const char *path, struct stat *st);
int names_lstat(const char *path, struct stat *st);
ssize_t names_readlink(const char *path, char *text, size_t size);
int names_unlink(const char *path);
int names_mkdir(const char *path, mode_t mode);
int names_bind(int fd, const char *path); /* a UNIX socket; path shorter than sun_path */
int names_connect(int fd, const char *path);
int names_chown(int fd, uid_t uid, gid_t gid); /* fd may be O_PATH, here and below */
int names_chmod(int fd, mode_t mode);
int names_label(int fd, const char *name, const char *value);
int names_watch(int inotify, const char *path, uint32_t events);

/* What it would do itself; the process that is asked does it so, too. */
void names_do(const struct names_question *question, int fd, struct names_answer *answer);

/* Asks, where there is somebody; `ret` -1 otherwise.  For questions that are none of the above. */
void names_put(const struct names_question *question, int fd, struct names_answer *answer);
