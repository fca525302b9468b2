/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The inside of a device, for its own files and for tests.
 */

#include "core/device/lanes.h"
#include "core/device/ring_setup.h"

struct device_change;
struct device_opts;

struct device {
    struct lane_view view;
    void (*closed)(void *arg);
    void *arg;
    bool wants_data_logged;       /* as the front-end says, whether there is a log or not */
    struct device_change *change; /* of the image, lent, NULL: none is waited for */
    unsigned inflight_queues;     /* that the log of requests in flight is divided among */
    uint64_t inflight_stride;     /* bytes of each */
    struct lanes lanes;
    struct queue queue[BLK_MAX_QUEUES];
    struct ring_setup ring[BLK_MAX_QUEUES];
};

/* What a call returns that is made with the lanes parked: doors of device.h that are no more. */
#define parked(dev, call)           \
    ({                              \
        __typeof__(call) returned_; \
                                    \
        device_park(dev);           \
        returned_ = (call);         \
        device_unpark(dev);         \
        returned_;                  \
    })

/* Is the image what the guest knows of the disk, or more?  Returns 0 or -EINVAL. */
int device_check_image(const struct device *dev, const struct node_facts *image, struct err *err);

/* Is there such a ring?  Returns 0 or -EINVAL. */
int device_check_ring(const struct device *dev, unsigned index, struct err *err);

/* Nothing is logged any more, and the log is given up.  Parked. */
void device_log_end(struct device *dev);

/* Rings that start from now on use the log of requests in flight, or none.  Parked. */
void device_inflight_use(struct device *dev);

/* The driver begins anew: what it says was in flight is not tried again.  Parked. */
void device_inflight_forget(struct device *dev);

/* Give it up as it is.  Parked, and no ring runs. */
void device_inflight_close(struct device *dev);

/* A lane has found a failure for which the disk is to pause.  Parked. */
void device_on_failed(struct lanes *lanes);

/* Rings may have ended: with what they held a pause for it ends, too.  Parked. */
void device_end_error(struct device *dev);

/* All that is held, in figures.  Parked. */
void device_sum_held(const struct device *dev, struct held *sum);

/* Has the driver accepted packed rings? */
bool device_is_packed(const struct device *dev);

/* As device_new, in memory of the caller's. */
int device_init(struct device *dev, uv_loop_t *loop, const struct device_opts *opts,
                const struct blk_opts *blk, struct err *err);
