/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/file_lock.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/block/image_holder.h"
#include "core/block/image_owner.h"
#include "core/block/image_wait.h"

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

/* Our own as well: somebody reads while others write, whom an exclusive writer would not see. */
#define LOOKED_ON 302

/*
 * Of a range, a byte for each sector: far behind what any file has.  All of it is shared locks, as
 * those of QEMU are.
 */
#define RANGE_WRITTEN ((off_t)1 << 60)
#define RANGE_UNSHARED (RANGE_WRITTEN + RANGE_SECTORS)
#define RANGE_LOOKED_ON (RANGE_UNSHARED + RANGE_SECTORS)
#define RANGE_SECTORS ((off_t)1 << 55)

/* Where it is said who writes, who does not want others to, and who bears that others do. */
struct lock_places {
    off_t written, unshared, looked_on;
    off_t len;
};

static const struct lock_places whole_places = {
    .written = USED_BASE + PERM_WRITE,
    .unshared = UNSHARED_BASE + PERM_WRITE,
    .looked_on = LOOKED_ON,
    .len = 1,
};

/* One who tries, and at last whose lock is in the way. */
struct attempt {
    int fd;
    const struct image_use *use;
    struct lock_span found;
};

static struct lock_places places_of(const struct image_range *range)
{
    off_t first = (off_t)(range->offset / SECTOR_SIZE);
    off_t end = range->length
                    ? (off_t)((range->offset + range->length + SECTOR_SIZE - 1) / SECTOR_SIZE)
                    : RANGE_SECTORS;

    return (struct lock_places){
        .written = RANGE_WRITTEN + first,
        .unshared = RANGE_UNSHARED + first,
        .looked_on = RANGE_LOOKED_ON + first,
        .len = end - first,
    };
}

static int lock_bytes(int fd, off_t first, off_t len)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = len};

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static bool find_other(struct attempt *attempt, off_t first, off_t len)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = len};

    attempt->found = (struct lock_span){.first = first, .len = len};
    return fcntl(attempt->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* ---- lock ---- */

static int lock_places(const struct attempt *attempt, const struct lock_places *at)
{
    const struct image_use *use = attempt->use;
    int ret = 0;

    if (!use->is_readonly) {
        ret = lock_bytes(attempt->fd, at->written, at->len);
    }
    if (ret == 0 && !use->is_shareable) {
        ret = lock_bytes(attempt->fd, at->unshared, at->len);
    }
    if (ret == 0 && use->is_shareable && use->is_readonly) {
        ret = lock_bytes(attempt->fd, at->looked_on, at->len);
    }
    return ret;
}

static int lock_part(const struct attempt *attempt)
{
    int ret = lock_bytes(attempt->fd, PART_USED, 1);

    return ret == 0 && !attempt->use->is_readonly ? lock_bytes(attempt->fd, PART_WRITTEN, 1) : ret;
}

/*
 * One of a range looks like one of the whole to QEMU, but for the byte that says that it reads: all
 * others have that, so whoever finds it knows that not all is others' ranges.
 */
static int lock_all_places(const struct attempt *attempt)
{
    const struct image_range *range = &attempt->use->range;
    const struct lock_places places = places_of(range);
    bool is_whole = image_range_is_whole(range);
    int ret = is_whole ? lock_bytes(attempt->fd, USED_BASE + PERM_CONSISTENT_READ, 1)
                       : lock_places(attempt, &places);

    if (ret == 0) {
        ret = lock_places(attempt, &whole_places);
    }
    return ret == 0 ? lock_bytes(attempt->fd, UNSHARED_BASE + PERM_RESIZE, 1) : ret;
}

/* ---- look ---- */

static bool is_place_taken(struct attempt *attempt, const struct lock_places *at)
{
    const struct image_use *use = attempt->use;
    bool writes = !use->is_readonly;
    bool shares = use->is_shareable && !use->is_part; /* whose part it is, no lock of it tells */

    return (writes && find_other(attempt, at->unshared, at->len)) ||
           (!shares && find_other(attempt, at->written, at->len)) ||
           (writes && !shares && find_other(attempt, at->looked_on, at->len)) ||
           (!writes && shares && find_other(attempt, at->unshared, at->len) &&
            find_other(attempt, at->written, at->len));
}

static bool is_range_taken(struct attempt *attempt)
{
    const struct lock_places places = places_of(&attempt->use->range);

    return (find_other(attempt, USED_BASE + PERM_CONSISTENT_READ, 1) &&
            is_place_taken(attempt, &whole_places)) ||
           is_place_taken(attempt, &places);
}

/* Whom neither the whole of it nor a part may be used beside. */
static bool is_whole_taken(struct attempt *attempt)
{
    return find_other(attempt, UNSHARED_BASE + PERM_CONSISTENT_READ, 1) ||
           find_other(attempt, USED_BASE + PERM_RESIZE, 1) ||
           (image_range_is_whole(&attempt->use->range) ? is_place_taken(attempt, &whole_places)
                                                       : is_range_taken(attempt));
}

static bool is_part_taken(struct attempt *attempt)
{
    return find_other(attempt, PART_WRITTEN, 1) ||
           (!attempt->use->is_readonly && find_other(attempt, PART_USED, 1));
}

/* First lock, then look: of two that come at once at least one sees the other. */
static int try_use(struct attempt *attempt)
{
    bool is_part = attempt->use->is_part;
    int ret = is_part ? lock_part(attempt) : lock_all_places(attempt);

    if (ret == -EAGAIN || ret == -EACCES) {
        attempt->found = (struct lock_span){.len = 0};
        return -EBUSY;
    }
    if (ret == 0 && (is_whole_taken(attempt) || (!is_part && is_part_taken(attempt)))) {
        return -EBUSY;
    }
    return ret;
}

/* ---- refuse ---- */

static void hint_others(const struct attempt *attempt, const char *path, bool is_seen,
                        struct err *err)
{
    const struct image_use *use = attempt->use;
    char quoted[TEXT_QUOTED_BYTES];

    if (!is_seen && !use->is_retry) {
        err_hint(err, "it may be another host's, or I/O of a process that was killed");
    }
    err_hint(err, "see who has it open with: fuser -v %s", text_quote(path, quoted));
    if (!use->is_part) {
        err_hint(err,
                 use->is_shareable
                     ? "the other one has to share it, too: --shareable, share-rw=on of QEMU"
                     : "guests that share it by a cluster file system need --shareable, all of "
                       "them");
    }
}

static int refuse_lock(const struct attempt *attempt, const struct image_wait *wait,
                       const char *path, int code, struct err *err)
{
    const struct image_use *use = attempt->use;
    char holder[HOLDER_BYTES] = "";
    char range[IMAGE_RANGE_TEXT_BYTES];
    const char *what = use->is_readonly ? "writes it" : "reads or writes it";
    bool is_seen = wait->is_seen;

    if (code == -ECANCELED) {
        return err_say(err, code, "image %s: not opened any more", use->image);
    }
    if (is_seen) {
        image_holder_say(&wait->holder, holder);
    }
    (void)image_range_say(&use->range, range);
    if (path == use->image) {
        err_say(err, -EBUSY, "image %s%s is in use by another disk or program that %s%s%s", path,
                range, what, is_seen ? ": " : "", is_seen ? holder : "");
    } else {
        err_say(err, -EBUSY,
                "image %s%s lies on %s, which is in use by another disk or program that %s%s%s",
                use->image, range, path, what, is_seen ? ": " : "", is_seen ? holder : "");
    }
    hint_others(attempt, path, is_seen, err);
    return -EBUSY;
}

static int wait_a_moment(const struct attempt *attempt, struct image_wait *wait)
{
    if (attempt->use->is_retry) {
        return file_lock_again(&wait->tries) ? 0 : -EBUSY;
    }
    return image_wait_again(wait, attempt->fd, &attempt->found);
}

/*
 * Whoever has just closed the image may be seen as its user for a moment, also we ourselves: a
 * thread of io_uring lets go of the file after its last result is there.
 */
int image_lock(int fd, const char *path, const struct image_use *use, struct err *err)
{
    struct attempt attempt = {.fd = fd, .use = use};
    struct image_wait wait = {.image = path, .owner = use->owner, .progress = use->progress};
    int ret = try_use(&attempt);

    while (ret == -EBUSY && (ret = wait_a_moment(&attempt, &wait)) == 0) {
        ret = try_use(&attempt);
    }
    image_wait_end(&wait, ret == 0);
    if (ret == -EBUSY || ret == -ECANCELED) {
        return refuse_lock(&attempt, &wait, path, ret, err);
    }
    if (ret < 0) {
        log_warn("%s: the file system has no locks: nothing keeps other programs off the image",
                 path);
    }
    image_owner_set(fd, use->owner);
    return 0;
}

void image_lock_close(int fd)
{
    image_owner_set(fd, NULL);
    close(fd);
}
