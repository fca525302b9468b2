/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A guest whose memory is not shared hangs at boot, and nothing else tells why.
 */

#include "core/device/queue.h"

void queue_forget_told(struct queue *q)
{
    q->is_fault_told = false;
    q->refusals_told = 0;
    q->has_kick = false;
    q->is_blind = false;
    q->has_moved = false;
}

/* What whoever served the ring before has left is seen as well, if later than by its driver. */
static bool has_seen_any(const struct ring *ring)
{
    return ring_has_moved(ring) || ring->inflight > 0 || ring->held_count > 0;
}

bool queue_is_blind(const struct queue *q)
{
    return q->is_blind && (q->ring.is_started ? !has_seen_any(&q->ring) : q->view->mem.count == 0);
}

static void tell_blind(const struct queue *q, const char *what)
{
    log_limited(&q->lane->guest_log, LOG_LEVEL_WARN, "%s: ring %u: %s", q->view->name, q->index,
                what);
}

/*
 * Does the driver kick where no request can be seen?  Then what it writes is not what we have
 * mapped.  The first kick may be its monitor's own: QEMU sends one for each ring that it starts.
 * While the disk is paused the ring's memory may be gone, and requests are not looked at anyway.
 */
void queue_look_for_blind(struct queue *q)
{
    bool is_second = q->has_kick;

    if (q->is_blind || (q->ring.is_started && q->view->pause_mask)) {
        return;
    }
    q->has_kick = true;
    if (!q->ring.is_started) {
        q->is_blind = q->is_told && q->view->mem.count == 0;
        if (q->is_blind) {
            tell_blind(q, "its driver kicks, but " MEM_NOT_SHARED);
        }
        return;
    }
    q->has_moved = has_seen_any(&q->ring) || ring_has_ahead(&q->ring, 1);
    q->is_blind = is_second && !q->has_moved;
    if (q->is_blind) {
        tell_blind(q, "its driver kicks, but " MEM_NOT_SEEN);
    }
}
