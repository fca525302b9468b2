/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/huge_learn.h"

/* A slice is so long, and has so many operations: those in flight several times over. */
#define SLICE_NS (4 * NS_PER_MS)
#define SLICE_ENDED 32u
#define SLICE_INFLIGHTS 2u

/* After so long it says nothing any more: the load comes and goes. */
#define SLICE_MAX_NS NS_PER_S

/* Permille.  What is not clear goes without the copy. */
#define GAIN_ON 100
#define GAIN_OFF (-50)

#define REST_MIN_NS (500 * NS_PER_MS)
#define LOSSES_MAX 4u /* eight seconds */

static void begin_huge_slice(struct huge_learn *learn, uint64_t now_ns)
{
    learn->slice = (struct huge_slice){.start_ns = now_ns, .inflight = learn->inflight};
    learn->busy_start_ns = now_ns;
}

void huge_learn_init(struct huge_learn *learn, uint64_t now_ns)
{
    *learn = (struct huge_learn){.kind = HUGE_WRITE};
    begin_huge_slice(learn, now_ns);
}

static void end_huge_trial(struct huge_learn *learn, bool has_won, uint64_t now_ns)
{
    struct huge_learned *learned = &learn->learned[learn->kind];

    learn->is_trying = false;
    if (has_won) {
        learned->is_on = !learned->is_on;
        learned->losses = 0;
    }
    learned->rest_end_ns = now_ns + (REST_MIN_NS << learned->losses);
    learned->losses = min_of(learned->losses + 1, LOSSES_MAX);
}

/* Do so many of the operations go that way that it matters, and go on after the call? */
static bool is_worth_a_trial(const struct huge_learn *learn, enum huge_kind kind)
{
    const struct huge_slice *slice = &learn->slice;

    return slice->begun[kind] * 4 > slice->ended &&
           (learn->learned[kind].is_on || slice->at_once * 2 < slice->ended);
}

static void begin_huge_trial(struct huge_learn *learn, uint64_t now_ns)
{
    for (unsigned i = 1; i <= HUGE_KINDS; i++) {
        enum huge_kind kind = (learn->kind + i) % HUGE_KINDS; /* the other one first */
        bool is_on = learn->learned[kind].is_on;

        if (now_ns >= learn->learned[kind].rest_end_ns && is_worth_a_trial(learn, kind)) {
            learn->is_trying = true;
            learn->kind = kind;
            learn->trial = (struct trial){.bar = is_on ? GAIN_OFF : GAIN_ON};
            return;
        }
    }
}

/* Bytes a second, of the time that was not idle. */
static uint64_t slice_rate(const struct huge_slice *slice)
{
    return slice->bytes * 1000 / (slice->busy_ns / 1000 + 1) * 1000;
}

static void note_huge_trial(struct huge_learn *learn, uint64_t now_ns)
{
    enum trial_end end = trial_note(&learn->trial, slice_rate(&learn->slice));

    if (end != TRIAL_GOES_ON) {
        end_huge_trial(learn, end == TRIAL_WON, now_ns);
    }
}

static void end_huge_slice(struct huge_learn *learn, uint64_t now_ns)
{
    if (learn->is_trying) {
        note_huge_trial(learn, now_ns);
    } else {
        begin_huge_trial(learn, now_ns);
    }
}

/* While it is another's turn, what has begun here is as if it had not. */
static void mind_turn(struct huge_learn *learn, struct trial_turn *turn, uint64_t now_ns)
{
    learn->is_trying = trial_may_be_on(turn, learn, learn->is_trying, now_ns);
}

static void note_huge_busy(struct huge_learn *learn, uint64_t now_ns)
{
    if (learn->inflight > 0) {
        learn->slice.busy_ns += now_ns - learn->busy_start_ns;
        learn->busy_start_ns = now_ns;
    }
}

static bool is_slice_over(const struct huge_slice *slice)
{
    return slice->busy_ns >= SLICE_NS && slice->ended >= SLICE_ENDED &&
           slice->ended >= SLICE_INFLIGHTS * slice->inflight;
}

void huge_learn_look(struct huge_learn *learn, struct trial_turn *turn, uint64_t now_ns)
{
    struct huge_slice *slice = &learn->slice;

    note_huge_busy(learn, now_ns);
    if (now_ns - slice->start_ns >= SLICE_MAX_NS) {
        learn->is_trying = false; /* what it has found is of another load */
        mind_turn(learn, turn, now_ns);
        begin_huge_slice(learn, now_ns);
    } else if (!slice->has_settled) {
        if (slice->ended >= slice->inflight) {
            begin_huge_slice(learn, now_ns);
            slice->has_settled = true;
        }
    } else if (is_slice_over(slice)) {
        end_huge_slice(learn, now_ns);
        mind_turn(learn, turn, now_ns);
        begin_huge_slice(learn, now_ns);
    }
}

void huge_learn_begin(struct huge_learn *learn, enum huge_kind kind, uint64_t now_ns)
{
    if (learn->inflight++ == 0) {
        learn->busy_start_ns = now_ns;
    }
    learn->slice.begun[kind]++;
}

bool huge_learn_end(struct huge_learn *learn, uint64_t bytes, bool is_at_once)
{
    learn->slice.bytes += bytes;
    learn->slice.ended++;
    learn->slice.at_once += is_at_once;
    return --learn->inflight == 0;
}

void huge_learn_idle(struct huge_learn *learn, uint64_t now_ns)
{
    learn->slice.busy_ns += now_ns - learn->busy_start_ns;
}
