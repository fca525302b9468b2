/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/driver/blk_driver.h"

#include <linux/virtio_config.h>

/* What disks were assumed to have when they were too large for their own numbers. */
#define GUESSED_HEADS 255u
#define GUESSED_SECTORS 63u

static const uint64_t known_features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
                                       BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_GEOMETRY) |
                                       BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
                                       BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ) |
                                       BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);

static unsigned ring_align(const struct blk_driver_opts *opts)
{
    return opts->is_legacy ? RING_DRIVER_LEGACY_ALIGN : RING_DRIVER_MODERN_ALIGN;
}

size_t blk_driver_ring_bytes(const struct blk_driver_opts *opts)
{
    return round_up(ring_driver_bytes(BLK_DRIVER_MAX_SIZE, ring_align(opts)),
                    RING_DRIVER_LEGACY_ALIGN);
}

/* Source: VIRTIO 1.2, 4.1.4.3.2: a reset is done when the status reads as 0. */
static void reset_device(const struct blk_driver *blk)
{
    const struct blk_driver_ops *ops = blk->opts.ops;

    ops->set_status(blk->opts.bus, 0);
    while (ops->get_status(blk->opts.bus) != 0) {
    }
}

static void add_status(struct blk_driver *blk, uint8_t bit)
{
    const struct blk_driver_ops *ops = blk->opts.ops;

    ops->set_status(blk->opts.bus, ops->get_status(blk->opts.bus) | bit);
}

/* Source: VIRTIO 1.2, 3.1.1, steps 4 to 6. */
static int negotiate_features(struct blk_driver *blk)
{
    const struct blk_driver_opts *opts = &blk->opts;
    uint64_t modern = BIT(VIRTIO_F_VERSION_1);
    uint64_t known = known_features | (opts->is_indirect ? BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
                     (opts->is_packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
    uint64_t features = opts->ops->get_features(opts->bus) & known & ~opts->refuse;

    if (opts->is_legacy) {
        features &= 0xffffffffull;
    } else if (!(features & modern)) {
        return BLK_DRIVER_REFUSED;
    }
    blk->features = features;
    opts->ops->set_features(opts->bus, features);
    if (opts->is_legacy) {
        return 0;
    }
    add_status(blk, VIRTIO_CONFIG_S_FEATURES_OK);
    return opts->ops->get_status(opts->bus) & VIRTIO_CONFIG_S_FEATURES_OK ? 0 : BLK_DRIVER_REFUSED;
}

static uint32_t generation_of(const struct blk_driver_opts *opts)
{
    return opts->ops->generation ? opts->ops->generation(opts->bus) : 0;
}

/* Read all of it in one state. Source: VIRTIO 1.2, 2.5.1 (generation). */
static void read_config(const struct blk_driver *blk, struct virtio_blk_config *config)
{
    const struct blk_driver_opts *opts = &blk->opts;
    uint32_t before, after;

    do {
        before = generation_of(opts);
        memset(config, 0, sizeof(*config));
        opts->ops->read_config(opts->bus, 0, config,
                               offsetof(struct virtio_blk_config, num_queues) +
                                   sizeof(config->num_queues));
        after = generation_of(opts);
    } while (before != after);
}

void blk_driver_read_shape(struct blk_driver *blk)
{
    struct virtio_blk_config config;

    read_config(blk, &config);
    blk->capacity = config.capacity;
    blk->block_size = SECTOR_SIZE;
    if (blk_driver_has(blk, VIRTIO_BLK_F_BLK_SIZE) && is_power_of_2(config.blk_size) &&
        config.blk_size >= SECTOR_SIZE) {
        blk->block_size = config.blk_size;
    }
    blk->size_max = blk_driver_has(blk, VIRTIO_BLK_F_SIZE_MAX) ? config.size_max : 0;
    blk->heads = GUESSED_HEADS;
    blk->sectors = GUESSED_SECTORS;
    if (blk_driver_has(blk, VIRTIO_BLK_F_GEOMETRY) && config.geometry.heads > 0 &&
        config.geometry.sectors > 0) {
        blk->heads = config.geometry.heads;
        blk->sectors = config.geometry.sectors;
    }
}

static unsigned offered_queues(const struct blk_driver *blk)
{
    struct virtio_blk_config config;

    if (!blk_driver_has(blk, VIRTIO_BLK_F_MQ)) {
        return 1;
    }
    read_config(blk, &config);
    return config.num_queues > 0 ? config.num_queues : 1;
}

/* Source: VIRTIO 1.2, 4.1.5.1.3.1 "Legacy Interface: A Note on Virtqueue Configuration". */
static unsigned ring_size(const struct blk_driver_opts *opts, unsigned max_size)
{
    unsigned size = opts->queue_size;

    if (opts->is_size_fixed || size > max_size) {
        size = max_size;
    }
    return is_power_of_2(size) && size <= BLK_DRIVER_MAX_SIZE ? size : 0;
}

static int set_up_ring(struct blk_driver *blk, unsigned index)
{
    const struct blk_driver_opts *opts = &blk->opts;
    struct blk_driver_queue *queue = &opts->queue[index];
    uint8_t *memory = (uint8_t *)opts->ring_memory + blk_driver_ring_bytes(opts) * index;
    unsigned size = ring_size(opts, opts->ops->max_size(opts->bus, index));

    if (size == 0) {
        return BLK_DRIVER_REFUSED;
    }
    memset(queue, 0, sizeof(*queue));
    queue->index = index;
    queue->is_indirect = blk_driver_has(blk, VIRTIO_RING_F_INDIRECT_DESC);
    if (blk_driver_has(blk, VIRTIO_F_RING_PACKED)) {
        ring_driver_init_packed(&queue->ring, size, memory, opts->offset, queue->chain);
    } else {
        ring_driver_init(&queue->ring, size, ring_align(opts), memory, opts->offset, queue->chain);
    }
    queue->ring.has_vague_len = opts->is_legacy;
    queue->ring.has_event_idx = blk_driver_has(blk, VIRTIO_RING_F_EVENT_IDX);
    return opts->ops->set_ring(opts->bus, index, &queue->ring) < 0 ? BLK_DRIVER_REFUSED : 0;
}

int blk_driver_start(struct blk_driver *blk, const struct blk_driver_opts *opts)
{
    int ret;

    memset(blk, 0, sizeof(*blk));
    blk->opts = *opts;
    reset_device(blk);
    add_status(blk, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    add_status(blk, VIRTIO_CONFIG_S_DRIVER);
    ret = negotiate_features(blk);
    if (ret == 0) {
        blk->queues = min_of(opts->queues, offered_queues(blk));
    }
    for (unsigned i = 0; ret == 0 && i < blk->queues; i++) {
        ret = set_up_ring(blk, i);
    }
    if (ret < 0) {
        add_status(blk, VIRTIO_CONFIG_S_FAILED);
        return ret;
    }
    add_status(blk, VIRTIO_CONFIG_S_DRIVER_OK);
    blk_driver_read_shape(blk);
    return 0;
}

void blk_driver_stop(struct blk_driver *blk)
{
    reset_device(blk);
}

uint64_t blk_driver_blocks(const struct blk_driver *blk)
{
    return blk->capacity / blk_driver_sectors_per_block(blk);
}

uint64_t blk_driver_cylinders(const struct blk_driver *blk)
{
    return blk->capacity / ((uint64_t)blk->heads * blk->sectors);
}

unsigned blk_driver_sectors_per_block(const struct blk_driver *blk)
{
    return blk->block_size / SECTOR_SIZE;
}
