/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the broker does for a process that may be a guest's by now: which places may have images,
 * which files are of its own making.  A place is what the kernel calls an open file, so no symbolic
 * link leads past this.
 * Thread: any of the broker's.
 */

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "core/base/err.h"

#define BROKER_DIRS_MAX 16u

struct broker_rules {
    uid_t uid; /* whom sockets are for */
    gid_t gid;
    pid_t asker;
    const char *socket_dir; /* these three as the kernel names them: broker_rules_resolve */
    const char *control_path;
    const char *state_dir;
    const char *image_dir[BROKER_DIRS_MAX]; /* directories or files; none: all but the system's */
    unsigned image_dirs;
};

/* Absolute, and nothing in it goes up. */
bool broker_is_path(const char *path);

/* What the kernel calls an open file; false where it has no name. */
bool broker_name(int fd, char name[PATH_MAX]);

/*
 * The same, which leads to that file and no other: not of a memfd, a deleted file, or one that lies
 * elsewhere for another process, to all of which links of /proc lead.
 */
bool broker_place(int fd, char place[PATH_MAX]);

/* Is it, or is it in, `dir`? */
bool broker_is_below(const char *place, const char *dir);

/* All of them are there by now, but the control socket. */
int broker_rules_resolve(struct broker_rules *rules, struct err *err);

enum broker_kind {
    BROKER_IMAGE,
    BROKER_FOLDER, /* of images */
    BROKER_SOCKET, /* and its lock: below socket_dir, where nobody else has any; or control's */
    BROKER_SOCKET_DIR,
};

/* May that lie there? */
bool broker_allows(const struct broker_rules *rules, const char *place, enum broker_kind kind);

/* The same of `base`, which need not be there, in the directory that `dir` is. */
bool broker_allows_in(const struct broker_rules *rules, int dir, const char *base,
                      enum broker_kind kind);

/*
 * `name` in `dir` (as of fstatat; "": dir itself) was made for the process; and was it?  The last
 * few thousand are known, by number and time of birth, as numbers are given out again.
 */
void broker_made(int dir, const char *name);
bool broker_has_made(int dir, const char *name);
