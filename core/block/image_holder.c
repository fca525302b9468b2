/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/text.h"

/* What is looked for.  File systems have other numbers of devices here than there. */
struct sought {
    char inode[32]; /* ":12 ", as it stands in a line of a lock */
    int own_fd;
};

static size_t read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

    if (fd >= 0) {
        close(fd);
    }
    text[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

/* Source: proc_pid_fdinfo(5), "lock". */
static bool has_lock(const struct sought *sought, const char *path)
{
    char text[2048];
    const char *line = read_text(path, text, sizeof(text)) > 0 ? strstr(text, "lock:") : NULL;

    return line && strstr(line, sought->inode);
}

static bool holds_it(const struct sought *sought, long pid)
{
    char path[64];
    struct dirent *entry;
    bool is_own = pid == (long)getpid();
    bool holds = false;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "/proc/%ld/fdinfo", pid);
    dir = opendir(path);
    while (dir && !holds && (entry = readdir(dir))) { /* NOLINT: a DIR of our own */
        long fd = strtol(entry->d_name, NULL, 10);

        (void)snprintf(path, sizeof(path), "/proc/%ld/fdinfo/%.16s", pid, entry->d_name);
        holds =
            entry->d_name[0] != '.' && !(is_own && fd == sought->own_fd) && has_lock(sought, path);
    }
    if (dir) {
        closedir(dir);
    }
    return holds;
}

static void say_holder(long pid, char text[IMAGE_HOLDER_BYTES])
{
    char path[64];
    char name[32];
    char shown[64];
    size_t len;

    (void)snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    len = read_text(path, name, sizeof(name));
    if (len > 0 && name[len - 1] == '\n') {
        len--;
    }
    (void)text_escape(shown, sizeof(shown), name, len);
    (void)snprintf(text, IMAGE_HOLDER_BYTES, "%s (pid %ld)", shown[0] ? shown : "a process", pid);
}

bool image_holder_find(int fd, char text[IMAGE_HOLDER_BYTES])
{
    struct sought sought = {.own_fd = fd};
    struct dirent *entry;
    struct stat st;
    bool is_found = false;
    DIR *dir;

    if (fstat(fd, &st) < 0) {
        return false;
    }
    (void)snprintf(sought.inode, sizeof(sought.inode), ":%llu ", (unsigned long long)st.st_ino);
    dir = opendir("/proc");
    while (dir && !is_found && (entry = readdir(dir))) { /* NOLINT: a DIR of our own */
        long pid = strtol(entry->d_name, NULL, 10);

        is_found = pid > 0 && holds_it(&sought, pid);
        if (is_found) {
            say_holder(pid, text);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return is_found;
}
