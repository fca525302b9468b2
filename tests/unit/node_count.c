/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/node_count.h"

#include "core/block/path.h"

struct path_count {
    struct path path;
    uint64_t bytes;
};

static struct path_count *of(struct path *path)
{
    return containerof(path, struct path_count, path);
}

static void count_start(struct path *path, struct io *io)
{
    of(path)->bytes += io->length;
    path_start(path->child[0], io);
}

static struct node_count *node_of(struct path *path)
{
    return containerof(path->node, struct node_count, node);
}

static void count_detach(struct path *path)
{
    node_of(path)->bytes += of(path)->bytes;
}

const struct node_ops node_count_ops = {
    .type = "count",
    .node_bytes = sizeof(struct node_count),
    .path_bytes = sizeof(struct path_count),
    .start = count_start,
    .detach = count_detach,
};
