/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/spin.h"

/* What is spun in between before it is asked whether somebody else wants the core. */
#define WINDOW_NS NS_PER_MS

/* Two looks lie well below a microsecond apart; what takes longer is not ours. */
#define GAP_NS 3000u

#define REST_MIN_NS (2 * NS_PER_MS)
#define REST_MAX_NS (128 * NS_PER_MS)

/* Unused credit does not pile up: a quiet second buys no second of spinning. */
#define CREDIT_MAX_NS (10 * NS_PER_MS)

/* After so many misses in a row it is tried once in 2^MISSES_MAX waits. */
#define MISSES_MAX 6u

/* A spin is a little longer than what is expected, as waits scatter. */
#define SLACK_NS 4000u

/* To fall asleep and be woken by a kick takes no less than this. */
#define LINGER_NS 3000u

void spin_init(struct spin *spin, uint64_t max_ns, unsigned cpu_percent)
{
    *spin = (struct spin){
        .max_ns = max_ns,
        .cpu_percent = cpu_percent,
        .credit_ns = CREDIT_MAX_NS,
        .rest_ns = REST_MIN_NS,
    };
}

static bool has_credit(struct spin *spin, uint64_t limit_ns, uint64_t now_ns)
{
    if (spin->cpu_percent >= 100) {
        return true;
    }
    spin->credit_ns += (now_ns - spin->earned_ns) / 100 * spin->cpu_percent;
    spin->credit_ns = min_of(spin->credit_ns, (uint64_t)CREDIT_MAX_NS);
    spin->earned_ns = now_ns;
    return spin->credit_ns >= limit_ns;
}

/* How long this spin may be at most, 0: it should not be. */
static uint64_t limit_of(const struct spin *spin, const struct spin_history *history)
{
    if (spin->who == SPIN_FOR_GUEST && spin->max_ns < LINGER_NS) {
        return LINGER_NS;
    }
    if (history->expect_ns > spin->max_ns) {
        return 0;
    }
    return min_of(3 * history->expect_ns + SLACK_NS, spin->max_ns);
}

bool spin_begin(struct spin *spin, enum spin_for who, uint64_t now_ns)
{
    struct spin_history *history = &spin->history[who];
    uint64_t limit_ns;

    if (!spin->idle_ns) {
        spin->idle_ns = now_ns;
    }
    spin->who = who;
    spin->has_mail = false; /* that of another wait, if any */
    if (history->skip > 0) {
        history->skip--;
        return false;
    }
    limit_ns = limit_of(spin, history);
    if (limit_ns == 0 || now_ns < spin->rest_end_ns || !has_credit(spin, limit_ns, now_ns)) {
        return false;
    }
    spin->start_ns = now_ns;
    spin->look_ns = now_ns;
    spin->end_ns = now_ns + limit_ns;
    return true;
}

bool spin_goes_on(struct spin *spin, uint64_t now_ns)
{
    uint64_t gap_ns = now_ns - spin->look_ns;

    if (gap_ns > GAP_NS) {
        spin->lost_ns += gap_ns;
    }
    spin->look_ns = now_ns;
    return now_ns < spin->end_ns;
}

/*
 * A quarter of the window was not ours: another thread, or another virtual machine, has work
 * to do on this core.  Rest longer each time that is so, and shorter each time that it is not.
 */
static void judge_window(struct spin *spin, uint64_t now_ns)
{
    if (spin->lost_ns > spin->spun_ns / 4) {
        spin->rest_end_ns = now_ns + spin->rest_ns;
        spin->rest_ns = min_of(spin->rest_ns * 2, (uint64_t)REST_MAX_NS);
    } else if (spin->rest_ns > REST_MIN_NS) {
        spin->rest_ns /= 2;
    }
    spin->spun_ns = 0;
    spin->lost_ns = 0;
}

/*
 * Work that comes as soon as we sleep, and never while we spin, comes from somebody who waits
 * for this core: its wait looks short, and would make us spin again.
 */
static void count_miss(struct spin_history *history, bool has_work)
{
    if (has_work) {
        history->misses = 0;
    } else {
        history->misses = min_of(history->misses + 1, MISSES_MAX);
        history->skip = (1u << history->misses) - 1;
    }
}

uint64_t spin_end(struct spin *spin, uint64_t now_ns, enum spin_result result)
{
    uint64_t spun_ns = now_ns - spin->start_ns;

    (void)spin_goes_on(spin, now_ns); /* counts the last gap */
    spin->has_mail = result == SPIN_MAIL;
    if (!spin->has_mail) {
        count_miss(&spin->history[spin->who], result == SPIN_HIT);
    }
    spin->credit_ns -= min_of(spin->credit_ns, spun_ns);
    spin->spun_ns += spun_ns;
    if (spin->spun_ns >= WINDOW_NS) {
        judge_window(spin, now_ns);
    }
    return spun_ns;
}

bool spin_confirm(struct spin *spin)
{
    bool has_ended_it = spin->has_mail;

    if (has_ended_it) {
        count_miss(&spin->history[spin->who], true);
    }
    spin->has_mail = false;
    return has_ended_it;
}

/* A long wait counts for no more than what ends spinning soon, and lets it begin again soon. */
void spin_work(struct spin *spin, uint64_t now_ns)
{
    struct spin_history *history = &spin->history[spin->who];
    uint64_t wait_ns;

    if (!spin->idle_ns) {
        return;
    }
    wait_ns = min_of(now_ns - spin->idle_ns, 4 * spin->max_ns);
    history->expect_ns = history->expect_ns - history->expect_ns / 8 + wait_ns / 8;
    spin->idle_ns = 0;
}
