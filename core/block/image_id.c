/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_id.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "core/base/fs_kind.h"

static bool has_made_up_numbers(int fd)
{
    const struct fs_kind *kind;
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0) {
        return true;
    }
    kind = fs_kind_of((unsigned long)fs.f_type);
    return kind && kind->makes_up_inodes;
}

struct image_id image_id_of_fd(int fd)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stx) < 0) {
        return (struct image_id){0};
    }
    if (S_ISBLK(stx.stx_mode)) {
        return (struct image_id){.device = makedev(stx.stx_rdev_major, stx.stx_rdev_minor)};
    }
    if (has_made_up_numbers(fd)) {
        return (struct image_id){0};
    }
    return (struct image_id){
        .device = makedev(stx.stx_dev_major, stx.stx_dev_minor),
        .inode = stx.stx_ino,
        .born_ns = stx.stx_mask & STATX_BTIME
                       ? (uint64_t)stx.stx_btime.tv_sec * NS_PER_S + stx.stx_btime.tv_nsec
                       : 0,
    };
}

/*
 * Without a device behind it (btrfs, NFS, tmpfs) a file system has another number when mounted
 * anew.
 */
static bool same_device(uint64_t a, uint64_t b)
{
    return a == b || (major(a) == 0 && major(b) == 0);
}

/*
 * With one, it may come back on another: the next loop device, another minor of LVM, sdc for sdb.
 * The nanosecond in which the file was made knows it all the same, but where the whole file system
 * was copied.
 */
bool image_id_same(const struct image_id *a, const struct image_id *b)
{
    if (!a->device || !b->device) {
        return true;
    }
    if (a->inode != b->inode) {
        return false;
    }
    if (a->inode && a->born_ns && b->born_ns) {
        return a->born_ns == b->born_ns;
    }
    return same_device(a->device, b->device);
}

bool image_id_is_of(const struct image_id *id, const struct stat *st)
{
    if (S_ISBLK(st->st_mode)) {
        return id->inode == 0 && id->device != 0 && id->device == st->st_rdev;
    }
    return id->inode != 0 && id->inode == st->st_ino && id->device == st->st_dev;
}

void image_id_say(const struct image_id *id, char *text)
{
    char device[32];

    (void)snprintf(device, sizeof(device), "device %u:%u", major(id->device), minor(id->device));
    if (!id->device) {
        (void)snprintf(text, IMAGE_ID_BYTES, "unknown");
    } else if (id->inode) {
        (void)snprintf(text, IMAGE_ID_BYTES, "inode %" PRIu64 " on %s", id->inode, device);
    } else {
        (void)snprintf(text, IMAGE_ID_BYTES, "%s", device);
    }
}
