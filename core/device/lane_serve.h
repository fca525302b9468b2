/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Popping: what the rings of a lane have is parsed and started, a batch of each in turn.
 * The loop's thread, in a turn of the lane.
 */

#include "core/device/lane.h"
#include "core/device/queue.h"

static inline void lane_kicks_off(struct lane *lane, struct queue *q)
{
    if (!(lane->quiet & BIT(q->index))) {
        lane->quiet |= BIT(q->index);
        ring_kicks_off(&q->ring);
    }
}

/* Rings that go on when something else comes than a request: there is nothing to look at. */
static inline uint64_t lane_resting_rings(const struct lane *lane)
{
    return lane->aside | lane->gated;
}

/* Can a ring that was set aside go on? */
static inline bool lane_has_array(const struct lane *lane)
{
    return lane->aside && slots_has_free(&lane->arrays);
}

/* The disk is to pause as soon as one of its lanes has found a reason. */
static inline bool lane_is_paused(const struct lane *lane)
{
    return lane->view->pause_mask || lane->has_failed;
}

static inline bool lane_has_ready(const struct lane *lane)
{
    return (lane->ready || lane_has_array(lane)) && !lane_is_paused(lane);
}

/* A batch of each ring that has something, or as many as are to be given to the image at once. */
void lane_serve(struct lane *lane);
