/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "core/block/image.h"
#include "core/device/device_change.h"
#include "core/device/device_state.h"
#include "core/base/features.h"

/* The last block is written as a whole, and would make the image longer. */
static int check_patched(const struct node_facts *image, struct err *err)
{
    if (!image->patched_block || is_aligned(image->size, image->patched_block)) {
        return 0;
    }
    err_say(err, -EINVAL,
            "its size, %" PRIu64 " bytes, is no multiple of the %u that it takes at a time: the "
            "last block would be cut",
            image->size, image->patched_block);
    err_hint(err, "make it %" PRIu64 " bytes (truncate -s; --size of a new one)",
             round_up(image->size, image->patched_block));
    return -EINVAL;
}

int device_check_image(const struct device *dev, const struct node_facts *image, struct err *err)
{
    uint64_t capacity = dev->view.blk.opts.capacity;

    if (image->size < capacity) {
        err_say(err, -EINVAL, "it has %" PRIu64 " bytes, the guest knows the disk with %" PRIu64,
                image->size, capacity);
        err_hint(err, "give it its size back, or remove the disk and add it again");
        return -EINVAL;
    }
    if (image->block_size > dev->view.blk.opts.logical_block ||
        !is_aligned(image->size, dev->view.blk.opts.logical_block)) {
        err_say(err, -EINVAL,
                "its blocks (%u bytes) or size (%" PRIu64 " bytes) do not suit the "
                "logical block size %u that the guest knows",
                image->block_size, image->size, dev->view.blk.opts.logical_block);
        if (image->block_size > SECTOR_SIZE && dev->view.blk.opts.logical_block == SECTOR_SIZE) {
            err_hint(err, "a disk that is added with --emulate-512 is served from it");
        }
        return -EINVAL;
    }
    return check_patched(image, err);
}

/* What a guest does by it would go wrong, so it is not served at all. */
static int check_shown(const struct device *dev, struct err *err)
{
    uint64_t unserved = device_unserved(dev);
    char text[FEATURES_TEXT_BYTES];

    if (!unserved) {
        return 0;
    }
    (void)err_say(err, -ENOTSUP,
                  "%s: its guest is shown features that this vblkd does not serve: %s",
                  dev->view.name, features_say(unserved, text));
    err_hint(err, "start a vblkd that serves them, or end the guest, remove the disk and add it "
                  "again");
    return -ENOTSUP;
}

int device_suits(const struct device *dev, const struct image *image, struct err *err)
{
    int ret = check_shown(dev, err);

    if (ret < 0) {
        return ret;
    }
    ret = device_check_image(dev, image_facts(image), err);
    if (ret < 0) {
        image_name_err(image, err);
    }
    return ret;
}

int device_attach(struct device *dev, struct image *image, struct err *err)
{
    uint64_t capacity = dev->view.blk.opts.capacity;
    int ret = device_suits(dev, image, err);

    if (ret < 0) {
        return ret;
    }
    device_park(dev);
    ret = lanes_attach(&dev->lanes, image, err);
    if (ret == 0) {
        blk_set_capacity(&dev->view.blk, image_facts(image)->size);
        ret = image_facts(image)->size > capacity;
    }
    device_unpark(dev);
    return ret;
}

/* Whoever is told that its change is not made may begin another, which finds no image. */
struct image *device_detach(struct device *dev)
{
    struct image *image = parked(dev, lanes_detach(&dev->lanes));

    device_change_end(dev, -ECANCELED, "the image was closed before it was changed");
    return image;
}

void device_set_capacity(struct device *dev, uint64_t bytes)
{
    assert(!dev->lanes.image);
    device_park(dev);
    blk_set_capacity(&dev->view.blk, bytes);
    device_unpark(dev);
}

struct image *device_image(const struct device *dev)
{
    return dev->lanes.image;
}
