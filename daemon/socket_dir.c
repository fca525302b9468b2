/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/socket_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/names.h"
#include "daemon/paths.h"

/* Returns false for what lies in "/", or in no directory that is named. */
static bool name_dir(char dir[PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path || slash - path >= PATH_MAX) {
        return false;
    }
    (void)snprintf(dir, PATH_MAX, "%.*s", (int)(slash - path), path);
    return true;
}

void socket_dir_note(struct socket_dir *dir, const char *path)
{
    char name[PATH_MAX];
    struct stat st;

    if (name_dir(name, path) && names_stat(name, &st) == 0) {
        *dir = (struct socket_dir){
            .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid, .is_known = true};
    }
}

static bool is_below(const char *dir, const char *below)
{
    size_t len = strlen(below);

    while (len > 0 && below[len - 1] == '/') {
        len--;
    }
    return strncmp(dir, below, len) == 0 && (dir[len] == '/' || dir[len] == '\0') &&
           !strstr(dir + len, "/../") && !strstr(dir + len, "/./");
}

/* Without the right to give it back to its owner it is ours, and nobody else's. */
static void give_back(const struct socket_dir *dir, const char *name)
{
    int fd = names_open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        log_warn("daemon: %s was made anew, and has not the mode that it had", name);
    } else if ((st.st_uid != dir->uid || st.st_gid != dir->gid) &&
               names_chown(fd, dir->uid, dir->gid) < 0) {
        (void)names_chmod(fd, dir->mode & S_IRWXU); /* it was made by us a moment ago */
    } else {
        (void)names_chmod(fd, dir->mode);
    }
    if (fd >= 0) {
        close(fd);
    }
}

int socket_dir_make(const struct socket_dir *dir, const char *path, const char *below,
                    struct err *err)
{
    char name[PATH_MAX];
    struct stat st;
    int ret;

    if (!below || !name_dir(name, path) || !is_below(name, below) ||
        (names_stat(name, &st) == 0 || errno != ENOENT)) {
        return 0;
    }
    ret = paths_make_dir(name, SOCKET_DIR_MODE, err);
    if (ret == 0 && dir->is_known) {
        give_back(dir, name);
    }
    return ret;
}
