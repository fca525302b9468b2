/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/ring.h"
#include "tests/lib/driver.h"

#define SIZE 8
#define IOV_MAX_PIECES 6
#define PAGE 4096u
#define GUEST 0x100000ull
#define ARENA_BYTES (16ull * PAGE)

/*
 * A started ring and its driver.  Two regions touch each other: `arena` holds the ring, and
 * `after` begins where it ends.
 */
struct world {
    struct mem mem;
    struct arena arena;
    struct arena after;
    struct driver drv;
    struct ring ring;
    struct chain *chain;
    uint64_t data; /* guest address of a page nobody else uses */
    uint64_t table;
};

static void share(struct mem *mem, const struct arena *arena)
{
    struct mem_layout layout = {
        .guest_addr = arena->guest_addr, .size = arena->size, .user_addr = (uintptr_t)arena->host};

    assert(mem_add(mem, &layout, arena->fd, NULL) == 0);
}

static void start(struct world *w, uint16_t base, bool has_event_idx, bool has_indirect)
{
    struct ring_layout layout = {
        .size = SIZE,
        .desc = mem_at(&w->mem, ring_driver_addr(&w->drv.ring, w->drv.ring.desc),
                       ring_desc_bytes(SIZE)),
        .avail = mem_at(&w->mem, ring_driver_addr(&w->drv.ring, w->drv.ring.avail),
                        ring_avail_bytes(SIZE)),
        .used = mem_at(&w->mem, ring_driver_addr(&w->drv.ring, w->drv.ring.used),
                       ring_used_bytes(SIZE)),
        .last_avail = base,
        .has_event_idx = has_event_idx,
        .has_indirect = has_indirect,
        .slot_size = sizeof(struct chain),
        .iov_max = IOV_MAX_PIECES,
    };

    driver_reset(&w->drv, base);
    w->drv.ring.has_event_idx = has_event_idx;
    assert(layout.desc && layout.avail && layout.used);
    assert(ring_start(&w->ring, &layout, &w->mem) == 0);
}

static void restart(struct world *w, uint16_t base, bool has_event_idx, bool has_indirect)
{
    ring_stop(&w->ring);
    start(w, base, has_event_idx, has_indirect);
}

static int world_start(void **state)
{
    static struct world world;

    mem_init(&world.mem);
    arena_init(&world.arena, GUEST, ARENA_BYTES);
    arena_init(&world.after, GUEST + ARENA_BYTES, ARENA_BYTES);
    share(&world.mem, &world.arena);
    share(&world.mem, &world.after);
    driver_init(&world.drv, &world.arena, SIZE);
    world.data = arena_take(&world.arena, PAGE, PAGE);
    world.table = arena_take(&world.arena, 2 * PAGE, PAGE);
    world.chain = NULL;
    start(&world, 0, false, true);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    arena_fini(&w->after);
    return 0;
}

/* Our host address of a guest address, as the device sees it. */
static uint8_t *at(struct world *w, uint64_t addr)
{
    return mem_at(&w->mem, addr, 1);
}

static uint16_t chain_simple(struct world *w)
{
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(w->data + 512, 513)};

    return driver_chain(&w->drv, pieces, 2);
}

static uint16_t offer_simple(struct world *w)
{
    uint16_t head = chain_simple(w);

    driver_offer(&w->drv, head);
    return head;
}

static struct chain *pop(struct world *w)
{
    struct chain *chain = NULL;

    assert_int_equal(ring_pop(&w->ring, &chain), 1);
    assert_non_null(chain);
    return chain;
}

static void assert_breaks(struct world *w)
{
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    assert_true(w->ring.is_broken);
    assert_non_null(w->ring.fault);
}

/* One whole request, so that indices move on. */
static void serve_one(struct world *w)
{
    struct used used;

    offer_simple(w);
    ring_push(&w->ring, pop(w), 1);
    ring_publish(&w->ring);
    assert_true(driver_reap(&w->drv, &used));
}

/* ---- popping ---- */

static void empty_ring_gives_nothing(void **state)
{
    struct world *w = *state;

    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    assert_int_equal(w->ring.inflight, 0);
}

static void chains_come_in_the_order_offered(void **state)
{
    struct world *w = *state;
    uint16_t first = offer_simple(w);
    uint16_t second = offer_simple(w);

    assert_int_equal(pop(w)->head, first);
    assert_int_equal(pop(w)->head, second);
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    assert_int_equal(w->ring.inflight, 2);
}

static void order_is_that_of_the_ring_not_of_the_heads(void **state)
{
    struct world *w = *state;

    for (uint16_t head = 0; head < 4; head++) {
        raw_ring_set_desc(&w->drv.ring, head, w->data, 16, 0, 0);
    }
    raw_ring_put(&w->drv.ring, 3);
    raw_ring_put(&w->drv.ring, 0);
    raw_ring_put(&w->drv.ring, 2);
    (void)ring_driver_show(&w->drv.ring);
    assert_int_equal(pop(w)->head, 3);
    assert_int_equal(pop(w)->head, 0);
    assert_int_equal(pop(w)->head, 2);
}

static void readable_pieces_precede_writable_ones(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_out(w->data + 32, 20),
                             piece_in(w->data + 64, 30), piece_in(w->data + 128, 1)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 4));

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_count, 2);
    assert_int_equal(chain->in_count, 2);
    assert_int_equal(chain->out_bytes, 36);
    assert_int_equal(chain->in_bytes, 31);
    for (unsigned i = 0; i < 4; i++) {
        assert_ptr_equal(chain->iov[i].iov_base, at(w, pieces[i].addr));
        assert_int_equal(chain->iov[i].iov_len, pieces[i].len);
    }
    assert_ptr_equal(chain->last_in, at(w, w->data + 128));
}

static void whole_ring_can_be_one_chain(void **state)
{
    struct world *w = *state;
    struct piece pieces[SIZE];

    for (unsigned i = 0; i < SIZE; i++) {
        pieces[i] = i < 4 ? piece_out(w->data, i < 3 ? 0 : 16) : piece_in(w->data + 64 * i, 1);
    }
    driver_offer(&w->drv, driver_chain(&w->drv, pieces, SIZE));

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->in_bytes, 4);
}

static void empty_descriptors_are_no_pieces(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 0), piece_out(w->data, 16),
                             piece_in(w->data + 64, 1), piece_in(w->data + 80, 0)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 4));

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_count, 1);
    assert_int_equal(chain->in_count, 1);
    assert_ptr_equal(chain->last_in, at(w, w->data + 64));
}

static void empty_descriptor_may_point_anywhere(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(0, 0), piece_in(w->data + 64, 1)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 3));
    assert_null(pop(w)->fault);
}

static void chain_of_nothing_has_no_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 0)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 1));

    struct chain *chain = pop(w);

    assert_null(chain->last_in);
    assert_int_equal(chain->out_count + chain->in_count, 0);
}

static void descriptor_over_two_regions_becomes_two_pieces(void **state)
{
    struct world *w = *state;
    uint64_t edge = GUEST + ARENA_BYTES;
    struct piece pieces[] = {piece_out(edge - 10, 26), piece_in(edge - 5, 7)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 2));

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_count, 2);
    assert_int_equal(chain->iov[0].iov_len, 10);
    assert_int_equal(chain->iov[1].iov_len, 16);
    assert_ptr_equal(chain->iov[1].iov_base, at(w, edge));
    assert_int_equal(chain->in_count, 2);
    assert_ptr_equal(chain->last_in, at(w, edge + 1));
}

static void descriptors_are_read_when_popped(void **state)
{
    struct world *w = *state;
    uint16_t head = offer_simple(w);
    struct chain *chain = pop(w);

    raw_ring_set_desc(&w->drv.ring, head, 0, 0, 0, 0);
    assert_ptr_equal(chain->iov[0].iov_base, at(w, w->data));
    assert_int_equal(chain->iov[0].iov_len, 16);
}

/* ---- chains that cannot be served but can be answered ---- */

static void buffer_outside_memory_is_a_fault_with_a_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(0x10, 512),
                             piece_in(w->data + 64, 1)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 3));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, w->data + 64));
    assert_false(w->ring.is_broken);
}

static void status_outside_memory_is_no_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(w->data + 64, 512),
                             piece_in(0x10, 1)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 3));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_null(chain->last_in);
}

static void buffer_that_leaves_memory_is_a_fault(void **state)
{
    struct world *w = *state;
    uint64_t end = GUEST + 2 * ARENA_BYTES;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(end - 100, 101)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 2));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_null(chain->last_in);
}

static void buffer_that_wraps_is_a_fault(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(UINT64_MAX - 7, 16), piece_in(w->data, 1)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 2));
    assert_non_null(pop(w)->fault);
}

static void readable_after_writable_is_a_fault_with_a_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_in(w->data + 64, 1), piece_out(w->data, 16)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 2));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, w->data + 64));
}

static void too_many_pieces_still_find_the_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[SIZE];

    for (unsigned i = 0; i < SIZE; i++) {
        pieces[i] = i == 0 ? piece_out(w->data, 16) : piece_in(w->data + 64 * i, 4);
    }
    driver_offer(&w->drv, driver_chain(&w->drv, pieces, SIZE));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, w->data + 64 * (SIZE - 1) + 3));
    assert_true(chain->out_count + chain->in_count <= IOV_MAX_PIECES);
}

static void as_many_pieces_as_fit_are_no_fault(void **state)
{
    struct world *w = *state;
    struct piece pieces[IOV_MAX_PIECES];

    for (unsigned i = 0; i < IOV_MAX_PIECES; i++) {
        pieces[i] = i == 0 ? piece_out(w->data, 16) : piece_in(w->data + 64 * i, 4);
    }
    driver_offer(&w->drv, driver_chain(&w->drv, pieces, IOV_MAX_PIECES));
    assert_null(pop(w)->fault);
}

static void fault_of_one_chain_does_not_stick_to_its_slot(void **state)
{
    struct world *w = *state;
    struct piece bad[] = {piece_out(0, 16), piece_in(w->data, 1)};
    struct used used;

    driver_offer(&w->drv, driver_chain(&w->drv, bad, 2));
    ring_push(&w->ring, pop(w), 1);
    ring_publish(&w->ring);
    assert_true(driver_reap(&w->drv, &used));
    offer_simple(w);

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_bytes, 16);
    assert_int_equal(chain->in_bytes, 513);
}

/* ---- indirect tables ---- */

static void indirect_table_is_followed(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(w->data + 64, 512),
                             piece_in(w->data + 1024, 1)};

    driver_offer(&w->drv, driver_chain_indirect(&w->drv, pieces, 3, 0, w->table));

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_count, 1);
    assert_int_equal(chain->in_count, 2);
    assert_ptr_equal(chain->last_in, at(w, w->data + 1024));
}

static void direct_descriptors_may_precede_an_indirect_table(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(w->data + 64, 512),
                             piece_in(w->data + 1024, 1)};

    driver_offer(&w->drv, driver_chain_indirect(&w->drv, pieces, 3, 1, w->table));

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_bytes, 16);
    assert_int_equal(chain->in_bytes, 513);
}

/* VIRTIO 1.2, 2.7.5.3.2: the device ignores the write-only flag of the table's descriptor. */
static void write_flag_of_the_table_is_ignored(void **state)
{
    struct world *w = *state;

    driver_set_table(&w->drv, w->table, 0, w->data, 16, VRING_DESC_F_NEXT, 1);
    driver_set_table(&w->drv, w->table, 1, w->data + 64, 1, VRING_DESC_F_WRITE, 0);
    raw_ring_set_desc(&w->drv.ring, 0, w->table, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
    driver_offer(&w->drv, 0);

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_int_equal(chain->out_bytes, 16);
    assert_int_equal(chain->in_bytes, 1);
}

static void table_may_be_longer_than_the_ring(void **state)
{
    struct world *w = *state;
    unsigned count = 4 * SIZE;

    for (unsigned i = 0; i < count; i++) {
        driver_set_table(&w->drv, w->table, i, w->data, i == count - 1 ? 1 : 0,
                         i == count - 1 ? VRING_DESC_F_WRITE : VRING_DESC_F_NEXT,
                         (uint16_t)(i + 1));
    }
    raw_ring_set_desc(&w->drv.ring, 0, w->table, count * 16, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, 0);
    assert_null(pop(w)->fault);
}

static void table_may_lie_over_two_regions(void **state)
{
    struct world *w = *state;
    uint64_t table = GUEST + ARENA_BYTES - 8; /* 8 bytes of it before the edge */
    struct vring_desc desc = {.addr = w->data, .len = 1, .flags = VRING_DESC_F_WRITE};

    memcpy(arena_at(&w->arena, table), &desc, 8);
    memcpy(arena_at(&w->after, table + 8), (char *)&desc + 8, 8);
    raw_ring_set_desc(&w->drv.ring, 0, table, 16, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, 0);

    struct chain *chain = pop(w);

    assert_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, w->data));
}

/* Offer a table of `len` bytes whose two descriptors are as told. */
static void offer_table(struct world *w, uint32_t len, uint16_t flags, uint16_t first_flags,
                        uint16_t first_next)
{
    driver_set_table(&w->drv, w->table, 0, w->data, 16, first_flags, first_next);
    driver_set_table(&w->drv, w->table, 1, w->data, 1, VRING_DESC_F_WRITE, 0);
    raw_ring_set_desc(&w->drv.ring, 0, w->table, len, flags, 1);
    raw_ring_set_desc(&w->drv.ring, 1, w->data, 1, VRING_DESC_F_WRITE, 0);
    driver_offer(&w->drv, 0);
}

static void table_in_a_table_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_table(w, 32, VRING_DESC_F_INDIRECT, VRING_DESC_F_INDIRECT, 0);
    assert_breaks(w);
}

static void indirect_with_next_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_table(w, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, VRING_DESC_F_NEXT, 1);
    assert_breaks(w);
}

static void indirect_without_the_feature_breaks_the_ring(void **state)
{
    struct world *w = *state;

    restart(w, 0, false, false);
    offer_table(w, 32, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, 1);
    assert_breaks(w);
}

static void empty_table_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_table(w, 0, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, 1);
    assert_breaks(w);
}

static void table_of_a_crooked_length_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_table(w, 33, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, 1);
    assert_breaks(w);
}

static void table_that_points_past_itself_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_table(w, 16, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, 1);
    assert_breaks(w);
}

static void table_that_loops_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_table(w, 32, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, 0);
    assert_breaks(w);
}

static void table_outside_memory_breaks_the_ring(void **state)
{
    struct world *w = *state;

    raw_ring_set_desc(&w->drv.ring, 0, 0x10, 32, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, 0);
    assert_breaks(w);
}

static void table_of_4_gib_ends_after_bounded_steps(void **state)
{
    struct world *w = *state;

    driver_set_table(&w->drv, w->table, 0, w->data, 16, VRING_DESC_F_NEXT, 0);
    raw_ring_set_desc(&w->drv.ring, 0, w->table, 0xfffffff0u, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, 0);
    assert_breaks(w);
}

/* ---- a driver that breaks the ring ---- */

static void loop_breaks_the_ring(void **state)
{
    struct world *w = *state;

    raw_ring_set_desc(&w->drv.ring, 0, w->data, 16, VRING_DESC_F_NEXT, 1);
    raw_ring_set_desc(&w->drv.ring, 1, w->data, 16, VRING_DESC_F_NEXT, 0);
    driver_offer(&w->drv, 0);
    assert_breaks(w);
}

static void loop_onto_itself_breaks_the_ring(void **state)
{
    struct world *w = *state;

    raw_ring_set_desc(&w->drv.ring, 3, w->data, 0, VRING_DESC_F_NEXT, 3);
    driver_offer(&w->drv, 3);
    assert_breaks(w);
}

static void next_past_the_table_breaks_the_ring(void **state)
{
    struct world *w = *state;

    raw_ring_set_desc(&w->drv.ring, 0, w->data, 16, VRING_DESC_F_NEXT, SIZE);
    driver_offer(&w->drv, 0);
    assert_breaks(w);
}

static void head_past_the_table_breaks_the_ring(void **state)
{
    struct world *w = *state;

    driver_offer(&w->drv, SIZE);
    assert_breaks(w);
    restart(w, 0, false, true);
    driver_offer(&w->drv, 0xffff);
    assert_breaks(w);
}

static void head_in_flight_is_refused(void **state)
{
    struct world *w = *state;
    uint16_t head = offer_simple(w);

    pop(w);
    driver_offer(&w->drv, head); /* the driver lies: it is still ours */
    assert_breaks(w);
    assert_int_equal(w->ring.inflight, 1);
}

static void head_may_come_again_after_push(void **state)
{
    struct world *w = *state;
    uint16_t head = offer_simple(w);

    ring_push(&w->ring, pop(w), 1);
    driver_offer(&w->drv, head);
    assert_int_equal(pop(w)->head, head);
}

static void index_further_than_the_ring_breaks_it(void **state)
{
    struct world *w = *state;

    raw_ring_set_avail_idx(&w->drv.ring, SIZE + 1);
    assert_breaks(w);
}

static void index_that_goes_back_breaks_the_ring(void **state)
{
    struct world *w = *state;

    serve_one(w);
    raw_ring_set_avail_idx(&w->drv.ring, 0);
    assert_breaks(w);
}

static void full_ring_is_no_jump(void **state)
{
    struct world *w = *state;

    for (uint16_t head = 0; head < SIZE; head++) {
        raw_ring_set_desc(&w->drv.ring, head, w->data, 1, VRING_DESC_F_WRITE, 0);
        raw_ring_put(&w->drv.ring, head);
    }
    (void)ring_driver_show(&w->drv.ring);
    for (uint16_t head = 0; head < SIZE; head++) {
        assert_int_equal(pop(w)->head, head);
    }
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
}

static void broken_ring_stays_broken(void **state)
{
    struct world *w = *state;

    raw_ring_set_avail_idx(&w->drv.ring, 1000);
    assert_breaks(w);
    raw_ring_set_avail_idx(&w->drv.ring, 0);
    offer_simple(w);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
}

static void ring_break_stops_popping(void **state)
{
    struct world *w = *state;

    offer_simple(w);
    ring_break(&w->ring, "because");
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EPROTO);
    assert_string_equal(w->ring.fault, "because");
}

static void broken_ring_still_gives_back_what_is_in_flight(void **state)
{
    struct world *w = *state;
    uint16_t head = offer_simple(w);
    struct chain *chain = pop(w);
    struct used used;

    raw_ring_set_avail_idx(&w->drv.ring, 1000);
    assert_breaks(w);
    ring_push(&w->ring, chain, 7);
    ring_publish(&w->ring);
    assert_true(driver_reap(&w->drv, &used));
    assert_int_equal(used.id, head);
    assert_int_equal(w->ring.inflight, 0);
}

/* ---- giving back ---- */

static void pushed_chain_is_hidden_until_published(void **state)
{
    struct world *w = *state;
    uint16_t head = offer_simple(w);
    struct used used;

    assert_false(ring_has_unpublished(&w->ring));
    ring_push(&w->ring, pop(w), 514);
    assert_true(ring_has_unpublished(&w->ring));
    assert_int_equal(raw_ring_used_count(&w->drv.ring), 0);
    ring_publish(&w->ring);
    assert_false(ring_has_unpublished(&w->ring));
    assert_true(driver_reap(&w->drv, &used));
    assert_int_equal(used.id, head);
    assert_int_equal(used.len, 514);
}

static void batch_is_published_by_one_store(void **state)
{
    struct world *w = *state;
    struct chain *chains[3];
    uint16_t heads[3];
    struct used used;

    for (unsigned i = 0; i < 3; i++) {
        heads[i] = offer_simple(w);
        chains[i] = pop(w);
    }
    for (unsigned i = 3; i-- > 0;) {
        ring_push(&w->ring, chains[i], i);
        assert_int_equal(load16(&w->drv.ring.used->idx), 0);
    }
    ring_publish(&w->ring);
    assert_int_equal(load16(&w->drv.ring.used->idx), 3);
    for (unsigned i = 3; i-- > 0;) { /* in the order in which they were finished */
        assert_true(driver_reap(&w->drv, &used));
        assert_int_equal(used.id, heads[i]);
        assert_int_equal(used.len, i);
    }
}

static void used_index_is_never_read_back(void **state)
{
    struct world *w = *state;

    serve_one(w);
    store16(&w->drv.ring.used->idx, 500); /* the driver writes where it may not */
    offer_simple(w);
    ring_push(&w->ring, pop(w), 1);
    ring_publish(&w->ring);
    assert_int_equal(load16(&w->drv.ring.used->idx), 2);
}

static void indices_wrap_at_16_bits(void **state)
{
    struct world *w = *state;

    restart(w, 65533, false, true);
    for (unsigned i = 0; i < 10; i++) {
        serve_one(w);
    }
    assert_int_equal(load16(&w->drv.ring.used->idx), 7);
    assert_int_equal(w->ring.last_avail, 7);
    assert_false(w->ring.is_broken);
}

static void ring_goes_on_where_another_stopped(void **state)
{
    struct world *w = *state;

    restart(w, 41, false, true);
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    serve_one(w);
    assert_int_equal(w->ring.last_avail, 42);
    assert_int_equal(load16(&w->drv.ring.used->idx), 42);
}

static void last_avail_outlives_stop(void **state)
{
    struct world *w = *state;

    serve_one(w);
    serve_one(w);
    ring_stop(&w->ring);
    assert_int_equal(w->ring.last_avail, 2);
    start(w, 2, false, true);
}

static void relocated_ring_serves_from_the_new_place(void **state)
{
    struct world *w = *state;
    struct driver moved;

    serve_one(w);
    driver_init(&moved, &w->after, SIZE);
    driver_reset(&moved, 1);
    ring_relocate(
        &w->ring,
        mem_at(&w->mem, ring_driver_addr(&moved.ring, moved.ring.desc), ring_desc_bytes(SIZE)),
        mem_at(&w->mem, ring_driver_addr(&moved.ring, moved.ring.avail), ring_avail_bytes(SIZE)),
        mem_at(&w->mem, ring_driver_addr(&moved.ring, moved.ring.used), ring_used_bytes(SIZE)));
    w->drv = moved;
    serve_one(w);
    assert_int_equal(w->ring.last_avail, 2);
}

/* ---- telling the driver ---- */

/* Finish `count` chains and publish them together. */
static bool publish(struct world *w, unsigned count)
{
    struct used used;

    while (driver_reap(&w->drv, &used)) {
    }
    for (unsigned i = 0; i < count; i++) {
        offer_simple(w);
        ring_push(&w->ring, pop(w), 1);
    }
    return ring_publish(&w->ring);
}

static void set_no_interrupt(struct world *w, bool on)
{
    store16(&w->drv.ring.avail->flags, on ? VRING_AVAIL_F_NO_INTERRUPT : 0);
}

static void first_publish_signals_whatever_the_driver_asked(void **state)
{
    struct world *w = *state;

    set_no_interrupt(w, true);
    assert_true(publish(w, 1));
    assert_false(publish(w, 1));
    restart(w, 0, true, true);
    raw_ring_set_used_event(&w->drv.ring, 100);
    assert_true(publish(w, 1));
    assert_false(publish(w, 1));
}

static void no_interrupt_flag_is_obeyed_anew_each_time(void **state)
{
    struct world *w = *state;

    publish(w, 1);
    assert_true(publish(w, 1));
    set_no_interrupt(w, true);
    assert_false(publish(w, 3));
    set_no_interrupt(w, false);
    assert_true(publish(w, 1));
}

/* Publish (old, old + count] with the driver's event at `event`; both relative to `base`. */
static bool signals(struct world *w, uint16_t base, uint16_t event, unsigned count)
{
    restart(w, (uint16_t)(base - 1), true, true);
    publish(w, 1); /* the first one, which always signals */
    raw_ring_set_used_event(&w->drv.ring, (uint16_t)(base + event));
    return publish(w, count);
}

static void event_index_inside_the_batch_signals(void **state)
{
    struct world *w = *state;

    /* Used element number `event` (from 0) is the one that the driver waits for. */
    assert_true(signals(w, 10, 0, 1));
    assert_true(signals(w, 10, 0, 3));
    assert_true(signals(w, 10, 1, 3));
    assert_true(signals(w, 10, 2, 3));
}

static void event_index_past_the_batch_does_not_signal(void **state)
{
    struct world *w = *state;

    assert_false(signals(w, 10, 1, 1));
    assert_false(signals(w, 10, 3, 3));
    assert_false(signals(w, 10, 0x7fff, 3));
}

static void event_index_before_the_batch_does_not_signal(void **state)
{
    struct world *w = *state;

    assert_false(signals(w, 10, (uint16_t)-1, 1));
    assert_false(signals(w, 10, (uint16_t)-1, 3));
    assert_false(signals(w, 10, (uint16_t)-5, 3));
}

static void event_index_wraps_with_the_indices(void **state)
{
    struct world *w = *state;

    assert_true(signals(w, 65535, 0, 1));
    assert_true(signals(w, 65534, 0, 4));
    assert_true(signals(w, 65534, 2, 4));
    assert_true(signals(w, 65534, 3, 4));
    assert_false(signals(w, 65534, 4, 4));
    assert_false(signals(w, 65534, (uint16_t)-1, 4));
    assert_true(signals(w, 0, 0, 1));
    assert_false(signals(w, 0, (uint16_t)-1, 1));
}

static void event_index_makes_the_flag_void(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    publish(w, 1);
    set_no_interrupt(w, true);
    raw_ring_set_used_event(&w->drv.ring, 1);
    assert_true(publish(w, 1));
}

/* ---- asking for kicks ---- */

static bool no_notify(const struct world *w)
{
    return load16(&w->drv.ring.used->flags) & VRING_USED_F_NO_NOTIFY;
}

static uint16_t avail_event(const struct world *w)
{
    return load16(&w->drv.ring.used->ring[SIZE]);
}

/* Offer a simple chain.  Returns whether the driver takes it that the device wants a kick. */
static bool offer_wants_kick(struct world *w)
{
    raw_ring_put(&w->drv.ring, chain_simple(w));
    return ring_driver_show(&w->drv.ring);
}

static void kicks_off_and_on_is_the_flag(void **state)
{
    struct world *w = *state;

    ring_kicks_off(&w->ring);
    assert_true(no_notify(w));
    assert_false(ring_kicks_on(&w->ring));
    assert_false(no_notify(w));
}

static void kicks_on_sees_what_came_meanwhile(void **state)
{
    struct world *w = *state;

    ring_kicks_off(&w->ring);
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    offer_simple(w);
    assert_true(ring_kicks_on(&w->ring));
    pop(w);
    assert_false(ring_kicks_on(&w->ring));
}

static void event_index_asks_for_a_kick_at_the_next_chain(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    assert_false(ring_kicks_on(&w->ring));
    assert_int_equal(avail_event(w), 0);
    assert_true(offer_wants_kick(w));
    pop(w);
    assert_false(offer_wants_kick(w)); /* not asked for again */
    pop(w);
    assert_false(ring_kicks_on(&w->ring));
    assert_int_equal(avail_event(w), 2);
    assert_true(offer_wants_kick(w));
}

static void event_index_takes_back_what_it_asked_for(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    assert_false(ring_kicks_on(&w->ring));
    ring_kicks_off(&w->ring);
    assert_false(offer_wants_kick(w));
    pop(w);
}

static void available_chains_are_seen_without_popping(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    assert_int_equal(ring_available(&w->ring), 0);
    offer_simple(w);
    assert_int_equal(ring_available(&w->ring), 1);
    pop(w);
    assert_int_equal(ring_available(&w->ring), 0);
}

static void event_index_kicks_on_sees_what_came_meanwhile(void **state)
{
    struct world *w = *state;

    restart(w, 65535, true, true);
    ring_kicks_off(&w->ring);
    offer_simple(w);
    assert_true(ring_kicks_on(&w->ring));
    pop(w);
    assert_false(ring_kicks_on(&w->ring));
    assert_int_equal(avail_event(w), 0);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(empty_ring_gives_nothing),
        in_world(chains_come_in_the_order_offered),
        in_world(order_is_that_of_the_ring_not_of_the_heads),
        in_world(readable_pieces_precede_writable_ones),
        in_world(whole_ring_can_be_one_chain),
        in_world(empty_descriptors_are_no_pieces),
        in_world(empty_descriptor_may_point_anywhere),
        in_world(chain_of_nothing_has_no_status),
        in_world(descriptor_over_two_regions_becomes_two_pieces),
        in_world(descriptors_are_read_when_popped),
        in_world(buffer_outside_memory_is_a_fault_with_a_status),
        in_world(status_outside_memory_is_no_status),
        in_world(buffer_that_leaves_memory_is_a_fault),
        in_world(buffer_that_wraps_is_a_fault),
        in_world(readable_after_writable_is_a_fault_with_a_status),
        in_world(too_many_pieces_still_find_the_status),
        in_world(as_many_pieces_as_fit_are_no_fault),
        in_world(fault_of_one_chain_does_not_stick_to_its_slot),
        in_world(indirect_table_is_followed),
        in_world(direct_descriptors_may_precede_an_indirect_table),
        in_world(write_flag_of_the_table_is_ignored),
        in_world(table_may_be_longer_than_the_ring),
        in_world(table_may_lie_over_two_regions),
        in_world(table_in_a_table_breaks_the_ring),
        in_world(indirect_with_next_breaks_the_ring),
        in_world(indirect_without_the_feature_breaks_the_ring),
        in_world(empty_table_breaks_the_ring),
        in_world(table_of_a_crooked_length_breaks_the_ring),
        in_world(table_that_points_past_itself_breaks_the_ring),
        in_world(table_that_loops_breaks_the_ring),
        in_world(table_outside_memory_breaks_the_ring),
        in_world(table_of_4_gib_ends_after_bounded_steps),
        in_world(loop_breaks_the_ring),
        in_world(loop_onto_itself_breaks_the_ring),
        in_world(next_past_the_table_breaks_the_ring),
        in_world(head_past_the_table_breaks_the_ring),
        in_world(head_in_flight_is_refused),
        in_world(head_may_come_again_after_push),
        in_world(index_further_than_the_ring_breaks_it),
        in_world(index_that_goes_back_breaks_the_ring),
        in_world(full_ring_is_no_jump),
        in_world(broken_ring_stays_broken),
        in_world(ring_break_stops_popping),
        in_world(broken_ring_still_gives_back_what_is_in_flight),
        in_world(pushed_chain_is_hidden_until_published),
        in_world(batch_is_published_by_one_store),
        in_world(used_index_is_never_read_back),
        in_world(indices_wrap_at_16_bits),
        in_world(ring_goes_on_where_another_stopped),
        in_world(last_avail_outlives_stop),
        in_world(relocated_ring_serves_from_the_new_place),
        in_world(first_publish_signals_whatever_the_driver_asked),
        in_world(no_interrupt_flag_is_obeyed_anew_each_time),
        in_world(event_index_inside_the_batch_signals),
        in_world(event_index_past_the_batch_does_not_signal),
        in_world(event_index_before_the_batch_does_not_signal),
        in_world(event_index_wraps_with_the_indices),
        in_world(event_index_makes_the_flag_void),
        in_world(kicks_off_and_on_is_the_flag),
        in_world(kicks_on_sees_what_came_meanwhile),
        in_world(event_index_asks_for_a_kick_at_the_next_chain),
        in_world(event_index_takes_back_what_it_asked_for),
        in_world(available_chains_are_seen_without_popping),
        in_world(event_index_kicks_on_sees_what_came_meanwhile),
    };

    return unit_run(tests);
}
