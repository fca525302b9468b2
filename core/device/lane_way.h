/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A lane's way to the image: its path, the leaves of that, and their watches.  It is opened and
 * closed by the lane's own thread, as an engine may belong to it.
 * Thread: the disk's, with the lane parked and nothing in flight on it.
 */

#include "core/device/lane.h"

/* One that a lane does not use, but will or did. */
struct lane_way {
    struct path *path; /* owned, NULL: none */
    unsigned leaf_count;
    struct path *leaf[CONTEXT_LEAVES];
    struct watch *watch[CONTEXT_LEAVES]; /* owned */
};

int lane_way_open(struct lane *lane, struct image *image, struct err *err);

/* Nothing happens when there is none. */
void lane_way_close(struct lane *lane);

/* Open another, to the image as it is now, and use that; `before` is the one that was used. */
int lane_way_change(struct lane *lane, struct image *image, struct lane_way *before,
                    struct err *err);

/* Close the one that was used before, or use it again and close the other. */
void lane_way_keep(struct lane *lane, struct lane_way *before);
void lane_way_go_back(struct lane *lane, struct lane_way *before);

/* Its thread, and those that help it on its way, run on these CPUs.  -EINVAL: none of them is
 * there. */
int lane_way_use_cpus(struct lane *lane, const struct cpus *cpus);
