/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/load_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

#include "cmd/bench/ask.h"
#include "cmd/bench/progress.h"

/* Sleep no longer than this, so that the line for people goes on. */
#define SLEEP_MAX_NS (100 * NS_PER_MS)

/* With --poll: looks that find nothing between two looks at the clock. */
#define SPINS 64u

/* How often to look whether the connection stands, and at the back-end's signs of life. */
#define LOOK_NS (10 * NS_PER_MS)

static volatile sig_atomic_t is_told_to_end;

static void on_signal(int number)
{
    (void)number;
    is_told_to_end = 1;
}

/* The second signal kills: a check of all that was written may take long. */
static void catch_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- asking ---- */

static uint64_t due_ns(const struct load *load)
{
    unsigned __int128 ns = (unsigned __int128)load->rated * NS_PER_S / load->options->rate;

    return load->rate_start_ns + (uint64_t)ns;
}

static bool is_due(const struct load *load, uint64_t now)
{
    return load->options->rate == 0 || load->phase == LOAD_CHECK || due_ns(load) <= now;
}

/* Put one request into a queue.  Returns false when there is nothing to ask. */
static bool put(struct load *load, unsigned queue, uint64_t now)
{
    struct front_slot *slot = load->free[queue];

    if (!ask_next(load, slot)) {
        return false;
    }
    if (blk_driver_submit(&load->front->queue[queue], &slot->request) < 0) {
        return false; /* not with rings that front_open has checked */
    }
    slot->start_ns = now;
    load->free[queue] = slot->next;
    load->rated++;
    if (load->inflight++ == 0) {
        load->progress_ns = now;
    }
    return true;
}

static void fill(struct load *load, unsigned queue, uint64_t now)
{
    bool has_put = false;

    while (load->free[queue] && is_due(load, now) && put(load, queue, now)) {
        has_put = true;
    }
    if (has_put) {
        blk_driver_kick(&load->front->blk, &load->front->queue[queue]);
    }
}

/* ---- answers ---- */

static const char *status_name(uint8_t status)
{
    switch (status) {
    case VIRTIO_BLK_S_IOERR:
        return "I/O error";
    case VIRTIO_BLK_S_UNSUPP:
        return "not supported";
    case BLK_DRIVER_STATUS_UNWRITTEN:
        return "it was answered without a status";
    default:
        return "it was answered with a status that there is not";
    }
}

static void note_error(struct load *load, const struct blk_driver_request *request)
{
    load->result.errors++;
    if (load->first_error.code == 0) {
        (void)err_say(&load->first_error, -EIO, "%s at sector %" PRIu64 " failed: %s",
                      request->header.type == VIRTIO_BLK_T_IN      ? "a read"
                      : request->header.type == VIRTIO_BLK_T_OUT   ? "a write"
                      : request->header.type == VIRTIO_BLK_T_FLUSH ? "a flush"
                                                                   : "a discard",
                      (uint64_t)request->header.sector, status_name(request->status));
    }
}

static void check(struct load *load, struct front_slot *slot, bool ok)
{
    struct verify *verify = &load->verify;
    struct err err = {0};

    if (slot->request.header.type == VIRTIO_BLK_T_OUT) {
        verify_written(verify, slot->block, ok);
    } else if (ok && !verify_check(verify, slot->block, slot->request.data, &err) &&
               load->first_error.code == 0) {
        load->first_error = err;
    }
    verify->block[slot->block] &= ~VERIFY_BUSY;
}

static void finish_request(struct load *load, unsigned queue, struct front_slot *slot, uint64_t now)
{
    bool ok = slot->request.status == VIRTIO_BLK_S_OK;

    if (!ok) {
        note_error(load, &slot->request);
    } else if (load->phase == LOAD_MEASURE) {
        hist_add(&load->result.latency, now - slot->start_ns);
    }
    if (load->verify.blocks > 0) {
        check(load, slot, ok);
    }
    slot->next = load->free[queue];
    load->free[queue] = slot;
    load->inflight--;
    load->result.all_requests += load->phase != LOAD_CHECK;
}

/* Take all answers of a queue; the time is that of the first.  Returns it, 0: there was none. */
static uint64_t reap(struct load *load, unsigned queue)
{
    struct blk_driver_request *request;
    uint64_t now = 0;

    while ((request = blk_driver_poll(&load->front->queue[queue]))) {
        now = now == 0 ? now_ns() : now;
        finish_request(load, queue, request->arg, now);
    }
    return now;
}

/* ---- turns ---- */

/* One look at all queues.  Returns the time of the last answer, 0: there was none. */
static uint64_t turn(struct load *load, uint64_t now)
{
    unsigned queues = load->front->queues;
    unsigned queue = load->first_queue;
    uint64_t answered = 0;

    load->first_queue = queue + 1 == queues ? 0 : queue + 1;
    for (unsigned i = 0; i < queues; i++) {
        uint64_t seen = reap(load, queue);

        if (seen > 0) {
            answered = now = seen;
        }
        if (load->phase != LOAD_DRAIN) {
            fill(load, queue, now);
        }
        queue = queue + 1 == queues ? 0 : queue + 1;
    }
    if (answered > 0) {
        load->progress_ns = answered;
    }
    return answered;
}

static int check_life(struct load *load, uint64_t now, struct err *err)
{
    struct front *front = load->front;
    double seconds = (double)load->options->timeout_ns / (double)NS_PER_S;

    for (unsigned i = 0; i < front->queues; i++) {
        if (front->queue[i].ring.fault) {
            front->is_stuck = true;
            return err_say(err, -EPROTO, "%s: queue %u: the back-end broke the ring: %s",
                           front->name, i, front->queue[i].ring.fault);
        }
    }
    if (load->inflight == 0 || now - load->progress_ns < load->options->timeout_ns) {
        return 0;
    }
    front->is_stuck = true;
    if (!vhost_user_client_is_connected(front->bus.client)) {
        return err_say(err, -ETIMEDOUT, "%s: the back-end has not come back for %g s", front->name,
                       seconds);
    }
    return err_say(err, -ETIMEDOUT,
                   "%s: the back-end has answered nothing for %g s, with %u requests under way",
                   front->name, seconds, load->inflight);
}

/* How long nothing has to be done if nothing is answered. */
static uint64_t patience_ns(const struct load *load, uint64_t now)
{
    uint64_t until = now + SLEEP_MAX_NS;

    if (load->phase == LOAD_RAMP || load->phase == LOAD_MEASURE) {
        until = min_of(until, load->phase_end_ns);
        for (unsigned i = 0; load->options->rate > 0 && i < load->front->queues; i++) {
            until = load->free[i] ? min_of(until, due_ns(load)) : until;
        }
    }
    return until > now ? until - now : 0;
}

/* Nothing was found: sleep.  Returns the time. */
static uint64_t rest(struct load *load, uint64_t now)
{
    if (!front_interrupts_on(load->front)) {
        front_sleep(load->front, patience_ns(load, now));
    }
    front_interrupts_off(load->front);
    return now_ns();
}

static bool is_over(const struct load *load, uint64_t now)
{
    switch (load->phase) {
    case LOAD_RAMP:
    case LOAD_MEASURE:
        return now >= load->phase_end_ns || is_told_to_end;
    case LOAD_DRAIN:
        return load->inflight == 0;
    default:
        return load->inflight == 0 && load->next_block >= load->blocks;
    }
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Look until something is found, and at the clock now and then.  Returns the time. */
static uint64_t spin(struct load *load, uint64_t now)
{
    for (unsigned i = 0; i < SPINS; i++) {
        uint64_t answered = turn(load, now);

        if (answered > 0) {
            return answered;
        }
        relax();
        now = load->options->rate > 0 ? now_ns() : now;
    }
    return now_ns();
}

/* A turn, and sleep where there is nothing to do.  Returns the time. */
static uint64_t step(struct load *load, uint64_t now)
{
    uint64_t answered;

    if (load->options->polls) {
        return spin(load, now);
    }
    answered = turn(load, now);
    return answered > 0 ? answered : rest(load, now);
}

/* `*now` goes on.  Returns 0, or what ended it. */
static int run_phase(struct load *load, enum load_phase phase, uint64_t time_ns, uint64_t *now,
                     struct err *err)
{
    uint64_t looked_ns = *now;
    int ret = 0;

    load->phase = phase;
    load->phase_end_ns = *now + time_ns;
    while (ret == 0 && !is_over(load, *now)) {
        *now = step(load, *now);
        if (*now - looked_ns >= LOOK_NS) {
            looked_ns = *now;
            front_sleep(load->front, 0);
            progress_show(load, *now);
            ret = check_life(load, *now, err);
        }
    }
    return ret;
}

static uint64_t own_cpu_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts); /* there on every Linux */
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int measure(struct load *load, uint64_t *now, struct err *err)
{
    struct load_result *result = &load->result;
    uint64_t start_ns = *now;
    uint64_t cpu_ns = own_cpu_ns();
    uint64_t kicks = front_kicks(load->front);
    uint64_t interrupts = front_interrupts(load->front);
    int ret = run_phase(load, LOAD_MEASURE, load->options->runtime_ns, now, err);

    result->time_ns = *now - start_ns;
    result->client_cpu_ns = own_cpu_ns() - cpu_ns;
    result->kicks = front_kicks(load->front) - kicks;
    result->interrupts = front_interrupts(load->front) - interrupts;
    result->is_interrupted = is_told_to_end;
    return ret;
}

int load_run(struct load *load, struct err *err)
{
    uint64_t now = now_ns();
    int ret;

    catch_signals();
    front_interrupts_off(load->front);
    load->progress_ns = load->rate_start_ns = load->shown_ns = now;
    ret = run_phase(load, LOAD_RAMP, load->options->ramp_ns, &now, err);
    if (ret == 0) {
        ret = measure(load, &now, err);
    }
    if (ret == 0) {
        ret = run_phase(load, LOAD_DRAIN, 0, &now, err);
    }
    load->next_block = 0;
    if (ret == 0 && load->verify.blocks > 0) {
        ret = run_phase(load, LOAD_CHECK, 0, &now, err);
    }
    progress_clear(load);
    return ret;
}
