/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who says how fast a disk may go, in one of two ways.
 *
 * By rings: a lane asks before it takes a request out of a ring (opens_ns), and tells of each that
 * it took: only then is it known what it is, so whoever counts bytes lets one go and has the next
 * wait for it.  What may not go yet stays in its ring (lane_gate.h), with nothing of it popped, so
 * it moves with the ring and nothing waits for it.
 *
 * By requests, where some may go past others: a lane asks of each that it took (admits_ns), and
 * those that may not go yet wait in it (lane_delay.h), in their order.
 *
 * Whoever implements it knows that
 * - `now_ns` is the asking lane's own, a turn old at most: of two calls by different lanes the
 *   later may have the earlier time.
 * - lanes ask by ring before others have told of what they were let: each may take one more than
 *   there is room for, which is to be paid for by what comes next.
 * - a lane's timer wakes it one to two milliseconds after the time that it was told, and more on a
 *   busy machine: what is saved up meanwhile must not be lost, or a disk never has its rate.  Two
 *   milliseconds' worth is the least that a bucket holds.
 *
 * Embedded in the one who knows the limits, and lent to the device.
 * Thread: those of all disks that have it, at once.
 */

#include <stdint.h>

struct queue;
struct request;

struct throttle;

struct throttle_ops {
    /* From when on may the next of this ring go?  `now_ns`, or what is before that: at once. */
    uint64_t (*opens_ns)(struct throttle *throttle, const struct queue *q, uint64_t now_ns);

    /*
     * From when on may this one go, which was taken?  `now_ns`, or what is before that: it goes,
     * and was counted.  NULL: what was taken goes, and is told of.
     */
    uint64_t (*admits_ns)(struct throttle *throttle, const struct request *request,
                          uint64_t now_ns);

    /* One goes to the image, unasked. */
    void (*took)(struct throttle *throttle, const struct request *request, uint64_t now_ns);

    /* Nothing of this ring waits any more, whatever it was told.  NULL: need not be told. */
    void (*left)(struct throttle *throttle, const struct queue *q);
};

struct throttle {
    const struct throttle_ops *ops;
};
