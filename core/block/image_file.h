/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An open image: a regular file or a host block device, locked, with the facts that I/O on it
 * needs.  Every refusal says which file, why, and what to do.
 * Owned by its node.  Thread: the disk's; opening may block.
 */

#include <pthread.h>

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/block/image_chs.h"
#include "core/block/image_claim.h"
#include "core/block/image_fate.h"
#include "core/block/image_fence.h"
#include "core/block/image_given.h"
#include "core/block/image_id.h"
#include "core/block/image_loss.h"
#include "core/block/image_opts.h"
#include "core/block/image_shape.h"

struct io_log;

struct image_file {
    char *path; /* owned */
    int fd;
    struct image_claim claim;
    struct image_fence fence;
    struct image_sync *sync; /* owned, NULL: nothing of it is in the page cache, or lost */
    bool is_direct;
    bool is_created;          /* by this opening */
    bool is_unfenced;         /* nothing tells when I/O of ours has ended, see image_fence.h */
    struct image_range range; /* of the file's bytes; from here on all is told of these alone */
    struct image_shape shape;
    struct image_chs chs;       /* see struct node_facts */
    uint32_t discard_block;     /* see struct node_facts */
    pthread_mutex_t *wipe_lock; /* owned: one range is given back at a time, so as to count it */
    struct image_id id;
    struct image_made made; /* is_created: as that left it */
    bool had_name;          /* see struct node_facts */
    const char *note;       /* see struct node_facts */
    struct io_log *log;     /* the node's, NULL: nobody wants one */
};

/* It stays in its place from then on. */
int image_file_open(struct image_file *image, const struct image_opts *opts, struct err *err);

void image_file_close(struct image_file *image);

/* As image_give. */
void image_file_give(const struct image_file *image, struct image_given *given);

/* As node_measure. */
int image_file_measure(const struct image_file *image, uint64_t *bytes, bool *is_fixed,
                       struct err *err);

/* As node_resize.  `size` stays as it was found; what has that size already is left alone. */
int image_file_resize(const struct image_file *image, uint64_t bytes, struct err *err);

/* As node_inherit.  Returns 0 or -ENOMEM. */
int image_file_inherit(struct image_file *image, const struct image_loss *loss, struct err *err);
