/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox_user.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Returns false when it is none. */
static bool parse_number(const char *text, uint32_t *number)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || value >= UINT32_MAX) {
        return false;
    }
    *number = (uint32_t)value;
    return true;
}

int sandbox_user_parse(struct sandbox_user *user, const char *text, struct err *err)
{
    const struct passwd *entry = getpwnam(text);

    if (entry) {
        user->uid = entry->pw_uid;
        user->gid = user->has_group ? user->gid : entry->pw_gid;
    } else if (parse_number(text, &user->uid)) {
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
    } else if (!parse_number(text, &user->gid)) {
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

static int give_files(const struct sandbox_user *user, int fd)
{
    DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    int ret = 0;

    if (!dir) {
        return -errno;
    }
    while (ret == 0 && (entry = readdir(dir))) { /* NOLINT: a DIR of our own */
        ret = give_file(user, fd, entry->d_name);
    }
    if (ret == 0 && fchown(fd, user->uid, user->gid) < 0) {
        ret = -errno;
    }
    closedir(dir);
    return ret;
}

int sandbox_user_give(const struct sandbox_user *user, const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st = {0};
    int ret = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

    if (ret == 0 && st.st_uid == 0) {
        ret = give_files(user, fd); /* and closes it */
    } else if (fd >= 0) {
        close(fd);
    }
    return ret < 0 ? err_set(err, ret, "cannot give %s to user %s", dir, user->name) : 0;
}
