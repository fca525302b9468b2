/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/engine.h"

#include <config.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/base/log.h"

static int use_engine(const struct engine_ops *ops, struct engine **out,
                      const struct engine_opts *opts, const char *reason, struct err *err)
{
    int ret = ops->open(out, opts, err);

    if (ret == 0) {
        (void)snprintf((*out)->reason, sizeof((*out)->reason), "%s", reason);
    }
    return ret;
}

static int use_aio(struct engine **out, const struct engine_opts *opts, const char *reason,
                   struct err *err)
{
    return use_engine(&engine_aio_ops, out, opts, reason, err);
}

#ifdef HAVE_LIBURING

bool engine_has_uring(void)
{
    return true;
}

static int try_uring(struct engine **out, const struct engine_opts *opts, const char *reason)
{
    return use_engine(&engine_uring_ops, out, opts, reason, NULL);
}

/*
 * What the kernel or a seccomp profile refuses is no reason to go without the image.  What io_uring
 * has under way goes on when the process was killed: by other engines the process goes on as long.
 */
static int use_uring(struct engine **out, const struct engine_opts *opts, const char *reason,
                     struct err *err)
{
    int ret = opts->is_unfenced ? -ENOLCK : try_uring(out, opts, reason);
    char refusal[ENGINE_REASON_BYTES];

    if (ret == 0) {
        return 0;
    }
    if (opts->is_unfenced) {
        (void)snprintf(refusal, sizeof(refusal),
                       "no io_uring, as the file system has no locks that last as long as its I/O");
    } else {
        (void)snprintf(refusal, sizeof(refusal), "the kernel refuses io_uring: %s", strerror(-ret));
    }
    if (opts->engine == ENGINE_AUTO) {
        return use_engine(&engine_threads_ops, out, opts, refusal, err);
    }
    ret = use_aio(out, opts, refusal, err);
    if (ret == 0) {
        log_warn("image %s: %s; Linux AIO is used instead", opts->path, refusal);
    }
    return ret;
}

#else

bool engine_has_uring(void)
{
    return false;
}

static int try_uring(struct engine **out, const struct engine_opts *opts, const char *reason)
{
    return -ENOTSUP;
}

static int use_uring(struct engine **out, const struct engine_opts *opts, const char *reason,
                     struct err *err)
{
    if (opts->engine == ENGINE_AUTO) {
        return use_engine(&engine_threads_ops, out, opts, "vblkd is built without io_uring", err);
    }
    err_say(err, -ENOTSUP, "image %s: engine io_uring: vblkd is built without it", opts->path);
    err_hint(err, "use engine auto or aio");
    return -ENOTSUP;
}

#endif

/*
 * It costs less than io_uring, and does not block.  But the host has a limited number of
 * contexts: a disk does without rather than not at all.
 */
static int use_aio_if_left(struct engine **out, const struct engine_opts *opts, const char *reason,
                           struct err *err)
{
    struct err why = {0};
    int ret = use_aio(out, opts, reason, &why);

    if (ret == -EAGAIN && !opts->is_unfenced &&
        try_uring(out, opts, "no AIO context is left: see fs.aio-max-nr") == 0) {
        return 0; /* and `err` stays as it was: nothing has failed */
    }
    if (ret < 0 && err) {
        *err = why;
    }
    return ret;
}

/* Nothing is below it to wait for, and io_uring hands each of its operations to another thread. */
static bool is_in_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

int engine_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    switch (opts->engine) {
    case ENGINE_AIO:
        return use_aio(out, opts, "asked for", err);
    case ENGINE_IO_URING:
        return use_uring(out, opts, "asked for", err);
    case ENGINE_THREADS:
        return use_engine(&engine_threads_ops, out, opts, "asked for", err);
    case ENGINE_AUTO:
    default:
        break;
    }
    if (opts->is_direct) {
        return use_aio_if_left(out, opts, "io_submit does not block with O_DIRECT", err);
    }
    if (is_in_memory(opts->fd)) {
        return use_aio_if_left(out, opts, "io_submit does not block on tmpfs", err);
    }
    return use_uring(out, opts, "the page cache is used, and io_submit would block", err);
}
