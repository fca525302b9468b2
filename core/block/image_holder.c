/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/text.h"
#include "core/block/image_owner.h"

/* What is looked for.  Lines of locks have other numbers of devices than some file systems tell. */
struct sought {
    char inode[32]; /* ":12 ", as it stands in a line of a lock */
    struct stat st;
    const struct image_lock_span *span;
    int own_fd;
    int found_fd; /* the one that has it, in its process */
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

/* Behind the inode a line has the first and the last byte, or "EOF". */
static bool is_in_span(const struct image_lock_span *span, const char *bytes)
{
    char *end;
    long long first = strtoll(bytes, &end, 10);
    long long last = strtoll(end, &end, 10);

    if (strncmp(end, " EOF", 4) == 0) {
        last = INT64_MAX;
    }
    return span->len == 0 || (first < span->first + span->len && last >= span->first);
}

/* Source: proc_pid_fdinfo(5), "lock". */
static bool has_lock(const struct sought *sought, const char *path)
{
    char text[4096];
    const char *line = read_text(path, text, sizeof(text)) > 0 ? strstr(text, "lock:") : NULL;
    const size_t len = strlen(sought->inode);

    if (!line) {
        return false;
    }
    for (line = strstr(line, sought->inode); line; line = strstr(line + len, sought->inode)) {
        if (is_in_span(sought->span, line + len)) {
            return true;
        }
    }
    return false;
}

/* A file of another file system may have the same number.  No server is asked, which may hang. */
static bool is_it(const struct sought *sought, long pid, const char *fd)
{
    char path[64];
    struct statx st;

    (void)snprintf(path, sizeof(path), "/proc/%ld/fd/%.16s", pid, fd);
    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
           makedev(st.stx_dev_major, st.stx_dev_minor) == sought->st.st_dev &&
           st.stx_ino == sought->st.st_ino;
}

static bool holds_it(struct sought *sought, long pid)
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
        holds = entry->d_name[0] != '.' && !(is_own && fd == sought->own_fd) &&
                has_lock(sought, path) && is_it(sought, pid, entry->d_name);
        sought->found_fd = (int)fd;
    }
    if (dir) {
        closedir(dir);
    }
    return holds;
}

static void say_process(long pid, char text[IMAGE_HOLDER_BYTES])
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

static void say_holder(const struct sought *sought, long pid, char text[IMAGE_HOLDER_BYTES])
{
    char owner[IMAGE_OWNER_BYTES];

    if (pid == (long)getpid() && image_owner_find(sought->found_fd, owner)) {
        (void)snprintf(text, IMAGE_HOLDER_BYTES, "%s, a disk of this vblkd", owner);
    } else {
        say_process(pid, text);
    }
}

bool image_holder_find(int fd, const struct image_lock_span *span, char text[IMAGE_HOLDER_BYTES])
{
    struct sought sought = {.own_fd = fd, .span = span};
    struct dirent *entry;
    bool is_found = false;
    DIR *dir;

    if (fstat(fd, &sought.st) < 0) {
        return false;
    }
    (void)snprintf(sought.inode, sizeof(sought.inode), ":%llu ",
                   (unsigned long long)sought.st.st_ino);
    dir = opendir("/proc");
    while (dir && !is_found && (entry = readdir(dir))) { /* NOLINT: a DIR of our own */
        long pid = strtol(entry->d_name, NULL, 10);

        is_found = pid > 0 && holds_it(&sought, pid);
        if (is_found) {
            say_holder(&sought, pid, text);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return is_found;
}
