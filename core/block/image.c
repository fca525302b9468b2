/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/block/image_fate.h"
#include "core/block/node_fault.h"
#include "core/block/node_file.h"
#include "core/block/node_null.h"
#include "core/block/node_sector.h"

static const struct node_ops *const leaves[] = {
    &node_file_ops,
    &node_null_ops,
};

static int open_leaf(struct node **out, const struct image_opts *opts, struct err *err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        if (strcmp(leaves[i]->type, opts->type) == 0) {
            return node_open(out, leaves[i], NULL, opts, err);
        }
    }
    return err_say(err, -EINVAL, "no image type \"%s\": it is file or null", opts->type);
}

/* `root` is the filter then, or given back. */
static int add_filter(struct node **root, const struct node_ops *ops, const void *filter_opts,
                      struct err *err)
{
    struct node *below = *root;
    int ret = node_open(root, ops, below, filter_opts, err);

    if (ret < 0) {
        node_put(below);
    }
    return ret;
}

/* Over a leaf that is to fail. */
static int add_fault(struct node **root, const struct image_opts *opts, struct err *err)
{
    const struct fault_rule rule = {.ops = ~0u, .error = opts->error, .every = opts->error_every};
    const struct fault_opts fault = {.rules = &rule, .count = 1};

    return add_filter(root, &node_fault_ops, &fault, err);
}

/* Over all that has a say in what the blocks are. */
static int add_sectors(struct node **root, const struct image_opts *opts, struct err *err)
{
    return opts->emulates_512 && (*root)->facts.block_size > SECTOR_SIZE
               ? add_filter(root, &node_sector_ops, NULL, err)
               : 0;
}

static int open_root(struct node **out, const struct image_opts *opts, struct err *err)
{
    struct node *root = NULL;
    int ret = open_leaf(&root, opts, err);

    if (ret < 0) {
        return ret;
    }
    assert(root);
    if (opts->error) {
        ret = add_fault(&root, opts, err);
    }
    if (ret == 0) {
        ret = add_sectors(&root, opts, err);
    }
    if (ret == 0) {
        *out = root;
    }
    return ret;
}

int image_new(struct image **out, struct node *root)
{
    struct image *image = calloc(1, sizeof(*image));

    if (!image) {
        return -ENOMEM;
    }
    image->root = root;
    *out = image;
    return 0;
}

int image_open(struct image **out, const struct image_opts *opts, struct err *err)
{
    struct image *image;
    int ret = image_new(&image, NULL); /* before a file may be created */

    if (ret < 0) {
        return err_set(err, ret, "an image");
    }
    ret = open_root(&image->root, opts, err);
    if (ret < 0) {
        free(image);
        return ret;
    }
    image->holds_errors = opts->holds_errors;
    *out = image;
    return 0;
}

void image_close(struct image *image)
{
    node_put(image->root);
    free(image);
}

/* The first that has a file; filters have one child on the way to it. */
static const struct node *find_file(const struct node *node)
{
    while (node && node->ops != &node_file_ops) {
        node = node->child[0];
    }
    return node;
}

void image_give(const struct image *image, struct image_given *given)
{
    const struct node *file = find_file(image->root);

    *given = (struct image_given){.fd = -1, .witness = -1};
    if (file) {
        node_file_give(file, given);
    }
}

void image_unmake(const struct image *image)
{
    const struct node_facts *facts = image_facts(image);
    int ret;

    if (!facts->path) {
        return;
    }
    if (!image_made_is_untouched(&facts->made, facts->fd)) {
        log_warn("image %s: not deleted, as it was written to since it was made", facts->path);
        return;
    }
    ret = image_fate_unlink(facts->path, facts->fd, facts->had_name);
    if (ret == 0) {
        log_info("image %s: deleted, as the disk for which it was made is not there", facts->path);
    } else if (ret == -ESTALE) {
        log_warn("image %s: not deleted, as it is not the one any more that was made", facts->path);
    } else {
        log_warn("image %s: was made and cannot be deleted: %s", facts->path, strerror(-ret));
    }
}

/* ---- another root ---- */

/* Whether its blocks suit those who have paths, they know themselves. */
static int check_fit(const struct image *image, const struct node *node, struct err *err)
{
    const uint64_t size = image_facts(image)->size;

    if (node->facts.size != size) {
        return err_say(err, -EINVAL,
                       "it has %" PRIu64
                       " bytes, and the image in whose place it would be %" PRIu64,
                       node->facts.size, size);
    }
    if (node->facts.is_readonly && !image_facts(image)->is_readonly) {
        return err_say(err, -EROFS, "it is open for reading only, and the image for writing, too");
    }
    return 0;
}

/* A guest that was not told yet is told by its next flush, whoever is asked by then. */
static int hand_on_loss(const struct node *before, struct node *node, struct err *err)
{
    const struct image_loss loss = node_loss(before);

    return loss.code == 0 || node_loss(node).code < 0 ? 0 : node_inherit(node, &loss, err);
}

/* The count that the image has of the one goes to the caller, as the other's goes to the image. */
int image_exchange(struct image *image, struct node **node, image_reopen *reopen, void *arg,
                   struct err *err)
{
    struct node *before = image->root;
    int ret;

    image->root = *node;
    ret = reopen(arg, err);
    if (ret < 0) {
        image->root = before;
        return ret;
    }
    *node = before;
    return 0;
}

int image_swap(struct image *image, struct node **node, image_reopen *reopen, void *arg,
               struct err *err)
{
    int ret = check_fit(image, *node, err);

    if (ret == 0) {
        ret = hand_on_loss(image->root, *node, err);
    }
    return ret < 0 ? ret : image_exchange(image, node, reopen, arg, err);
}

int image_insert(struct image *image, struct node **node, image_reopen *reopen, void *arg,
                 struct err *err)
{
    if ((*node)->child[0] != image->root) {
        return err_say(err, -ESTALE, "the image has been changed since the %s was put over it",
                       (*node)->ops->type);
    }
    return image_swap(image, node, reopen, arg, err);
}

int image_remove(struct image *image, struct node **node, image_reopen *reopen, void *arg,
                 struct err *err)
{
    struct node *below = image->root->child[0];
    int ret;

    if (*node != image->root || !below) {
        return err_say(err, -ENOENT, "the %s is no layer over the others of the image",
                       (*node)->ops->type);
    }
    (void)node_get(below);
    ret = image_swap(image, &below, reopen, arg, err);
    if (ret < 0) {
        node_put(below);
    }
    return ret;
}

struct image_loss image_lost(const struct image *image)
{
    return node_loss(image->root);
}

void image_name_err(const struct image *image, struct err *err)
{
    const char *path = image_facts(image)->path;
    struct err what;

    if (path && err) {
        what = *err;
        (void)err_say(err, what.code, "image %s: %s", path, what.text);
    }
}
