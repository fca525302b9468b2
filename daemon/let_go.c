/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/let_go.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transports/unix_socket.h"

/* A file system may not answer here either: then the process ends without more. */
#define LAST_SECONDS 2

static void end_in_time(void)
{
    sigset_t alarm_only;

    (void)signal(SIGALRM, SIG_DFL);
    (void)sigemptyset(&alarm_only);
    (void)sigaddset(&alarm_only, SIGALRM);
    (void)pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    (void)alarm(LAST_SECONDS);
}

/* Is `path` the lock of a socket?  An image may be called so as well. */
static bool is_socket_lock(char *path)
{
    size_t len = strlen(path);
    struct stat st;

    if (len < sizeof(UNIX_LOCK_SUFFIX) ||
        strcmp(path + len - strlen(UNIX_LOCK_SUFFIX), UNIX_LOCK_SUFFIX) != 0) {
        return false;
    }
    path[len - strlen(UNIX_LOCK_SUFFIX)] = '\0';
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/*
 * All that we open is closed on exec, and what a front-end handed in as well.  What is not was
 * inherited, and a socket would be shut down for all who have it.
 */
static bool is_inherited(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    return flags < 0 || !(flags & FD_CLOEXEC);
}

static void let_go_of(const char *name)
{
    char link[32 + NAME_MAX];
    char path[PATH_MAX];
    int fd = (int)strtol(name, NULL, 10);
    ssize_t len;

    if (fd <= STDERR_FILENO || is_inherited(fd)) {
        return; /* others have it as well; "." and ".." */
    }
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    path[len < 0 ? 0 : len] = '\0';
    if (strncmp(path, "socket:", 7) == 0) {
        (void)shutdown(fd, SHUT_RDWR); /* fails where nobody is connected: so be it */
    } else if (is_socket_lock(path)) {
        (void)flock(fd, LOCK_UN);
    }
}

void let_go(const struct state *state)
{
    const struct dirent *entry;
    DIR *dir;

    end_in_time();
    if (state) {
        state_let_go(state);
    }
    dir = opendir("/proc/self/fd");
    while (dir && (entry = readdir(dir))) {
        let_go_of(entry->d_name);
    }
}
