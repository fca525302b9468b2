/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who has locked a file: such locks belong to an open file description, so the kernel names no
 * process, but tells of each of a process's files what locks it has.
 * Thread: any; takes as long as all files of all processes take to be looked at.
 */

#include <stdbool.h>

#include <sys/types.h>

#define HOLDER_BYTES 112

/* Bytes that are locked. */
struct lock_span {
    off_t first;
    off_t len; /* 0: any */
};

struct holder {
    pid_t pid;
    int fd;           /* of that process */
    bool is_dying;    /* it was killed, runs no program any more, and has not gone */
    char program[64]; /* as it may be shown */
};

/*
 * Who has locked any of these bytes of the file that is open as `fd`, by another fd than that.
 * Returns false when none is seen: it is another host's, another user's process, or nobody's any
 * more, as what io_uring has under way for a process outlives that.
 */
bool holder_find(int fd, const struct lock_span *span, struct holder *holder);

/* The same, for another process that asks: it is not looked at, nor what this one has as `fd`. */
bool holder_find_other(pid_t asker, int fd, const struct lock_span *span, struct holder *holder);

/* "vblkd (pid 12)" */
void holder_say(const struct holder *holder, char text[HOLDER_BYTES]);
