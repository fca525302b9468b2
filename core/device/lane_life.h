/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A lane from its first handle to its last, and its way to the image.
 * The loop's thread, or the disk's own while that one is parked.
 */

#include "core/device/lane.h"

/* Returns 0 or -errno (no mailbox, no memory).  `turned` may change whatever its thread may. */
int lane_init(struct lane *lane, struct lane_view *view, unsigned index, uv_loop_t *loop,
              void (*turned)(struct lane *lane), void *owner);

/* Nothing in flight, image detached, rings reset or moved. */
void lane_close(struct lane *lane, void (*closed)(struct lane *lane));

/* A way of its own to the image, for this thread to use.  May block.  Nothing in flight. */
int lane_attach(struct lane *lane, struct image *image, struct err *err);
void lane_detach(struct lane *lane);
