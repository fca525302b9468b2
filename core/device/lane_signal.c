/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_signal.h"

#include "core/device/queue.h"

static void signal_ring(struct lane *lane, struct queue *q)
{
    queue_call(q);
    lane->stats.interrupts++;
    lane->untold &= ~BIT(q->index);
}

void lane_publish(struct lane *lane)
{
    while (lane->unpublished) {
        struct queue *q = queue_take(lane->view, &lane->unpublished);

        if (!ring_has_unpublished(&q->ring)) {
            continue; /* all that is done waits for its turn */
        }
        if (ring_publish(&q->ring)) {
            signal_ring(lane, q);
        } else {
            lane->untold |= BIT(q->index);
            lane->just_untold |= BIT(q->index);
            lane->stats.interrupts_suppressed++;
        }
    }
}

void lane_signal_late(struct lane *lane, uint64_t set)
{
    set &= lane->untold;
    while (set) {
        struct queue *q = queue_take(lane->view, &set);

        if (q->lane == lane && q->ring.is_started && ring_owes_signal(&q->ring)) {
            signal_ring(lane, q);
            lane->stats.late_interrupts++;
        }
    }
}

void lane_last_look(struct lane *lane)
{
    lane_signal_late(lane, ~0ull);
    lane->untold &= lane->just_untold;
}
