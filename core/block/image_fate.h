/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What has become of the file of an image that is open: whether its path still leads to it, and
 * whether its bytes outlive its being closed.
 */

#include "core/block/image_id.h"

enum image_fate_kind {
    IMAGE_UNKNOWN,  /* nobody has looked, or the file system does not answer */
    IMAGE_THERE,    /* the path leads to it */
    IMAGE_MOVED,    /* the path leads nowhere, and it has another name */
    IMAGE_REPLACED, /* the path leads to another file or device */
    IMAGE_DELETED,  /* it has no name, wherever the path leads */
};

/* A copy of plain values. */
struct image_fate {
    enum image_fate_kind kind;
    bool has_name; /* REPLACED: it is at `where`, or elsewhere */
    struct image_id id;
    uint64_t inode;  /* in any file system, unlike the one of `id` */
    unsigned links;  /* its names; 0: none, or it is a device */
    char where[256]; /* its name as the kernel has it, for people, may be cut; "": that is gone */
};

/* A file as it was when it had been made and nobody had written to it; all 0: it was not made. */
struct image_made {
    uint64_t size; /* bytes */
    uint64_t blocks;
    int64_t written_ns; /* when it was changed last */
};

/* What people call it: "there", "deleted".  Constant text. */
const char *image_fate_name(enum image_fate_kind kind);

/* Would closing it lose it, or start find something else? */
static inline bool image_fate_is_danger(const struct image_fate *fate)
{
    return fate->kind == IMAGE_DELETED || fate->kind == IMAGE_REPLACED;
}

/*
 * Look at the path, and at the open file when that is not where it leads.
 *
 * had_name   the file counted at least one name (st_nlink) when it was opened: none is news.  Some
 *            file systems (FUSE) count none of any file, and a file that others hold is opened as
 *            /proc/PID/fd/N without one
 * May block for as long as the file system does.  Thread: any.
 */
void image_fate_look(struct image_fate *fate, const char *path, int fd, bool had_name);

/* "at /srv/a.img", or how to find it; follows "is" or "but".  Only with has_name.  Thread: any. */
void image_fate_say_where(const struct image_fate *fate, char *text, size_t size);

/*
 * What has happened and what to do, for people; "" when all is well.  `fd` is the process's own,
 * -1: it is closed.  Thread: any.
 */
void image_fate_say(const struct image_fate *fate, const char *path, int fd, char *text,
                    size_t size);

/*
 * Delete the file that is open as `fd`, if its path still leads to it.  Returns 0, -ESTALE when it
 * does not, or what was refused.  May block as a look does.  Thread: any.
 */
int image_fate_unlink(const char *path, int fd, bool had_name);

/* As it is now.  Returns 0 or -errno.  May block.  Thread: any. */
int image_made_look(struct image_made *made, int fd);

/* Nobody has written to it, as far as can be told.  May block.  Thread: any. */
bool image_made_is_untouched(const struct image_made *made, int fd);
