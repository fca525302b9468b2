/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A node is a layer of an image: a leaf has the bytes, a filter is over another node, or over some,
 * and changes what goes through.  It is shared by all lanes of the image and has what they have in
 * common.  A path is one lane's way through a node: its engine, its lists, its buffers.  So an io
 * meets no lock, and what threads share is in nodes, which do not move it.
 *
 * A node is counted: by the image that it is the root of, the nodes above, and its paths.
 * It never sees guest structures and may assume valid input: the device has checked ranges,
 * alignment and read-only before.
 */

#include <stdatomic.h>

#include "core/base/err.h"
#include "core/block/image_chs.h"
#include "core/block/image_fate.h"
#include "core/block/image_id.h"
#include "core/block/image_loss.h"
#include "core/block/io.h"

/* Of a node at most: what a format lies in, what it is over, and what has its data. */
#define NODE_CHILDREN 3u

struct cpus;
struct context;
struct node;
struct path;

/* What a call of submit has started. */
struct submitted {
    unsigned calls;      /* system calls */
    unsigned operations; /* as the kernel sees them */
    unsigned merged;     /* requests that went along with a neighbour's operation */
    unsigned bounced;    /* of the operations: through huge pages of ours */
};

/*
 * Of a path that hands operations to somebody else who ends them: all leaves, and filters that
 * wait for something of their own.  Its lane's context calls these, for all that a turn has
 * started at once; nobody calls them through the layers.
 */
struct leaf_ops {
    /*
     * Becomes readable anew, as an eventfd does when it is written to, whenever something
     * finishes: then call reap.  Stays the same, and reap need not read it empty.
     */
    int (*fd)(const struct path *path);

    /*
     * Begin all that was started.  Call reap after it: what it finishes need not be signalled.
     * It starts nothing in a child, whose turn is before its own.
     */
    struct submitted (*submit)(struct path *path);

    /*
     * End what has finished; returns how many operations have come back, those included that go
     * on with the next submit.  May be called at any time and often, so it is cheap when nothing
     * has.
     */
    unsigned (*reap)(struct path *path);

    /*
     * Has it io that waits for a submit: one that submit could not begin, or that was started in a
     * reap, by a filter that lets it go on?  It then needs submit after that reap.
     */
    bool (*is_held_back)(const struct path *path);

    /*
     * Every few seconds while path->keeps_memory: what was not used since the last time goes back
     * to the host.  NULL: it keeps none.
     */
    void (*rest)(struct path *path);

    /* Threads that help it run on these CPUs from now on.  NULL: it has none. */
    void (*use_cpus)(struct path *path, const struct cpus *cpus);
};

/* What a node's bytes are by now, whoever has made them more or fewer. */
struct node_extent {
    uint64_t bytes;
    bool is_fixed; /* node_resize gives it no other: it is a device's, or never changes */
};

struct node_ops {
    const char *type;
    uint32_t node_bytes; /* of a struct that begins with struct node, zeroed before open */
    uint32_t path_bytes; /* likewise, struct path */

    /*
     * `opts` are the type's own.  Fill node->facts; those of a filter are its first child's so far.
     * Both may block.  NULL: there is nothing to do.
     */
    int (*open)(struct node *node, const void *opts, struct err *err);
    void (*close)(struct node *node);

    /*
     * On the path's own thread, as an engine may belong to it; may block.  A leaf fills
     * path->facts; those of a filter are its first child's so far.  Nothing is in flight at detach.
     * NULL: there is nothing to do.
     */
    int (*attach)(struct path *path, struct err *err);
    void (*detach)(struct path *path);

    /*
     * Will a path of it in this context have any below?  A filter may have another way to its
     * children's bytes.  NULL: yes.
     */
    bool (*goes_below)(const struct node *node, const struct context *context);

    /*
     * Take `io`, and end it once, by io_end, after this has returned.  Must not block.  An
     * operation that a leaf cannot do ends with -EOPNOTSUPP.
     */
    void (*start)(struct path *path, struct io *io);

    /*
     * See node_resize.  NULL: as the first child has it, and a leaf keeps the size that it has.
     */
    int (*resize)(struct node *node, uint64_t bytes, struct err *err);

    /* See node_measure.  NULL: as the first child has it, and a leaf has what the facts say. */
    int (*measure)(const struct node *node, struct node_extent *extent, struct err *err);

    /* See node_loss.  Thread: any.  NULL: as the children have it, and a leaf: nothing is. */
    struct image_loss (*loss)(const struct node *node);

    /* See node_inherit.  NULL: as the first child does it, and a leaf cannot. */
    int (*inherit)(struct node *node, const struct image_loss *loss, struct err *err);

    const struct leaf_ops *leaf; /* NULL: it is a filter that begins and ends nothing itself */
};

/* What is known of a node's bytes since it was opened. */
struct node_facts {
    const char *path;        /* the file's, for messages; lent until close; NULL: it has none */
    uint64_t size;           /* bytes */
    uint32_t block_size;     /* smallest unit of I/O in bytes, a power of two, >= 512 */
    uint32_t logical_block;  /* the medium's own, which the page cache may hide; 512 for files */
    uint32_t physical_block; /* what the medium likes */
    uint32_t patched_block;  /* 0, or what of smaller pieces is read and written back together */
    uint32_t alignment;      /* where the first physical block begins, in bytes */
    uint32_t min_io;         /* what is best not gone below, in bytes, 0: the physical block */
    uint32_t opt_io;         /* preferred I/O size in bytes, 0: unknown */
    struct image_chs chs;    /* as its partition table told when its disk was added */
    uint32_t discard_block;  /* bytes that IO_DISCARD gives back together, 0: it does nothing */
    bool can_zero;           /* IO_ZERO works */
    bool is_readonly;        /* it was opened for that: a write fails */
    bool needs_sync;         /* what is written is stable only when it was flushed */
    int fd;                  /* the file's, lent until close; -1: it has none */
    bool had_name;           /* its file counted at least one when it was opened */
    struct image_made made;  /* if it was, when it was opened: as that left it */
    struct image_id id;      /* which file it is, all 0: it cannot be told */
    const char *note;        /* for people: what is odd about it; constant text; NULL: nothing */
};

struct node {
    const struct node_ops *ops;
    _Atomic unsigned count; /* of those who hold it: taken and given back with node_get, node_put */
    struct node *child[NODE_CHILDREN]; /* owned, a count each; NULL: no more, and a leaf has none */
    struct node_facts facts;
};

/* What is known of how a path does it. */
struct path_facts {
    unsigned max_inflight;     /* operations that can be under way at once */
    const char *engine;        /* the one that runs, as "aio"; NULL: the type has none */
    const char *engine_reason; /* for people: why this one; lent until the path is closed */
};

struct path {
    const struct node_ops *ops;
    struct node *node;                 /* owned, a count */
    struct context *context;           /* parent: the lane's */
    struct path *child[NODE_CHILDREN]; /* owned: through the node's children, or none of them */
    bool must_look;                    /* what is under way signals nothing: reap now and then */
    bool keeps_memory;                 /* which it could do without while it has no use for it */
    struct path_facts facts;
};

/*
 * Over `count` children, none of a leaf; each is taken over with its count after success.
 * Thread: any; may block.
 */
int node_open_over(struct node **out, const struct node_ops *ops, struct node *const *children,
                   unsigned count, const void *opts, struct err *err);

/* The same over one; NULL for a leaf. */
static inline int node_open(struct node **out, const struct node_ops *ops, struct node *child,
                            const void *opts, struct err *err)
{
    return node_open_over(out, ops, &child, child ? 1 : 0, opts, err);
}

/*
 * Give what is below a size in bytes; what it had beyond that is lost.  I/O may go on meanwhile,
 * but for what is beyond either size.  The facts stay as they are until node_set_size.  Where it
 * cannot be, `err` says why.  Thread: any, one at a time; may block, so it is for a helper.
 */
int node_resize(struct node *node, uint64_t bytes, struct err *err);

/*
 * What was given by node_resize, or will be, if that makes it smaller: from here on it has that
 * size, and so have the filters on the way to it.  Nothing is in flight on any path, and nobody
 * else looks at facts.  Returns 0, or -errno before anything changes.
 */
int node_set_size(struct node *node, uint64_t bytes, struct err *err);

/*
 * Look how large it is by now: a file or a device may have been given another size by others.
 * Thread: any; may block, so it is for a helper.
 */
int node_measure(const struct node *node, struct node_extent *extent, struct err *err);

/* What it has lost, or the first of those below that has lost any.  Thread: any. */
struct image_loss node_loss(const struct node *node);

/*
 * It takes the place of what has lost something: its syncs fail, as if it had itself.  Nothing is
 * in flight on any path.  Returns 0, or -errno before anything changes.
 */
int node_inherit(struct node *node, const struct image_loss *loss, struct err *err);

/* Has it one, or anything below: is it closed at the pleasure of a file system? */
bool node_has_file(const struct node *node);

/* Thread: any.  The last who gives a node back closes it. */
struct node *node_get(struct node *node);
void node_put(struct node *node);
