/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/image_world.h"
#include "tests/unit/operation.h"

/*
 * Random traffic by each engine against a model of the image in memory.  In a round no two
 * requests touch the same block, so that their order, which nobody promises, does not matter.
 */

#define SEED 20261121u
#define ROUNDS 60u
#define BLOCKS 256u
#define MAX_LENGTH 12u /* blocks */
#define BYTES (BLOCKS * (size_t)BLOCK)

struct traffic {
    uint64_t random;
    uint8_t *model;
    uint8_t *memory; /* the requests': block by block as on the image, moved by `shift` */
    unsigned shift;  /* bytes; not 0: O_DIRECT cannot take it */
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

    operation_init(op, is_write ? IO_WRITE : IO_READ, offset, NULL, 0);
    op->io.is_fua = is_write && below(t, 8) == 0;
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
    uint8_t *model = t->model + op->io.offset;
    uint8_t *memory = memory_at(t, op->io.offset);

    assert_int_equal(op->io.result, 0);
    if (op->io.op == IO_WRITE) {
        memcpy(model, memory, op->io.length);
    } else if (op->io.op == IO_READ) {
        assert_memory_equal(memory, model, op->io.length);
    }
}

static void run_round(struct traffic *t, struct backend *backend)
{
    make_round(t);
    /* Forwards, or backwards, when nothing can be merged. */
    for (unsigned i = 0, backwards = below(t, 4) == 0; i < t->count; i++) {
        operation_queue(&t->ops[backwards ? t->count - 1 - i : i], backend);
    }
    assert_true(operations_run(backend, t->ops, t->count));
    for (unsigned i = 0; i < t->count; i++) {
        check_request(t, &t->ops[i]);
    }
}

static void traffic_agrees_with_the_model(struct image_world *w, enum cache_mode cache)
{
    static struct traffic t;
    struct backend *backend = image_world_open(w, cache);

    t.random = SEED;
    t.model = calloc(1, BYTES);
    t.memory = aligned_buffer(BYTES + BLOCK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        run_round(&t, backend);
    }
    t.shift = 0;
    assert_int_equal(operation_do(backend, IO_READ, 0, t.memory, BYTES), 0);
    assert_memory_equal(t.memory, t.model, BYTES);
    free(t.memory);
    free(t.model);
}

static void direct_traffic_agrees_with_the_model(void **state)
{
    traffic_agrees_with_the_model(*state, CACHE_NONE);
}

static void buffered_traffic_agrees_with_the_model(void **state)
{
    traffic_agrees_with_the_model(*state, CACHE_WRITEBACK);
}

#define traffic_tests(by) \
    by(direct_traffic_agrees_with_the_model), by(buffered_traffic_agrees_with_the_model)

int main(void)
{
    const struct CMUnitTest tests[] = {traffic_tests(by_aio), traffic_tests(by_threads),
                                       for_uring(traffic_tests)};

    return unit_run(tests);
}
