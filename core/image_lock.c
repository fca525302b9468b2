/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/image_lock.h"

#include <errno.h>
#include <fcntl.h>

#include "core/log.h"

/*
 * QEMU's layout: somebody who uses a permission holds a shared lock on byte 100 + its number,
 * somebody who does not want others to have it holds one on byte 200 + its number.
 * Source: QEMU, "block/file-posix.c", RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE;
 * "Image locking" in qemu-block-drivers(7).
 */
#define USED_BASE 100
#define UNSHARED_BASE 200

enum permission {
    PERM_CONSISTENT_READ = 0,
    PERM_WRITE = 1,
    PERM_RESIZE = 3,
};

static int lock_byte(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static bool is_locked_by_others(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int lock_all(int fd, bool is_readonly)
{
    int ret = lock_byte(fd, USED_BASE + PERM_CONSISTENT_READ);

    if (ret == 0 && !is_readonly) {
        ret = lock_byte(fd, USED_BASE + PERM_WRITE);
    }
    if (ret == 0) {
        ret = lock_byte(fd, UNSHARED_BASE + PERM_WRITE);
    }
    if (ret == 0) {
        ret = lock_byte(fd, UNSHARED_BASE + PERM_RESIZE);
    }
    return ret;
}

/* First lock, then look: of two that come at once at least one sees the other. */
int image_lock(int fd, const char *path, bool is_readonly, struct err *err)
{
    int ret = lock_all(fd, is_readonly);

    if (ret < 0 && ret != -EAGAIN && ret != -EACCES) {
        log_warn("%s: the file system has no locks: nothing keeps other programs off the image",
                 path);
        return 0;
    }
    if (ret == 0 && !is_locked_by_others(fd, UNSHARED_BASE + PERM_CONSISTENT_READ) &&
        (is_readonly || !is_locked_by_others(fd, UNSHARED_BASE + PERM_WRITE)) &&
        !is_locked_by_others(fd, USED_BASE + PERM_WRITE) &&
        !is_locked_by_others(fd, USED_BASE + PERM_RESIZE)) {
        return 0;
    }
    err_say(err, -EBUSY, "image %s is in use by another disk or program that %s", path,
            is_readonly ? "writes it" : "reads or writes it");
    err_hint(err, "see who has it open with: fuser -v %s", path);
    return -EBUSY;
}
