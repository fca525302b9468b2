/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/ring_driver_world.h"

static void start(struct world *w, unsigned align, bool has_event_idx)
{
    struct ring_layout layout = {.size = SIZE,
                                 .has_event_idx = has_event_idx,
                                 .has_indirect = true,
                                 .slot_size = sizeof(struct chain),
                                 .slot_iovs = SIZE};
    uint64_t memory = arena_take(&w->arena, ring_driver_bytes(SIZE, align), 4096);

    ring_driver_init(&w->drv, SIZE, align, arena_at(&w->arena, memory),
                     GUEST - (uintptr_t)w->arena.host, w->chain);
    w->drv.has_event_idx = has_event_idx;
    layout.parts = find_parts(&w->mem, &w->drv);
    assert_int_equal(ring_start(&w->ring, &layout, &w->mem), 0);
}

static void restart(struct world *w, unsigned align, bool has_event_idx)
{
    ring_stop(&w->ring);
    start(w, align, has_event_idx);
}

static int world_start(void **state)
{
    static struct world world;

    world_init(&world);
    start(&world, RING_DRIVER_MODERN_ALIGN, false);
    *state = &world;
    return 0;
}

static void device_sees_the_pieces_in_order(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    memset(w->data, 'a', 64);
    assert_int_equal(add(w, 3), 0);
    ring_driver_show(&w->drv);
    chain = pop(w);
    assert_int_equal(chain->out_count, 2);
    assert_int_equal(chain->out_bytes, 128);
    assert_int_equal(chain->in_bytes, 64);
    assert_int_equal(*(uint8_t *)chain->iov[0].iov_base, 'a');
    ring_drop(&w->ring, chain);
}

static void nothing_is_seen_before_it_is_shown(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    add(w, 2);
    assert_int_equal(ring_pop(&w->ring, &chain), 0);
    assert_true(ring_driver_show(&w->drv));
    ring_drop(&w->ring, pop(w));
}

static void taken_back_with_head_and_length(void **state)
{
    struct world *w = *state;
    uint16_t head = 99;
    uint32_t len = 0;

    assert_false(ring_driver_take(&w->drv, &head, &len));
    add(w, 1);
    assert_int_equal(add(w, 2), 1);
    ring_driver_show(&w->drv);
    serve(w, 5);
    serve(w, 7);
    assert_true(ring_driver_take(&w->drv, &head, &len));
    assert_int_equal(head, 0);
    assert_int_equal(len, 5);
    assert_true(ring_driver_take(&w->drv, &head, &len));
    assert_int_equal(head, 1);
    assert_int_equal(len, 7);
    assert_false(ring_driver_take(&w->drv, &head, &len));
}

static void full_ring_takes_no_more_until_a_chain_returns(void **state)
{
    struct world *w = *state;

    assert_int_equal(add(w, 5), 0);
    assert_int_equal(add(w, 4), -1);
    assert_int_equal(add(w, 3), 5);
    assert_int_equal(add(w, 1), -1);
    assert_int_equal(add(w, 0), -1);
    ring_driver_show(&w->drv);
    serve(w, 0);
    take(w);
    assert_int_equal(w->drv.free_count, 5);
    assert_int_not_equal(add(w, 5), -1);
}

/* As many chains as descriptors, however long they are. */
static void indirect_chain_takes_one_descriptor(void **state)
{
    struct world *w = *state;
    struct vring_desc *table =
        arena_at(&w->arena, arena_take(&w->arena, SIZE * 2 * sizeof(*table), 16));
    const struct ring_piece pieces[] = {{w->data, 16, false}, {w->data + 64, 32, true}};
    struct chain *chain;

    for (unsigned i = 0; i < SIZE; i++) {
        assert_int_equal(ring_driver_add_indirect(&w->drv, table + (size_t)i * 2, pieces, 2), i);
    }
    assert_int_equal(ring_driver_add_indirect(&w->drv, table, pieces, 2), -1);
    assert_int_equal(add(w, 1), -1);
    ring_driver_show(&w->drv);
    for (unsigned i = 0; i < SIZE; i++) {
        chain = pop(w);
        assert_int_equal(chain->out_bytes, 16);
        assert_int_equal(chain->in_bytes, 32);
        assert_ptr_equal(chain->iov[1].iov_base,
                         mem_at(&w->mem, ring_driver_addr(&w->drv, w->data + 64), 32));
        ring_push(&w->ring, chain, 32);
    }
    ring_publish(&w->ring);
    for (unsigned i = 0; i < SIZE; i++) {
        assert_int_equal(take(w), i);
    }
    assert_int_equal(w->drv.free_count, SIZE);
    assert_int_equal(add(w, SIZE), SIZE - 1);
}

/* Indices are 16 bits; chains of every length come back out of order. */
static void indices_wrap(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 40000; i++) {
        struct chain *first, *second;

        add(w, 1 + i % 4);
        add(w, 1 + i % 3);
        ring_driver_show(&w->drv);
        first = pop(w);
        second = pop(w);
        ring_push(&w->ring, second, 0);
        ring_push(&w->ring, first, 0);
        ring_publish(&w->ring);
        take(w);
        take(w);
        assert_int_equal(w->drv.free_count, SIZE);
    }
}

static void legacy_layout_puts_the_used_part_on_its_own_page(void **state)
{
    struct world *w = *state;

    restart(w, RING_DRIVER_LEGACY_ALIGN, false);
    assert_ptr_equal((uint8_t *)w->drv.avail - (uint8_t *)w->drv.desc, 16 * SIZE);
    assert_ptr_equal((uint8_t *)w->drv.used - (uint8_t *)w->drv.desc, 4096);
    assert_int_equal(ring_driver_bytes(SIZE, RING_DRIVER_LEGACY_ALIGN), 8192);
    add(w, 2);
    ring_driver_show(&w->drv);
    serve(w, 1);
    take(w);
}

static void no_kick_where_the_device_wants_none(void **state)
{
    struct world *w = *state;

    ring_kicks_off(&w->ring);
    add(w, 1);
    assert_false(ring_driver_show(&w->drv));
    serve(w, 0);
    assert_false(ring_kicks_on(&w->ring));
    assert_false(ring_driver_show(&w->drv)); /* nothing new */
    add(w, 1);
    assert_true(ring_driver_show(&w->drv));
    ring_drop(&w->ring, pop(w));
}

static void kick_by_the_event_index(void **state)
{
    struct world *w = *state;

    restart(w, RING_DRIVER_MODERN_ALIGN, true);
    assert_false(ring_kicks_on(&w->ring));
    add(w, 1);
    assert_true(ring_driver_show(&w->drv));
    add(w, 1);
    assert_false(ring_driver_show(&w->drv)); /* the device has not asked again */
    serve(w, 0);
    serve(w, 0);
    assert_false(ring_kicks_on(&w->ring));
    add(w, 1);
    assert_true(ring_driver_show(&w->drv));
    ring_drop(&w->ring, pop(w));
}

/* What it was not kicked for is not forgotten, if its wish comes late. */
static void wish_that_comes_late_is_seen_before_a_wait(void **state)
{
    struct world *w = *state;

    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++) {
        restart(w, RING_DRIVER_MODERN_ALIGN, has_event_idx);
        ring_kicks_off(&w->ring);
        add(w, 1);
        assert_false(ring_driver_show(&w->drv));
        assert_false(ring_driver_show(&w->drv));
        assert_true(ring_kicks_on(&w->ring)); /* had it only looked before that was shown */
        assert_true(ring_driver_show(&w->drv));
        assert_false(ring_driver_show(&w->drv)); /* once */
        serve(w, 0);
        take(w);
    }
}

/* It asks, finds more by itself, and asks no more: nobody has missed anything. */
static void wish_that_was_passed_is_no_kick(void **state)
{
    struct world *w = *state;

    restart(w, RING_DRIVER_MODERN_ALIGN, true);
    for (unsigned i = 0; i < 3; i++) {
        ring_kicks_off(&w->ring);
        add(w, 1);
        assert_false(ring_driver_show(&w->drv));
        serve(w, 0);
        assert_false(ring_kicks_on(&w->ring));
        assert_false(ring_driver_show(&w->drv)); /* all is answered */
        take(w);
    }
    ring_kicks_off(&w->ring);
    add(w, 1);
    assert_false(ring_driver_show(&w->drv));
    ring_drop(&w->ring, pop(w));
}

static void interrupts_as_asked_for(void **state)
{
    struct world *w = *state;

    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++) {
        restart(w, RING_DRIVER_MODERN_ALIGN, has_event_idx);
        for (unsigned i = 0; i < 4; i++) {
            bool wants = i % 2 == 0;

            assert_false(ring_driver_interrupts(&w->drv, wants));
            add(w, 1);
            ring_driver_show(&w->drv);
            assert_int_equal(serve(w, 0), wants);
            take(w);
        }
    }
}

static void asking_for_interrupts_tells_of_what_came_before(void **state)
{
    struct world *w = *state;

    add(w, 1);
    ring_driver_show(&w->drv);
    serve(w, 0); /* the first of a device's life is always told */
    take(w);
    ring_driver_interrupts(&w->drv, false);
    add(w, 1);
    ring_driver_show(&w->drv);
    assert_false(serve(w, 0));
    assert_true(ring_driver_interrupts(&w->drv, true));
    take(w);
}

/* However many chains come back: the index of "never" is not reached. */
static void no_interrupt_where_none_is_wanted_for_long(void **state)
{
    struct world *w = *state;

    restart(w, RING_DRIVER_MODERN_ALIGN, true);
    ring_driver_interrupts(&w->drv, false);
    for (unsigned i = 0; i < 200000; i++) {
        add(w, 1);
        ring_driver_show(&w->drv);
        assert_int_equal(serve(w, 0), i == 0); /* the first of a device's life is always told */
        take(w);
    }
}

/* ---- a device that lies ---- */

/* What the device says; it is not taken, and the ring stays broken. */
static void expect_fault(struct world *w, uint32_t id, uint32_t len, const char *words)
{
    uint16_t at = w->drv.last_used;
    uint16_t head;
    uint32_t taken;

    w->drv.used->ring[at % SIZE] = (struct vring_used_elem){.id = id, .len = len};
    w->drv.used->idx = (uint16_t)(at + 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_false(ring_driver_take(&w->drv, &head, &taken));
        assert_non_null(w->drv.fault);
        assert_non_null(strstr(w->drv.fault, words));
    }
}

static void used_element_that_was_never_offered_breaks_the_ring(void **state)
{
    static const uint32_t ids[] = {SIZE, 2, 0x10000, UINT32_MAX};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        restart(w, RING_DRIVER_MODERN_ALIGN, false);
        add(w, 2);
        ring_driver_show(&w->drv);
        expect_fault(w, ids[i], 0, "not under way");
    }
}

/* The second descriptor of a chain is in the device's hands, and yet no chain's begin. */
static void used_element_amid_a_chain_breaks_the_ring(void **state)
{
    struct world *w = *state;

    add(w, 3);
    ring_driver_show(&w->drv);
    expect_fault(w, 1, 0, "not under way");
}

static void chain_that_comes_back_twice_breaks_the_ring(void **state)
{
    struct world *w = *state;

    add(w, 1);
    add(w, 1);
    ring_driver_show(&w->drv);
    serve(w, 0);
    assert_int_equal(take(w), 0);
    expect_fault(w, 0, 0, "not under way");
}

static void used_element_of_an_idle_ring_breaks_it(void **state)
{
    struct world *w = *state;

    expect_fault(w, 0, 0, "passed");
}

static void used_index_that_jumps_breaks_the_ring(void **state)
{
    static const uint16_t jumps[] = {3, SIZE + 1, 0x8000, 0xffff};
    struct world *w = *state;
    uint16_t head;
    uint32_t len;

    for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
        restart(w, RING_DRIVER_MODERN_ALIGN, false);
        add(w, 1);
        add(w, 1);
        ring_driver_show(&w->drv);
        w->drv.used->idx = jumps[i];
        assert_false(ring_driver_take(&w->drv, &head, &len));
        assert_non_null(w->drv.fault);
    }
}

/* Also when it was added: the device has not been told yet. */
static void chain_that_was_not_shown_does_not_come_back(void **state)
{
    struct world *w = *state;

    add(w, 1);
    expect_fault(w, 0, 0, "passed");
}

static void more_bytes_than_there_is_room_for_break_the_ring(void **state)
{
    struct world *w = *state;
    struct vring_desc *table = arena_at(&w->arena, arena_take(&w->arena, 64, 16));
    const struct ring_piece pieces[] = {{w->data, 16, false}, {w->data + 64, 32, true}};
    uint16_t head;
    uint32_t len;

    assert_int_equal(ring_driver_add_indirect(&w->drv, table, pieces, 2), 0);
    ring_driver_show(&w->drv);
    serve(w, 32);
    assert_true(ring_driver_take(&w->drv, &head, &len));
    assert_int_equal(len, 32);
    ring_driver_add_indirect(&w->drv, table, pieces, 2);
    ring_driver_show(&w->drv);
    expect_fault(w, 0, 33, "room");
}

static void legacy_devices_may_tell_any_length(void **state)
{
    struct world *w = *state;
    uint16_t head;
    uint32_t len;

    w->drv.has_vague_len = true;
    add(w, 3);
    ring_driver_show(&w->drv);
    serve(w, UINT32_MAX);
    assert_true(ring_driver_take(&w->drv, &head, &len));
    assert_int_equal(len, 64);
}

/* The device may write to all of the ring: what is free and what is chained is known here. */
static void scribbled_descriptors_lead_nowhere(void **state)
{
    struct world *w = *state;

    for (unsigned round = 0; round < 1000; round++) {
        struct chain *first, *second;

        assert_true(add(w, 1 + round % 3) >= 0);
        assert_true(add(w, 1 + round % 5) >= 0);
        ring_driver_show(&w->drv);
        first = pop(w);
        second = pop(w);
        ring_push(&w->ring, second, 0);
        ring_push(&w->ring, first, 0);
        ring_publish(&w->ring);
        memset(w->drv.desc, (int)round, sizeof(*w->drv.desc) * SIZE);
        take(w);
        memset(w->drv.desc, 0xff, sizeof(*w->drv.desc) * SIZE);
        take(w);
        assert_null(w->drv.fault);
        assert_int_equal(w->drv.free_count, SIZE);
    }
}

int main(void)
{
#define ring_test(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
    static const struct CMUnitTest tests[] = {
        ring_test(device_sees_the_pieces_in_order),
        ring_test(nothing_is_seen_before_it_is_shown),
        ring_test(taken_back_with_head_and_length),
        ring_test(full_ring_takes_no_more_until_a_chain_returns),
        ring_test(indices_wrap),
        ring_test(legacy_layout_puts_the_used_part_on_its_own_page),
        ring_test(no_kick_where_the_device_wants_none),
        ring_test(kick_by_the_event_index),
        ring_test(indirect_chain_takes_one_descriptor),
        ring_test(wish_that_comes_late_is_seen_before_a_wait),
        ring_test(wish_that_was_passed_is_no_kick),
        ring_test(interrupts_as_asked_for),
        ring_test(no_interrupt_where_none_is_wanted_for_long),
        ring_test(asking_for_interrupts_tells_of_what_came_before),
        ring_test(used_element_that_was_never_offered_breaks_the_ring),
        ring_test(used_element_amid_a_chain_breaks_the_ring),
        ring_test(chain_that_comes_back_twice_breaks_the_ring),
        ring_test(used_element_of_an_idle_ring_breaks_it),
        ring_test(used_index_that_jumps_breaks_the_ring),
        ring_test(chain_that_was_not_shown_does_not_come_back),
        ring_test(more_bytes_than_there_is_room_for_break_the_ring),
        ring_test(legacy_devices_may_tell_any_length),
        ring_test(scribbled_descriptors_lead_nowhere),
    };

    return unit_run(tests);
}
