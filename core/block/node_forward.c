/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/node_forward.h"

#include "core/block/path.h"

/* Under way at once from one lane; what is more waits, and holds nothing meanwhile. */
#define PARCELS 64u

struct path_forward;

/* An io on its way to the home lane, there, or on its way back. */
struct parcel {
    struct message message;
    struct io io; /* that the home lane has: as it was asked, with an end and a frame of ours */
    struct io *asked;
    struct path_forward *from;
    struct parcel *next; /* of the unused */
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

struct node_forward {
    struct node node;
    struct path_forward *home; /* the newest that is at home; NULL: there is none yet */
};

struct path_forward {
    struct path path;
    struct path_forward *home;  /* lent: it is there for longer; of one that is at home: NULL */
    struct path_forward *older; /* of one that is at home: the next such */
    unsigned strangers;         /* likewise: those that mail it; all lanes but one are parked */
    struct io_list waiting;     /* for a parcel */
    struct parcel *unused;
    struct parcel parcel[PARCELS];
};

static struct node_forward *node_forward_of(struct node *node)
{
    return containerof(node, struct node_forward, node);
}

static struct path_forward *path_forward_of(struct path *path)
{
    return containerof(path, struct path_forward, path);
}

static void put_back(struct path_forward *forward, struct parcel *parcel)
{
    parcel->next = forward->unused;
    forward->unused = parcel;
}

static bool forward_goes_below(const struct node *node, const struct context *context)
{
    const struct path_forward *home = node_forward_of((struct node *)node)->home;

    return !home || home->path.context == context;
}

static int forward_attach(struct path *path, struct err *err)
{
    struct node_forward *node = node_forward_of(path->node);
    struct path_forward *forward = path_forward_of(path);

    io_list_init(&forward->waiting);
    if (path->child[0]) {
        forward->older = node->home;
        node->home = forward;
        return 0;
    }
    forward->home = node->home;
    forward->home->strangers++;
    path->facts = forward->home->path.facts;
    for (unsigned i = 0; i < PARCELS; i++) {
        forward->parcel[i].from = forward;
        put_back(forward, &forward->parcel[i]);
    }
    return 0;
}

static void leave_home(struct path_forward *forward)
{
    struct path_forward **at = &node_forward_of(forward->path.node)->home;

    assert(forward->strangers == 0);
    while (*at != forward) {
        at = &(*at)->older;
    }
    *at = forward->older;
}

static void forward_detach(struct path *path)
{
    struct path_forward *forward = path_forward_of(path);

    if (path->child[0]) {
        leave_home(forward);
    } else {
        forward->home->strangers--;
    }
}

static void send_there(struct path_forward *forward, struct io *io);

/* On the lane that asked.  Who waits goes before what the end of this one may start. */
static void run_back(struct message *message)
{
    struct parcel *parcel = containerof(message, struct parcel, message);
    struct path_forward *forward = parcel->from;
    struct io *asked = parcel->asked;
    int64_t result = parcel->io.result;

    context_wake(forward->path.context);
    put_back(forward, parcel);
    if (forward->waiting.first) {
        send_there(forward, io_list_take(&forward->waiting));
    }
    io_end(asked, result);
}

/* On the home lane, in its reap. */
static void on_done_there(struct io *io)
{
    struct parcel *parcel = containerof(io, struct parcel, io);

    parcel->from->home->path.context->flight->own--;
    parcel->message.run = run_back;
    context_send(parcel->from->path.context, &parcel->message);
}

/* On the home lane, which reaps for as long as it counts anything. */
static void run_there(struct message *message)
{
    struct parcel *parcel = containerof(message, struct parcel, message);
    struct path *home = &parcel->from->home->path;

    context_wake(home->context);
    home->context->flight->own++;
    path_start(home->child[0], &parcel->io);
}

static void send_there(struct path_forward *forward, struct io *io)
{
    struct parcel *parcel = forward->unused;

    forward->unused = parcel->next;
    parcel->asked = io;
    parcel->io = *io;
    parcel->io.done = on_done_there;
    parcel->io.frame = parcel->frame;
    parcel->message.run = run_there;
    context_send(forward->home->path.context, &parcel->message);
}

static void forward_start(struct path *path, struct io *io)
{
    struct path_forward *forward = path_forward_of(path);

    if (path->child[0]) {
        path_start(path->child[0], io);
    } else if (forward->unused && !forward->waiting.first) {
        send_there(forward, io);
    } else {
        io_list_append(&forward->waiting, io);
    }
}

const struct node_ops node_forward_ops = {
    .type = "forward",
    .node_bytes = sizeof(struct node_forward),
    .path_bytes = sizeof(struct path_forward),
    .goes_below = forward_goes_below,
    .attach = forward_attach,
    .detach = forward_detach,
    .start = forward_start,
};
