/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int node_open_over(struct node **out, const struct node_ops *ops, struct node *const *children,
                   unsigned count, const void *opts, struct err *err)
{
    struct node *node = calloc(1, ops->node_bytes);
    int ret = 0;

    assert(count <= NODE_CHILDREN);
    if (!node) {
        return err_set(err, -ENOMEM, "image layer %s", ops->type);
    }
    node->ops = ops;
    atomic_init(&node->count, 1);
    node->facts.fd = -1;
    for (unsigned i = 0; i < count; i++) {
        node->child[i] = children[i];
    }
    if (count > 0) {
        node->facts = children[0]->facts;
    }
    if (ops->open) {
        ret = ops->open(node, opts, err);
    }
    if (ret < 0) {
        free(node);
        return ret;
    }
    *out = node;
    return 0;
}

struct node *node_get(struct node *node)
{
    atomic_fetch_add_explicit(&node->count, 1, memory_order_relaxed);
    return node;
}

/* From the top down, as a filter may need its children until it is gone. */
static void close_node(struct node *node)
{
    if (node->ops->close) {
        node->ops->close(node);
    }
    for (unsigned i = 0; i < NODE_CHILDREN; i++) {
        node_put(node->child[i]);
    }
    free(node);
}

/* What others did with it before they gave it back is done: each release's partner is our acquire.
 */
void node_put(struct node *node)
{
    if (node && atomic_fetch_sub_explicit(&node->count, 1, memory_order_acq_rel) == 1) {
        close_node(node);
    }
}

/* Who decides on the size of `node`: itself, or what is below. */
static struct node *find_sizer(struct node *node, struct err *err)
{
    struct node *sizer = node;

    while (!sizer->ops->resize && sizer->child[0]) {
        sizer = sizer->child[0];
    }
    if (!sizer->ops->resize) {
        (void)err_say(err, -EOPNOTSUPP, "an image of type %s keeps the size that it has",
                      sizer->ops->type);
        return NULL;
    }
    return sizer;
}

/* On the way to `sizer`: a filter may take smaller blocks than what is below it. */
static uint32_t largest_block(const struct node *node, const struct node *sizer)
{
    uint32_t block = node->facts.block_size;

    while (node != sizer) {
        node = node->child[0];
        block = node->facts.block_size > block ? node->facts.block_size : block;
    }
    return block;
}

static int check_size(const struct node *node, const struct node *sizer, uint64_t bytes,
                      struct err *err)
{
    const uint32_t block = largest_block(node, sizer);

    if (bytes == 0 || !is_aligned(bytes, block)) {
        return err_say(err, -EINVAL, "%" PRIu64 " bytes are no number of whole blocks of %u", bytes,
                       block);
    }
    if (bytes > INT64_MAX) {
        return err_say(err, -EFBIG, "%" PRIu64 " bytes are more than a file can have", bytes);
    }
    return 0;
}

int node_resize(struct node *node, uint64_t bytes, struct err *err)
{
    struct node *sizer = find_sizer(node, err);
    int ret = sizer ? check_size(node, sizer, bytes, err) : -EOPNOTSUPP;

    return ret < 0 ? ret : sizer->ops->resize(sizer, bytes, err);
}

int node_set_size(struct node *node, uint64_t bytes, struct err *err)
{
    const struct node *sizer = find_sizer(node, err);
    int ret = sizer ? check_size(node, sizer, bytes, err) : -EOPNOTSUPP;

    if (ret < 0) {
        return ret;
    }
    for (; node != sizer; node = node->child[0]) {
        node->facts.size = bytes;
    }
    node->facts.size = bytes;
    return 0;
}

int node_measure(const struct node *node, struct node_extent *extent, struct err *err)
{
    while (!node->ops->measure && node->child[0]) {
        node = node->child[0];
    }
    if (node->ops->measure) {
        return node->ops->measure(node, extent, err);
    }
    *extent = (struct node_extent){.bytes = node->facts.size, .is_fixed = true};
    return 0;
}

struct image_loss node_loss(const struct node *node)
{
    struct image_loss loss = {0};

    if (node->ops->loss) {
        return node->ops->loss(node);
    }
    for (unsigned i = 0; loss.code == 0 && i < NODE_CHILDREN && node->child[i]; i++) {
        loss = node_loss(node->child[i]);
    }
    return loss;
}

int node_inherit(struct node *node, const struct image_loss *loss, struct err *err)
{
    while (!node->ops->inherit && node->child[0]) {
        node = node->child[0];
    }
    if (!node->ops->inherit) {
        return err_say(err, -EOPNOTSUPP,
                       "the image has lost something, and one of type %s would forget that",
                       node->ops->type);
    }
    return node->ops->inherit(node, loss, err);
}

bool node_has_file(const struct node *node)
{
    bool has_file = node->facts.fd >= 0;

    for (unsigned i = 0; !has_file && i < NODE_CHILDREN && node->child[i]; i++) {
        has_file = node_has_file(node->child[i]);
    }
    return has_file;
}
