/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/stuck.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/sysfs.h"

/* What a thread of a disk may wait in, and whether its first argument is the fd that it waits for.
 */
static const struct call {
    long number;
    const char *name;
    bool has_fd;
} calls[] = {
    {SYS_close, "close", false}, /* the fd is free already */
    {SYS_epoll_pwait, "epoll_pwait", true},
    {SYS_fallocate, "fallocate", true},
    {SYS_fcntl, "fcntl", true},
    {SYS_fdatasync, "fdatasync", true},
    {SYS_flock, "flock", true},
    {SYS_fstat, "fstat", true},
    {SYS_fstatfs, "fstatfs", true},
    {SYS_fsync, "fsync", true},
    {SYS_futex, "futex", false},
    {SYS_io_getevents, "io_getevents", false},
    {SYS_io_submit, "io_submit", false},
    {SYS_io_uring_enter, "io_uring_enter", false},
    {SYS_ioctl, "ioctl", true},
    {SYS_newfstatat, "newfstatat", false},
    {SYS_openat, "openat", false},
    {SYS_pread64, "pread64", true},
    {SYS_preadv, "preadv", true},
    {SYS_pwrite64, "pwrite64", true},
    {SYS_pwritev, "pwritev", true},
    {SYS_pwritev2, "pwritev2", true},
    {SYS_read, "read", true},
    {SYS_readlinkat, "readlinkat", false},
    {SYS_recvmsg, "recvmsg", true},
    {SYS_sendmsg, "sendmsg", true},
    {SYS_statfs, "statfs", false},
    {SYS_statx, "statx", false},
    {SYS_sync_file_range, "sync_file_range", true},
    {SYS_write, "write", true},
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait", true},
#endif
#ifdef SYS_open
    {SYS_open, "open", false},
#endif
#ifdef SYS_stat
    {SYS_stat, "stat", false},
#endif
};

static const struct call *find_call(long number)
{
    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
        if (calls[i].number == number) {
            return &calls[i];
        }
    }
    return NULL;
}

/* The first line of a thread's file in /proc, "" when it cannot be read. */
static void read_line(pid_t tid, const char *name, char *line, size_t bytes)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)tid, name);
    (void)sysfs_line(path, line, bytes);
}

/* The state letter of /proc/PID/task/TID/stat, '?' when it cannot be told. */
static char thread_state(pid_t tid)
{
    char stat[256];
    const char *end;

    read_line(tid, "stat", stat, sizeof(stat));
    end = strrchr(stat, ')'); /* the name in parentheses may have any character */
    return end && end[1] == ' ' ? end[2] : '?';
}

/* What is open there; no file system is asked. */
static bool link_of(uint64_t fd, char link[STUCK_LINK_BYTES])
{
    char path[64];
    ssize_t len;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%" PRIu64, fd);
    len = readlink(path, link, STUCK_LINK_BYTES - 1);
    link[len < 0 ? 0 : len] = '\0';
    return len > 0;
}

/* Files of which a front-end has the other end, or the same. */
static bool is_shared(const char *link)
{
    return strcmp(link, "anon_inode:[eventfd]") == 0 || strncmp(link, "pipe:", 5) == 0 ||
           strncmp(link, "socket:", 7) == 0;
}

static void say_call(long number, uint64_t first, const char *image, char text[STUCK_BYTES])
{
    const struct call *call = find_call(number);
    char unknown[32];
    char link[STUCK_LINK_BYTES];
    const char *name = call ? call->name : unknown;

    (void)snprintf(unknown, sizeof(unknown), "system call %ld", number);
    if (call && call->has_fd && link_of(first, link)) {
        (void)snprintf(text, STUCK_BYTES, "waits in %s on %s%s", name, link,
                       is_shared(link) ? ", which its front-end may hold up" : "");
    } else if (image[0]) {
        (void)snprintf(text, STUCK_BYTES, "waits in %s, most likely for %s", name, image);
    } else {
        (void)snprintf(text, STUCK_BYTES, "waits in %s", name);
    }
}

void stuck_on(pid_t tid, const char *image, char text[STUCK_BYTES])
{
    char line[256];
    char *end;
    long number;

    read_line(tid, "syscall", line, sizeof(line));
    number = strtol(line, &end, 10);
    if (strncmp(line, "running", 7) == 0) {
        (void)snprintf(text, STUCK_BYTES, "runs without coming to it");
    } else if (end == line) {
        (void)snprintf(text, STUCK_BYTES, "may wait for %s", image[0] ? image : "the host");
    } else if (number < 0) {
        (void)snprintf(text, STUCK_BYTES, "waits for memory (a page fault)");
    } else {
        say_call(number, strtoull(end, NULL, 16), image, text);
    }
}

int stuck_refuse(const char *disk, pid_t tid, const char *image, struct err *err)
{
    char text[STUCK_BYTES];
    char state = thread_state(tid);

    stuck_on(tid, image, text);
    return err_say(err, -ETIMEDOUT,
                   "%s: the disk's thread does not answer; it %s (state %c%s in "
                   "/proc/%d/task/%d)",
                   disk, text, state,
                   state == 't' || state == 'T' ? ", stopped by somebody else" : "", (int)getpid(),
                   (int)tid);
}
