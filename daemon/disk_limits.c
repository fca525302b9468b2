/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static bool is_off(const char *choice)
{
    return strcmp(choice, "off") == 0;
}

static int check_seg_max(const struct disk_config *config, struct err *err)
{
    unsigned fit = blk_seg_fit((unsigned)config->queue_size);

    if (config->seg_max == BLK_SEG_MAX || config->seg_max <= fit) {
        return 0;
    }
    (void)err_say(err, -EINVAL, "seg_max: %" PRId64 " do not fit into a queue of %" PRId64,
                  config->seg_max, config->queue_size);
    err_hint(err, "up to %u do, beside header and status", fit);
    return -EINVAL;
}

static int check_size_max(const struct disk_config *config, struct err *err)
{
    if (config->size_max == 0 || config->size_max >= BLK_SIZE_MAX_LEAST) {
        return 0;
    }
    (void)err_say(err, -EINVAL,
                  "size_max: %" PRId64 " bytes are less than a page, and guests would refuse the "
                  "disk",
                  config->size_max);
    err_hint(err, "use %u or more", BLK_SIZE_MAX_LEAST);
    return -EINVAL;
}

/* Of a logical block that the image decides, at least sectors. */
static int check_whole_blocks(const struct disk_config *config, struct err *err)
{
    const struct {
        const char *name;
        int64_t bytes;
    } sizes[] = {
        {"alignment_offset", config->alignment_offset},
        {"min_io", config->min_io},
        {"opt_io", config->opt_io},
        {"size_max", config->size_max},
        {"discard_granularity", config->discard_granularity},
        {"max_discard", config->max_discard},
        {"max_write_zeroes", config->max_write_zeroes},
    };
    int64_t block = config->logical_block_size ? config->logical_block_size : SECTOR_SIZE;

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (sizes[i].bytes % block != 0) {
            (void)err_say(err, -EINVAL,
                          "%s: %" PRId64 " bytes are not whole blocks of %" PRId64 " bytes",
                          sizes[i].name, sizes[i].bytes, block);
            err_hint(err, "the next that are: %" PRId64, (sizes[i].bytes / block + 1) * block);
            return -EINVAL;
        }
    }
    return 0;
}

static int check_discard(const struct disk_config *config, struct err *err)
{
    if (config->max_discard == 0 || config->max_discard >= config->discard_granularity) {
        return 0;
    }
    (void)err_say(err, -EINVAL,
                  "max_discard: %" PRId64 " bytes are less than the %" PRId64
                  " that a discard gives back together",
                  config->max_discard, config->discard_granularity);
    err_hint(err, "use as many or more, or a smaller granularity");
    return -EINVAL;
}

/* The member that is said of discards, or of zeroes; NULL: none is. */
static const char *said_of_discards(const struct disk_config *config)
{
    return config->discard_granularity                  ? "discard_granularity"
           : config->max_discard                        ? "max_discard"
           : config->max_discard_segments != BLK_RANGES ? "max_discard_segments"
                                                        : NULL;
}

static const char *said_of_zeroes(const struct disk_config *config)
{
    return config->max_write_zeroes                          ? "max_write_zeroes"
           : config->max_write_zeroes_segments != BLK_RANGES ? "max_write_zeroes_segments"
                                                             : NULL;
}

/* What is said of what the guest is not offered would be said in vain. */
static int check_offered(const struct disk_config *config, const char *said, const char *option,
                         const char *choice, struct err *err)
{
    if (!said || (!config->readonly && !is_off(choice))) {
        return 0;
    }
    (void)err_say(err, -EINVAL, "%s: does not go with --%s, as the guest is offered none", said,
                  config->readonly ? "readonly" : option);
    err_hint(err, "leave out one of them");
    return -EINVAL;
}

int disk_limits_check(const struct disk_config *config, struct err *err)
{
    int ret = check_seg_max(config, err);

    if (ret == 0) {
        ret = check_size_max(config, err);
    }
    if (ret == 0) {
        ret = check_whole_blocks(config, err);
    }
    if (ret == 0) {
        ret = check_discard(config, err);
    }
    if (ret == 0) {
        ret = check_offered(config, said_of_discards(config), "discard off", config->discard, err);
    }
    if (ret == 0) {
        ret = check_offered(config, said_of_zeroes(config), "write-zeroes off",
                            config->write_zeroes, err);
    }
    return ret;
}

/* 0 stands for the default. */
static uint32_t count_of(int64_t segments)
{
    return segments == BLK_RANGES ? 0 : (uint32_t)segments;
}

struct blk_limits disk_limits_of(const struct disk_config *config)
{
    return (struct blk_limits){
        .size_max = (uint32_t)config->size_max,
        .discard_bytes = (uint64_t)config->max_discard,
        .discard_count = count_of(config->max_discard_segments),
        .zeroes_bytes = (uint64_t)config->max_write_zeroes,
        .zeroes_count = count_of(config->max_write_zeroes_segments),
    };
}

unsigned disk_limits_seg_max(const struct disk_config *config)
{
    return config->seg_max == BLK_SEG_MAX ? blk_seg_max((unsigned)config->queue_size)
                                          : (unsigned)config->seg_max;
}

uint32_t disk_limits_discard_block(const struct disk_config *config)
{
    if (is_off(config->discard)) {
        return 0;
    }
    return config->discard_granularity ? (uint32_t)config->discard_granularity
                                       : BLK_DISCARD_BLOCK_ANY;
}
