/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_shape.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What direct I/O may ask for at most; larger answers are not believed. */
#define MAX_ALIGN 65536u

/* What a file system's block tells a guest about where writes are cheap. */
#define PHYSICAL_BLOCK 4096u

/* BLKALIGNOFF says -1 of a device whose parts disagree. */
static void device_facts(struct image_shape *shape, int fd)
{
    unsigned value;
    int logical, offset;

    if (ioctl(fd, BLKSSZGET, &logical) == 0 && is_power_of_2((uint64_t)logical)) {
        shape->logical_block = (uint32_t)logical;
    }
    if (ioctl(fd, BLKPBSZGET, &value) == 0 && is_power_of_2(value)) {
        shape->physical_block = value;
    }
    if (ioctl(fd, BLKALIGNOFF, &offset) == 0 && offset > 0) {
        shape->alignment = (uint32_t)offset;
    }
    if (ioctl(fd, BLKIOMIN, &value) == 0) {
        shape->min_io = value;
    }
    if (ioctl(fd, BLKIOOPT, &value) == 0) {
        shape->opt_io = value;
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
static void direct_facts(struct image_shape *shape, int fd)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && is_power_of_2(stx.stx_dio_offset_align) &&
        is_power_of_2(stx.stx_dio_mem_align)) {
        shape->block_size = stx.stx_dio_offset_align;
        shape->mem_align = stx.stx_dio_mem_align;
    } else {
        shape->block_size = probe_align(fd);
        shape->mem_align = shape->block_size;
    }
    if (shape->block_size < SECTOR_SIZE) {
        shape->block_size = SECTOR_SIZE;
    }
}

int image_shape_find(struct image_shape *shape, int fd, bool is_direct)
{
    struct stat st;

    *shape = (struct image_shape){
        .block_size = SECTOR_SIZE,
        .logical_block = SECTOR_SIZE,
        .physical_block = PHYSICAL_BLOCK,
        .mem_align = 1,
    };
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    shape->size = (uint64_t)st.st_size;
    shape->is_device = S_ISBLK(st.st_mode);
    if (shape->is_device) {
        if (ioctl(fd, BLKGETSIZE64, &shape->size) < 0) {
            return -errno;
        }
        device_facts(shape, fd);
    }
    if (is_direct) {
        direct_facts(shape, fd);
    }
    return 0;
}
