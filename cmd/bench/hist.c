/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/hist.h"

/*
 * Values below HIST_STEPS are their own step.  Above, `shift` leaves HIST_STEP_BITS bits behind
 * the first, which is what makes the steps of one shift begin where those of the last end.
 */
static unsigned step_of(uint64_t value)
{
    unsigned shift =
        value < HIST_STEPS ? 0 : 63u - HIST_STEP_BITS - (unsigned)__builtin_clzll(value);

    return shift * HIST_STEPS + (unsigned)(value >> shift);
}

/* The last value that belongs to a step. */
static uint64_t last_of(unsigned step)
{
    unsigned shift = step < HIST_STEPS ? 0 : step / HIST_STEPS - 1;
    uint64_t first = step - shift * HIST_STEPS;

    return ((first + 1) << shift) - 1;
}

void hist_add(struct hist *hist, uint64_t value)
{
    hist->step[step_of(min_of(value, (uint64_t)(1ull << HIST_BITS) - 1))]++;
    hist->min = hist->count == 0 ? value : min_of(hist->min, value);
    hist->max = value > hist->max ? value : hist->max;
    hist->sum += value;
    hist->count++;
}

uint64_t hist_quantile(const struct hist *hist, unsigned per_mille)
{
    uint64_t wanted = (hist->count * per_mille + 999) / 1000;
    uint64_t seen = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(hist->step); i++) {
        seen += hist->step[i];
        if (seen > 0 && seen >= wanted) {
            return min_of(last_of(i), hist->max);
        }
    }
    return hist->max;
}
