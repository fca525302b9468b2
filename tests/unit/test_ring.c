/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/virtio/ring.h"
#include "tests/lib/driver.h"
#include "tests/lib/find_parts.h"

#define SIZE 8
#define IOV_MAX_PIECES 6
#define PAGE 4096u
#define GUEST 0x100000ull
#define ARENA_BYTES (16ull * PAGE)
#define LARGE 32768u
#define LARGE_ARENA_BYTES (4ull << 20)
#define ARRAYS 2u
#define LONG_ARENA_BYTES (2ull << 20)
#define LONG_TABLE_BYTES (1ull << 20)

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
    struct slots arrays; /* of tests about long chains, else there are none */
    struct chain *chain;
    uint64_t data; /* guest address of a page nobody else uses */
    uint64_t table;
};

static void share(struct mem *mem, const struct arena *arena)
{
    struct mem_layout layout = {
        .guest_addr = arena->guest_addr, .size = arena->size, .user_addr = arena->guest_addr};

    assert(mem_add(mem, &layout, arena->fd, NULL) == 0);
}

static void start(struct world *w, uint16_t base, bool has_event_idx, bool has_indirect)
{
    unsigned size = w->drv.ring.size;
    struct ring_layout layout = {
        .size = size,
        .parts = find_parts(&w->mem, &w->drv.ring),
        .base = base,
        .has_event_idx = has_event_idx,
        .has_indirect = has_indirect,
        .slot_size = sizeof(struct chain),
        .slot_iovs = IOV_MAX_PIECES,
        .arrays = w->arrays.count > 0 ? &w->arrays : NULL,
    };

    driver_reset(&w->drv, base);
    w->drv.ring.has_event_idx = has_event_idx;
    assert(ring_start(&w->ring, &layout, &w->mem) == 0);
}

static void restart(struct world *w, uint16_t base, bool has_event_idx, bool has_indirect)
{
    ring_stop(&w->ring);
    start(w, base, has_event_idx, has_indirect);
}

static int start_with(void **state, unsigned size, uint64_t arena_bytes)
{
    static struct world world;

    mem_init(&world.mem);
    arena_init(&world.arena, GUEST, arena_bytes);
    arena_init(&world.after, GUEST + arena_bytes, arena_bytes);
    share(&world.mem, &world.arena);
    share(&world.mem, &world.after);
    driver_init(&world.drv, &world.arena, size);
    world.data = arena_take(&world.arena, PAGE, PAGE);
    world.table = arena_take(&world.arena, 2 * PAGE, PAGE);
    world.chain = NULL;
    start(&world, 0, false, true);
    *state = &world;
    return 0;
}

static int world_start(void **state)
{
    return start_with(state, SIZE, ARENA_BYTES);
}

/* The largest ring there is. */
static int large_start(void **state)
{
    return start_with(state, LARGE, LARGE_ARENA_BYTES);
}

/* A small ring that may take chains of many pieces, but not many of them. */
static int long_start(void **state)
{
    struct world *w;

    start_with(state, SIZE, LONG_ARENA_BYTES);
    w = *state;
    w->table = arena_take(&w->arena, LONG_TABLE_BYTES, PAGE);
    assert(slots_init(&w->arrays, sizeof(struct ring_array), ARRAYS) == 0);
    restart(w, 0, false, true);
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    slots_fini(&w->arrays);
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

    assert_int_equal(pop(w)->id, first);
    assert_int_equal(pop(w)->id, second);
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
    assert_int_equal(pop(w)->id, 3);
    assert_int_equal(pop(w)->id, 0);
    assert_int_equal(pop(w)->id, 2);
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

/* There is a place for the status, whatever lies before it. */
static void buffer_that_enters_memory_is_a_fault_with_a_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(GUEST - 100, 200)};

    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 2));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, GUEST + 99));
}

static void status_that_wraps_is_no_status(void **state)
{
    struct world *w = *state;
    struct piece pieces[] = {piece_out(w->data, 16), piece_in(UINT64_MAX - 7, 16)};
    struct arena low;

    arena_init(&low, 0, PAGE);
    share(&w->mem, &low);
    driver_offer(&w->drv, driver_chain(&w->drv, pieces, 2));

    struct chain *chain = pop(w);

    assert_non_null(chain->fault);
    assert_null(chain->last_in);
    arena_fini(&low);
}

#define REGIONS 400u
#define BUFFERS (2 * PAGE / sizeof(struct vring_desc))

/* Regions of a page that follow one another. */
static uint64_t share_pages(struct world *w, struct arena *pages)
{
    arena_init(pages, 1ull << 40, REGIONS * PAGE);
    for (unsigned i = 0; i < REGIONS; i++) {
        struct mem_layout layout = {.guest_addr = pages->guest_addr + i * PAGE,
                                    .size = PAGE,
                                    .user_addr = (uintptr_t)pages->host + i * PAGE,
                                    .offset = i * PAGE};

        assert_int_equal(mem_add(&w->mem, &layout, pages->fd, NULL), 0);
    }
    return pages->guest_addr;
}

static uint64_t thread_time_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Pop a chain of as many buffers as a table holds, each of `len` bytes; the best of some times. */
static uint64_t time_to_pop(struct world *w, uint64_t addr, uint32_t len)
{
    uint64_t best_ns = UINT64_MAX;
    static struct piece pieces[BUFFERS];

    for (unsigned i = 0; i < BUFFERS; i++) {
        pieces[i] = piece_in(addr, len);
    }
    for (unsigned i = 0; i < 5; i++) {
        struct chain *chain;
        uint64_t start_ns;
        struct used used;

        driver_offer(&w->drv, driver_chain_indirect(&w->drv, pieces, BUFFERS, 0, w->table));
        start_ns = thread_time_ns();
        chain = pop(w);
        best_ns = min_of(best_ns, thread_time_ns() - start_ns);
        assert_ptr_equal(chain->last_in, at(w, addr + len - 1));
        ring_push(&w->ring, chain, 1);
        ring_publish(&w->ring);
        assert_true(driver_reap(&w->drv, &used));
    }
    return best_ns;
}

static void faulty_chain_costs_the_same_over_few_regions_and_many(void **state)
{
    struct world *w = *state;
    struct arena pages;
    uint64_t addr = share_pages(w, &pages);
    uint64_t few_ns = time_to_pop(w, addr, PAGE);
    uint64_t many_ns = time_to_pop(w, addr, REGIONS * PAGE);

    assert_true(many_ns < 20 * few_ns);
    arena_fini(&pages);
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

/* ---- chains of many pieces ---- */

/* A header, `segments` of four bytes and a status, by a table; each chain has its own head. */
static uint16_t offer_long(struct world *w, uint16_t head, unsigned segments)
{
    unsigned last = segments + 1;

    driver_set_table(&w->drv, w->table, 0, w->data, 16, VRING_DESC_F_NEXT, 1);
    for (unsigned i = 1; i < last; i++) {
        driver_set_table(&w->drv, w->table, i, w->data + i % 1000 * 4, 4,
                         VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, (uint16_t)(i + 1));
    }
    driver_set_table(&w->drv, w->table, last, w->data + 4095, 1, VRING_DESC_F_WRITE, 0);
    raw_ring_set_desc(&w->drv.ring, head, w->table, (last + 1) * 16, VRING_DESC_F_INDIRECT, 0);
    driver_offer(&w->drv, head);
    return head;
}

static unsigned arrays_taken(const struct world *w)
{
    unsigned at = 0, count = 0;

    while (slots_next_taken(&w->arrays, &at)) {
        count++;
    }
    return count;
}

static void long_chain_is_served_whatever_the_size_of_the_ring(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    offer_long(w, 0, 1024);
    chain = pop(w);
    assert_null(chain->fault);
    assert_int_equal(chain->out_count, 1);
    assert_int_equal(chain->in_count, 1025);
    assert_int_equal(chain->in_bytes, 4 * 1024 + 1);
    for (unsigned i = 1; i <= 1024; i++) {
        assert_ptr_equal(chain->iov[i].iov_base, at(w, w->data + i % 1000 * 4));
        assert_int_equal(chain->iov[i].iov_len, 4);
    }
    assert_ptr_equal(chain->last_in, at(w, w->data + 4095));
    assert_int_equal(arrays_taken(w), 1);
    ring_push(&w->ring, chain, 1);
    assert_int_equal(arrays_taken(w), 0);
}

static void chain_that_fits_its_slot_takes_no_array(void **state)
{
    struct world *w = *state;

    offer_long(w, 0, IOV_MAX_PIECES - 2);
    assert_null(pop(w)->fault);
    assert_int_equal(arrays_taken(w), 0);
    offer_long(w, 1, IOV_MAX_PIECES - 1);
    assert_null(pop(w)->fault);
    assert_int_equal(arrays_taken(w), 1);
}

static void more_pieces_than_an_array_has_still_find_the_status(void **state)
{
    struct world *w = *state;
    struct chain *chain;

    offer_long(w, 0, RING_MAX_IOVS - 2);
    assert_null(pop(w)->fault);
    offer_long(w, 1, RING_MAX_IOVS - 1);
    chain = pop(w);
    assert_non_null(chain->fault);
    assert_ptr_equal(chain->last_in, at(w, w->data + 4095));
    ring_push(&w->ring, chain, 1);
    assert_int_equal(arrays_taken(w), 1);
}

/* A buffer over the edge of two regions is two pieces. */
static void edges_of_regions_are_counted_as_pieces(void **state)
{
    struct world *w = *state;
    uint64_t edge = GUEST + LONG_ARENA_BYTES;
    struct chain *chain;

    offer_long(w, 0, 1024);
    for (unsigned i = 1; i <= 200; i++) {
        driver_set_table(&w->drv, w->table, i, edge - 2, 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
                         (uint16_t)(i + 1));
    }
    chain = pop(w);
    assert_null(chain->fault);
    assert_int_equal(chain->in_count, 1025 + 200);
    assert_int_equal(chain->in_bytes, 4 * 1024 + 1);
}

static void chain_that_finds_no_array_stays_in_the_ring(void **state)
{
    struct world *w = *state;
    struct chain *first, *second;

    offer_long(w, 0, 100);
    offer_long(w, 1, 100);
    offer_long(w, 2, 100);
    first = pop(w);
    second = pop(w);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ring_pop(&w->ring, &w->chain), -EAGAIN);
        assert_int_equal(w->ring.inflight, 2);
        assert_int_equal(w->ring.last_avail, 2);
        assert_true(ring_has_ahead(&w->ring, 1));
        assert_false(ring_has_ahead(&w->ring, 2));
    }
    assert_false(w->ring.is_broken);
    ring_push(&w->ring, second, 1);
    assert_int_equal(pop(w)->id, 2);
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    assert_int_equal(first->in_count, 101);
}

static void short_chain_needs_no_array(void **state)
{
    struct world *w = *state;

    offer_long(w, 0, 100);
    offer_long(w, 1, 100);
    pop(w);
    pop(w);
    raw_ring_set_desc(&w->drv.ring, 2, w->data, 1, VRING_DESC_F_WRITE, 0);
    driver_offer(&w->drv, 2);
    assert_int_equal(pop(w)->id, 2);
}

/* What is wrong with a chain is found even while there is no array for it. */
static void long_chain_that_breaks_the_ring_needs_no_array(void **state)
{
    struct world *w = *state;

    offer_long(w, 0, 100);
    offer_long(w, 1, 100);
    pop(w);
    pop(w);
    offer_long(w, 2, 100);
    driver_set_table(&w->drv, w->table, 90, w->data, 4, VRING_DESC_F_NEXT, 102);
    assert_breaks(w);
}

static void arrays_come_back_whatever_becomes_of_the_chain(void **state)
{
    struct world *w = *state;

    offer_long(w, 0, 100);
    ring_drop(&w->ring, pop(w));
    assert_int_equal(arrays_taken(w), 0);
    offer_long(w, 1, 100);
    driver_set_table(&w->drv, w->table, 90, w->data, 4, VRING_DESC_F_NEXT, 102);
    assert_breaks(w);
    assert_int_equal(arrays_taken(w), 0);
}

static void arrays_can_be_those_of_another(void **state)
{
    struct world *w = *state;
    struct slots others;

    assert_int_equal(slots_init(&others, sizeof(struct ring_array), 1), 0);
    offer_long(w, 0, 100);
    ring_push(&w->ring, pop(w), 1);
    ring_set_arrays(&w->ring, &others);
    offer_long(w, 1, 100);
    w->chain = pop(w);
    assert_int_equal(arrays_taken(w), 0);
    assert_false(slots_has_free(&others));
    ring_push(&w->ring, w->chain, 1);
    assert_true(slots_has_free(&others));
    slots_fini(&others);
}

static void table_of_40000_descriptors_breaks_the_ring(void **state)
{
    struct world *w = *state;

    offer_long(w, 0, 40000 - 2);
    assert_breaks(w);
    assert_int_equal(arrays_taken(w), 0);
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

/*
 * Two requests are under way; the younger is answered, its head offered again, and the process that
 * serves the ring ends.  The front-end goes on at the used index.
 */
static void head_found_twice_at_the_start_was_left_by_the_one_before(void **state)
{
    struct world *w = *state;
    uint16_t older = offer_simple(w);
    uint16_t younger = offer_simple(w);
    struct ring_layout layout = w->ring.layout;
    struct chain *chain;

    pop(w);
    chain = pop(w);
    assert_int_equal(chain->id, younger);
    ring_push(&w->ring, chain, 1);
    ring_publish(&w->ring);
    driver_offer(&w->drv, younger);
    layout.base = w->ring.used;
    ring_stop(&w->ring);
    assert_int_equal(ring_start(&w->ring, &layout, &w->mem), 0);
    assert_int_equal(pop(w)->id, younger);
    assert_breaks(w);
    assert_non_null(strstr(w->ring.fault, "ended with requests unanswered"));
    assert_int_not_equal(older, younger);
}

/* What is offered later is the driver's own doing. */
static void head_offered_again_later_is_the_fault_of_the_driver(void **state)
{
    struct world *w = *state;
    uint16_t head;

    serve_one(w);
    restart(w, w->ring.used, false, true);
    head = offer_simple(w);
    assert_int_equal(pop(w)->id, head);
    driver_offer(&w->drv, head);
    assert_breaks(w);
    assert_string_equal(w->ring.fault, "a head was offered again while it is in flight");
}

static void head_may_come_again_after_push(void **state)
{
    struct world *w = *state;
    uint16_t head = offer_simple(w);

    ring_push(&w->ring, pop(w), 1);
    driver_offer(&w->drv, head);
    assert_int_equal(pop(w)->id, head);
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
        assert_int_equal(pop(w)->id, head);
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

/* ---- large rings ---- */

static void offer_head(struct world *w, uint16_t head)
{
    raw_ring_set_desc(&w->drv.ring, head, w->data, 1, VRING_DESC_F_WRITE, 0);
    raw_ring_offer(&w->drv.ring, head);
}

/* Each head is used once, two at a time. */
static void large_ring_costs_what_is_in_flight(void **state)
{
    struct world *w = *state;
    struct used used;

    for (uint32_t head = 0; head < LARGE; head += 2) {
        struct chain *first, *second;

        offer_head(w, (uint16_t)head);
        offer_head(w, (uint16_t)(head + 1));
        first = pop(w);
        second = pop(w);
        ring_push(&w->ring, first, 1);
        ring_push(&w->ring, second, 1);
        ring_publish(&w->ring);
        while (driver_reap(&w->drv, &used)) {
        }
    }
    assert_int_equal(w->ring.slots.fresh, 2); /* slots that were ever taken */
}

static void large_ring_can_be_all_in_flight(void **state)
{
    static struct chain *chains[LARGE];
    struct world *w = *state;
    uint8_t *seen = calloc(LARGE, 1);
    struct used used;

    for (uint32_t head = 0; head < LARGE; head++) {
        offer_head(w, (uint16_t)(LARGE - 1 - head));
    }
    for (uint32_t i = 0; i < LARGE; i++) {
        chains[i] = pop(w);
        assert_int_equal(chains[i]->id, LARGE - 1 - i);
    }
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
    assert_int_equal(w->ring.inflight, LARGE);
    for (uint32_t i = 0; i < LARGE; i++) {
        ring_push(&w->ring, chains[(i * 12345u) % LARGE], 1);
    }
    assert_true(ring_publish(&w->ring));
    while (driver_reap(&w->drv, &used)) {
        assert_in_range(used.id, 0, LARGE - 1);
        assert_int_equal(seen[used.id]++, 0);
    }
    assert_int_equal(w->ring.inflight, 0);
    assert_int_equal(w->drv.ring.last_used, LARGE);
    free(seen);
}

static void large_ring_refuses_a_head_in_flight(void **state)
{
    static const uint16_t heads[] = {0, 63, 64, 4095, LARGE - 1};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
        offer_head(w, heads[i]);
        ring_push(&w->ring, pop(w), 1);
        offer_head(w, heads[i]);
        pop(w);
        offer_head(w, heads[i] ^ 1); /* its neighbour is another one */
        pop(w);
        offer_head(w, heads[i]);
        assert_breaks(w);
        restart(w, 0, false, true);
    }
}

static void chain_through_a_whole_large_ring_breaks_it(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < LARGE; i++) {
        raw_ring_set_desc(&w->drv.ring, i, w->data, 1, i + 1 < LARGE ? VRING_DESC_F_NEXT : 0,
                          (uint16_t)(i + 1));
    }
    driver_offer(&w->drv, LARGE - RING_MAX_CHAIN);
    assert_non_null(pop(w)->fault);
    driver_offer(&w->drv, LARGE - RING_MAX_CHAIN - 1);
    assert_breaks(w);
}

static void large_ring_breaks_when_its_index_jumps(void **state)
{
    struct world *w = *state;

    raw_ring_set_avail_idx(&w->drv.ring, LARGE + 1);
    assert_breaks(w);
    restart(w, 5, false, true);
    raw_ring_set_avail_idx(&w->drv.ring, 4);
    assert_breaks(w);
}

/* ---- what is in flight ---- */

static void walk_meets_all_that_is_in_flight(void **state)
{
    struct world *w = *state;
    struct chain *first, *second, *third;
    unsigned at = 0;

    offer_simple(w);
    offer_simple(w);
    offer_simple(w);
    first = pop(w);
    second = pop(w);
    third = pop(w);
    ring_push(&w->ring, second, 1);
    assert_ptr_equal(ring_next_inflight(&w->ring, &at), first);
    assert_ptr_equal(ring_next_inflight(&w->ring, &at), third);
    assert_null(ring_next_inflight(&w->ring, &at));
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
    struct ring_parts parts;
    struct driver moved;

    serve_one(w);
    driver_init(&moved, &w->after, SIZE);
    driver_reset(&moved, 1);
    parts = find_parts(&w->mem, &moved.ring);
    ring_relocate(&w->ring, &parts);
    w->drv = moved;
    serve_one(w);
    assert_int_equal(w->ring.last_avail, 2);
}

/* ---- held chains ---- */

static void assert_nothing_to_pop(struct world *w)
{
    assert_int_equal(ring_pop(&w->ring, &w->chain), 0);
}

static uint16_t hold_one(struct world *w)
{
    uint16_t head = offer_simple(w);

    ring_hold(&w->ring, pop(w));
    return head;
}

static void held_chain_is_not_in_flight(void **state)
{
    struct world *w = *state;
    unsigned at = 0;

    hold_one(w);
    assert_int_equal(w->ring.inflight, 0);
    assert_int_equal(w->ring.held_count, 1);
    assert_null(ring_next_inflight(&w->ring, &at));
    assert_false(ring_has_unpublished(&w->ring));
    assert_nothing_to_pop(w);
    ring_set_arrays(&w->ring, NULL); /* which asks for nothing in flight */
}

static void head_that_is_held_may_not_be_offered_again(void **state)
{
    struct world *w = *state;

    driver_offer(&w->drv, hold_one(w));
    assert_breaks(w);
}

static void held_chains_come_again_before_new_ones(void **state)
{
    struct world *w = *state;
    uint16_t first = hold_one(w);
    uint16_t second = hold_one(w);
    uint16_t fresh = offer_simple(w);

    ring_retry(&w->ring);
    assert_int_equal(w->ring.last_avail, 2);
    assert_int_equal(pop(w)->id, first);
    assert_int_equal(pop(w)->id, second);
    assert_int_equal(w->ring.last_avail, 2);
    assert_int_equal(w->ring.held_count, 0);
    assert_int_equal(pop(w)->id, fresh);
    assert_int_equal(w->ring.inflight, 3);
    assert_nothing_to_pop(w);
}

static void new_chains_do_not_wait_for_held_ones(void **state)
{
    struct world *w = *state;
    uint16_t fresh;

    hold_one(w);
    fresh = offer_simple(w);
    assert_int_equal(pop(w)->id, fresh);
}

static void what_is_held_again_waits_for_the_next_retry(void **state)
{
    struct world *w = *state;

    hold_one(w);
    hold_one(w);
    ring_retry(&w->ring);
    ring_hold(&w->ring, pop(w));
    ring_hold(&w->ring, pop(w));
    assert_nothing_to_pop(w);
    assert_int_equal(w->ring.held_count, 2);
    ring_retry(&w->ring);
    ring_push(&w->ring, pop(w), 1);
    ring_push(&w->ring, pop(w), 1);
    assert_nothing_to_pop(w);
}

static void retry_that_was_ended_begins_anew(void **state)
{
    struct world *w = *state;

    hold_one(w);
    hold_one(w);
    ring_retry(&w->ring);
    ring_hold(&w->ring, pop(w));
    ring_retry_end(&w->ring);
    assert_int_equal(ring_waiting(&w->ring), 2);
    assert_nothing_to_pop(w);
    ring_retry(&w->ring);
    ring_push(&w->ring, pop(w), 1);
    ring_push(&w->ring, pop(w), 1);
    assert_int_equal(w->ring.held_count, 0);
}

static void retry_with_nothing_held_offers_nothing(void **state)
{
    struct world *w = *state;

    ring_retry(&w->ring);
    assert_nothing_to_pop(w);
    serve_one(w);
}

/* The driver may not change it, but one that does gets what stands there now, checked as ever. */
static void held_chain_is_gathered_anew(void **state)
{
    struct world *w = *state;
    uint16_t head = hold_one(w);
    struct chain *chain;

    raw_ring_set_desc(&w->drv.ring, head, w->data + 64, 20, 0, 0);
    ring_retry(&w->ring);
    chain = pop(w);
    assert_int_equal(chain->out_count, 1);
    assert_int_equal(chain->in_count, 0);
    assert_int_equal(chain->out_bytes, 20);
    assert_ptr_equal(chain->iov[0].iov_base, at(w, w->data + 64));
    ring_hold(&w->ring, chain);
    raw_ring_set_desc(&w->drv.ring, head, w->data, 20, VRING_DESC_F_NEXT, SIZE);
    ring_retry(&w->ring);
    assert_breaks(w);
}

static void held_chain_outlives_other_memory(void **state)
{
    struct world *w = *state;
    uint16_t head = hold_one(w);
    const struct mem_layout layout = w->mem.region[0].layout;
    const struct mem_layout elsewhere = {
        .guest_addr = 1ull << 40, .size = layout.size, .user_addr = 1ull << 40};
    const uint8_t *before = at(w, GUEST);
    struct ring_parts parts;

    assert_int_equal(mem_remove(&w->mem, &layout, NULL), 0);
    assert_int_equal(mem_add(&w->mem, &elsewhere, w->arena.fd, NULL), 0); /* in its place */
    share(&w->mem, &w->arena);
    assert_ptr_not_equal(at(w, GUEST), before);
    parts = find_parts(&w->mem, &w->drv.ring);
    ring_relocate(&w->ring, &parts);
    ring_retry(&w->ring);
    w->chain = pop(w);
    assert_int_equal(w->chain->id, head);
    assert_ptr_equal(w->chain->iov[0].iov_base, at(w, w->data));
}

static void held_chain_gives_its_array_back(void **state)
{
    struct world *w = *state;

    offer_long(w, 0, 100);
    ring_hold(&w->ring, pop(w));
    assert_int_equal(arrays_taken(w), 0);
    ring_retry(&w->ring);
    assert_int_equal(pop(w)->in_count, 101);
    assert_int_equal(arrays_taken(w), 1);
}

static void held_chain_that_finds_no_array_stays_where_it_is(void **state)
{
    struct world *w = *state;
    struct chain *other;

    offer_long(w, 0, 100);
    ring_hold(&w->ring, pop(w));
    offer_long(w, 1, 100);
    offer_long(w, 2, 100);
    other = pop(w);
    pop(w);
    ring_retry(&w->ring);
    assert_int_equal(ring_pop(&w->ring, &w->chain), -EAGAIN);
    assert_int_equal(w->ring.held_count, 1);
    ring_push(&w->ring, other, 1);
    assert_int_equal(pop(w)->id, 0);
    assert_nothing_to_pop(w);
}

static void large_ring_can_be_all_held(void **state)
{
    struct world *w = *state;

    for (uint32_t head = 0; head < LARGE; head++) {
        offer_head(w, (uint16_t)head);
        ring_hold(&w->ring, pop(w));
    }
    assert_int_equal(w->ring.held_count, LARGE);
    ring_retry(&w->ring);
    for (uint32_t head = 0; head < LARGE; head++) {
        assert_int_equal(pop(w)->id, head);
    }
    assert_nothing_to_pop(w);
    assert_int_equal(w->ring.inflight, LARGE);
}

static void stop_forgets_what_is_held(void **state)
{
    struct world *w = *state;
    uint16_t head = hold_one(w);

    restart(w, 1, false, true);
    assert_int_equal(w->ring.held_count, 0);
    ring_retry(&w->ring);
    assert_nothing_to_pop(w);
    driver_offer(&w->drv, head);
    assert_int_equal(pop(w)->id, head);
}

/* ---- where the parts lie ---- */

static void assert_not_found(struct world *w, const struct ring_addr *addr, int code,
                             const char *text)
{
    struct ring_parts parts;
    struct err err = {0};

    assert_int_equal(ring_find(&parts, &w->mem, addr, SIZE, false, &err), code);
    assert_string_equal(err.text, text);
}

/* The last byte of each part is its event index. */
static void parts_that_lie_elsewhere_are_told_by_name(void **state)
{
    struct world *w = *state;
    const uint64_t end = w->after.guest_addr + w->after.size;
    const struct ring_addr good = {
        .desc = end - SIZE * 16ull, .avail = end - (6 + 2 * SIZE), .used = end - (8 + 8 * SIZE)};
    struct ring_parts parts;
    struct ring_addr bad = good;

    assert_int_equal(ring_find(&parts, &w->mem, &good, SIZE, false, NULL), 0);
    bad.desc += 16;
    assert_not_found(w, &bad, -EFAULT,
                     "its descriptor table of 8 entries lies outside guest memory");
    bad = good;
    bad.avail += 2;
    assert_not_found(w, &bad, -EFAULT, "its available ring of 8 entries lies outside guest memory");
    bad = good;
    bad.used += 4;
    assert_not_found(w, &bad, -EFAULT, "its used ring of 8 entries lies outside guest memory");
}

static void parts_that_are_not_aligned_are_refused(void **state)
{
    struct world *w = *state;
    const struct ring_addr good = {.desc = w->data, .avail = w->data, .used = w->data};
    struct ring_addr bad = good;

    bad.desc += 8;
    assert_not_found(w, &bad, -EINVAL, "its descriptor table is not aligned to 16 bytes");
    bad = good;
    bad.avail += 1;
    assert_not_found(w, &bad, -EINVAL, "its available ring is not aligned to 2 bytes");
    bad = good;
    bad.used += 2;
    assert_not_found(w, &bad, -EINVAL, "its used ring is not aligned to 4 bytes");
}

static void base_of_a_split_ring_has_16_bits(void **state)
{
    assert_null(ring_base_fault(false, SIZE, 0));
    assert_null(ring_base_fault(false, SIZE, UINT16_MAX));
    assert_non_null(ring_base_fault(false, SIZE, UINT16_MAX + 1u));
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

/* ---- a second look ---- */

static void wish_that_comes_late_is_granted_once(void **state)
{
    struct world *w = *state;

    assert_false(signals(w, 65534, 100, 4));
    assert_false(ring_owes_signal(&w->ring));
    raw_ring_set_used_event(&w->drv.ring, 65533); /* before what was published */
    assert_false(ring_owes_signal(&w->ring));
    raw_ring_set_used_event(&w->drv.ring, 2); /* the next */
    assert_false(ring_owes_signal(&w->ring));
    raw_ring_set_used_event(&w->drv.ring, 65534);
    assert_true(ring_owes_signal(&w->ring));
    assert_false(ring_owes_signal(&w->ring));
    raw_ring_set_used_event(&w->drv.ring, 1);
    assert_false(ring_owes_signal(&w->ring));
}

static void all_since_the_last_signal_is_looked_at_again(void **state)
{
    struct world *w = *state;

    assert_true(signals(w, 10, 2, 3));
    assert_false(publish(w, 2));
    assert_false(publish(w, 2));
    raw_ring_set_used_event(&w->drv.ring, 12);
    assert_false(ring_owes_signal(&w->ring));
    raw_ring_set_used_event(&w->drv.ring, 13);
    assert_true(ring_owes_signal(&w->ring));
}

static void flag_that_is_taken_down_late_is_seen_once(void **state)
{
    struct world *w = *state;

    publish(w, 1);
    assert_false(ring_owes_signal(&w->ring));
    set_no_interrupt(w, true);
    assert_false(publish(w, 1));
    assert_false(ring_owes_signal(&w->ring));
    set_no_interrupt(w, false);
    assert_true(ring_owes_signal(&w->ring));
    assert_false(ring_owes_signal(&w->ring));
}

/* It puts its wish half of all numbers ahead, and that is not what was published long ago. */
static void driver_that_wants_none_is_owed_none(void **state)
{
    struct world *w = *state;

    restart(w, 0, true, true);
    publish(w, 1);
    for (unsigned i = 0; i < 70000 / 4; i++) {
        uint16_t used = w->ring.published;

        raw_ring_set_used_event(&w->drv.ring, (uint16_t)(used + 0x8000u));
        assert_false(publish(w, 4));
        assert_false(ring_owes_signal(&w->ring));
    }
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
    assert_false(ring_has_ahead(&w->ring, 1));
    offer_simple(w);
    assert_true(ring_has_ahead(&w->ring, 1));
    assert_false(ring_has_ahead(&w->ring, 2));
    pop(w);
    assert_false(ring_has_ahead(&w->ring, 1));
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
#define in_long(test) cmocka_unit_test_setup_teardown(test, long_start, world_stop)
#define in_large(test) cmocka_unit_test_setup_teardown(test, large_start, world_stop)

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
        in_world(buffer_that_enters_memory_is_a_fault_with_a_status),
        in_world(status_that_wraps_is_no_status),
        in_world(faulty_chain_costs_the_same_over_few_regions_and_many),
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
        in_long(long_chain_is_served_whatever_the_size_of_the_ring),
        in_long(chain_that_fits_its_slot_takes_no_array),
        in_long(more_pieces_than_an_array_has_still_find_the_status),
        in_long(edges_of_regions_are_counted_as_pieces),
        in_long(chain_that_finds_no_array_stays_in_the_ring),
        in_long(short_chain_needs_no_array),
        in_long(long_chain_that_breaks_the_ring_needs_no_array),
        in_long(arrays_come_back_whatever_becomes_of_the_chain),
        in_long(arrays_can_be_those_of_another),
        in_long(table_of_40000_descriptors_breaks_the_ring),
        in_world(loop_breaks_the_ring),
        in_world(loop_onto_itself_breaks_the_ring),
        in_world(next_past_the_table_breaks_the_ring),
        in_world(head_past_the_table_breaks_the_ring),
        in_world(head_in_flight_is_refused),
        in_world(head_found_twice_at_the_start_was_left_by_the_one_before),
        in_world(head_offered_again_later_is_the_fault_of_the_driver),
        in_world(head_may_come_again_after_push),
        in_world(index_further_than_the_ring_breaks_it),
        in_world(index_that_goes_back_breaks_the_ring),
        in_world(full_ring_is_no_jump),
        in_world(broken_ring_stays_broken),
        in_world(ring_break_stops_popping),
        in_world(broken_ring_still_gives_back_what_is_in_flight),
        in_large(large_ring_costs_what_is_in_flight),
        in_large(large_ring_can_be_all_in_flight),
        in_large(large_ring_refuses_a_head_in_flight),
        in_large(chain_through_a_whole_large_ring_breaks_it),
        in_large(large_ring_breaks_when_its_index_jumps),
        in_world(walk_meets_all_that_is_in_flight),
        in_world(pushed_chain_is_hidden_until_published),
        in_world(batch_is_published_by_one_store),
        in_world(used_index_is_never_read_back),
        in_world(indices_wrap_at_16_bits),
        in_world(ring_goes_on_where_another_stopped),
        in_world(last_avail_outlives_stop),
        in_world(relocated_ring_serves_from_the_new_place),
        in_world(held_chain_is_not_in_flight),
        in_world(head_that_is_held_may_not_be_offered_again),
        in_world(held_chains_come_again_before_new_ones),
        in_world(new_chains_do_not_wait_for_held_ones),
        in_world(what_is_held_again_waits_for_the_next_retry),
        in_world(retry_that_was_ended_begins_anew),
        in_world(retry_with_nothing_held_offers_nothing),
        in_world(held_chain_is_gathered_anew),
        in_world(held_chain_outlives_other_memory),
        in_long(held_chain_gives_its_array_back),
        in_long(held_chain_that_finds_no_array_stays_where_it_is),
        in_large(large_ring_can_be_all_held),
        in_world(stop_forgets_what_is_held),
        in_world(parts_that_lie_elsewhere_are_told_by_name),
        in_world(parts_that_are_not_aligned_are_refused),
        in_world(base_of_a_split_ring_has_16_bits),
        in_world(first_publish_signals_whatever_the_driver_asked),
        in_world(no_interrupt_flag_is_obeyed_anew_each_time),
        in_world(event_index_inside_the_batch_signals),
        in_world(event_index_past_the_batch_does_not_signal),
        in_world(event_index_before_the_batch_does_not_signal),
        in_world(event_index_wraps_with_the_indices),
        in_world(event_index_makes_the_flag_void),
        in_world(wish_that_comes_late_is_granted_once),
        in_world(all_since_the_last_signal_is_looked_at_again),
        in_world(flag_that_is_taken_down_late_is_seen_once),
        in_world(driver_that_wants_none_is_owed_none),
        in_world(kicks_off_and_on_is_the_flag),
        in_world(kicks_on_sees_what_came_meanwhile),
        in_world(event_index_asks_for_a_kick_at_the_next_chain),
        in_world(event_index_takes_back_what_it_asked_for),
        in_world(available_chains_are_seen_without_popping),
        in_world(event_index_kicks_on_sees_what_came_meanwhile),
    };

    return unit_run(tests);
}
