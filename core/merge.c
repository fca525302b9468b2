/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/merge.h"

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
static bool may_merge(const struct file_io *fio)
{
    return fio->io->op != IO_FLUSH && !fio->buffer && !fio->is_alone && fio->done == 0;
}

static bool goes_along(const struct engine_op *op, uint64_t bytes, const struct file_io *fio)
{
    const struct io *io = fio->io;

    return may_merge(fio) && io->op == op->op && io->is_fua == op->is_fua &&
           io->offset == op->offset + bytes && bytes + io->length <= MERGE_BYTES &&
           op->iov_count + io->iov_count <= MERGE_IOVS;
}

static void append(struct merge *merge, const struct iovec *iov, unsigned count)
{
    memcpy(merge->iov + merge->used, iov, count * sizeof(*iov));
    merge->used += count;
}

/* Put the pieces of `io` behind those of `op`, which are in the pool if it `has_moved`. */
static bool add_pieces(struct merge *merge, struct engine_op *op, bool has_moved,
                       const struct io *io)
{
    unsigned more = io->iov_count + (has_moved ? 0 : op->iov_count);

    if (merge->used + more > MERGE_POOL) {
        return false;
    }
    if (!has_moved) {
        append(merge, op->iov, op->iov_count);
        op->iov = merge->iov + merge->used - op->iov_count;
    }
    append(merge, io->iov, io->iov_count);
    op->iov_count += io->iov_count;
    return true;
}

struct file_io *merge_gather(struct merge *merge, struct file_io *first, struct engine_op *op)
{
    const struct io *io = first->io;
    struct file_io *next = first->next;

    *op = (struct engine_op){
        .op = io->op,
        .is_fua = io->is_fua,
        .iov = first->buffer ? &first->buffer_iov : io->iov,
        .iov_count = first->buffer ? 1 : io->iov_count,
        .offset = io->offset + first->done,
        .data = first,
    };
    first->group = 1;
    first->group_bytes = io->length;
    if (merge->is_off || !may_merge(first)) {
        return next;
    }
    while (next && goes_along(op, first->group_bytes, next) &&
           add_pieces(merge, op, first->group > 1, next->io)) {
        first->group++;
        first->group_bytes += next->io->length;
        next = next->next;
    }
    return next;
}
