/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The device's view of a driver's ring, in memory whose regions have the same addresses for the
 * guest and for its front-end.
 */

#include <assert.h>

#include "core/driver/ring_driver.h"
#include "core/virtio/ring.h"

static inline struct ring_parts find_parts(struct mem *mem, const struct ring_driver *drv)
{
    const struct ring_addr addr = {
        .desc = ring_driver_addr(drv, drv->desc),
        .avail = ring_driver_addr(drv, drv->avail),
        .used = ring_driver_addr(drv, drv->used),
    };
    struct ring_parts parts;
    int ret = ring_find(&parts, mem, &addr, drv->size, drv->is_packed, NULL);

    assert(ret == 0);
    (void)ret;
    return parts;
}
