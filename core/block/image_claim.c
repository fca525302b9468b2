/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/file_lock.h"
#include "core/block/image_holder.h"
#include "core/base/names.h"
#include "core/block/image_lock.h"
#include "core/block/image_loop.h"
#include "core/block/image_wait.h"
#include "core/base/sysfs.h"

/* One who claims.  `use` is of what comes next on the way down. */
struct claimant {
    struct image_claim *claim;
    struct image_use use;
    struct err *err;
};

/* The node that the kernel made, which is one for all.  Source: devtmpfs; DEVNAME of a uevent. */
static bool find_node(dev_t dev, char *path, size_t size)
{
    char text[512] = "";
    char *name;
    int fd, len;

    (void)snprintf(path, size, "/sys/dev/block/%u:%u/uevent", major(dev), minor(dev));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    len = (int)read(fd, text, sizeof(text) - 1);
    close(fd);
    name = len > 0 ? strstr(text, "DEVNAME=") : NULL;
    if (!name) {
        return false;
    }
    name += strlen("DEVNAME=");
    name[strcspn(name, "\n")] = '\0';
    (void)snprintf(path, size, "/dev/%s", name);
    return true;
}

/* The disk of a partition.  Returns false for what is none. */
static bool find_whole(dev_t dev, dev_t *whole)
{
    char line[32];
    unsigned major_number, minor_number;

    if (!sysfs_fact(dev, "partition", line, sizeof(line)) ||
        !sysfs_fact(dev, "../dev", line, sizeof(line)) ||
        sscanf(line, "%u:%u", &major_number, &minor_number) != 2) { /* NOLINT: the kernel's */
        return false;
    }
    *whole = makedev(major_number, minor_number);
    return true;
}

/* ---- claim ---- */

/* Takes `fd`: kept until the image is closed, or closed at once. */
static int hold_fd(struct claimant *c, int fd, const char *path)
{
    int ret = 0;

    if (c->claim->count < IMAGE_CLAIMS) {
        ret = image_lock(fd, path, &c->use, c->err);
        if (ret == 0) {
            c->claim->fd[c->claim->count++] = fd;
            return 0;
        }
    }
    close(fd);
    return ret;
}

static int claim_device(struct claimant *c, dev_t dev, int held);

/*
 * The file of a loop device.  It is looked for by its name, which may be another file's in our
 * mount namespace, or gone.
 */
static int claim_backing(struct claimant *c, dev_t dev, const struct loop_info64 *info)
{
    char path[PATH_MAX];
    struct stat st;
    int fd;

    if (!sysfs_fact(dev, "loop/backing_file", path, sizeof(path)) || names_stat(path, &st) < 0 ||
        !image_loop_is_of(info, &st)) {
        return 0;
    }
    c->use.is_part |= info->lo_offset != 0 || info->lo_sizelimit != 0;
    if (S_ISBLK(st.st_mode)) {
        return claim_device(c, st.st_rdev, -1);
    }
    fd = S_ISREG(st.st_mode) ? image_loop_open(path) : -1;
    return fd < 0 ? 0 : hold_fd(c, fd, path);
}

/* What lies below a device.  `info` NULL: it is no loop device. */
static int claim_below(struct claimant *c, dev_t dev, const struct loop_info64 *info)
{
    dev_t whole;

    c->use.is_part |= !image_range_is_whole(&c->use.range);
    c->use.range = (struct image_range){0};
    if (find_whole(dev, &whole)) {
        c->use.is_part = true;
        return claim_device(c, whole, -1);
    }
    return info ? claim_backing(c, dev, info) : 0;
}

/* Is it the node that is locked already?  `held` -1: none is. */
static bool is_held(int held, const struct stat *st)
{
    struct stat own;

    return held >= 0 && fstat(held, &own) == 0 && own.st_dev == st->st_dev &&
           own.st_ino == st->st_ino;
}

/* `held` is open on a node of it, and locked; -1: none is. */
static int claim_device(struct claimant *c, dev_t dev, int held)
{
    char path[PATH_MAX];
    struct loop_info64 info = {0}; /* valgrind does not know the ioctl */
    struct stat st;
    bool is_loop = image_loop_get(held, dev, &info);
    int fd = find_node(dev, path, sizeof(path)) ? image_loop_open(path) : -1;
    int ret = 0;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev) {
        is_loop = image_loop_get(fd, dev, &info);
        if (!is_held(held, &st)) {
            ret = hold_fd(c, fd, path);
            fd = -1;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return ret == 0 ? claim_below(c, dev, is_loop ? &info : NULL) : ret;
}

int image_claim_open(struct image_claim *claim, int fd, const struct image_use *use,
                     struct err *err)
{
    struct claimant c = {.claim = claim, .use = *use, .err = err};
    struct stat st;
    int ret = 0;

    *claim = (struct image_claim){0};
    if (fstat(fd, &st) < 0) {
        return err_set(err, -errno, "image %s", use->image);
    }
    if (S_ISBLK(st.st_mode)) {
        ret = claim_device(&c, st.st_rdev, fd);
    }
    if (ret == 0 && !use->is_readonly) {
        ret = image_loop_survey(fd, use->image, err);
    }
    if (ret < 0) {
        image_claim_close(claim);
    }
    return ret;
}

/* ---- who has claimed it ---- */

static int open_node(const char *path, dev_t dev)
{
    char node[PATH_MAX];

    return image_loop_open(find_node(dev, node, sizeof(node)) ? node : path);
}

static bool has_any_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/*
 * All who use a device lock the node that the kernel made, by whichever they have opened it, and
 * who uses a partition that of its disk.  Returns an fd on the one that has locks, or -1.
 */
static int open_claimed(const char *path, dev_t dev)
{
    int fd = open_node(path, dev);
    dev_t whole;

    if (fd >= 0 && !has_any_lock(fd) && find_whole(dev, &whole)) {
        close(fd);
        fd = open_node(path, whole);
    }
    return fd;
}

static const struct lock_span any_lock_of_it = {.len = 0};

static bool find_claimer(const char *path, dev_t dev, struct holder *holder)
{
    int fd = open_claimed(path, dev);
    bool is_found = fd >= 0 && holder_find(fd, &any_lock_of_it, holder);

    if (fd >= 0) {
        close(fd);
    }
    return is_found;
}

/* Spaces and the like stand in octal. */
static void decode_octal(char *text)
{
    char *to = text;

    while (*text) {
        if (text[0] == '\\' && text[1] && text[2] && text[3]) {
            const char digits[] = {text[1], text[2], text[3], '\0'};

            *to++ = (char)strtoul(digits, NULL, 8);
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

/* Source: proc_pid_mountinfo(5): number, parent, device, root, mount point. */
static bool find_mount(dev_t dev, char point[PATH_MAX])
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    unsigned major_number, minor_number;
    char *line = NULL;
    size_t size = 0;
    bool is_found = false;

    while (file && !is_found && getline(&line, &size, file) > 0) {
        is_found =
            sscanf(line, "%*u %*u %u:%u %*s %4095s", &major_number, &minor_number, /* NOLINT */
                   point) == 3 &&
            makedev(major_number, minor_number) == dev;
    }
    free(line);
    if (file) {
        (void)fclose(file); /* it was read */
    }
    if (is_found) {
        decode_octal(point);
    }
    return is_found;
}

void image_claim_hint(const struct image_opts *opts, struct err *err)
{
    char point[PATH_MAX];
    char who[HOLDER_BYTES];
    struct holder holder;
    struct stat st;

    if (opts->is_retry || names_stat(opts->path, &st) < 0 || !S_ISBLK(st.st_mode)) {
        return;
    }
    if (find_mount(st.st_rdev, point)) { /* beside which a disk may only read it */
        err_hint(err, "it is mounted on %s", point);
    } else if (find_claimer(opts->path, st.st_rdev, &holder)) {
        image_holder_say(&holder, who);
        err_hint(err, "it is in use by %s", who);
    } else {
        err_hint(err, "the device is mounted, or claimed by another driver or program");
    }
}

/* ---- whether anybody has ---- */

static int await_claimer(const struct image_opts *opts, struct image_wait *wait)
{
    struct stat st;
    int ret, fd;

    if (opts->is_retry) {
        return file_lock_again(&wait->tries) ? 0 : -EBUSY;
    }
    fd = names_stat(opts->path, &st) == 0 ? open_claimed(opts->path, st.st_rdev) : -1;
    ret = image_wait_again(wait, fd, &any_lock_of_it);
    if (fd >= 0) {
        close(fd);
    }
    return ret;
}

/*
 * Another one that tries is no reason, nor is one that had it a moment ago, which gives up its
 * claim behind its locks.
 */
int image_claim_take(const struct image_opts *opts, int flags)
{
    struct image_wait wait = {
        .image = opts->path, .owner = opts->owner, .progress = opts->progress};
    int fd, ret;

    do {
        fd = names_open(opts->path, flags, 0600);
        ret = fd < 0 ? -errno : 0;
    } while (ret == -EBUSY && (ret = await_claimer(opts, &wait)) == 0);
    image_wait_end(&wait, ret == 0);
    return ret < 0 ? ret : fd;
}

int image_claim_try(const struct image_opts *opts, struct err *err)
{
    int fd = image_claim_take(opts, O_RDONLY | O_EXCL | O_CLOEXEC | O_NOCTTY);

    if (fd == -ECANCELED) {
        return err_say(err, fd, "image %s: not opened any more", opts->path);
    }
    if (fd < 0) {
        (void)err_set(err, fd, "cannot claim image %s", opts->path);
        image_claim_hint(opts, err);
        return fd;
    }
    close(fd);
    return 0;
}

void image_claim_close(struct image_claim *claim)
{
    while (claim->count > 0) {
        image_lock_close(claim->fd[--claim->count]);
    }
}
