/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The parts of a device's rings, each as told by one message.
 */

#include <errno.h>

#include "core/device/device.h"
#include "core/device/device_state.h"
#include "core/device/lane_delay.h"
#include "core/device/lane_gate.h"
#include "core/device/lane_mark.h"

int device_check_ring(const struct device *dev, unsigned index, struct err *err)
{
    if (index >= dev->view.queues) {
        return err_say(err, -EINVAL, "ring %u: the disk has %u (0 to %u)", index, dev->view.queues,
                       dev->view.queues - 1);
    }
    return 0;
}

int device_ring_set_size(struct device *dev, unsigned index, unsigned size, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    return ret < 0 ? ret : parked(dev, ring_setup_size(&dev->ring[index], size, err));
}

int device_ring_set_addr(struct device *dev, unsigned index, const struct ring_addr *addr,
                         struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    return ret < 0 ? ret : parked(dev, ring_setup_addr(&dev->ring[index], addr, err));
}

int device_ring_set_base(struct device *dev, unsigned index, uint32_t base, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    return ret < 0 ? ret : parked(dev, ring_setup_base(&dev->ring[index], base, err));
}

int device_ring_set_kick(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    return ret < 0 ? ret : parked(dev, ring_setup_kick(&dev->ring[index], fd, err));
}

/* The driver may be waiting for a signal that went nowhere, or to the old fd: signal once. */
int device_ring_set_call(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    if (ret == 0) {
        device_park(dev);
        queue_set_call(&dev->queue[index], fd);
        queue_call(&dev->queue[index]);
        device_unpark(dev);
    }
    return ret;
}

int device_ring_set_err(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    if (ret == 0) {
        device_park(dev);
        queue_set_err(&dev->queue[index], fd);
        device_unpark(dev);
    }
    return ret;
}

int device_ring_enable(struct device *dev, unsigned index, bool on, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    if (ret == 0) {
        device_park(dev);
        dev->queue[index].is_enabled = on;
        if (on) {
            lane_look(dev->queue[index].lane, index);
        }
        device_unpark(dev);
    }
    return ret;
}

void device_ring_pause(struct device *dev, unsigned index, struct drain *drain)
{
    device_park(dev);
    dev->queue[index].is_paused = true;
    lane_gate_lift(dev->queue[index].lane, BIT(index), dev->view.throttle);
    lanes_drain(&dev->lanes, (int)index, drain);
    device_unpark(dev);
}

bool device_ring_has_inflight(const struct device *dev, unsigned index)
{
    return dev->queue[index].ring.layout.inflight.at != NULL;
}

void device_ring_suspend(struct device *dev, unsigned index, struct drain *drain)
{
    struct queue *q = &dev->queue[index];

    if (!device_ring_has_inflight(dev, index)) {
        device_ring_pause(dev, index, drain);
        return;
    }
    device_park(dev);
    q->is_paused = true;
    q->is_suspended = true;
    lane_delay_hold(q->lane, q);
    lane_gate_lift(q->lane, BIT(index), dev->view.throttle);
    lanes_drain(&dev->lanes, (int)index, drain);
    device_unpark(dev);
}

void device_ring_resume(struct device *dev, unsigned index)
{
    device_park(dev);
    dev->queue[index].is_paused = false;
    lane_look(dev->queue[index].lane, index);
    device_unpark(dev);
}

void device_ring_renew(struct device *dev, unsigned index)
{
    device_park(dev);
    ring_setup_renew(&dev->ring[index]);
    device_end_error(dev);
    device_unpark(dev);
}

uint32_t device_ring_stop(struct device *dev, unsigned index)
{
    device_park(dev);
    ring_setup_renew(&dev->ring[index]);
    device_end_error(dev);
    queue_set_call(&dev->queue[index], -1);
    device_unpark(dev);
    return dev->ring[index].base;
}
