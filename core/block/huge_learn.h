/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Is it faster to let large operations go through memory in huge pages of our own?  The copy costs
 * a core some microseconds; a device that pays for each piece of memory may save much more, and one
 * that does not saves nothing.  So it is tried (trial.h), for reads and writes apart: what counts
 * are the bytes that large operations move in the time in which any is under way.
 *
 * It has to gain a tenth, as a core has other uses; and images that do their work within the call,
 * as memory does, are left alone.  Times are given, so that tests have their own.
 * Part of a path.
 */

#include "core/base/base.h"
#include "core/base/trial.h"

enum huge_kind { HUGE_READ, HUGE_WRITE, HUGE_KINDS };

/* Of one kind. */
struct huge_learned {
    bool is_on;
    unsigned losses;      /* trials in a row that changed nothing */
    uint64_t rest_end_ns; /* no trial before */
};

/* Large operations only. */
struct huge_slice {
    uint64_t start_ns;
    unsigned inflight; /* at the start: they went another way, and are not counted */
    uint64_t busy_ns;
    uint64_t bytes; /* of those that ended */
    unsigned ended;
    unsigned at_once; /* of those, by the time that the call came back */
    unsigned begun[HUGE_KINDS];
    bool has_settled;
};

struct huge_learn {
    struct huge_learned learned[HUGE_KINDS];
    bool is_trying;
    enum huge_kind kind; /* that is tried, or was last */
    struct trial trial;
    struct huge_slice slice;
    unsigned inflight;
    uint64_t busy_start_ns; /* when the first of these began */
};

void huge_learn_init(struct huge_learn *learn, uint64_t now_ns);

/* At this moment, trials included. */
static inline bool huge_learn_is_on(const struct huge_learn *learn, enum huge_kind kind)
{
    bool is_tried = learn->is_trying && learn->kind == kind && trial_is_tried(&learn->trial);

    return learn->learned[kind].is_on != is_tried;
}

/* Some are about to begin.  `turn`: of its thread's trials. */
void huge_learn_look(struct huge_learn *learn, struct trial_turn *turn, uint64_t now_ns);

/* One has begun, at the time of the last look. */
void huge_learn_begin(struct huge_learn *learn, enum huge_kind kind, uint64_t now_ns);

/* One has ended.  Returns true when no other is under way: then huge_learn_idle has to be told. */
bool huge_learn_end(struct huge_learn *learn, uint64_t bytes, bool is_at_once);
void huge_learn_idle(struct huge_learn *learn, uint64_t now_ns);
