/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/broker_rules.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/base.h"

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

bool broker_place(int fd, char place[PATH_MAX])
{
    char name[32];
    ssize_t len;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    len = readlink(name, place, PATH_MAX - 1);
    place[len > 0 ? len : 0] = '\0';
    return place[0] == '/';
}

bool broker_is_below(const char *place, const char *dir)
{
    size_t len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/') {
        len--;
    }
    return strncmp(place, dir, len) == 0 && (len == 1 || place[len] == '/' || place[len] == '\0');
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

bool broker_allows(const struct broker_rules *rules, const char *place, bool is_socket)
{
    if (is_systems(rules, place)) {
        return false;
    }
    if (is_socket || rules->image_dirs == 0) {
        return true;
    }
    for (unsigned i = 0; i < rules->image_dirs; i++) {
        if (broker_is_below(place, rules->image_dir[i])) {
            return true;
        }
    }
    return false;
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
