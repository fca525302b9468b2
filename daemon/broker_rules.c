/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* asprintf */
#include "daemon/broker_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/base.h"
#include "transports/unix_socket.h"

/* No images and no sockets for guests lie here, and whoever writes here is root a moment later. */
static const char *const system_dirs[] = {
    "/bin",   "/boot",        "/etc",       "/lib",       "/lib32",
    "/lib64", "/proc",        "/root/.ssh", "/sbin",      "/sys",
    "/usr",   "/run/systemd", "/run/udev",  "/var/spool", "/var/lib/systemd",
};

#define MADE_MAX 4096u

struct birth {
    uint64_t dev;
    uint64_t inode;
    int64_t born_ns; /* 0 where the file system does not know */
};

static struct {
    pthread_mutex_t lock;
    unsigned count;
    struct birth list[MADE_MAX];
} made = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool broker_is_path(const char *path)
{
    size_t len = strlen(path);

    return path[0] == '/' && !strstr(path, "/../") &&
           (len < 3 || strcmp(path + len - 3, "/..") != 0);
}

bool broker_name(int fd, char name[PATH_MAX])
{
    char link[32];
    ssize_t len;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, name, PATH_MAX - 1);
    name[len > 0 ? len : 0] = '\0';
    return name[0] == '/';
}

/* RESOLVE_NO_MAGICLINKS would take Linux 5.6, and say nothing of files of other mount namespaces.
 */
bool broker_place(int fd, char place[PATH_MAX])
{
    struct stat meant, named;
    int other = broker_name(fd, place) ? open(place, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool is_it = other >= 0 && fstat(fd, &meant) == 0 && fstat(other, &named) == 0 &&
                 meant.st_dev == named.st_dev && meant.st_ino == named.st_ino;

    if (other >= 0) {
        close(other);
    }
    return is_it;
}

bool broker_is_below(const char *place, const char *dir)
{
    size_t len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/') {
        len--;
    }
    return strncmp(place, dir, len) == 0 && (len == 1 || place[len] == '/' || place[len] == '\0');
}

static int resolve(const char **path, struct err *err)
{
    char *whole = realpath(*path, NULL); /* for as long as the rules */

    if (!whole) {
        return err_set(err, -errno, "broker: no place %s", *path);
    }
    *path = whole;
    return 0;
}

static int resolve_control(const char **path, struct err *err)
{
    const char *slash = strrchr(*path, '/');
    char dir[PATH_MAX];
    char *whole, *control;
    int ret;

    (void)snprintf(dir, sizeof(dir), "%.*s", slash == *path ? 1 : (int)(slash - *path), *path);
    whole = realpath(dir, NULL);
    if (!whole) {
        return err_set(err, -errno, "broker: no place %s", dir);
    }
    ret = asprintf(&control, "%s%s", strcmp(whole, "/") == 0 ? "" : whole, slash);
    free(whole);
    if (ret < 0) {
        return err_set(err, -ENOMEM, "broker");
    }
    *path = control;
    return 0;
}

int broker_rules_resolve(struct broker_rules *rules, struct err *err)
{
    int ret = resolve(&rules->socket_dir, err);

    if (ret == 0) {
        ret = resolve(&rules->state_dir, err);
    }
    return ret == 0 ? resolve_control(&rules->control_path, err) : ret;
}

static bool is_systems(const struct broker_rules *rules, const char *place)
{
    for (unsigned i = 0; i < ARRAY_SIZE(system_dirs); i++) {
        if (broker_is_below(place, system_dirs[i])) {
            return true;
        }
    }
    return broker_is_below(place, rules->state_dir);
}

/* One of those places, or in it. */
static bool is_image(const struct broker_rules *rules, const char *place)
{
    for (unsigned i = 0; i < rules->image_dirs; i++) {
        if (broker_is_below(place, rules->image_dir[i])) {
            return true;
        }
    }
    return rules->image_dirs == 0;
}

static bool is_dir_of(const char *dir, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);

    return strlen(dir) == len && strncmp(dir, path, len) == 0;
}

/* A place may be that of a file. */
static bool is_folder(const struct broker_rules *rules, const char *place)
{
    for (unsigned i = 0; i < rules->image_dirs; i++) {
        if (is_dir_of(place, rules->image_dir[i])) {
            return true;
        }
    }
    return is_image(rules, place);
}

/* Not all of its directory, which may be /run, or /tmp. */
static bool is_controls(const struct broker_rules *rules, const char *place)
{
    size_t len = strlen(rules->control_path);

    return strncmp(place, rules->control_path, len) == 0 &&
           (place[len] == '\0' || strcmp(place + len, UNIX_LOCK_SUFFIX) == 0);
}

bool broker_allows(const struct broker_rules *rules, const char *place, enum broker_kind kind)
{
    bool is_below = broker_is_below(place, rules->socket_dir);

    if (is_systems(rules, place)) {
        return false;
    }
    switch (kind) {
    case BROKER_SOCKET:
        return is_below || is_controls(rules, place);
    case BROKER_SOCKET_DIR:
        return is_below || is_dir_of(place, rules->control_path);
    case BROKER_FOLDER:
        return is_folder(rules, place);
    case BROKER_IMAGE:
    default:
        return is_image(rules, place);
    }
}

bool broker_allows_in(const struct broker_rules *rules, int dir, const char *base,
                      enum broker_kind kind)
{
    char place[PATH_MAX];
    size_t len;

    if (!broker_place(dir, place)) {
        return false;
    }
    len = strcmp(place, "/") == 0 ? 0 : strlen(place);
    if (len + 1 + strlen(base) >= sizeof(place)) {
        return false;
    }
    (void)snprintf(place + len, sizeof(place) - len, "/%s", base);
    return broker_allows(rules, place, kind);
}

static bool find_birth(int dir, const char *name, struct birth *birth)
{
    struct statx stx;

    if (statx(dir, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &stx) < 0) {
        return false;
    }
    birth->dev = (uint64_t)stx.stx_dev_major << 32 | stx.stx_dev_minor;
    birth->inode = stx.stx_ino;
    birth->born_ns = stx.stx_mask & STATX_BTIME
                         ? stx.stx_btime.tv_sec * (int64_t)NS_PER_S + stx.stx_btime.tv_nsec
                         : 0;
    return true;
}

void broker_made(int dir, const char *name)
{
    struct birth birth;

    if (find_birth(dir, name, &birth)) {
        pthread_mutex_lock(&made.lock);
        made.list[made.count++ % MADE_MAX] = birth;
        pthread_mutex_unlock(&made.lock);
    }
}

bool broker_has_made(int dir, const char *name)
{
    struct birth birth;
    bool is_there = false;

    if (!find_birth(dir, name, &birth)) {
        return false;
    }
    pthread_mutex_lock(&made.lock);
    for (unsigned i = 0; !is_there && i < min_of(made.count, MADE_MAX); i++) {
        const struct birth *one = &made.list[i];

        is_there =
            one->dev == birth.dev && one->inode == birth.inode && one->born_ns == birth.born_ns;
    }
    pthread_mutex_unlock(&made.lock);
    return is_there;
}
