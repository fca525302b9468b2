/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_lock.h"

#include <errno.h>
#include <fcntl.h>

#include "core/base/file_lock.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/block/image_holder.h"

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

/*
 * Our own, which QEMU does not look at: a part of it is in use.  Users of different parts do not
 * disturb one another, so they must not look like users of the whole.
 */
#define PART_USED 300
#define PART_WRITTEN 301

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

static int lock_whole(int fd, bool is_readonly)
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

static int lock_part(int fd, bool is_readonly)
{
    int ret = lock_byte(fd, PART_USED);

    return ret == 0 && !is_readonly ? lock_byte(fd, PART_WRITTEN) : ret;
}

/* Whom neither the whole of it nor a part may be used beside. */
static bool is_whole_taken(int fd, bool is_readonly)
{
    return is_locked_by_others(fd, UNSHARED_BASE + PERM_CONSISTENT_READ) ||
           (!is_readonly && is_locked_by_others(fd, UNSHARED_BASE + PERM_WRITE)) ||
           is_locked_by_others(fd, USED_BASE + PERM_WRITE) ||
           is_locked_by_others(fd, USED_BASE + PERM_RESIZE);
}

static bool is_part_taken(int fd, bool is_readonly)
{
    return is_locked_by_others(fd, PART_WRITTEN) ||
           (!is_readonly && is_locked_by_others(fd, PART_USED));
}

static int refuse_lock(int fd, const char *path, const struct image_use *use, struct err *err)
{
    char quoted[TEXT_QUOTED_BYTES];
    char holder[IMAGE_HOLDER_BYTES];
    const char *what = use->is_readonly ? "writes it" : "reads or writes it";
    bool is_seen = !use->is_retry && image_holder_find(fd, holder);

    if (path == use->image) {
        err_say(err, -EBUSY, "image %s is in use by another disk or program that %s%s%s", path,
                what, is_seen ? ": " : "", is_seen ? holder : "");
    } else {
        err_say(err, -EBUSY,
                "image %s lies on %s, which is in use by another disk or program that %s%s%s",
                use->image, path, what, is_seen ? ": " : "", is_seen ? holder : "");
    }
    if (!is_seen && !use->is_retry) {
        err_hint(err, "it may be another host's");
    }
    err_hint(err, "see who has it open with: fuser -v %s", text_quote(path, quoted));
    return -EBUSY;
}

/* First lock, then look: of two that come at once at least one sees the other. */
static int try_use(int fd, const struct image_use *use)
{
    int ret = use->is_part ? lock_part(fd, use->is_readonly) : lock_whole(fd, use->is_readonly);

    if (ret == -EAGAIN || ret == -EACCES) {
        return -EBUSY;
    }
    if (ret == 0 && (is_whole_taken(fd, use->is_readonly) ||
                     (!use->is_part && is_part_taken(fd, use->is_readonly)))) {
        return -EBUSY;
    }
    return ret;
}

/*
 * Whoever has just closed the image may be seen as its user for a moment, also we ourselves: a
 * thread of io_uring lets go of the file after its last result is there.
 */
int image_lock(int fd, const char *path, const struct image_use *use, struct err *err)
{
    unsigned tries = 0;
    int ret = try_use(fd, use);

    while (ret == -EBUSY && file_lock_again(&tries)) {
        ret = try_use(fd, use);
    }
    if (ret == -EBUSY) {
        return refuse_lock(fd, path, use, err);
    }
    if (ret < 0) {
        log_warn("%s: the file system has no locks: nothing keeps other programs off the image",
                 path);
    }
    return 0;
}
