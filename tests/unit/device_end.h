/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The end of a test's world: a device, drained for good by then, on a loop of its own. */

#include <assert.h>
#include <uv.h>

#include "core/block/image.h"
#include "core/device/device.h"

static inline void device_end_noted(void *is_closed)
{
    *(bool *)is_closed = true;
}

/* Its image, the device, and the loop, which has nothing else. */
static inline void device_end(struct device *dev, uv_loop_t *loop)
{
    bool is_closed = false;

    image_close(device_detach(dev));
    device_close(dev, device_end_noted, &is_closed);
    uv_run(loop, UV_RUN_DEFAULT);
    assert(is_closed);
    assert(uv_loop_close(loop) == 0);
}
