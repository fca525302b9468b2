/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The driver's side of a packed ring, against our own device and against one that lies.
 */

#include "tests/unit/ring_driver_world.h"

#define USED_FLAGS (1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED)

static void start(struct world *w, bool has_event_idx)
{
    struct ring_layout layout = {.size = SIZE,
                                 .base = RING_PACKED_BASE,
                                 .is_packed = true,
                                 .has_event_idx = has_event_idx,
                                 .has_indirect = true,
                                 .slot_size = sizeof(struct chain),
                                 .slot_iovs = SIZE};
    uint64_t memory = arena_take(&w->arena, ring_driver_bytes(SIZE, RING_DRIVER_MODERN_ALIGN), 16);

    ring_driver_init_packed(&w->drv, SIZE, arena_at(&w->arena, memory),
                            GUEST - (uintptr_t)w->arena.host, w->chain);
    w->drv.has_event_idx = has_event_idx;
    layout.parts = find_parts(&w->mem, &w->drv);
    assert_int_equal(ring_start(&w->ring, &layout, &w->mem), 0);
}

static void restart(struct world *w, bool has_event_idx)
{
    ring_stop(&w->ring);
    start(w, has_event_idx);
}

static int world_start(void **state)
{
    static struct world world;

    world_init(&world);
    start(&world, false);
    *state = &world;
    return 0;
}

static void assert_nothing_to_take(struct world *w)
{
    uint16_t id;
    uint32_t len;

    assert_false(ring_driver_take(&w->drv, &id, &len));
}

static void device_sees_the_pieces_in_order(void **state)
{
    struct world *w = *state;
    int id = add(w, 3);
    struct chain *chain;

    ring_driver_show(&w->drv);
    chain = pop(w);
    assert_int_equal(chain->id, id);
    assert_int_equal(chain->out_count, 2);
    assert_int_equal(chain->in_count, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(chain->iov[i].iov_base,
                         mem_at(&w->mem, ring_driver_addr(&w->drv, w->data + 64 * i), 1));
        assert_int_equal(chain->iov[i].iov_len, 64);
    }
}

static void nothing_is_seen_before_it_is_shown(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    for (unsigned round = 0; round < 2 * SIZE; round++) {
        add(w, 2);
        add(w, 1);
        assert_int_equal(ring_pop(&w->ring, &chain), 0);
        ring_driver_show(&w->drv);
        serve(w, 1);
        serve(w, 1);
        take(w);
        take(w);
    }
}

static void taken_back_with_id_and_length(void **state)
{
    struct world *w = *state;
    int first = add(w, 2);
    int second = add(w, 3);
    struct chain *chain;
    uint16_t id;
    uint32_t len;

    ring_driver_show(&w->drv);
    chain = pop(w);
    serve(w, 7);
    assert_true(ring_driver_take(&w->drv, &id, &len));
    assert_int_equal(id, second);
    assert_int_equal(len, 7);
    assert_nothing_to_take(w);
    ring_push(&w->ring, chain, 0);
    ring_publish(&w->ring);
    assert_true(ring_driver_take(&w->drv, &id, &len));
    assert_int_equal(id, first);
    assert_int_equal(len, 0);
    assert_int_equal(w->drv.free_count, SIZE);
}

static void full_ring_takes_no_more_until_a_chain_returns(void **state)
{
    struct world *w = *state;

    assert_true(add(w, 3) >= 0);
    assert_true(add(w, 4) >= 0);
    assert_int_equal(add(w, 2), -1);
    assert_true(add(w, 1) >= 0);
    assert_int_equal(add(w, 1), -1);
    ring_driver_show(&w->drv);
    serve(w, 1);
    take(w);
    assert_int_equal(add(w, 4), -1);
    assert_true(add(w, 3) >= 0);
    ring_driver_show(&w->drv);
    for (unsigned i = 0; i < 3; i++) {
        serve(w, 1);
        take(w);
    }
}

static void chain_of_nothing_is_none(void **state)
{
    struct world *w = *state;

    assert_int_equal(ring_driver_add(&w->drv, NULL, 0), -1);
    assert_int_equal(ring_driver_add_indirect(&w->drv, w->tables, NULL, 0), -1);
}

static void indirect_chain_takes_one_descriptor(void **state)
{
    struct world *w = *state;
    struct ring_piece pieces[] = {
        {w->data, 16, false}, {w->data + 64, 512, true}, {w->data + 1024, 1, true}};
    struct chain *chain;
    int id = ring_driver_add_indirect(&w->drv, w->tables, pieces, 3);

    assert_int_equal(w->drv.free_count, SIZE - 1);
    ring_driver_show(&w->drv);
    chain = pop(w);
    assert_null(chain->fault);
    assert_int_equal(chain->id, id);
    assert_int_equal(chain->out_bytes, 16);
    assert_int_equal(chain->in_bytes, 513);
    ring_push(&w->ring, chain, 513);
    ring_publish(&w->ring);
    assert_int_equal(take(w), id);
}

/* Chains of all lengths, ended in any order, for many rounds. */
static void chains_come_back_in_any_order(void **state)
{
    struct world *w = *state;
    struct chain *chain[SIZE];
    unsigned popped = 0, added = 0, taken = 0;
    uint64_t random = 1;

    while (taken < 20000) {
        uint16_t id;
        uint32_t len;

        random = random * 6364136223846793005ull + 1442695040888963407ull;
        added += add(w, 1 + (unsigned)(random >> 33) % 4) >= 0;
        ring_driver_show(&w->drv);
        while (popped < SIZE && ring_pop(&w->ring, &chain[popped]) > 0) {
            popped++;
        }
        if (popped > 0 && (random >> 40 & 1 || w->drv.free_count < 4)) {
            unsigned which = (unsigned)(random >> 48) % popped;

            ring_push(&w->ring, chain[which], 1);
            chain[which] = chain[--popped];
            ring_publish(&w->ring);
        }
        while (ring_driver_take(&w->drv, &id, &len)) {
            taken++;
        }
        assert_null(w->drv.fault);
        assert_false(w->ring.is_broken);
    }
    assert_int_equal(added - taken, popped);
}

/* ---- kicks and interrupts ---- */

static bool show_one(struct world *w)
{
    assert_true(add(w, 1) >= 0);
    return ring_driver_show(&w->drv);
}

static void no_kick_where_the_device_wants_none(void **state)
{
    struct world *w = *state;

    assert_true(show_one(w));
    ring_kicks_off(&w->ring);
    assert_false(show_one(w));
    ring_kicks_on(&w->ring);
    assert_true(show_one(w));
}

/* At each place of two rounds, with chains of two descriptors. */
static void kick_by_the_event_descriptor(void **state)
{
    struct world *w = *state;

    restart(w, true);
    for (unsigned round = 0; round < 2 * SIZE; round++) {
        ring_kicks_on(&w->ring);
        add(w, 2);
        assert_true(ring_driver_show(&w->drv)); /* this one was waited for */
        add(w, 1);
        assert_false(ring_driver_show(&w->drv));
        serve(w, 1);
        serve(w, 1);
        take(w);
        take(w);
    }
}

static void wish_that_comes_late_is_seen_before_a_wait(void **state)
{
    struct world *w = *state;

    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        restart(w, event_idx);
        ring_kicks_off(&w->ring);
        assert_false(show_one(w));
        assert_false(ring_driver_show(&w->drv));
        ring_kicks_on(&w->ring); /* by a device that did not see what was shown */
        assert_true(ring_driver_show(&w->drv));
        assert_false(ring_driver_show(&w->drv));
    }
}

static void interrupts_as_asked_for(void **state)
{
    struct world *w = *state;

    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        restart(w, event_idx);
        show_one(w);
        serve(w, 1); /* the first is told whatever was asked */
        take(w);
        for (unsigned round = 0; round < 2 * SIZE; round++) {
            ring_driver_interrupts(&w->drv, false);
            show_one(w);
            assert_false(serve(w, 1));
            take(w);
            ring_driver_interrupts(&w->drv, true);
            show_one(w);
            assert_true(serve(w, 1));
            take(w);
        }
    }
}

static void asking_for_interrupts_tells_of_what_came_before(void **state)
{
    struct world *w = *state;

    assert_false(ring_driver_interrupts(&w->drv, true));
    show_one(w);
    assert_false(ring_driver_interrupts(&w->drv, true));
    serve(w, 1);
    assert_true(ring_driver_interrupts(&w->drv, true));
    take(w);
    assert_false(ring_driver_interrupts(&w->drv, true));
}

/* ---- devices that lie ---- */

/* The device's next word is a used descriptor that says this. */
static void say_used(struct world *w, uint16_t id, uint32_t len)
{
    struct vring_packed_desc *desc = &w->drv.packed[w->drv.place.taken % SIZE];

    desc->id = id;
    desc->len = len;
    desc->flags = USED_FLAGS | VRING_DESC_F_WRITE;
}

static void expect_fault(struct world *w, uint16_t id, uint32_t len, const char *words)
{
    say_used(w, id, len);
    assert_nothing_to_take(w);
    assert_non_null(w->drv.fault);
    assert_non_null(strstr(w->drv.fault, words));
    assert_nothing_to_take(w);
}

static void id_that_was_never_offered_breaks_the_ring(void **state)
{
    struct world *w = *state;
    int id = add(w, 2);

    ring_driver_show(&w->drv);
    expect_fault(w, (uint16_t)(id + 1), 1, "not under way");
}

static void id_past_the_ring_breaks_it(void **state)
{
    struct world *w = *state;

    show_one(w);
    expect_fault(w, 0xffff, 1, "not under way");
}

static void chain_that_comes_back_twice_breaks_the_ring(void **state)
{
    struct world *w = *state;
    int id = add(w, 1);

    add(w, 1);
    ring_driver_show(&w->drv);
    serve(w, 1);
    assert_int_equal(take(w), id);
    expect_fault(w, (uint16_t)id, 1, "not under way");
}

static void idle_ring_has_nothing_whatever_it_says(void **state)
{
    struct world *w = *state;

    say_used(w, 0, 1);
    assert_nothing_to_take(w);
    assert_null(w->drv.fault);
}

static void chain_that_was_not_shown_does_not_come_back(void **state)
{
    struct world *w = *state;
    int id;

    show_one(w);
    id = add(w, 3);
    expect_fault(w, (uint16_t)id, 1, "not under way");
}

static void more_bytes_than_there_is_room_for_break_the_ring(void **state)
{
    struct world *w = *state;
    int id = add(w, 2);

    ring_driver_show(&w->drv);
    expect_fault(w, (uint16_t)id, 65, "more than there was room for");
}

/* Source: VIRTIO 1.2, 2.8.3 "Write Flag". */
static void length_without_the_write_flag_is_none(void **state)
{
    struct world *w = *state;
    uint16_t id;
    uint32_t len = 1;

    show_one(w);
    say_used(w, 0, UINT32_MAX);
    w->drv.packed[0].flags = USED_FLAGS;
    assert_true(ring_driver_take(&w->drv, &id, &len));
    assert_int_equal(len, 0);
}

/* The device may write to all of the ring: what is free and what is chained is known here. */
static void scribbled_descriptors_lead_nowhere(void **state)
{
    struct world *w = *state;
    uint64_t random = 7;
    uint8_t *bytes = (uint8_t *)w->drv.packed;

    for (unsigned round = 0; round < 20000; round++) {
        uint16_t id;
        uint32_t len;

        random = random * 6364136223846793005ull + 1442695040888963407ull;
        (void)add(w, 1 + (unsigned)(random >> 60) % 4);
        (void)ring_driver_show(&w->drv);
        bytes[(random >> 33) % (SIZE * sizeof(*w->drv.packed) + 8)] = (uint8_t)(random >> 52);
        if (ring_driver_take(&w->drv, &id, &len)) {
            assert_in_range(id, 0, SIZE - 1);
            assert_in_range(len, 0, 64);
        }
        assert_in_range(w->drv.free_count, 0, SIZE);
        w->drv.fault = NULL; /* on with it, for more */
    }
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(device_sees_the_pieces_in_order),
        in_world(nothing_is_seen_before_it_is_shown),
        in_world(taken_back_with_id_and_length),
        in_world(full_ring_takes_no_more_until_a_chain_returns),
        in_world(chain_of_nothing_is_none),
        in_world(indirect_chain_takes_one_descriptor),
        in_world(chains_come_back_in_any_order),
        in_world(no_kick_where_the_device_wants_none),
        in_world(kick_by_the_event_descriptor),
        in_world(wish_that_comes_late_is_seen_before_a_wait),
        in_world(interrupts_as_asked_for),
        in_world(asking_for_interrupts_tells_of_what_came_before),
        in_world(id_that_was_never_offered_breaks_the_ring),
        in_world(id_past_the_ring_breaks_it),
        in_world(chain_that_comes_back_twice_breaks_the_ring),
        in_world(idle_ring_has_nothing_whatever_it_says),
        in_world(chain_that_was_not_shown_does_not_come_back),
        in_world(more_bytes_than_there_is_room_for_break_the_ring),
        in_world(length_without_the_write_flag_is_none),
        in_world(scribbled_descriptors_lead_nowhere),
    };

    return unit_run(tests);
}
