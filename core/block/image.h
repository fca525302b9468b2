/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An open image of a disk: a tree of nodes.  Lanes open paths to its root, and close them before
 * the image is closed.  Owned by the disk.
 */

#include "core/block/image_given.h"
#include "core/block/image_opts.h"
#include "core/block/node.h"

struct image {
    struct node *root; /* owned, a count */
    bool holds_errors; /* a request that fails waits for a person, unanswered */
};

/* As the options say.  Thread: any; may block. */
int image_open(struct image **out, const struct image_opts *opts, struct err *err);

/* An image of a tree that is there; takes over `root`.  Returns 0 or -ENOMEM. */
int image_new(struct image **out, struct node *root);

/* Thread: any; may block. */
void image_close(struct image *image);

/*
 * Delete the file that was made when it was opened, unless it was written to: locks keep out only
 * those who ask for them.  It is still open, and locked.  Thread: any; may block.
 */
void image_unmake(const struct image *image);

/*
 * What another process is given of it, which may take it over (image_opts.given): the descriptors
 * are lent.  Without a file there is none.
 */
void image_give(const struct image *image, struct image_given *given);

static inline const struct node_facts *image_facts(const struct image *image)
{
    return &image->root->facts;
}

/*
 * Another root, while nothing is in flight on any path.  `reopen` gives everybody who has a path to
 * the root another one, to the root that the image has by then, or leaves all paths as they are, as
 * when its blocks do not suit them: then the image is as it was, too, and `err` says why.
 *
 * `*node` was opened before, as that may block.  After success the image has its count, and `*node`
 * is the root that was, with a count for the caller to give back, which may block as well.
 *
 * Should the root have lost what was answered, as a flush failed, the other has lost it, too, from
 * here on: all its flushes fail, as those of the one before did.
 */
typedef int image_reopen(void *arg, struct err *err);

/* `*node` is a filter over the root. */
int image_insert(struct image *image, struct node **node, image_reopen *reopen, void *arg,
                 struct err *err);

/* `*node` is the root, lent, and a filter: what is below it is the root again. */
int image_remove(struct image *image, struct node **node, image_reopen *reopen, void *arg,
                 struct err *err);

/* `*node` takes the root's place: it has the same size, and can be written if the root can. */
int image_swap(struct image *image, struct node **node, image_reopen *reopen, void *arg,
               struct err *err);

/*
 * The same for another medium, of any size; what the one before has lost is no matter of its.  That
 * it can be written if the root can, is for the caller to see to.
 */
int image_exchange(struct image *image, struct node **node, image_reopen *reopen, void *arg,
                   struct err *err);

/* What has become of the image's syncs.  Thread: the disk's, as its root may be another next. */
struct image_loss image_lost(const struct image *image);

/* Say which image an error is about, if it has a name, where that was not known. */
void image_name_err(const struct image *image, struct err *err);
