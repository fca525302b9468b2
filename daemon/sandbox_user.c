/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox_user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file_lock.h"
#include "core/base/text.h"
#include "daemon/state.h"

/* Of the state directory: those that vblkd makes. */
static const char *const own_files[] = {STATE_LOCK_NAME, "disks.json", "disks.json.new"};

int sandbox_user_parse(struct sandbox_user *user, const char *text, struct err *err)
{
    const struct passwd *entry = getpwnam(text);

    if (entry) {
        user->uid = entry->pw_uid;
        user->gid = user->has_group ? user->gid : entry->pw_gid;
    } else if (text_is_id(text, &user->uid)) {
        entry = getpwuid(user->uid);
        user->gid = user->has_group ? user->gid : entry ? entry->pw_gid : user->uid;
    } else {
        return err_say(err, -ENOENT, "--user: there is no user \"%s\"", text);
    }
    user->is_given = true;
    (void)snprintf(user->name, sizeof(user->name), "%s", entry ? entry->pw_name : text);
    return 0;
}

int sandbox_group_parse(struct sandbox_user *user, const char *text, struct err *err)
{
    const struct group *entry = getgrnam(text);

    if (entry) {
        user->gid = entry->gr_gid;
    } else if (!text_is_id(text, &user->gid)) {
        return err_say(err, -ENOENT, "--group: there is no group \"%s\"", text);
    }
    user->has_group = true;
    return 0;
}

int sandbox_user_check(const struct sandbox_user *user, struct err *err)
{
    if (!user->is_given) {
        return user->has_group ? err_say(err, -EINVAL, "--group goes with --user") : 0;
    }
    if (geteuid() != 0) {
        return err_say(err, -EPERM, "--user: takes root, and this is user %u", geteuid());
    }
    return user->uid == 0 ? err_say(err, -EINVAL, "--user: root is whom it is to be no more") : 0;
}

/* The kernel makes a process that has changed its user unreadable, to itself as well. */
int sandbox_user_become(const struct sandbox_user *user, struct err *err)
{
    bool has_name = getpwnam(user->name);

    if ((has_name ? initgroups(user->name, user->gid) : setgroups(0, NULL)) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0) {
        return err_set(err, -errno, "cannot become user %s", user->name);
    }
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

/* What others have put there, or linked to, stays theirs. */
static int give_file(const struct sandbox_user *user, int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    int ret = 0;

    if (fd < 0) {
        return 0;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == 0 &&
        fchown(fd, user->uid, user->gid) < 0) {
        ret = -errno;
    }
    close(fd);
    return ret;
}

/* What vblkd itself makes there, as root; other files are none of its. */
static int give_own_files(const struct sandbox_user *user, int dir)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(own_files); i++) {
        ret = give_file(user, dir, own_files[i]);
    }
    return ret;
}

static bool has_files_of_root(int dir)
{
    struct stat st;

    for (unsigned i = 0; i < ARRAY_SIZE(own_files); i++) {
        if (fstatat(dir, own_files[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == 0) {
            return true;
        }
    }
    return false;
}

static int refuse_dir(int lock_fd, const char *dir, struct err *err)
{
    char holder[16] = "";

    (void)!pread(lock_fd, holder, sizeof(holder) - 1, 0); /* for the message only */
    return err_say(err, -EADDRINUSE, "the state directory %s is in use by another vblkd%s%s", dir,
                   holder[0] ? ", process " : "", holder);
}

/*
 * As state_open does, whose locks these are, and in its order: what another vblkd has is not given
 * away.  *lock_fd, -1: none was there, is to be closed; with it, and with dir_fd, they go.
 */
static int lock_dir(int dir_fd, int *lock_fd, const char *dir, struct err *err)
{
    *lock_fd = openat(dir_fd, STATE_LOCK_NAME, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if ((*lock_fd >= 0 && file_lock(*lock_fd) == -EWOULDBLOCK) ||
        file_lock(dir_fd) == -EWOULDBLOCK) {
        return refuse_dir(*lock_fd, dir, err);
    }
    return 0;
}

static int give_locked(const struct sandbox_user *user, int fd, bool with_dir, const char *dir,
                       struct err *err)
{
    int lock_fd = -1;
    int ret = lock_dir(fd, &lock_fd, dir, err);

    if (ret == 0) {
        ret = give_own_files(user, fd);
        if (ret == 0 && with_dir && fchown(fd, user->uid, user->gid) < 0) {
            ret = -errno;
        }
        ret = ret < 0 ? err_set(err, ret, "cannot give %s to user %s", dir, user->name) : 0;
    }
    if (lock_fd >= 0) {
        close(lock_fd);
    }
    return ret;
}

int sandbox_user_give(const struct sandbox_user *user, const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st = {0};
    int ret = 0;

    if (fd < 0 || fstat(fd, &st) < 0) {
        ret = err_set(err, -errno, "cannot give %s to user %s", dir, user->name);
    } else if (st.st_uid == 0 || (st.st_uid == user->uid && has_files_of_root(fd))) {
        ret = give_locked(user, fd, st.st_uid == 0, dir, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ret;
}
