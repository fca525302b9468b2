/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which of two ways is faster, found while both are in use.  They take turns for slices of time, in
 * rounds of four: in use, tried, tried, in use, so that what drifts meanwhile favours neither.
 * After some rounds it is known well enough whether the gain is above the bar; where rounds scatter
 * too much for that, all stays as it is.
 * Plain values; the one who compares cuts the slices.
 */

#include "core/base/base.h"

struct trial {
    int64_t bar;      /* permille: the gain that the tried way must have, clearly */
    unsigned slice;   /* of the round: see trial_is_tried */
    uint64_t rate[2]; /* of this round, sums: of the way in use, of the one that is tried */
    unsigned rounds;
    int64_t gain_sum; /* permille, of the rounds */
    int64_t gain_squares;
};

enum trial_end { TRIAL_GOES_ON, TRIAL_WON, TRIAL_LOST };

/* Is the slice that comes next the tried way's? */
static inline bool trial_is_tried(const struct trial *trial)
{
    return trial->slice == 1 || trial->slice == 2;
}

/* A slice is over; `rate` is what it has done in a second. */
enum trial_end trial_note(struct trial *trial, uint64_t rate);

/*
 * Whose trial is on, of those that one thread has to make: each changes what the others measure.
 * Who had to wait is the next, or one that tries again and again would leave no room.  Who stops
 * asking, as the load is another one, loses all that after a second.
 */
struct trial_turn {
    const void *whose; /* NULL: no trial is on */
    uint64_t end_ns;
    const void *next; /* NULL: nobody waits */
    uint64_t next_end_ns;
};

/*
 * After each slice: does `who` have a trial on, or would like to begin one?  Returns whether that
 * may be.
 */
bool trial_may_be_on(struct trial_turn *turn, const void *who, bool has_trial, uint64_t now_ns);
