/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A text and any number of file descriptors, on their way from one process to another over a
 * connected UNIX stream socket: what a message of the kernel's has room for (253) is no limit here.
 * The text says what the descriptors are, by their number in the list.  The receiver has copies;
 * the sender's stay open.
 * Each call waits for the other side, but no longer than its time.  Thread: any.
 */

#include <stddef.h>

#include "core/base/base.h"

struct parcel {
    char *text; /* owned by the receiver, with a NUL behind it that does not count */
    size_t bytes;
    int *fd; /* the same: array and, until they are taken, which leaves -1, descriptors */
    unsigned fd_count;
};

/* More than that is none of ours. */
#define PARCEL_BYTES_MAX (256u << 20)
#define PARCEL_FDS_MAX (1u << 20)

/* Returns 0, -ETIMEDOUT, or another -errno. */
int parcel_send(int sock, const struct parcel *parcel, unsigned timeout_ms);

/*
 * Returns 0; -EPIPE: the sender has gone; -EPROTO: that is no parcel; -EMFILE: there was no room
 * for its descriptors; -ETIMEDOUT, -ENOMEM.  Then `*parcel` is empty.
 */
int parcel_receive(int sock, struct parcel *parcel, unsigned timeout_ms);

/* Close what was not taken, and free. */
void parcel_fini(struct parcel *parcel);

/* The descriptor with this number, which is the caller's from now on; -1: there is none, or no
 * more. */
int parcel_take(struct parcel *parcel, unsigned number);

/* A word of one letter, with which both sides go on together. */
int parcel_say(int sock, char word, unsigned timeout_ms);

/* Returns the letter, -EPIPE when the other side has gone, or another -errno. */
int parcel_hear(int sock, unsigned timeout_ms);
