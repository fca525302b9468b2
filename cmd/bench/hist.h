/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A histogram of times: exact below 256 ns, above that in steps of less than 1 % of the value,
 * as each power of two is cut into 128 equal steps.  Zeroed memory is an empty one.
 * Owned by whoever measures; one thread.
 */

#include "core/base/base.h"

#define HIST_STEP_BITS 7u
#define HIST_STEPS (1u << HIST_STEP_BITS)
#define HIST_BITS 40u /* the largest value told apart: 18 minutes */

struct hist {
    uint64_t step[(HIST_BITS - HIST_STEP_BITS + 1) * HIST_STEPS];
    uint64_t count;
    uint64_t sum;
    uint64_t min;
    uint64_t max;
};

void hist_add(struct hist *hist, uint64_t value);

/*
 * The value that so many of 1000 values are at or below: the last one of its step.  0 when
 * there is none.
 */
uint64_t hist_quantile(const struct hist *hist, unsigned per_mille);

static inline double hist_mean(const struct hist *hist)
{
    return hist->count > 0 ? (double)hist->sum / (double)hist->count : 0;
}
