/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Operations that wait for their time, and a timer that tells when the first of them has come.
 * Owned by a path; that one's thread only.
 */

#include "core/block/io.h"

struct delay {
    int timer_fd;           /* owned */
    struct io_list waiting; /* by `due_ns`, and of the same in order of arrival */
    bool is_armed;          /* as the first of them needs it, or not at all */
};

/* The frame of an io that waits. */
struct delayed {
    uint64_t due_ns; /* now_ns */
    int64_t result;  /* for who put it there */
};

_Static_assert(sizeof(struct delayed) <= IO_FRAME_BYTES, "room for a delay");

static inline struct delayed *delayed_of(const struct io *io)
{
    return io->frame;
}

/* Returns 0 or -errno: there is no timer. */
int delay_open(struct delay *delay);
void delay_close(struct delay *delay);

/* Let it wait; a time that has come already is good. */
void delay_add(struct delay *delay, struct io *io, uint64_t due_ns, int64_t result);

/*
 * Have the timer go off when the first is due, or not at all.  Setting it also takes
 * back that it has gone off, so nobody need read it.
 */
void delay_arm(struct delay *delay);

/* One that is due at `now_ns`, or NULL.  After the last the timer has to be armed anew. */
struct io *delay_take(struct delay *delay, uint64_t now_ns);
