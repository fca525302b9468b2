/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/engine.h"

#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"

static int use_aio(struct engine **out, const struct engine_opts *opts, const char *reason,
                   struct err *err)
{
    int ret = engine_aio_ops.open(out, opts, err);

    if (ret == 0) {
        (void)snprintf((*out)->reason, sizeof((*out)->reason), "%s", reason);
    }
    return ret;
}

#ifdef HAVE_LIBURING

/* What the kernel or a seccomp profile refuses is no reason to go without the image. */
static int use_uring(struct engine **out, const struct engine_opts *opts, const char *reason,
                     struct err *err)
{
    int ret = engine_uring_ops.open(out, opts, err);
    char refusal[ENGINE_REASON_BYTES];

    if (ret == 0) {
        (void)snprintf((*out)->reason, sizeof((*out)->reason), "%s", reason);
        return 0;
    }
    (void)snprintf(refusal, sizeof(refusal), "the kernel refuses io_uring: %s", strerror(-ret));
    ret = use_aio(out, opts, refusal, err);
    if (ret == 0 && opts->engine == ENGINE_IO_URING) {
        log_warn("image %s: %s; Linux AIO is used instead", opts->path, refusal);
    }
    return ret;
}

#else

static int use_uring(struct engine **out, const struct engine_opts *opts, const char *reason,
                     struct err *err)
{
    if (opts->engine == ENGINE_AUTO) {
        return use_aio(out, opts, "vblkd is built without io_uring", err);
    }
    err_say(err, -ENOTSUP, "image %s: engine io_uring: vblkd is built without it", opts->path);
    err_hint(err, "use engine auto or aio");
    return -ENOTSUP;
}

#endif

int engine_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    switch (opts->engine) {
    case ENGINE_AIO:
        return use_aio(out, opts, "asked for", err);
    case ENGINE_IO_URING:
        return use_uring(out, opts, "asked for", err);
    case ENGINE_AUTO:
    default:
        break;
    }
    if (opts->is_direct) {
        return use_aio(out, opts, "io_submit does not block with O_DIRECT", err);
    }
    return use_uring(out, opts, "the page cache is used, and io_submit would block", err);
}
