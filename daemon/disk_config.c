/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/block/engine.h"
#include "core/base/cpus.h"
#include "core/base/text.h"
#include "daemon/disk_limits.h"
#include "daemon/disk_pin.h"
#include "daemon/disk_socket.h"
#include "daemon/plane.h"

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A name becomes part of a path and of log lines. */
static int check_name(const char *member, const char *name, struct err *err)
{
    if (!is_alphanumeric(name[0])) {
        return err_say(err, -EINVAL, "%s: \"%s\" does not begin with a letter or digit", member,
                       name);
    }
    for (const char *c = name; *c; c++) {
        if (!is_alphanumeric(*c) && !strchr("._-", *c)) {
            return err_say(err, -EINVAL,
                           "%s: \"%s\" has other characters than letters, digits, "
                           "'.', '_' and '-'",
                           member, name);
        }
    }
    return 0;
}

/* `engine` "": none is asked for. */
static int check_engine(const struct image_config *image, const char *engine, struct err *err)
{
    const struct image_type *type = image_type_of(image);

    if (!type->has_file && !type->is_empty && engine[0] && strcmp(engine, "auto") != 0) {
        return err_say(err, -EINVAL, "engine: \"%s\" goes with images of type \"file\" only",
                       engine);
    }
    return 0;
}

/* A thread without a queue would have nothing to do. */
static int check_threads(const struct disk_config *config, const struct settings *settings,
                         struct err *err)
{
    struct err why = {0};
    struct lane_map map;

    if (settings->threads > config->queues) {
        (void)err_say(err, -EINVAL, "threads: %d are more than the %d queue%s of the disk",
                      (int)settings->threads, (int)config->queues, config->queues == 1 ? "" : "s");
        err_hint(err, "each serves one queue at least: up to %d are of use",
                 (int)min_of(config->queues, (int64_t)LANES_MAX));
        return -EINVAL;
    }
    if (lane_map_parse(&map, settings->queue_threads, (unsigned)settings->threads,
                       (unsigned)config->queues, &why) < 0) {
        return err_say(err, -EINVAL, "queue_threads: %s", why.text);
    }
    return 0;
}

/* `list` may be absent.  A disk of the state file comes back wherever its CPUs are. */
static int check_cpus(const char *list, struct err *err)
{
    struct err why = {0};
    struct cpus cpus;

    if (list[0] == '\0' || strcmp(list, CPUS_ALL) == 0 || cpus_parse(&cpus, list, &why) == 0) {
        return 0;
    }
    return err_say(err, -EINVAL, "cpus: %s", why.text);
}

static int check_cpus_here(const char *list, struct err *err)
{
    struct cpus wanted, there;
    char text[CPUS_TEXT_BYTES];
    int beyond;

    if (list[0] == '\0' || strcmp(list, CPUS_ALL) == 0 || cpus_parse(&wanted, list, NULL) < 0) {
        return check_cpus(list, err);
    }
    cpus_of_process(&there);
    beyond = cpus_beyond(&wanted, &there);
    if (beyond < 0) {
        return 0;
    }
    cpus_say(&there, text);
    (void)err_say(err, -EINVAL, "cpus: there is no CPU %d that vblkd may use", beyond);
    err_hint(err, "it may use %s", text);
    return -EINVAL;
}

static int check_places(const struct disk_config *config, struct err *err)
{
    int ret = disk_socket_check(config, err);

    return ret < 0 ? ret : check_cpus(config->settings.cpus, err);
}

int disk_config_check_here(const struct disk_config *config, struct err *err)
{
    int ret = disk_socket_check_here(config, err);

    return ret < 0 ? ret : check_cpus_here(config->settings.cpus, err);
}

/* What no image can make right; the rest is seen when it is open. */
static int check_blocks(const struct disk_config *config, struct err *err)
{
    int64_t logical = config->logical_block_size;
    int64_t physical = config->physical_block_size;

    if (logical != 0 && logical < SECTOR_SIZE) {
        return err_say(err, -EINVAL, "logical_block_size: must be at least 512");
    }
    if (physical != 0 && physical < SECTOR_SIZE) {
        return err_say(err, -EINVAL, "physical_block_size: must be at least 512");
    }
    if (physical != 0 && physical < logical) {
        return err_say(err, -EINVAL,
                       "physical_block_size: %" PRId64 " is below the logical block size, %" PRId64,
                       physical, logical);
    }
    return 0;
}

/* Who changes a part of a block is alone on it among the threads of a disk, and not among disks. */
static int check_emulation(const struct disk_config *config, struct err *err)
{
    if (!config->emulate_512) {
        return 0;
    }
    if (config->logical_block_size > SECTOR_SIZE) {
        return err_say(err, -EINVAL,
                       "logical_block_size: %" PRId64 " does not go with emulate_512, by which it "
                       "is 512",
                       config->logical_block_size);
    }
    if (config->image.shareable && !config->readonly) {
        (void)err_say(err, -EINVAL,
                      "emulate_512: does not go with shareable, as one guest could write back what "
                      "another has just changed beside it");
        err_hint(err, "give the guests larger blocks, or share it with readonly");
        return -EINVAL;
    }
    return 0;
}

static bool is_on(const char *choice)
{
    return strcmp(choice, "on") == 0;
}

/* `detect` may be absent.  What can never be done for the disk is refused. */
static int check_detect(const struct disk_config *config, const char *detect, struct err *err)
{
    if (detect[0] == '\0' || strcmp(detect, "off") == 0) {
        return 0;
    }
    if (config->readonly) {
        return err_say(err, -EINVAL,
                       "detect_zeroes: \"%s\" is of no use to a disk that is read-only", detect);
    }
    if (strcmp(detect, "unmap") != 0 || is_on(config->discard)) {
        return 0;
    }
    (void)err_say(err, -EINVAL,
                  "detect_zeroes: \"unmap\" does not go with --discard off, by which nothing is "
                  "given back");
    err_hint(err, "use \"on\", which keeps what is zeroed allocated");
    return -EINVAL;
}

/* `action` may be absent, and is mostly what nobody has said. */
static int check_write_error(const struct disk_config *config, const char *action, struct err *err)
{
    if (!config->readonly || action[0] == '\0' || strcmp(action, "enospc") == 0) {
        return 0;
    }
    return err_say(err, -EINVAL, "on_write_error: \"%s\" is of no use to a disk that is read-only",
                   action);
}

/* `group` may be absent. */
static int check_group(const char *group, struct err *err)
{
    return group[0] ? check_name("group", group, err) : 0;
}

static int check_geometry(const struct disk_config *config, struct err *err)
{
    struct blk_chs chs;

    if (config->geometry[0] == '\0' || blk_chs_parse(config->geometry, &chs)) {
        return 0;
    }
    (void)err_say(err, -EINVAL,
                  "geometry: \"%s\" is not cylinders,heads,sectors, from 1,1,1 to 65535,255,255",
                  config->geometry);
    err_hint(err, "as 1024,16,63; it is guessed when none is given");
    return -EINVAL;
}

/* Of an image that has none yet; a file that is there has its size. */
static int check_size(const struct disk_config *config, struct err *err)
{
    int64_t block = config->logical_block_size ? config->logical_block_size : SECTOR_SIZE;

    if (config->image.size % block == 0) {
        return 0;
    }
    return err_say(err, -EINVAL,
                   "image.size: %" PRId64 " bytes are not whole blocks of %" PRId64 " bytes",
                   config->image.size, block);
}

/* What only a guest that writes to a file that is there can need. */
static int check_incoming(const struct disk_config *config, struct err *err)
{
    if (!config->incoming) {
        return 0;
    }
    if (!image_type_of(&config->image)->has_file) {
        return err_say(err, -EINVAL, "incoming: goes with images of type \"file\" only");
    }
    if (config->image.create) {
        return err_say(err, -EINVAL,
                       "incoming: does not go with a new file, the guest has one where it runs");
    }
    if (config->readonly) {
        return err_say(err, -EINVAL,
                       "incoming: does not go with readonly, who only reads an image shares it");
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
    if (!text_is_utf8(config->socket)) {
        return err_say(err, -EINVAL, "socket: \"%s\" is not UTF-8", config->socket);
    }
    return 0;
}

/* FNV-1a, 32 bits.  Source: RFC 9923, 2 "FNV Basics". */
static uint32_t hash(uint32_t sum, const char *text)
{
    while (*text) {
        sum = (sum ^ (uint8_t)*text++) * 16777619u;
    }
    return sum;
}

#define HASH_BEGIN 2166136261u

void disk_config_default_serial(struct disk_config *config, unsigned attempt)
{
    uint32_t sum = hash(HASH_BEGIN + attempt, config->name);

    if (attempt == 0 && strlen(config->name) <= BLK_SERIAL_BYTES) {
        (void)snprintf(config->serial, sizeof(config->serial), "%.*s", BLK_SERIAL_BYTES,
                       config->name);
    } else {
        (void)snprintf(config->serial, sizeof(config->serial), "%.11s-%08" PRIx32, config->name,
                       sum);
    }
}

int disk_config_complete(struct disk_config *config, const char *socket_dir, struct err *err)
{
    int ret = check_name("name", config->name, err);

    if (ret == 0) {
        ret = image_type_of(&config->image)->check(&config->image, err);
    }
    if (ret == 0) {
        ret = check_engine(&config->image, config->settings.engine, err);
    }
    if (ret == 0) {
        ret = check_blocks(config, err);
    }
    if (ret == 0) {
        ret = check_emulation(config, err);
    }
    if (ret == 0) {
        ret = check_detect(config, config->settings.detect_zeroes, err);
    }
    if (ret == 0) {
        ret = check_write_error(config, config->settings.on_write_error, err);
    }
    if (ret == 0) {
        ret = check_geometry(config, err);
    }
    if (ret == 0) {
        ret = check_group(config->settings.group, err);
    }
    if (ret == 0) {
        ret = rates_check(&config->settings.rates, err);
    }
    if (ret == 0) {
        ret = disk_limits_check(config, err);
    }
    if (ret == 0) {
        ret = disk_pin_complete(config, err); /* decides how many queues there are */
    }
    if (ret == 0) {
        ret = check_threads(config, &config->settings, err);
    }
    if (ret == 0) {
        ret = check_size(config, err);
    }
    if (ret == 0 && config->readonly && config->image.create) {
        ret = err_say(err, -EINVAL,
                      "readonly: does not go with a new file, nobody could write to it");
    }
    if (ret == 0) {
        ret = check_incoming(config, err);
    }
    if (ret == 0) {
        ret = complete_socket(config, socket_dir, err);
    }
    if (ret == 0) {
        ret = check_places(config, err);
    }
    if (ret == 0 && config->serial[0] == '\0') {
        disk_config_default_serial(config, 0);
    }
    return ret;
}

/* Its lock is free while the guest writes elsewhere, so nothing tells when that has ended. */
int disk_config_check_new(const struct disk_config *config, struct err *err)
{
    enum cache_mode mode;

    if (!config->incoming || !config->image.shareable ||
        !cache_mode_parse(config->image.cache, &mode) || cache_is_direct(mode)) {
        return 0;
    }
    (void)err_say(
        err, -EINVAL,
        "incoming: does not go with shareable and --cache %s: the page cache of this host "
        "may be read before that of the other is written out",
        config->image.cache);
    err_hint(err, "use --cache none on both hosts");
    return -EINVAL;
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

int disk_config_check_values(const struct settings *change, struct err *err)
{
    struct err why = {0};
    int ret = check_group(change->group, err);

    if (ret == 0) {
        ret = check_cpus(change->cpus, err);
    }
    if (ret == 0 && lane_map_check(change->queue_threads, &why) < 0) {
        ret = err_say(err, -EINVAL, "queue_threads: %s", why.text);
    }
    return ret;
}

int disk_config_check_change(const struct disk_config *config, const struct settings *change,
                             struct err *err)
{
    struct settings settings = config->settings;
    int ret = check_engine(&config->image, change->engine, err);

    (void)settings_apply(&settings, change);
    if (ret == 0) {
        ret = check_build(change->engine, err);
    }
    if (ret == 0) {
        ret = check_detect(config, change->detect_zeroes, err);
    }
    if (ret == 0) {
        ret = check_write_error(config, change->on_write_error, err);
    }
    if (ret == 0) {
        ret = rates_check(&settings.rates, err);
    }
    if (ret == 0) {
        ret = check_cpus_here(change->cpus, err);
    }
    return ret < 0 ? ret : check_threads(config, &settings, err);
}

void disk_config_to_plane(const struct disk_config *config, struct plane_opts *opts)
{
    memset(opts, 0, sizeof(*opts));
    (void)snprintf(opts->name, sizeof(opts->name), "%s", config->name);
    disk_socket_to_plane(config, opts);
    (void)snprintf(opts->serial, sizeof(opts->serial), "%s", config->serial);
    image_config_opts(&config->image, &opts->image);
    opts->image.is_readonly = config->readonly;
    opts->is_incoming = config->incoming;
    opts->image.emulates_512 = config->emulate_512;
    opts->geometry.logical_block =
        config->emulate_512 ? SECTOR_SIZE : (uint32_t)config->logical_block_size;
    opts->geometry.physical_block = (uint32_t)config->physical_block_size;
    opts->geometry.alignment = (uint32_t)config->alignment_offset;
    opts->geometry.min_io = (uint32_t)config->min_io;
    opts->geometry.opt_io = (uint32_t)config->opt_io;
    (void)blk_chs_parse(config->geometry, &opts->geometry.chs); /* else it is guessed */
    opts->geometry.discard_block = disk_limits_discard_block(config);
    opts->geometry.zeroes = is_on(config->write_zeroes) ? BLK_ZEROES_UNMAP : BLK_ZEROES_OFF;
    opts->is_pinned = disk_pin_geometry(config, &opts->geometry);
    opts->has_config_wce = is_on(config->config_wce);
    opts->has_packed = is_on(config->packed);
    opts->has_in_order = is_on(config->in_order);
    opts->settings = config->settings;
    opts->queues = (unsigned)config->queues;
    opts->queue_size = (unsigned)config->queue_size;
    opts->seg_max = disk_limits_seg_max(config);
    opts->limits = disk_limits_of(config);
}

void disk_config_created(struct disk_config *config)
{
    const struct image_type *type = image_type_of(&config->image);

    if (type->opened) {
        type->opened(&config->image);
    }
}
