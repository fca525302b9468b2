/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

#include "core/base/glance.h"

#define LONG_MS 60000u

static struct {
    sem_t answer; /* what is looked at answers when it is posted */
    atomic_uint begun;
    atomic_uint seen;
} world;

struct look {
    struct glance glance;
    unsigned found;
};

static int start(void **state)
{
    (void)state;
    atomic_store(&world.begun, 0);
    atomic_store(&world.seen, 0);
    return sem_init(&world.answer, 0, 0);
}

static int stop(void **state)
{
    (void)state;
    return sem_destroy(&world.answer);
}

static void run(struct glance *glance)
{
    struct look *look = containerof(glance, struct look, glance);

    atomic_fetch_add(&world.begun, 1);
    while (sem_wait(&world.answer) < 0) {
    }
    look->found = 42;
    atomic_fetch_add(&world.seen, 1);
}

static struct look *look_new(const char *what)
{
    struct look *look = calloc(1, sizeof(*look));

    assert_non_null(look);
    look->glance.run = run;
    (void)snprintf(look->glance.what, sizeof(look->glance.what), "%s", what);
    return look;
}

static void take_and_see(const char *what)
{
    struct look *look = look_new(what);

    assert_int_equal(sem_post(&world.answer), 0);
    assert_int_equal(glance_take(&look->glance, LONG_MS), 0);
    assert_int_equal(look->found, 42);
    free(look);
}

static void wait_for(atomic_uint *count, unsigned value)
{
    while (atomic_load(count) < value) {
        struct timespec moment = {.tv_nsec = 1000000};

        (void)nanosleep(&moment, NULL);
    }
}

static void what_answers_is_seen(void **state)
{
    (void)state;
    take_and_see("good");
    take_and_see("good");
}

static void what_does_not_answer_is_waited_for_so_long(void **state)
{
    uint64_t begun_ns = now_ns();

    (void)state;
    assert_int_equal(glance_take(&look_new("hung")->glance, 20), -ETIMEDOUT);
    assert_true(now_ns() - begun_ns >= 20 * NS_PER_MS);
    wait_for(&world.begun, 1);
    assert_int_equal(sem_post(&world.answer), 0);
    wait_for(&world.seen, 1);
}

/* LONG_MS would be the test's end. */
static void what_does_not_answer_holds_up_nobody_twice(void **state)
{
    (void)state;
    assert_int_equal(glance_take(&look_new("hung again")->glance, 20), -ETIMEDOUT);
    assert_int_equal(glance_take(&look_new("hung again")->glance, LONG_MS), -ETIMEDOUT);
    wait_for(&world.begun, 1);
    assert_int_equal(atomic_load(&world.begun), 1);
    assert_int_equal(sem_post(&world.answer), 0);
    wait_for(&world.seen, 1);
}

static void others_are_looked_at_meanwhile(void **state)
{
    struct look *look;

    (void)state;
    assert_int_equal(glance_take(&look_new("bad")->glance, 20), -ETIMEDOUT);
    wait_for(&world.begun, 1);
    look = look_new("good");
    assert_int_equal(sem_post(&world.answer), 0);
    assert_int_equal(sem_post(&world.answer), 0);
    assert_int_equal(glance_take(&look->glance, LONG_MS), 0);
    free(look);
    wait_for(&world.seen, 2);
}

/* The thread forgets it a moment after it was seen. */
static void what_answers_late_is_looked_at_again(void **state)
{
    int ret = -ETIMEDOUT;

    (void)state;
    assert_int_equal(glance_take(&look_new("slow")->glance, 20), -ETIMEDOUT);
    assert_int_equal(sem_post(&world.answer), 0);
    wait_for(&world.seen, 1);
    assert_int_equal(sem_post(&world.answer), 0);
    while (ret == -ETIMEDOUT) {
        struct look *look = look_new("slow");

        ret = glance_take(&look->glance, LONG_MS);
        if (ret == 0) {
            free(look);
        }
    }
    assert_int_equal(ret, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_answers_is_seen, start, stop),
        cmocka_unit_test_setup_teardown(what_does_not_answer_is_waited_for_so_long, start, stop),
        cmocka_unit_test_setup_teardown(what_does_not_answer_holds_up_nobody_twice, start, stop),
        cmocka_unit_test_setup_teardown(others_are_looked_at_meanwhile, start, stop),
        cmocka_unit_test_setup_teardown(what_answers_late_is_looked_at_again, start, stop),
    };

    return unit_run(tests);
}
