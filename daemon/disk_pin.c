/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_pin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/virtio/blk_opts.h"
#include "daemon/disk_params.h"
#include "daemon/json_memory.h"
#include "daemon/params.h"
#include "daemon/plane.h"

struct disk_pin {
    struct disk_shown shown;
    int64_t num_queues;
    int64_t logical_block;
    int64_t physical_block;
    int64_t alignment;
    int64_t min_io;
    int64_t opt_io;
    int64_t cylinders;
    int64_t heads;
    int64_t sectors;
    int64_t discard_block;
    int64_t zeroes; /* enum blk_zeroes */
};

#define NUMBER(type_, member, most) \
    .type = PARAM_INTEGER, .offset = offsetof(type_, member), .min = 0, .max = (most)
#define SHOWN(member, most) NUMBER(struct disk_shown, member, most)
#define PIN(member, most) NUMBER(struct disk_pin, member, most)

const struct param disk_shown_params[] = {
    {"features", SHOWN(features, INT64_MAX)},
    {"size_max", SHOWN(size_max, UINT32_MAX)},
    {"seg_max", SHOWN(seg_max, UINT32_MAX)},
    {"max_discard_sectors", SHOWN(max_discard_sectors, UINT32_MAX)},
    {"max_discard_seg", SHOWN(max_discard_seg, UINT32_MAX)},
    {"max_write_zeroes_sectors", SHOWN(max_write_zeroes_sectors, UINT32_MAX)},
    {"max_write_zeroes_seg", SHOWN(max_write_zeroes_seg, UINT32_MAX)},
    {NULL},
};

static const struct param pin_params[] = {
    {"shown", .type = PARAM_GROUP, .offset = offsetof(struct disk_pin, shown),
     .members = disk_shown_params},
    {"num_queues", PIN(num_queues, BLK_MAX_QUEUES)},
    {"logical_block_size", PIN(logical_block, 32768)},
    {"physical_block_size", PIN(physical_block, 1 << 20)},
    {"alignment_offset", PIN(alignment, UINT32_MAX)},
    {"min_io_size", PIN(min_io, UINT32_MAX)},
    {"opt_io_size", PIN(opt_io, UINT32_MAX)},
    {"cylinders", PIN(cylinders, UINT16_MAX)},
    {"heads", PIN(heads, UINT8_MAX)},
    {"sectors", PIN(sectors, UINT8_MAX)},
    {"discard_block_size", PIN(discard_block, 1u << 31)},
    {"zeroes", PIN(zeroes, BLK_ZEROES_UNMAP)},
    {NULL},
};

struct blk_shown disk_shown_to_blk(const struct disk_shown *shown)
{
    return (struct blk_shown){
        .features = (uint64_t)shown->features,
        .size_max = (uint32_t)shown->size_max,
        .seg_max = (uint32_t)shown->seg_max,
        .max_discard_sectors = (uint32_t)shown->max_discard_sectors,
        .max_discard_seg = (uint32_t)shown->max_discard_seg,
        .max_write_zeroes_sectors = (uint32_t)shown->max_write_zeroes_sectors,
        .max_write_zeroes_seg = (uint32_t)shown->max_write_zeroes_seg,
    };
}

struct disk_shown disk_shown_of(const struct blk_shown *blk)
{
    return (struct disk_shown){
        .features = (int64_t)blk->features,
        .size_max = blk->size_max,
        .seg_max = blk->seg_max,
        .max_discard_sectors = blk->max_discard_sectors,
        .max_discard_seg = blk->max_discard_seg,
        .max_write_zeroes_sectors = blk->max_write_zeroes_sectors,
        .max_write_zeroes_seg = blk->max_write_zeroes_seg,
    };
}

json_t *disk_pin_json(const struct plane_geometry *geometry, unsigned queues)
{
    const struct disk_pin pin = {
        .shown = disk_shown_of(&geometry->shown),
        .num_queues = queues,
        .logical_block = geometry->logical_block,
        .physical_block = geometry->physical_block,
        .alignment = geometry->alignment,
        .min_io = geometry->min_io,
        .opt_io = geometry->opt_io,
        .cylinders = geometry->chs.cylinders,
        .heads = geometry->chs.heads,
        .sectors = geometry->chs.sectors,
        .discard_block = geometry->discard_block,
        .zeroes = geometry->zeroes,
    };

    return params_write(pin_params, &pin);
}

static int parse_pin(const char *text, struct disk_pin *pin, struct err *err)
{
    unsigned before = json_memory_failures();
    json_error_t error;
    json_auto_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &error);

    if (json_memory_failures() != before) {
        return err_set(err, -ENOMEM, "as_shown");
    }
    if (!json_is_object(object)) {
        (void)err_say(err, -EINVAL, "as_shown: \"%.64s\" is no JSON object", text);
        err_hint(err, "use what `vblkctl show NAME --shown` prints on the other host");
        return -EINVAL;
    }
    return params_read(object, pin_params, "as_shown", pin, err);
}

static void fill_geometry(const struct disk_pin *pin, struct plane_geometry *geometry)
{
    *geometry = (struct plane_geometry){
        .logical_block = (uint32_t)pin->logical_block,
        .physical_block = (uint32_t)pin->physical_block,
        .alignment = (uint32_t)pin->alignment,
        .min_io = (uint32_t)pin->min_io,
        .opt_io = (uint32_t)pin->opt_io,
        .chs = {.cylinders = (uint16_t)pin->cylinders,
                .heads = (uint8_t)pin->heads,
                .sectors = (uint8_t)pin->sectors},
        .discard_block = (uint32_t)pin->discard_block,
        .zeroes = (enum blk_zeroes)pin->zeroes,
        .shown = disk_shown_to_blk(&pin->shown),
    };
}

/* What is asked for beside it, and decides what can be shown. */
static int check_mode(const struct disk_config *config, uint64_t features, struct err *err)
{
    enum cache_mode mode;

    if (!(features & BIT(VIRTIO_BLK_F_RO)) == config->readonly) {
        return err_say(err, -EINVAL, "as_shown: it is of a disk that %s, and this one %s",
                       config->readonly ? "can be written" : "is read-only",
                       config->readonly ? "is read-only" : "can be written");
    }
    if (features & BIT(VIRTIO_BLK_F_CONFIG_WCE) && cache_mode_parse(config->image.cache, &mode) &&
        cache_is_writethrough(mode)) {
        return err_say(err, -EINVAL,
                       "as_shown: its guest may switch its write cache, which it has none of with "
                       "--cache %s",
                       config->image.cache);
    }
    return 0;
}

/* Such a disk there may be, of some size. */
static int check_pin(const struct disk_pin *pin, const struct disk_config *config, struct err *err)
{
    struct plane_geometry geometry;
    struct err why = {0};
    struct blk_opts blk;

    fill_geometry(pin, &geometry);
    blk = (struct blk_opts){
        .capacity = 1 << 20,
        .logical_block = geometry.logical_block,
        .physical_block = geometry.physical_block,
        .alignment = geometry.alignment,
        .min_io = geometry.min_io,
        .chs = geometry.chs,
        .discard_block = geometry.discard_block,
        .zeroes = geometry.zeroes,
        .shown = geometry.shown,
        .is_readonly = config->readonly,
    };
    if (config->emulate_512 && geometry.logical_block > SECTOR_SIZE) {
        return err_say(err, -EINVAL, "as_shown: its blocks of %u bytes do not go with emulate_512",
                       geometry.logical_block);
    }
    if (pin->shown.features == 0 || pin->num_queues == 0) {
        return err_say(err, -EINVAL, "as_shown: it has no features, or no queues");
    }
    if (check_mode(config, geometry.shown.features, err) < 0) {
        return -EINVAL;
    }
    return blk_opts_check(&blk, &why) < 0 ? err_say(err, -EINVAL, "as_shown: %s", why.text) : 0;
}

static bool is_default(const struct disk_config *config, const struct param *row)
{
    const void *field = (const char *)config + row->offset;
    int64_t number;

    if (param_is_text(row)) {
        return strcmp(field, row->text ? row->text : "") == 0;
    }
    memcpy(&number, field, sizeof(number));
    return number == row->value;
}

/* What both would say. */
static int refuse_both(const struct disk_config *config, struct err *err)
{
    for (const struct param *row = disk_params; row->name; row++) {
        if (row->is_shown && !is_default(config, row)) {
            return err_say(err, -EINVAL, "%s: does not go with as_shown, which says it", row->name);
        }
    }
    return 0;
}

/* Others would be refused by its front-end, or left out. */
static int take_queues(struct disk_config *config, int64_t queues, struct err *err)
{
    const struct param *row = disk_params;

    while (strcmp(row->name, "queues") != 0) {
        row++;
    }
    if (config->queues != queues && !is_default(config, row)) {
        return err_say(err, -EINVAL, "queues: %d were asked for, and as_shown has %d",
                       (int)config->queues, (int)queues);
    }
    config->queues = queues;
    return 0;
}

int disk_pin_complete(struct disk_config *config, struct err *err)
{
    struct disk_pin pin = {0};
    int ret;

    if (!config->as_shown[0]) {
        return 0;
    }
    ret = parse_pin(config->as_shown, &pin, err);
    if (ret == 0) {
        ret = refuse_both(config, err);
    }
    if (ret == 0) {
        ret = check_pin(&pin, config, err);
    }
    return ret < 0 ? ret : take_queues(config, pin.num_queues, err);
}

bool disk_pin_geometry(const struct disk_config *config, struct plane_geometry *geometry)
{
    struct disk_pin pin = {0};
    struct err err;

    if (!config->as_shown[0] || parse_pin(config->as_shown, &pin, &err) < 0) {
        return false;
    }
    fill_geometry(&pin, geometry);
    return true;
}
