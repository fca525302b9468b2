/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/socket_watch.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/base/names.h"

/* What is moved to a name goes over the socket that had it. */
#define CHANGES (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB)

#define EVENTS (CHANGES | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* The directory is not there any more, or not where it was. */
#define LOST (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

static void tell_gone(struct socket_watch *watch, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW) {
        watch->gone(watch->arg, -1, NULL, false);
    } else if (event->mask & LOST) {
        if (event->mask & IN_MOVE_SELF) {
            socket_watch_drop(watch, event->wd);
        }
        watch->gone(watch->arg, event->wd, NULL, true);
    } else { /* without a name it is the directory that has got another mode or owner */
        watch->gone(watch->arg, event->wd, event->len > 0 ? event->name : NULL, false);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *watch = containerof(poll, struct socket_watch, poll);
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t len = read(watch->fd, buffer, sizeof(buffer));

    for (ssize_t at = 0; at < len;) {
        const struct inotify_event *event = (const struct inotify_event *)(buffer + at);

        at += (ssize_t)(sizeof(*event) + event->len);
        tell_gone(watch, event);
    }
}

void socket_watch_init(struct socket_watch *watch, uv_loop_t *loop,
                       void (*gone)(void *arg, int directory, const char *name, bool is_lost),
                       void *arg)
{
    *watch = (struct socket_watch){.gone = gone, .arg = arg};
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd >= 0 && uv_poll_init(loop, &watch->poll, watch->fd) < 0) {
        close(watch->fd);
        watch->fd = -1;
    }
    if (watch->fd >= 0) {
        (void)uv_poll_start(&watch->poll, UV_READABLE, on_readable); /* it is open */
    }
}

int socket_watch_add(struct socket_watch *watch, const char *path)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];
    int directory;

    if (watch->fd < 0) {
        return -EMFILE;
    }
    (void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1,
                   slash ? path : ".");
    directory = names_watch(watch->fd, dir, EVENTS);
    return directory < 0 ? -errno : directory;
}

void socket_watch_drop(struct socket_watch *watch, int directory)
{
    if (watch->fd >= 0 && directory >= 0) {
        (void)inotify_rm_watch(watch->fd, directory); /* it may have gone by itself */
    }
}

/* The handle last, as it is closed by its number. */
static void on_closed(uv_handle_t *handle)
{
    close(containerof((uv_poll_t *)handle, struct socket_watch, poll)->fd);
}

void socket_watch_close(struct socket_watch *watch)
{
    if (watch->fd >= 0) {
        uv_close((uv_handle_t *)&watch->poll, on_closed);
    }
}

bool socket_watch_is_name(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t len = strlen(base);

    return strncmp(base, name, len) == 0 && (name[len] == '\0' || strcmp(name + len, ".lock") == 0);
}
