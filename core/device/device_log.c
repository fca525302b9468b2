/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The log of a live migration, as the front-end switches it: by parts, in any order.
 */

#include "core/device/device.h"
#include "core/device/device_state.h"

/* Whatever changed, lanes and rings mark what they are to. */
static void use_log(struct device *dev)
{
    dev->view.logs_data = dev->wants_data_logged && dev->view.mem.log.bits;
    for (unsigned i = 0; i < dev->view.queues; i++) {
        ring_setup_use_log(&dev->ring[i]);
    }
}

static bool is_log_wanted(const struct device *dev)
{
    for (unsigned i = 0; i < dev->view.queues; i++) {
        if (dev->ring[i].is_logged) {
            return true;
        }
    }
    return dev->wants_data_logged;
}

static int check_rings(const struct device *dev, uint64_t bytes, struct err *err)
{
    const struct dirty_log log = {.bytes = bytes};
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < dev->view.queues; i++) {
        ret = ring_setup_check_log(&dev->ring[i], &log, err);
    }
    return ret;
}

int device_log_open(struct device *dev, uint64_t bytes, uint64_t offset, int fd, struct err *err)
{
    int ret = check_rings(dev, bytes, err);

    if (ret == 0) {
        device_park(dev);
        ret = mem_log_open(&dev->view.mem, bytes, offset, fd, err);
        use_log(dev);
        device_unpark(dev);
    }
    return ret;
}

/*
 * Front-ends do not say when a log ends.  Kept, it would have to cover memory that comes long after
 * the migration.
 */
static void end_unwanted(struct device *dev)
{
    if (is_log_wanted(dev)) {
        use_log(dev);
    } else {
        device_log_end(dev);
    }
}

void device_log_end(struct device *dev)
{
    dev->wants_data_logged = false;
    use_log(dev);
    mem_log_close(&dev->view.mem);
    use_log(dev);
}

void device_log_data(struct device *dev, bool on)
{
    if (on == dev->wants_data_logged) {
        return;
    }
    device_park(dev);
    dev->wants_data_logged = on;
    end_unwanted(dev);
    device_unpark(dev);
}

bool device_is_logged(const struct device *dev)
{
    return dev->view.logs_data;
}

static int set_ring_log(struct device *dev, unsigned index, bool on, uint64_t addr, struct err *err)
{
    bool was_on = dev->ring[index].is_logged;
    int ret = ring_setup_log(&dev->ring[index], on, addr, err);

    if (ret == 0 && was_on && !on) {
        end_unwanted(dev);
    }
    return ret;
}

int device_ring_set_log(struct device *dev, unsigned index, bool on, uint64_t addr, struct err *err)
{
    int ret = device_check_ring(dev, index, err);

    return ret < 0 ? ret : parked(dev, set_ring_log(dev, index, on, addr, err));
}
