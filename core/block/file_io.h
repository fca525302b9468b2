/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The frame of an io that a path to a file has.
 * Owned by the asker; the path's thread only.
 */

#include "core/base/iov.h"
#include "core/block/io.h"

struct file_io {
    uint8_t *buffer;    /* bounce buffer, NULL: the asker's memory is good as it is */
    struct iovec piece; /* ours: what goes through the buffer, or is left of one of the asker's */
    struct iov_place place; /* in the asker's pieces: where what has not begun to move begins */
    uint64_t done;          /* bytes */
    uint32_t group_bytes;   /* of the operation that it leads */
    uint16_t group;         /* requests in that, itself included; they follow by `next` */
    uint16_t tries;         /* results that were none (retry.h) */
    bool is_alone;          /* not to be merged: it was, and something was wrong */
    uint16_t reaps;         /* of huge_bounce.h, when its operation began, if that is large */
    bool has_synced;        /* of a wiped range: its result is that of a sync (wiper.h) */
    bool is_large;          /* its operation is of huge_bounce.h */
    bool is_learned;        /* and counts for huge_learn.h */
    bool is_huge;           /* `piece` is in huge pages of ours, as large as the operation */
};

_Static_assert(sizeof(struct file_io) <= IO_FRAME_BYTES, "room for a file");

static inline struct file_io *file_io_of(const struct io *io)
{
    return io->frame;
}

/* It has a buffer.  As much as that holds; the next piece of a write leaves the guest's memory now.
 */
void file_io_fill_buffer(struct io *io);

/* Account for `bytes` moved.  Returns true when there is more to do. */
bool file_io_move_on(struct io *io, size_t bytes);

/*
 * A bounced write that came short: the rest of the piece is in its buffer alone, as the guest may
 * have changed its own memory since.  It is an error of the medium; the driver will write again.
 */
bool file_io_is_short_write(const struct io *io, size_t bytes);
