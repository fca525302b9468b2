/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/granule.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "core/base/base.h"
#include "core/base/fs_kind.h"
#include "core/base/sysfs.h"

/* Larger answers are no block of a file system, but what it likes to move at a time. */
#define GRANULE_MAX 65536u
#define GRANULE_USUAL 4096u

/* A partition has no queue of its own. */
static uint64_t queue_number(dev_t dev, const char *own, const char *parent)
{
    char line[32];

    return sysfs_fact(dev, own, line, sizeof(line)) || sysfs_fact(dev, parent, line, sizeof(line))
               ? strtoull(line, NULL, 10)
               : 0;
}

/* Source: Linux, Documentation/ABI/stable/sysfs-block (discard_max_bytes 0: it cannot). */
static uint32_t device_granule(dev_t dev)
{
    uint64_t max = queue_number(dev, "queue/discard_max_bytes", "../queue/discard_max_bytes");
    uint64_t unit = queue_number(dev, "queue/discard_granularity", "../queue/discard_granularity");

    if (max == 0) {
        return 0;
    }
    return is_power_of_2(unit) && unit >= SECTOR_SIZE && unit <= INT32_MAX ? (uint32_t)unit
                                                                           : SECTOR_SIZE;
}

/* To ask may change the time of the last write, so the best known are not asked. */
static bool makes_holes(int fd, uint64_t size)
{
    const struct fs_kind *kind = NULL;
    struct statfs fs;

    if (fstatfs(fd, &fs) == 0) {
        kind = fs_kind_of((unsigned long)fs.f_type);
    }
    return (kind && kind->makes_holes) ||
           fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     (off_t)round_up(size, (uint64_t)GRANULE_MAX), GRANULE_MAX) == 0;
}

uint32_t granule_of_fd(int fd)
{
    struct stat st;
    uint64_t unit;

    if (fstat(fd, &st) < 0) {
        return 0;
    }
    if (S_ISBLK(st.st_mode)) {
        return device_granule(st.st_rdev);
    }
    unit = (uint64_t)st.st_blksize;
    if (st.st_size > INT64_MAX - 2 * (int64_t)GRANULE_MAX ||
        !makes_holes(fd, (uint64_t)st.st_size)) {
        return 0;
    }
    return is_power_of_2(unit) && unit >= SECTOR_SIZE && unit <= GRANULE_MAX ? (uint32_t)unit
                                                                             : GRANULE_USUAL;
}
