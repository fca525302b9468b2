/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/names.h"
#include "core/block/image_claim.h"
#include "core/block/image_id.h"
#include "core/block/image_refusal.h"

static int open_flags(const struct image_opts *opts)
{
    int flags = O_CLOEXEC | O_NOCTTY;

    flags |= opts->is_readonly ? O_RDONLY : O_RDWR;
    if (cache_is_direct(opts->cache)) {
        flags |= O_DIRECT;
    }
    if (opts->create) {
        flags |= O_CREAT | O_EXCL;
    }
    return flags;
}

bool image_fd_is_claimed(const struct image_opts *opts)
{
    return !opts->is_readonly && !opts->is_look;
}

bool image_fd_has_company(const struct image_opts *opts)
{
    return opts->is_shareable || !image_range_is_whole(&opts->range);
}

/*
 * Look before opening: opening a FIFO or a terminal may block or do harm.  Returns the flags
 * that the kind of file asks for beside ours, or -errno.
 */
static int check_kind(const struct image_opts *opts, struct err *err)
{
    struct stat st;

    if (opts->create) {
        return 0;
    }
    if (names_stat(opts->path, &st) < 0) {
        return image_refusal_open(-errno, opts, err);
    }
    if (image_id_is_of(&opts->ours, &st)) {
        return err_say(err, -EALREADY, "image %s is the one that the disk has open", opts->path);
    }
    if (S_ISBLK(st.st_mode)) {
        /* The kernel's own claim: refused while the device is mounted. */
        return image_fd_is_claimed(opts) && !image_fd_has_company(opts) ? O_EXCL : 0;
    }
    if (!S_ISREG(st.st_mode)) {
        return err_say(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
                       "image %s is %s: it has to be a regular file or a block device", opts->path,
                       S_ISDIR(st.st_mode)    ? "a directory"
                       : S_ISCHR(st.st_mode)  ? "a character device"
                       : S_ISFIFO(st.st_mode) ? "a FIFO"
                       : S_ISSOCK(st.st_mode) ? "a socket"
                                              : "of an unknown kind");
    }
    return 0;
}

int image_fd_open(const struct image_opts *opts, struct err *err)
{
    int flags = check_kind(opts, err);
    int fd = flags < 0 ? flags : image_claim_take(opts, open_flags(opts) | flags);

    return fd < 0 && flags >= 0 ? image_refusal_open(fd, opts, err) : fd;
}
