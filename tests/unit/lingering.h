/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A file descriptor that makes whoever closes it last wait, without a file system of our own: a TCP
 * connection with data that its peer does not read, and SO_LINGER.
 * Source: socket(7), SO_LINGER.
 */

#include "tests/unit/unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

struct lingering {
    int fd;   /* the one that makes wait */
    int peer; /* to close it ends the wait */
};

/* Far longer than any test may take. */
#define LINGER_S 60

static inline struct lingering lingering_open(void)
{
    static const uint8_t unread[65536];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
    socklen_t len = sizeof(addr);
    struct lingering l;
    int listener;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* a close that waits stops all threads there */
    }
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    l.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), errno);
    assert_return_code(listen(listener, 1), errno);
    assert_return_code(getsockname(listener, (struct sockaddr *)&addr, &len), errno);
    assert_return_code(connect(l.fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
    l.peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(l.peer >= 0);
    close(listener);
    assert_return_code(setsockopt(l.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), errno);
    while (send(l.fd, unread, sizeof(unread), MSG_DONTWAIT) > 0) {
    }
    return l;
}
