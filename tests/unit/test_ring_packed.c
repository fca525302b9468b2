/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The packed format.  What is the same for both, as what a buffer may be, stands in test_ring.c.
 */

#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>

#include "core/virtio/ring.h"
#include "tests/lib/packed.h"

#define SIZE 8u
#define LARGE 32768u
#define PAGE 4096u
#define GUEST 0x100000ull
#define ARENA_BYTES (32ull * PAGE)
#define LARGE_ARENA_BYTES (4ull << 20)

/* A started ring and its driver. */
struct world {
    struct mem mem;
    struct arena arena;
    struct packed drv;
    struct ring ring;
    struct slots arrays;
    struct chain *chain;
    uint64_t data; /* guest address of a page nobody else uses */
    uint64_t table;
};

/* At a place that has been reached by a device before, with nothing under way. */
static void start(struct world *w, uint32_t place, bool has_event_idx, bool has_indirect)
{
    struct ring_layout layout = {
        .size = w->drv.size,
        .parts = packed_parts(&w->drv, &w->mem),
        .base = packed_base(&w->drv, place),
        .is_packed = true,
        .has_event_idx = has_event_idx,
        .has_indirect = has_indirect,
        .slot_size = sizeof(struct chain),
        .slot_iovs = 3,
        .arrays = &w->arrays,
    };

    packed_reset(&w->drv, place);
    assert(ring_start(&w->ring, &layout, &w->mem) == 0);
}

static void restart(struct world *w, uint32_t place, bool has_event_idx, bool has_indirect)
{
    ring_stop(&w->ring);
    start(w, place, has_event_idx, has_indirect);
}

static int start_with(void **state, unsigned size, uint64_t bytes)
{
    static struct world w;
    struct mem_layout layout = {.guest_addr = GUEST, .size = bytes, .user_addr = GUEST};

    mem_init(&w.mem);
    arena_init(&w.arena, GUEST, bytes);
    assert(mem_add(&w.mem, &layout, w.arena.fd, NULL) == 0);
    packed_init(&w.drv, &w.arena, size);
    w.data = arena_take(&w.arena, PAGE, PAGE);
    w.table = arena_take(&w.arena, 9 * PAGE, PAGE);
    assert(slots_init(&w.arrays, sizeof(struct ring_array), 1) == 0);
    start(&w, 0, false, true);
    *state = &w;
    return 0;
}

static int world_start(void **state)
{
    return start_with(state, SIZE, ARENA_BYTES);
}

static int large_start(void **state)
{
    return start_with(state, LARGE, LARGE_ARENA_BYTES);
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    slots_fini(&w->arrays);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

static uint8_t *at(struct world *w, uint64_t addr)
{
    return mem_at(&w->mem, addr, 1);
}

/* One descriptor; its length is a mark to know it by. */
static void offer(struct world *w, uint16_t id)
{
    struct piece piece = piece_in(w->data, 100u + id);

    packed_offer(&w->drv, &piece, 1, id);
}

/* Of 1 to SIZE descriptors. */
static void offer_chain(struct world *w, unsigned count, uint16_t id)
{
    struct piece pieces[SIZE];

    for (unsigned i = 0; i < count; i++) {
        pieces[i] = piece_in(w->data + 64 * i, 4 + i);
    }
    packed_offer(&w->drv, pieces, count, id);
}

static struct chain *pop(struct world *w)
{
    struct chain *chain = NULL;

    assert_int_equal(ring_pop(&w->ring, &chain), 1);
    assert_non_null(chain);
    return chain;
}

static void assert_empty(struct world *w)
{
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    assert_false(ring_has_any(&w->ring));
}

static void assert_breaks(struct world *w)
{
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    assert_true(w->ring.is_broken);
    assert_non_null(w->ring.fault);
    assert_int_equal(w->ring.inflight, 0);
}

static void assert_used(struct world *w, uint16_t id, uint32_t len)
{
    struct used used;

    assert_true(packed_reap(&w->drv, &used));
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, len);
}

static void assert_none_used(struct world *w)
{
    struct used used;

    assert_false(packed_reap(&w->drv, &used));
}

/* A chain there and back. */
static void serve_one(struct world *w, unsigned count, uint16_t id)
{
    offer_chain(w, count, id);
    ring_push(&w->ring, pop(w), id + 1u);
    ring_publish(&w->ring);
    assert_used(w, id, id + 1u);
}

/* ---- popping ---- */

static void empty_ring_gives_nothing(void **state)
{
    struct world *w = *state;

    assert_empty(w);
    assert_false(ring_has_moved(&w->ring));
}

static void chains_come_in_the_order_offered(void **state)
{
    struct world *w = *state;

    offer(w, 5);
    offer(w, 2);
    assert_true(ring_has_ahead(&w->ring, 2));
    assert_false(ring_has_ahead(&w->ring, 3));
    assert_int_equal(pop(w)->id, 5);
    assert_int_equal(pop(w)->id, 2);
    assert_empty(w);
    assert_int_equal(w->ring.inflight, 2);
}

static void chain_is_known_by_the_id_of_its_last_descriptor(void **state)
{
    struct world *w = *state;

    packed_set(&w->drv, 1, w->data + 64, 1, 6, VRING_DESC_F_WRITE | packed_available(&w->drv, 1));
    packed_set(&w->drv, 0, w->data, 16, 999, VRING_DESC_F_NEXT | packed_available(&w->drv, 0));

    struct chain *chain = pop(w);

    assert_int_equal(chain->id, 6);
    assert_int_equal(chain->out_bytes, 16);
    assert_int_equal(chain->in_bytes, 1);
    assert_ptr_equal(chain->last_in, at(w, w->data + 64));
}

static void whole_ring_can_be_one_chain(void **state)
{
    struct world *w = *state;

    for (unsigned round = 0; round < 3; round++) {
        serve_one(w, SIZE, 7);
    }
    assert_int_equal(ring_base(&w->ring), packed_base(&w->drv, 3 * SIZE));
}

static void chain_goes_on_at_the_start_of_the_ring(void **state)
{
    struct world *w = *state;

    serve_one(w, SIZE - 1, 0);
    offer_chain(w, 3, 4);

    struct chain *chain = pop(w);

    assert_int_equal(chain->in_count, 3);
    assert_int_equal(chain->iov[2].iov_len, 6);
    ring_push(&w->ring, chain, 9);
    ring_publish(&w->ring);
    assert_used(w, 4, 9);
    assert_int_equal(ring_base(&w->ring), packed_base(&w->drv, SIZE + 2));
    assert_empty(w);
}

static void rounds_wrap_for_ever(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 20000; i++) {
        serve_one(w, 1 + i % 5, (uint16_t)(i % SIZE));
    }
    assert_empty(w);
}

/* The count of descriptors has 32 bits, and a base but those of the ring. */
static void places_wrap_at_32_bits(void **state)
{
    struct world *w = *state;

    w->ring.used = w->ring.published = w->ring.signalled = w->ring.popped = -2 * SIZE;
    for (unsigned i = 0; i < 4 * SIZE; i++) {
        serve_one(w, 1, 3);
    }
    assert_int_equal(ring_base(&w->ring), packed_base(&w->drv, 4 * SIZE));
}

static void what_was_used_is_not_popped_again(void **state)
{
    struct world *w = *state;

    for (unsigned round = 0; round < 2; round++) {
        for (uint16_t id = 0; id < SIZE; id++) {
            serve_one(w, 1, id);
            assert_empty(w);
        }
    }
}

static void descriptors_are_read_when_popped(void **state)
{
    struct world *w = *state;

    offer(w, 1);

    struct chain *chain = pop(w);

    packed_set(&w->drv, 0, 0, 0, 7, 0);
    assert_int_equal(chain->id, 1);
    assert_int_equal(chain->in_bytes, 101);
    ring_push(&w->ring, chain, 5);
    ring_publish(&w->ring);
    assert_used(w, 1, 5);
}

/* ---- indirect tables ---- */

static void indirect_table_is_as_long_as_it_says(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(w->data + 64, 30),
                             piece_in(w->data + 128, 1)};

    packed_offer_indirect(&w->drv, pieces, 3, w->table, 2);

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->id, 2);
    assert_int_equal(chain->out_count, 1);
    assert_int_equal(chain->in_count, 2);
    assert_ptr_equal(chain->last_in, at(w, w->data + 128));
    ring_push(&w->ring, chain, 31);
    ring_publish(&w->ring);
    assert_used(w, 2, 31);
}

static void flags_and_ids_of_a_table_are_ignored(void **state)
{
    struct world *w = *state;
    struct vring_packed_desc *table = arena_at(&w->arena, w->table);
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(w->data + 64, 1)};

    packed_offer_indirect(&w->drv, pieces, 2, w->table, 2);
    table[0].flags |= VRING_DESC_F_INDIRECT | PACKED_USED;
    table[0].id = 0xffff;
    table[1].flags |= VRING_DESC_F_NEXT;

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_bytes, 16);
    assert_int_equal(chain->in_bytes, 1);
}

static void offer_table(struct world *w, uint32_t len, uint16_t flags)
{
    packed_set(&w->drv, 0, w->table, len, 0,
               VRING_DESC_F_INDIRECT | flags | packed_available(&w->drv, 0));
}

static void table_of_a_crooked_length_breaks_the_ring(void **state)
{
    offer_table(*state, 17, 0);
    assert_breaks(*state);
}

static void empty_table_breaks_the_ring(void **state)
{
    offer_table(*state, 0, 0);
    assert_breaks(*state);
}

static void table_that_is_too_long_breaks_the_ring(void **state)
{
    offer_table(*state, 16 * (RING_MAX_CHAIN + 1), 0);
    assert_breaks(*state);
}

static void table_of_4_gib_breaks_the_ring(void **state)
{
    offer_table(*state, UINT32_MAX - 15, 0);
    assert_breaks(*state);
}

static void table_outside_memory_breaks_the_ring(void **state)
{
    struct world *w = *state;

    packed_set(&w->drv, 0, 0x10, 32, 0, VRING_DESC_F_INDIRECT | packed_available(&w->drv, 0));
    assert_breaks(w);
}

static void indirect_with_next_breaks_the_ring(void **state)
{
    offer_table(*state, 32, VRING_DESC_F_NEXT);
    assert_breaks(*state);
}

static void indirect_without_the_feature_breaks_the_ring(void **state)
{
    restart(*state, 0, false, false);
    offer_table(*state, 32, 0);
    assert_breaks(*state);
}

/* ---- drivers that lie ---- */

static void id_past_the_ring_breaks_it(void **state)
{
    struct world *w = *state;

    packed_set(&w->drv, 0, w->data, 16, SIZE, packed_available(&w->drv, 0));
    assert_breaks(w);
}

static void id_in_flight_is_refused(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    offer(w, 3);
    chain = pop(w);
    offer(w, 3);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    assert_string_equal(w->ring.fault, "a buffer id was offered again while it is in flight");
    ring_push(&w->ring, chain, 1); /* what is in flight is still given back */
    ring_publish(&w->ring);
    assert_used(w, 3, 1);
}

static void id_may_come_again_after_push(void **state)
{
    struct world *w = *state;

    serve_one(w, 1, 3);
    serve_one(w, 1, 3);
}

/* All of the ring has NEXT: there is no end. */
static void loop_breaks_the_ring(void **state)
{
    struct world *w = *state;

    for (uint32_t place = SIZE; place-- > 0;) {
        packed_set(&w->drv, place, w->data, 16, 0,
                   VRING_DESC_F_NEXT | packed_available(&w->drv, place));
    }
    assert_breaks(w);
}

static void chain_into_what_is_in_flight_breaks_the_ring(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    offer_chain(w, 3, 0);
    chain = pop(w);
    offer_chain(w, SIZE - 2, 1);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    assert_string_equal(w->ring.fault, "a chain goes on into what is in flight");
    ring_push(&w->ring, chain, 1);
    ring_publish(&w->ring);
}

static void ring_that_is_full_has_no_more(void **state)
{
    struct world *w = *state;

    for (uint16_t id = 0; id < SIZE; id++) {
        offer(w, id);
        pop(w);
    }
    assert_empty(w);
    packed_set(&w->drv, SIZE, w->data, 16, 0, packed_available(&w->drv, SIZE));
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
}

/* What was pushed and not shown is the device's still: or its list would run over. */
static void what_is_not_shown_may_not_be_offered_again(void **state)
{
    struct world *w = *state;

    for (uint16_t id = 0; id < SIZE; id++) {
        offer(w, id);
        ring_push(&w->ring, pop(w), 1);
    }
    offer(w, 0);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    ring_publish(&w->ring);
}

static void broken_ring_stays_broken(void **state)
{
    struct world *w = *state;

    ring_break(&w->ring, "test");
    offer(w, 0);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    assert_string_equal(w->ring.fault, "test");
}

static void buffer_outside_memory_is_a_fault_with_a_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(0x10, 16), piece_in(w->data + 64, 1)};

    packed_offer(&w->drv, pieces, 2, 0);

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, w->data + 64));
    ring_push(&w->ring, chain, 1);
    ring_publish(&w->ring);
    assert_used(w, 0, 1);
}

/* ---- long chains ---- */

static void chain_that_finds_no_array_stays_in_the_ring(void **state)
{
    struct world *w = *state;
    struct chain *first;

    offer_chain(w, 4, 0);
    first = pop(w);
    assert_true(first->is_long);
    offer_chain(w, 4, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ring_pop(&w->ring, &w->chain), -EAGAIN);
        assert_true(ring_has_any(&w->ring));
    }
    ring_push(&w->ring, first, 1);
    assert_int_equal(pop(w)->id, 1);
    assert_int_equal(w->ring.inflight, 1);
}

static void large_ring_can_be_all_in_flight(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 2 * LARGE; i++) {
        offer(w, (uint16_t)(i % LARGE));
        ring_push(&w->ring, pop(w), 1);
        if (i % 1000 == 0) {
            ring_publish(&w->ring);
        }
    }
    ring_publish(&w->ring);
    for (unsigned i = 0; i < LARGE; i++) {
        offer(w, (uint16_t)(LARGE - 1 - i));
        w->chain = pop(w);
    }
    assert_int_equal(w->ring.inflight, LARGE);
    assert_int_equal(w->chain->id, 0);
    assert_empty(w);
}

static void chain_through_a_whole_large_ring_breaks_it(void **state)
{
    struct world *w = *state;

    for (uint32_t place = LARGE; place-- > 0;) {
        packed_set(&w->drv, place, w->data, 1, 0,
                   VRING_DESC_F_NEXT | packed_available(&w->drv, place));
    }
    assert_breaks(w);
}

/* ---- giving back ---- */

static void pushed_chain_is_hidden_until_published(void **state)
{
    struct world *w = *state;

    offer(w, 3);
    ring_push(&w->ring, pop(w), 77);
    assert_true(ring_has_unpublished(&w->ring));
    assert_none_used(w);
    ring_publish(&w->ring);
    assert_false(ring_has_unpublished(&w->ring));
    assert_used(w, 3, 77);
}

/* The second is answered where the first was, and the first behind as many as the second had. */
static void who_is_done_first_is_answered_first(void **state)
{
    struct world *w = *state;
    struct chain *first, *second;

    offer_chain(w, 2, 4);
    offer_chain(w, 3, 6);
    first = pop(w);
    second = pop(w);
    ring_push(&w->ring, second, 60);
    ring_publish(&w->ring);
    assert_int_equal(w->drv.desc[0].id, 6);
    assert_used(w, 6, 60);
    assert_none_used(w);
    ring_push(&w->ring, first, 40);
    ring_publish(&w->ring);
    assert_int_equal(w->drv.desc[3].id, 4);
    assert_used(w, 4, 40);
}

static void batch_is_given_back_in_the_order_pushed(void **state)
{
    struct world *w = *state;
    struct chain *chain[4];

    restart(w, SIZE - 2, false, true);
    for (uint16_t id = 0; id < 4; id++) {
        offer(w, id);
        chain[id] = pop(w);
    }
    for (uint16_t id = 4; id-- > 0;) {
        ring_push(&w->ring, chain[id], id);
    }
    ring_publish(&w->ring);
    for (uint16_t id = 4; id-- > 0;) {
        assert_used(w, id, id);
    }
}

/* Source: VIRTIO 1.2, 2.8.3 "Write Flag". */
static void length_counts_with_the_write_flag_only(void **state)
{
    struct world *w = *state;

    offer(w, 0);
    offer(w, 1);
    ring_push(&w->ring, pop(w), 0);
    ring_push(&w->ring, pop(w), 1);
    ring_publish(&w->ring);
    assert_false(w->drv.desc[0].flags & VRING_DESC_F_WRITE);
    assert_true(w->drv.desc[1].flags & VRING_DESC_F_WRITE);
}

static void dropped_chain_is_not_in_flight(void **state)
{
    struct world *w = *state;

    offer(w, 0);
    ring_drop(&w->ring, pop(w));
    assert_int_equal(w->ring.inflight, 0);
    ring_publish(&w->ring);
    assert_none_used(w);
}

/* ---- base, and going on ---- */

static void ring_goes_on_where_another_stopped(void **state)
{
    struct world *w = *state;

    for (uint32_t place = 1; place < 2 * SIZE; place++) {
        restart(w, place, false, true);
        assert_empty(w);
        serve_one(w, 3, 1);
        assert_true(ring_has_moved(&w->ring));
        ring_stop(&w->ring);
        assert_int_equal(ring_base(&w->ring), packed_base(&w->drv, place + 3));
        start(w, place, false, true);
    }
}

static void ring_that_is_new_has_both_counters_at_1(void **state)
{
    struct world *w = *state;

    assert_int_equal(ring_base(&w->ring), RING_PACKED_BASE);
}

static void base_tells_what_is_under_way(void **state)
{
    struct world *w = *state;

    restart(w, SIZE - 1, false, true);
    offer_chain(w, 3, 0);
    pop(w);
    assert_int_equal(ring_base(&w->ring), (packed_base(&w->drv, SIZE + 2) & 0xffff) |
                                              (packed_base(&w->drv, SIZE - 1) & 0xffff0000));
}

/* They are lost, but the ring has no more room for that than it had. */
static void what_another_left_under_way_takes_room(void **state)
{
    struct world *w = *state;
    struct ring_layout layout = w->ring.layout;

    ring_stop(&w->ring);
    layout.base = (packed_base(&w->drv, 3) & 0xffff) | (packed_base(&w->drv, 0) & 0xffff0000);
    assert_int_equal(ring_start(&w->ring, &layout, &w->mem), 0);
    assert_int_equal(ring_base(&w->ring), layout.base);
    w->drv.offered = 3;
    offer_chain(w, SIZE - 2, 1);
    assert_breaks(w);
}

static void base_past_the_ring_is_none(void **state)
{
    (void)state;
    assert_null(ring_base_fault(true, SIZE, RING_PACKED_BASE));
    assert_null(ring_base_fault(true, SIZE, 0));
    assert_null(ring_base_fault(true, SIZE, 0x80070007));
    assert_null(ring_base_fault(true, LARGE, 0xffffffff));
    assert_non_null(ring_base_fault(true, SIZE, 0x80008008));
    assert_non_null(ring_base_fault(true, SIZE, 0x80088000));
}

static void base_that_used_what_was_not_available_is_none(void **state)
{
    (void)state;
    assert_null(ring_base_fault(true, SIZE, 0x80000000));     /* the whole ring is under way */
    assert_null(ring_base_fault(true, SIZE, 0x80038005));     /* two are */
    assert_non_null(ring_base_fault(true, SIZE, 0x80058003)); /* two less than none */
    assert_non_null(ring_base_fault(true, SIZE, 0x80000001)); /* one more than there are */
}

static void parts_of_a_packed_ring_are_told_by_name(void **state)
{
    struct world *w = *state;
    const struct ring_addr good = {
        .desc = w->drv.desc_addr, .avail = w->drv.driver_addr, .used = w->drv.device_addr};
    struct ring_addr bad = good;
    struct ring_parts parts;
    struct err err;

    bad.desc += 8;
    assert_int_equal(ring_find(&parts, &w->mem, &bad, SIZE, true, &err), -EINVAL);
    assert_string_equal(err.text, "its descriptor ring is not aligned to 16 bytes");
    bad = good;
    bad.avail += 2;
    assert_int_equal(ring_find(&parts, &w->mem, &bad, SIZE, true, &err), -EINVAL);
    assert_string_equal(err.text, "its driver event suppression is not aligned to 4 bytes");
    bad = good;
    bad.used = GUEST + ARENA_BYTES;
    assert_int_equal(ring_find(&parts, &w->mem, &bad, SIZE, true, &err), -EFAULT);
    assert_string_equal(err.text,
                        "its device event suppression of 8 entries lies outside guest memory");
}

/* ---- held ---- */

/* The others' answers overwrite its descriptors. */
static void held_chain_is_gathered_again_when_others_took_its_place(void **state)
{
    struct world *w = *state;

    offer_chain(w, 3, 5);
    ring_hold(&w->ring, pop(w));
    assert_int_equal(w->ring.inflight, 0);
    offer_chain(w, 2, 1);
    ring_push(&w->ring, pop(w), 1);
    ring_publish(&w->ring);
    assert_used(w, 1, 1);
    offer(w, 2);
    ring_push(&w->ring, pop(w), 2);
    ring_publish(&w->ring);
    assert_used(w, 2, 2);
    packed_set(&w->drv, 0, 0, 0, 0, 0);
    packed_set(&w->drv, 1, 0, 0, 0, 0);
    ring_retry(&w->ring);

    struct chain *chain = pop(w);

    assert_int_equal(chain->id, 5);
    assert_int_equal(chain->in_count, 3);
    assert_int_equal(chain->in_bytes, 4 + 5 + 6);
    assert_empty(w);
    ring_push(&w->ring, chain, 15);
    ring_publish(&w->ring);
    assert_used(w, 5, 15);
    serve_one(w, SIZE, 0);
}

/* The copies of who is done are taken first, and those behind them may be another's. */
static void held_chain_keeps_what_it_was_made_of(void **state)
{
    struct world *w = *state;
    struct chain *chain[3];

    for (uint16_t id = 0; id < 3; id++) {
        offer(w, id);
        chain[id] = pop(w);
    }
    ring_hold(&w->ring, chain[2]);
    ring_push(&w->ring, chain[1], 1);
    ring_publish(&w->ring);
    assert_used(w, 1, 1);
    offer_chain(w, 3, 1);
    assert_int_equal(pop(w)->in_count, 3);
    ring_retry(&w->ring);
    w->chain = pop(w);
    assert_int_equal(w->chain->id, 2);
    assert_int_equal(w->chain->in_bytes, 102);
}

static void id_that_is_held_may_not_be_offered_again(void **state)
{
    struct world *w = *state;

    offer(w, 5);
    ring_hold(&w->ring, pop(w));
    offer(w, 5);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
}

static void held_chains_come_again_before_new_ones(void **state)
{
    struct world *w = *state;

    offer(w, 5);
    offer(w, 1);
    ring_hold(&w->ring, pop(w));
    ring_hold(&w->ring, pop(w));
    offer(w, 2);
    ring_retry(&w->ring);
    assert_int_equal(pop(w)->id, 1);
    ring_hold(&w->ring, pop(w)); /* again: until the next call */
    assert_int_equal(pop(w)->id, 2);
    assert_empty(w);
    ring_retry(&w->ring);
    assert_int_equal(pop(w)->id, 5);
}

static void retry_that_was_ended_begins_anew(void **state)
{
    struct world *w = *state;

    offer(w, 5);
    offer(w, 1);
    ring_hold(&w->ring, pop(w));
    ring_hold(&w->ring, pop(w));
    ring_retry(&w->ring);
    ring_hold(&w->ring, pop(w));
    ring_retry_end(&w->ring);
    assert_int_equal(ring_waiting(&w->ring), 2);
    assert_empty(w);
    ring_retry(&w->ring);
    assert_int_equal(pop(w)->id, 1);
    assert_int_equal(pop(w)->id, 5);
    assert_empty(w);
}

static void whole_ring_can_be_held(void **state)
{
    struct world *w = *state;

    for (unsigned round = 0; round < 3; round++) {
        for (uint16_t id = 0; id < SIZE; id++) {
            offer(w, id);
            ring_hold(&w->ring, pop(w));
        }
        assert_empty(w);
        ring_retry(&w->ring);
        for (uint16_t id = 0; id < SIZE; id++) {
            ring_push(&w->ring, pop(w), 1);
        }
        ring_publish(&w->ring);
        for (uint16_t id = 0; id < SIZE; id++) {
            assert_used(w, id, 1);
        }
    }
}

/* ---- signals ---- */

/* Serve `count` chains of one descriptor; was the driver to be told? */
static bool publish(struct world *w, unsigned count)
{
    bool is_wanted;
    struct used used;

    for (unsigned i = 0; i < count; i++) {
        offer(w, (uint16_t)i);
        ring_push(&w->ring, pop(w), 1);
    }
    is_wanted = ring_publish(&w->ring);
    while (packed_reap(&w->drv, &used)) {
    }
    return is_wanted;
}

static void first_publish_signals_whatever_the_driver_asked(void **state)
{
    struct world *w = *state;

    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DISABLE, 0);
    assert_true(publish(w, 1));
    assert_false(publish(w, 1));
}

static void flag_is_obeyed_anew_each_time(void **state)
{
    struct world *w = *state;

    publish(w, 1);
    assert_true(publish(w, 1));
    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DISABLE, 0);
    assert_false(publish(w, 1));
    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_ENABLE, 0);
    assert_true(publish(w, 1));
}

/* Without the feature there is no such flag, and the value 3 is reserved: none asks for silence. */
static void flags_that_there_are_not_mean_enabled(void **state)
{
    struct world *w = *state;

    publish(w, 1);
    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DESC, 5);
    assert_true(publish(w, 1));
    restart(w, 0, true, true);
    publish(w, 1);
    packed_set_event(&w->drv, 3, 5);
    assert_true(publish(w, 1));
}

/* At each place of two rounds: the batch is three descriptors, and the wish lies in it or not. */
static void event_descriptor_signals_inside_the_batch_only(void **state)
{
    struct world *w = *state;

    for (uint32_t place = 1; place <= 2 * SIZE; place++) {
        for (int ahead = -3; ahead < 7; ahead++) {
            restart(w, place - 1, true, true);
            publish(w, 1);
            packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DESC, place + (uint32_t)ahead);
            assert_int_equal(publish(w, 3), ahead >= 0 && ahead < 3);
        }
    }
}

/* An index that no ring of this size has. */
static void event_descriptor_past_the_ring_does_no_harm(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    publish(w, 1);
    store32(w->drv.driver, (uint32_t)VRING_PACKED_EVENT_FLAG_DESC << 16 | 0x7fff);
    for (unsigned i = 0; i < 100; i++) {
        publish(w, 3);
    }
}

static void wish_that_comes_late_is_granted_once(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    publish(w, 1);
    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DISABLE, 0);
    assert_false(publish(w, 2));
    assert_false(ring_owes_signal(&w->ring));
    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DESC, 2);
    assert_true(ring_owes_signal(&w->ring));
    assert_false(ring_owes_signal(&w->ring));
}

static void driver_that_wants_none_is_owed_none(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    publish(w, 1);
    packed_set_event(&w->drv, VRING_PACKED_EVENT_FLAG_DISABLE, 0);
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(publish(w, 3));
        assert_false(ring_owes_signal(&w->ring));
    }
}

/* ---- kicks ---- */

static void kicks_are_asked_for_by_the_flag(void **state)
{
    struct world *w = *state;

    ring_kicks_off(&w->ring);
    assert_int_equal(w->drv.device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    assert_false(ring_kicks_on(&w->ring));
    assert_int_equal(w->drv.device->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
}

static void event_index_asks_for_a_kick_at_the_next_descriptor(void **state)
{
    struct world *w = *state;

    restart(w, SIZE - 2, true, true);
    offer_chain(w, 3, 0);
    pop(w);
    assert_false(ring_kicks_on(&w->ring));
    assert_int_equal(w->drv.device->flags, VRING_PACKED_EVENT_FLAG_DESC);
    assert_int_equal(w->drv.device->off_wrap, packed_base(&w->drv, SIZE + 1) & 0xffff);
    ring_kicks_off(&w->ring);
    assert_int_equal(w->drv.device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}

static void kicks_on_sees_what_came_meanwhile(void **state)
{
    struct world *w = *state;

    ring_kicks_off(&w->ring);
    offer(w, 0);
    assert_true(ring_kicks_on(&w->ring));
    pop(w);
    assert_false(ring_kicks_on(&w->ring));
}

static void more_chains_than_the_ring_is_long_are_never_ahead(void **state)
{
    struct world *w = *state;

    for (uint16_t id = 0; id < SIZE; id++) {
        offer(w, id);
    }
    assert_true(ring_has_ahead(&w->ring, SIZE));
    assert_false(ring_has_ahead(&w->ring, SIZE + 1));
    assert_false(ring_has_ahead(&w->ring, 64));
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
#define in_large(test) cmocka_unit_test_setup_teardown(test, large_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(empty_ring_gives_nothing),
        in_world(chains_come_in_the_order_offered),
        in_world(chain_is_known_by_the_id_of_its_last_descriptor),
        in_world(whole_ring_can_be_one_chain),
        in_world(chain_goes_on_at_the_start_of_the_ring),
        in_world(rounds_wrap_for_ever),
        in_world(places_wrap_at_32_bits),
        in_world(what_was_used_is_not_popped_again),
        in_world(descriptors_are_read_when_popped),
        in_world(indirect_table_is_as_long_as_it_says),
        in_world(flags_and_ids_of_a_table_are_ignored),
        in_world(table_of_a_crooked_length_breaks_the_ring),
        in_world(empty_table_breaks_the_ring),
        in_world(table_that_is_too_long_breaks_the_ring),
        in_world(table_of_4_gib_breaks_the_ring),
        in_world(table_outside_memory_breaks_the_ring),
        in_world(indirect_with_next_breaks_the_ring),
        in_world(indirect_without_the_feature_breaks_the_ring),
        in_world(id_past_the_ring_breaks_it),
        in_world(id_in_flight_is_refused),
        in_world(id_may_come_again_after_push),
        in_world(loop_breaks_the_ring),
        in_world(chain_into_what_is_in_flight_breaks_the_ring),
        in_world(ring_that_is_full_has_no_more),
        in_world(what_is_not_shown_may_not_be_offered_again),
        in_world(broken_ring_stays_broken),
        in_world(buffer_outside_memory_is_a_fault_with_a_status),
        in_world(chain_that_finds_no_array_stays_in_the_ring),
        in_large(large_ring_can_be_all_in_flight),
        in_large(chain_through_a_whole_large_ring_breaks_it),
        in_world(pushed_chain_is_hidden_until_published),
        in_world(who_is_done_first_is_answered_first),
        in_world(batch_is_given_back_in_the_order_pushed),
        in_world(length_counts_with_the_write_flag_only),
        in_world(dropped_chain_is_not_in_flight),
        in_world(ring_goes_on_where_another_stopped),
        in_world(ring_that_is_new_has_both_counters_at_1),
        in_world(base_tells_what_is_under_way),
        in_world(what_another_left_under_way_takes_room),
        in_world(base_past_the_ring_is_none),
        in_world(base_that_used_what_was_not_available_is_none),
        in_world(parts_of_a_packed_ring_are_told_by_name),
        in_world(held_chain_is_gathered_again_when_others_took_its_place),
        in_world(held_chain_keeps_what_it_was_made_of),
        in_world(id_that_is_held_may_not_be_offered_again),
        in_world(held_chains_come_again_before_new_ones),
        in_world(retry_that_was_ended_begins_anew),
        in_world(whole_ring_can_be_held),
        in_world(first_publish_signals_whatever_the_driver_asked),
        in_world(flag_is_obeyed_anew_each_time),
        in_world(flags_that_there_are_not_mean_enabled),
        in_world(event_descriptor_signals_inside_the_batch_only),
        in_world(event_descriptor_past_the_ring_does_no_harm),
        in_world(wish_that_comes_late_is_granted_once),
        in_world(driver_that_wants_none_is_owed_none),
        in_world(kicks_are_asked_for_by_the_flag),
        in_world(event_index_asks_for_a_kick_at_the_next_descriptor),
        in_world(kicks_on_sees_what_came_meanwhile),
        in_world(more_chains_than_the_ring_is_long_are_never_ahead),
    };

    return unit_run(tests);
}
