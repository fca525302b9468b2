/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The lanes of a device as one thing: stop them all between two turns, change how many there
 * are, give each its way to the image, wait until they are drained, learn what they found.
 * Part of a device.  Disk thread only.
 *
 * Who may touch what.  A running lane reads what it needs for a turn (its view, and `drains`) and
 * writes what is of itself and of its queues (indexes, requests, faults, statistics, an ended kick
 * fd).  The disk's thread may touch all of that while the lanes are parked, and writes what lanes
 * read then only; so neither side needs atomics or locks, as parking orders memory (lane_thread.h).
 * What lanes only read, and the set-up of rings, which the disk's thread alone writes, it may read
 * at any time.
 * With a single lane, which is the disk's thread's own, parking does nothing.
 */

#include "core/block/image.h"
#include "core/device/device_choice.h"
#include "core/device/drain.h"
#include "core/device/lane_map.h"
#include "core/device/queue.h"

struct lanes {
    struct lane_view *view;       /* the parent's */
    struct lane *lane[LANES_MAX]; /* owned, but for `first`, which it begins with */
    unsigned count;
    struct image *image;  /* owned while it is attached, NULL: it is closed */
    struct drain *drains; /* waiting */
    struct stats past;    /* of lanes that are gone */
    struct message tell;

    /* A lane holds a request for which the disk is to pause.  Parked. */
    void (*failed)(struct lanes *lanes);
    uint8_t apart[CACHE_LINE]; /* from here on, what threads write in their turns */
    _Atomic bool is_telling;   /* `tell` is on its way to the disk's thread */
    struct lane first;         /* on the disk's own thread */
    uint8_t apart_from_queues[CACHE_LINE];
};

/* All zero to begin with.  The first is there afterwards. */
int lanes_init(struct lanes *lanes, struct lane_view *view, uv_loop_t *loop);

/* See device_park.  All below is called with the lanes parked. */
void lanes_park(struct lanes *lanes);
void lanes_unpark(struct lanes *lanes);

/* End all but the first. */
void lanes_close(struct lanes *lanes);

/* See device_set_lanes, device_has_lanes and device_stats. */
int lanes_set(struct lanes *lanes, unsigned count, const struct lane_map *map, struct err *err);
bool lanes_are(const struct lanes *lanes, unsigned count, const struct lane_map *map);
void lanes_stats(struct lanes *lanes, struct stats *stats);

/* As device_attach and device_detach; that the image fits is known. */
int lanes_attach(struct lanes *lanes, struct image *image, struct err *err);
struct image *lanes_detach(struct lanes *lanes);

/*
 * Give each another way to the image, whose root is another by now; nothing is in flight.  Where
 * one of them has none all keep the ways that they have.
 */
int lanes_reattach(struct lanes *lanes, struct err *err);

/* Let each look at all its rings as if they had been kicked. */
void lanes_look(struct lanes *lanes);

/* No ring waits for a limit any more: see lane_gate_lift. */
void lanes_lift(struct lanes *lanes, struct throttle *told);

/* Wait for the ring, or for the whole device (DRAIN_DEVICE), to have nothing in flight. */
void lanes_drain(struct lanes *lanes, int ring, struct drain *drain);
void lanes_drain_cancel(struct lanes *lanes, struct drain *drain);
