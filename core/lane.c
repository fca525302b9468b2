/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/lane.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/device_ring.h"

#define BIT(n) (1ull << (n))

/* So long may a turn keep the loop's other handles (messages, control) waiting. */
#define TURN_NS NS_PER_MS

/*
 * So many requests of a ring are popped at a time, half of those that are there: then they are
 * submitted, and what has finished is shown.  So the image works on the first half, and the
 * guest on its answers, while we do the second; taken all at once, each would wait for the
 * others.  Larger batches save no more system calls to speak of.
 *
 * An image that goes on with its work after the call (a disk; not RAM) gets its first few at
 * once, and then no more at a time than it already has: it never waits for us to be done.
 */
#define BATCH_MIN 16u
#define BATCH_MAX 32u
#define BATCH_FIRST 4u

static void on_idle(uv_idle_t *idle)
{
    /* It is there to keep the loop from sleeping: the check phase does the work. */
}

void lane_wake(struct lane *lane)
{
    lane->has_turn_work = true;
    uv_idle_start(&lane->idle, on_idle);
}

void lane_kicked(struct lane *lane, const struct device_ring *r)
{
    lane->ready |= BIT(r->index);
    lane->has_turn_work = true;
}

void lane_look(struct lane *lane, const struct device_ring *r)
{
    lane->ready |= BIT(r->index);
    lane_wake(lane);
}

/* Each errno is told once while the image is open; the statistics count them all. */
static void tell_io_error(struct lane *lane, const struct request *request)
{
    static const char *const verb[] = {"read", "write", "flush"};
    unsigned code = min_of((unsigned)-request->io.result, 191u);
    uint64_t *word = &lane->errnos_told[code >> 6];

    if (*word & BIT(code & 63)) {
        return;
    }
    *word |= BIT(code & 63);
    log_error("%s: %s of %" PRIu64 " bytes at offset %" PRIu64 " failed: %s; the guest gets an "
              "I/O error, later ones like it are only counted",
              lane->dev->name, verb[request->io.op], request->io.length, request->io.offset,
              code == ENODATA ? "the image ends before that, it was shrunk" : strerror((int)code));
}

static void finish(struct request *request)
{
    struct device_ring *r = request->ring;
    struct lane *lane = r->lane;
    uint32_t len = blk_finish(request, lane->now_ns, &lane->stats);

    ring_push(&r->ring, &request->chain, len);
    lane->unpublished |= BIT(r->index);
    lane->stats.inflight--;
}

static void on_io_done(struct io *io)
{
    struct request *request = containerof(io, struct request, io);

    if (io->result < 0) {
        tell_io_error(request->ring->lane, request);
    }
    finish(request);
}

/* Returns false when the ring is broken by it. */
static bool take(struct device_ring *r, struct request *request)
{
    struct lane *lane = r->lane;

    request->ring = r;
    request->start_ns = lane->now_ns;
    request->io.done = on_io_done;
    request->io.priv = request->backend_private;
    lane->stats.inflight++;
    if (lane->stats.inflight > lane->stats.inflight_max) {
        lane->stats.inflight_max = lane->stats.inflight;
    }
    switch (blk_parse(&lane->dev->blk, request, &lane->stats)) {
    case BLK_SUBMIT:
        lane->backend->ops->queue(lane->backend, &request->io);
        return true;
    case BLK_ANSWERED:
        finish(request);
        return true;
    case BLK_BROKEN:
    default:
        lane->stats.inflight--;
        ring_drop(&r->ring, &request->chain);
        ring_break(&r->ring, request->chain.fault ? request->chain.fault
                                                  : "a request has no place for its status");
        return false;
    }
}

static void kicks_off(struct lane *lane, struct device_ring *r)
{
    if (!(lane->quiet & BIT(r->index))) {
        lane->quiet |= BIT(r->index);
        ring_kicks_off(&r->ring);
    }
}

static unsigned batch_of(const struct lane *lane, const struct ring *ring)
{
    unsigned half = ring_available(ring) / 2;
    unsigned batch = half < BATCH_MIN ? BATCH_MIN : min_of(half, BATCH_MAX);
    uint64_t inflight = lane->stats.inflight;

    if (!lane->image_goes_on) {
        return batch;
    }
    return inflight < BATCH_FIRST ? BATCH_FIRST : (unsigned)min_of(inflight, (uint64_t)batch);
}

/* Pop a batch; kicks are off from here on, until the lane sleeps. */
static void serve(struct lane *lane, struct device_ring *r)
{
    unsigned budget = batch_of(lane, &r->ring);
    struct chain *chain;
    int ret;

    lane->used |= BIT(r->index);
    kicks_off(lane, r);
    while ((ret = ring_pop(&r->ring, &chain)) > 0) {
        if (!take(r, containerof(chain, struct request, chain))) {
            ret = -EPROTO;
            break;
        }
        if (--budget == 0) {
            lane->ready |= BIT(r->index);
            return;
        }
    }
    if (ret < 0) {
        device_ring_tell_fault(r);
    }
}

/* The lowest ring of a set, taken out of it. */
static struct device_ring *take_ring(struct lane *lane, uint64_t *set)
{
    struct device_ring *r = &lane->dev->ring[__builtin_ctzll(*set)];

    *set &= *set - 1;
    return r;
}

static bool has_ready(const struct lane *lane)
{
    return lane->ready && !lane->dev->pause_mask;
}

static void serve_ready(struct lane *lane)
{
    uint64_t ready = lane->ready;

    if (!has_ready(lane)) {
        return;
    }
    lane->ready = 0;
    while (ready) {
        struct device_ring *r = take_ring(lane, &ready);

        if (r->lane == lane && device_ring_is_live(r)) {
            serve(lane, r);
        }
    }
}

/* Show the driver what has finished, and signal each ring at most once. */
static void publish(struct lane *lane)
{
    while (lane->unpublished) {
        struct device_ring *r = take_ring(lane, &lane->unpublished);

        if (ring_publish(&r->ring)) {
            device_ring_call(r);
            lane->stats.interrupts++;
        } else {
            lane->stats.interrupts_suppressed++;
        }
    }
}

/*
 * Start what is queued, and take what was finished by the time that the call came back; that
 * may make room for what was held back.
 */
static void submit(struct lane *lane)
{
    struct backend *backend = lane->backend;
    bool has_started = false;
    unsigned finished;

    if (!backend) {
        return;
    }
    do {
        struct backend_submitted submitted = backend->ops->submit(backend);

        lane->stats.submissions += submitted.calls;
        lane->stats.submitted += submitted.operations;
        lane->stats.merged += submitted.merged;
        has_started |= submitted.operations > 0;
        lane->now_ns = now_ns();
        finished = lane->stats.inflight > 0 ? backend->ops->reap(backend) : 0;
    } while (finished > 0 && backend->ops->is_held_back(backend));
    if (has_started) {
        lane->image_goes_on = lane->stats.inflight > 0;
    }
}

/*
 * Ask for kicks again where they were switched off.  What came in between is seen now, as
 * nobody kicks for it.
 */
static void kicks_on(struct lane *lane)
{
    while (lane->quiet) {
        struct device_ring *r = take_ring(lane, &lane->quiet);

        if (device_ring_is_live(r) && ring_kicks_on(&r->ring)) {
            lane->ready |= BIT(r->index);
        }
    }
}

/* Mark the rings that have something, kicked for or not.  Returns whether any has. */
static bool look_at_rings(struct lane *lane)
{
    uint64_t used = lane->used;

    if (lane->dev->pause_mask) {
        return false;
    }
    while (used) {
        struct device_ring *r = take_ring(lane, &used);

        if (device_ring_is_live(r)) {
            kicks_off(lane, r);
            if (ring_available(&r->ring) > 0) {
                lane->ready |= BIT(r->index);
            }
        }
    }
    return lane->ready != 0;
}

static bool look_at_image(struct lane *lane)
{
    return lane->stats.inflight > 0 && lane->backend->ops->reap(lane->backend) > 0;
}

/* What a disk that may not poll spins is part of falling asleep. */
static void count_spin(struct lane *lane, uint64_t spun_ns, bool has_work)
{
    if (lane->spin.max_ns > 0) {
        lane->stats.poll_time_ns += spun_ns;
        lane->stats.poll_hits += has_work;
        lane->stats.poll_misses += !has_work;
    }
}

/* Look for work for as long as it pays.  Returns false when there is none, and to sleep. */
static bool spin(struct lane *lane)
{
    enum spin_for who = lane->stats.inflight > 0 ? SPIN_FOR_IMAGE : SPIN_FOR_GUEST;
    bool has_work;

    if (!lane->used) {
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
    count_spin(lane, spin_end(&lane->spin, lane->now_ns, has_work), has_work);
    return has_work;
}

/* Returns false when it is time to sleep: from now on the drivers kick. */
static bool has_more(struct lane *lane)
{
    if (has_ready(lane) || spin(lane)) {
        return true;
    }
    kicks_on(lane);
    return has_ready(lane);
}

static void on_look(uv_timer_t *timer)
{
    lane_wake(timer->data);
}

/* The image does not signal what is under way: sleep no longer than a millisecond at a time. */
static void look_later(struct lane *lane)
{
    if (lane->backend && lane->backend->must_look) {
        (void)uv_timer_start(&lane->look, on_look, 1, 0); /* cannot fail */
    }
}

void lane_lose_memory(struct lane *lane)
{
    lane->is_memory_lost = true;
    for (unsigned i = 0; i < lane->dev->queues; i++) {
        struct device_ring *r = &lane->dev->ring[i];

        if (r->lane == lane && r->ring.is_started) {
            ring_break(&r->ring, "the file behind guest memory was truncated");
            device_ring_tell_fault(r);
        }
    }
}

/* The guest's memory was taken away under us: its rings end, all else goes on. */
static void check_memory(struct lane *lane)
{
    if (!lane->is_memory_lost && mem_guard_tripped()) {
        lane_lose_memory(lane);
    }
}

/*
 * Publish before submit: io_submit may block for buffered images, and the guest should not
 * wait for that.  What submit itself finishes is published after it.
 */
static void serve_once(struct lane *lane)
{
    spin_work(&lane->spin, lane->now_ns);
    serve_ready(lane);
    publish(lane);
    submit(lane);
    publish(lane);
}

/* The end of a turn of the loop. */
static void on_check(uv_check_t *check)
{
    struct lane *lane = check->data;
    uint64_t end_ns;
    bool goes_on;

    if (!lane->has_turn_work) {
        return;
    }
    lane->has_turn_work = false;
    uv_idle_stop(&lane->idle);
    lane->now_ns = now_ns();
    end_ns = lane->now_ns + TURN_NS;
    do {
        serve_once(lane);
        goes_on = has_more(lane);
    } while (goes_on && lane->now_ns < end_ns);
    if (goes_on) {
        lane_wake(lane);
    } else {
        look_later(lane);
    }
    check_memory(lane);
    lane->turned(lane);
}

static void on_backend(struct watch *watch)
{
    struct lane *lane = watch->arg;

    lane->now_ns = now_ns();
    lane->has_turn_work = true;
    (void)lane->backend->ops->reap(lane->backend);
}

int lane_init(struct lane *lane, struct device *dev, unsigned index, uv_loop_t *loop,
              void (*turned)(struct lane *lane))
{
    int ret;

    *lane = (struct lane){.dev = dev, .index = index, .loop = loop, .turned = turned};
    ret = mailbox_init(&lane->mailbox, loop);
    if (ret < 0) {
        return ret;
    }
    (void)uv_check_init(loop, &lane->check); /* these four cannot fail */
    (void)uv_idle_init(loop, &lane->idle);
    (void)uv_timer_init(loop, &lane->look);
    (void)uv_check_start(&lane->check, on_check);
    lane->check.data = lane;
    lane->idle.data = lane;
    lane->look.data = lane;
    lane->open_handles = 3;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct lane *lane = handle->data;

    lane->open_handles--;
    if (handle == (uv_handle_t *)&lane->check) {
        uv_close((uv_handle_t *)&lane->idle, on_closed);
    } else if (handle == (uv_handle_t *)&lane->idle) {
        assert(lane->open_handles == 0);
        lane->closed(lane);
    }
}

/*
 * Watches count themselves down in their own close callbacks, which all run in one phase of
 * the loop, and so do mailbox and timer.  The idle handle is closed from within that phase, so it
 * goes last, alone.
 */
void lane_close(struct lane *lane, void (*closed)(struct lane *lane))
{
    lane->closed = closed;
    mailbox_discard(&lane->mailbox);
    mailbox_close(&lane->mailbox);
    uv_close((uv_handle_t *)&lane->look, on_closed);
    uv_close((uv_handle_t *)&lane->check, on_closed);
}

int lane_attach(struct lane *lane, struct backend *backend)
{
    int ret = watch_open(&lane->backend_watch, lane->loop, backend->ops->fd(backend), false,
                         on_backend, lane, &lane->open_handles);

    if (ret < 0) {
        return ret;
    }
    watch_edges(lane->backend_watch);
    lane->backend = backend;
    memset(lane->errnos_told, 0, sizeof(lane->errnos_told));
    return 0;
}

struct backend *lane_detach(struct lane *lane)
{
    struct backend *backend = lane->backend;

    watch_close(lane->backend_watch);
    lane->backend_watch = NULL;
    lane->backend = NULL;
    return backend;
}

void lane_forget(struct lane *lane, const struct device_ring *r)
{
    lane->used &= ~BIT(r->index);
    lane->quiet &= ~BIT(r->index);
    lane->ready &= ~BIT(r->index);
    lane->unpublished &= ~BIT(r->index);
}
