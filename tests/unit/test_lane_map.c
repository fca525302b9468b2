/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/device/lane_map.h"

static void assert_map(const char *text, unsigned lanes, unsigned rings, const char *digits)
{
    struct lane_map map;
    struct err err = {0};

    assert_int_equal(lane_map_parse(&map, text, lanes, rings, &err), 0);
    for (unsigned i = 0; digits[i]; i++) {
        assert_int_equal(map.lane[i], digits[i] - '0');
    }
}

static void rings_go_where_the_list_says_and_it_begins_again(void **state)
{
    assert_map("auto", 3, 16, "0120120120120120");
    assert_map("auto", 1, 4, "0000");
    assert_map("0,0,1,1", 2, 4, "0011");
    assert_map("0,0,1,1", 2, 16, "0011001100110011");
    assert_map("1,0", 2, 5, "10101");
    assert_map("0", 1, 64, "0000");
    assert_map("3,2,1,0", 4, 4, "3210");
}

static void assert_refused(const char *text, unsigned lanes, unsigned rings, const char *why)
{
    struct lane_map map;
    struct err err = {0};

    assert_int_equal(lane_map_parse(&map, text, lanes, rings, &err), -EINVAL);
    assert_non_null(strstr(err.text, why));
}

static void what_does_not_fit_threads_or_rings_is_refused(void **state)
{
    static const char *const lists[] = {"x",   "0,",  ",0",  "0,,1", "0 1", " 0",   "-1",
                                        "0;1", "0x1", "0,a", "AUTO", "+1",  "0,1,", NULL};

    for (unsigned i = 0; lists[i]; i++) {
        assert_refused(lists[i], 2, 16, "is no list of threads, as 0,0,1,1");
    }
    assert_refused("0,1,2", 2, 4,
                   "queue 2 is to be served by thread 2, and there are 2, counted from 0; say");
    assert_refused("1", 1, 4, "thread 1, and there is 1,");
    assert_refused("0,99999999999999999999", 2, 4, "by thread above 15, and there are 2");
    assert_refused("0,256", 2, 4, "by thread above 15, and there are 2");
    assert_refused("0,0,2", 3, 4, "thread 1 of 3 would serve no queue; ");
    assert_refused("1,1", 2, 2, "thread 0 of 2 would serve no queue; ");
    assert_refused("0,1,0", 2, 2, "\"0,1,0\" has more numbers than the 2 queues of the disk");
    assert_refused("0,0", 1, 1, "more numbers than the 1 queue of the disk");
}

/* The longest that there is room for. */
static void each_of_all_rings_may_be_named(void **state)
{
    char text[LANE_MAP_TEXT_BYTES] = "";
    struct lane_map map;

    (void)snprintf(text, sizeof(text), "%s", "15,14,13,12,11,10,9,8,7,6,5,4,3,2,1,0");
    for (unsigned i = 16; i < BLK_MAX_QUEUES; i++) {
        strcat(text, ",15");
    }
    assert_int_equal(lane_map_parse(&map, text, 16, BLK_MAX_QUEUES, NULL), 0);
    assert_int_equal(map.lane[0], 15);
    assert_int_equal(map.lane[15], 0);
    assert_int_equal(map.lane[BLK_MAX_QUEUES - 1], 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rings_go_where_the_list_says_and_it_begins_again),
        cmocka_unit_test(what_does_not_fit_threads_or_rings_is_refused),
        cmocka_unit_test(each_of_all_rings_may_be_named),
    };

    return unit_run(tests);
}
