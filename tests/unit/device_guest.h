/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A device and its guest without a socket between them: the front-end of tests/lib has memory and
 * rings, and the test tells the device what messages would tell it.
 * Thread: the disk's.
 */

#include "core/device/device.h"
#include "tests/lib/frontend.h"

/* All of the guest's memory. */
void device_guest_share(struct device *dev, const struct frontend *guest);

/* What the drivers accept. */
void device_guest_accept(struct device *dev, struct frontend *guest, uint64_t features);

struct ring_addr device_guest_addr(const struct frontend *guest, unsigned index);

/* A ring as it is in memory now, from `base` on. */
void device_guest_start_ring(struct device *dev, const struct frontend *guest, unsigned index,
                             uint32_t base);

/* Memory, features and all rings, each from the first request that was not shown; it goes on. */
void device_guest_start(struct device *dev, struct frontend *guest, uint64_t features);
