/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/path.h"

#include <errno.h>
#include <stdlib.h>

/* The children of `path` are there. */
static int attach_path(struct path *path, struct err *err)
{
    const struct node_ops *ops = path->ops;
    int ret = 0;

    if (path->child[0]) {
        path->facts = path->child[0]->facts;
    }
    if (ops->attach) {
        ret = ops->attach(path, err);
    }
    if (ret < 0 || !ops->leaf) {
        return ret;
    }
    ret = context_add(path->context, path, err);
    if (ret < 0 && ops->detach) {
        ops->detach(path);
    }
    return ret;
}

static bool goes_below(const struct path *path)
{
    return !path->ops->goes_below || path->ops->goes_below(path->node, path->context);
}

static void close_children(struct path *path)
{
    for (unsigned i = 0; i < NODE_CHILDREN; i++) {
        path_close(path->child[i]);
    }
}

static int open_children(struct path *path, struct err *err)
{
    const struct node *node = path->node;
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < NODE_CHILDREN && node->child[i]; i++) {
        ret = path_open(&path->child[i], node->child[i], path->context, err);
    }
    return ret;
}

/* The path knows its node and context. */
static int open_path(struct path *path, struct err *err)
{
    int ret = goes_below(path) ? open_children(path, err) : 0;

    if (ret == 0) {
        ret = attach_path(path, err);
    }
    if (ret < 0) {
        close_children(path);
    }
    return ret;
}

int path_open(struct path **out, struct node *node, struct context *context, struct err *err)
{
    struct path *path = calloc(1, node->ops->path_bytes);
    int ret;

    if (!path) {
        return err_set(err, -ENOMEM, "image layer %s", node->ops->type);
    }
    path->ops = node->ops;
    path->node = node;
    path->context = context;
    ret = open_path(path, err);
    if (ret < 0) {
        free(path);
        return ret;
    }
    (void)node_get(node);
    *out = path;
    return 0;
}

/* From the top down, as a filter may need its children until it is gone. */
void path_close(struct path *path)
{
    if (!path) {
        return;
    }
    if (path->ops->leaf) {
        context_remove(path->context, path);
    }
    if (path->ops->detach) {
        path->ops->detach(path);
    }
    close_children(path);
    node_put(path->node);
    free(path);
}
