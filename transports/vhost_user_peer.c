/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* struct ucred */
#include "transports/vhost_user_peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/text.h"

/* The name that a process has given itself: any bytes, so only what is fit for a log line. */
static void read_comm(pid_t pid, char *comm, size_t size)
{
    char name[16]; /* as long as the kernel's, with its line feed */
    char path[48];
    ssize_t len = 0;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, name, sizeof(name));
        close(fd);
    }
    if (len > 0 && name[len - 1] == '\n') {
        len--;
    }
    (void)text_escape(comm, size, name, len > 0 ? (size_t)len : 0);
}

struct vhost_user_peer vu_peer_of(int fd)
{
    struct vhost_user_peer peer = {0};
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
        peer.pid = cred.pid;
        peer.uid = cred.uid;
        read_comm(cred.pid, peer.comm, sizeof(peer.comm));
    }
    return peer;
}

const char *vu_peer_comm(const struct vhost_user_peer *peer)
{
    return peer->comm[0] ? peer->comm : "a process";
}
