/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_opts.h"

#include <string.h>

const char *const cache_mode_names[] = {
    [CACHE_NONE] = "none",           [CACHE_DIRECTSYNC] = "directsync",
    [CACHE_WRITEBACK] = "writeback", [CACHE_WRITETHROUGH] = "writethrough",
    [CACHE_UNSAFE] = "unsafe",       NULL,
};

const char *const engine_names[] = {
    [ENGINE_AUTO] = "auto",
    [ENGINE_AIO] = "aio",
    [ENGINE_IO_URING] = "io_uring",
    NULL,
};

const char *const huge_use_names[] = {
    [HUGE_AUTO] = "auto",
    [HUGE_OFF] = "off",
    [HUGE_ON] = "on",
    NULL,
};

const char *const detect_names[] = {
    [DETECT_OFF] = "off",
    [DETECT_ON] = "on",
    [DETECT_UNMAP] = "unmap",
    NULL,
};

const char *const preallocation_names[] = {
    [PREALLOCATION_OFF] = "off",
    [PREALLOCATION_FALLOC] = "falloc",
    [PREALLOCATION_FULL] = "full",
    NULL,
};

/* The index of `text`, or -1. */
static int find_word(const char *text, const char *const *names)
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
    int index = find_word(text, cache_mode_names);

    if (index >= 0) {
        *mode = (enum cache_mode)index;
    }
    return index >= 0;
}

bool engine_parse(const char *text, enum io_engine *engine)
{
    int index = find_word(text, engine_names);

    if (index >= 0) {
        *engine = (enum io_engine)index;
    }
    return index >= 0;
}

bool huge_use_parse(const char *text, enum huge_use *use)
{
    int index = find_word(text, huge_use_names);

    if (index >= 0) {
        *use = (enum huge_use)index;
    }
    return index >= 0;
}

bool detect_parse(const char *text, enum detect_zeroes *detect)
{
    int index = find_word(text, detect_names);

    if (index >= 0) {
        *detect = (enum detect_zeroes)index;
    }
    return index >= 0;
}

bool preallocation_parse(const char *text, enum preallocation *preallocation)
{
    int index = find_word(text, preallocation_names);

    if (index >= 0) {
        *preallocation = (enum preallocation)index;
    }
    return index >= 0;
}
