/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Whose turn it is: each step of anybody is drawn from the seed. */

#include "tests/sim/sim.h"

#include <limits.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/sim/crash.h"
#include "tests/sim/guest.h"
#include "tests/sim/image.h"
#include "tests/sim/kernel.h"
#include "tests/sim/loop.h"
#include "tests/sim/model.h"
#include "tests/sim/process.h"

/* So many steps, and nothing has come of it. */
#define PATIENCE 200000u

struct sim sim;

static bool is_meanwhile;
static unsigned crashes_left;

/* ---- chance ---- */

/* Source: Marsaglia, "Xorshift RNGs". */
static uint64_t next_random(void)
{
    sim.random ^= sim.random << 13;
    sim.random ^= sim.random >> 7;
    sim.random ^= sim.random << 17;
    return sim.random * 0x2545f4914f6cdd1dull;
}

unsigned sim_draw(unsigned limit)
{
    return (unsigned)((next_random() >> 32) * limit >> 32);
}

/* Seeds that are neighbours have nothing in common. */
static uint64_t spread(uint64_t seed)
{
    seed = (seed + 1) * 0x9e3779b97f4a7c15ull;
    seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9ull;
    seed ^= seed >> 27;
    return seed ? seed : 1;
}

/* ---- what is told ---- */

void sim_fail(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(sim.fault, sizeof(sim.fault), fmt, args);
    va_end(args);
    longjmp(sim.failed, 1);
}

void sim_trace_line(const char *fmt, ...)
{
    va_list args;

    (void)printf("# %6u %10.6f ", sim.events, (double)sim.now_ns / 1e9);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)printf("\n");
}

/* ---- what a seed is ---- */

static uint64_t draw_features(const struct sim_config *config)
{
    bool can_flush = !sim_once_in(8);

    return BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
           (can_flush ? BIT(VIRTIO_BLK_F_FLUSH) : 0) |
           (config->has_event_idx ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
           (config->has_indirect ? BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
           (config->is_packed ? BIT(VIRTIO_F_RING_PACKED) : 0) |
           (config->is_in_order ? BIT(VIRTIO_F_IN_ORDER) : 0);
}

/* One after the other, as compilers do not agree in which order members are set. */
static void draw_rings(struct sim_config *config)
{
    config->is_packed = sim_once_in(2);
    config->is_in_order = sim_once_in(3);
    config->has_event_idx = !sim_once_in(3);
    config->has_indirect = sim_once_in(2);
    config->has_log = !sim_once_in(6);
    config->has_pipes = sim_once_in(8);
    config->queues = 1 + sim_draw(SIM_QUEUES);
    config->size = 4u << sim_draw(3);
    if (sim.spoil) {
        config->is_packed = sim.spoil->is_packed;
        config->has_log |= sim.spoil->needs_log;
    }
    config->features = draw_features(config);
}

static void draw_config(void)
{
    struct sim_config *config = &sim.config;

    draw_rings(config);
    config->is_direct = sim_once_in(3);
    config->max_inflight = 1u << sim_draw(6);
    config->error_permille = sim_draw(150);
    config->error_permille *= sim_once_in(2);
    config->holds_errors = sim_once_in(6);
    config->pace = 2 + sim_draw(12);
    config->steps = 300 + sim_draw(900);
    config->crashes = sim_draw(5);
    config->crashes *= config->has_log;
}

/* ---- steps ---- */

void sim_meanwhile(void)
{
    unsigned guest;

    if (is_meanwhile || !sim_once_in(sim.config.pace)) {
        return;
    }
    is_meanwhile = true;
    guest = guest_ready();
    if (guest > 0 && sim_once_in(2)) {
        guest_step(sim_draw(guest));
    } else if (image_ready() > 0) {
        image_step(sim_draw(image_ready()));
    }
    is_meanwhile = false;
}

static void process_is_killed(void)
{
    sim_trace("the process is killed");
    sim.crashes++;
    is_meanwhile = false;
    crash_reset();
    process_is_dying();
    image_orphan();
    kernel_kill();
    process_died();
    frontend_died();
}

static void maybe_kill(void)
{
    if (crashes_left > 0 && !sim.is_ending && !crash_is_due() && process_device &&
        sim_once_in(150)) {
        crashes_left--;
        crash_after(1 + sim_draw(40));
    }
}

enum actor { LOOPS, GUEST, IMAGE, PROCESS, FRONTEND, ACTORS };

static void act(enum actor actor, unsigned which)
{
    switch (actor) {
    case LOOPS:
        loop_run(which);
        break;
    case GUEST:
        guest_step(which);
        break;
    case IMAGE:
        image_step(which);
        break;
    case PROCESS:
        process_step(which);
        break;
    case FRONTEND:
    default:
        frontend_step();
    }
}

/* What belongs to the process runs within it, and may be its last. */
static void act_within(enum actor actor, unsigned which)
{
    if (actor == GUEST || actor == IMAGE) {
        act(actor, which);
        return;
    }
    kernel_enter();
    crash_watch(true);
    act(actor, which);
    crash_settle();
    crash_watch(false);
    kernel_leave();
}

static unsigned ready_of(enum actor actor)
{
    switch (actor) {
    case LOOPS:
        return loop_ready();
    case GUEST:
        return guest_ready();
    case IMAGE:
        return image_ready();
    case PROCESS:
        return process_ready();
    case FRONTEND:
    default:
        return frontend_ready();
    }
}

/* How often each has its turn; who changes things has it seldom, as there is time for all else. */
static const unsigned weights[ACTORS] = {
    [LOOPS] = 40, [GUEST] = 40, [IMAGE] = 20, [PROCESS] = 1, [FRONTEND] = 4};

/* Returns false when nobody can do anything. */
static bool step(void)
{
    unsigned ready[ACTORS];
    unsigned sum = 0;
    unsigned at;

    for (unsigned i = 0; i < ACTORS; i++) {
        ready[i] = ready_of(i);
        sum += ready[i] > 0 ? weights[i] : 0;
    }
    if (sum == 0) {
        return false;
    }
    at = sim_draw(sum);
    for (unsigned i = 0; i < ACTORS; i++) {
        unsigned weight = ready[i] > 0 ? weights[i] : 0;

        if (at < weight) {
            act_within(i, sim_draw(ready[i]));
            return true;
        }
        at -= weight;
    }
    return true;
}

/* Nobody has anything to do until a timer comes. */
static void sleep_till_timer(void)
{
    uint64_t next_ms = loop_next_ms();

    if (image_wake()) {
        return;
    }
    if (next_ms == UINT64_MAX) {
        sim_fail("%u requests are not answered, and nobody does anything", guest_pending_all());
    }
    if (sim.now_ns < next_ms * NS_PER_MS) {
        sim.now_ns = next_ms * NS_PER_MS;
    }
}

static bool is_over(void)
{
    return sim.offers == 0 && guest_pending_all() == 0 && process_is_settled() &&
           frontend_is_settled() && image_busy() == 0;
}

static void go_on(void)
{
    if (setjmp(crash_out) != 0) {
        process_is_killed();
        return;
    }
    sim.events++;
    sim.now_ns += sim_draw(20) * NS_PER_US;
    maybe_kill();
    if (!step()) {
        sleep_till_timer();
    }
}

static void run_till_over(void)
{
    for (unsigned i = 0; !is_over(); i++) {
        if (i == PATIENCE) {
            sim_fail("%u requests are not answered, whatever is done", guest_pending_all());
        }
        go_on();
    }
}

/* Requests that nobody's message or command helps along: one that is overlooked stays so. */
static void run_rounds(void)
{
    for (unsigned round = sim_draw(12); round > 0; round--) {
        sim.offers = 1 + sim_draw(6);
        run_till_over();
    }
}

static void run_all(void)
{
    sim.offers = UINT_MAX;
    while (sim.events < sim.config.steps) {
        go_on();
    }
    sim_trace("the end begins");
    sim.is_ending = true;
    sim.offers = 0;
    crash_after(0);
    run_till_over();
    run_rounds();
    model_check_all();
    kernel_enter();
    process_end();
    kernel_leave();
}

static void begin(uint64_t seed, const struct sim_spoil *spoil, bool is_traced)
{
    sim.seed = seed;
    sim.random = spread(seed);
    sim.now_ns = NS_PER_S;
    sim.is_traced = is_traced;
    sim.is_ending = false;
    sim.spoil = spoil;
    sim.events = 0;
    is_meanwhile = false;
    draw_config();
    crashes_left = sim.config.crashes;
    crash_reset();
    kernel_kill();
    kernel_reset_fds();
    image_reset();
    model_reset();
    guest_reset();
    process_reset();
    frontend_reset();
}

const char *sim_run(uint64_t seed, const struct sim_spoil *spoil, bool is_traced)
{
    begin(seed, spoil, is_traced);
    if (setjmp(sim.failed) != 0) {
        kernel_leave();
        crash_watch(false);
        process_died();
        kernel_kill();
        return sim.fault;
    }
    run_all();
    return NULL;
}
