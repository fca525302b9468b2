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

static const char *const cache_names[] = {
    [CACHE_NONE] = "none",
    [CACHE_DIRECTSYNC] = "directsync",
    [CACHE_WRITEBACK] = "writeback",
    [CACHE_WRITETHROUGH] = "writethrough",
};

bool cache_mode_parse(const char *text, enum cache_mode *mode)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cache_names); i++) {
        if (strcmp(text, cache_names[i]) == 0) {
            *mode = (enum cache_mode)i;
            return true;
        }
    }
    return false;
}

const char *cache_mode_name(enum cache_mode mode)
{
    return cache_names[mode];
}
