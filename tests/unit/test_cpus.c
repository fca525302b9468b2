/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "core/base/cpus.h"

static void assert_says(const char *text, const char *said)
{
    struct cpus cpus;
    struct err err = {0};
    char again[CPUS_TEXT_BYTES];

    assert_int_equal(cpus_parse(&cpus, text, &err), 0);
    cpus_say(&cpus, again);
    assert_string_equal(again, said);
}

static void lists_are_those_of_taskset(void **state)
{
    assert_says("0", "0");
    assert_says("0-3,8", "0-3,8");
    assert_says("8,0-3", "0-3,8");
    assert_says("0,1,2,3", "0-3");
    assert_says("0-10:2", "0,2,4,6,8,10");
    assert_says("0-10:20", "0");
    assert_says("3-3", "3");
    assert_says("63,64,65,8191", "63-65,8191");
    assert_says("0-8191", "0-8191");
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const lists[] = {
        "",    "all", "x",     "0,",   ",0",    "0,,1",    "3-1",
        "-1",  "0-",  "0-3:0", "0-3:", "8192",  "0-8192",  " 0",
        "0 1", "0;1", "0x1",   "+1",   "0-1-2", "0-1:2:3", "99999999999999999999",
        NULL};
    struct cpus cpus;

    for (unsigned i = 0; lists[i]; i++) {
        struct err err = {0};

        assert_int_equal(cpus_parse(&cpus, lists[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, "\" is no list of CPUs, as 0-3,8; \"all\" stands for"));
    }
}

static void long_lists_are_cut_off(void **state)
{
    struct cpus cpus;
    char text[CPUS_TEXT_BYTES];

    assert_int_equal(cpus_parse(&cpus, "0-8191:2", NULL), 0);
    cpus_say(&cpus, text);
    assert_int_equal(strlen(text), CPUS_TEXT_BYTES - 1);
    memset(&cpus, 0, sizeof(cpus));
    cpus_say(&cpus, text);
    assert_string_equal(text, "");
}

static void sets_are_compared(void **state)
{
    struct cpus few, many;

    assert_int_equal(cpus_parse(&few, "1,130", NULL), 0);
    assert_int_equal(cpus_parse(&many, "0-200", NULL), 0);
    assert_int_equal(cpus_beyond(&few, &many), -1);
    assert_int_equal(cpus_beyond(&many, &few), 0);
    assert_int_equal(cpus_parse(&many, "0-129", NULL), 0);
    assert_int_equal(cpus_beyond(&few, &many), 130);
    assert_true(cpus_limit(&few, &many));
    assert_int_equal(cpus_beyond(&few, &many), -1);
    assert_int_equal(cpus_parse(&many, "130", NULL), 0);
    assert_false(cpus_limit(&few, &many));
}

static void *run_apart(void *arg)
{
    struct cpus *all = arg;
    struct cpus one = {{0}}, own;
    int first = cpus_beyond(all, &one);

    one.word[first / 64] = 1ull << (first % 64);
    assert_int_equal(cpus_use(&one, 0), 0);
    cpus_of(&own, 0);
    assert_int_equal(cpus_beyond(&own, &one), -1);
    assert_int_equal(cpus_beyond(&one, &own), -1);
    memset(&one, 0, sizeof(one));
    one.word[CPUS_MAX / 64 - 1] = 1ull << 63;
    assert_int_equal(cpus_use(&one, 0), -EINVAL);
    assert_int_equal(cpus_use_for(&one, pthread_self()), -EINVAL);
    cpus_use_all();
    cpus_of(&own, 0);
    assert_int_equal(cpus_beyond(all, &own), -1);
    return NULL;
}

/* What a thread does to itself the process has not. */
static void threads_run_where_they_are_told_to(void **state)
{
    struct cpus all, after;
    pthread_t thread;

    cpus_of_process(&all);
    assert_int_equal(pthread_create(&thread, NULL, run_apart, &all), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cpus_of_process(&after);
    assert_memory_equal(&all, &after, sizeof(all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_those_of_taskset),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(long_lists_are_cut_off),
        cmocka_unit_test(sets_are_compared),
        cmocka_unit_test(threads_run_where_they_are_told_to),
    };

    return unit_run(tests);
}
