/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A backend moves bytes between memory and an image.  It never sees guest structures and
 * may assume valid input: the device has checked ranges, alignment and read-only before.
 * All functions run on the thread that opened it and must not block, except open and close.
 */

#include <sys/uio.h>

#include "core/base.h"
#include "core/err.h"

enum io_op {
    IO_READ,
    IO_WRITE,
    IO_FLUSH,
};

/*
 * One operation on an image.  Owned by the request it is part of; lent to the backend
 * from `queue` to `done`.  The backend may change `iov` and `iov_count` on its way.
 */
struct io {
    enum io_op op;
    bool is_fua; /* IO_WRITE: on stable storage before it is done */
    unsigned iov_count;
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes, the sum of iov */
    struct iovec *iov;
    int64_t result;              /* 0 or -errno */
    void (*done)(struct io *io); /* called once, from `submit` or `reap` */
    struct io *next;             /* the list that the io is on, whose it ever is */
    void *priv;                  /* BACKEND_IO_SIZE bytes for the backend, 16-byte aligned */
};

/* As QEMU defines them (qemu-system-x86_64(1), -drive cache=). */
enum cache_mode {
    CACHE_NONE,         /* O_DIRECT, guest flushes */
    CACHE_DIRECTSYNC,   /* O_DIRECT, every write is stable before it is answered */
    CACHE_WRITEBACK,    /* host page cache, guest flushes */
    CACHE_WRITETHROUGH, /* host page cache, every write is stable before it is answered */
};

/* What hands the operations on a file to the kernel. */
enum io_engine {
    ENGINE_AUTO, /* what suits the image and the host */
    ENGINE_AIO,
    ENGINE_IO_URING,
    ENGINE_THREADS, /* what auto takes without io_uring; without a name, and so the last */
};

struct backend_opts {
    const char *type;      /* "file" or "null" */
    const char *path;      /* file: lent for the time of the call */
    uint64_t size;         /* bytes; null: the size; file: only with `create` */
    uint32_t delay_ms;     /* null: how long each request takes */
    unsigned max_inflight; /* how many requests at once are worth preparing for */
    enum cache_mode cache;
    enum io_engine engine; /* file */
    bool is_readonly;
    bool create; /* file: it must not exist; made sparse, `size` bytes long */
};

struct backend {
    const struct backend_ops *ops;
    uint64_t size;             /* bytes */
    uint32_t block_size;       /* smallest unit of I/O in bytes, a power of two, >= 512 */
    uint32_t logical_block;    /* the medium's own, which the page cache may hide; 512 for files */
    uint32_t physical_block;   /* what the medium likes */
    uint32_t opt_io;           /* preferred I/O size in bytes, 0: unknown */
    unsigned max_inflight;     /* operations that can be under way at once */
    bool must_look;            /* what is under way signals nothing: reap now and then */
    const char *engine;        /* the one that runs, as "aio"; NULL: the type has none */
    const char *engine_reason; /* for people: why this one; lent until close */
};

/* What a call of submit has started. */
struct backend_submitted {
    unsigned calls;      /* system calls */
    unsigned operations; /* as the kernel sees them */
    unsigned merged;     /* requests that went along with a neighbour's operation */
};

/* The room that a request keeps for the backend; each backend asserts that it fits. */
#define BACKEND_IO_SIZE 64

struct backend_ops {
    const char *name;
    int (*open)(struct backend **out, const struct backend_opts *opts, struct err *err);
    void (*close)(struct backend *backend); /* nothing in flight */

    /* See backend_share. */
    int (*share)(struct backend **out, struct backend *backend, struct err *err);

    /*
     * Becomes readable anew, as an eventfd does when it is written to, whenever something
     * finishes: then call reap.  Stays the same, and reap need not read it empty.
     */
    int (*fd)(struct backend *backend);

    /* Take `io` until its `done` is called. */
    void (*queue)(struct backend *backend, struct io *io);

    /* Start all that is queued.  Call reap after it: what it finishes need not be signalled. */
    struct backend_submitted (*submit)(struct backend *backend);

    /*
     * Call io->done for what has finished; returns how many operations have come back, those
     * included that go on with the next submit.  May be called at any time and often, so it is
     * cheap when nothing has.
     */
    unsigned (*reap)(struct backend *backend);

    /* Has it queued io that submit could not start?  It then needs submit after a reap. */
    bool (*is_held_back)(const struct backend *backend);
};

extern const struct backend_ops backend_file_ops;
extern const struct backend_ops backend_null_ops;

/* Find the type and open it.  Thread: the disk's; may block. */
int backend_open(struct backend **out, const struct backend_opts *opts, struct err *err);

/*
 * Open a second way to the same image, for the calling thread to use beside `backend`, which
 * stays open for longer; the disk thread waits meanwhile.  May block.
 */
static inline int backend_share(struct backend **out, struct backend *backend, struct err *err)
{
    return backend->ops->share(out, backend, err);
}

static inline void backend_close(struct backend *backend)
{
    backend->ops->close(backend);
}

/* What people call them, by number; NULL ends each.  An engine without a name is not asked for. */
extern const char *const cache_mode_names[];
extern const char *const engine_names[];

/* "none" -> CACHE_NONE ...  Returns false for any other text. */
bool cache_mode_parse(const char *text, enum cache_mode *mode);

/* "auto" -> ENGINE_AUTO ...  Returns false for any other text. */
bool engine_parse(const char *text, enum io_engine *engine);

static inline bool cache_is_direct(enum cache_mode mode)
{
    return mode == CACHE_NONE || mode == CACHE_DIRECTSYNC;
}

/* Must each write be stable before it is answered? */
static inline bool cache_is_writethrough(enum cache_mode mode)
{
    return mode == CACHE_DIRECTSYNC || mode == CACHE_WRITETHROUGH;
}
