/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/merge.h"

#include <errno.h>
#include <stdlib.h>

int merge_init(struct merge *merge)
{
    merge->iov = malloc(MERGE_POOL * sizeof(*merge->iov));
    merge->used = 0;
    merge->is_off = false;
    return merge->iov ? 0 : -ENOMEM;
}

void merge_fini(struct merge *merge)
{
    free(merge->iov);
    merge->iov = NULL;
}

/* A bounced request keeps to its buffer, one that came short or failed in a group to itself. */
static bool may_merge(const struct io *io)
{
    const struct file_io *fio = file_io_of(io);

    return io->op != IO_FLUSH && !fio->buffer && !fio->is_alone && fio->done == 0;
}

/* Mostly the place decides. */
static bool goes_along(const struct engine_op *op, uint64_t bytes, const struct io *io)
{
    return io->offset == op->offset + bytes && io->op == op->op && io->flags == op->flags &&
           may_merge(io) && bytes + io->length <= MERGE_BYTES &&
           op->iov_count + io->iov_count <= MERGE_IOVS;
}

static void append_pieces(struct merge *merge, const struct iovec *iov, unsigned count)
{
    memcpy(merge->iov + merge->used, iov, count * sizeof(*iov));
    merge->used += count;
}

/* Put the pieces of `io` behind those of `op`, which are in the pool if it `has_moved`. */
static bool add_iovs(struct merge *merge, struct engine_op *op, bool has_moved, const struct io *io)
{
    unsigned more = io->iov_count + (has_moved ? 0 : op->iov_count);

    if (merge->used + more > MERGE_POOL) {
        return false;
    }
    if (!has_moved) {
        append_pieces(merge, op->iov, op->iov_count);
        op->iov = merge->iov + merge->used - op->iov_count;
    }
    append_pieces(merge, io->iov, io->iov_count);
    op->iov_count += io->iov_count;
    return true;
}

/*
 * What is beyond the kernel's limit goes as the rest of a short transfer does, in an operation of
 * its own; and so does the rest of a piece, as the pieces are the asker's.
 */
static void make_op(struct engine_op *op, struct io *io)
{
    const struct file_io *fio = file_io_of(io);
    bool is_ours = fio->buffer || fio->place.skip > 0;
    unsigned pieces = min_of(io->iov_count - fio->place.at, ENGINE_MAX_IOVS);
    const struct iovec *iov = pieces > 0 ? io->iov + fio->place.at : NULL; /* of a flush */

    *op = (struct engine_op){
        .op = io->op,
        .flags = io->flags,
        .iov = is_ours ? &fio->piece : iov,
        .iov_count = is_ours ? 1 : pieces,
        .offset = io->offset + fio->done,
        .data = io,
    };
}

struct io *merge_gather(struct merge *merge, struct io *first, struct engine_op *op)
{
    struct file_io *fio = file_io_of(first);
    struct io *next = first->next;

    make_op(op, first);
    fio->group = 1;
    fio->group_bytes = (uint32_t)min_of(first->length, (uint64_t)UINT32_MAX);
    fio->is_large = fio->is_learned = fio->is_huge = false;
    if (merge->is_off || !may_merge(first)) {
        return next;
    }
    while (next && goes_along(op, fio->group_bytes, next) &&
           add_iovs(merge, op, fio->group > 1, next)) {
        fio->group++;
        fio->group_bytes += (uint32_t)next->length;
        next = next->next;
    }
    return next;
}
