/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_gate.h"

#include "core/device/lane_delay.h"
#include "core/device/lane_mark.h"
#include "core/device/queue.h"
#include "core/device/throttle.h"

void lane_gate_init(struct lane *lane)
{
    (void)uv_timer_init(lane->loop, &lane->gate); /* cannot fail */
    lane->gate.data = lane;
}

static void on_gate(uv_timer_t *timer);

/* The loop's clock may be behind, so it may fire early: a millisecond at least lies in between. */
static void set_timer(struct lane *lane, uint64_t opens_ns)
{
    uint64_t wait_ns = opens_ns > lane->now_ns ? opens_ns - lane->now_ns : 0;

    lane->gate_ns = opens_ns;
    (void)uv_timer_start(&lane->gate, on_gate, wait_ns / NS_PER_MS + 1, 0); /* cannot fail */
}

void lane_gate_wake_at(struct lane *lane, uint64_t opens_ns)
{
    if (!uv_is_active((uv_handle_t *)&lane->gate) || opens_ns < lane->gate_ns) {
        set_timer(lane, opens_ns);
    }
}

/* Those whose time has come; when the next of the others has its own is left in `*next_ns`. */
static uint64_t due_rings(const struct lane *lane, uint64_t *next_ns)
{
    uint64_t gated = lane->gated;
    uint64_t due = 0;

    *next_ns = UINT64_MAX;
    while (gated) {
        const struct queue *q = queue_take(lane->view, &gated);

        if (q->gate_ns <= lane->now_ns) {
            due |= BIT(q->index);
        } else {
            *next_ns = min_of(*next_ns, q->gate_ns);
        }
    }
    return due;
}

static void ungate_rings(struct lane *lane, uint64_t rings)
{
    rings &= lane->gated;
    if (!rings) {
        return;
    }
    lane->gated &= ~rings;
    lane->ready |= rings;
    if (!lane->gated && !lane->delayed) {
        (void)uv_timer_stop(&lane->gate);
    }
    spin_interrupt(&lane->spin);
    lane_wake(lane);
}

/* What was started is submitted by the turn. */
static void serve_late(struct lane *lane, uint64_t *next_ns)
{
    unsigned before = lane->flight.guest;

    *next_ns = min_of(*next_ns, lane_delay_serve(lane));
    if (lane->flight.guest != before || lane->unpublished) {
        spin_interrupt(&lane->spin);
        lane_wake(lane);
    }
}

static void on_gate(uv_timer_t *timer)
{
    struct lane *lane = timer->data;
    uint64_t next_ns;

    lane->now_ns = now_ns();
    ungate_rings(lane, due_rings(lane, &next_ns));
    if (lane->delayed) {
        serve_late(lane, &next_ns);
    }
    if (lane->gated || lane->delayed) {
        set_timer(lane, next_ns);
    }
}

static void gate_ring(struct lane *lane, struct queue *q, uint64_t opens_ns)
{
    if (q->gate_since_ns == 0) {
        q->gate_since_ns = lane->now_ns;
        lane->stats.throttled_requests++;
    }
    lane->gated |= BIT(q->index);
    q->gate_ns = opens_ns;
    lane_gate_wake_at(lane, opens_ns);
}

static void end_wait(struct lane *lane, struct queue *q, uint64_t now)
{
    if (q->gate_since_ns > 0) {
        lane->stats.throttled_ns += now - min_of(q->gate_since_ns, now);
        q->gate_since_ns = 0;
    }
}

/* Of a ring that has nothing nobody is asked, and its driver kicks, as ever. */
bool lane_gate_lets(struct lane *lane, struct queue *q)
{
    struct throttle *throttle = lane->view->throttle;
    uint64_t opens_ns;

    if (!ring_has_any(&q->ring)) {
        return false;
    }
    opens_ns = throttle->ops->opens_ns(throttle, q, lane->now_ns);
    if (opens_ns > lane->now_ns) {
        gate_ring(lane, q, opens_ns);
        return false;
    }
    end_wait(lane, q, lane->now_ns);
    return true;
}

/* The timer runs on the lane's own thread, as what touches the image has to. */
static void lift_delayed(struct lane *lane, uint64_t rings)
{
    if (lane->delayed & rings) {
        lane_delay_forget_times(lane, rings);
        lane->gate_ns = 0;
        (void)uv_timer_start(&lane->gate, on_gate, 0, 0); /* cannot fail */
        lane_wake(lane);
    }
}

void lane_gate_lift(struct lane *lane, uint64_t rings, struct throttle *told)
{
    uint64_t now = now_ns();

    for (unsigned i = 0; i < lane->view->queues; i++) {
        struct queue *q = &lane->view->queue[i];

        if (q->lane == lane && (rings & BIT(i))) {
            end_wait(lane, q, now);
            if (told && told->ops->left) {
                told->ops->left(told, q);
            }
        }
    }
    ungate_rings(lane, rings);
    lift_delayed(lane, rings);
}
