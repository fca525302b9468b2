/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_type.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MEMBER(member) .offset = offsetof(struct image_config, member)
#define TEXT(member) MEMBER(member), .size = sizeof(((struct image_config *)NULL)->member)

/* Of all types: a guest is told by it whether there is a cache to flush. */
#define CACHE_ROW                                                       \
    .name = "cache", .type = PARAM_STRING, TEXT(cache), .text = "none", \
    .choices = cache_mode_names, .word = "MODE", .help = "as in QEMU"

#define SHAREABLE_ROW                                           \
    .name = "shareable", .type = PARAM_BOOL, MEMBER(shareable), \
    .help = "other disks and programs may write to it as well, if they share it, too"

/* ---- file: a regular file or a block device ---- */

static const char *const file_formats[] = {"raw", NULL};

static const struct param file_params[] = {
    {"path", PARAM_PATH, TEXT(path), .is_required = true, .is_told = true,
     .help = "absolute path of the image"},
    {"format", PARAM_STRING, TEXT(format), .choices = file_formats, .word = "FORMAT",
     .help = "raw: take its bytes as they are", .otherwise = "other formats are refused"},
    {"size", PARAM_BYTES, MEMBER(size), .max = INT64_MAX,
     .help = "how large the new file is, with --create"},
    {CACHE_ROW, .is_told = true},
    {"offset", PARAM_BYTES, MEMBER(offset), .max = INT64_MAX, .is_told = true, .is_place = true,
     .help = "where in the image the disk begins", .otherwise = "0"},
    {"length", PARAM_BYTES, MEMBER(length), .max = INT64_MAX, .is_told = true,
     .help = "how much of the image is the disk's", .otherwise = "to its end"},
    {SHAREABLE_ROW, .is_told = true},
    {"create", PARAM_BOOL, MEMBER(create), .help = "make the file; it must not exist"},
    {"preallocation", PARAM_STRING, TEXT(preallocation), .choices = preallocation_names,
     .word = "HOW", .help = "what room a new file takes from the beginning", .otherwise = "off"},
    {.name = NULL},
};

static enum preallocation preallocation_of(const struct image_config *config)
{
    enum preallocation how = PREALLOCATION_OFF;

    (void)preallocation_parse(config->preallocation, &how); /* else nobody has said */
    return how;
}

/* The image's own blocks may be larger, which is seen when it is open. */
static int check_range(const struct image_config *config, struct err *err)
{
    if (config->offset % SECTOR_SIZE != 0 || config->length % SECTOR_SIZE != 0) {
        return err_say(err, -EINVAL, "image.%s: is no multiple of 512",
                       config->offset % SECTOR_SIZE ? "offset" : "length");
    }
    if (config->length > INT64_MAX - config->offset) {
        return err_say(err, -EINVAL, "image.length: no image is as large, from offset on");
    }
    if (config->create && (config->offset || config->length)) {
        return err_say(err, -EINVAL,
                       "image.%s: does not go with a new file; make it by truncate -s, and use "
                       "ranges of it then",
                       config->offset ? "offset" : "length");
    }
    return 0;
}

static int file_check(const struct image_config *config, struct err *err)
{
    if (config->path[0] != '/') {
        return err_say(err, -EINVAL, "image.path: \"%s\" is not absolute", config->path);
    }
    if (config->create && config->size == 0) {
        return err_say(err, -EINVAL, "image.size: is missing or 0, a new file needs it");
    }
    if (!config->create && config->size != 0) {
        return err_say(err, -EINVAL,
                       "image.size: goes with a new file only, "
                       "an image that exists has its size");
    }
    if (!config->create && preallocation_of(config) != PREALLOCATION_OFF) {
        return err_say(err, -EINVAL,
                       "image.preallocation: goes with a new file only, see fallocate(1) for one "
                       "that exists");
    }
    return check_range(config, err);
}

static void file_fill(const struct image_config *config, struct image_opts *opts)
{
    opts->create = config->create;
    opts->preallocation = preallocation_of(config);
    opts->range = (struct image_range){(uint64_t)config->offset, (uint64_t)config->length};
    opts->is_shareable = config->shareable;
    opts->probe = config->format[0] == '\0';
}

static void file_opened(struct image_config *config)
{
    config->create = false;
    config->preallocation[0] = '\0';
    config->size = 0;
    (void)snprintf(config->format, sizeof(config->format), "raw");
}

static const struct image_type file_type = {
    .kind = {"file", file_params},
    .has_file = true,
    .files = 2, /* the image, and what its engine signals by */
    .check = file_check,
    .fill = file_fill,
    .opened = file_opened,
};

/* ---- null: keeps no bytes ---- */

static bool holds_errors(const struct image_config *config)
{
    return strcmp(config->error, "hold") == 0;
}

static bool has_error(const struct image_config *config)
{
    return config->error[0] != '\0';
}

static int error_of(const struct image_config *config)
{
    return holds_errors(config) ? -EIO : err_code(config->error);
}

static const struct param null_params[] = {
    {"size", PARAM_BYTES, MEMBER(size), .is_required = true, .max = INT64_MAX,
     .help = "how large the disk is"},
    {CACHE_ROW},
    {"delay_ms", PARAM_INTEGER, MEMBER(delay_ms), .max = 3600000, .is_told = true, .unit = "ms",
     .phrase = "each request takes", .help = "how long each request takes, in milliseconds"},
    {"error", PARAM_STRING, TEXT(error), .is_told = true, .word = "ERROR",
     .help = "how requests fail: EIO or another errno, or hold: they wait for a start",
     .otherwise = "they do not"},
    {"error_every", PARAM_INTEGER, MEMBER(error_every), .max = 1000000000, .is_told = true,
     .help = "only the first request of a thread fails, and each so many later"},
    {.name = NULL},
};

static int null_check(const struct image_config *config, struct err *err)
{
    if (config->size <= 0) {
        return err_say(err, -EINVAL, "image.size: is missing");
    }
    if (has_error(config) && error_of(config) == 0) {
        return err_say(err, -EINVAL, "image.error: \"%s\" is no error: hold, EIO, ENOSPC ...",
                       config->error);
    }
    if (!has_error(config) && config->error_every != 0) {
        return err_say(err, -EINVAL, "image.error_every: goes with error only");
    }
    return 0;
}

static void null_fill(const struct image_config *config, struct image_opts *opts)
{
    opts->delay_ms = (uint32_t)config->delay_ms;
    opts->error = error_of(config);
    opts->error_every = (uint32_t)config->error_every;
    opts->holds_errors = holds_errors(config);
}

static const struct image_type null_type = {
    .kind = {"null", null_params},
    .keeps_nothing = true,
    .files = 1, /* its timer */
    .check = null_check,
    .fill = null_fill,
};

/* ---- empty: of a disk that has none yet, or no longer ---- */

/* What stays with the disk when a file comes, or goes. */
static const struct param empty_params[] = {
    {CACHE_ROW, .is_told = true},
    {SHAREABLE_ROW},
    {.name = NULL},
};

static int empty_check(const struct image_config *config, struct err *err)
{
    return 0;
}

/* The guest finds a disk without a byte, so nothing is asked of it but flushes. */
static void empty_fill(const struct image_config *config, struct image_opts *opts)
{
    opts->type = null_type.kind.name;
    opts->is_empty = true;
}

static const struct image_type empty_type = {
    .kind = {"empty", empty_params},
    .is_empty = true,
    .files = 1,
    .check = empty_check,
    .fill = empty_fill,
};

/* ---- all ---- */

static const struct image_type *const types[] = {&file_type, &null_type, &empty_type};

const struct param_kind *const image_kinds[] = {&file_type.kind, &null_type.kind, &empty_type.kind,
                                                NULL};

const struct param image_params[] = {
    {"type", PARAM_KIND, TEXT(type), .is_required = true, .is_told = true, .kinds = image_kinds,
     .help = "file: a regular file or a block device; null: no bytes are kept; empty: there is "
             "none yet"},
    {.name = NULL},
};

const struct image_type *image_type_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i]->kind.name, name) == 0) {
            return types[i];
        }
    }
    return NULL;
}

const struct image_type *image_type_of(const struct image_config *config)
{
    const struct image_type *type = image_type_find(config->type);

    assert(type);
    return type;
}

void image_config_opts(const struct image_config *config, struct image_opts *opts)
{
    const struct image_type *type = image_type_of(config);
    bool is_known;

    *opts = (struct image_opts){
        .type = type->kind.name,
        .path = config->path,
        .size = (uint64_t)config->size,
    };
    is_known = cache_mode_parse(config->cache, &opts->cache);
    assert(is_known); /* the rows allow no other */
    (void)is_known;
    type->fill(config, opts);
}
