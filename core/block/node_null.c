/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * It shows what rings and wake-ups alone cost; with a delay it stands in for a slow image.
 */

#include "core/block/node_null.h"

#include "core/block/delay.h"
#include "core/block/image_opts.h"

/* As files have it on most file systems. */
#define EMPTY_BLOCK 4096u

struct path_null {
    struct path path;
    uint64_t delay_ns;
    struct io_list started; /* without a delay: they end with the next submit */
    struct delay delay;
};

static struct path_null *null_of(struct path *path)
{
    return containerof(path, struct path_null, path);
}

static int null_open(struct node *node, const void *arg, struct err *err)
{
    struct node_null *null = containerof(node, struct node_null, node);
    const struct image_opts *opts = arg;

    null->delay_ns = opts->delay_ms * NS_PER_MS;
    null->max_inflight = opts->max_inflight;
    node->facts.size = opts->size;
    node->facts.block_size = SECTOR_SIZE;
    node->facts.logical_block = SECTOR_SIZE;
    node->facts.physical_block = opts->is_empty ? EMPTY_BLOCK : SECTOR_SIZE;
    node->facts.discard_block = opts->is_empty ? EMPTY_BLOCK : SECTOR_SIZE;
    node->facts.can_zero = true;
    return 0;
}

static int null_attach(struct path *path, struct err *err)
{
    const struct node_null *node = containerof(path->node, struct node_null, node);
    struct path_null *null = null_of(path);
    int ret = delay_open(&null->delay);

    if (ret < 0) {
        return err_set(err, ret, "null image: no timer");
    }
    null->delay_ns = node->delay_ns;
    io_list_init(&null->started);
    path->facts.max_inflight = node->max_inflight;
    return 0;
}

static void null_detach(struct path *path)
{
    delay_close(&null_of(path)->delay);
}

static int null_fd(const struct path *path)
{
    return containerof(path, struct path_null, path)->delay.timer_fd;
}

static void null_start(struct path *path, struct io *io)
{
    struct path_null *null = null_of(path);

    if (null->delay_ns) {
        delay_add(&null->delay, io, now_ns() + null->delay_ns, 0);
    } else {
        io_list_append(&null->started, io);
    }
}

static struct submitted null_submit(struct path *path)
{
    struct path_null *null = null_of(path);
    struct submitted submitted = {0};

    while (null->started.first) {
        io_end(io_list_take(&null->started), 0);
        submitted.operations++;
    }
    delay_arm(&null->delay);
    return submitted;
}

static unsigned null_reap(struct path *path)
{
    struct delay *delay = &null_of(path)->delay;
    unsigned count = 0;

    if (delay->waiting.first) {
        uint64_t now = now_ns();
        struct io *io;

        while ((io = delay_take(delay, now))) {
            io_end(io, 0);
            count++;
        }
        delay_arm(delay);
    }
    return count;
}

static bool null_is_held_back(const struct path *path)
{
    const struct path_null *null = containerof(path, struct path_null, path);

    return null->started.first || !null->delay.is_armed;
}

static const struct leaf_ops null_leaf_ops = {
    .fd = null_fd,
    .submit = null_submit,
    .reap = null_reap,
    .is_held_back = null_is_held_back,
};

const struct node_ops node_null_ops = {
    .type = "null",
    .node_bytes = sizeof(struct node_null),
    .path_bytes = sizeof(struct path_null),
    .open = null_open,
    .attach = null_attach,
    .detach = null_detach,
    .start = null_start,
    .leaf = &null_leaf_ops,
};
