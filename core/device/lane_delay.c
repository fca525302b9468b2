/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_delay.h"

#include "core/device/lane_start.h"
#include "core/device/throttle.h"

/* What the io's frame is until somebody has the io. */
struct delay_link {
    struct request *next;
    uint64_t since_ns;
};

_Static_assert(sizeof(struct delay_link) <= IO_FRAME_BYTES, "it has room there");

static struct delay_link *link_of(const struct request *request)
{
    return request->io.frame;
}

/* What stores something, or gives it back, is a write. */
static enum delay_way way_of(const struct request *request)
{
    return request->io.op == IO_READ ? DELAY_READS : DELAY_WRITES;
}

/* Long ones that go past it need their arrays.  A discard has its segments in one. */
static void give_array_back(struct lane *lane, struct request *request)
{
    struct chain *chain = &request->chain;
    bool has_data = request->io.op == IO_READ || request->io.op == IO_WRITE;
    const struct iovec *first = has_data ? request->io.iov : request->ranges;
    size_t count = has_data ? request->io.iov_count : chain->out_count;
    size_t before = (size_t)(first - chain->iov);

    if (!ring_move_array(chain, before + count, &lane->late_arrays)) {
        return;
    }
    if (has_data) {
        request->io.iov = chain->iov + before;
    } else {
        request->ranges = chain->iov + before;
    }
}

/* Of one that is given to the image later the clock of the statistics does not run. */
static void delay_request(struct lane *lane, struct delayed *delayed, struct request *request)
{
    *link_of(request) = (struct delay_link){.since_ns = lane->now_ns};
    request->start_ns = UINT64_MAX;
    if (request->chain.is_long) {
        give_array_back(lane, request);
    }
    if (delayed->first) {
        link_of(delayed->last)->next = request;
    } else {
        delayed->first = request;
    }
    delayed->last = request;
    delayed->count++;
    lane->delayed |= BIT(request->queue->index);
    lane->flight.guest--;
    lane->stats.throttled_requests++;
}

/* A flush has nothing to wait for, nor is it behind anything. */
bool lane_delay_lets(struct lane *lane, struct request *request, uint64_t *opens_ns)
{
    struct throttle *throttle = lane->view->throttle;
    struct delayed *delayed = &request->queue->delayed[way_of(request)];

    if (request->io.op == IO_FLUSH || !throttle->ops->admits_ns) {
        throttle->ops->took(throttle, request, lane->now_ns);
        return true;
    }
    if (!delayed->first) {
        delayed->opens_ns = throttle->ops->admits_ns(throttle, request, lane->now_ns);
        if (delayed->opens_ns <= lane->now_ns) {
            return true;
        }
    }
    *opens_ns = delayed->opens_ns;
    delay_request(lane, delayed, request);
    return false;
}

static struct request *unlink_first(struct lane *lane, struct delayed *delayed, uint64_t now)
{
    struct request *request = delayed->first;
    struct delay_link link = *link_of(request);

    delayed->first = link.next;
    delayed->count--;
    lane->stats.throttled_ns += now - min_of(link.since_ns, now);
    return request;
}

static void take_first(struct lane *lane, struct delayed *delayed)
{
    struct request *request = unlink_first(lane, delayed, lane->now_ns);

    request->start_ns = lane->now_ns;
    lane->flight.guest++;
    if (lane->flight.guest > lane->stats.inflight_max) {
        lane->stats.inflight_max = lane->flight.guest;
    }
    if (mem_is_lost(&lane->view->mem)) {
        io_end(&request->io, -EFAULT); /* zero pages may be in the place of what the guest wrote */
    } else {
        lane_start(lane, request);
    }
}

/* What is paused is drained, and what is limited no longer need not wait. */
static bool must_go(const struct queue *q)
{
    return q->view->pause_mask || q->is_paused || !q->view->throttle ||
           !q->view->throttle->ops->admits_ns;
}

/* Returns when the next of them may go. */
static uint64_t serve_way(struct lane *lane, const struct queue *q, struct delayed *delayed)
{
    struct throttle *throttle = lane->view->throttle;

    while (delayed->first && delayed->opens_ns <= lane->now_ns) {
        if (must_go(q)) {
            if (throttle) {
                throttle->ops->took(throttle, delayed->first, lane->now_ns);
            }
        } else {
            delayed->opens_ns = throttle->ops->admits_ns(throttle, delayed->first, lane->now_ns);
            if (delayed->opens_ns > lane->now_ns) {
                break;
            }
        }
        take_first(lane, delayed);
    }
    return delayed->first ? delayed->opens_ns : UINT64_MAX;
}

static uint64_t serve_delayed(struct lane *lane, struct queue *q)
{
    uint64_t next_ns = UINT64_MAX;

    for (unsigned i = 0; i < DELAY_WAYS; i++) {
        next_ns = min_of(next_ns, serve_way(lane, q, &q->delayed[i]));
    }
    if (next_ns == UINT64_MAX && lane_delay_count(q) == 0) {
        lane->delayed &= ~BIT(q->index);
    }
    return next_ns;
}

/* The rings take turns in who is the first. */
uint64_t lane_delay_serve(struct lane *lane)
{
    uint64_t behind = lane->delayed & ~0ull << lane->first_late;
    uint64_t before = lane->delayed & ~behind;
    uint64_t next_ns = UINT64_MAX;

    lane->first_late = (lane->first_late + 1) % BLK_MAX_QUEUES;
    while (behind) {
        next_ns = min_of(next_ns, serve_delayed(lane, queue_take(lane->view, &behind)));
    }
    while (before) {
        next_ns = min_of(next_ns, serve_delayed(lane, queue_take(lane->view, &before)));
    }
    return next_ns;
}

void lane_delay_forget_times(struct lane *lane, uint64_t rings)
{
    rings &= lane->delayed;
    while (rings) {
        struct queue *q = queue_take(lane->view, &rings);

        for (unsigned i = 0; i < DELAY_WAYS; i++) {
            q->delayed[i].opens_ns = 0;
        }
    }
}

void lane_delay_hold(struct lane *lane, struct queue *q)
{
    uint64_t now = now_ns();

    for (unsigned i = 0; i < DELAY_WAYS; i++) {
        while (q->delayed[i].first) {
            ring_hold(&q->ring, &unlink_first(lane, &q->delayed[i], now)->chain);
        }
    }
    lane->delayed &= ~BIT(q->index);
}

unsigned lane_delay_count(const struct queue *q)
{
    return q->delayed[DELAY_READS].count + q->delayed[DELAY_WRITES].count;
}
