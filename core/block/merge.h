/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Requests that were queued one after the other and lie one after the other on the image go
 * to the kernel as one operation.  Holds the pieces of memory of such operations until the
 * batch has been submitted.
 * Owned by its path; that one's thread only.
 */

#include "core/block/engine.h"
#include "core/block/file_io.h"

/*
 * What one operation may have: 128 pages, which most disks take as one request wherever in
 * memory they lie.  What is larger is cut again, and keeps those behind it waiting.
 */
#define MERGE_BYTES (512u * 1024)
#define MERGE_IOVS 128u

/* What all operations of a batch may have together; when it is used up, merging ends. */
#define MERGE_POOL 1024u

struct merge {
    struct iovec *iov; /* owned */
    unsigned used;
    bool is_off; /* the pieces would have to be held for longer */
};

/* Returns 0 or -ENOMEM. */
int merge_init(struct merge *merge);
void merge_fini(struct merge *merge);

/* A new batch begins: the last one's pieces are needed no more. */
static inline void merge_begin(struct merge *merge)
{
    merge->used = 0;
}

/*
 * Make the operation that `first` leads, with those after it in its list that go along;
 * returns the one after them.
 */
struct io *merge_gather(struct merge *merge, struct io *first, struct engine_op *op);
