/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The log of requests in flight, as the front-end hands it in: rings use it from when they start.
 */

#include <errno.h>
#include <inttypes.h>

#include "core/device/device.h"
#include "core/device/device_state.h"

/* Entries of both formats have words of 8 bytes. */
#define AREA_ALIGN 8u

static struct inflight_area area_of(const struct device *dev, unsigned index)
{
    const struct mem_region *region = &dev->view.mem.inflight_region;

    if (!region->host || index >= dev->inflight_queues) {
        return (struct inflight_area){0};
    }
    return (struct inflight_area){
        .at = region->host + (uint64_t)index * dev->inflight_stride,
        .bytes = dev->inflight_stride,
    };
}

void device_inflight_use(struct device *dev)
{
    for (unsigned i = 0; i < dev->view.queues; i++) {
        dev->ring[i].inflight = area_of(dev, i);
    }
}

int device_inflight_need(const struct device *dev, unsigned queues, unsigned queue_size,
                         uint64_t *bytes, struct err *err)
{
    if (queues == 0 || queues > dev->view.queues || queue_size == 0 || queue_size > RING_MAX_SIZE) {
        return err_say(err, -EINVAL, "%u rings of %u entries instead of 1 to %u of 1 to %u", queues,
                       queue_size, dev->view.queues, RING_MAX_SIZE);
    }
    *bytes = queues * ring_inflight_bytes(device_is_packed(dev), queue_size);
    return 0;
}

/* Whoever made it has divided it evenly, by a rule of its own. */
static int check_inflight(const struct device *dev, const struct device_inflight *log,
                          struct err *err)
{
    if (device_rings_running(dev) > 0) {
        return err_say(err, -EBUSY, "rings run: they have to be stopped (GET_VRING_BASE) first");
    }
    if (log->queues == 0 || log->bytes % log->queues != 0 ||
        !is_aligned(log->bytes / log->queues, AREA_ALIGN) || !is_aligned(log->offset, AREA_ALIGN)) {
        return err_say(err, -EINVAL,
                       "%" PRIu64 " bytes at %" PRIu64
                       " cannot be divided among %u rings, at multiples of %u bytes",
                       log->bytes, log->offset, log->queues, AREA_ALIGN);
    }
    return 0;
}

int device_inflight_open(struct device *dev, const struct device_inflight *log, int fd,
                         struct err *err)
{
    int ret = check_inflight(dev, log, err);

    if (ret < 0) {
        return ret;
    }
    device_park(dev);
    ret = mem_inflight_open(&dev->view.mem, log->bytes, log->offset, fd, err);
    if (ret == 0) {
        dev->inflight_queues = log->queues;
        dev->inflight_stride = log->bytes / log->queues;
        device_inflight_use(dev);
    }
    device_unpark(dev);
    return ret;
}

void device_inflight_forget(struct device *dev)
{
    for (unsigned i = 0; i < dev->view.queues; i++) {
        const struct inflight_area area = area_of(dev, i);

        if (area.bytes >= ring_inflight_bytes(device_is_packed(dev), 1)) {
            ring_inflight_forget(&area);
        }
    }
}

void device_inflight_close(struct device *dev)
{
    mem_inflight_close(&dev->view.mem);
    dev->inflight_queues = 0;
    device_inflight_use(dev);
}
