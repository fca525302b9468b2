/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A lane beyond a disk's first: one that has a thread and a loop of its own.
 *
 * A parked thread waits within a message, between two callbacks of its loop, until it is let
 * go.  Meanwhile the disk's own thread may touch all of the lane, handles of its loop
 * included, as if it were that callback.  Both semaphores order memory: what either side
 * wrote before it let the other go on is seen by the other.
 * Thread: the disk's own, for all of this.
 */

#include "core/base/err.h"
#include "core/device/lane.h"

/* The lane is parked from its first moment.  Returns 0 or -errno. */
int lane_thread_start(struct lane **out, struct lane_view *view, unsigned index,
                      void (*turned)(struct lane *lane), void *owner, struct err *err);

/* End the thread and free the lane, which is parked, serves no ring and has no image. */
void lane_thread_stop(struct lane *lane);

/*
 * In two steps, so that several can be asked before the first is awaited.  It takes until the
 * lane's turn ends: a millisecond at most, unless a system call of it blocks.
 */
void lane_thread_ask_park(struct lane *lane);
void lane_thread_await_park(struct lane *lane);

void lane_thread_unpark(struct lane *lane);

/* Run something on the lane's thread, which is parked, and wait for its end. */
void lane_thread_call(struct lane *lane, void (*call)(void *arg), void *arg);
