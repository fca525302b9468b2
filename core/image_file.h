/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An open image: a regular file or a host block device, locked, with the facts that I/O on it
 * needs.  Every refusal says which file, why, and what to do.
 * Owned by its backend.  Thread: the disk's; opening may block.
 */

#include "core/backend.h"
#include "core/base.h"
#include "core/err.h"

struct image_file {
    char *path; /* owned */
    int fd;
    bool is_direct;
    bool is_created;  /* by this opening */
    bool is_borrowed; /* path and fd are the lender's, which stays open for longer */
    uint64_t size;    /* bytes */
    uint32_t block_size;
    uint32_t logical_block;
    uint32_t physical_block;
    uint32_t opt_io;
    uint32_t mem_align; /* of buffers, for direct I/O */
};

int image_file_open(struct image_file *image, const struct backend_opts *opts, struct err *err);

/* For another thread of the same disk: an image that is locked already.  Returns 0. */
int image_file_borrow(struct image_file *image, const struct image_file *lender);

void image_file_close(struct image_file *image);

/* Close it, and unlink what this opening created: the disk did not come to be. */
void image_file_abandon(struct image_file *image);
