/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_turn.h"

#include "core/device/lane_mark.h"
#include "core/device/lane_serve.h"
#include "core/device/lane_signal.h"
#include "core/device/lane_tidy.h"
#include "core/device/queue.h"

/* So long may a turn keep the loop's other handles (messages, control) waiting. */
#define TURN_NS NS_PER_MS

/* The loop's clock may be a turn behind, so it is a millisecond at least. */
#define LAST_LOOK_MS 2

/*
 * Start what is queued, and take what was finished by the time that the call came back; that
 * may make room for what was held back.
 */
static void submit_started(struct lane *lane)
{
    bool has_started = false;
    unsigned finished;

    if (!lane->path) {
        return;
    }
    if (lane->flight.guest > 0) {
        batch_give(&lane->batch, lane->now_ns);
    }
    do {
        struct submitted submitted = context_submit(&lane->context);

        lane->stats.submissions += submitted.calls;
        lane->stats.submitted += submitted.operations;
        lane->stats.merged += submitted.merged;
        lane->stats.bounced += submitted.bounced;
        has_started |= submitted.operations > 0;
        lane->now_ns = now_ns();
        /* What ended meanwhile need not be signalled. */
        finished = flight_has_any(&lane->flight) ? context_reap(&lane->context) : 0;
    } while (finished > 0 && context_is_held_back(&lane->context));
    if (has_started) {
        lane->image_goes_on = lane->flight.guest > 0;
    }
    if (lane->image_goes_on && batch_is_due(&lane->batch, lane->now_ns)) {
        batch_look(&lane->batch, &lane->context.turn, stats_finished(&lane->stats),
                   lane->flight.guest, lane->now_ns);
    }
}

/*
 * Ask for kicks again where they were switched off, of all rings in `set`.  What came in
 * between is seen now, as nobody kicks for it.
 */
static void kicks_on(struct lane *lane, uint64_t set)
{
    set &= lane->quiet;
    lane->quiet &= ~set;
    while (set) {
        struct queue *q = queue_take(lane->view, &set);

        if (queue_is_live(q) && ring_kicks_on(&q->ring)) {
            lane->ready |= BIT(q->index);
        }
    }
}

void lane_rest(struct lane *lane, uint64_t rings)
{
    kicks_on(lane, rings);
    lane_signal_late(lane, rings);
    lane->untold &= ~rings;
}

/* Mark the rings that have something, kicked for or not.  Returns whether any has. */
static bool look_at_rings(struct lane *lane)
{
    uint64_t used = lane->used & ~lane_resting_rings(lane);

    if (lane_is_paused(lane)) {
        return false;
    }
    while (used) {
        struct queue *q = queue_take(lane->view, &used);

        if (queue_is_live(q)) {
            lane_kicks_off(lane, q);
            if (ring_has_ahead(&q->ring, 1)) {
                lane->ready |= BIT(q->index);
            }
        }
    }
    return lane->ready != 0;
}

static bool look_at_image(struct lane *lane)
{
    return flight_has_any(&lane->flight) && context_reap(&lane->context) > 0;
}

/* What a disk that may not poll spins is part of falling asleep. */
static void count_spin(struct lane *lane, uint64_t spun_ns, enum spin_result result)
{
    if (lane->spin.max_ns > 0) {
        lane->stats.poll_time_ns += spun_ns;
        lane->stats.poll_hits += result == SPIN_HIT;
        lane->stats.poll_misses += result == SPIN_MISS;
    }
}

/* May there be any?  Rings that are paused or gated wait for the image and for nothing else. */
static bool may_find_work(const struct lane *lane)
{
    return lane->flight.guest > 0 || ((lane->used & ~lane->gated) && !lane_is_paused(lane));
}

/*
 * Look for work for as long as it pays.  Returns false when there is none, and to sleep; messages
 * are for the loop to run, which may find that they bring some.
 */
static bool spin_for_work(struct lane *lane)
{
    enum spin_for who = lane->flight.guest > 0 ? SPIN_FOR_IMAGE : SPIN_FOR_GUEST;
    enum spin_result result;
    bool has_work;

    if (!may_find_work(lane)) {
        return false;
    }
    lane->now_ns = now_ns(); /* what is found without a spin must not be older than the wait */
    if (!spin_begin(&lane->spin, who, lane->now_ns)) {
        return false;
    }
    do {
        spin_relax();
        lane->now_ns = now_ns();
        has_work = look_at_image(lane);
        has_work |= look_at_rings(lane);
    } while (!has_work && !mailbox_has_mail(&lane->mailbox) &&
             spin_goes_on(&lane->spin, lane->now_ns));
    result = has_work ? SPIN_HIT : mailbox_has_mail(&lane->mailbox) ? SPIN_MAIL : SPIN_MISS;
    count_spin(lane, spin_end(&lane->spin, lane->now_ns, result), result);
    return has_work;
}

/* Returns false when it is time to sleep: from now on the drivers kick. */
static bool has_more(struct lane *lane)
{
    if (lane_has_ready(lane) || spin_for_work(lane)) {
        return true;
    }
    kicks_on(lane, ~lane_resting_rings(lane));
    if (lane_has_ready(lane)) {
        return true;
    }
    if (lane->flight.guest == 0) {
        batch_idle(&lane->batch, lane->now_ns);
    }
    lane_signal_late(lane, ~0ull);
    return false;
}

void lane_lose_memory(struct lane *lane)
{
    for (unsigned i = 0; i < lane->view->queues; i++) {
        struct queue *q = &lane->view->queue[i];

        if (q->lane == lane && q->ring.is_started && !q->ring.is_broken) {
            ring_break(&q->ring, mem_why_lost(&lane->view->mem));
            queue_tell_fault(q);
        }
    }
}

/*
 * The guest's memory was taken away under us: its rings end, all else goes on.  A region that was
 * found lost may have been replaced since.
 */
static void check_memory(struct lane *lane)
{
    if (mem_guard_take() && mem_is_lost(&lane->view->mem)) {
        lane_lose_memory(lane);
        lane->has_found_loss = true;
    }
}

static bool must_look(const struct lane *lane)
{
    return context_must_look(&lane->context);
}

static void look_later(struct lane *lane);

/* No turn follows but for lost memory, as nothing was waited for. */
static void on_look(uv_timer_t *timer)
{
    struct lane *lane = timer->data;

    if (must_look(lane)) {
        lane_signal_late(lane, ~0ull); /* too early to be the last look */
    } else {
        lane_last_look(lane);
        check_memory(lane);
    }
    if (must_look(lane) || lane->has_found_loss) {
        lane_wake(lane);
    } else {
        look_later(lane);
    }
}

/*
 * The image does not signal what is under way: sleep no longer than a millisecond at a time.  Or
 * a driver was not told of something: its wish may be on its way still, so look once more when it
 * has surely come, whatever else there is to do or to wait for until then.
 */
static void look_later(struct lane *lane)
{
    bool is_looking = uv_is_active((uv_handle_t *)&lane->look);

    if (must_look(lane)) {
        if (!is_looking || uv_timer_get_due_in(&lane->look) > 1) {
            (void)uv_timer_start(&lane->look, on_look, 1, 0); /* cannot fail */
        }
    } else if (lane->untold && !is_looking) {
        lane->just_untold = 0;
        (void)uv_timer_start(&lane->look, on_look, LAST_LOOK_MS, 0);
    }
}

/*
 * Publish before submit: io_submit may block for buffered images, and the guest should not
 * wait for that.  What submit itself finishes is published after it.
 */
static void serve_once(struct lane *lane)
{
    spin_work(&lane->spin, lane->now_ns);
    lane_serve(lane);
    lane_publish(lane);
    submit_started(lane);
    lane_publish(lane);
}

void lane_turn(struct lane *lane)
{
    bool goes_on;

    spin_dismiss(&lane->spin);
    if (!lane->has_turn_work) {
        return;
    }
    lane->has_turn_work = false;
    uv_idle_stop(&lane->idle);
    lane->now_ns = now_ns();
    lane->turn_end_ns = lane->now_ns + TURN_NS;
    do {
        serve_once(lane);
        goes_on = has_more(lane);
    } while (goes_on && lane->now_ns < lane->turn_end_ns);
    if (goes_on) {
        lane_wake(lane);
    }
    look_later(lane);
    lane_tidy_later(lane);
    check_memory(lane);
    lane->turned(lane);
}

void lane_reap(struct lane *lane)
{
    lane->now_ns = now_ns();
    lane->has_turn_work = true;
    (void)context_reap(&lane->context);
}
