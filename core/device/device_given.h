/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a front-end and a driver have told a device, for another process that goes on with it; and
 * the little of it that no message says.  Nothing is in flight, and the device is paused: for as
 * long as the other one may touch the rings. Plain values; descriptors are lent.  Disk thread only.
 */

#include "core/device/device.h"

struct device_given_ring {
    unsigned size;
    uint32_t base; /* where it is, or would go on */
    struct ring_addr addr;
    uint64_t log_addr;
    int kick_fd; /* -1: none, as of the next two */
    int call_fd;
    int err_fd;
    unsigned held; /* requests that wait for a start */
    bool has_base;
    bool has_addr;
    bool is_logged;
    bool is_enabled;
    bool has_started; /* since it was reset */
    bool is_running;
    bool is_broken;
    bool has_inflight_log;
};

void device_give_ring(struct device *dev, unsigned index, struct device_given_ring *ring);

/* A log: its file; -1: there is none, or it cannot be passed on. */
struct device_given_log {
    int fd;
    bool is_there;
    uint64_t bytes;
    uint64_t offset;
    unsigned queues; /* of requests in flight: that it is divided among */
};

/* The log of a migration, and of requests in flight. */
void device_give_dirty_log(const struct device *dev, struct device_given_log *log);
void device_give_inflight_log(const struct device *dev, struct device_given_log *log);

/* Whether it is there or not: are stores of requests to be marked? */
bool device_wants_log(const struct device *dev);

/* Regions of memory by number; -1: there are no more.  `*fd` is -1 when it cannot be passed on. */
int device_give_region(const struct device *dev, unsigned number, struct mem_layout *layout,
                       int *fd);

/* Is memory lost, so that it cannot be mapped again? */
bool device_has_lost_memory(const struct device *dev);

bool device_is_vouched(const struct device *dev);

/* ---- the other process, whose rings have not started yet ---- */

/* It has run since it was reset, in another process: its driver is no other one. */
void device_take_started(struct device *dev, unsigned index);

/* What was known of the driver's cache: see blk_doubt and blk_vouch. */
void device_take_cache(struct device *dev, bool is_in_doubt, bool is_vouched);

/* After its start: the driver had broken it. */
void device_take_broken(struct device *dev, unsigned index);
