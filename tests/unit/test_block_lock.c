/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "core/block/block_lock.h"
#include "core/block/context.h"
#include "tests/unit/chance.h"
#include "tests/unit/operation.h"

#define PLACES 64u
#define LANES 3u

/* ---- against a model ---- */

#define ENTRIES 32u
#define STEPS 200000u

/* One who asks, and what the model knows of it: its places are bits. */
struct entry {
    struct block_lock lock;
    bool is_there;
    bool has;
    uint64_t order; /* of arrival */
};

struct model {
    struct context context[LANES];
    struct block_lane lane[LANES];
    struct block_locks locks;
    struct entry entry[ENTRIES];
    uint64_t random;
    uint64_t arrived;
    unsigned waited;
};

static void wake(struct context *context)
{
}

static void send_at_once(struct context *context, struct message *message)
{
    message->run(message);
}

static const struct context_ops ops = {.wake = wake, .send = send_at_once};

static uint64_t bits_of(const struct entry *entry)
{
    uint64_t length = entry->lock.end - entry->lock.first;

    return ((length == PLACES ? 0 : 1ull << length) - 1) << entry->lock.first;
}

static bool is_kept_out(const struct model *model, const struct entry *entry)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct entry *other = &model->entry[i];

        if (other->is_there && other->order < entry->order &&
            (bits_of(other) & bits_of(entry)) != 0 &&
            (other->lock.is_alone || entry->lock.is_alone)) {
            return true;
        }
    }
    return false;
}

static void check_model(const struct model *model)
{
    unsigned alone = 0;

    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct entry *entry = &model->entry[i];

        alone += entry->is_there && entry->lock.is_alone;
        assert_true(!entry->is_there || entry->has == !is_kept_out(model, entry));
    }
    assert_int_equal(model->locks.alone_count, alone);
    assert_true(alone > 0 || !model->locks.waiting.first);
}

static void on_had(struct block_lock *lock)
{
    struct entry *entry = containerof(lock, struct entry, lock);

    assert(!entry->has);
    entry->has = true;
}

static void arrive(struct model *model, struct entry *entry)
{
    unsigned first = chance_below(&model->random, PLACES);
    unsigned length = 1 + chance_below(&model->random, min_of(PLACES - first, 10u));

    *entry = (struct entry){.is_there = true, .order = model->arrived++};
    entry->lock = (struct block_lock){.had = on_had, .first = first, .end = first + length};
    entry->lock.is_alone = chance_below(&model->random, 4) == 0;
    entry->has = block_lock_take(&model->lane[chance_below(&model->random, LANES)], &entry->lock);
    model->waited += !entry->has;
}

static void leave(struct entry *entry)
{
    entry->is_there = false;
    block_lock_end(&entry->lock);
}

static void start_model(struct model *model)
{
    *model = (struct model){.random = 20261128};
    block_locks_init(&model->locks);
    for (unsigned i = 0; i < LANES; i++) {
        model->context[i].ops = &ops;
        block_lane_open(&model->lane[i], &model->locks, &model->context[i]);
    }
}

static void stop_model(struct model *model)
{
    for (unsigned i = 0; i < LANES; i++) {
        block_lane_close(&model->lane[i]);
    }
    block_locks_fini(&model->locks);
}

static void random_locks_agree_with_a_bitmap(void **state)
{
    static struct model model;

    start_model(&model);
    for (unsigned i = 0; i < STEPS; i++) {
        struct entry *entry = &model.entry[chance_below(&model.random, ENTRIES)];

        if (!entry->is_there && i / 1000 % 2 == 0) { /* now and then all leave */
            arrive(&model, entry);
        } else if (entry->is_there && entry->has) {
            leave(entry);
        }
        check_model(&model);
    }
    assert_true(model.waited > STEPS / 20);
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_false(model.entry[i].is_there);
    }
    stop_model(&model);
}

/* ---- one amid the other ---- */

/* At the `at`th moment in which the one that is watched holds no mutex, the other does all of its.
 */
static struct {
    void (*other)(void);
    unsigned at;
    unsigned moments;
    unsigned held;
} amid;

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static void pass_moment(void)
{
    void (*other)(void) = amid.other;

    if (other && amid.held == 0 && amid.moments++ == amid.at) {
        amid.other = NULL;
        other();
    }
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    pass_moment();
    if (amid.other) {
        amid.held++;
    }
    return __real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int ret = __real_pthread_mutex_unlock(mutex);

    if (amid.other) {
        amid.held--;
    }
    pass_moment();
    return ret;
}

static struct model duel;

/* All want the same places, on lanes of their own. */
static void want(unsigned index, bool is_alone)
{
    struct entry *entry = &duel.entry[index];

    *entry = (struct entry){.is_there = true};
    entry->lock = (struct block_lock){.had = on_had, .first = 8, .end = 16, .is_alone = is_alone};
    if (block_lock_take(&duel.lane[index % LANES], &entry->lock)) {
        assert_false(entry->has);
        entry->has = true;
    }
}

static void give_up(unsigned index)
{
    leave(&duel.entry[index]);
}

static unsigned count_had(bool is_alone)
{
    unsigned had = 0;

    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct entry *entry = &duel.entry[i];

        had += entry->is_there && entry->has && entry->lock.is_alone == is_alone;
    }
    return had;
}

/* Whoever is there comes to have it, one after the other, and nobody beside one who is alone. */
static void check_that_all_end(void)
{
    unsigned there;

    do {
        struct entry *first = NULL;

        assert_true(count_had(true) == 0 || count_had(true) + count_had(false) == 1);
        there = 0;
        for (unsigned i = 0; i < ENTRIES; i++) {
            there += duel.entry[i].is_there;
            first = !first && duel.entry[i].is_there && duel.entry[i].has ? &duel.entry[i] : first;
        }
        assert_true(there == 0 || first);
        if (first) {
            leave(first);
        }
    } while (there > 0);
    assert_int_equal(duel.locks.alone_count, 0);
    assert_null(duel.locks.waiting.first);
}

static void want_first_shared(void)
{
    want(0, false);
}

static void want_first_alone(void)
{
    want(0, true);
}

static void want_second_shared(void)
{
    want(1, false);
}

static void want_second_alone(void)
{
    want(1, true);
}

static void give_up_first(void)
{
    give_up(0);
}

static void give_up_second(void)
{
    give_up(1);
}

static void nobody_is_there(void)
{
}

static void first_is_alone(void)
{
    want(0, true);
}

static void first_shares(void)
{
    want(0, false);
}

static void both_share_and_a_third_waits_to_be_alone(void)
{
    want(0, false);
    want(1, false);
    want(2, true);
}

static void first_shares_and_others_wait(void)
{
    want(0, false);
    want(2, true);
    want(3, false);
}

static void first_is_alone_and_others_wait(void)
{
    want(0, true);
    want(2, false);
    want(3, true);
}

static void nobody_misses_who_comes_or_goes_amid_its_own(void **state)
{
    static const struct {
        void (*begin)(void);
        void (*one)(void);
        void (*other)(void);
    } cases[] = {
        {nobody_is_there, want_first_shared, want_second_alone},
        {nobody_is_there, want_first_alone, want_second_shared},
        {nobody_is_there, want_first_alone, want_second_alone},
        {first_is_alone, want_second_shared, give_up_first},
        {first_is_alone, want_second_alone, give_up_first},
        {first_is_alone, give_up_first, want_second_shared},
        {first_is_alone, give_up_first, want_second_alone},
        {first_shares, want_second_alone, give_up_first},
        {first_shares, give_up_first, want_second_alone},
        {both_share_and_a_third_waits_to_be_alone, give_up_first, give_up_second},
        {first_shares_and_others_wait, give_up_first, want_second_alone},
        {first_shares_and_others_wait, give_up_first, want_second_shared},
        {first_is_alone_and_others_wait, give_up_first, want_second_alone},
        {first_is_alone_and_others_wait, want_second_shared, give_up_first},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        bool was_amid = true;

        for (unsigned at = 0; was_amid; at++) {
            start_model(&duel);
            cases[i].begin();
            amid.moments = 0;
            amid.held = 0;
            amid.at = at;
            amid.other = cases[i].other;
            cases[i].one();
            was_amid = !amid.other;
            amid.other = NULL;
            if (!was_amid) {
                cases[i].other();
            }
            check_that_all_end();
            stop_model(&duel);
            assert_true(at > 0 || was_amid);
        }
    }
}

/* ---- on threads ---- */

#define THREADS 4u
#define TURNS 20000u

/* What a lock is for: no mutex and no atomic of its own, but one part for each who shares. */
static struct place {
    unsigned first[THREADS];
    unsigned second[THREADS];
} places[PLACES];

static struct block_locks locks;

struct worker {
    pthread_t thread;
    unsigned index;
    struct reachable reachable;
    struct block_lane lane;
    struct block_lock lock;
    atomic_bool has;
    uint64_t random;
    unsigned changes;
};

static void on_worker_had(struct block_lock *lock)
{
    struct worker *worker = containerof(lock, struct worker, lock);

    assert(!worker->has);
    worker->has = true;
}

/* Who is alone sees and changes everybody's. */
static void use(struct worker *worker, unsigned from, unsigned to)
{
    for (uint64_t i = worker->lock.first; i < worker->lock.end; i++) {
        for (unsigned who = from; who < to; who++) {
            assert(places[i].first[who] == places[i].second[who]);
            places[i].first[who]++;
        }
    }
    if (chance_below(&worker->random, 4) == 0) {
        sched_yield();
    }
    for (uint64_t i = worker->lock.first; i < worker->lock.end; i++) {
        for (unsigned who = from; who < to; who++) {
            places[i].second[who]++;
        }
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned first = chance_below(&worker->random, PLACES);
        unsigned length = 1 + chance_below(&worker->random, min_of(PLACES - first, 6u));

        worker->lock =
            (struct block_lock){.had = on_worker_had, .first = first, .end = first + length};
        worker->lock.is_alone = chance_below(&worker->random, 8) == 0;
        worker->has = false;
        if (!block_lock_take(&worker->lane, &worker->lock)) {
            reachable_serve(&worker->reachable, &worker->has);
        }
        if (worker->lock.is_alone) {
            use(worker, 0, THREADS);
        } else {
            use(worker, worker->index, worker->index + 1);
        }
        block_lock_end(&worker->lock);
    }
    return NULL;
}

static void threads_keep_out_of_what_another_has_alone(void **state)
{
    static struct worker workers[THREADS];

    block_locks_init(&locks);
    for (unsigned i = 0; i < THREADS; i++) {
        reachable_init(&workers[i].reachable);
        block_lane_open(&workers[i].lane, &locks, &workers[i].reachable.context);
        workers[i].index = i;
        workers[i].random = 20261128 + i;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        block_lane_close(&workers[i].lane);
        reachable_fini(&workers[i].reachable);
    }
    assert_int_equal(locks.alone_count, 0);
    block_locks_fini(&locks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_locks_agree_with_a_bitmap),
        cmocka_unit_test(nobody_misses_who_comes_or_goes_amid_its_own),
        cmocka_unit_test(threads_keep_out_of_what_another_has_alone),
    };

    return unit_run(tests);
}
