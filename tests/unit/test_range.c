/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/block/range.h"
#include "tests/unit/operation.h"

#define PLACES 64u

/* ---- against a model ---- */

#define ENTRIES 24u
#define STEPS 200000u

/* One who asks, and what the model knows of it: its places are bits. */
struct entry {
    struct range range;
    bool is_there;
    bool has;
    uint64_t order; /* of arrival */
};

struct model {
    struct context context;
    struct path path;
    struct ranges ranges;
    struct entry entry[ENTRIES];
    uint64_t random;
    uint64_t arrived;
    unsigned waited;
};

static unsigned below(uint64_t *random, unsigned limit)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random % limit);
}

static uint64_t bits_of(const struct entry *entry)
{
    return ((entry->range.length == PLACES ? 0 : 1ull << entry->range.length) - 1)
           << entry->range.offset;
}

/* Is it kept out by one that came before, in the model? */
static bool is_kept_out(const struct model *model, const struct entry *entry)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct entry *other = &model->entry[i];

        if (other->is_there && other->order < entry->order &&
            (bits_of(other) & bits_of(entry)) != 0 &&
            !(other->range.is_shared && entry->range.is_shared)) {
            return true;
        }
    }
    return false;
}

static void check_model(const struct model *model)
{
    uint64_t shared = 0;
    uint64_t alone = 0;

    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct entry *entry = &model->entry[i];

        if (!entry->is_there) {
            continue;
        }
        assert_int_equal(entry->has, !is_kept_out(model, entry));
        if (!entry->has) {
            continue;
        }
        assert_true((bits_of(entry) & alone) == 0);
        if (entry->range.is_shared) {
            shared |= bits_of(entry);
        } else {
            alone |= bits_of(entry);
        }
        assert_true((shared & alone) == 0);
    }
}

static void run_has(struct message *message)
{
    struct entry *entry = containerof(message, struct entry, range.message);

    assert(!entry->has);
    entry->has = true;
}

/* Who is told has it from then on. */
static void send_at_once(struct context *context, struct message *message)
{
    message->run(message);
}

static void arrive(struct model *model, struct entry *entry)
{
    unsigned offset = below(&model->random, PLACES);

    *entry = (struct entry){.is_there = true, .order = model->arrived++};
    entry->range = (struct range){.message = {.run = run_has},
                                  .path = &model->path,
                                  .offset = offset,
                                  .length = 1 + below(&model->random, min_of(PLACES - offset, 12u)),
                                  .is_shared = below(&model->random, 3) > 0};
    entry->has = range_take(&model->ranges, &entry->range);
    model->waited += !entry->has;
}

static void leave(struct model *model, struct entry *entry)
{
    entry->is_there = false;
    range_end(&model->ranges, &entry->range);
}

static void random_ranges_agree_with_a_bitmap(void **state)
{
    static const struct context_ops ops = {.send = send_at_once};
    static struct model model;

    model = (struct model){.context = {.ops = &ops}, .random = 20261126};
    model.path.context = &model.context;
    ranges_init(&model.ranges);
    for (unsigned i = 0; i < STEPS; i++) {
        struct entry *entry = &model.entry[below(&model.random, ENTRIES)];

        if (!entry->is_there) {
            arrive(&model, entry);
        } else if (entry->has) {
            leave(&model, entry);
        }
        check_model(&model);
    }
    assert_true(model.waited > STEPS / 20);
    for (unsigned left = ENTRIES; left > 0;) {
        left = 0;
        for (unsigned i = 0; i < ENTRIES; i++) {
            left += model.entry[i].is_there;
            if (model.entry[i].is_there && model.entry[i].has) {
                leave(&model, &model.entry[i]);
            }
        }
    }
    ranges_fini(&model.ranges);
}

/* ---- by one who asks ---- */

static bool take(struct model *model, struct entry *entry, uint64_t offset, bool is_shared)
{
    *entry = (struct entry){.is_there = true};
    entry->range = (struct range){.message = {.run = run_has},
                                  .path = &model->path,
                                  .offset = offset,
                                  .length = 8,
                                  .is_shared = is_shared};
    entry->has = range_take(&model->ranges, &entry->range);
    return entry->has;
}

/* Readers that come all the time do not keep a writer waiting for ever. */
static void who_wants_it_alone_goes_before_those_who_share_and_came_later(void **state)
{
    static const struct context_ops ops = {.send = send_at_once};
    struct model model = {.context = {.ops = &ops}};
    struct entry *entry = model.entry;

    model.path.context = &model.context;
    ranges_init(&model.ranges);
    assert_true(take(&model, &entry[0], 0, true));
    assert_true(take(&model, &entry[1], 4, true));
    assert_false(take(&model, &entry[2], 4, false));
    assert_false(take(&model, &entry[3], 8, true));
    assert_true(take(&model, &entry[4], 12, true)); /* it touches none that is alone */
    leave(&model, &entry[0]);
    assert_false(entry[2].has);
    leave(&model, &entry[1]);
    assert_true(entry[2].has);
    assert_false(entry[3].has);
    leave(&model, &entry[2]);
    assert_true(entry[3].has);
    leave(&model, &entry[3]);
    leave(&model, &entry[4]);
    ranges_fini(&model.ranges);
}

/* ---- whose thread it is ---- */

static bool is_current;

static bool tell_current(const struct context *context)
{
    return is_current;
}

/* In a process of its own: another thread, a helper for one, ends it. */
static void end_elsewhere(struct model *model, struct entry *entry)
{
    const struct rlimit no_core = {0};

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)freopen("/dev/null", "w", stderr);
    is_current = false;
    leave(model, entry);
    _exit(EXIT_SUCCESS);
}

static void range_is_ended_by_the_thread_of_its_path_alone(void **state)
{
    static const struct context_ops ops = {.send = send_at_once, .is_current = tell_current};
    struct model model = {.context = {.ops = &ops}};
    int status;
    pid_t pid;

    is_current = true;
    model.path.context = &model.context;
    ranges_init(&model.ranges);
    assert_true(take(&model, &model.entry[0], 0, false));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        end_elsewhere(&model, &model.entry[0]);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    leave(&model, &model.entry[0]);
    ranges_fini(&model.ranges);
}

/* ---- on threads ---- */

#define THREADS 4u
#define TURNS 4000u

/* What a range is for: no lock and no atomic of its own. */
struct place {
    unsigned first;
    unsigned second;
};

static struct place places[PLACES];
static struct ranges ranges;

struct worker {
    pthread_t thread;
    struct reachable reachable;
    struct path path;
    struct range range;
    atomic_bool has;
    uint64_t random;
    unsigned changes; /* of places, one by one */
};

static void run_worker_has(struct message *message)
{
    struct worker *worker = containerof(message, struct worker, range.message);

    assert(!worker->has);
    worker->has = true;
}

static void use(struct worker *worker)
{
    const struct range *range = &worker->range;

    for (uint64_t i = range->offset; i < range->offset + range->length; i++) {
        if (range->is_shared) {
            assert(places[i].first == places[i].second);
        } else {
            places[i].first++;
            worker->changes++;
        }
    }
    sched_yield();
    for (uint64_t i = range->offset; !range->is_shared && i < range->offset + range->length; i++) {
        places[i].second++;
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned offset = below(&worker->random, PLACES);
        unsigned length = 1 + below(&worker->random, PLACES - offset);

        worker->range = (struct range){.message = {.run = run_worker_has},
                                       .path = &worker->path,
                                       .offset = offset,
                                       .length = length,
                                       .is_shared = below(&worker->random, 2)};
        worker->has = false;
        if (!range_take(&ranges, &worker->range)) {
            reachable_serve(&worker->reachable, &worker->has);
        }
        use(worker);
        range_end(&ranges, &worker->range);
    }
    return NULL;
}

static void threads_keep_out_of_what_another_has(void **state)
{
    static struct worker workers[THREADS];
    unsigned changes = 0;

    ranges_init(&ranges);
    for (unsigned i = 0; i < THREADS; i++) {
        reachable_init(&workers[i].reachable);
        workers[i].path.context = &workers[i].reachable.context;
        workers[i].random = 20261126 + i;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        changes += workers[i].changes;
    }
    for (unsigned i = 0; i < PLACES; i++) {
        assert_int_equal(places[i].first, places[i].second);
        changes -= places[i].first;
    }
    assert_int_equal(changes, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        reachable_fini(&workers[i].reachable);
    }
    ranges_fini(&ranges);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_ranges_agree_with_a_bitmap),
        cmocka_unit_test(who_wants_it_alone_goes_before_those_who_share_and_came_later),
        cmocka_unit_test(range_is_ended_by_the_thread_of_its_path_alone),
        cmocka_unit_test(threads_keep_out_of_what_another_has),
    };

    return unit_run(tests);
}
