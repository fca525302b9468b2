/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/engine.h"

static const char *const image_types[] = {"file", "null", NULL};

#define STRING(member)                                                    \
    .type = PARAM_STRING, .offset = offsetof(struct disk_config, member), \
    .size = sizeof(((struct disk_config *)NULL)->member)
#define INTEGER(member) .type = PARAM_INTEGER, .offset = offsetof(struct disk_config, member)
#define BOOLEAN(member) .type = PARAM_BOOL, .offset = offsetof(struct disk_config, member)

static const struct param image_params[] = {
    {"type", STRING(image.type), .is_required = true, .choices = image_types,
     .help = "file: a regular file or a block device; null: no bytes are kept"},
    {"path", STRING(image.path), .help = "file: absolute path of the image"},
    {"size", INTEGER(image.size), .min = 0, .max = INT64_MAX,
     .help = "bytes; null: the disk's size; file: only with create"},
    {"cache", STRING(image.cache), .text = "none", .choices = cache_mode_names,
     .help = "as QEMU defines them"},
    {"create", BOOLEAN(image.create), .help = "file: make it, sparse; it must not exist"},
    {"delay_ms", INTEGER(image.delay_ms), .min = 0, .max = 3600000,
     .help = "null: how long each request takes, in milliseconds"},
    {.name = NULL},
};

/* VIRTIO 1.2, 5.2.4 "Device configuration layout"; block sizes as blk_opts_resolve allows them. */
const struct param disk_config_params[] = {
    {"name", STRING(name), .is_required = true,
     .help = "letters, digits, '.', '_' and '-', beginning with a letter or digit"},
    {"image", .type = PARAM_OBJECT, .is_required = true, .members = image_params,
     .help = "where the bytes are"},
    {"readonly", BOOLEAN(readonly), .help = "the guest cannot write"},
    {"serial", STRING(serial), .help = "what the guest reads as serial number [the name]"},
    {"queues", INTEGER(queues), .value = 16, .min = 1, .max = BLK_MAX_QUEUES,
     .help = "the most queues that a front-end may use"},
    {"queue_size", INTEGER(queue_size), .value = RING_MAX_SIZE, .min = 2, .max = RING_MAX_SIZE,
     .is_power_of_2 = true, .help = "the largest queue that a front-end may set"},
    {"logical_block_size", INTEGER(logical_block_size), .min = 0, .max = 32768,
     .is_power_of_2 = true, .help = "bytes [as the image suggests]"},
    {"physical_block_size", INTEGER(physical_block_size), .min = 0, .max = 1 << 20,
     .is_power_of_2 = true, .help = "bytes [as the image suggests]"},
    SETTINGS_PARAMS(offsetof(struct disk_config, settings), false),
    {"socket", STRING(socket), .help = "absolute path of the vhost-user socket [DIR/NAME.sock]"},
    {.name = NULL},
};

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A name becomes part of a path and of log lines. */
static int check_name(const char *name, struct err *err)
{
    if (!is_alphanumeric(name[0])) {
        return err_say(err, -EINVAL, "name: \"%s\" does not begin with a letter or digit", name);
    }
    for (const char *c = name; *c; c++) {
        if (!is_alphanumeric(*c) && !strchr("._-", *c)) {
            return err_say(err, -EINVAL,
                           "name: \"%s\" has other characters than letters, digits, "
                           "'.', '_' and '-'",
                           name);
        }
    }
    return 0;
}

static int check_file(const struct image_config *image, struct err *err)
{
    if (image->path[0] == '\0') {
        return err_say(err, -EINVAL, "image.path: is missing");
    }
    if (image->path[0] != '/') {
        return err_say(err, -EINVAL, "image.path: \"%s\" is not absolute", image->path);
    }
    if (image->create && image->size == 0) {
        return err_say(err, -EINVAL, "image.size: is missing, create needs it");
    }
    if (!image->create && image->size != 0) {
        return err_say(err, -EINVAL,
                       "image.size: goes with create only, "
                       "an image that exists has its size");
    }
    if (image->delay_ms != 0) {
        return err_say(err, -EINVAL, "image.delay_ms: goes with type \"null\" only");
    }
    return 0;
}

/* `engine` "": none is asked for. */
static int check_engine(const struct image_config *image, const char *engine, struct err *err)
{
    if (strcmp(image->type, "null") == 0 && engine[0] && strcmp(engine, "auto") != 0) {
        return err_say(err, -EINVAL, "engine: \"%s\" goes with images of type \"file\" only",
                       engine);
    }
    return 0;
}

/* `threads` may be absent.  A thread without a queue would have nothing to do. */
static int check_threads(const struct disk_config *config, int64_t threads, struct err *err)
{
    if (threads <= config->queues) {
        return 0;
    }
    (void)err_say(err, -EINVAL, "threads: %d are more than the %d queue%s of the disk",
                  (int)threads, (int)config->queues, config->queues == 1 ? "" : "s");
    err_hint(err, "each serves one queue at least: up to %d are of use",
             (int)min_of(config->queues, (int64_t)DEVICE_MAX_LANES));
    return -EINVAL;
}

static int check_null(const struct image_config *image, struct err *err)
{
    if (image->path[0] != '\0') {
        return err_say(err, -EINVAL, "image.path: goes with type \"file\" only");
    }
    if (image->create) {
        return err_say(err, -EINVAL, "image.create: goes with type \"file\" only");
    }
    if (image->size == 0) {
        return err_say(err, -EINVAL, "image.size: is missing");
    }
    return 0;
}

static int complete_socket(struct disk_config *config, const char *socket_dir, struct err *err)
{
    int len;

    if (config->socket[0] == '\0') {
        len = snprintf(config->socket, sizeof(config->socket), "%s/%s.sock", socket_dir,
                       config->name);
        if (len >= (int)sizeof(config->socket)) {
            return err_say(err, -ENAMETOOLONG,
                           "%s/%s.sock is too long for a socket, at most %zu bytes are allowed",
                           socket_dir, config->name, sizeof(config->socket) - 1);
        }
    }
    if (config->socket[0] != '/') {
        return err_say(err, -EINVAL, "socket: \"%s\" is not absolute", config->socket);
    }
    return 0;
}

int disk_config_complete(struct disk_config *config, const char *socket_dir, struct err *err)
{
    int ret = check_name(config->name, err);

    if (ret == 0) {
        ret = strcmp(config->image.type, "null") == 0 ? check_null(&config->image, err)
                                                      : check_file(&config->image, err);
    }
    if (ret == 0) {
        ret = check_engine(&config->image, config->settings.engine, err);
    }
    if (ret == 0) {
        ret = check_threads(config, config->settings.threads, err);
    }
    if (ret == 0 && config->logical_block_size != 0 && config->logical_block_size < 512) {
        ret = err_say(err, -EINVAL, "logical_block_size: must be at least 512");
    }
    if (ret == 0 && config->physical_block_size != 0 && config->physical_block_size < 512) {
        ret = err_say(err, -EINVAL, "physical_block_size: must be at least 512");
    }
    if (ret == 0) {
        ret = complete_socket(config, socket_dir, err);
    }
    if (ret == 0 && config->serial[0] == '\0') {
        (void)snprintf(config->serial, sizeof(config->serial), "%.*s", BLK_SERIAL_BYTES,
                       config->name);
    }
    return ret;
}

/*
 * A change is refused at once, not by the next start.  disk_config_complete does not ask, as a
 * disk that another build was told to serve so has to come back, if only as failed.
 */
static int check_build(const char *engine, struct err *err)
{
    if (engine_has_uring() || strcmp(engine, "io_uring") != 0) {
        return 0;
    }
    (void)err_say(err, -ENOTSUP, "engine: vblkd is built without io_uring");
    err_hint(err, "use engine auto or aio");
    return -ENOTSUP;
}

int disk_config_check_change(const struct disk_config *config, const struct settings *change,
                             struct err *err)
{
    int ret;

    if (!settings_is_change(change)) {
        return err_say(err, -EINVAL, "no setting is given, at least one is needed");
    }
    ret = check_engine(&config->image, change->engine, err);
    if (ret == 0) {
        ret = check_build(change->engine, err);
    }
    return ret < 0 ? ret : check_threads(config, change->threads, err);
}

void disk_config_to_plane(const struct disk_config *config, struct plane_opts *opts)
{
    bool is_known;

    memset(opts, 0, sizeof(*opts));
    (void)snprintf(opts->name, sizeof(opts->name), "%s", config->name);
    (void)snprintf(opts->socket_path, sizeof(opts->socket_path), "%s", config->socket);
    (void)snprintf(opts->serial, sizeof(opts->serial), "%s", config->serial);
    opts->image.type = config->image.type;
    opts->image.path = config->image.path;
    opts->image.size = (uint64_t)config->image.size;
    opts->image.delay_ms = (uint32_t)config->image.delay_ms;
    opts->image.create = config->image.create;
    opts->image.is_readonly = config->readonly;
    is_known = cache_mode_parse(config->image.cache, &opts->image.cache);
    assert(is_known); /* the table allows no other */
    (void)is_known;
    opts->geometry.logical_block = (uint32_t)config->logical_block_size;
    opts->geometry.physical_block = (uint32_t)config->physical_block_size;
    opts->settings = config->settings;
    opts->queues = (unsigned)config->queues;
    opts->queue_size = (unsigned)config->queue_size;
}

void disk_config_created(struct disk_config *config)
{
    if (strcmp(config->image.type, "file") == 0) {
        config->image.create = false;
        config->image.size = 0;
    }
}
