/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What people can choose of a device while it is there.
 */

#include <stdint.h>

/* When a disk's thread looks for work instead of sleeping (spin.h). */
struct device_poll {
    uint32_t max_us;      /* of one spin, 0: never */
    uint32_t cpu_percent; /* share of a core that spinning may take, 1 to 100 */
};

#define DEVICE_POLL_US_DEFAULT 100
#define DEVICE_POLL_US_MAX 1000
#define DEVICE_POLL_CPU_DEFAULT 100

/* Requests that are given to the image at a time, at most. */
#define DEVICE_BATCH_MAX 128

/* Threads of one disk at most; no more than it has rings are of use. */
#define LANES_MAX 16
