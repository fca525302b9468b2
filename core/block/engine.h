/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What hands operations on one file to the kernel and brings their results back.  It knows
 * nothing of requests, bounce buffers and short transfers: that is core/block/path_file.c.
 * Owned by its path; that one's thread only.
 */

#include "core/block/image_opts.h"
#include "core/base/base.h"
#include "core/base/err.h"
#include "core/block/io.h"

/* Operations between two calls of `submit` at most. */
#define ENGINE_BATCH 256u

/* Pieces of memory of one operation at most: the kernel's limit (UIO_MAXIOV, readv(2)). */
#define ENGINE_MAX_IOVS 1024u

/* Results that one call of `reap` may be asked for. */
#define ENGINE_EVENTS 64u

struct cpus;
struct io_log;

struct engine_op {
    enum io_op op;
    uint16_t flags;          /* IO_FUA */
    unsigned iov_count;      /* at most ENGINE_MAX_IOVS */
    const struct iovec *iov; /* lent until `submit`, or if keeps_iov, until the result */
    uint64_t offset;         /* bytes */
    void *data;              /* comes back with the result */
};

struct engine_event {
    void *data;
    int64_t result; /* bytes or -errno */
};

struct engine_opts {
    const char *path;      /* for messages */
    int fd;                /* lent until close */
    bool is_direct;        /* the file is open with O_DIRECT */
    bool is_unfenced;      /* nothing is to outlive the process, as nobody could wait for it */
    enum io_engine engine; /* asked for */
    unsigned wanted;       /* operations under way at once; there may be fewer */
    struct io_log *log;    /* for engine_log_open alone; lent until close; NULL: there is none */
};

#define ENGINE_REASON_BYTES 128

struct engine {
    const struct engine_ops *ops;
    unsigned max_inflight;
    bool keeps_iov;
    bool must_look;                   /* what is under way signals nothing: reap now and then */
    char reason[ENGINE_REASON_BYTES]; /* for people: why this one */
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
     * started are forgotten.  One system call; call `reap` after it, as what has finished by
     * its end need not be signalled.
     */
    int (*submit)(struct engine *engine);

    /*
     * Take results, up to `max`, which is at most ENGINE_EVENTS; returns how many.  Fewer than
     * `max`: there were no more.
     */
    unsigned (*reap)(struct engine *engine, struct engine_event *events, unsigned max);

    /* Its threads run on these CPUs from now on.  NULL: it has none. */
    void (*use_cpus)(struct engine *engine, const struct cpus *cpus);
};

extern const struct engine_ops engine_aio_ops;
extern const struct engine_ops engine_threads_ops;
extern const struct engine_ops engine_uring_ops; /* if it is built in */

/* Is io_uring a part of this build?  Thread: any. */
bool engine_has_uring(void);

/*
 * The engine that is asked for, or for ENGINE_AUTO the one that suits the file.  Where the
 * kernel refuses io_uring it is another one, and the reason says so.
 */
int engine_open(struct engine **out, const struct engine_opts *opts, struct err *err);
