/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/node_mirror.h"

#include "core/block/context.h"
#include "core/block/path.h"

/* Fewer than what a test has under way at once: some wait. */
#define PAIRS 8u

struct pair;

/* What a child is asked. */
struct half {
    struct io io;
    struct pair *pair;
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

struct pair {
    struct half half[2];
    struct path_mirror *mirror;
    struct io *asked;
    unsigned left;
    int64_t result;
    struct pair *next; /* of the unused */
};

struct path_mirror {
    struct path path;
    struct io_list waiting; /* for a pair, with their ranges had */
    struct pair *unused;
    unsigned reads;
    struct pair pair[PAIRS];
};

static struct path_mirror *of(struct path *path)
{
    return containerof(path, struct path_mirror, path);
}

static struct ranges *ranges_of(struct path *path)
{
    return &containerof(path->node, struct node_mirror, node)->ranges;
}

static int mirror_open(struct node *node, const void *opts, struct err *err)
{
    ranges_init(&containerof(node, struct node_mirror, node)->ranges);
    return 0;
}

static void mirror_close(struct node *node)
{
    ranges_fini(&containerof(node, struct node_mirror, node)->ranges);
}

static void put_back(struct path_mirror *mirror, struct pair *pair)
{
    pair->next = mirror->unused;
    mirror->unused = pair;
}

static int mirror_attach(struct path *path, struct err *err)
{
    struct path_mirror *mirror = of(path);

    io_list_init(&mirror->waiting);
    for (unsigned i = 0; i < PAIRS; i++) {
        struct pair *pair = &mirror->pair[i];

        pair->mirror = mirror;
        pair->half[0].pair = pair->half[1].pair = pair;
        put_back(mirror, pair);
    }
    return 0;
}

static void send_pair(struct path_mirror *mirror, struct io *io);

static void finish_pair(struct pair *pair)
{
    struct path_mirror *mirror = pair->mirror;
    struct io *asked = pair->asked;
    int64_t result = pair->result;

    put_back(mirror, pair);
    if (mirror->waiting.first) {
        send_pair(mirror, io_list_take(&mirror->waiting));
    }
    if (asked->op != IO_FLUSH) {
        range_end(ranges_of(&mirror->path), range_of(asked));
    }
    io_end(asked, result);
}

static void on_half_done(struct io *io)
{
    struct pair *pair = containerof(io, struct half, io)->pair;

    if (io->result < 0) {
        pair->result = io->result;
    }
    if (--pair->left == 0) {
        finish_pair(pair);
    }
}

static void send_half(struct pair *pair, unsigned index)
{
    struct half *half = &pair->half[index];

    half->io = *pair->asked;
    half->io.done = on_half_done;
    half->io.frame = half->frame;
    path_start(pair->mirror->path.child[index], &half->io);
}

static void send_pair(struct path_mirror *mirror, struct io *io)
{
    struct pair *pair = mirror->unused;

    mirror->unused = pair->next;
    pair->asked = io;
    pair->result = 0;
    pair->left = io->op == IO_READ ? 1 : 2;
    if (io->op == IO_READ) {
        send_half(pair, mirror->reads++ % 2);
    } else {
        send_half(pair, 0);
        send_half(pair, 1);
    }
}

/* It has its range. */
static void go_on(struct path_mirror *mirror, struct io *io)
{
    if (mirror->unused && !mirror->waiting.first) {
        send_pair(mirror, io);
    } else {
        io_list_append(&mirror->waiting, io);
    }
}

static void run_had(struct message *message)
{
    const struct range *range = containerof(message, struct range, message);

    context_wake(range->path->context);
    go_on(of(range->path), range->io);
}

static void mirror_start(struct path *path, struct io *io)
{
    if (io->op != IO_FLUSH) {
        *range_of(io) = (struct range){.message = {.run = run_had},
                                       .path = path,
                                       .io = io,
                                       .offset = io->offset,
                                       .length = io->length,
                                       .is_shared = io->op == IO_READ};
        if (!range_take(ranges_of(path), range_of(io))) {
            return;
        }
    }
    go_on(of(path), io);
}

const struct node_ops node_mirror_ops = {
    .type = "mirror",
    .node_bytes = sizeof(struct node_mirror),
    .path_bytes = sizeof(struct path_mirror),
    .open = mirror_open,
    .close = mirror_close,
    .attach = mirror_attach,
    .start = mirror_start,
};
