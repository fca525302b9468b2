/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Paths are made and closed as wholes: one through a node has one through each node below it.
 */

#include "core/block/context.h"
#include "core/block/node.h"

/*
 * A way through `node` and all below it, in this thread's `context`.
 * Thread: the context's; may block.
 */
int path_open(struct path **out, struct node *node, struct context *context, struct err *err);

/* Nothing is in flight.  Nothing happens when it is NULL. */
void path_close(struct path *path);

/*
 * Give `io` away until its `done` is called, later, on the
 * same thread.  Thread: the context's.
 */
static inline void path_start(struct path *path, struct io *io)
{
    path->ops->start(path, io);
}
