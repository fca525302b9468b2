/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A lane's way to a file: what was started in a turn is handed to its engine at the end.
 * Owned by its lane; that one's thread only.
 */

#include "core/block/bounce.h"
#include "core/block/engine.h"
#include "core/block/huge_bounce.h"
#include "core/block/image_file.h"
#include "core/block/merge.h"
#include "core/block/node.h"
#include "core/block/retry.h"
#include "core/block/wiper.h"

struct path_file {
    struct path path;
    const struct image_file *image; /* lent: the node's */
    struct engine *engine;          /* owned */
    unsigned inflight;              /* operations that the engine has */
    bool has_asked;         /* how the image's syncs stand, since the results in hand came */
    struct io_list pending; /* to be submitted, in order */
    struct io_list waiting; /* for a bounce buffer, in order */
    struct io_list refused; /* without the engine: they end with the next submit */
    struct retry retry;
    struct wiper wiper;
    struct bounce bounce;
    struct huge_bounce huge; /* of images whose memory goes to a device */
    struct merge merge;
};

/* `image` is lent for as long as the path is there. */
int path_file_attach(struct path *path, const struct image_file *image,
                     const struct engine_opts *opts, struct err *err);

/* Each as struct node_ops has it. */
void path_file_detach(struct path *path);
void path_file_start(struct path *path, struct io *io);
extern const struct leaf_ops path_file_leaf_ops;
