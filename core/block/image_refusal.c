/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_refusal.h"

#include <errno.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/block/image_claim.h"
#include "core/base/names.h"

void image_refusal_option(const struct image_opts *opts, struct err *err, const char *option)
{
    err_hint(err, opts->is_new ? "use %s" : "or remove the disk, and add it again with %s", option);
}

/* Returns false when there is no link at the path. */
static bool hint_link(const char *path, struct err *err)
{
    char target[PATH_MAX];
    ssize_t len = names_readlink(path, target, sizeof(target));

    if (len >= 0) {
        err_hint(err,
                 "it is a symbolic link to %.*s, which is not there: name that instead, or delete "
                 "the link",
                 (int)len, target);
    }
    return len >= 0;
}

static void hint_missing(const struct image_opts *opts, struct err *err)
{
    if ((opts->is_new || opts->is_other) && hint_link(opts->path, err)) {
        return;
    }
    if (opts->create) {
        err_hint(err, "make its directory first");
    } else if (opts->is_new) {
        err_hint(err, "to make a new one, use --create --size SIZE");
    } else if (!opts->is_other) {
        err_hint(err, "put it back, or a symbolic link to where it is now");
    }
}

static void hint_exists(const struct image_opts *opts, struct err *err)
{
    struct stat st;

    if (names_stat(opts->path, &st) == 0 || !hint_link(opts->path, err)) {
        err_hint(err, "leave out --create to use it as it is");
    }
}

/* Not the mode, which says EACCES. */
static void hint_forbidden(const struct image_opts *opts, struct err *err)
{
    struct stat st;

    if (!opts->create && names_stat(opts->path, &st) == 0 && S_ISREG(st.st_mode)) {
        err_hint(err, "it may be immutable or append-only, see lsattr: chattr -ia ends that");
        image_refusal_option(opts, err, "--readonly");
    } else {
        err_hint(err, "vblkd runs as uid %u, and it is not the mode that forbids it",
                 (unsigned)geteuid());
    }
}

int image_refusal_open(int code, const struct image_opts *opts, struct err *err)
{
    if (code == -ECANCELED) {
        return err_say(err, code, "image %s: not opened any more", opts->path);
    }
    err_set(err, code, "cannot %s image %s", opts->create ? "create" : "open", opts->path);
    switch (code) {
    case -EINVAL:
        if (cache_is_direct(opts->cache)) {
            err_hint(err, "its file system has no O_DIRECT");
            image_refusal_option(opts, err, "--cache writeback");
        }
        break;
    case -ENOENT:
        hint_missing(opts, err);
        break;
    case -EEXIST:
        hint_exists(opts, err);
        break;
    case -EACCES:
        err_hint(err, "vblkd runs as uid %u", (unsigned)geteuid());
        break;
    case -EPERM:
        hint_forbidden(opts, err);
        break;
    case -EROFS:
        err_hint(err, "make its file system writable");
        image_refusal_option(opts, err, "--readonly");
        break;
    case -NAMES_REFUSED:
        (void)err_say(err, code, "image %s: it lies at none of the places where images may be",
                      opts->path);
        err_hint(err, "see --image-dir of vblkd");
        break;
    case -NAMES_GONE:
        (void)err_say(err, code, "image %s: the process that opens images for vblkd has ended",
                      opts->path);
        err_hint(err, "restart vblkd");
        break;
    case -EBUSY:
        image_claim_hint(opts, err);
        break;
    default:
        break;
    }
    return code;
}
