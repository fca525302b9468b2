/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/fs_kind.h"

#include <linux/magic.h>
#include <stddef.h>

#include "core/base/base.h"

/*
 * Not in every <linux/magic.h>, or in none.
 * Source: Linux, fs/bcachefs, fs/exfat, fs/jfs, fs/smb/client/cifsglob.h; OpenZFS, zfs_vfsops.c.
 */
#define BCACHEFS_TYPE 0xca451a4e
#define CIFS_TYPE 0xff534d42
#define EXFAT_TYPE 0x2011bab0
#define FUSE_TYPE 0x65735546
#define JFS_TYPE 0x3153464a
#define SMB2_TYPE 0xfe534d42
#define ZFS_TYPE 0x2fc12fc1

static const struct fs_kind kinds[] = {
    {EXT4_SUPER_MAGIC, "ext4", .is_local = true, .makes_holes = true},
    {XFS_SUPER_MAGIC, "XFS", .is_local = true, .makes_holes = true},
    {BTRFS_SUPER_MAGIC, "Btrfs", .is_local = true, .makes_holes = true},
    {F2FS_SUPER_MAGIC, "F2FS", .is_local = true, .makes_holes = true},
    {BCACHEFS_TYPE, "bcachefs", .is_local = true, .makes_holes = true},
    {ZFS_TYPE, "ZFS", .is_local = true},
    {JFS_TYPE, "JFS", .is_local = true},
    {TMPFS_MAGIC, "tmpfs", .is_local = true, .makes_holes = true},
    {RAMFS_MAGIC, "ramfs", .is_local = true},
    {HUGETLBFS_MAGIC, "hugetlbfs", .is_local = true},
    {FUSE_TYPE, "FUSE", .makes_up_inodes = true},
    {CIFS_TYPE, "SMB", .makes_up_inodes = true},
    {SMB2_TYPE, "SMB", .makes_up_inodes = true},
    {SMB_SUPER_MAGIC, "SMB"},
    {EXFAT_TYPE, "exFAT", .makes_up_inodes = true},
    {MSDOS_SUPER_MAGIC, "FAT", .makes_up_inodes = true},
    {NFS_SUPER_MAGIC, "NFS"},
    {V9FS_MAGIC, "9p"},
    {CEPH_SUPER_MAGIC, "Ceph"},
    {AFS_FS_MAGIC, "AFS"},
    {OVERLAYFS_SUPER_MAGIC, "overlayfs"},
    {PROC_SUPER_MAGIC, "procfs"},
};

const struct fs_kind *fs_kind_of(unsigned long type)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].type == type) {
            return &kinds[i];
        }
    }
    return NULL;
}
