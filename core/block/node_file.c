/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The node is the open and locked file, for all lanes: the same fd, and so the same locks.  A flush
 * by one path covers what was written by all.
 */

#include "core/block/node_file.h"

#include "core/block/image_opts.h"
#include "core/block/image_sync.h"
#include "core/block/io_log.h"
#include "core/block/path_file.h"

struct node_file {
    struct node node;
    struct image_file image; /* owned */
    enum io_engine engine;   /* asked for */
    unsigned wanted;         /* operations at once that an engine should be prepared for */
};

static struct node_file *node_file_of(struct node *node)
{
    return containerof(node, struct node_file, node);
}

static void state_facts(struct node *node, const struct image_file *image, bool is_readonly)
{
    node->facts = (struct node_facts){
        .path = image->path,
        .size = image->shape.size,
        .block_size = image->shape.block_size,
        .logical_block = image->shape.logical_block,
        .physical_block = image->shape.physical_block,
        .alignment = image->shape.alignment,
        .min_io = image->shape.min_io,
        .opt_io = image->shape.opt_io,
        .chs = image->chs,
        .discard_block = image->discard_block,
        .can_zero = !is_readonly,
        .is_readonly = is_readonly,
        .needs_sync = !is_readonly,
        .fd = image->fd,
        .had_name = image->had_name,
        .made = image->made,
        .id = image->id,
        .note = image->note,
    };
}

static int open_log(struct node_file *file, const struct image_opts *opts, struct err *err)
{
    int ret = io_log_open_for(&file->image.log, opts->owner, err);

    if (ret < 0) {
        image_file_close(&file->image);
    }
    return ret;
}

static int node_file_open(struct node *node, const void *arg, struct err *err)
{
    struct node_file *file = node_file_of(node);
    const struct image_opts *opts = arg;
    int ret = image_file_open(&file->image, opts, err);

    if (ret == 0 && !opts->is_readonly && !opts->is_look) {
        ret = open_log(file, opts, err);
    }
    if (ret < 0) {
        return ret;
    }
    file->engine = opts->engine;
    file->wanted = opts->max_inflight;
    state_facts(node, &file->image, opts->is_readonly);
    return 0;
}

static void node_file_close(struct node *node)
{
    struct image_file *image = &node_file_of(node)->image;

    io_log_close(image->log);
    image_file_close(image);
}

void node_file_give(const struct node *node, struct image_given *given)
{
    image_file_give(&containerof(node, struct node_file, node)->image, given);
}

static int node_file_resize(struct node *node, uint64_t bytes, struct err *err)
{
    return image_file_resize(&node_file_of(node)->image, bytes, err);
}

static int node_file_measure(const struct node *node, struct node_extent *extent, struct err *err)
{
    return image_file_measure(&containerof(node, struct node_file, node)->image, &extent->bytes,
                              &extent->is_fixed, err);
}

static int node_file_attach(struct path *path, struct err *err)
{
    const struct node_file *file = node_file_of(path->node);
    const struct engine_opts opts = {
        .path = file->image.path,
        .fd = file->image.fd,
        .is_direct = file->image.is_direct,
        .is_unfenced = file->image.is_unfenced,
        .engine = file->engine,
        .wanted = file->wanted,
        .log = file->image.log,
    };

    return path_file_attach(path, &file->image, &opts, err);
}

static struct image_loss node_file_loss(const struct node *node)
{
    struct image_sync *sync = containerof(node, struct node_file, node)->image.sync;

    return sync ? image_sync_loss(sync) : (struct image_loss){0};
}

static int node_file_inherit(struct node *node, const struct image_loss *loss, struct err *err)
{
    return image_file_inherit(&node_file_of(node)->image, loss, err);
}

const struct node_ops node_file_ops = {
    .type = "file",
    .node_bytes = sizeof(struct node_file),
    .path_bytes = sizeof(struct path_file),
    .open = node_file_open,
    .close = node_file_close,
    .attach = node_file_attach,
    .detach = path_file_detach,
    .start = path_file_start,
    .resize = node_file_resize,
    .measure = node_file_measure,
    .loss = node_file_loss,
    .inherit = node_file_inherit,
    .leaf = &path_file_leaf_ops,
};
