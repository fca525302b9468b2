/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/virtio/blk_opts.h"

#include <errno.h>
#include <inttypes.h>

#include "core/block/node.h"

#define MAX_LOGICAL_BLOCK 32768u

/* The config space has 16 bits for it, in logical blocks (min_io_size). */
#define MAX_PHYSICAL_BLOCK (1u << 20)
#define MAX_MIN_IO_BLOCKS UINT16_MAX
#define MAX_ALIGNMENT_BLOCKS UINT8_MAX

/* Of a geometry that nothing is known of, as QEMU has it. */
#define STANDARD_HEADS 16u
#define STANDARD_SECTORS 63u
#define MIN_CYLINDERS 2u
#define MAX_CYLINDERS 16383u

static int check_blocks(const struct blk_opts *opts, struct err *err)
{
    if (!is_power_of_2(opts->logical_block) || opts->logical_block < SECTOR_SIZE ||
        opts->logical_block > MAX_LOGICAL_BLOCK) {
        return err_say(err, -EINVAL, "logical block size %u is no power of two between %u and %u",
                       opts->logical_block, SECTOR_SIZE, MAX_LOGICAL_BLOCK);
    }
    if (!is_power_of_2(opts->physical_block) || opts->physical_block < opts->logical_block ||
        opts->physical_block > MAX_PHYSICAL_BLOCK) {
        return err_say(err, -EINVAL,
                       "physical block size %u is no power of two between the logical block "
                       "size %u and %u",
                       opts->physical_block, opts->logical_block, MAX_PHYSICAL_BLOCK);
    }
    return 0;
}

static int check_capacity(const struct blk_opts *opts, struct err *err)
{
    if (opts->capacity == 0 && opts->may_be_empty) {
        return 0;
    }
    if (opts->capacity == 0) {
        return err_say(err, -EINVAL, "it is empty");
    }
    if (!is_aligned(opts->capacity, opts->logical_block)) {
        err_say(err, -EINVAL,
                "its size, %llu bytes, is no multiple of the logical block size %u: the "
                "last block would be cut",
                (unsigned long long)opts->capacity, opts->logical_block);
        err_hint(err, "make it %llu bytes (truncate -s; --size of a new one)",
                 (unsigned long long)round_up(opts->capacity, opts->logical_block));
        return -EINVAL;
    }
    return 0;
}

/* Are `bytes` whole logical blocks, and no more of them than the config space has room for? */
static bool fits_blocks(uint32_t bytes, const struct blk_opts *opts, uint32_t most)
{
    return is_aligned(bytes, opts->logical_block) && bytes / opts->logical_block <= most;
}

static bool is_min_io_good(uint32_t min_io, const struct blk_opts *opts)
{
    return min_io >= opts->physical_block && fits_blocks(min_io, opts, MAX_MIN_IO_BLOCKS);
}

static bool is_alignment_good(uint32_t alignment, const struct blk_opts *opts)
{
    return alignment < opts->physical_block && fits_blocks(alignment, opts, MAX_ALIGNMENT_BLOCKS);
}

/* The most of whole logical blocks that the config space has room for. */
static uint64_t most_bytes(const struct blk_opts *opts, uint32_t blocks)
{
    return (uint64_t)blocks * opts->logical_block;
}

static int check_min_io(const struct blk_opts *opts, struct err *err)
{
    if (!opts->min_io || is_min_io_good(opts->min_io, opts)) {
        return 0;
    }
    err_say(err, -EINVAL,
            "the smallest I/O size %u has to be whole logical blocks of %u, from the physical "
            "block size %u to %llu",
            opts->min_io, opts->logical_block, opts->physical_block,
            (unsigned long long)most_bytes(opts, MAX_MIN_IO_BLOCKS));
    err_hint(err, "use another --min-io, or leave it out");
    return -EINVAL;
}

static int check_alignment(const struct blk_opts *opts, struct err *err)
{
    uint64_t below = opts->physical_block - opts->logical_block;

    if (is_alignment_good(opts->alignment, opts)) {
        return 0;
    }
    err_say(err, -EINVAL,
            "the alignment offset %u has to be whole logical blocks of %u, below the physical "
            "block size %u, and %llu at most",
            opts->alignment, opts->logical_block, opts->physical_block,
            (unsigned long long)min_of(below, most_bytes(opts, MAX_ALIGNMENT_BLOCKS)));
    err_hint(err, "use another --alignment-offset, or leave it out");
    return -EINVAL;
}

static int check_topology(const struct blk_opts *opts, struct err *err)
{
    int ret = check_min_io(opts, err);

    return ret < 0 ? ret : check_alignment(opts, err);
}

/* What the image has is cut to whole blocks, and what somebody asks for is not. */
static int check_opt_io(const struct blk_opts *opts, struct err *err)
{
    if (is_aligned(opts->opt_io, opts->logical_block)) {
        return 0;
    }
    err_say(err, -EINVAL, "the best I/O size %u has to be whole logical blocks of %u, up to %u",
            opts->opt_io, opts->logical_block,
            UINT32_MAX / opts->logical_block * opts->logical_block);
    err_hint(err, "use another --opt-io, or leave it out");
    return -EINVAL;
}

/* Digits alone, up to `most`; moves behind them. */
static bool take_number(const char **text, unsigned most, unsigned *number)
{
    const char *at = *text;

    *number = 0;
    while (*at >= '0' && *at <= '9' && *number <= most) {
        *number = *number * 10 + (unsigned)(*at++ - '0');
    }
    *text = at;
    return *number >= 1 && *number <= most;
}

static bool take_comma(const char **text)
{
    return *(*text)++ == ',';
}

bool blk_chs_parse(const char *text, struct blk_chs *chs)
{
    unsigned cylinders, heads, sectors;

    if (!take_number(&text, UINT16_MAX, &cylinders) || !take_comma(&text) ||
        !take_number(&text, UINT8_MAX, &heads) || !take_comma(&text) ||
        !take_number(&text, UINT8_MAX, &sectors) || *text != '\0') {
        return false;
    }
    *chs = (struct blk_chs){(uint16_t)cylinders, (uint8_t)heads, (uint8_t)sectors};
    return true;
}

/* All or nothing. */
static int check_chs(const struct blk_chs *chs, struct err *err)
{
    if (!chs->cylinders == !chs->heads && !chs->heads == !chs->sectors) {
        return 0;
    }
    return err_say(err, -EINVAL, "of %u cylinders, %u heads and %u sectors some are missing",
                   chs->cylinders, chs->heads, chs->sectors);
}

static int check_whole_blocks(uint64_t bytes, const char *what, const struct blk_opts *opts,
                              struct err *err)
{
    if (is_aligned(bytes, opts->logical_block)) {
        return 0;
    }
    return err_say(err, -EINVAL, "%s of %llu bytes are in no whole logical blocks of %u", what,
                   (unsigned long long)bytes, opts->logical_block);
}

/* Of a discard that is smaller than what is given back together nothing would be. */
static int check_limits(const struct blk_opts *opts, struct err *err)
{
    const struct blk_limits *limits = &opts->limits;
    int ret = check_whole_blocks(limits->size_max, "segments", opts, err);

    if (ret == 0) {
        ret = check_whole_blocks(opts->discard_block, "discards", opts, err);
    }
    if (ret == 0) {
        ret = check_whole_blocks(limits->discard_bytes, "discards", opts, err);
    }
    if (ret == 0) {
        ret = check_whole_blocks(limits->zeroes_bytes, "zeroes", opts, err);
    }
    if (ret == 0 && limits->discard_bytes && limits->discard_bytes < opts->discard_block) {
        ret = err_say(err, -EINVAL,
                      "discards of %llu bytes at most are less than the %u that are given back "
                      "together",
                      (unsigned long long)limits->discard_bytes, opts->discard_block);
        err_hint(err, "use --max-discard %u or more, or a smaller --discard-granularity",
                 opts->discard_block);
    }
    return ret;
}

/* A feature is offered if and only if the disk has what it is about. */
static bool has_bit(const struct blk_opts *opts, unsigned bit, bool is_due)
{
    return !!(opts->shown.features & BIT(bit)) == is_due;
}

/* All or nothing, and no more than is served. */
static bool are_ranges_good(uint32_t sectors, uint32_t segments, bool is_due)
{
    return is_due ? sectors > 0 && segments > 0 && segments <= BLK_RANGES_MAX
                  : sectors == 0 && segments == 0;
}

static int check_shown_limits(const struct blk_opts *opts, struct err *err)
{
    const struct blk_shown *shown = &opts->shown;
    bool has_discard = opts->discard_block > 0;
    bool has_zeroes = opts->zeroes != BLK_ZEROES_OFF;

    if (!shown->features) {
        return 0;
    }
    if (!has_bit(opts, VIRTIO_BLK_F_DISCARD, has_discard) ||
        !has_bit(opts, VIRTIO_BLK_F_WRITE_ZEROES, has_zeroes) ||
        !has_bit(opts, VIRTIO_BLK_F_GEOMETRY, opts->chs.heads > 0) ||
        !has_bit(opts, VIRTIO_BLK_F_SIZE_MAX, shown->size_max > 0) ||
        !has_bit(opts, VIRTIO_BLK_F_RO, opts->is_readonly)) {
        return err_say(err, -EINVAL,
                       "the features 0x%" PRIx64 " are not those of a disk with such discards, "
                       "zeroes, geometry and sizes of segments, read-only or not",
                       shown->features);
    }
    if (shown->seg_max == 0 || shown->seg_max > BLK_SEG_SERVED ||
        !are_ranges_good(shown->max_discard_sectors, shown->max_discard_seg, has_discard) ||
        !are_ranges_good(shown->max_write_zeroes_sectors, shown->max_write_zeroes_seg,
                         has_zeroes)) {
        return err_say(err, -EINVAL,
                       "up to %" PRIu32 " segments, discards of %" PRIu32 " by %" PRIu32
                       " sectors and zeroes of %" PRIu32 " by %" PRIu32 " are not served",
                       shown->seg_max, shown->max_discard_seg, shown->max_discard_sectors,
                       shown->max_write_zeroes_seg, shown->max_write_zeroes_sectors);
    }
    return 0;
}

int blk_opts_check(const struct blk_opts *opts, struct err *err)
{
    int ret = check_blocks(opts, err);

    if (ret == 0) {
        ret = check_topology(opts, err);
    }
    if (ret == 0) {
        ret = check_chs(&opts->chs, err);
    }
    if (ret == 0) {
        ret = check_limits(opts, err);
    }
    if (ret == 0) {
        ret = check_shown_limits(opts, err);
    }
    return ret < 0 ? ret : check_capacity(opts, err);
}

/* What the image suggests, where nothing else was asked for. */
static void choose_blocks(struct blk_opts *opts, const struct node_facts *image)
{
    if (!opts->logical_block) {
        opts->logical_block =
            image->logical_block > image->block_size ? image->logical_block : image->block_size;
    }
    if (!opts->physical_block) {
        opts->physical_block = min_of(image->physical_block, MAX_PHYSICAL_BLOCK);
        if (opts->physical_block < opts->logical_block) {
            opts->physical_block = opts->logical_block;
        }
    }
}

/*
 * What the image has and cannot be told is as if it knew nothing: a hint that is wrong does harm.
 * What was asked for is told, or refused.
 */
static int choose_topology(struct blk_opts *opts, const struct node_facts *image, struct err *err)
{
    uint32_t alignment = image->alignment % opts->physical_block;
    int ret = check_opt_io(opts, err);

    if (ret == 0) {
        ret = check_topology(opts, err);
    }
    if (!opts->alignment) {
        opts->alignment = is_alignment_good(alignment, opts) ? alignment : 0;
    }
    if (!opts->min_io) {
        opts->min_io = is_min_io_good(image->min_io, opts) ? image->min_io : opts->physical_block;
    }
    if (!opts->opt_io) {
        opts->opt_io = image->opt_io;
    }
    return ret;
}

/* As an ATA disk has it, whose cylinders say no more of a larger one. */
static struct blk_chs standard_chs(uint64_t sectors)
{
    uint64_t cylinders = sectors / ((uint64_t)STANDARD_HEADS * STANDARD_SECTORS);

    cylinders = min_of(cylinders, (uint64_t)MAX_CYLINDERS);
    return (struct blk_chs){
        .cylinders = (uint16_t)(cylinders < MIN_CYLINDERS ? MIN_CYLINDERS : cylinders),
        .heads = STANDARD_HEADS,
        .sectors = STANDARD_SECTORS,
    };
}

/* What a partition table tells holds if the disk has a number of cylinders by it. */
static struct blk_chs guess_chs(const struct node_facts *image)
{
    struct blk_chs chs = {.heads = image->chs.heads, .sectors = image->chs.sectors};
    uint64_t sectors = image->size / SECTOR_SIZE;
    uint64_t cylinders = chs.heads ? sectors / ((uint64_t)chs.heads * chs.sectors) : 0;

    if (cylinders < 1 || cylinders > MAX_CYLINDERS) {
        return standard_chs(sectors);
    }
    chs.cylinders = (uint16_t)cylinders;
    return chs;
}

static uint32_t discard_block_of(const struct blk_opts *opts, const struct node_facts *image)
{
    if (!image->discard_block || opts->is_readonly) {
        return 0;
    }
    return opts->discard_block == BLK_DISCARD_BLOCK_ANY
               ? round_up(image->discard_block, opts->logical_block)
               : opts->discard_block;
}

/* What is read from a disk of which nothing is given back needs no zeroes that are. */
static void choose_ranges(struct blk_opts *opts, const struct node_facts *image)
{
    enum blk_zeroes most;

    opts->discard_block = discard_block_of(opts, image);
    most = !image->can_zero || opts->is_readonly ? BLK_ZEROES_OFF
           : opts->discard_block                 ? BLK_ZEROES_UNMAP
                                                 : BLK_ZEROES_KEEP;
    opts->zeroes = min_of(opts->zeroes, most);
}

/* What is said of what is not offered would be said in vain. */
static int check_image_has(const struct blk_opts *opts, const struct node_facts *image,
                           struct err *err)
{
    const struct blk_limits *limits = &opts->limits;
    bool has_block = opts->discard_block && opts->discard_block != BLK_DISCARD_BLOCK_ANY;

    if (!image->discard_block && (has_block || limits->discard_bytes || limits->discard_count)) {
        err_say(err, -EINVAL, "it cannot discard, so there is nothing to say of discards");
        err_hint(err, "leave out --discard-granularity, --max-discard and --max-discard-segments");
        return -EINVAL;
    }
    if (!image->can_zero && (limits->zeroes_bytes || limits->zeroes_count)) {
        err_say(err, -EINVAL, "it cannot zero ranges, so there is nothing to say of them");
        err_hint(err, "leave out --max-write-zeroes and --max-write-zeroes-segments");
        return -EINVAL;
    }
    return 0;
}

int blk_opts_resolve(struct blk_opts *opts, const struct node_facts *image, struct err *err)
{
    int ret;

    choose_blocks(opts, image);
    ret = check_blocks(opts, err);
    if (ret < 0) {
        return ret;
    }
    if (opts->logical_block < image->block_size) {
        err_say(err, -EINVAL, "logical block size %u is smaller than its own, %u",
                opts->logical_block, image->block_size);
        if (opts->logical_block == SECTOR_SIZE) {
            err_hint(err, "use --emulate-512, --logical-block-size %u, or --cache writeback",
                     image->block_size);
        } else {
            err_hint(err, "use --logical-block-size %u, or --cache writeback", image->block_size);
        }
        return -EINVAL;
    }
    opts->capacity = image->size;
    ret = choose_topology(opts, image, err);
    if (ret < 0) {
        return ret;
    }
    if (!opts->chs.heads) {
        opts->chs = guess_chs(image);
    }
    ret = check_image_has(opts, image, err);
    if (ret == 0) {
        choose_ranges(opts, image);
        ret = check_limits(opts, err);
    }
    if (ret < 0) {
        return ret;
    }
    ret = check_capacity(opts, err);
    if (ret < 0 && opts->capacity == 0) {
        err_hint(err, "a loop device gets a file by losetup, a file its size by truncate -s");
    }
    return ret;
}

/* In sectors.  No less than is given back together, whatever the device says of that. */
static uint32_t largest_discard(const struct blk_opts *opts)
{
    uint64_t bytes = opts->limits.discard_bytes;

    if (!bytes) {
        bytes = opts->discard_block > BLK_DISCARD_MAX ? opts->discard_block : BLK_DISCARD_MAX;
    }
    return (uint32_t)(bytes / SECTOR_SIZE);
}

struct blk_shown blk_shown_new(const struct blk_opts *opts)
{
    const struct blk_limits *limits = &opts->limits;
    struct blk_shown shown = {.size_max = limits->size_max, .seg_max = opts->seg_max};

    if (opts->discard_block) {
        shown.max_discard_sectors = largest_discard(opts);
        shown.max_discard_seg = limits->discard_count ? limits->discard_count : BLK_RANGES;
    }
    if (opts->zeroes != BLK_ZEROES_OFF) {
        shown.max_write_zeroes_sectors =
            (uint32_t)((limits->zeroes_bytes ? limits->zeroes_bytes : BLK_ZEROES_MAX) /
                       SECTOR_SIZE);
        shown.max_write_zeroes_seg = limits->zeroes_count ? limits->zeroes_count : BLK_RANGES;
    }
    return shown;
}
