/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <inttypes.h>

#include "core/device/batch.h"

/*
 * A lane, a guest that always has `depth` requests under way, and a device, by a clock of the
 * test's own.  Times are nanoseconds.
 */
#define DEPTH_MAX 128u
#define SERVERS_MAX 32u
#define NEVER UINT64_MAX

struct device_model {
    const char *name;
    bool takes_bunches; /* all that came while it was busy, ended together; else one at a time */
    unsigned servers;   /* so many at once, of one at a time */
    uint64_t service;   /* of a request */
    uint64_t bunch;     /* and of each bunch */
    uint64_t call;      /* the lane's time for a call */
    uint64_t each;      /* and for each request in it */
    uint64_t pop;       /* to take a request, and to answer it */
    uint64_t wake;      /* until a lane that sleeps goes on */
    uint64_t think;     /* the guest's, between an answer and the next request */
    uint64_t others;    /* permille: what others make the service longer, at most */
    bool is_sequential; /* requests continue each other: those of a call are one to the device */
};

enum where { IN_RING, WAITING, AT_WORK };

struct one {
    enum where where;
    uint64_t since; /* it may be taken; it was given; it ends */
};

struct world {
    struct batch batch;
    struct trial_turn turn;
    const struct device_model *model;
    unsigned depth;
    struct one one[DEPTH_MAX];
    uint64_t server_free[SERVERS_MAX];
    uint64_t free; /* of a device that takes bunches */
    uint64_t now;
    uint64_t finished;
    uint64_t given; /* requests */
    uint64_t calls;
    unsigned inflight;
    uint64_t share_end;
    uint64_t share; /* permille */
    uint64_t offset;
    uint64_t random;
};

/* 0 to `limit`. */
static uint64_t random_below(struct world *w, uint64_t limit)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % (limit + 1);
}

/* `time`, give or take a quarter. */
static uint64_t about(struct world *w, uint64_t time)
{
    return time - time / 4 + random_below(w, time / 2);
}

/* Other disks of the host's have the device for a while, more or less of it. */
static uint64_t service_time(struct world *w)
{
    if (w->now >= w->share_end) {
        w->share_end = w->now + about(w, 20 * NS_PER_MS);
        w->share = 1000 + random_below(w, w->model->others);
    }
    return about(w, w->model->service * w->share / 1000);
}

static void world_begin(struct world *w, const struct device_model *model, unsigned depth,
                        unsigned fixed)
{
    *w = (struct world){.model = model, .depth = depth, .now = NS_PER_S, .random = 1};
    batch_init(&w->batch, fixed, w->now);
    for (unsigned i = 0; i < depth; i++) {
        w->one[i] = (struct one){.where = IN_RING, .since = w->now + i};
    }
}

/* ---- the device ---- */

static void work_on(struct world *w, struct one *one)
{
    unsigned first = 0;
    uint64_t begin;

    for (unsigned i = 1; i < w->model->servers; i++) {
        first = w->server_free[i] < w->server_free[first] ? i : first;
    }
    begin = w->server_free[first] > w->now ? w->server_free[first] : w->now;
    w->server_free[first] = begin + service_time(w);
    *one = (struct one){.where = AT_WORK, .since = w->server_free[first]};
}

static uint64_t first_given(const struct world *w)
{
    uint64_t first = NEVER;

    for (unsigned i = 0; i < w->depth; i++) {
        if (w->one[i].where == WAITING) {
            first = min_of(first, w->one[i].since);
        }
    }
    return first;
}

/* The bunches that have begun by now. */
static void work_on_bunches(struct world *w)
{
    uint64_t first;

    while ((first = first_given(w)) != NEVER) {
        uint64_t begin = w->free > first ? w->free : first;
        uint64_t end = begin + w->model->bunch;

        if (begin > w->now) {
            return;
        }
        for (unsigned i = 0; i < w->depth; i++) {
            end += w->one[i].where == WAITING && w->one[i].since <= begin ? service_time(w) : 0;
        }
        for (unsigned i = 0; i < w->depth; i++) {
            if (w->one[i].where == WAITING && w->one[i].since <= begin) {
                w->one[i] = (struct one){.where = AT_WORK, .since = end};
            }
        }
        w->free = end;
    }
}

static void give(struct world *w, unsigned count)
{
    const struct one *first = NULL;

    if (count == 0) {
        return;
    }
    batch_give(&w->batch, w->now);
    w->now += w->model->call + count * w->model->each;
    w->inflight += count;
    w->given += count;
    w->calls++;
    for (unsigned i = 0; i < w->depth; i++) {
        if (w->one[i].where == WAITING && w->one[i].since == NEVER) {
            w->one[i].since = w->now;
            if (first && w->model->is_sequential) {
                w->one[i] = *first;
            } else if (!w->model->takes_bunches) {
                work_on(w, &w->one[i]);
                first = &w->one[i];
            }
        }
    }
}

/* ---- the lane ---- */

static unsigned take(struct world *w)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->depth && !w->batch.is_full; i++) {
        if (w->one[i].where == IN_RING && w->one[i].since <= w->now) {
            w->one[i] = (struct one){.where = WAITING, .since = NEVER};
            w->now += w->model->pop;
            w->offset = w->model->is_sequential ? w->offset + 4096
                                                : (random_below(w, 1u << 20) * 2 + 1) << 12;
            batch_take(&w->batch, BATCH_READ, w->offset, 4096);
            count++;
        }
    }
    return count;
}

static unsigned answer(struct world *w)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->depth; i++) {
        if (w->one[i].where == AT_WORK && w->one[i].since <= w->now) {
            w->now += w->model->pop;
            w->one[i] = (struct one){.where = IN_RING, .since = NEVER};
            count++;
        }
    }
    for (unsigned i = 0; count > 0 && i < w->depth; i++) {
        if (w->one[i].where == IN_RING && w->one[i].since == NEVER) {
            w->one[i].since = w->now + about(w, w->model->think);
        }
    }
    w->finished += count;
    w->inflight -= count;
    return count;
}

static void sleep_until_work(struct world *w)
{
    uint64_t next = NEVER;

    for (unsigned i = 0; i < w->depth; i++) {
        const struct one *one = &w->one[i];
        uint64_t at = one->where == WAITING && w->free > one->since ? w->free : one->since;

        next = min_of(next, at);
    }
    w->now = next > w->now ? next + w->model->wake : w->now + 1;
}

static void turn(struct world *w)
{
    unsigned answered;
    unsigned taken;

    if (w->model->takes_bunches) {
        work_on_bunches(w);
    }
    answered = answer(w);
    taken = take(w);
    give(w, taken);
    if (batch_is_due(&w->batch, w->now)) {
        batch_look(&w->batch, &w->turn, w->finished, w->inflight, w->now);
    }
    if (w->inflight == 0) {
        batch_idle(&w->batch, w->now);
    }
    if (answered + taken == 0) {
        sleep_until_work(w);
    }
}

/* For `time`, not 0.  Requests a second. */
static uint64_t run(struct world *w, uint64_t time)
{
    uint64_t begin = w->now;
    uint64_t finished = w->finished;

    while (w->now < begin + time) {
        turn(w);
    }
    return (w->finished - finished) * NS_PER_S / time;
}

static uint64_t run_fixed(const struct device_model *model, unsigned depth, unsigned size)
{
    static struct world w;

    world_begin(&w, model, depth, size);
    (void)run(&w, NS_PER_S / 20);
    return run(&w, NS_PER_S / 5);
}

static uint64_t best_of_fixed(const struct device_model *model, unsigned depth)
{
    uint64_t best = 0;

    for (unsigned size = 1; size <= BATCH_MOST; size *= 2) {
        uint64_t rate = run_fixed(model, depth, size);

        best = rate > best ? rate : best;
    }
    return best;
}

static void assert_near_the_best(const struct device_model *model, unsigned depth, uint64_t rate)
{
    uint64_t best = best_of_fixed(model, depth);

    if (rate * 100 < best * 97) {
        fail_msg("%s, depth %u: %" PRIu64 " a second, and %" PRIu64 " with the best size",
                 model->name, depth, rate, best);
    }
}

/* A serial device, parallel ones, some that take bunches; calls that are cheap, and dear ones. */
static const struct device_model models[] = {
    {.name = "serial, cheap calls",
     .servers = 1,
     .service = 8000,
     .call = 1000,
     .each = 100,
     .pop = 300,
     .wake = 3000,
     .think = 2000},
    {.name = "serial, dear calls",
     .servers = 1,
     .service = 8000,
     .call = 8000,
     .each = 300,
     .pop = 300,
     .wake = 9000,
     .think = 3000},
    {.name = "parallel, cheap calls",
     .servers = 32,
     .service = 80000,
     .call = 1000,
     .each = 100,
     .pop = 300,
     .wake = 3000,
     .think = 2000},
    {.name = "parallel, dear calls",
     .servers = 32,
     .service = 80000,
     .call = 8000,
     .each = 300,
     .pop = 300,
     .wake = 9000,
     .think = 3000},
    {.name = "bunches, cheap calls",
     .takes_bunches = true,
     .service = 8000,
     .bunch = 10000,
     .call = 2000,
     .each = 100,
     .pop = 300,
     .wake = 5000,
     .think = 3000},
    {.name = "bunches, dear calls",
     .takes_bunches = true,
     .service = 8000,
     .bunch = 10000,
     .call = 10000,
     .each = 300,
     .pop = 500,
     .wake = 9000,
     .think = 3000},
    {.name = "fast bunches",
     .takes_bunches = true,
     .service = 1000,
     .bunch = 6000,
     .call = 3000,
     .each = 300,
     .pop = 500,
     .wake = 9000,
     .think = 1000},
};

static const unsigned depths[] = {1, 8, 32, 128};

static void size_is_as_good_as_the_best_after_a_second(void **state)
{
    static struct world w;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        for (unsigned k = 0; k < ARRAY_SIZE(depths); k++) {
            world_begin(&w, &models[i], depths[k], 0);
            (void)run(&w, NS_PER_S);
            assert_near_the_best(&models[i], depths[k], run(&w, NS_PER_S / 2));
        }
    }
}

static void sequential_requests_are_not_taken_one_by_one(void **state)
{
    static struct world w;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct device_model model = models[i];

        model.is_sequential = true;
        world_begin(&w, &model, 32, 0);
        (void)run(&w, NS_PER_S);
        assert_near_the_best(&model, 32, run(&w, NS_PER_S / 2));
        assert_true(w.given >= 4 * w.calls);
    }
}

/* The best of them are off by some percent then, too. */
static void others_on_the_device_mislead_nobody(void **state)
{
    static struct world w;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        struct device_model model = models[i];
        uint64_t rate;

        model.others = 100;
        world_begin(&w, &model, 32, 0);
        (void)run(&w, NS_PER_S);
        rate = run(&w, NS_PER_S);
        assert_true(rate >= best_of_fixed(&model, 32) / 100 * 95);
    }
}

/* Most of it sooner: nothing rests until then for what it was with the last one. */
static void other_load_is_learned_within_a_second(void **state)
{
    static struct world w;

    (void)state;
    world_begin(&w, &models[0], 32, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        (void)run(&w, 2 * NS_PER_S); /* the other requests of the last one are over */
        w.model = &models[i];
        assert_true(run(&w, NS_PER_S / 2) >= best_of_fixed(&models[i], 32) / 100 * 85);
        (void)run(&w, NS_PER_S / 2);
        assert_near_the_best(&models[i], 32, run(&w, NS_PER_S / 2));
    }
}

/* Where the neighbours of the best size are much worse. */
static void trials_cost_a_hundredth_at_most(void **state)
{
    static struct world w;

    (void)state;
    world_begin(&w, &models[6], 32, 0);
    (void)run(&w, 2 * NS_PER_S);
    assert_true(run(&w, 5 * NS_PER_S) >= best_of_fixed(&models[6], 32) / 100 * 99);
}

/* A guest that has nothing to ask for most of the time: each size does. */
static void idle_disk_teaches_nothing(void **state)
{
    struct device_model model = models[1];
    static struct world w;

    (void)state;
    model.think = 10 * NS_PER_MS;
    world_begin(&w, &model, 8, 0);
    for (unsigned i = 0; i < 100; i++) {
        (void)run(&w, NS_PER_S / 10);
        assert_int_equal(w.batch.size[BATCH_READ], batch_size(&w.batch, BATCH_READ));
        assert_false(w.batch.trial.is_on);
    }
}

/* Large requests are tried another way (huge_learn.h) meanwhile, which changes the rates. */
static void no_size_is_tried_while_another_trial_is_on(void **state)
{
    static struct world w;
    bool has_trial = false;

    (void)state;
    world_begin(&w, &models[1], 32, 0);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(trial_may_be_on(&w.turn, state, true, w.now));
        (void)run(&w, NS_PER_MS);
        assert_false(w.batch.trial.is_on);
    }
    (void)trial_may_be_on(&w.turn, state, false, w.now);
    for (unsigned i = 0; i < 1000 && !has_trial; i++) {
        (void)run(&w, NS_PER_MS);
        has_trial = w.batch.trial.is_on;
    }
    assert_true(has_trial);
    assert_false(trial_may_be_on(&w.turn, state, true, w.now));
}

static void size_is_no_larger_than_what_the_ring_holds(void **state)
{
    static struct world w;

    (void)state;
    world_begin(&w, &models[3], 128, 0);
    (void)run(&w, NS_PER_S);
    assert_true(batch_size(&w.batch, BATCH_READ) > 2);
    for (unsigned i = 2; i < w.depth; i++) {
        w.one[i].where = IN_RING;
    }
    w.inflight = 0;
    w.depth = 2;
    for (unsigned i = 0; i < 2; i++) {
        w.one[i] = (struct one){.where = IN_RING, .since = w.now};
    }
    (void)run(&w, NS_PER_S);
    assert_true(batch_size(&w.batch, BATCH_READ) <= 2);
}

/* The device is what takes the time, so each size does as well as another. */
static void ties_go_to_latency(void **state)
{
    static struct world w;

    (void)state;
    for (unsigned depth = 32; depth <= 128; depth *= 4) {
        world_begin(&w, &models[4], depth, 0);
        w.batch.learned[BATCH_READ].level = BATCH_LEVELS - 1;
        (void)run(&w, 3 * NS_PER_S);
        assert_true(batch_size(&w.batch, BATCH_READ) <= 4);
    }
}

/* What was taken goes to the image, and ends after ten microseconds. */
static void give_and_end(struct batch *batch, uint64_t requests, uint64_t *now)
{
    struct trial_turn turn = {0}; /* nobody else tries anything */

    batch_give(batch, *now);
    *now += 10 * NS_PER_US;
    if (batch_is_due(batch, *now)) {
        batch_look(batch, &turn, requests, 1, *now);
    }
}

/* Until `is_over`, so many at a time, none of which continues another. */
static void take_until(struct batch *batch, unsigned count, uint64_t *requests, uint64_t *now,
                       bool (*is_over)(const struct batch *batch))
{
    uint64_t end = *now + NS_PER_S;

    while (!is_over(batch)) {
        assert_true(*now < end);
        for (unsigned i = 0; i < count; i++) {
            batch_take(batch, BATCH_READ, ++*requests << 20, 4096);
        }
        give_and_end(batch, *requests, now);
    }
}

static bool has_trial(const struct batch *batch)
{
    return batch->trial.is_on;
}

static bool counts(const struct batch *batch)
{
    return batch->slice.has_settled;
}

static bool begins_anew(const struct batch *batch)
{
    return !batch->slice.has_settled;
}

static void trial_is_over_where_neither_size_ends_a_batch(void **state)
{
    struct batch batch;
    uint64_t now = NS_PER_S;
    uint64_t requests = 0;

    (void)state;
    batch_init(&batch, 0, now);
    take_until(&batch, 4, &requests, &now, has_trial);
    take_until(&batch, 1, &requests, &now, counts);
    take_until(&batch, 1, &requests, &now, begins_anew);
    assert_false(batch.trial.is_on);
    assert_int_equal(batch_size(&batch, BATCH_READ), 4);
}

static void kind_that_is_exhausted_ends_the_batch(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, 3, NS_PER_S);
    for (uint64_t i = 0; i < 2; i++) {
        batch_take(&batch, BATCH_READ, i << 20, 4096);
        batch_take(&batch, BATCH_WRITE, i << 20, 4096);
    }
    assert_false(batch.is_full);
    batch_take(&batch, BATCH_WRITE, 1 << 30, 4096);
    assert_true(batch.is_full);
    batch_give(&batch, NS_PER_S);
    assert_false(batch.is_full);
    batch_take(&batch, BATCH_READ, 0, 4096);
    batch_take(&batch, BATCH_READ, 1 << 20, 4096);
    assert_false(batch.is_full); /* it began anew */
}

static void request_that_continues_its_predecessor_costs_nothing(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, 2, NS_PER_S);
    for (uint64_t i = 0; i < 100; i++) {
        batch_take(&batch, BATCH_READ, i * 4096, 4096);
        assert_false(batch.is_full);
    }
    batch_take(&batch, BATCH_READ, 1000 * 4096, 4096);
    assert_true(batch.is_full);
}

/* At one by one nothing is merged, and no larger size is seen to be filled. */
static void one_by_one_is_no_size_for_what_continues(void **state)
{
    struct batch batch;
    uint64_t now = NS_PER_S;
    uint64_t requests = 0;

    (void)state;
    batch_init(&batch, 0, now);
    batch.learned[BATCH_READ].level = 0;
    batch.size[BATCH_READ] = 1;
    while (batch_size(&batch, BATCH_READ) < 4 && requests < 100000) {
        batch_take(&batch, BATCH_READ, requests++ * 4096, 4096);
        assert_int_equal(batch.is_full, batch.size[BATCH_READ] == 1);
        give_and_end(&batch, requests, &now);
    }
    assert_int_equal(batch_size(&batch, BATCH_READ), 4);
}

static void run_ends_where_the_image_ends_it(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, 2, NS_PER_S);
    batch_take(&batch, BATCH_READ, 0, MERGE_BYTES);
    assert_false(batch.is_full);
    batch_take(&batch, BATCH_READ, MERGE_BYTES, MERGE_BYTES);
    assert_true(batch.is_full);
}

static void nothing_continues_across_other_requests(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, 3, NS_PER_S);
    batch_take(&batch, BATCH_READ, 0, 4096);
    batch_cut(&batch); /* a flush */
    batch_take(&batch, BATCH_READ, 4096, 4096);
    batch_take(&batch, BATCH_WRITE, 0, 4096);
    assert_false(batch.is_full);
    batch_take(&batch, BATCH_READ, 8192, 4096);
    assert_true(batch.is_full);
}

static void first_request_continues_nothing(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, 1, NS_PER_S);
    batch_take(&batch, BATCH_READ, 0, 4096);
    assert_true(batch.is_full);
    batch_give(&batch, NS_PER_S);
    batch_take(&batch, BATCH_READ, 4096, 4096); /* its predecessor is with the image */
    assert_true(batch.is_full);
}

static void fixed_size_stays(void **state)
{
    static struct world w;

    (void)state;
    world_begin(&w, &models[3], 128, 5);
    (void)run(&w, NS_PER_S);
    assert_int_equal(w.batch.size[BATCH_READ], 5);
    assert_int_equal(batch_size(&w.batch, BATCH_READ), 5);
    assert_true(w.given <= 5 * w.calls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_is_as_good_as_the_best_after_a_second),
        cmocka_unit_test(sequential_requests_are_not_taken_one_by_one),
        cmocka_unit_test(others_on_the_device_mislead_nobody),
        cmocka_unit_test(other_load_is_learned_within_a_second),
        cmocka_unit_test(trials_cost_a_hundredth_at_most),
        cmocka_unit_test(idle_disk_teaches_nothing),
        cmocka_unit_test(no_size_is_tried_while_another_trial_is_on),
        cmocka_unit_test(size_is_no_larger_than_what_the_ring_holds),
        cmocka_unit_test(ties_go_to_latency),
        cmocka_unit_test(trial_is_over_where_neither_size_ends_a_batch),
        cmocka_unit_test(kind_that_is_exhausted_ends_the_batch),
        cmocka_unit_test(request_that_continues_its_predecessor_costs_nothing),
        cmocka_unit_test(one_by_one_is_no_size_for_what_continues),
        cmocka_unit_test(run_ends_where_the_image_ends_it),
        cmocka_unit_test(nothing_continues_across_other_requests),
        cmocka_unit_test(first_request_continues_nothing),
        cmocka_unit_test(fixed_size_stays),
    };

    return unit_run(tests);
}
