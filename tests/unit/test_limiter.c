/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/limiter.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/bucket.h"
#include "core/device/queue.h"
#include "core/virtio/blk.h"
#include "tests/unit/chance.h"

/*
 * Limits by a clock of the test's own: rings with a backlog, whose lanes wake late, and beside them
 * the same buckets in the plain words of QEMU's document, in floating point.
 */

#define MEMBERS 3
#define RINGS 3
#define MS NS_PER_MS

/* One bucket as QEMU has it.  Source: QEMU, docs/throttle.txt. */
struct plain {
    double average;
    double burst;
    double seconds;
    double level;
    double burst_level;
    double most; /* that was put into it at once */
};

struct load {
    struct request request; /* the next one, if there is one */
    bool has_next;
    uint64_t wakes_ns;
    double had; /* of the limit's time, in seconds */
    uint64_t went_ns;
    unsigned went;
};

struct model {
    struct rates rates;
    struct plain plain[RATE_KINDS];
    struct limit_member member[MEMBERS];
    struct queue queue[MEMBERS][RINGS];
    struct load load[MEMBERS][RINGS][RATE_DIRECTIONS];
    unsigned members;
    unsigned rings;
    bool is_by_direction;
    bool may_lag; /* at a time, by who gives way: what goes over time is looked at instead */
    uint64_t begin_ns;
    uint64_t now;
    uint64_t leaked_ns;
    unsigned changes;
};

static void on_changed(struct limit_member *member)
{
    ((struct model *)member->arg)->changes++;
}

/* ---- the plain words ---- */

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

static void leak(struct model *m)
{
    double seconds = (double)(m->now - m->leaked_ns) / 1e9;

    for (unsigned i = 0; i < RATE_KINDS; i++) {
        struct plain *plain = &m->plain[i];

        plain->level = most(plain->level - plain->average * seconds, 0);
        plain->burst_level = most(plain->burst_level - plain->burst * seconds, 0);
    }
    m->leaked_ns = m->now;
}

static double room_of(const struct plain *plain)
{
    return plain->burst > 0 ? plain->burst * plain->seconds : plain->average / 10;
}

static bool is_for(unsigned kind, unsigned direction)
{
    return kind == RATE_IOPS || kind == RATE_BPS || (kind % 3 == 1) == (direction == RATE_READS);
}

static double amount_of(const struct model *m, unsigned kind, uint64_t bytes)
{
    if (kind >= RATE_BPS) {
        return (double)bytes;
    }
    return m->rates.iops_size > 0 ? most((double)bytes / (double)m->rates.iops_size, 1) : 1;
}

/* It may go when no bucket is overfull; a nanosecond's worth is rounding. */
static void plain_put(struct model *m, unsigned direction, uint64_t bytes, struct load *load)
{
    double lasts = 0;

    leak(m);
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        struct plain *plain = &m->plain[i];
        double amount = amount_of(m, i, bytes);

        if (plain->average == 0 || !is_for(i, direction)) {
            continue;
        }
        assert_true(plain->level <= room_of(plain) * (1 + 1e-6) + plain->average * 1e-8);
        if (plain->seconds > 1) {
            assert_true(plain->burst_level <= plain->burst * 0.1000001);
        }
        plain->level += amount;
        plain->burst_level += plain->seconds > 1 ? amount : 0;
        plain->most = most(plain->most, amount);
        lasts = most(lasts, amount / plain->average);
    }
    load->had += lasts;
}

/* Whoever has a backlog keeps a bucket full, but for what leaks until somebody wakes. */
static void assert_nothing_is_lost(struct model *m, unsigned direction)
{
    bool is_full = false;

    leak(m);
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        const struct plain *plain = &m->plain[i];

        if (plain->average > 0 && is_for(i, direction)) {
            is_full |= plain->level >= room_of(plain) - plain->average * 0.03 ||
                       (plain->seconds > 1 && plain->burst_level >= plain->burst * 0.07);
        }
    }
    assert_true(is_full);
}

/* ---- the world ---- */

static void model_begin(struct model *m, unsigned members, unsigned rings)
{
    memset(m, 0, sizeof(*m));
    m->members = members;
    m->rings = rings;
    m->begin_ns = m->now = m->leaked_ns = now_ns();
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        m->rates.of[i].seconds = 1;
    }
    for (unsigned i = 0; i < members; i++) {
        for (unsigned j = 0; j < rings; j++) {
            m->queue[i][j].index = j;
        }
    }
}

static void set_plain(struct model *m)
{
    m->is_by_direction = rates_has_direction(&m->rates);
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        m->plain[i].average = (double)m->rates.of[i].average;
        m->plain[i].burst = (double)m->rates.of[i].burst;
        m->plain[i].seconds = (double)m->rates.of[i].seconds;
    }
}

static void join_all(struct model *m)
{
    assert_int_equal(rates_check(&m->rates, NULL), 0);
    set_plain(m);
    for (unsigned i = 0; i < m->members; i++) {
        assert_int_equal(limit_join(&m->member[i], "model", &m->rates, on_changed, m), 0);
    }
}

static void leave_all(struct model *m)
{
    for (unsigned i = 0; i < m->members; i++) {
        limit_leave(&m->member[i]);
    }
}

static void next_request(struct model *m, unsigned member, unsigned ring, unsigned direction,
                         uint64_t bytes)
{
    struct load *load = &m->load[member][ring][direction];

    load->request.queue = &m->queue[member][ring];
    load->request.io.op = direction == RATE_READS ? IO_READ : IO_WRITE;
    load->request.io.length = bytes;
    load->has_next = true;
}

/* Does the next one of this load go, and if not, when is it asked for again? */
static bool goes(struct model *m, unsigned member, unsigned ring, unsigned direction)
{
    struct throttle *throttle = &m->member[member].throttle;
    struct load *load = &m->load[member][ring][direction];
    uint64_t opens_ns = throttle->ops->opens_ns(throttle, load->request.queue, m->now);

    if (opens_ns <= m->now) {
        opens_ns = throttle->ops->admits_ns(throttle, &load->request, m->now);
    }
    if (opens_ns > m->now) {
        load->wakes_ns = opens_ns + MS + chance((uint32_t)MS); /* as a lane's timer */
        return false;
    }
    plain_put(m, direction, load->request.io.length, load);
    load->went++;
    load->went_ns = m->now;
    load->has_next = false;
    return true;
}

/* The lane that wakes next has its time; returns the load. */
static struct load *wake_next(struct model *m, unsigned *member, unsigned *ring,
                              unsigned *direction)
{
    struct load *first = NULL;

    for (unsigned i = 0; i < m->members * m->rings * RATE_DIRECTIONS; i++) {
        unsigned at = i / RATE_DIRECTIONS;
        struct load *load = &m->load[at / m->rings][at % m->rings][i % RATE_DIRECTIONS];

        if (load->has_next && (!first || load->wakes_ns < first->wakes_ns)) {
            first = load;
            *member = at / m->rings;
            *ring = at % m->rings;
            *direction = i % RATE_DIRECTIONS;
        }
    }
    m->now = first && first->wakes_ns > m->now ? first->wakes_ns : m->now;
    return first;
}

/* All that have something have it for ever, in requests of up to `bytes`. */
static void run_backlog(struct model *m, uint64_t until_ns, uint32_t bytes)
{
    unsigned member = 0, ring = 0, direction = 0;

    while (m->now < until_ns && wake_next(m, &member, &ring, &direction)) {
        while (goes(m, member, ring, direction)) {
            next_request(m, member, ring, direction, 512 * (1 + chance(bytes / 512)));
        }
        if (!m->may_lag) {
            assert_nothing_is_lost(m, direction);
        }
    }
}

static void run_seconds(struct model *m, double seconds, uint32_t bytes)
{
    run_backlog(m, m->begin_ns + (uint64_t)(seconds * 1e9), bytes);
}

static void fill(struct model *m, unsigned direction)
{
    for (unsigned i = 0; i < m->members; i++) {
        for (unsigned j = 0; j < m->rings; j++) {
            next_request(m, i, j, direction, 4096);
        }
    }
}

static unsigned went(const struct model *m)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < m->members * m->rings * RATE_DIRECTIONS; i++) {
        unsigned at = i / RATE_DIRECTIONS;

        sum += m->load[at / m->rings][at % m->rings][i % RATE_DIRECTIONS].went;
    }
    return sum;
}

/* ---- what QEMU's document says ---- */

static void rate_holds_over_time(void **state)
{
    static const int64_t rates[] = {1, 7, 100, 1000, 20000};

    (void)state;
    chance_begin();
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        struct model m;

        model_begin(&m, 1, 1);
        m.rates.of[RATE_IOPS].average = rates[i];
        join_all(&m);
        fill(&m, RATE_READS);
        run_seconds(&m, 10, 512);
        /* What may go at once in the beginning, what the last to wake was late by, and one. */
        assert_in_range(went(&m), 10 * rates[i],
                        10 * rates[i] + rates[i] / 10 + rates[i] / 400 + 2);
        leave_all(&m);
    }
}

static void burst_is_as_long_as_it_may_be(void **state)
{
    struct model m;

    (void)state;
    model_begin(&m, 1, 1);
    m.rates.of[RATE_IOPS] = (struct rate){.average = 100, .burst = 1000, .seconds = 3};
    join_all(&m);
    fill(&m, RATE_READS);
    run_seconds(&m, 3, 512);
    assert_in_range(went(&m), 3000, 3000 + 100 + 2);
    /* The bucket has 3000, and leaks 100 a second: it is full after 3000/900 seconds. */
    run_seconds(&m, 10, 512);
    assert_in_range(went(&m), 3000 + 10 * 100 - 3, 3000 + 10 * 100 + 3);
    leave_all(&m);
}

static void burst_of_a_second_goes_at_once(void **state)
{
    struct model m;

    (void)state;
    model_begin(&m, 1, 1);
    m.rates.of[RATE_IOPS] = (struct rate){.average = 100, .burst = 500, .seconds = 1};
    join_all(&m);
    fill(&m, RATE_READS);
    run_seconds(&m, 0.001, 512);
    assert_in_range(went(&m), 500, 502);
    leave_all(&m);
}

/* Nobody waits for turns while there is room for all. */
static void burst_is_as_fast_for_many(void **state)
{
    struct model m;

    (void)state;
    chance_begin();
    model_begin(&m, MEMBERS, RINGS);
    m.rates.of[RATE_IOPS] = (struct rate){.average = 1000, .burst = 40000, .seconds = 2};
    join_all(&m);
    fill(&m, RATE_READS);
    run_seconds(&m, 1, 512);
    assert_in_range(went(&m), 40000, 40000 + 4000 + 40000 / 400);
    leave_all(&m);
}

static void larger_requests_count_as_several(void **state)
{
    struct model m;

    (void)state;
    model_begin(&m, 1, 1);
    m.rates.of[RATE_IOPS].average = 1000;
    m.rates.iops_size = 4096;
    join_all(&m);
    m.load[0][0][RATE_READS].has_next = true;
    while (m.now < m.begin_ns + 2 * NS_PER_S) {
        next_request(&m, 0, 0, RATE_READS, 10240); /* two and a half */
        if (!goes(&m, 0, 0, RATE_READS)) {
            m.now = m.load[0][0][RATE_READS].wakes_ns;
        }
    }
    assert_in_range(went(&m), 800, 800 + 40 + 2);
    leave_all(&m);
}

static void flushes_pass_and_discards_have_no_bytes(void **state)
{
    const struct throttle_ops *ops;
    struct request request = {.io.op = IO_FLUSH};
    struct model m;

    (void)state;
    model_begin(&m, 1, 1);
    m.rates.of[RATE_BPS_WRITE].average = 1;
    m.rates.of[RATE_IOPS_WRITE].average = 10;
    join_all(&m);
    ops = m.member[0].throttle.ops;
    request.queue = &m.queue[0][0];
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(ops->admits_ns(&m.member[0].throttle, &request, m.now), m.now);
    }
    request.io.length = 1 << 20;
    request.io.op = IO_DISCARD;
    assert_int_equal(ops->admits_ns(&m.member[0].throttle, &request, m.now), m.now);
    request.io.op = IO_ZERO;
    assert_int_equal(ops->admits_ns(&m.member[0].throttle, &request, m.now), m.now);
    assert_int_equal(ops->admits_ns(&m.member[0].throttle, &request, m.now), m.now + NS_PER_S / 10);
    leave_all(&m);
}

/* ---- any limits ---- */

static struct rate any_rate(uint32_t from, uint32_t to)
{
    struct rate rate = {.average = from + chance(to - from), .seconds = 1};

    if (chance(2)) {
        rate.burst = rate.average * (1 + chance(5));
        rate.seconds = 1 + chance(3);
    }
    return rate;
}

static void any_rates(struct rates *rates)
{
    unsigned is_by_direction = chance(2);

    do {
        for (unsigned i = 0; i < RATE_KINDS; i++) {
            bool is_total = i % 3 == 0;

            rates->of[i] = (struct rate){.seconds = 1};
            if (is_total != (bool)is_by_direction && chance(2)) {
                rates->of[i] = i < RATE_BPS ? any_rate(1, 4000) : any_rate(4096, 32 << 20);
            }
        }
    } while (!rates_has_any(rates));
    rates->iops_size =
        rates->of[RATE_IOPS].average + rates->of[RATE_IOPS_READ].average > 0 && chance(2) ? 4096
                                                                                          : 0;
}

/* Is there a limit for what goes this way? */
static bool is_limited(const struct rates *rates, unsigned direction)
{
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        if (rates->of[i].average > 0 && is_for(i, direction)) {
            return true;
        }
    }
    return false;
}

/*
 * Each has had as much of the limit's time as the others, but for what may be ahead, of which a
 * burst makes more, and one.
 */
static void assert_fair(const struct model *m, unsigned direction, uint32_t bytes)
{
    double member_least = 1e18, member_most = 0, one = 0, times = 1;

    for (unsigned i = 0; i < RATE_KINDS; i++) {
        if (m->rates.of[i].average > 0 && is_for(i, direction)) {
            one = most(one, amount_of(m, i, bytes) / (double)m->rates.of[i].average);
            times = most(times, m->plain[i].burst / m->plain[i].average);
        }
    }
    for (unsigned i = 0; i < m->members; i++) {
        double ring_least = 1e18, ring_most = 0, sum = 0;

        for (unsigned j = 0; j < m->rings; j++) {
            double had = m->load[i][j][direction].had;

            sum += had;
            ring_least = least(ring_least, had);
            ring_most = most(ring_most, had);
        }
        assert_true(ring_most - ring_least <= 2 * one + 0.025 * times);
        member_least = least(member_least, sum);
        member_most = most(member_most, sum);
    }
    assert_true(member_most - member_least <= 2 * one + 0.025 * times);
}

static void forget_had(struct model *m)
{
    for (unsigned i = 0; i < m->members; i++) {
        for (unsigned j = 0; j < m->rings; j++) {
            m->load[i][j][RATE_READS].had = 0;
            m->load[i][j][RATE_WRITES].had = 0;
        }
    }
}

static void any_limits_hold_and_are_shared_fairly(void **state)
{
    (void)state;
    chance_begin();
    for (unsigned i = 0; i < 300; i++) {
        uint32_t bytes = 512u << chance(9);
        const unsigned members = 1 + chance(MEMBERS); /* one by one, the same by all compilers */
        const unsigned rings = 1 + chance(RINGS);
        struct model m;
        unsigned direction;

        model_begin(&m, members, rings);
        any_rates(&m.rates);
        join_all(&m);
        direction = is_limited(&m.rates, RATE_READS) ? RATE_READS : RATE_WRITES;
        fill(&m, direction);
        run_seconds(&m, 2, bytes);
        forget_had(&m); /* the first to come has all that may go at once */
        run_seconds(&m, 3 + chance(3), bytes);
        assert_fair(&m, direction, bytes);
        leave_all(&m);
    }
}

/* ---- one way past the other ---- */

static void what_is_not_limited_goes_whatever_waits(void **state)
{
    struct model m;

    (void)state;
    model_begin(&m, 1, 2);
    m.rates.of[RATE_IOPS_WRITE].average = 1;
    join_all(&m);
    fill(&m, RATE_WRITES);
    run_seconds(&m, 0.5, 512);
    for (unsigned i = 0; i < 10000; i++) {
        next_request(&m, 0, i % 2, RATE_READS, 4096);
        assert_true(goes(&m, 0, i % 2, RATE_READS));
        m.now += NS_PER_US;
    }
    leave_all(&m);
}

/* Where both have a part of one limit, none starves, also with limits of their own. */
static void both_ways_have_their_share_of_a_limit_for_all(void **state)
{
    struct model m;

    (void)state;
    chance_begin();
    model_begin(&m, 1, 1);
    m.rates.of[RATE_BPS].average = 4096 * 100;
    m.rates.of[RATE_IOPS_WRITE].average = 1000;
    join_all(&m);
    fill(&m, RATE_READS);
    fill(&m, RATE_WRITES);
    run_seconds(&m, 10, 4096);
    assert_in_range(m.load[0][0][RATE_READS].went * 100 / went(&m), 45, 55);
    leave_all(&m);
}

/* Who lets whom go first is no circle: directions come before rings, for all disks of a group. */
static void nobody_lets_others_go_in_a_circle(void **state)
{
    struct limit_member *member;
    struct model m;

    (void)state;
    chance_begin();
    model_begin(&m, 2, 3);
    m.rates.of[RATE_IOPS].average = 1000;
    m.rates.of[RATE_BPS_READ].average = 1 << 30;
    join_all(&m);
    next_request(&m, 0, 0, RATE_READS, 512);
    next_request(&m, 1, 0, RATE_WRITES, 512);
    next_request(&m, 1, 1, RATE_READS, 512);
    run_seconds(&m, 1, 512);
    member = m.member; /* as by what others rings have had */
    member[0].share[RATE_READS].had_ns = member[0].ring[0][RATE_READS].had_ns = 50 * MS;
    member[1].share[RATE_WRITES].had_ns = member[1].ring[0][RATE_WRITES].had_ns = 30 * MS;
    member[1].share[RATE_READS].had_ns = 70 * MS;
    member[1].ring[1][RATE_READS].had_ns = 10 * MS;
    run_seconds(&m, 2, 512);
    leave_all(&m);
}

/* While one way waits for a limit of its own, the other has all that is left of the common one. */
static void limit_of_one_way_is_none_of_the_other(void **state)
{
    struct model m;

    (void)state;
    chance_begin();
    model_begin(&m, 2, 3);
    m.rates.of[RATE_IOPS].average = 4000;
    m.rates.of[RATE_BPS_READ].average = 2 << 20;
    join_all(&m);
    fill(&m, RATE_READS);
    next_request(&m, 0, 0, RATE_WRITES, 512);
    m.may_lag = true;
    run_seconds(&m, 10, 8192);
    assert_in_range(went(&m), 40000, 40500);
    leave_all(&m);
}

/* ---- who comes and goes ---- */

static void late_ones_are_not_waited_for(void **state)
{
    struct model m;
    unsigned before;

    (void)state;
    chance_begin();
    model_begin(&m, 2, 1);
    m.rates.of[RATE_IOPS].average = 1000;
    join_all(&m);
    fill(&m, RATE_READS);
    run_seconds(&m, 1, 512);
    m.load[1][0][RATE_READS].has_next = false; /* its thread hangs, and does not say so */
    before = went(&m);
    run_seconds(&m, 2, 512);
    assert_in_range(went(&m) - before, 990, 1100);
    leave_all(&m);
}

static void who_has_left_gives_up_its_turn(void **state)
{
    const struct throttle_ops *ops;
    struct model m;

    (void)state;
    model_begin(&m, 2, 1);
    m.rates.of[RATE_IOPS].average = 10;
    join_all(&m);
    ops = m.member[0].throttle.ops;
    fill(&m, RATE_READS);
    while (goes(&m, 0, 0, RATE_READS)) {
        next_request(&m, 0, 0, RATE_READS, 512);
    }
    assert_false(goes(&m, 1, 0, RATE_READS));
    m.now += NS_PER_S / 10;
    assert_false(goes(&m, 0, 0, RATE_READS)); /* the other's turn */
    ops->left(&m.member[1].throttle, &m.queue[1][0]);
    assert_true(goes(&m, 0, 0, RATE_READS));
    leave_all(&m);
}

static void who_wanted_little_has_saved_up_nothing_to_speak_of(void **state)
{
    struct model m;
    unsigned before;

    (void)state;
    chance_begin();
    model_begin(&m, 2, 1);
    m.rates.of[RATE_IOPS].average = 1000;
    join_all(&m);
    next_request(&m, 0, 0, RATE_READS, 512);
    run_seconds(&m, 20, 512);
    before = m.load[0][0][RATE_READS].went;
    next_request(&m, 1, 0, RATE_READS, 512);
    m.load[1][0][RATE_READS].wakes_ns = m.now;
    run_seconds(&m, 21, 512);
    assert_in_range(m.load[0][0][RATE_READS].went - before, 400, 550);
    leave_all(&m);
}

/* ---- set anew ---- */

static void same_values_change_nothing(void **state)
{
    struct model m;
    uint64_t opens_ns;

    (void)state;
    model_begin(&m, 2, 1);
    m.rates.of[RATE_IOPS].average = 1;
    join_all(&m);
    next_request(&m, 0, 0, RATE_READS, 512);
    assert_true(goes(&m, 0, 0, RATE_READS));
    next_request(&m, 0, 0, RATE_READS, 512);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(limit_set(&m.member[0], &m.rates, &m.rates, m.now));
        opens_ns = m.member[0].throttle.ops->opens_ns(&m.member[0].throttle, &m.queue[0][0], m.now);
        assert_int_equal(opens_ns, m.begin_ns + NS_PER_S - NS_PER_S / 10);
        m.now += MS;
    }
    assert_int_equal(m.changes, 0);
    leave_all(&m);
}

/* Neither is there a burst again, nor does anybody wait for what a slower limit would have cost. */
static void other_values_begin_with_a_full_bucket(void **state)
{
    struct rates faster;
    struct model m;

    (void)state;
    model_begin(&m, 2, 1);
    m.rates.of[RATE_BPS].average = 1;
    join_all(&m);
    next_request(&m, 0, 0, RATE_READS, 1 << 20);
    assert_true(goes(&m, 0, 0, RATE_READS));
    next_request(&m, 0, 0, RATE_READS, 1 << 20);
    assert_false(goes(&m, 0, 0, RATE_READS));
    faster = m.rates;
    faster.of[RATE_BPS].average = 1 << 20;
    assert_true(limit_set(&m.member[0], &m.rates, &faster, m.now));
    assert_int_equal(m.changes, 1); /* the other one */
    m.rates = faster;
    set_plain(&m);
    m.plain[RATE_BPS].level = room_of(&m.plain[RATE_BPS]);
    assert_true(goes(&m, 0, 0, RATE_READS));
    next_request(&m, 0, 0, RATE_READS, 1 << 20);
    assert_false(goes(&m, 0, 0, RATE_READS));
    assert_int_equal(m.load[0][0][RATE_READS].wakes_ns / NS_PER_S,
                     (m.now + NS_PER_S + MS) / NS_PER_S);
    leave_all(&m);
}

static void who_has_not_seen_the_latest_sets_nothing(void **state)
{
    struct rates now, other;
    struct model m;

    (void)state;
    model_begin(&m, 1, 1);
    m.rates.of[RATE_IOPS].average = 10;
    join_all(&m);
    other = m.rates;
    other.of[RATE_IOPS].average = 20;
    assert_false(limit_set(&m.member[0], &other, &other, m.now));
    limit_rates(&m.member[0], &now);
    assert_true(rates_same(&now, &m.rates));
    leave_all(&m);
}

static void group_keeps_what_it_has(void **state)
{
    struct rates other, now;
    struct model m;

    (void)state;
    model_begin(&m, 2, 1);
    m.rates.of[RATE_IOPS].average = 10;
    other = m.rates;
    other.of[RATE_IOPS].average = 20;
    assert_int_equal(limit_join(&m.member[0], "a", &m.rates, on_changed, &m), 0);
    assert_int_equal(limit_join(&m.member[1], "a", &other, on_changed, &m), 0);
    limit_rates(&m.member[1], &now);
    assert_true(rates_same(&now, &m.rates));
    limit_leave(&m.member[1]);
    assert_int_equal(limit_join(&m.member[1], "", &other, on_changed, &m), 0);
    limit_rates(&m.member[1], &now);
    assert_true(rates_same(&now, &other));
    leave_all(&m);
}

/* ---- what does not go together ---- */

static void assert_refused(const struct rates *rates, const char *begin)
{
    struct err err;

    assert_int_equal(rates_check(rates, &err), -EINVAL);
    if (strncmp(err.text, begin, strlen(begin)) != 0) {
        fail_msg("%s", err.text);
    }
}

static void contradictions_are_refused_by_name(void **state)
{
    struct rates rates = {.of[RATE_IOPS] = {100, 0, 1}};

    (void)state;
    assert_int_equal(rates_check(&rates, NULL), 0);
    rates.of[RATE_IOPS_WRITE].average = 1;
    assert_refused(&rates, "iops: a limit for all does not go with one by direction, iops_write;");
    rates.of[RATE_IOPS_WRITE].average = 0;
    rates.of[RATE_BPS_READ].average = 5;
    assert_int_equal(rates_check(&rates, NULL), 0); /* of another kind */
    rates.of[RATE_BPS].average = 5;
    assert_refused(&rates, "bps: a limit for all does not go with one by direction, bps_read;");
    rates = (struct rates){.of[RATE_BPS] = {0, 100, 1}};
    assert_refused(&rates, "bps_max: a burst goes with a limit only");
    rates.of[RATE_BPS].average = 101;
    assert_refused(&rates, "bps_max: 100 is below the limit itself, bps, which is 101");
    rates.of[RATE_BPS] = (struct rate){100, 0, 2};
    assert_refused(&rates, "bps_max_length: is how long a burst lasts, and there is none");
    rates.of[RATE_BPS] = (struct rate){100, RATE_MAX, 2};
    assert_refused(&rates, "bps_max_length: 2 seconds of 1000000000000000 are more than can be");
    rates.of[RATE_BPS] = (struct rate){100, 100, 1};
    rates.iops_size = 1;
    assert_refused(&rates, "iops_size: says how requests are counted, and they are not limited;");
    rates.of[RATE_IOPS_READ].average = 1;
    assert_int_equal(rates_check(&rates, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_holds_over_time),
        cmocka_unit_test(burst_is_as_long_as_it_may_be),
        cmocka_unit_test(burst_of_a_second_goes_at_once),
        cmocka_unit_test(burst_is_as_fast_for_many),
        cmocka_unit_test(larger_requests_count_as_several),
        cmocka_unit_test(flushes_pass_and_discards_have_no_bytes),
        cmocka_unit_test(any_limits_hold_and_are_shared_fairly),
        cmocka_unit_test(what_is_not_limited_goes_whatever_waits),
        cmocka_unit_test(both_ways_have_their_share_of_a_limit_for_all),
        cmocka_unit_test(nobody_lets_others_go_in_a_circle),
        cmocka_unit_test(limit_of_one_way_is_none_of_the_other),
        cmocka_unit_test(late_ones_are_not_waited_for),
        cmocka_unit_test(who_has_left_gives_up_its_turn),
        cmocka_unit_test(who_wanted_little_has_saved_up_nothing_to_speak_of),
        cmocka_unit_test(same_values_change_nothing),
        cmocka_unit_test(other_values_begin_with_a_full_bucket),
        cmocka_unit_test(who_has_not_seen_the_latest_sets_nothing),
        cmocka_unit_test(group_keeps_what_it_has),
        cmocka_unit_test(contradictions_are_refused_by_name),
    };

    return unit_run(tests);
}
