/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device_change.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "core/block/image.h"
#include "core/device/device.h"
#include "core/device/device_state.h"

static int reopen_ways(void *arg, struct err *err)
{
    struct device *dev = arg;
    int ret = device_check_image(dev, image_facts(dev->lanes.image), err);

    return ret < 0 ? ret : lanes_reattach(&dev->lanes, err);
}

/* The disk has the new medium's size while its fit is looked at. */
static int change_medium(struct device *dev, struct device_change *change)
{
    const uint64_t before = dev->view.blk.opts.capacity;
    int ret;

    blk_set_capacity(&dev->view.blk, change->node->facts.size);
    ret = image_exchange(dev->lanes.image, &change->node, reopen_ways, dev, &change->err);
    if (ret < 0) {
        blk_set_capacity(&dev->view.blk, before);
    }
    return ret;
}

/* What was resized beside I/O, and is told of here, has to be what the guest has. */
static int set_size(struct device *dev, const struct node *node, uint64_t size, struct err *err)
{
    const uint32_t block = dev->view.blk.opts.logical_block;
    struct node *root = dev->lanes.image->root;
    int ret;

    if (device_is_logged(dev)) {
        return err_say(err, -EBUSY, "its guest is being migrated by now, and takes the size along");
    }
    if (node != root) {
        return err_say(err, -ESTALE, "the image has been changed since it was given another size");
    }
    if (!is_aligned(size, block)) {
        return err_say(err, -EINVAL,
                       "%" PRIu64 " bytes do not suit the logical block size %u that the guest "
                       "knows",
                       size, block);
    }
    ret = node_set_size(root, size, err);
    if (ret == 0) {
        blk_set_capacity(&dev->view.blk, size);
    }
    return ret;
}

/* Who stops a disk flushes its image and closes it, with nothing changed in between. */
static int check_open(const struct device *dev, struct err *err)
{
    if (!dev->lanes.image) {
        return err_say(err, -ENOENT, "there is no image to be changed, it is closed");
    }
    if (dev->view.pause_mask & (PAUSE_ADMIN | PAUSE_EXIT)) {
        return err_say(err, -ECANCELED, "the image is about to be closed");
    }
    return 0;
}

/* One change at a time. */
static int check_free(const struct device *dev, struct err *err)
{
    if (dev->lanes.image && dev->change) {
        return err_say(err, -EBUSY, "the image is being changed already");
    }
    return check_open(dev, err);
}

int device_grow(struct device *dev, const struct node *node, uint64_t size, struct err *err)
{
    int ret = check_free(dev, err);

    assert(size > dev->view.blk.opts.capacity);
    return ret < 0 ? ret : parked(dev, set_size(dev, node, size, err));
}

static int make_change(struct device *dev, struct device_change *change)
{
    struct image *image = dev->lanes.image;
    struct err *err = &change->err;

    switch (change->kind) {
    case CHANGE_INSERT:
        return image_insert(image, &change->node, reopen_ways, dev, err);
    case CHANGE_REMOVE:
        return image_remove(image, &change->node, reopen_ways, dev, err);
    case CHANGE_SWAP:
        return image_swap(image, &change->node, reopen_ways, dev, err);
    case CHANGE_MEDIUM:
        return change_medium(dev, change);
    case CHANGE_SIZE:
    default:
        return set_size(dev, change->node, change->size_bytes, err);
    }
}

/* It is over, one way or the other. */
static void finish_change(struct device *dev, struct device_change *change)
{
    dev->change = NULL;
    device_resume(dev, PAUSE_IMAGE);
    change->done(change);
}

static void on_drained(struct drain *drain)
{
    struct device_change *change = containerof(drain, struct device_change, drain);

    device_park(change->dev);
    change->err.code = check_open(change->dev, &change->err);
    if (change->err.code == 0) {
        change->err.code = make_change(change->dev, change);
    }
    device_unpark(change->dev);
    finish_change(change->dev, change);
}

int device_change_begin(struct device *dev, struct device_change *change, struct err *err)
{
    int ret = check_free(dev, err);

    if (ret < 0) {
        return ret;
    }
    dev->change = change;
    change->dev = dev;
    change->err.code = 0;
    change->drain = (struct drain){.done = on_drained};
    device_pause(dev, PAUSE_IMAGE, &change->drain);
    return 0;
}

void device_change_cancel(struct device *dev, struct device_change *change)
{
    if (dev->change == change) {
        dev->change = NULL;
        device_drain_cancel(dev, &change->drain);
        device_resume(dev, PAUSE_IMAGE);
    }
}

void device_change_end(struct device *dev, int code, const char *why)
{
    struct device_change *change = dev->change;

    if (change) {
        (void)err_say(&change->err, code, "%s", why);
        device_drain_cancel(dev, &change->drain);
        finish_change(dev, change);
    }
}
