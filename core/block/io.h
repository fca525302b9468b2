/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One operation on an image, and lists of such.  Owned by the one who asks; lent to whom it is
 * given until `done`.  What was asked is never changed on the way: pieces of memory, offset and
 * length are as they were when it ends.
 */

#include <assert.h>
#include <sys/uio.h>

#include "core/base/base.h"

enum io_op {
    IO_READ,
    IO_WRITE,
    IO_FLUSH,
    IO_DISCARD, /* the range is needed no more; what it reads as afterwards is not said */
    IO_ZERO,    /* the range reads as zeroes afterwards */
};

enum io_flag {
    IO_FUA = 1 << 0,       /* IO_WRITE, IO_ZERO: on stable storage before it is done */
    IO_MAY_UNMAP = 1 << 1, /* IO_ZERO: its room may be given back; else it stays allocated */
};

struct io {
    enum io_op op;
    uint16_t flags; /* enum io_flag */
    uint16_t iov_count;
    uint64_t offset;             /* bytes */
    uint64_t length;             /* bytes; of reads and writes the sum of iov */
    const struct iovec *iov;     /* the asker's; each piece has less than 4 GiB */
    int64_t result;              /* 0 or -errno */
    void (*done)(struct io *io); /* called once, never before it was given away */
    struct io *next;             /* the list that the io is on, whose it ever is */
    void *frame;                 /* IO_FRAME_BYTES for the one who has it, 16-byte aligned */
};

_Static_assert(sizeof(struct io) <= CACHE_LINE, "one cache line");

/* The room that an asker keeps beside an io; each who uses it asserts that it is enough. */
#define IO_FRAME_BYTES 64

/* In order of arrival. */
struct io_list {
    struct io *first;
    struct io **last;
};

static inline void io_list_init(struct io_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static inline void io_list_append(struct io_list *list, struct io *io)
{
    io->next = NULL;
    *list->last = io;
    list->last = &io->next;
}

/* Its `next` stays as it is. */
static inline struct io *io_list_take(struct io_list *list)
{
    struct io *io = list->first;

    assert(io);
    list->first = io->next;
    if (!list->first) {
        list->last = &list->first;
    }
    return io;
}

static inline void io_end(struct io *io, int64_t result)
{
    io->result = result;
    io->done(io);
}
