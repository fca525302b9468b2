/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/batch.h"

/*
 * A slice is so long, and has so many requests: what was in flight before it several times over.
 * After a longer time it ends in any case.
 */
#define SLICE_NS (4 * NS_PER_MS)
#define SLICE_REQUESTS 64u
#define SLICE_INFLIGHTS 8u
#define SLICE_REQUESTS_MAX 1024u /* or once what is in flight */
#define SLICE_MAX_NS (100 * NS_PER_MS)

/* Permille: what a larger size has to gain, and a smaller one must not lose: ties go to latency. */
#define GAIN_UP 10
#define GAIN_DOWN (-15)

#define REST_MIN_NS (250 * NS_PER_MS)
#define LOSSES_MAX 2u /* a second */

/* Slices whose average says whether the load is another one, and no sooner again than this. */
#define RECENT_SLICES 4u
#define FORGET_NS NS_PER_S

#define LEVEL_FIRST 2u

static void begin_slice(struct batch *batch, uint64_t requests, unsigned inflight, uint64_t now_ns)
{
    batch->slice = (struct batch_slice){
        .start_ns = now_ns,
        .start_requests = requests,
        .inflight = inflight,
    };
    if (batch->idle_start_ns != 0) {
        batch->idle_start_ns = now_ns;
    }
}

/* For the slice that begins: those that were learned, or are tried. */
static void use_sizes(struct batch *batch)
{
    const struct batch_trial *trial = &batch->trial;

    for (unsigned kind = 0; kind < BATCH_KINDS; kind++) {
        unsigned size = batch->fixed > 0 ? batch->fixed : 1u << batch->learned[kind].level;
        unsigned tried = 1u << trial->level;

        if (trial->is_on && trial->kind == kind) {
            batch->mark[kind] = min_of(size, tried);
            batch->size[kind] = trial_is_tried(&trial->compared) ? tried : size;
        } else {
            batch->mark[kind] = size / 2;
            batch->size[kind] = size;
        }
    }
}

void batch_init(struct batch *batch, unsigned fixed, uint64_t now_ns)
{
    *batch = (struct batch){.fixed = fixed};
    for (unsigned kind = 0; kind < BATCH_KINDS; kind++) {
        batch->learned[kind].level = LEVEL_FIRST;
        batch->taken[kind].end = BATCH_NOWHERE;
    }
    use_sizes(batch);
    begin_slice(batch, 0, 0, now_ns);
}

unsigned batch_size(const struct batch *batch, enum batch_kind kind)
{
    const struct batch_learned *learned = &batch->learned[kind];

    return batch->fixed > 0 ? batch->fixed : learned->is_used ? 1u << learned->level : 0;
}

static void note_busy(struct batch *batch, uint64_t now_ns)
{
    if (batch->idle_start_ns != 0) {
        batch->slice.idle_ns += now_ns - batch->idle_start_ns;
        batch->idle_start_ns = 0;
    }
}

static void note_batch(struct batch *batch, enum batch_kind kind)
{
    struct batch_slice *slice = &batch->slice;
    unsigned count = batch->taken[kind].count;

    if (count > 0) {
        slice->batches[kind]++;
        slice->full[kind] += count >= batch->size[kind];
        slice->over[kind] += count > batch->mark[kind];
        batch->taken[kind].count = 0;
        batch->learned[kind].is_used = true;
    }
}

void batch_give(struct batch *batch, uint64_t now_ns)
{
    note_busy(batch, now_ns);
    batch->is_full = false;
    for (unsigned kind = 0; kind < BATCH_KINDS; kind++) {
        note_batch(batch, kind);
    }
}

/* ---- trials ---- */

/*
 * The level to try: the next one, and every other time the one behind it, as two may be the same
 * where the third is not.  Returns the level in use where there is none.
 */
static unsigned level_to_try(const struct batch_learned *learned, enum batch_way way)
{
    unsigned step = 1 + learned->losses[way] % 2;

    return way == BATCH_UP ? min_of(learned->level + step, BATCH_LEVELS - 1)
                           : learned->level - min_of(learned->level, step);
}

static void let_rest(struct batch_learned *learned, enum batch_way way, uint64_t now_ns)
{
    unsigned losses = learned->losses[way];

    learned->rest_end_ns[way] = now_ns + ((uint64_t)REST_MIN_NS << losses);
    learned->losses[way] = min_of(losses + 1, LOSSES_MAX);
}

static void end_trial(struct batch *batch, bool has_won, uint64_t now_ns)
{
    struct batch_trial *trial = &batch->trial;
    struct batch_learned *learned = &batch->learned[trial->kind];

    trial->is_on = false;
    if (!has_won) {
        let_rest(learned, trial->way, now_ns);
    } else {
        learned->level = trial->level;
        learned->losses[trial->way] = 0;
        let_rest(learned, trial->way == BATCH_UP ? BATCH_DOWN : BATCH_UP, now_ns);
        batch->steady_rate = 0;
    }
}

/* So many of the batches that it matters. */
static bool is_enough(unsigned part, unsigned batches)
{
    return part * 32 > batches;
}

/* Is the larger one of the two sizes that are compared in use at the moment? */
static bool is_larger(const struct batch *batch)
{
    return batch->size[batch->trial.kind] > batch->mark[batch->trial.kind];
}

/* Does what was counted say anything about the sizes under trial? */
static void note_trial(struct batch *batch, uint64_t rate, uint64_t now_ns)
{
    struct batch_trial *trial = &batch->trial;
    const struct batch_slice *slice = &batch->slice;
    enum trial_end end;

    if (!is_enough(is_larger(batch) ? slice->over[trial->kind] : slice->full[trial->kind],
                   slice->batches[trial->kind])) {
        end_trial(batch, false, now_ns); /* the ring does not hold more than the smaller one */
        return;
    }
    end = trial_note(&trial->compared, rate);
    if (end != TRIAL_GOES_ON) {
        end_trial(batch, end == TRIAL_WON, now_ns);
    }
}

/* ---- between trials ---- */

static void forget_rests(struct batch *batch)
{
    for (unsigned kind = 0; kind < BATCH_KINDS; kind++) {
        struct batch_learned *learned = &batch->learned[kind];

        *learned = (struct batch_learned){.level = learned->level, .is_used = learned->is_used};
    }
}

/* Is the load another one?  Then what was learned of the last is worth a new look. */
static void note_steady(struct batch *batch, uint64_t rate, uint64_t now_ns)
{
    bool is_off;

    batch->recent_rate += rate;
    if (++batch->recent < RECENT_SLICES) {
        return;
    }
    rate = batch->recent_rate / RECENT_SLICES;
    is_off = rate > batch->steady_rate / 8 * 9 || rate < batch->steady_rate / 8 * 7;
    if (batch->steady_rate > 0 && is_off && now_ns >= batch->forget_ns) {
        forget_rests(batch);
        batch->forget_ns = now_ns + FORGET_NS;
    }
    batch->steady_rate = rate;
    batch->recent_rate = 0;
    batch->recent = 0;
}

/*
 * Requests that continue each other become one operation.  But a batch of one ends before it could
 * be seen that they do, and one of two cuts the second operation short.
 */
static unsigned lowest_level(const struct batch *batch, enum batch_kind kind)
{
    return batch->slice.continued[kind] * 8 > batch->slice.taken[kind] ? LEVEL_FIRST : 0;
}

/* A size that hardly a batch reaches has no effect: the largest that they do is in use. */
static void fit_level(struct batch *batch)
{
    for (unsigned kind = 0; kind < BATCH_KINDS; kind++) {
        struct batch_learned *learned = &batch->learned[kind];
        unsigned lowest = lowest_level(batch, kind);

        if (learned->level < lowest) {
            learned->level = lowest;
        } else if (batch->slice.batches[kind] >= 8 && learned->level > lowest &&
                   !is_enough(batch->slice.over[kind], batch->slice.batches[kind])) {
            learned->level--;
        }
    }
}

static void begin_trial(struct batch *batch, uint64_t now_ns)
{
    for (unsigned i = 0; i < BATCH_KINDS * BATCH_WAYS; i++) {
        /* The other kind than last is first, and going on in the way that has won. */
        enum batch_kind kind = (batch->trial.kind + 1 + i / BATCH_WAYS) % BATCH_KINDS;
        enum batch_way way = (batch->trial.way + i) % BATCH_WAYS;
        const struct batch_learned *learned = &batch->learned[kind];
        unsigned level = level_to_try(learned, way);

        if (level != learned->level && level >= lowest_level(batch, kind) &&
            now_ns >= learned->rest_end_ns[way] &&
            is_enough(way == BATCH_UP ? batch->slice.full[kind] : batch->slice.over[kind],
                      batch->slice.batches[kind])) {
            batch->trial = (struct batch_trial){
                .is_on = true,
                .kind = kind,
                .way = way,
                .level = level,
                .compared.bar = way == BATCH_UP ? GAIN_UP : GAIN_DOWN,
            };
            return;
        }
    }
}

/* What is in flight several times over, but of a deep queue no more than there is time for. */
static uint64_t enough_requests(const struct batch_slice *slice)
{
    unsigned most = slice->inflight > SLICE_REQUESTS_MAX ? slice->inflight : SLICE_REQUESTS_MAX;

    return min_of(SLICE_INFLIGHTS * slice->inflight, most);
}

static bool has_settled(const struct batch_slice *slice, uint64_t finished, uint64_t age_ns)
{
    return finished >= slice->inflight || age_ns >= SLICE_MAX_NS;
}

static bool is_over(const struct batch_slice *slice, uint64_t finished, uint64_t age_ns)
{
    return (age_ns >= SLICE_NS && finished >= SLICE_REQUESTS &&
            finished >= enough_requests(slice)) ||
           age_ns >= SLICE_MAX_NS;
}

static void end_slice(struct batch *batch, uint64_t finished, uint64_t age_ns, uint64_t now_ns)
{
    uint64_t rate = finished * NS_PER_S / age_ns;
    bool is_idle = batch->slice.idle_ns > age_ns / 2 || finished < SLICE_REQUESTS / 4;

    if (batch->trial.is_on && is_idle) {
        end_trial(batch, false, now_ns); /* it says nothing */
    } else if (batch->trial.is_on) {
        note_trial(batch, rate, now_ns);
    } else if (!is_idle) {
        note_steady(batch, rate, now_ns);
        fit_level(batch);
        begin_trial(batch, now_ns);
    }
}

void batch_look(struct batch *batch, struct trial_turn *turn, uint64_t finished, unsigned inflight,
                uint64_t now_ns)
{
    struct batch_slice *slice = &batch->slice;
    uint64_t age_ns = now_ns - slice->start_ns;
    uint64_t count = finished - slice->start_requests;

    batch->look_ns = now_ns + NS_PER_MS;
    if (batch->fixed > 0) {
        return;
    }
    if (!slice->has_settled) {
        if (has_settled(slice, count, age_ns)) {
            begin_slice(batch, finished, inflight, now_ns);
            slice->has_settled = true;
        }
    } else if (is_over(slice, count, age_ns)) {
        end_slice(batch, count, age_ns, now_ns);
        batch->trial.is_on = trial_may_be_on(turn, batch, batch->trial.is_on, now_ns);
        use_sizes(batch);
        begin_slice(batch, finished, inflight, now_ns);
    }
}
