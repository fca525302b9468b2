/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/virtio/mem.h"
#include "tests/unit/chance.h"

#define PAGE DIRTY_LOG_PAGE
#define LOG_BYTES 64u
#define LOG_PAGES (LOG_BYTES * 8u)
#define EDGE 16u /* bytes before and behind the log that are nobody's */

/* ---- bits ---- */

struct bits {
    uint8_t edge[EDGE], bits[LOG_BYTES], other_edge[EDGE];
};

static struct dirty_log log_of(struct bits *bits)
{
    memset(bits, 0, sizeof(*bits));
    return (struct dirty_log){.bits = bits->bits, .bytes = LOG_BYTES};
}

static bool has_bit(const uint8_t *bits, uint64_t page)
{
    return bits[page / 8] >> page % 8 & 1;
}

/* Are these the pages from `first` to `last`, and no others, nor anything beside the log? */
static void assert_marked(const struct bits *bits, uint64_t first, uint64_t last)
{
    static const uint8_t none[EDGE];

    for (uint64_t page = 0; page < LOG_PAGES; page++) {
        assert_int_equal(has_bit(bits->bits, page), page >= first && page <= last);
    }
    assert_memory_equal(bits->edge, none, EDGE);
    assert_memory_equal(bits->other_edge, none, EDGE);
}

static void assert_marks(uint64_t addr, uint64_t len, uint64_t first, uint64_t last)
{
    struct bits bits;
    const struct dirty_log log = log_of(&bits);

    dirty_log_mark(&log, addr, len);
    assert_marked(&bits, first, last);
}

static void each_byte_marks_its_page(void **state)
{
    assert_marks(0, 1, 0, 0);
    assert_marks(PAGE - 1, 1, 0, 0);
    assert_marks(PAGE, 1, 1, 1);
    assert_marks(LOG_PAGES * PAGE - 1, 1, LOG_PAGES - 1, LOG_PAGES - 1);
}

static void range_marks_all_pages_that_it_touches(void **state)
{
    assert_marks(PAGE - 1, 2, 0, 1);
    assert_marks(PAGE, PAGE, 1, 1);
    assert_marks(PAGE, PAGE + 1, 1, 2);
    assert_marks(7 * PAGE, 2 * PAGE, 7, 8);
    assert_marks(3 * PAGE + 1, 32 * PAGE, 3, 35);
    assert_marks(8 * PAGE, 8 * PAGE, 8, 15);
    assert_marks(0, LOG_PAGES * PAGE, 0, LOG_PAGES - 1);
}

static void any_range_marks_its_pages(void **state)
{
    chance_begin();
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t addr = chance(LOG_PAGES * PAGE);
        uint64_t len = 1 + chance((uint32_t)min_of(LOG_PAGES * PAGE - addr, 70 * PAGE));

        assert_marks(addr, len, addr / PAGE, (addr + len - 1) / PAGE);
    }
}

static void nothing_marks_nothing(void **state)
{
    assert_marks(5 * PAGE, 0, LOG_PAGES, 0);
    assert_marks(UINT64_MAX, 0, LOG_PAGES, 0);
}

static void what_is_past_the_log_is_not_touched(void **state)
{
    assert_marks(LOG_PAGES * PAGE, 1, LOG_PAGES, 0);
    assert_marks(LOG_PAGES * PAGE - 1, 2, LOG_PAGES, 0);
    assert_marks(0, LOG_PAGES * PAGE + 1, LOG_PAGES, 0);
    assert_marks(PAGE, UINT64_MAX, LOG_PAGES, 0);
    assert_marks(UINT64_MAX, 1, LOG_PAGES, 0);
}

static void marks_add_to_those_that_are_there(void **state)
{
    struct bits bits;
    const struct dirty_log log = log_of(&bits);

    for (uint64_t page = 9; page < 20; page++) {
        dirty_log_mark(&log, page * PAGE + page, 1);
    }
    assert_marked(&bits, 9, 19);
}

/* ---- several threads ---- */

#define ROUNDS 20000u

struct marker {
    struct dirty_log log;
    uint64_t page;
    _Atomic uint32_t stored[PAGE / sizeof(uint32_t)]; /* the page's memory: the first word counts */
    _Atomic bool is_over;
};

static void *mark_again_and_again(void *arg)
{
    struct marker *m = arg;

    for (uint32_t i = 1; i <= ROUNDS; i++) {
        atomic_store_explicit(&m->stored[0], i, memory_order_relaxed);
        dirty_log_mark(&m->log, m->page * PAGE, 1);
    }
    atomic_store(&m->is_over, true);
    return NULL;
}

/*
 * As a front-end does it: take bits away by words, then copy the pages.  Two threads mark pages
 * whose bits share a byte; whatever was stored last is copied.
 */
static void no_store_is_missed_by_who_takes_bits_away(void **state)
{
    static _Alignas(8) uint8_t bits[8];
    static struct marker marker[2];
    uint32_t copied[2] = {0};
    pthread_t thread[2];
    bool is_over = false;

    for (unsigned i = 0; i < 2; i++) {
        marker[i].log = (struct dirty_log){.bits = bits, .bytes = sizeof(bits)};
        marker[i].page = 3 + i;
        assert_int_equal(pthread_create(&thread[i], NULL, mark_again_and_again, &marker[i]), 0);
    }
    while (!is_over) {
        uint64_t taken;

        is_over = atomic_load(&marker[0].is_over) && atomic_load(&marker[1].is_over);
        taken = __atomic_exchange_n((uint64_t *)(void *)bits, 0, __ATOMIC_ACQUIRE);
        assert_int_equal(taken & ~(3ull << 3), 0);
        for (unsigned i = 0; i < 2; i++) {
            if (taken >> marker[i].page & 1) {
                copied[i] = atomic_load_explicit(&marker[i].stored[0], memory_order_relaxed);
            }
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(copied[i], ROUNDS);
    }
}

/* ---- the log of a memory ---- */

#define GUEST 0x10000ull
#define USER 0x7f0000000000ull
#define REGION (4 * PAGE)

/* Two regions of four pages, from GUEST and from twice that on; 12 pages beside them. */
struct world {
    struct mem mem;
    struct err err;
    int fd, log_fd;
    uint8_t *log; /* of LOG_BYTES, behind a page that is nobody's */
};

static int add(struct world *w, uint64_t guest, uint64_t offset)
{
    const struct mem_layout layout = {
        .guest_addr = guest, .size = REGION, .user_addr = USER + guest, .offset = offset};

    return mem_add(&w->mem, &layout, w->fd, &w->err);
}

static int open_log(struct world *w, uint64_t bytes)
{
    return mem_log_open(&w->mem, bytes, PAGE, w->log_fd, &w->err);
}

static int world_start(void **state)
{
    static struct world world;
    struct world *w = &world;

    memset(&w->err, 0, sizeof(w->err));
    w->fd = memfd_create("mem", MFD_CLOEXEC);
    w->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_return_code(ftruncate(w->fd, 2 * REGION), errno);
    assert_return_code(ftruncate(w->log_fd, 2 * PAGE), errno);
    w->log = (uint8_t *)mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, w->log_fd, 0);
    assert_true(w->log != MAP_FAILED);
    w->log += PAGE;
    mem_init(&w->mem);
    mem_guard_watch(&w->mem);
    assert_int_equal(add(w, GUEST, 0), 0);
    assert_int_equal(add(w, 2 * GUEST, REGION), 0);
    *state = w;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    mem_guard_watch(NULL);
    mem_log_close(&w->mem);
    mem_clear(&w->mem);
    assert_int_equal(w->mem.mapped, 0);
    munmap(w->log - PAGE, 2 * PAGE);
    close(w->fd);
    close(w->log_fd);
    return 0;
}

static void assert_only(const struct world *w, uint64_t first, uint64_t last)
{
    for (uint64_t page = 0; page < PAGE * 8; page++) {
        assert_int_equal(has_bit(w->log, page), page >= first && page <= last);
    }
    for (unsigned i = 1; i <= PAGE; i++) {
        assert_int_equal(w->log[-(int)i], 0);
    }
}

static void our_addresses_are_marked_as_the_guests(void **state)
{
    struct world *w = *state;
    uint8_t *first = mem_at(&w->mem, GUEST, 1);
    uint8_t *second = mem_at(&w->mem, 2 * GUEST, 1);

    assert_int_equal(open_log(w, LOG_BYTES), 0);
    mem_mark(&w->mem, first + 2 * PAGE - 1, 2);
    assert_only(w, 16 + 1, 16 + 2);
    memset(w->log, 0, LOG_BYTES);
    mem_mark(&w->mem, second, REGION);
    assert_only(w, 32, 35);
    memset(w->log, 0, LOG_BYTES);
    mem_mark(&w->mem, w, 1); /* no memory of the guest's */
    assert_only(w, 1, 0);
}

static void log_must_cover_all_memory(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_log(w, 0), -EINVAL);
    assert_int_equal(open_log(w, 4), -EINVAL);
    assert_string_equal(w->err.text,
                        "the log of a migration: with 4 bytes it ends before the memory "
                        "region at 0x20000 does");
    assert_null(w->mem.log.bits);
    assert_int_equal(open_log(w, 5), 0);
}

static void memory_past_the_log_is_refused(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_log(w, 5), 0);
    assert_int_equal(add(w, 40 * PAGE, 0), -EINVAL);
    assert_non_null(strstr(w->err.text, "lies past the end of the log of its migration"));
    assert_int_equal(add(w, 36 * PAGE, 0), 0);
    mem_log_close(&w->mem);
    assert_int_equal(add(w, 40 * PAGE, 0), 0);
}

static void log_that_its_file_does_not_hold_is_refused(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_log(w, PAGE + 1), -EINVAL);
    assert_string_equal(w->err.text, "the log of a migration: its file has 8192 bytes, 8193 are "
                                     "needed");
    assert_int_equal(open_log(w, DIRTY_LOG_MAX_BYTES + 1), -EINVAL);
    assert_int_equal(mem_log_open(&w->mem, LOG_BYTES, UINT64_MAX - 1, w->log_fd, NULL), -EINVAL);
    assert_int_equal(mem_log_open(&w->mem, LOG_BYTES, INT64_MAX, w->log_fd, NULL), -EINVAL);
    assert_int_equal(mem_log_open(&w->mem, LOG_BYTES, 0, -1, NULL), -EBADF);
    assert_null(w->mem.log.bits);
}

static void refused_log_leaves_the_one_before(void **state)
{
    struct world *w = *state;
    uint64_t mapped;

    assert_int_equal(open_log(w, LOG_BYTES), 0);
    mapped = w->mem.mapped;
    assert_int_equal(open_log(w, 4), -EINVAL);
    mem_mark(&w->mem, mem_at(&w->mem, GUEST, 1), 1);
    assert_only(w, 16, 16);
    assert_int_equal(open_log(w, LOG_BYTES), 0);
    assert_int_equal(w->mem.mapped, mapped);
}

static void log_may_begin_anywhere_in_its_file(void **state)
{
    struct world *w = *state;

    assert_int_equal(mem_log_open(&w->mem, LOG_BYTES, PAGE + 13, w->log_fd, NULL), 0);
    mem_mark(&w->mem, mem_at(&w->mem, GUEST, 1), REGION);
    assert_only(w, 13 * 8 + 16, 13 * 8 + 19);
}

static void log_outlives_a_table_that_is_replaced(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_log(w, LOG_BYTES), 0);
    mem_clear(&w->mem);
    assert_int_equal(add(w, 3 * GUEST, 0), 0);
    mem_mark(&w->mem, mem_at(&w->mem, 3 * GUEST, 1), 1);
    assert_only(w, 48, 48);
}

static void log_that_is_truncated_is_lost_and_touched_no_more(void **state)
{
    struct world *w = *state;
    uint8_t *at = mem_at(&w->mem, GUEST, 1);

    if (RUNNING_ON_VALGRIND) {
        skip();
    }
    mem_guard_install();
    assert_int_equal(open_log(w, LOG_BYTES), 0);
    (void)mem_guard_take();
    assert_return_code(ftruncate(w->log_fd, 0), errno);
    mem_mark(&w->mem, at, REGION);
    assert_true(mem_guard_take());
    assert_true(mem_is_lost(&w->mem));
    assert_string_equal(mem_why_lost(&w->mem), MEM_LOG_LOST);
    *at = 1; /* the memory is as it was */
    assert_return_code(ftruncate(w->log_fd, 2 * PAGE), errno);
    mem_mark(&w->mem, at, REGION);
    assert_only(w, 1, 0);
    assert_int_equal(open_log(w, LOG_BYTES), 0);
    assert_false(mem_is_lost(&w->mem));
    mem_mark(&w->mem, at, 1);
    assert_only(w, 16, 16);
}

#define world_test(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_marks_its_page),
        cmocka_unit_test(range_marks_all_pages_that_it_touches),
        cmocka_unit_test(any_range_marks_its_pages),
        cmocka_unit_test(nothing_marks_nothing),
        cmocka_unit_test(what_is_past_the_log_is_not_touched),
        cmocka_unit_test(marks_add_to_those_that_are_there),
        cmocka_unit_test(no_store_is_missed_by_who_takes_bits_away),
        world_test(our_addresses_are_marked_as_the_guests),
        world_test(log_must_cover_all_memory),
        world_test(memory_past_the_log_is_refused),
        world_test(log_that_its_file_does_not_hold_is_refused),
        world_test(refused_log_leaves_the_one_before),
        world_test(log_may_begin_anywhere_in_its_file),
        world_test(log_outlives_a_table_that_is_replaced),
        world_test(log_that_is_truncated_is_lost_and_touched_no_more),
    };

    return unit_run(tests);
}
