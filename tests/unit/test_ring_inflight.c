/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The log of requests in flight, for both formats.  A device is killed between any two of its
 * instructions, again and again, and whoever comes next tries again what it has not answered, in
 * its order, and nothing else.
 */

#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "core/virtio/inflight.h"
#include "tests/lib/find_parts.h"
#include "tests/lib/packed.h"
#include "tests/unit/chance.h"

#define SIZE 16u
#define PAGE 4096u
#define GUEST 0x100000ull
#define ARENA_BYTES (16ull * PAGE)
#define LOG_BYTES PAGE
#define KILLS 1000u
#define STEPS 300u /* instructions that are looked at one by one, at most */

/* A driver of either format, a log, and a device that may end at any time. */
struct world {
    struct mem mem;
    struct arena arena;
    bool is_packed;
    bool is_in_order;
    struct driver split;
    struct packed packed;
    struct ring ring;
    uint8_t *log; /* shared with devices that are killed */
    uint64_t log_bytes;
    uint64_t data;
    uint32_t seq;               /* of requests, from 1 on */
    uint32_t outstanding[SIZE]; /* by name: which it is, 0: none */
    uint32_t reaped;            /* the last that was answered */
    struct chain *popped[SIZE];
    unsigned popped_count;
};

static int start_ring(struct world *w, uint32_t base)
{
    struct ring_layout layout = {
        .size = SIZE,
        .parts =
            w->is_packed ? packed_parts(&w->packed, &w->mem) : find_parts(&w->mem, &w->split.ring),
        .base = base,
        .is_packed = w->is_packed,
        .has_event_idx = true,
        .has_indirect = true,
        .is_in_order = w->is_in_order,
        .slot_size = sizeof(struct chain),
        .slot_iovs = 4,
        .inflight = {.at = w->log, .bytes = w->log_bytes},
    };

    w->popped_count = 0;
    return ring_start(&w->ring, &layout, &w->mem);
}

/* As a front-end that only knows of the beginning. */
static uint32_t first_base(const struct world *w)
{
    return w->is_packed ? RING_PACKED_BASE : 0;
}

static void start(struct world *w)
{
    assert_int_equal(start_ring(w, first_base(w)), 0);
}

static int world_start(void **state, bool is_packed)
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
    w.log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(w.log != MAP_FAILED);
    w.log_bytes = ring_inflight_bytes(is_packed, SIZE);
    *state = &w;
    return 0;
}

static int split_start(void **state)
{
    return world_start(state, false);
}

static int packed_start(void **state)
{
    return world_start(state, true);
}

static int split_in_order_start(void **state)
{
    (void)split_start(state);
    ((struct world *)*state)->is_in_order = true;
    return 0;
}

static int packed_in_order_start(void **state)
{
    (void)packed_start(state);
    ((struct world *)*state)->is_in_order = true;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    ring_stop(&w->ring);
    munmap(w->log, LOG_BYTES);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

/* ---- the driver ---- */

static int free_name(const struct world *w)
{
    int id = 0;

    while (id < (int)SIZE && w->packed.count[id] > 0) {
        id++;
    }
    return id < (int)SIZE ? id : -1;
}

/* Of one to three pieces, if there is room.  Returns its name, or -1. */
static int offer_one(struct world *w)
{
    const struct piece pieces[3] = {piece_out(w->data, 16), piece_in(w->data + 64, 32),
                                    piece_in(w->data + 128, 1)};
    unsigned count = 1 + chance(3);
    int id = -1;

    if (w->is_packed) {
        id = w->packed.offered - w->packed.taken <= SIZE - count ? free_name(w) : -1;
        if (id >= 0) {
            packed_offer(&w->packed, pieces, count, (uint16_t)id);
        }
    } else if (w->split.free_count >= count) {
        id = driver_chain(&w->split, pieces, count);
        driver_offer(&w->split, (uint16_t)id);
    }
    if (id >= 0) {
        assert_int_equal(w->outstanding[id], 0);
        w->outstanding[id] = ++w->seq;
    }
    return id;
}

/* Each answer is one to what is outstanding. */
static unsigned reap_all(struct world *w)
{
    struct used used;
    unsigned count = 0;

    while (w->is_packed ? packed_reap(&w->packed, &used) : driver_reap(&w->split, &used)) {
        assert_in_range(used.id, 0, SIZE - 1);
        assert_int_not_equal(w->outstanding[used.id], 0);
        assert_int_equal(used.len, w->outstanding[used.id] % 7);
        if (w->is_in_order) {
            assert_int_equal(w->outstanding[used.id], w->reaped + 1);
        }
        w->reaped = w->outstanding[used.id];
        w->outstanding[used.id] = 0;
        count++;
    }
    return count;
}

/* ---- the device ---- */

static bool pop_one(struct world *w)
{
    struct chain *chain;
    bool has_any = ring_pop(&w->ring, &chain) > 0;

    if (has_any) {
        w->popped[w->popped_count++] = chain;
    }
    return has_any;
}

static void push_any(struct world *w)
{
    unsigned which = chance(w->popped_count);
    struct chain *chain = w->popped[which];

    w->popped[which] = w->popped[--w->popped_count];
    ring_push(&w->ring, chain, w->outstanding[chain->id] % 7);
}

static void hold_and_retry(struct world *w)
{
    ring_hold(&w->ring, w->popped[--w->popped_count]);
    if (chance(2)) {
        ring_retry(&w->ring);
    }
}

static void work(struct world *w)
{
    switch (chance(8)) {
    case 0:
    case 1:
    case 2:
        (void)pop_one(w);
        break;
    case 3:
    case 4:
        if (w->popped_count > 0) {
            push_any(w);
        }
        break;
    case 5:
        if (w->popped_count > 0) {
            hold_and_retry(w);
        }
        break;
    case 6:
        ring_kicks_off(&w->ring);
        (void)ring_kicks_on(&w->ring);
        break;
    default:
        if (ring_has_unpublished(&w->ring)) {
            (void)ring_publish(&w->ring);
        }
    }
}

/*
 * Take over: what is popped, the oldest first, is what is outstanding, all of it and once.
 * Returns how many were found in the log.
 */
static unsigned take_over(struct world *w)
{
    uint32_t last = 0;
    unsigned found, outstanding = 0;

    start(w);
    assert_false(w->ring.is_broken);
    found = w->ring.held_count;
    while (pop_one(w)) {
        uint32_t seq = w->outstanding[w->popped[w->popped_count - 1]->id];

        assert_true(seq > last);
        last = seq;
    }
    assert_false(w->ring.is_broken);
    for (unsigned i = 0; i < SIZE; i++) {
        outstanding += w->outstanding[i] > 0;
    }
    assert_int_equal(w->popped_count, outstanding);
    return found;
}

/* ---- a device that is killed ---- */

static _Noreturn void device_process(struct world *w, unsigned before)
{
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    if (before == 0) {
        raise(SIGSTOP); /* it may not even have started the ring */
    }
    if (start_ring(w, first_base(w)) < 0) {
        _exit(1);
    }
    for (unsigned i = 1; i < before + 8; i++) {
        if (i == before) {
            raise(SIGSTOP);
        }
        work(w);
    }
    _exit(0);
}

static bool is_stopped(pid_t pid)
{
    int status;

    return waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
}

/* False: nobody may be traced here. */
static bool kill_somewhere(struct world *w)
{
    unsigned before = chance(40);
    unsigned steps = chance(STEPS);
    pid_t pid = fork();
    bool is_traced;

    assert(pid >= 0);
    if (pid == 0) {
        device_process(w, before);
    }
    is_traced = is_stopped(pid);
    for (unsigned i = 0; is_traced && i < steps; i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 || !is_stopped(pid)) {
            break; /* it has come to its end */
        }
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return is_traced;
}

static void each_request_is_answered_once_wherever_devices_are_killed(void **state)
{
    struct world *w = *state;
    unsigned found = 0, answered = 0;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* it traces processes itself */
    }
    for (unsigned i = 0; i < KILLS; i++) {
        for (unsigned n = chance(8); n > 0 && offer_one(w) >= 0; n--) {
        }
        if (!kill_somewhere(w)) {
            skip();
        }
        answered += reap_all(w);
        found += take_over(w);
        for (unsigned n = chance(SIZE); n > 0 && w->popped_count > 0; n--) {
            push_any(w);
        }
        (void)ring_publish(&w->ring);
        answered += reap_all(w);
        ring_stop(&w->ring);
    }
    assert_in_range(found, KILLS, KILLS * SIZE); /* it was no idle run */
    assert_in_range(answered, KILLS, KILLS * SIZE);
}

/* ---- what a log may say ---- */

static void fresh_log_starts_at_the_base(void **state)
{
    struct world *w = *state;
    uint32_t base = w->is_packed ? 0x00050005u : 5;

    if (w->is_packed) {
        packed_reset(&w->packed, SIZE + 5);
    } else {
        driver_reset(&w->split, 5);
    }
    assert_int_equal(start_ring(w, base), 0);
    assert_int_equal(ring_base(&w->ring), base);
    assert_int_equal(w->ring.held_count, 0);
    assert_true(offer_one(w) >= 0);
    assert_true(pop_one(w));
    push_any(w);
    (void)ring_publish(&w->ring);
    assert_int_equal(reap_all(w), 1);
}

/* The base that a front-end tells is the one that it heard of last. */
static void log_goes_before_the_base(void **state)
{
    struct world *w = *state;
    uint32_t base;

    start(w);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(offer_one(w) >= 0);
        assert_true(pop_one(w));
    }
    push_any(w);
    push_any(w);
    (void)ring_publish(&w->ring);
    assert_int_equal(reap_all(w), 2);
    base = ring_base(&w->ring);
    ring_stop(&w->ring);
    assert_int_equal(take_over(w), 3);
    assert_int_equal(ring_base(&w->ring), base);
    assert_false(ring_has_moved(&w->ring));
}

static void what_was_tried_again_goes_on_above_the_highest_counter(void **state)
{
    struct world *w = *state;

    start(w);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    assert_true(offer_one(w) >= 0 && pop_one(w));
    ring_stop(&w->ring);
    assert_int_equal(take_over(w), 2);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    ring_stop(&w->ring);
    assert_int_equal(take_over(w), 3);
}

/* Of a request in flight, in the log. */
static uint64_t *counter_of(struct world *w, unsigned id)
{
    struct inflight_packed *log = (struct inflight_packed *)w->log;
    unsigned at = 0;

    if (!w->is_packed) {
        return &((struct inflight_split *)w->log)->desc[id].counter;
    }
    while (!log->desc[at].is_inflight || log->desc[at].id != id) {
        assert_true(++at < SIZE);
    }
    return &log->desc[at].counter;
}

/* A disk that is started when the ring was taken over already, and nothing tried. */
static void order_of_the_log_outlives_a_retry(void **state)
{
    struct world *w = *state;
    unsigned first, second;

    start(w);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    assert_true(offer_one(w) >= 0 && pop_one(w));
    first = w->popped[1]->id;
    second = w->popped[0]->id;
    assert_true(first > second);
    *counter_of(w, second) = *counter_of(w, first) + 1;
    ring_stop(&w->ring);
    start(w);
    ring_retry(&w->ring);
    assert_true(pop_one(w) && pop_one(w));
    assert_int_equal(w->popped[0]->id, first);
    assert_int_equal(w->popped[1]->id, second);
    assert_false(pop_one(w));
    ring_hold(&w->ring, w->popped[1]);
    assert_false(pop_one(w));
    ring_retry(&w->ring);
    assert_true(pop_one(w));
}

static void held_requests_are_found_by_the_next(void **state)
{
    struct world *w = *state;

    start(w);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    ring_hold(&w->ring, w->popped[0]);
    ring_stop(&w->ring);
    assert_int_equal(take_over(w), 1);
}

static void forgotten_log_is_a_fresh_one(void **state)
{
    struct world *w = *state;
    const struct inflight_area area = {.at = w->log, .bytes = w->log_bytes};

    start(w);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    ring_stop(&w->ring);
    ring_inflight_forget(&area);
    if (w->is_packed) {
        packed_reset(&w->packed, 0);
    } else {
        driver_reset(&w->split, 0);
    }
    memset(w->outstanding, 0, sizeof(w->outstanding));
    assert_int_equal(take_over(w), 0);
}

static void assert_broken(struct world *w, const char *fault)
{
    struct chain *chain;

    start(w);
    assert_true(w->ring.is_broken);
    assert_non_null(strstr(w->ring.fault, fault));
    assert_int_equal(ring_pop(&w->ring, &chain), -EPROTO);
    ring_stop(&w->ring);
}

static void log_of_another_form_is_refused(void **state)
{
    struct world *w = *state;
    struct inflight_split *log = (struct inflight_split *)w->log;

    log->version = 2;
    assert_broken(w, "version");
    log->version = 1;
    log->features = 1;
    assert_broken(w, "version");
    log->features = 0;
    log->desc_num = SIZE / 2;
    assert_broken(w, "not of this ring");
    log->desc_num = UINT16_MAX;
    assert_broken(w, "not of this ring");
    w->log_bytes = ring_inflight_bytes(w->is_packed, SIZE / 2);
    assert_broken(w, "too small");
    log->version = 0;
    assert_broken(w, "too small");
    w->log_bytes = ring_inflight_bytes(w->is_packed, SIZE);
}

/* Not even its head lies in what was shared. */
static void log_is_not_read_past_its_end(void **state)
{
    struct world *w = *state;
    uint8_t *whole = w->log;
    uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages, PAGE, PROT_READ | PROT_WRITE), 0);
    w->log_bytes = sizeof(uint64_t);
    w->log = pages + PAGE - w->log_bytes;
    assert_broken(w, "too small");
    w->log = whole;
    munmap(pages, 2 * PAGE);
}

/* With requests in flight at an index that the ring has not. */
static void log_of_another_ring_is_refused(void **state)
{
    struct world *w = *state;

    start(w);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    ring_stop(&w->ring);
    if (w->is_packed) {
        ((struct inflight_packed *)w->log)->desc[0].num = 2;
    } else {
        ((struct inflight_split *)w->log)->used_idx = 0x4000;
    }
    assert_broken(w, "not of this ring");
}

/* Drivers begin anew, and not each front-end throws away what it kept. */
static void log_with_nothing_in_flight_suits_any_split_ring(void **state)
{
    struct world *w = *state;

    start(w);
    ring_stop(&w->ring);
    ((struct inflight_split *)w->log)->used_idx = 0x4000;
    assert_true(offer_one(w) >= 0);
    assert_int_equal(take_over(w), 0);
}

/* Whatever others write to it, at any time, nothing but its own ring suffers. */
static void log_of_lies_is_survived(void **state)
{
    struct world *w = *state;
    unsigned broken = 0;

    for (unsigned i = 0; i < 4000; i++) {
        unsigned spoilt = 1 + chance(4);

        start(w);
        for (unsigned n = 0; n < 12; n++) {
            (void)offer_one(w);
            if (n == 6) {
                w->log[chance((uint32_t)w->log_bytes)] = (uint8_t)chance(256);
            }
            work(w);
        }
        ring_stop(&w->ring);
        for (; spoilt > 0; spoilt--) {
            w->log[chance((uint32_t)w->log_bytes)] = (uint8_t)chance(20);
        }
        start(w);
        while (w->popped_count < SIZE && pop_one(w)) {
        }
        broken += w->ring.is_broken;
        ring_stop(&w->ring);
        memset(w->log, 0, w->log_bytes);
        memset(w->outstanding, 0, sizeof(w->outstanding));
        memset(w->packed.count, 0, sizeof(w->packed.count));
        if (w->is_packed) {
            packed_reset(&w->packed, 0);
        } else {
            driver_reset(&w->split, 0);
        }
    }
    assert_in_range(broken, 100, 4000);
}

/* A front-end that keeps no log goes on where it heard of the ring last. */
static void stale_base_of_a_packed_ring_is_told(void **state)
{
    struct world *w = *state;

    w->log_bytes = 0;
    munmap(w->log, LOG_BYTES);
    w->log = NULL;
    start(w);
    assert_true(offer_one(w) >= 0 && pop_one(w));
    push_any(w);
    (void)ring_publish(&w->ring);
    assert_int_equal(reap_all(w), 1);
    ring_stop(&w->ring);
    assert_broken(w, "answered already");
}

#define by(test, how)                                        \
    {                                                        \
#test ", " #how, test, how##_start, world_stop, NULL \
    }
#define by_both(test) by(test, split), by(test, packed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        by_both(each_request_is_answered_once_wherever_devices_are_killed),
        by(each_request_is_answered_once_wherever_devices_are_killed, split_in_order),
        by(each_request_is_answered_once_wherever_devices_are_killed, packed_in_order),
        by_both(fresh_log_starts_at_the_base),
        by_both(log_goes_before_the_base),
        by_both(what_was_tried_again_goes_on_above_the_highest_counter),
        by_both(order_of_the_log_outlives_a_retry),
        by_both(held_requests_are_found_by_the_next),
        by_both(forgotten_log_is_a_fresh_one),
        by_both(log_of_another_form_is_refused),
        by_both(log_is_not_read_past_its_end),
        by_both(log_of_another_ring_is_refused),
        by(log_with_nothing_in_flight_suits_any_split_ring, split),
        by_both(log_of_lies_is_survived),
        by(stale_base_of_a_packed_ring_is_told, packed),
    };

    return unit_run(tests);
}
