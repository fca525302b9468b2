/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The lanes of a device as one thing: stop them all between two turns, change how many there
 * are, give each its way to the image, learn what they found.
 * Disk thread only.
 *
 * Who may touch what.  A running lane reads of its device what it needs for a turn (pause_mask,
 * drains, blk, mem, features) and writes what is of itself and of its rings (indexes, requests,
 * faults, statistics, an ended kick fd).  The disk's thread may touch all of that while the
 * lanes are parked, and writes what lanes read then only; so neither side needs atomics or
 * locks, as parking orders memory (lane_thread.h).  What lanes only read, and the set-up of
 * rings, which the disk's thread alone writes, it may read at any time.
 * With a single lane, which is the disk's thread's own, parking does nothing.
 */

#include "core/device.h"

void device_lanes_init(struct device *dev);

/* As device_attach and device_detach: beside the first lane's, which has `backend` already. */
int device_lanes_open_image(struct device *dev, struct backend *backend, struct err *err);
void device_lanes_close_image(struct device *dev);

/* Let each look at all its rings as if they had been kicked. */
void device_lanes_look(struct device *dev);

/* The memory that the device's threads watch is new. */
void device_lanes_watch_memory(struct device *dev);

/* `turned` of each lane: end drains, tell of lost memory. */
void device_lanes_on_turned(struct lane *lane);

/* End all but the first. */
void device_lanes_close(struct device *dev);
