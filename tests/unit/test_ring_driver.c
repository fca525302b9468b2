/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "core/ring.h"
#include "core/ring_driver.h"
#include "tests/lib/arena.h"

#define SIZE 8u
#define GUEST 0x100000ull
#define ARENA_BYTES 0x40000u

/* A driver and the device's side of the same ring. */
struct world {
    struct mem mem;
    struct arena arena;
    struct ring_driver drv;
    struct ring ring;
    uint8_t *data;
};

static void start(struct world *w, unsigned align, bool has_event_idx)
{
    struct ring_layout layout = {.size = SIZE,
                                 .has_event_idx = has_event_idx,
                                 .has_indirect = true,
                                 .slot_size = sizeof(struct chain),
                                 .iov_max = SIZE};
    uint64_t memory = arena_take(&w->arena, ring_driver_bytes(SIZE, align), 4096);

    ring_driver_init(&w->drv, SIZE, align, arena_at(&w->arena, memory),
                     GUEST - (uintptr_t)w->arena.host);
    w->drv.has_event_idx = has_event_idx;
    layout.desc = mem_at(&w->mem, ring_driver_addr(&w->drv, w->drv.desc), ring_desc_bytes(SIZE));
    layout.avail = mem_at(&w->mem, ring_driver_addr(&w->drv, w->drv.avail), ring_avail_bytes(SIZE));
    layout.used = mem_at(&w->mem, ring_driver_addr(&w->drv, w->drv.used), ring_used_bytes(SIZE));
    assert_true(layout.desc && layout.avail && layout.used);
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
    struct mem_layout layout = {.guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = GUEST};

    memset(&world, 0, sizeof(world));
    mem_init(&world.mem);
    arena_init(&world.arena, GUEST, ARENA_BYTES);
    assert_int_equal(mem_add(&world.mem, &layout, world.arena.fd, NULL), 0);
    world.data = arena_at(&world.arena, arena_take(&world.arena, 4096, 4096));
    start(&world, RING_DRIVER_MODERN_ALIGN, false);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

static int add(struct world *w, unsigned count)
{
    struct ring_piece pieces[SIZE];

    for (unsigned i = 0; i < count; i++) {
        pieces[i] = (struct ring_piece){w->data + 64 * i, 64, i + 1 == count};
    }
    return ring_driver_add(&w->drv, pieces, count);
}

static struct chain *pop(struct world *w)
{
    struct chain *chain = NULL;

    assert_int_equal(ring_pop(&w->ring, &chain), 1);
    return chain;
}

static bool serve(struct world *w, uint32_t len)
{
    ring_push(&w->ring, pop(w), len);
    return ring_publish(&w->ring);
}

static uint16_t take(struct world *w)
{
    uint16_t head;
    uint32_t len;

    assert_true(ring_driver_take(&w->drv, &head, &len));
    return head;
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

static void used_element_that_was_never_offered_breaks_the_ring(void **state)
{
    struct world *w = *state;
    uint16_t head;
    uint32_t len;

    add(w, 1);
    ring_driver_show(&w->drv);
    w->drv.used->ring[0].id = SIZE;
    w->drv.used->idx = 1;
    assert_false(ring_driver_take(&w->drv, &head, &len));
    assert_true(w->drv.is_broken);
}

static void used_element_of_an_idle_ring_breaks_it(void **state)
{
    struct world *w = *state;
    uint16_t head;
    uint32_t len;

    w->drv.used->idx = 1;
    assert_false(ring_driver_take(&w->drv, &head, &len));
    assert_true(w->drv.is_broken);
}

/* The device could write to the table; the walk ends all the same. */
static void looped_chain_is_freed_within_bounds(void **state)
{
    struct world *w = *state;

    add(w, 2);
    ring_driver_show(&w->drv);
    serve(w, 0);
    w->drv.desc[1].flags = VRING_DESC_F_NEXT;
    w->drv.desc[1].next = 0xffff;
    take(w);
    assert_true(w->drv.free_count <= SIZE);
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
        ring_test(interrupts_as_asked_for),
        ring_test(no_interrupt_where_none_is_wanted_for_long),
        ring_test(asking_for_interrupts_tells_of_what_came_before),
        ring_test(used_element_that_was_never_offered_breaks_the_ring),
        ring_test(used_element_of_an_idle_ring_breaks_it),
        ring_test(looped_chain_is_freed_within_bounds),
    };

    return unit_run(tests);
}
