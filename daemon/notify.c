/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/log.h"

#define AGAIN_MS 100

/* Returns the address's length, 0: nobody wants to be told. */
static socklen_t read_address(struct sockaddr_un *addr)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    if (len == 0) {
        return 0;
    }
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof(addr->sun_path)) {
        log_warn("notify: NOTIFY_SOCKET=%s is no path of a socket", path);
        return 0;
    }
    memcpy(addr->sun_path, path, len);
    if (path[0] == '@') {
        addr->sun_path[0] = '\0';
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Returns 0, also when nobody is to be told, -EAGAIN when the queue is full, or another -errno. */
static int try_send(const char *state)
{
    struct sockaddr_un addr;
    socklen_t len = read_address(&addr);
    int ret = 0;
    int fd;

    if (len == 0) {
        return 0;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, len) < 0) {
        ret = -errno;
    }
    if (fd >= 0) {
        close(fd);
    }
    return ret;
}

void notify_once(const char *state)
{
    (void)try_send(state);
}

static void on_again(uv_timer_t *timer)
{
    struct notify *notify = containerof(timer, struct notify, again);
    int ret = try_send(notify->state);

    if (ret == -EAGAIN) {
        return;
    }
    if (ret < 0) {
        log_warn("notify: cannot send %s to $NOTIFY_SOCKET: %s", notify->state, strerror(-ret));
    }
    (void)uv_timer_stop(timer);
}

int notify_init(struct notify *notify, uv_loop_t *loop)
{
    return uv_timer_init(loop, &notify->again);
}

void notify_close(struct notify *notify)
{
    uv_close((uv_handle_t *)&notify->again, NULL);
}

void notify_manager(struct notify *notify, const char *state)
{
    notify->state = state;
    (void)uv_timer_start(&notify->again, on_again, AGAIN_MS, AGAIN_MS); /* fails when closed only */
    on_again(&notify->again);
}
