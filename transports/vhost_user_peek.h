/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * How many bytes there are, with fds or without: what comes with bytes that are only looked at, and
 * finds no room, is never touched.  -errno when there are none.
 * Source: recvmsg(2), MSG_PEEK, MSG_CTRUNC.
 */
ssize_t vu_peek(int fd, void *to, size_t want, bool *has_fds);
