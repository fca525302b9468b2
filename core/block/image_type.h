/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What can be asked of an image.  Each type has its own parameters, checks what they cannot say
 * by themselves, and says what an image of it has; nobody else asks which type one is.
 *
 * One more parameter is a member of struct image_config, a row of its type's table and what the
 * type does with it.  Programs that open no image link these tables as well.
 * Plain values.
 */

#include <linux/limits.h>

#include "core/base/err.h"
#include "core/base/param.h"
#include "core/block/image_opts.h"

struct image_config {
    char type[8];
    char path[PATH_MAX];
    char cache[16];
    char format[8]; /* "": not settled, what it looks like counts */
    int64_t size;
    int64_t offset; /* with length: struct image_range */
    int64_t length;
    int64_t delay_ms;
    char error[24]; /* "": none, "hold", or the name of an errno */
    int64_t error_every;
    bool create;
    char preallocation[8];
    bool shareable;
};

struct image_type {
    struct param_kind kind; /* its name, and rows into struct image_config */
    bool has_file;          /* with a path, an engine, and bytes of some format */
    bool is_empty;          /* it stands for a file that may come, and has no byte */
    bool keeps_nothing;     /* what is written is lost, what is read is what was in memory */
    unsigned files;         /* open ones, of the first thread, beside what the cache mode needs */

    /* What rows cannot say.  Returns 0, or -EINVAL with a text that names the member. */
    int (*check)(const struct image_config *config, struct err *err);

    /* What it alone has. */
    void (*fill)(const struct image_config *config, struct image_opts *opts);

    /* The image is open: what must not be done again is settled.  NULL: nothing. */
    void (*opened)(struct image_config *config);
};

/* "type", and what the types have besides. */
extern const struct param image_params[];

/* The first needs no name on a command line: whatever names no other is a path. */
extern const struct param_kind *const image_kinds[];

/* NULL when there is none. */
const struct image_type *image_type_find(const char *name);

/* `type` has been read by the table, so it is there. */
const struct image_type *image_type_of(const struct image_config *config);

/* How to open what was asked for; `config` is lent to `opts`: its path. */
void image_config_opts(const struct image_config *config, struct image_opts *opts);
