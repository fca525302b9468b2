/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/names.h"

static int join(char path[PATH_MAX], const char *dir, const char *name, struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX) {
        return err_say(err, -ENAMETOOLONG, "%s/%s is too long for a path", dir, name);
    }
    return 0;
}

/* The XDG specification has relative values ignored. */
static const char *absolute_env(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] == '/' ? value : NULL;
}

static int in_runtime_dir(char path[PATH_MAX], const char *name, struct err *err)
{
    const char *dir = geteuid() == 0 ? "/run" : absolute_env("XDG_RUNTIME_DIR");

    if (!dir) {
        return err_say(err, -ENOENT,
                       "XDG_RUNTIME_DIR is not set, so there is no default for "
                       "sockets");
    }
    return join(path, dir, name, err);
}

int paths_control(char path[PATH_MAX], struct err *err)
{
    return in_runtime_dir(path, "vblk/control.sock", err);
}

int paths_socket_dir(char path[PATH_MAX], struct err *err)
{
    return in_runtime_dir(path, "vblk", err);
}

int paths_state_dir(char path[PATH_MAX], struct err *err)
{
    const char *dir = geteuid() == 0 ? "/var/lib" : absolute_env("XDG_STATE_HOME");

    if (dir) {
        return join(path, dir, "vblk", err);
    }
    dir = absolute_env("HOME");
    if (!dir) {
        return err_say(err, -ENOENT,
                       "neither XDG_STATE_HOME nor HOME is set, so there is no "
                       "default for the state directory");
    }
    return join(path, dir, ".local/state/vblk", err);
}

/* Whatever the umask. */
static int set_mode(const char *path, mode_t mode, struct err *err)
{
    int fd = names_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    int ret = fd < 0 || names_chmod(fd, mode) < 0 ? -errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    return ret < 0 ? err_set(err, ret, "cannot set the mode of %s", path) : 0;
}

static int make_one(const char *path, mode_t mode, struct err *err)
{
    struct stat st;

    if (names_mkdir(path, mode & S_IRWXU) == 0) {
        return mode == (mode & S_IRWXU) ? 0 : set_mode(path, mode, err);
    }
    if (errno != EEXIST) {
        return err_set(err, -errno, "cannot make the directory %s", path);
    }
    if (names_stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        return err_say(err, -ENOTDIR, "%s is there and is no directory", path);
    }
    return 0;
}

int paths_make_dir(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    int ret = 0;

    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part)) {
        return err_say(err, -ENAMETOOLONG, "%s is too long for a path", path);
    }
    for (char *slash = strchr(part + 1, '/'); slash && ret == 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ret = make_one(part, mode, err);
        *slash = '/';
    }
    return ret == 0 ? make_one(part, mode, err) : ret;
}

int paths_make_parent(const char *file, mode_t mode, struct err *err)
{
    char dir[PATH_MAX];
    char *slash;

    if (snprintf(dir, sizeof(dir), "%s", file) >= (int)sizeof(dir)) {
        return err_say(err, -ENAMETOOLONG, "%s is too long for a path", file);
    }
    slash = strrchr(dir, '/');
    if (!slash || slash == dir) {
        return 0;
    }
    *slash = '\0';
    return paths_make_dir(dir, mode, err);
}
