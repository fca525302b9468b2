/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What hands operations on one file to the kernel and brings their results back.  It knows
 * nothing of requests, bounce buffers and short transfers: that is core/backend_file.c.
 * Owned by its backend; disk thread only.
 */

#include <sys/uio.h>

#include "core/backend.h"
#include "core/base.h"
#include "core/err.h"

/* Operations between two calls of `submit` at most. */
#define ENGINE_BATCH 256u

/* Results that one call of `reap` may be asked for. */
#define ENGINE_EVENTS 64u

struct engine_op {
    enum io_op op;
    bool is_fua;
    unsigned iov_count;
    const struct iovec *iov; /* lent until `submit` */
    uint64_t offset;         /* bytes */
    void *data;              /* comes back with the result */
};

struct engine_event {
    void *data;
    int64_t result; /* bytes or -errno */
};

struct engine_opts {
    const char *path; /* for messages */
    int fd;           /* lent until close */
    unsigned wanted;  /* operations under way at once; there may be fewer */
};

struct engine {
    const struct engine_ops *ops;
    unsigned max_inflight;
};

struct engine_ops {
    const char *name;
    int (*open)(struct engine **out, const struct engine_opts *opts, struct err *err);
    void (*close)(struct engine *engine); /* nothing in flight */

    /* Written to, as an eventfd is, whenever something finishes. */
    int (*fd)(const struct engine *engine);

    /* Have it started by the next submit.  Returns false when the batch is full. */
    bool (*add)(struct engine *engine, const struct engine_op *op);

    /*
     * Start what was added since the last time, in order.  Returns how many were started, or
     * -errno: none, and the first of them is the reason, or -EAGAIN.  Those that were not
     * started are forgotten.  One system call.
     */
    int (*submit)(struct engine *engine);

    /*
     * Take results, up to `max`, which is at most ENGINE_EVENTS; returns how many.  Fewer than
     * `max`: there were no more.
     */
    unsigned (*reap)(struct engine *engine, struct engine_event *events, unsigned max);
};

extern const struct engine_ops engine_aio_ops;
