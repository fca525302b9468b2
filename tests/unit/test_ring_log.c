/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Marks of what a ring's device stores to it, for both formats: each page that changes is marked by
 * the call that has changed it.
 */

#include "tests/unit/unit.h"

#include <assert.h>
#include <string.h>

#include "core/virtio/ring.h"
#include "tests/lib/find_parts.h"
#include "tests/lib/packed.h"
#include "tests/unit/chance.h"

#define PAGE DIRTY_LOG_PAGE
#define SIZE 1024u /* so that what the device writes has several pages */
#define DEPTH 64u
#define ROUNDS 2000u
#define GUEST 0x100000ull
#define ARENA_BYTES (32 * PAGE)
#define LOG_BYTES 64u

/* A started ring, its driver of either format, a log, and what memory was before the last call. */
struct world {
    struct mem mem;
    struct arena arena;
    bool is_packed;
    struct driver split;
    struct packed packed;
    struct ring ring;
    struct chain *chain[DEPTH]; /* popped */
    unsigned popped;
    uint64_t data;
    struct dirty_log log;
    uint8_t bits[LOG_BYTES];
    uint8_t before[ARENA_BYTES];
    unsigned changes;
};

static uint64_t used_addr(const struct world *w)
{
    return w->is_packed ? w->packed.device_addr
                        : GUEST + (uint64_t)((uint8_t *)w->split.ring.used - w->arena.host);
}

static void start(struct world *w, bool has_event_idx)
{
    struct ring_layout layout = {
        .size = SIZE,
        .parts =
            w->is_packed ? packed_parts(&w->packed, &w->mem) : find_parts(&w->mem, &w->split.ring),
        .base = w->is_packed ? packed_base(&w->packed, 0) : 0,
        .is_packed = w->is_packed,
        .has_event_idx = has_event_idx,
        .has_indirect = true,
        .slot_size = sizeof(struct chain),
        .slot_iovs = 3,
    };

    assert_int_equal(ring_start(&w->ring, &layout, &w->mem), 0);
    ring_set_log(&w->ring, &w->mem.log, used_addr(w));
}

static int start_with(void **state, bool is_packed, bool has_event_idx)
{
    static struct world w;
    struct mem_layout layout = {.guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = GUEST};

    memset(&w, 0, sizeof(w));
    chance_begin();
    w.is_packed = is_packed;
    mem_init(&w.mem);
    arena_init(&w.arena, GUEST, ARENA_BYTES);
    assert(mem_add(&w.mem, &layout, w.arena.fd, NULL) == 0);
    if (is_packed) {
        packed_init(&w.packed, &w.arena, SIZE);
        packed_reset(&w.packed, 0);
    } else {
        driver_init(&w.split, &w.arena, SIZE);
    }
    w.data = arena_take(&w.arena, PAGE, PAGE);
    w.mem.log = (struct dirty_log){.bits = w.bits, .bytes = LOG_BYTES};
    start(&w, has_event_idx);
    *state = &w;
    return 0;
}

static int split_start(void **state)
{
    return start_with(state, false, true);
}

static int split_flags_start(void **state)
{
    return start_with(state, false, false);
}

static int packed_start(void **state)
{
    return start_with(state, true, true);
}

static int packed_flags_start(void **state)
{
    return start_with(state, true, false);
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    w->mem.log = (struct dirty_log){0};
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

static void begin_look(struct world *w)
{
    memset(w->bits, 0, LOG_BYTES);
    memcpy(w->before, w->arena.host, ARENA_BYTES);
}

static bool is_marked(const struct world *w, uint64_t addr)
{
    uint64_t page = addr / PAGE;

    return w->bits[page / 8] >> page % 8 & 1;
}

static void assert_changes_marked(struct world *w)
{
    for (uint64_t at = 0; at < ARENA_BYTES; at += PAGE) {
        if (memcmp(w->before + at, w->arena.host + at, PAGE) != 0) {
            assert_true(is_marked(w, GUEST + at));
            w->changes++;
        }
    }
}

static void offer_one(struct world *w, uint16_t *next_id)
{
    const struct piece pieces[2] = {piece_out(w->data, 16), piece_in(w->data + 64, 16)};
    unsigned count = 1 + chance(2);

    if (w->is_packed) {
        packed_offer(&w->packed, pieces + 2 - count, count, (*next_id)++ % DEPTH);
    } else {
        driver_offer(&w->split, driver_chain(&w->split, pieces + 2 - count, count));
    }
}

static bool reap_one(struct world *w)
{
    struct used used;

    return w->is_packed ? packed_reap(&w->packed, &used) : driver_reap(&w->split, &used);
}

/* Each of these is a call that may store something. */
static void pop_all(struct world *w)
{
    struct chain *chain;

    while (w->popped < DEPTH && ring_pop(&w->ring, &chain) > 0) {
        w->chain[w->popped++] = chain;
    }
}

static void push_one(struct world *w)
{
    if (w->popped > 0) {
        unsigned i = chance(w->popped);

        ring_push(&w->ring, w->chain[i], chance(2) ? 16 : 0);
        w->chain[i] = w->chain[--w->popped];
    }
}

static void do_any(struct world *w)
{
    switch (chance(6)) {
    case 0:
        pop_all(w);
        break;
    case 1:
        ring_kicks_off(&w->ring);
        break;
    case 2:
        (void)ring_kicks_on(&w->ring);
        break;
    case 3:
        (void)ring_publish(&w->ring);
        break;
    default:
        push_one(w);
        break;
    }
}

static void each_changed_page_is_marked(void **state)
{
    struct world *w = *state;
    unsigned under_way = 0;
    uint16_t id = 0;

    /* Names of a packed ring come again when none is popped, so none is used twice at once. */
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (under_way < DEPTH && (!w->is_packed || w->popped == 0) && chance(4)) {
            offer_one(w, &id);
            under_way++;
        }
        for (unsigned call = 0; call < 12; call++) {
            begin_look(w);
            do_any(w);
            assert_changes_marked(w);
        }
        while (reap_one(w)) {
            under_way--;
        }
    }
    assert_false(w->ring.is_broken);
    assert_true(w->changes > ROUNDS);
}

/* Entries on one page, the index on another: each is marked where it is. */
static void elements_are_marked_where_they_are(void **state)
{
    struct world *w = *state;
    uint16_t id = 0;

    for (unsigned i = 0; i < 600; i++) {
        offer_one(w, &id);
        pop_all(w);
        begin_look(w);
        push_one(w);
        if (i >= 520) {
            assert_true(is_marked(w, used_addr(w) + PAGE));
            assert_false(is_marked(w, used_addr(w)));
        }
        (void)ring_publish(&w->ring);
        assert_true(is_marked(w, used_addr(w)));
        assert_true(reap_one(w));
    }
}

static void ring_without_a_log_marks_nothing(void **state)
{
    struct world *w = *state;
    uint16_t id = 0;

    ring_set_log(&w->ring, NULL, 0);
    begin_look(w);
    for (unsigned i = 0; i < 20; i++) {
        offer_one(w, &id);
        pop_all(w);
        push_one(w);
        ring_kicks_off(&w->ring);
        (void)ring_kicks_on(&w->ring);
        (void)ring_publish(&w->ring);
        assert_true(reap_one(w));
    }
    for (unsigned i = 0; i < LOG_BYTES; i++) {
        assert_int_equal(w->bits[i], 0);
    }
}

#define by(test, how)                                        \
    {                                                        \
#test ", " #how, test, how##_start, world_stop, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        by(each_changed_page_is_marked, split),
        by(each_changed_page_is_marked, split_flags),
        by(each_changed_page_is_marked, packed),
        by(each_changed_page_is_marked, packed_flags),
        by(elements_are_marked_where_they_are, split),
        by(ring_without_a_log_marks_nothing, split),
        by(ring_without_a_log_marks_nothing, packed),
    };

    return unit_run(tests);
}
