/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A porter is a thread that takes in what a front-end sends with file descriptors, looks at these,
 * and passes on those that never make anybody wait (foreign.h).  The rest it closes, and should it
 * wait for ever at that, nobody else does.  It has a table of file descriptors of its own: what it
 * holds nobody else has ever held, and it holds nothing of the process (locks, listening sockets,
 * images), which the kernel closes when the process ends, whatever becomes of the porter.
 *
 * Porters are started when they are needed, and end when they have had nothing to do for a while.
 * All that is given to them and comes back goes through sockets; the only memory that they share
 * with those who ask are the counters that tell who is at work.
 *
 * `owner` says for whom: any number that is not zero, the same for all that one disk asks.
 * Thread: any.
 */

#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/foreign.h"

#define PORTER_BYTES 1024
#define PORTER_FDS 8

/* What the socket held. */
struct porter_answer {
    ssize_t got; /* bytes, 0 at the end, or -errno */
    unsigned fd_count;
    bool has_more_fds; /* than PORTER_FDS, or than the process may open: they are closed */
    struct foreign fd[PORTER_FDS];
    uint8_t bytes[PORTER_BYTES];
};

/*
 * Early: each porter has to close, for itself, what was open before.  Takes all free numbers of
 * fds below 64, for good.  More calls do no harm.
 * Returns 0 or -errno.
 */
int porter_init(void);

/*
 * Have up to `want` bytes (at most PORTER_BYTES) received from `sock`, without waiting for them.
 * The answer comes over the socketpair of which `answer` is one end (SOCK_SEQPACKET); to give it up
 * is to close the other end.  Both fds are lent for the call.
 * Returns 0; -EBUSY when too many porters wait already for what this owner's front-ends handed in;
 * or -errno.
 */
int porter_receive(int sock, size_t want, int answer, uintptr_t owner);

/* Take an answer from the other end.  The fds in it are the caller's.  -EAGAIN: not there yet. */
int porter_take(int answer, struct porter_answer *to);

/*
 * Close a UNIX stream socket, connected or listening: what was sent and nobody has read may hold
 * fds, and goes with it.  Does not wait: without a porter it is shut down, and closed when there is
 * one again.
 */
void porter_close(int sock, uintptr_t owner);

/* Porters at work for this owner. */
unsigned porter_count(uintptr_t owner);

/* So many porters of one owner may wait for what was handed in, the last one only at a close. */
#define PORTERS_OF_ONE 4u
