/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/backend.h"

#include <errno.h>
#include <string.h>

static const struct backend_ops *const backends[] = {
    &backend_file_ops,
    &backend_null_ops,
};

int backend_open(struct backend **out, const struct backend_opts *opts, struct err *err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(backends); i++) {
        if (strcmp(backends[i]->name, opts->type) == 0) {
            return backends[i]->open(out, opts, err);
        }
    }
    return err_say(err, -EINVAL, "no image type \"%s\": it is file or null", opts->type);
}

const char *const cache_mode_names[] = {
    [CACHE_NONE] = "none",
    [CACHE_DIRECTSYNC] = "directsync",
    [CACHE_WRITEBACK] = "writeback",
    [CACHE_WRITETHROUGH] = "writethrough",
    NULL,
};

const char *const engine_names[] = {
    [ENGINE_AUTO] = "auto",
    [ENGINE_AIO] = "aio",
    [ENGINE_IO_URING] = "io_uring",
    NULL,
};

/* The index of `text`, or -1. */
static int find_name(const char *text, const char *const *names)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

bool cache_mode_parse(const char *text, enum cache_mode *mode)
{
    int index = find_name(text, cache_mode_names);

    if (index >= 0) {
        *mode = (enum cache_mode)index;
    }
    return index >= 0;
}

bool engine_parse(const char *text, enum io_engine *engine)
{
    int index = find_name(text, engine_names);

    if (index >= 0) {
        *engine = (enum io_engine)index;
    }
    return index >= 0;
}
