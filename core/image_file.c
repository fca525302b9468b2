/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/image_lock.h"

/* What direct I/O may ask for at most; larger answers are not believed. */
#define MAX_ALIGN 65536u

/* What a file system's block tells a guest about where writes are cheap. */
#define PHYSICAL_BLOCK 4096u

static int open_flags(const struct backend_opts *opts)
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

static int open_failed(int code, const struct backend_opts *opts, struct err *err)
{
    err_set(err, code, "cannot %s image %s", opts->create ? "create" : "open", opts->path);
    switch (code) {
    case -EINVAL:
        if (cache_is_direct(opts->cache)) {
            err_hint(err, "its file system has no O_DIRECT: use --cache writeback");
        }
        break;
    case -ENOENT:
        err_hint(err, opts->create ? "make its directory first"
                                   : "to make a new one, use --create --size SIZE");
        break;
    case -EEXIST:
        err_hint(err, "leave out --create to use it as it is");
        break;
    case -EACCES:
    case -EPERM:
        err_hint(err, "vblkd runs as uid %u", (unsigned)geteuid());
        break;
    case -EROFS:
        err_hint(err, "use --readonly");
        break;
    case -EBUSY:
        err_hint(err, "the device is mounted or claimed by another driver");
        break;
    default:
        break;
    }
    return code;
}

/*
 * Look before opening: opening a FIFO or a terminal may block or do harm.  Returns the flags
 * that the kind of file asks for beside ours, or -errno.
 */
static int check_kind(const struct backend_opts *opts, struct err *err)
{
    struct stat st;

    if (opts->create) {
        return 0;
    }
    if (stat(opts->path, &st) < 0) {
        return open_failed(-errno, opts, err);
    }
    if (S_ISBLK(st.st_mode)) {
        /* The kernel's own claim: refused while the device is mounted. */
        return opts->is_readonly ? 0 : O_EXCL;
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

static int create_size(struct image_file *image, const struct backend_opts *opts, struct err *err)
{
    if (ftruncate(image->fd, (off_t)opts->size) < 0) {
        return err_set(err, -errno, "cannot make image %s %llu bytes long", opts->path,
                       (unsigned long long)opts->size);
    }
    return 0;
}

static void device_facts(struct image_file *image)
{
    unsigned value;
    int logical;

    if (ioctl(image->fd, BLKSSZGET, &logical) == 0 && is_power_of_2((uint64_t)logical)) {
        image->logical_block = (uint32_t)logical;
    }
    if (ioctl(image->fd, BLKPBSZGET, &value) == 0 && is_power_of_2(value)) {
        image->physical_block = value;
    }
    if (ioctl(image->fd, BLKIOOPT, &value) == 0) {
        image->opt_io = value;
    }
}

/* For kernels that cannot be asked: the smallest direct read that works. */
static uint32_t probe_align(int fd)
{
    void *buffer;
    uint32_t align;

    if (posix_memalign(&buffer, MAX_ALIGN, MAX_ALIGN) != 0) {
        return PHYSICAL_BLOCK;
    }
    for (align = SECTOR_SIZE; align < MAX_ALIGN; align *= 2) {
        if (pread(fd, buffer, align, 0) >= 0) {
            break;
        }
    }
    free(buffer);
    return align;
}

/* Source: statx(2), STATX_DIOALIGN. */
static void direct_facts(struct image_file *image)
{
    struct statx stx;

    if (statx(image->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && is_power_of_2(stx.stx_dio_offset_align) &&
        is_power_of_2(stx.stx_dio_mem_align)) {
        image->block_size = stx.stx_dio_offset_align;
        image->mem_align = stx.stx_dio_mem_align;
    } else {
        image->block_size = probe_align(image->fd);
        image->mem_align = image->block_size;
    }
    if (image->block_size < SECTOR_SIZE) {
        image->block_size = SECTOR_SIZE;
    }
}

static int find_facts(struct image_file *image, struct err *err)
{
    struct stat st;

    if (fstat(image->fd, &st) < 0) {
        return err_set(err, -errno, "image %s", image->path);
    }
    image->block_size = SECTOR_SIZE;
    image->logical_block = SECTOR_SIZE;
    image->physical_block = PHYSICAL_BLOCK;
    image->mem_align = 1;
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(image->fd, BLKGETSIZE64, &image->size) < 0) {
            return err_set(err, -errno, "cannot tell the size of image %s", image->path);
        }
        device_facts(image);
    } else {
        image->size = (uint64_t)st.st_size;
    }
    if (image->is_direct) {
        direct_facts(image);
    }
    return 0;
}

int image_file_open(struct image_file *image, const struct backend_opts *opts, struct err *err)
{
    int ret = check_kind(opts, err);

    *image = (struct image_file){.fd = -1, .is_direct = cache_is_direct(opts->cache)};
    if (ret < 0) {
        return ret;
    }
    image->path = strdup(opts->path);
    if (!image->path) {
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    image->fd = open(opts->path, open_flags(opts) | ret, 0600);
    if (image->fd < 0) {
        ret = open_failed(-errno, opts, err);
        goto abandon;
    }
    image->is_created = opts->create;
    ret = image_lock(image->fd, opts->path, opts->is_readonly, err);
    if (ret == 0 && opts->create) {
        ret = create_size(image, opts, err);
    }
    if (ret == 0) {
        ret = find_facts(image, err);
    }
    if (ret == 0) {
        return 0;
    }

abandon:
    image_file_abandon(image);
    return ret;
}

int image_file_borrow(struct image_file *image, const struct image_file *lender)
{
    *image = *lender;
    image->is_borrowed = true;
    image->is_created = false;
    return 0;
}

void image_file_close(struct image_file *image)
{
    if (!image->is_borrowed) {
        if (image->fd >= 0) {
            close(image->fd);
        }
        free(image->path);
    }
    image->fd = -1;
    image->path = NULL;
}

void image_file_abandon(struct image_file *image)
{
    if (image->is_created) {
        unlink(image->path);
    }
    image_file_close(image);
}
