/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/slots.h"

#define COUNT 4096u
#define BYTES 1000u

static int world_start(void **state)
{
    static struct slots slots;

    assert(slots_init(&slots, BYTES, COUNT) == 0);
    *state = &slots;
    return 0;
}

static int world_stop(void **state)
{
    slots_fini(*state);
    return 0;
}

static size_t pages_of(size_t bytes)
{
    return bytes / (size_t)sysconf(_SC_PAGESIZE) + 1;
}

/* Pages that the system had to give. */
static size_t resident(const struct slots *slots)
{
    static unsigned char pages[COUNT];
    size_t count = pages_of(slots->stride * slots->count - 1);
    size_t sum = 0;

    assert(count <= sizeof(pages));
    assert(mincore(slots->memory, slots->stride * slots->count, pages) == 0);
    for (size_t i = 0; i < count; i++) {
        sum += pages[i] & 1;
    }
    return sum;
}

static void slots_begin_on_cache_lines_and_do_not_overlap(void **state)
{
    struct slots *slots = *state;
    uint8_t *one = slots_take(slots);
    uint8_t *two = slots_take(slots);

    assert_int_equal((uintptr_t)one % CACHE_LINE, 0);
    assert_int_equal((uintptr_t)two % CACHE_LINE, 0);
    assert_true(two - one >= (ptrdiff_t)BYTES || one - two >= (ptrdiff_t)BYTES);
}

static void what_was_given_back_last_is_taken_first(void **state)
{
    struct slots *slots = *state;
    void *one = slots_take(slots);
    void *two = slots_take(slots);
    void *three = slots_take(slots);

    slots_give(slots, three);
    slots_give(slots, one);
    assert_ptr_equal(slots_take(slots), one);
    assert_ptr_equal(slots_take(slots), three);
    assert_ptr_not_equal(slots_take(slots), two);
}

static void each_is_taken_once_and_then_there_is_none(void **state)
{
    struct slots *slots = *state;
    void *last = NULL;

    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(slots_has_free(slots));
        last = slots_take(slots);
        assert_non_null(last);
        memset((uint8_t *)last + sizeof(struct slot), 0xff, BYTES - sizeof(struct slot));
    }
    assert_false(slots_has_free(slots));
    assert_null(slots_take(slots));
    slots_give(slots, last);
    assert_true(slots_has_free(slots));
    assert_ptr_equal(slots_take(slots), last);
    assert_null(slots_take(slots));
}

static void walk_meets_what_is_taken_and_nothing_else(void **state)
{
    struct slots *slots = *state;
    void *taken[8];
    unsigned at = 0;

    assert_null(slots_next_taken(slots, &at));
    for (unsigned i = 0; i < ARRAY_SIZE(taken); i++) {
        taken[i] = slots_take(slots);
    }
    slots_give(slots, taken[0]);
    slots_give(slots, taken[3]);
    slots_give(slots, taken[7]);
    at = 0;
    assert_ptr_equal(slots_next_taken(slots, &at), taken[1]);
    assert_ptr_equal(slots_next_taken(slots, &at), taken[2]);
    assert_ptr_equal(slots_next_taken(slots, &at), taken[4]);
    assert_ptr_equal(slots_next_taken(slots, &at), taken[5]);
    assert_ptr_equal(slots_next_taken(slots, &at), taken[6]);
    assert_null(slots_next_taken(slots, &at));
}

static void only_what_was_ever_taken_costs_memory(void **state)
{
    struct slots *slots = *state;
    void *taken[10];

    assert_int_equal(resident(slots), 0);
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < ARRAY_SIZE(taken); i++) {
            taken[i] = slots_take(slots);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(taken); i++) {
            slots_give(slots, taken[i]);
        }
    }
    assert_in_range(resident(slots), 1, pages_of(slots->stride * ARRAY_SIZE(taken)));
}

static void more_than_there_is_room_for_is_an_error(void **state)
{
    struct slots slots = {0};

    (void)state;
    assert_int_equal(slots_init(&slots, SIZE_MAX >> 20, 1u << 19), -ENOMEM);
    slots_fini(&slots); /* nothing to give up */
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(slots_begin_on_cache_lines_and_do_not_overlap),
        in_world(what_was_given_back_last_is_taken_first),
        in_world(each_is_taken_once_and_then_there_is_none),
        in_world(walk_meets_what_is_taken_and_nothing_else),
        in_world(only_what_was_ever_taken_costs_memory),
        cmocka_unit_test(more_than_there_is_room_for_is_an_error),
    };

    return unit_run(tests);
}
