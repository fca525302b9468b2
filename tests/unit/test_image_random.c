/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/block/node_fault.h"
#include "core/block/node_file.h"
#include "core/block/node_forward.h"
#include "tests/unit/image_world.h"
#include "tests/unit/node_mirror.h"
#include "tests/unit/operation.h"

/*
 * Random traffic by each engine, and through filters, against a model of the image in memory.  In a
 * round no two requests touch the same block, so that their order, which nobody promises, does not
 * matter.
 */

#define SEED 20261121u
#define ROUNDS 60u
#define BLOCKS 256u
#define MAX_LENGTH 12u /* blocks */
#define BYTES (BLOCKS * (size_t)BLOCK)

struct traffic {
    uint64_t random;
    uint64_t first; /* of the image: bytes before ours */
    uint8_t *model;
    uint8_t *memory; /* the requests': block by block as on the image, moved by `shift` */
    unsigned shift;  /* bytes; not 0: O_DIRECT cannot take it */
    unsigned failed; /* by a fault of ours */
    unsigned count;
    struct operation ops[BLOCKS];
};

/* xorshift64 */
static unsigned below(struct traffic *t, unsigned limit)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return (unsigned)(t->random % limit);
}

static uint8_t *memory_at(struct traffic *t, uint64_t offset)
{
    return t->memory + t->shift + offset;
}

/* In some pieces, cut at blocks. */
static void add_pieces(struct traffic *t, struct operation *op, uint64_t offset, unsigned blocks)
{
    while (blocks > 0) {
        bool is_last = op->io.iov_count == OPERATION_IOVS - 1;
        unsigned piece = is_last ? blocks : 1 + below(t, blocks);

        operation_add(op, memory_at(t, offset), piece * BLOCK);
        offset += piece * BLOCK;
        blocks -= piece;
    }
}

static void make_request(struct traffic *t, unsigned first, unsigned blocks)
{
    struct operation *op = &t->ops[t->count++];
    uint64_t offset = first * (uint64_t)BLOCK;
    bool is_write = below(t, 2);

    operation_init(op, is_write ? IO_WRITE : IO_READ, t->first + offset, NULL, 0);
    op->io.flags = is_write && below(t, 8) == 0 ? IO_FUA : 0;
    add_pieces(t, op, offset, blocks);
    if (is_write) {
        fill_bytes(memory_at(t, offset), blocks * BLOCK, below(t, 1000));
    } else {
        memset(memory_at(t, offset), 0xcc, blocks * BLOCK);
    }
}

/* Neighbours mostly, of one kind now and then; gaps and a flush between them. */
static void make_round(struct traffic *t)
{
    unsigned first = 0;

    t->count = 0;
    t->shift = below(t, 4) ? 0 : 1 + below(t, 511);
    while (first < BLOCKS) {
        unsigned blocks = 1 + below(t, min_of(MAX_LENGTH, BLOCKS - first));

        if (below(t, 16) == 0) {
            operation_init(&t->ops[t->count++], IO_FLUSH, 0, NULL, 0);
            blocks = 1;
        } else if (below(t, 8)) {
            make_request(t, first, blocks);
        }
        first += blocks;
    }
}

static void check_request(struct traffic *t, const struct operation *op)
{
    uint8_t *model = t->model + op->io.offset - t->first;
    uint8_t *memory = memory_at(t, op->io.offset - t->first);

    if (op->io.result == -EXDEV) { /* and nothing has moved */
        t->failed++;
        return;
    }
    assert(op->io.result == 0);
    if (op->io.op == IO_WRITE) {
        memcpy(model, memory, op->io.length);
    } else if (op->io.op == IO_READ) {
        assert(memcmp(memory, model, op->io.length) == 0);
    }
}

static void run_round(struct traffic *t, struct path *path)
{
    make_round(t);
    /* Forwards, or backwards, when nothing can be merged. */
    for (unsigned i = 0, backwards = below(t, 4) == 0; i < t->count; i++) {
        operation_queue(&t->ops[backwards ? t->count - 1 - i : i], path);
    }
    assert(operations_run(path, t->ops, t->count));
    for (unsigned i = 0; i < t->count; i++) {
        check_request(t, &t->ops[i]);
    }
}

static void check_image(struct traffic *t, struct path *path)
{
    int64_t result;

    do {
        result = operation_do(path, IO_READ, t->first, t->memory, BYTES);
    } while (result == -EXDEV);
    assert(result == 0);
    assert(memcmp(t->memory, t->model, BYTES) == 0);
}

static void run_traffic(struct traffic *t, struct path *path)
{
    t->model = calloc(1, BYTES);
    t->memory = aligned_buffer(BYTES + BLOCK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        run_round(t, path);
    }
    check_image(t, path);
    free(t->memory);
    free(t->model);
}

/* Returns how many requests failed. */
static unsigned traffic_agrees_with_the_model(struct path *path)
{
    static struct traffic t;

    t = (struct traffic){.random = SEED};
    run_traffic(&t, path);
    return t.failed;
}

static void direct_traffic_agrees_with_the_model(void **state)
{
    assert_int_equal(traffic_agrees_with_the_model(image_world_open(*state, CACHE_NONE)), 0);
}

/* What is under way when it is said otherwise goes as it began. */
static void direct_traffic_through_huge_pages_agrees_with_the_model(void **state)
{
    static const enum huge_use uses[] = {HUGE_ON, HUGE_OFF, HUGE_ON, HUGE_AUTO};
    struct path *path = image_world_open(*state, CACHE_NONE);
    static struct traffic t;

    t = (struct traffic){.random = SEED, .model = calloc(1, BYTES)};
    t.memory = aligned_buffer(BYTES + BLOCK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        path->context->huge_use = uses[below(&t, ARRAY_SIZE(uses))];
        run_round(&t, path);
    }
    check_image(&t, path);
    free(t.memory);
    free(t.model);
}

static void buffered_traffic_agrees_with_the_model(void **state)
{
    assert_int_equal(traffic_agrees_with_the_model(image_world_open(*state, CACHE_WRITEBACK)), 0);
}

/* ---- through filters ---- */

static const struct fault_rule rules[] = {
    {.ops = 1 << IO_READ | 1 << IO_WRITE, .error = -EXDEV, .every = 23},
    {.ops = 1 << IO_READ | 1 << IO_WRITE, .delay_ns = NS_PER_MS / 5, .every = 7},
    {.ops = 1 << IO_WRITE, .error = -EXDEV, .delay_ns = NS_PER_MS, .every = 31},
};
static const struct fault_opts faults = {.rules = rules, .count = ARRAY_SIZE(rules)};
static const struct fault_opts only_late = {.rules = &rules[1], .count = 1};

/* Some fail, some are late, and so are overtaken; whatever has ended well has moved. */
static void traffic_with_faults_agrees_with_the_model(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    assert_int_equal(way_open_over(&w->way, &opts, &node_fault_ops, &faults, &w->err), 0);
    assert_true(traffic_agrees_with_the_model(w->way.path) > 0);
}

/* ---- on several threads ---- */

#define THREADS 4u /* of the image, BYTES each */

/* Each has a part of the image to itself, and a path; the first is the test's own thread. */
struct worker {
    pthread_t thread;
    unsigned index;
    struct reachable reachable;
    struct node *root;
    struct traffic traffic;
    void (*run)(struct traffic *t, struct path *path);
};

static atomic_uint working;
static atomic_bool is_over;

static struct path *begin_work(struct worker *worker)
{
    struct path *path;

    worker->traffic =
        (struct traffic){.random = SEED + worker->index, .first = worker->index * BYTES};
    assert(path_open(&path, worker->root, &worker->reachable.context, NULL) == 0);
    return path;
}

/* Paths are opened and closed one after the other, as the disk's thread has it done. */
static pthread_mutex_t one_by_one = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct path *path;

    pthread_mutex_lock(&one_by_one);
    path = begin_work(worker);
    pthread_mutex_unlock(&one_by_one);
    worker->run(&worker->traffic, path);
    pthread_mutex_lock(&one_by_one);
    path_close(path);
    pthread_mutex_unlock(&one_by_one);
    if (--working == 0) {
        is_over = true;
    }
    return NULL;
}

/* The home lane serves the others until they are done. */
static void run_workers(struct node *root, void (*run)(struct traffic *t, struct path *path))
{
    static struct worker workers[THREADS];
    struct path *home;

    working = THREADS - 1;
    is_over = false;
    for (unsigned i = 0; i < THREADS; i++) {
        reachable_init(&workers[i].reachable);
        workers[i].root = root;
        workers[i].index = i;
        workers[i].run = run;
    }
    home = begin_work(&workers[0]);
    for (unsigned i = 1; i < THREADS; i++) {
        assert(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    run(&workers[0].traffic, home);
    reachable_serve(&workers[0].reachable, &is_over);
    for (unsigned i = 1; i < THREADS; i++) {
        assert(pthread_join(workers[i].thread, NULL) == 0);
    }
    path_close(home);
    for (unsigned i = 0; i < THREADS; i++) {
        reachable_fini(&workers[i].reachable);
    }
}

static void traffic_on_threads(struct image_world *w, const struct node_ops *filter,
                               const void *filter_opts)
{
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct image *image;

    assert_int_equal(image_open(&image, &opts, &w->err), 0);
    if (filter) {
        assert_int_equal(node_open(&image->root, filter, image->root, filter_opts, &w->err), 0);
    }
    run_workers(image->root, run_traffic);
    image_close(image);
}

static void traffic_of_threads_agrees_with_the_model(void **state)
{
    traffic_on_threads(*state, NULL, NULL);
}

static void traffic_of_threads_with_faults_agrees_with_the_model(void **state)
{
    traffic_on_threads(*state, &node_fault_ops, &faults);
}

/* More than its lane has parcels for is asked at once. */
static void traffic_that_is_forwarded_agrees_with_the_model(void **state)
{
    traffic_on_threads(*state, &node_forward_ops, NULL);
}

/* ---- through a mirror ---- */

/* The world's image and another file; what is written to that is late now and then. */
static struct node *open_mirror(struct image_world *w)
{
    struct node *half[2], *mirror;

    image_world_make(w->other, IMAGE_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        struct image_opts opts = image_world_opts(w, i ? w->other : w->image, CACHE_WRITEBACK);

        assert_int_equal(node_open(&half[i], &node_file_ops, NULL, &opts, &w->err), 0);
    }
    assert_int_equal(node_open(&half[1], &node_fault_ops, half[1], &only_late, &w->err), 0);
    assert_int_equal(node_open_over(&mirror, &node_mirror_ops, half, 2, NULL, &w->err), 0);
    return mirror;
}

static void assert_halves_agree(const struct node *mirror)
{
    const size_t size = THREADS * BYTES;
    uint8_t *data[2];

    for (unsigned i = 0; i < 2; i++) {
        data[i] = aligned_buffer(size);
        assert_int_equal(pread(mirror->child[i]->facts.fd, data[i], size, 0), size);
    }
    assert_memory_equal(data[0], data[1], size);
    free(data[0]);
    free(data[1]);
}

static void traffic_through_a_mirror_agrees_with_the_model(void **state)
{
    struct node *mirror = open_mirror(*state);

    run_workers(mirror, run_traffic);
    assert_halves_agree(mirror);
    node_put(mirror);
}

/* To the same few blocks, by all threads at once. */
static void run_overlapping(struct traffic *t, struct path *path)
{
    t->memory = aligned_buffer(BYTES);
    t->shift = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        t->count = 8 + below(t, 24);
        fill_bytes(t->memory, BYTES, below(t, 1000));
        for (unsigned i = 0; i < t->count; i++) {
            unsigned first = below(t, 16);
            struct operation *op = &t->ops[i];

            operation_init(op, below(t, 4) ? IO_WRITE : IO_READ, first * BLOCK, NULL, 0);
            operation_add(op, t->memory + i * MAX_LENGTH / 2 * BLOCK,
                          (1 + below(t, MAX_LENGTH / 2)) * BLOCK);
            operation_queue(op, path);
        }
        assert(operations_run(path, t->ops, t->count));
    }
    free(t->memory);
}

static void what_overlaps_leaves_both_halves_of_a_mirror_the_same(void **state)
{
    struct node *mirror = open_mirror(*state);

    run_workers(mirror, run_overlapping);
    assert_halves_agree(mirror);
    node_put(mirror);
}

/* ---- through a tree that changes ---- */

/* A filter over the root, or in its place, or the root goes. */
static void change_tree(struct traffic *t, struct way *way, unsigned *filters)
{
    const struct node_ops *ops = below(t, 2) ? &node_fault_ops : &node_forward_ops;
    unsigned which = *filters == 0 ? 0 : *filters == 3 ? 1 + below(t, 2) : below(t, 3);
    struct node *root = way->image->root, *node = root;

    if (which == 0) {
        assert(node_open(&node, ops, node_get(root), &only_late, NULL) == 0);
        assert(image_insert(way->image, &node, way_reopen, way, NULL) == 0);
        ++*filters;
    } else if (which == 1) {
        assert(image_remove(way->image, &node, way_reopen, way, NULL) == 0);
        --*filters;
    } else {
        assert(node_open(&node, ops, node_get(root->child[0]), &only_late, NULL) == 0);
        assert(image_swap(way->image, &node, way_reopen, way, NULL) == 0);
    }
    assert(node == root);
    node_put(node);
}

static void traffic_through_a_tree_that_changes_agrees_with_the_model(void **state)
{
    struct image_world *w = *state;
    static struct traffic t;
    unsigned filters = 0;

    (void)image_world_open(w, CACHE_WRITEBACK);
    t = (struct traffic){.random = SEED, .model = calloc(1, BYTES)};
    t.memory = aligned_buffer(BYTES + BLOCK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        run_round(&t, w->way.path);
        change_tree(&t, &w->way, &filters);
    }
    check_image(&t, w->way.path);
    assert_int_equal(t.failed, 0);
    free(t.memory);
    free(t.model);
}

#define traffic_tests(by)                                                                 \
    by(direct_traffic_agrees_with_the_model), by(buffered_traffic_agrees_with_the_model), \
        by(direct_traffic_through_huge_pages_agrees_with_the_model),                      \
        by(traffic_with_faults_agrees_with_the_model),                                    \
        by(traffic_of_threads_agrees_with_the_model),                                     \
        by(traffic_of_threads_with_faults_agrees_with_the_model),                         \
        by(traffic_that_is_forwarded_agrees_with_the_model),                              \
        by(traffic_through_a_mirror_agrees_with_the_model),                               \
        by(what_overlaps_leaves_both_halves_of_a_mirror_the_same),                        \
        by(traffic_through_a_tree_that_changes_agrees_with_the_model)

int main(void)
{
    const struct CMUnitTest tests[] = {traffic_tests(by_aio), traffic_tests(by_threads),
                                       for_uring(traffic_tests)};

    return unit_run(tests);
}
