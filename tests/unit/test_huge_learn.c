/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include "core/block/huge_learn.h"

/* A device that always has DEPTH large operations under way, by a clock of the test's own. */
#define DEPTH 16u
#define BYTES (128u << 10)

struct load {
    uint64_t straight_ns; /* an operation takes, one after the other */
    uint64_t huge_ns;     /* the same through huge pages, the copy included */
    uint64_t pause_ns;    /* nothing is under way after each DEPTH of them */
    unsigned writes;      /* percent */
    uint64_t write_huge_ns;
    bool is_at_once;
};

struct world {
    struct huge_learn learn;
    struct trial_turn turn;
    uint64_t now;
    uint64_t huge[HUGE_KINDS];
    uint64_t straight[HUGE_KINDS];
    bool is_huge[DEPTH]; /* those under way, of run_full, by the order in which they begin */
    unsigned begun;
    uint32_t random;
};

static void world_begin(struct world *w)
{
    *w = (struct world){.now = NS_PER_S, .random = 1};
    huge_learn_init(&w->learn, w->now);
}

static uint32_t below(struct world *w, uint32_t limit)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % limit;
}

/* DEPTH begin, and end one after the other. */
static void run_bunch(struct world *w, const struct load *load)
{
    uint64_t take[DEPTH];

    huge_learn_look(&w->learn, &w->turn, w->now);
    for (unsigned i = 0; i < DEPTH; i++) {
        enum huge_kind kind = below(w, 100) < load->writes ? HUGE_WRITE : HUGE_READ;
        bool is_huge = huge_learn_is_on(&w->learn, kind);
        uint64_t ns = !is_huge                                    ? load->straight_ns
                      : kind == HUGE_WRITE && load->write_huge_ns ? load->write_huge_ns
                                                                  : load->huge_ns;

        take[i] = ns - ns / 8 + below(w, (uint32_t)ns / 4);
        w->huge[kind] += is_huge;
        w->straight[kind] += !is_huge;
        huge_learn_begin(&w->learn, kind, w->now);
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        w->now += take[i];
        if (huge_learn_end(&w->learn, BYTES, load->is_at_once)) {
            huge_learn_idle(&w->learn, w->now);
        }
    }
    w->now += load->pause_ns;
}

static void run(struct world *w, const struct load *load, uint64_t ns)
{
    uint64_t end = w->now + ns;

    memset(w->huge, 0, sizeof(w->huge));
    memset(w->straight, 0, sizeof(w->straight));
    while (w->now < end) {
        run_bunch(w, load);
    }
}

/* A new world, which has learned for so long. */
static void run_learned(struct world *w, const struct load *load, uint64_t ns)
{
    world_begin(w);
    run(w, load, ns);
    run(w, load, 20 * NS_PER_S);
}

/* Percent of the operations. */
static uint64_t share_of(const struct world *w, enum huge_kind kind)
{
    return w->huge[kind] * 100 / (w->huge[kind] + w->straight[kind] + 1);
}

static const struct load pays = {.straight_ns = 300000, .huge_ns = 100000};
static const struct load pays_not = {.straight_ns = 100000, .huge_ns = 98000};
static const struct load costs = {.straight_ns = 100000, .huge_ns = 150000};

static void what_pays_is_in_use_within_two_seconds(void **state)
{
    struct world w;

    run_learned(&w, &pays, 2 * NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 98, 100);
}

static void what_does_not_pay_is_not_in_use(void **state)
{
    const struct load *loads[] = {&pays_not, &costs};

    for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
        struct world w;

        run_learned(&w, loads[i], 2 * NS_PER_S);
        assert_in_range(share_of(&w, HUGE_READ), 0, 3);
    }
}

static void other_device_is_found_out(void **state)
{
    struct world w;

    world_begin(&w);
    run(&w, &pays, 20 * NS_PER_S);
    run(&w, &costs, 10 * NS_PER_S);
    run(&w, &costs, 10 * NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 0, 3);
    run(&w, &pays, 10 * NS_PER_S);
    run(&w, &pays, 10 * NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 97, 100);
}

static void reads_and_writes_are_apart(void **state)
{
    const struct load load = {
        .straight_ns = 300000, .huge_ns = 100000, .write_huge_ns = 400000, .writes = 50};
    struct world w;

    run_learned(&w, &load, 4 * NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 97, 100);
    assert_in_range(share_of(&w, HUGE_WRITE), 0, 3);
}

/* The rate of a guest that pauses does not tell, but the time that it waits does. */
static void load_that_pauses_teaches_as_well(void **state)
{
    struct load load = pays;
    struct world w;

    load.pause_ns = 20 * NS_PER_MS;
    run_learned(&w, &load, 8 * NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 95, 100);
}

/* Another one begins whenever one ends, so that DEPTH are always under way; they end in order. */
static void run_full(struct world *w, const struct load *load, uint64_t ns)
{
    uint64_t end = w->now + ns;
    bool *is_huge = w->is_huge;

    memset(w->huge, 0, sizeof(w->huge));
    memset(w->straight, 0, sizeof(w->straight));
    for (unsigned i = w->begun; w->now < end; w->begun = ++i) {
        if (w->learn.inflight == DEPTH) {
            w->now += is_huge[i % DEPTH] ? load->huge_ns : load->straight_ns;
            (void)huge_learn_end(&w->learn, BYTES, false);
        }
        huge_learn_look(&w->learn, &w->turn, w->now);
        is_huge[i % DEPTH] = huge_learn_is_on(&w->learn, HUGE_READ);
        w->huge[HUGE_READ] += is_huge[i % DEPTH];
        w->straight[HUGE_READ] += !is_huge[i % DEPTH];
        huge_learn_begin(&w->learn, HUGE_READ, w->now);
    }
}

/* All that are under way take a third of a second. */
static void slow_operations_teach_as_well(void **state)
{
    static const struct load load = {.straight_ns = 20 * NS_PER_MS, .huge_ns = 5 * NS_PER_MS};
    struct world w;

    world_begin(&w);
    run_full(&w, &load, 20 * NS_PER_S);
    run_full(&w, &load, 20 * NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 90, 100);
}

static void image_that_ends_at_once_is_left_alone(void **state)
{
    struct load load = pays;
    struct world w;

    load.is_at_once = true;
    world_begin(&w);
    run(&w, &load, 20 * NS_PER_S);
    assert_int_equal(w.huge[HUGE_READ], 0);
}

/* The size of batches (batch.h) is, which changes the rates; it comes to an end. */
static void nothing_is_tried_while_another_trial_is_on(void **state)
{
    struct world w;

    world_begin(&w);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(trial_may_be_on(&w.turn, state, true, w.now));
        run(&w, &pays, 20 * NS_PER_MS);
        assert_int_equal(w.huge[HUGE_READ], 0);
    }
    (void)trial_may_be_on(&w.turn, state, false, w.now);
    assert_false(trial_may_be_on(&w.turn, state, true, w.now)); /* now it is their turn */
    run(&w, &pays, 2 * NS_PER_S);
    run(&w, &pays, NS_PER_S);
    assert_in_range(share_of(&w, HUGE_READ), 90, 100);
}

/* A few now and then: too few to be compared before the load is another one. */
static void rare_operations_teach_nothing(void **state)
{
    struct load load = pays;
    struct world w;

    load.pause_ns = NS_PER_S;
    world_begin(&w);
    run(&w, &load, 100 * NS_PER_S);
    assert_int_equal(w.huge[HUGE_READ], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_pays_is_in_use_within_two_seconds),
        cmocka_unit_test(what_does_not_pay_is_not_in_use),
        cmocka_unit_test(other_device_is_found_out),
        cmocka_unit_test(reads_and_writes_are_apart),
        cmocka_unit_test(load_that_pauses_teaches_as_well),
        cmocka_unit_test(slow_operations_teach_as_well),
        cmocka_unit_test(image_that_ends_at_once_is_left_alone),
        cmocka_unit_test(nothing_is_tried_while_another_trial_is_on),
        cmocka_unit_test(rare_operations_teach_nothing),
    };

    return unit_run(tests);
}
