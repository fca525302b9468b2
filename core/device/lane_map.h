/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which of a device's threads serves which ring, and how people say it.  Plain values.
 * Thread: any.
 */

#include <stdint.h>

#include "core/base/err.h"
#include "core/virtio/blk_opts.h"

struct lane_map {
    uint8_t lane[BLK_MAX_QUEUES];
};

/* Room for a number of each ring. */
#define LANE_MAP_TEXT_BYTES 200

#define LANE_MAP_AUTO "auto"

/* In turn: ring i goes to the (i % lanes)th. */
struct lane_map lane_map_in_turn(unsigned lanes);

/*
 * "0,0,1,1": the numbers of the threads of the first rings, and again from the first for those that
 * follow; LANE_MAP_AUTO: in turn.  -EINVAL with a sentence when it is no such list, is longer than
 * there are `rings`, or leaves one of the `lanes` without a ring, or names one that there is not.
 */
int lane_map_parse(struct lane_map *map, const char *text, unsigned lanes, unsigned rings,
                   struct err *err);

/* The same where nobody says how many lanes and rings there are, so that no disk could have it. */
int lane_map_check(const char *text, struct err *err);
