/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include "core/device/spin.h"

#define MAX_NS (100 * NS_PER_US)
#define START_NS (1000 * NS_PER_S)

/* Time is the test's own: nothing here waits. */
struct world {
    struct spin spin;
    enum spin_for who;
    uint64_t now_ns;
};

static int world_start(void **state)
{
    static struct world world;

    world.now_ns = START_NS;
    world.who = SPIN_FOR_IMAGE;
    spin_init(&world.spin, MAX_NS, 100);
    *state = &world;
    return 0;
}

/* Look every 200 ns; work comes `wait_ns` after there was none.  Returns whether a spin saw it. */
static bool wait_for_work(struct world *w, uint64_t wait_ns)
{
    uint64_t work_ns = w->now_ns + wait_ns;
    bool is_hit = false;

    if (spin_begin(&w->spin, w->who, w->now_ns)) {
        do {
            w->now_ns += 200;
            is_hit = w->now_ns >= work_ns;
        } while (!is_hit && spin_goes_on(&w->spin, w->now_ns));
        spin_end(&w->spin, w->now_ns, is_hit ? SPIN_HIT : SPIN_MISS);
    }
    w->now_ns = is_hit ? w->now_ns : work_ns;
    spin_work(&w->spin, w->now_ns);
    return is_hit;
}

static unsigned hits(struct world *w, unsigned times, uint64_t wait_ns)
{
    unsigned count = 0;

    while (times-- > 0) {
        count += wait_for_work(w, wait_ns);
    }
    return count;
}

static void zero_never_spins_for_the_image(void **state)
{
    struct world *w = *state;

    spin_init(&w->spin, 0, 100);
    assert_int_equal(hits(w, 1000, 200), 0);
    assert_int_equal(w->now_ns, START_NS + 1000 * 200);
}

static void guest_that_is_faster_than_sleep_is_waited_for(void **state)
{
    struct world *w = *state;

    spin_init(&w->spin, 0, 100);
    w->who = SPIN_FOR_GUEST;
    assert_int_equal(hits(w, 1000, NS_PER_US), 1000);
}

/* Tried now and then, as it may have become faster. */
static void guest_that_is_slower_is_hardly_waited_for(void **state)
{
    struct world *w = *state;

    spin_init(&w->spin, 0, 100);
    w->who = SPIN_FOR_GUEST;
    hits(w, 1000, 20 * NS_PER_US);
    assert_int_equal(w->now_ns, START_NS + 1000 * 20 * NS_PER_US); /* no spin was the longer */
    assert_in_range(hits(w, 128, NS_PER_US), 65, 127);
    assert_int_equal(hits(w, 100, NS_PER_US), 100);
}

static void guest_that_takes_its_time_hides_no_fast_image(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 100; i++) {
        w->who = SPIN_FOR_GUEST;
        assert_true(!wait_for_work(w, NS_PER_MS) || i < 20);
        w->who = SPIN_FOR_IMAGE;
        assert_true(wait_for_work(w, 50 * NS_PER_US) || i < 20);
    }
}

static void short_waits_are_seen(void **state)
{
    struct world *w = *state;

    hits(w, 20, 40 * NS_PER_US);
    assert_int_equal(hits(w, 100, 40 * NS_PER_US), 100);
}

static void long_waits_end_it(void **state)
{
    struct world *w = *state;

    hits(w, 20, 10 * NS_PER_MS);
    assert_false(spin_begin(&w->spin, w->who, w->now_ns));
}

static void short_waits_bring_it_back(void **state)
{
    struct world *w = *state;

    hits(w, 20, 10 * NS_PER_MS);
    assert_int_equal(hits(w, 20, 30 * NS_PER_US) > 0, true);
    assert_int_equal(hits(w, 50, 30 * NS_PER_US), 50);
}

static void one_long_wait_does_not_end_it(void **state)
{
    struct world *w = *state;

    hits(w, 50, 5 * NS_PER_US);
    assert_false(wait_for_work(w, NS_PER_S));
    assert_false(wait_for_work(w, 5 * NS_PER_US)); /* one is slept through */
    assert_true(wait_for_work(w, 5 * NS_PER_US));
}

/* The guest is on the same core: it kicks as soon as we sleep, and not before. */
static void guest_that_waits_for_the_core_gets_it(void **state)
{
    struct world *w = *state;
    unsigned spins = 0;

    for (unsigned i = 0; i < 1000; i++) {
        if (spin_begin(&w->spin, w->who, w->now_ns)) {
            spins++;
            do {
                w->now_ns += 200;
            } while (spin_goes_on(&w->spin, w->now_ns));
            spin_end(&w->spin, w->now_ns, SPIN_MISS);
        }
        w->now_ns += NS_PER_US;
        spin_work(&w->spin, w->now_ns);
    }
    assert_in_range(spins, 1, 30);
}

static void no_spin_is_longer_than_the_limit(void **state)
{
    struct world *w = *state;
    uint64_t start_ns;

    hits(w, 50, 90 * NS_PER_US);
    start_ns = w->now_ns;
    assert_true(spin_begin(&w->spin, w->who, w->now_ns));
    do {
        w->now_ns += 200;
    } while (spin_goes_on(&w->spin, w->now_ns));
    assert_true(w->now_ns - start_ns <= MAX_NS + 200);
    assert_true(w->now_ns - start_ns >= MAX_NS - 200);
    assert_int_equal(spin_end(&w->spin, w->now_ns, SPIN_MISS), w->now_ns - start_ns);
}

/* How long it spins of a second in which work always comes after 50 us, in percent. */
static unsigned share_of_a_second(struct world *w)
{
    uint64_t spun_ns = 0;

    while (w->now_ns < START_NS + NS_PER_S) {
        uint64_t before_ns = w->now_ns;

        spun_ns += wait_for_work(w, 50 * NS_PER_US) ? w->now_ns - before_ns : 0;
    }
    return (unsigned)(spun_ns / (NS_PER_S / 100));
}

static void share_of_the_core_is_kept(void **state)
{
    struct world *w = *state;

    spin_init(&w->spin, MAX_NS, 20);
    assert_in_range(share_of_a_second(w), 15, 22);
}

static void whole_core_is_no_limit(void **state)
{
    struct world *w = *state;

    assert_in_range(share_of_a_second(w), 95, 101);
}

/* Spins in which the core is away for `gap_ns` at a time, until a rest or `times`. */
static unsigned spins_until_rest(struct world *w, unsigned times, uint64_t gap_ns)
{
    unsigned count = 0;

    while (count < times && spin_begin(&w->spin, w->who, w->now_ns)) {
        w->now_ns += 20 * NS_PER_US;
        (void)spin_goes_on(&w->spin, w->now_ns - gap_ns);
        (void)spin_goes_on(&w->spin, w->now_ns);
        spin_end(&w->spin, w->now_ns, SPIN_HIT);
        spin_work(&w->spin, w->now_ns);
        count++;
    }
    return count;
}

static void core_that_others_want_is_left_to_them(void **state)
{
    struct world *w = *state;
    uint64_t first_ns, second_ns;

    assert_in_range(spins_until_rest(w, 1000, 15 * NS_PER_US), 1, 100);
    first_ns = w->spin.rest_end_ns - w->now_ns;
    w->now_ns = w->spin.rest_end_ns;
    assert_in_range(spins_until_rest(w, 1000, 15 * NS_PER_US), 1, 100);
    second_ns = w->spin.rest_end_ns - w->now_ns;
    assert_true(second_ns >= 2 * first_ns - NS_PER_US);
}

static void core_of_our_own_is_used(void **state)
{
    struct world *w = *state;

    hits(w, 2, 5 * NS_PER_US); /* the first is missed, and one slept through */
    assert_int_equal(hits(w, 10000, 5 * NS_PER_US), 10000);
}

/* A wait of 2 us is ended by a message, in a spin if there is one.  Returns whether it was. */
static bool wait_for_mail(struct world *w, bool brings_work)
{
    bool has_spun = spin_begin(&w->spin, w->who, w->now_ns);

    w->now_ns += 2 * NS_PER_US;
    if (has_spun) {
        spin_end(&w->spin, w->now_ns, SPIN_MAIL);
    }
    if (brings_work) {
        assert_int_equal(spin_confirm(&w->spin), has_spun);
        assert_false(spin_confirm(&w->spin));
    }
    spin_dismiss(&w->spin);
    spin_work(&w->spin, w->now_ns);
    return has_spun;
}

static void message_that_brings_work_is_a_hit(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 1000; i++) {
        assert_true(wait_for_mail(w, true));
    }
    (void)wait_for_work(w, NS_PER_MS); /* a miss: one is slept through */
    assert_false(wait_for_mail(w, true));
    assert_true(wait_for_mail(w, true));
    assert_int_equal(w->spin.history[w->who].misses, 0);
}

static void message_that_brings_none_is_neither(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 1000; i++) {
        assert_true(wait_for_mail(w, false));
    }
    (void)wait_for_work(w, NS_PER_MS);
    assert_false(wait_for_mail(w, false));
    assert_true(wait_for_mail(w, false));
    assert_int_equal(w->spin.history[w->who].misses, 1);
    assert_false(spin_confirm(&w->spin)); /* one that comes later has ended nothing */
}

static void message_ends_the_spin_of_its_wait_alone(void **state)
{
    struct world *w = *state;

    assert_true(spin_begin(&w->spin, w->who, w->now_ns));
    spin_end(&w->spin, w->now_ns, SPIN_MAIL);
    (void)spin_begin(&w->spin, w->who, w->now_ns);
    assert_false(spin_confirm(&w->spin));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(zero_never_spins_for_the_image, world_start),
        cmocka_unit_test_setup(guest_that_is_faster_than_sleep_is_waited_for, world_start),
        cmocka_unit_test_setup(guest_that_is_slower_is_hardly_waited_for, world_start),
        cmocka_unit_test_setup(guest_that_takes_its_time_hides_no_fast_image, world_start),
        cmocka_unit_test_setup(short_waits_are_seen, world_start),
        cmocka_unit_test_setup(long_waits_end_it, world_start),
        cmocka_unit_test_setup(short_waits_bring_it_back, world_start),
        cmocka_unit_test_setup(one_long_wait_does_not_end_it, world_start),
        cmocka_unit_test_setup(guest_that_waits_for_the_core_gets_it, world_start),
        cmocka_unit_test_setup(no_spin_is_longer_than_the_limit, world_start),
        cmocka_unit_test_setup(share_of_the_core_is_kept, world_start),
        cmocka_unit_test_setup(whole_core_is_no_limit, world_start),
        cmocka_unit_test_setup(core_that_others_want_is_left_to_them, world_start),
        cmocka_unit_test_setup(core_of_our_own_is_used, world_start),
        cmocka_unit_test_setup(message_that_brings_work_is_a_hit, world_start),
        cmocka_unit_test_setup(message_that_brings_none_is_neither, world_start),
        cmocka_unit_test_setup(message_ends_the_spin_of_its_wait_alone, world_start),
    };

    return unit_run(tests);
}
