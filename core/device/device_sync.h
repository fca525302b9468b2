/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A flush of a device's image that is ours, and no guest's: it has no ring, and touches no guest
 * memory.  It counts as our own in the lane's flight: a drain waits for it unless it is for guests
 * only. Embedded in the one who waits.  Thread: the disk's.
 */

#include "core/block/io.h"

struct device;

struct device_sync {
    struct io io;
    struct device *dev;                     /* parent */
    void (*done)(struct device_sync *sync); /* io.result: 0 or -errno */
    uint64_t begun_ns;                      /* now_ns; 0: it is not under way */
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

/*
 * Flush what was written to the image until now.  `done` runs once, maybe within this call, and
 * may neither close the image nor begin anew.
 */
void device_sync(struct device *dev, struct device_sync *sync,
                 void (*done)(struct device_sync *sync));
