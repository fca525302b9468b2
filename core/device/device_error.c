/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A request that failed, and is held for a person, pauses its disk (error_policy.h).  Its lane
 * takes no more at once; the others when the disk's thread has been told.  What they have in flight
 * ends, or fails and is held as well.  The pause is over with a start, or when nothing is held any
 * more.
 */

#include <inttypes.h>
#include <string.h>

#include "core/device/device.h"
#include "core/device/device_state.h"
#include "core/device/lane_mark.h"

static void add_held(struct held *sum, const struct held *held)
{
    for (unsigned i = 0; i < STATS_TYPES; i++) {
        sum->count[i] += held->count[i];
    }
    sum->pauses |= held->pauses;
    if (held->first.code < 0 &&
        (sum->first.code == 0 || held->first.since_ns < sum->first.since_ns)) {
        sum->first = held->first;
    }
}

void device_sum_held(const struct device *dev, struct held *sum)
{
    *sum = (struct held){0};
    for (unsigned i = 0; i < dev->view.queues; i++) {
        add_held(sum, &dev->queue[i].held);
    }
}

static void tell_pause(const struct device *dev, const struct held_failure *first)
{
    log_error("%s: %s of %" PRIu64 " bytes at offset %" PRIu64
              " failed: %s; the disk is paused, and the guest waits: %s, and start the disk",
              dev->view.name, stats_type_name(first->kind), first->length, first->offset,
              error_text(first->code),
              error_is_no_space(first->code) ? "make room for its image" : "see to its image");
}

/* What was offered again, and was not popped yet, waits for the next start as well. */
void device_on_failed(struct lanes *lanes)
{
    struct device *dev = containerof(lanes, struct device, lanes);
    struct held held;

    device_sum_held(dev, &held);
    if (!held.pauses) {
        return; /* its ring has ended */
    }
    if (!(dev->view.pause_mask & PAUSE_ERROR)) {
        tell_pause(dev, &held.first);
    }
    for (unsigned i = 0; i < dev->view.queues; i++) {
        ring_retry_end(&dev->queue[i].ring);
    }
    device_pause(dev, PAUSE_ERROR, NULL);
}

static bool retry_ring(struct queue *q)
{
    if (q->ring.held_count == 0) {
        return false;
    }
    ring_retry(&q->ring);
    q->held = (struct held){0};
    memset(q->lane->errnos_told, 0, sizeof(q->lane->errnos_told));
    lane_look(q->lane, q->index);
    return true;
}

/* A failure that no lane has told of yet is tried again with the others. */
bool device_retry(struct device *dev)
{
    bool has_any = false;

    device_park(dev);
    for (unsigned i = 0; i < dev->view.queues; i++) {
        has_any |= retry_ring(&dev->queue[i]);
    }
    for (unsigned i = 0; i < dev->lanes.count; i++) {
        dev->lanes.lane[i]->has_failed = false;
    }
    if (dev->view.pause_mask & PAUSE_ERROR) {
        device_resume(dev, PAUSE_ERROR);
    }
    device_unpark(dev);
    return has_any;
}

/* What is left then is what the pause has kept from being tried. */
void device_end_error(struct device *dev)
{
    struct held held;

    device_sum_held(dev, &held);
    if ((dev->view.pause_mask & PAUSE_ERROR) && !held.pauses) {
        (void)device_retry(dev);
    }
}

static void for_each_held(struct device *dev, void (*fail)(struct ring_setup *r))
{
    device_park(dev);
    for (unsigned i = 0; i < dev->view.queues; i++) {
        fail(&dev->ring[i]);
        if (dev->queue[i].ring.held_count == 0) {
            dev->queue[i].held = (struct held){0};
        }
    }
    device_end_error(dev);
    device_unpark(dev);
}

void device_fail_held(struct device *dev)
{
    for_each_held(dev, ring_setup_fail_held);
}

void device_outdate_held(struct device *dev)
{
    for_each_held(dev, ring_setup_outdate);
}

void device_set_errors(struct device *dev, const struct error_policy *policy)
{
    device_park(dev);
    dev->view.errors = *policy;
    device_unpark(dev);
}
