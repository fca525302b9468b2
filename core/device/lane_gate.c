/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_gate.h"

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

static void on_gate(uv_timer_t *timer)
{
    struct lane *lane = timer->data;
    uint64_t next_ns;

    lane->now_ns = now_ns();
    lane_ungate(lane, due_rings(lane, &next_ns));
    if (lane->gated) {
        set_timer(lane, next_ns);
    }
}

static void gate_ring(struct lane *lane, struct queue *q, uint64_t opens_ns)
{
    bool is_first = lane->gated == 0 || opens_ns < lane->gate_ns;

    lane->gated |= BIT(q->index);
    q->gate_ns = opens_ns;
    if (is_first) {
        set_timer(lane, opens_ns);
    }
}

/* Of a ring that has nothing its driver kicks, as ever. */
bool lane_gate_lets(struct lane *lane, struct queue *q)
{
    struct throttle *throttle = lane->view->throttle;
    uint64_t opens_ns = throttle->ops->opens_ns(throttle, q, lane->now_ns);

    if (opens_ns <= lane->now_ns) {
        return true;
    }
    if (ring_has_any(&q->ring)) {
        gate_ring(lane, q, opens_ns);
    }
    return false;
}

void lane_ungate(struct lane *lane, uint64_t rings)
{
    rings &= lane->gated;
    if (!rings) {
        return;
    }
    lane->gated &= ~rings;
    lane->ready |= rings;
    if (!lane->gated) {
        (void)uv_timer_stop(&lane->gate);
    }
    spin_interrupt(&lane->spin);
    lane_wake(lane);
}
