/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/trial.h"

#define ROUND_SLICES 4u
#define ROUNDS_MIN 3u
#define ROUNDS_MAX 8u

/* Permille: rounds scatter so much at least, however close the first few are. */
#define SCATTER_MIN 15

/* Permille: where hardly anything was done, or nothing, how much more it is says no more. */
#define GAIN_MAX 10000

/* Longer than a slice takes. */
#define TURN_NS NS_PER_S

/* Is `gain`, of so many rounds, apart from the bar by more than `errors` standard errors? */
static bool is_apart(const struct trial *trial, int64_t gain, int64_t errors)
{
    int64_t rounds = trial->rounds;
    int64_t variance = (trial->gain_squares - rounds * gain * gain) / (rounds - 1);
    int64_t off = gain - trial->bar;

    if (variance < SCATTER_MIN * SCATTER_MIN) {
        variance = SCATTER_MIN * SCATTER_MIN;
    }
    return off * off * rounds > errors * errors * variance;
}

static enum trial_end judge_gain(const struct trial *trial)
{
    int64_t gain = trial->gain_sum / (int64_t)trial->rounds;

    if (trial->rounds < ROUNDS_MIN || (trial->rounds < ROUNDS_MAX && !is_apart(trial, gain, 2))) {
        return TRIAL_GOES_ON;
    }
    return gain > trial->bar && is_apart(trial, gain, 1) ? TRIAL_WON : TRIAL_LOST;
}

static int64_t round_gain(const struct trial *trial)
{
    int64_t used = (int64_t)trial->rate[0];
    int64_t gain = ((int64_t)trial->rate[1] - used) * 1000 / (used + 1);

    return min_of(gain, (int64_t)GAIN_MAX);
}

static enum trial_end end_round(struct trial *trial)
{
    int64_t gain = round_gain(trial);

    trial->rounds++;
    trial->gain_sum += gain;
    trial->gain_squares += gain * gain;
    trial->slice = 0;
    trial->rate[0] = trial->rate[1] = 0;
    return judge_gain(trial);
}

/* No need to look closer.  One slice alone may have been disturbed. */
static bool is_hopeless(const struct trial *trial)
{
    return (trial->slice == 1 && trial->rate[1] < trial->rate[0] / 2) ||
           (trial->slice == 2 && trial->rate[1] / 2 < trial->rate[0] / 5 * 4);
}

enum trial_end trial_note(struct trial *trial, uint64_t rate)
{
    trial->rate[trial_is_tried(trial)] += rate;
    if (is_hopeless(trial)) {
        return TRIAL_LOST;
    }
    return ++trial->slice == ROUND_SLICES ? end_round(trial) : TRIAL_GOES_ON;
}

bool trial_may_be_on(struct trial_turn *turn, const void *who, bool has_trial, uint64_t now_ns)
{
    bool is_mine = turn->whose == who;
    bool is_taken = turn->whose && !is_mine && now_ns < turn->end_ns;
    bool is_awaited = turn->next && turn->next != who && now_ns < turn->next_end_ns;

    if (!has_trial) {
        turn->whose = is_mine ? NULL : turn->whose;
        return false;
    }
    if (is_taken || (is_awaited && !is_mine)) {
        turn->next_end_ns = is_awaited ? turn->next_end_ns : now_ns + TURN_NS;
        turn->next = is_awaited ? turn->next : who;
        return false;
    }
    turn->whose = who;
    turn->end_ns = now_ns + TURN_NS;
    turn->next = turn->next == who ? NULL : turn->next;
    return true;
}
