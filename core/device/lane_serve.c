/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_serve.h"

#include <errno.h>

#include "core/device/lane_delay.h"
#include "core/device/lane_finish.h"
#include "core/device/lane_gate.h"
#include "core/device/lane_refusal.h"
#include "core/device/lane_start.h"

/*
 * What an image does within the call (RAM does) is popped in batches of about half of what is in
 * the ring: then they are submitted, and what has finished is shown.  So the guest works on the
 * answers of the first half while we do the second; taken all at once, each would wait for the
 * others.  Larger batches save no more system calls to speak of.
 *
 * How many are right for an image that goes on with its work after the call is learned (batch.h).
 */
#define HALF_MIN 16u
#define HALF_MID 24u
#define HALF_MAX 32u

static unsigned index_behind(const struct queue *q)
{
    return (q->index + 1) % BLK_MAX_QUEUES;
}

/*
 * May it go, by the limits that there are?  Who had one goes last when rings may go on again, or
 * others would never have one.
 */
static __attribute__((noinline)) bool is_admitted(struct lane *lane, struct request *request)
{
    uint64_t opens_ns;

    if (lane_delay_lets(lane, request, &opens_ns)) {
        lane->first = index_behind(request->queue);
        return true;
    }
    lane_gate_wake_at(lane, opens_ns);
    return false;
}

/* Returns false when the ring is broken by it. */
static bool take_request(struct queue *q, struct request *request)
{
    struct lane *lane = q->lane;

    request->queue = q;
    request->start_ns = lane->now_ns;
    request->io.done = lane_on_io_done;
    request->io.frame = request->frame;
    lane->flight.guest++;
    if (lane->flight.guest > lane->stats.inflight_max) {
        lane->stats.inflight_max = lane->flight.guest;
    }
    switch (blk_parse(&lane->view->blk, request, &lane->stats)) {
    case BLK_SUBMIT:
        if (!lane->view->throttle || is_admitted(lane, request)) {
            lane_start(lane, request);
        }
        return true;
    case BLK_ANSWERED:
        if (request->io.result < 0) {
            lane_tell_refusal(q, request);
        }
        lane_finish(request);
        return true;
    case BLK_BROKEN:
    default:
        lane->flight.guest--;
        ring_drop(&q->ring, &request->chain);
        ring_break(&q->ring, request->chain.fault ? request->chain.fault
                                                  : "a request has no place for its status");
        return false;
    }
}

/* Of a ring, leaving aside what is learned. */
static unsigned half_of(const struct ring *ring)
{
    return ring_has_ahead(ring, 2 * HALF_MAX)   ? HALF_MAX
           : ring_has_ahead(ring, 2 * HALF_MID) ? HALF_MID
                                                : HALF_MIN;
}

/* Where it is learned, this is for what counts nothing: flushes, and what is refused or merged. */
static unsigned most_of(const struct lane *lane, const struct ring *ring)
{
    if (!lane_learns(lane)) {
        return half_of(ring);
    }
    return lane->batch.fixed > HALF_MAX ? lane->batch.fixed : HALF_MAX;
}

/* What looks like the driver's fault may be the zero pages in the place of lost memory. */
static void tell_fault(struct queue *q)
{
    if (mem_is_lost(&q->view->mem)) {
        ring_break(&q->ring, mem_why_lost(&q->view->mem));
    }
    queue_tell_fault(q);
}

/* This is all that a disk without limits has of them. */
static bool may_pop(struct lane *lane, struct queue *q)
{
    return !lane->view->throttle || lane_gate_lets(lane, q);
}

/* Pop a batch and return how many there were; kicks are off from here on, until the lane sleeps. */
static unsigned serve_ring(struct lane *lane, struct queue *q)
{
    unsigned batch = most_of(lane, &q->ring);
    unsigned popped = 0;
    struct chain *chain;
    int ret = 0;

    lane->used |= BIT(q->index);
    lane_kicks_off(lane, q);
    while (popped < batch && !lane->batch.is_full && may_pop(lane, q) &&
           (ret = ring_pop(&q->ring, &chain)) > 0) {
        popped++;
        if (!take_request(q, containerof(chain, struct request, chain))) {
            ret = -EPROTO;
            break;
        }
    }
    if (ret == -EAGAIN) {
        lane->aside |= BIT(q->index);
    } else if (ret < 0) {
        tell_fault(q);
    } else if (popped == batch || lane->batch.is_full) {
        lane->ready |= BIT(q->index);
    }
    return popped;
}

/* A ring of a set, taken out of it: from ring `first` on and round. */
static struct queue *take_in_turn(struct lane *lane, uint64_t *set, unsigned first)
{
    uint64_t behind = *set & ~0ull << first;
    unsigned index = (unsigned)__builtin_ctzll(behind ? behind : *set);

    *set &= ~BIT(index);
    return &lane->view->queue[index];
}

static unsigned serve_if_live(struct lane *lane, struct queue *q)
{
    return q->lane == lane && queue_is_live(q) ? serve_ring(lane, q) : 0;
}

/* The clock is looked at after every few requests only: a look takes as long as a part of one. */
static bool is_turn_over(struct lane *lane, unsigned *popped)
{
    if (*popped < HALF_MIN) {
        return false;
    }
    *popped = 0;
    lane->now_ns = now_ns();
    return lane->now_ns >= lane->turn_end_ns;
}

/*
 * The rings that were set aside take turns, or the first would leave nothing to the others; and
 * they go before those that were kicked, which would take the arrays.
 */
static void serve_aside(struct lane *lane, unsigned *popped)
{
    int left;

    if (!lane_has_array(lane)) {
        return;
    }
    left = __builtin_popcountll(lane->aside);
    while (left-- > 0 && lane_has_array(lane) && !lane->batch.is_full &&
           !is_turn_over(lane, popped)) {
        struct queue *q = take_in_turn(lane, &lane->aside, lane->first_aside);

        lane->first_aside = index_behind(q);
        *popped += serve_if_live(lane, q);
    }
}

/*
 * A batch of each ring.  What the driver makes of its chains decides how long that takes, so what
 * there is no time for is left for the next turn, which begins with it.
 */
void lane_serve(struct lane *lane)
{
    unsigned popped = 0;
    uint64_t ready;

    if (!lane_has_ready(lane)) {
        return;
    }
    ready = lane->ready;
    lane->ready = 0;
    if (!lane->aside_had_all) {
        serve_aside(lane, &popped);
    }
    lane->aside_had_all = !lane->aside_had_all && lane->batch.is_full;
    ready &= ~lane_resting_rings(lane);
    while (ready && !lane->batch.is_full) {
        struct queue *q = take_in_turn(lane, &ready, lane->first);

        popped += serve_if_live(lane, q);
        if (ready && (lane->batch.is_full || is_turn_over(lane, &popped))) {
            lane->first = index_behind(q);
            break;
        }
    }
    lane->ready |= ready;
}
