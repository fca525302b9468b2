/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* AT_EMPTY_PATH */
#include "transports/socket_rights.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/names.h"

static int set_label(int fd, const struct socket_rights *rights)
{
    if (!rights->xattr) {
        return 0;
    }
    return names_label(fd, rights->xattr, rights->label) < 0 ? -errno : 0;
}

static int set_mode(int fd, mode_t mode)
{
    return names_chmod(fd, mode) < 0 ? -errno : 0;
}

/* To give what it has already takes no right. */
static int set_owner(int fd, const struct stat *st, const struct socket_rights *rights)
{
    uid_t uid = rights->uid == st->st_uid ? SOCKET_ANYBODY : rights->uid;
    gid_t gid = rights->gid == st->st_gid ? SOCKET_ANYBODY : rights->gid;

    if (uid == SOCKET_ANYBODY && gid == SOCKET_ANYBODY) {
        return 0;
    }
    return names_chown(fd, uid, gid) < 0 ? -errno : 0;
}

static int refuse_owner(const struct socket_rights *rights, const char *path, int code,
                        struct err *err)
{
    char user[32] = "";
    char group[32] = "";

    if (rights->uid != SOCKET_ANYBODY) {
        (void)snprintf(user, sizeof(user), " user %u", rights->uid);
    }
    if (rights->gid != SOCKET_ANYBODY) {
        (void)snprintf(group, sizeof(group), " group %u", rights->gid);
    }
    (void)err_set(err, code, "cannot give %s to%s%s%s", path, user, user[0] && group[0] ? "," : "",
                  group);
    if (code == -EPERM) {
        err_hint(err, "that takes root, or CAP_CHOWN");
    }
    return code;
}

/* The mode first: afterwards it may be somebody else's. */
int socket_rights_give(const struct socket_rights *rights, const char *path, int fd,
                       const struct stat *st, bool may_keep, struct err *err)
{
    int ret = set_label(fd, rights);

    if (ret < 0) {
        return err_set(err, ret, "cannot give %s the label \"%s\" (%s)", path, rights->label,
                       rights->xattr);
    }
    ret = (st->st_mode & 07777) == rights->mode ? 0 : set_mode(fd, rights->mode);
    if (ret == 0) {
        int refused = set_owner(fd, st, rights);

        if (refused < 0 && !may_keep) {
            return refuse_owner(rights, path, refused, err);
        }
        ret = refused < 0 ? set_mode(fd, rights->mode & S_IRWXU) : 0;
    }
    return ret < 0 ? err_set(err, ret, "cannot set the mode of %s", path) : 0;
}

/*
 * The directories are there when their module is at work, mounted or not.
 * Source: Linux, security/selinux/selinuxfs.c, security/smack/smackfs.c (sysfs_create_mount_point).
 */
const char *socket_rights_xattr(void)
{
    return access("/sys/fs/selinux", F_OK) == 0   ? XATTR_NAME_SELINUX
           : access("/sys/fs/smackfs", F_OK) == 0 ? XATTR_NAME_SMACK
                                                  : NULL;
}
