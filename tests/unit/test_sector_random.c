/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/block/node_sector.h"
#include "tests/unit/block_ram.h"
#include "tests/unit/chance.h"
#include "tests/unit/operation.h"

/*
 * Random traffic of sectors over an image of larger blocks, against a model in memory, byte by
 * byte. In a round no two requests of anybody touch the same sector, but mostly the same blocks,
 * which the image does in parts and in any order.
 */

#define SECTORS 4096u
#define BYTES (SECTORS * (uint64_t)SECTOR_SIZE)
#define ROUNDS (RUNNING_ON_VALGRIND ? 12u : 60u)
#define OPERATIONS 512u
#define LANES 4u

/* What a round asks for, on all lanes. */
static struct operation ops[OPERATIONS];
static unsigned lane_of[OPERATIONS];
static unsigned count;

static uint8_t model[BYTES];
static uint8_t memory[BYTES]; /* the requests', at the place that they have on the image */
static bool is_unknown[SECTORS];
static unsigned failed;

/* One sector mostly, some, or many. */
static unsigned length_of(void)
{
    return chance(4) ? 1 + chance(3) : chance(4) ? 1 + chance(24) : 1 + chance(600);
}

static enum io_op kind_of(void)
{
    static const enum io_op kinds[] = {IO_READ, IO_WRITE, IO_WRITE, IO_WRITE, IO_ZERO, IO_DISCARD};

    return kinds[chance(ARRAY_SIZE(kinds))];
}

/* In some pieces, of sectors or odd bytes. */
static void add_memory(struct operation *op, uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        size_t piece = op->io.iov_count == OPERATION_IOVS - 1 || chance(2) == 0
                           ? bytes
                           : 1 + chance((uint32_t)bytes);

        operation_add(op, data, piece);
        data += piece;
        bytes -= piece;
    }
}

static void fill(uint8_t *data, size_t bytes)
{
    uint8_t seed = (uint8_t)chance(256);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(seed + i * 31 + i / 256);
    }
}

static void make_operation(uint64_t first, unsigned sectors)
{
    struct operation *op = &ops[count];
    uint64_t offset = first * SECTOR_SIZE;
    size_t bytes = (size_t)sectors * SECTOR_SIZE;

    operation_init(op, kind_of(), offset, NULL, 0);
    op->io.flags = op->io.op == IO_WRITE || op->io.op == IO_ZERO ? chance(2) * IO_FUA : 0;
    if (op->io.op == IO_WRITE) {
        fill(memory + offset, bytes);
    } else if (op->io.op == IO_READ) {
        memset(memory + offset, 0xcc, bytes);
    }
    if (op->io.op <= IO_WRITE) {
        add_memory(op, memory + offset, bytes);
    }
    op->io.length = bytes;
    lane_of[count++] = chance(LANES);
}

/* Aligned ones, too; in an order of their own. */
static void make_round(void)
{
    unsigned first = chance(24);

    count = 0;
    while (first < SECTORS && count < OPERATIONS) {
        unsigned sectors = min_of(length_of(), SECTORS - first);

        if (chance(5) == 0 && first % 8 == 0 && sectors > 8) {
            sectors = sectors / 8 * 8;
        }
        make_operation(first, sectors);
        first += sectors + (chance(4) ? 0 : chance(20));
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned other = chance(count);
        struct operation kept = ops[i];

        ops[i] = ops[other];
        ops[i].io.iov = ops[i].iov;
        ops[i].io.frame = ops[i].frame;
        ops[other] = kept;
        ops[other].io.iov = ops[other].iov;
        ops[other].io.frame = ops[other].frame;
    }
}

/* What changes something may have done so in part; a failed read of what it reads first is none. */
static void take_failure(const struct io *io)
{
    failed++;
    assert(io->result == -EIO || io->result == -ENOSPC);
    if (io->op != IO_READ && io->result == -ENOSPC) {
        memset(is_unknown + io->offset / SECTOR_SIZE, true, io->length / SECTOR_SIZE);
    }
}

static void take_result(const struct operation *op, uint32_t block)
{
    const struct io *io = &op->io;
    uint64_t first = round_up(io->offset, block);
    uint64_t end = round_down(io->offset + io->length, block);

    if (io->result < 0) {
        take_failure(io);
    } else if (io->op == IO_READ) {
        assert(memcmp(memory + io->offset, model + io->offset, io->length) == 0);
    } else if (io->op == IO_WRITE) {
        memcpy(model + io->offset, memory + io->offset, io->length);
    } else if (io->op == IO_ZERO) {
        memset(model + io->offset, 0, io->length);
    } else if (first < end) {
        memset(model + first, BLOCK_RAM_DISCARDED, end - first);
    }
}

/* All sectors, those that nobody asked for as well. */
static void check_image(const struct block_ram *ram)
{
    for (unsigned i = 0; i < count; i++) {
        take_result(&ops[i], ram->opts.block);
    }
    for (unsigned i = 0; i < SECTORS; i++) {
        size_t at = (size_t)i * SECTOR_SIZE;

        if (is_unknown[i]) {
            memcpy(model + at, ram->bytes + at, SECTOR_SIZE);
            is_unknown[i] = false;
        }
        assert(memcmp(model + at, ram->bytes + at, SECTOR_SIZE) == 0);
    }
}

static struct node *open_sectors(struct block_ram_opts opts)
{
    struct node *ram, *root;

    opts.size = BYTES;
    assert(node_open(&ram, &block_ram_ops, NULL, &opts, NULL) == 0);
    assert(node_open(&root, &node_sector_ops, ram, NULL, NULL) == 0);
    memset(model, 0, sizeof(model));
    failed = 0;
    chance_begin();
    return root;
}

static struct block_ram *ram_of(const struct node *root)
{
    return containerof(root->child[0], struct block_ram, node);
}

/* ---- on one thread ---- */

static void run_alone(struct block_ram_opts opts)
{
    struct node *root = open_sectors(opts);
    struct reachable reachable;
    struct path *path;

    reachable_init(&reachable);
    assert_int_equal(path_open(&path, root, &reachable.context, NULL), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        make_round();
        for (unsigned i = 0; i < count; i++) {
            operation_queue(&ops[i], path);
        }
        assert_true(operations_run(path, ops, count));
        check_image(ram_of(root));
    }
    path_close(path);
    reachable_fini(&reachable);
    node_put(root);
}

static void sectors_of_one_lane_agree_with_the_model(void **state)
{
    for (uint32_t block = 1024; block <= 65536; block *= 4) {
        run_alone((struct block_ram_opts){.block = block});
        assert_int_equal(failed, 0);
    }
    run_alone((struct block_ram_opts){.block = 65536});
}

static void sectors_with_faults_agree_with_the_model(void **state)
{
    run_alone((struct block_ram_opts){.block = 4096, .error_every = 19});
    assert_true(failed > 20);
}

/* ---- on several ---- */

struct worker {
    pthread_t thread;
    unsigned index;
    struct reachable reachable;
    struct node *root;
};

static pthread_barrier_t barrier;
static pthread_mutex_t one_by_one = PTHREAD_MUTEX_INITIALIZER;

/* Those of its own, as pointers cannot be handed to operations_run. */
static bool are_mine_done(const struct worker *worker)
{
    for (unsigned i = 0; i < count; i++) {
        if (lane_of[i] == worker->index && ops[i].times_done == 0) {
            return false;
        }
    }
    return true;
}

static void run_mine(struct worker *worker, struct path *path)
{
    struct operation flush;

    for (unsigned i = 0; i < count; i++) {
        if (lane_of[i] == worker->index) {
            operation_queue(&ops[i], path);
        }
    }
    while (!are_mine_done(worker)) {
        operation_init(&flush, IO_FLUSH, 0, NULL, 0);
        operation_queue(&flush, path);
        assert(operations_run(path, &flush, 1));
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct path *path;

    pthread_mutex_lock(&one_by_one);
    assert(path_open(&path, worker->root, &worker->reachable.context, NULL) == 0);
    pthread_mutex_unlock(&one_by_one);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (worker->index == 0) {
            make_round();
        }
        pthread_barrier_wait(&barrier);
        run_mine(worker, path);
        pthread_barrier_wait(&barrier);
        if (worker->index == 0) {
            check_image(ram_of(worker->root));
        }
    }
    pthread_mutex_lock(&one_by_one);
    path_close(path);
    pthread_mutex_unlock(&one_by_one);
    return NULL;
}

static void run_together(void *(*body)(void *arg), struct block_ram_opts opts)
{
    static struct worker workers[LANES];
    struct node *root = open_sectors(opts);

    pthread_barrier_init(&barrier, NULL, LANES);
    for (unsigned i = 0; i < LANES; i++) {
        workers[i].index = i;
        workers[i].root = root;
        reachable_init(&workers[i].reachable);
    }
    for (unsigned i = 0; i < LANES; i++) {
        assert(pthread_create(&workers[i].thread, NULL, body, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < LANES; i++) {
        assert(pthread_join(workers[i].thread, NULL) == 0);
        reachable_fini(&workers[i].reachable);
    }
    pthread_barrier_destroy(&barrier);
    node_put(root);
}

static void sectors_of_many_lanes_agree_with_the_model(void **state)
{
    run_together(work, (struct block_ram_opts){.block = 4096});
    assert_int_equal(failed, 0);
}

static void sectors_of_many_lanes_with_faults_agree_with_the_model(void **state)
{
    run_together(work, (struct block_ram_opts){.block = 4096, .error_every = 23});
    assert_true(failed > 20);
}

/* ---- the same blocks by all at once ---- */

/*
 * Lane 0 changes blocks 0 to 7 as wholes, or zeroes them from the middle of one to that of another;
 * the others one sector of each.  Sectors 4 and on of a block are lane 0's alone, so what it wrote
 * it has to find again there; the others find what they wrote, or what lane 0 did, which all of its
 * sectors show to be no older than what is there.
 */
#define CONTESTED 8u
#define FIGHTS (RUNNING_ON_VALGRIND ? 150u : 1500u)

static void do_one(struct path *path, enum io_op kind, uint64_t offset, uint8_t *data, size_t bytes)
{
    struct operation op;

    operation_init(&op, kind, offset, data, kind <= IO_WRITE ? bytes : 0);
    op.io.length = bytes;
    operation_queue(&op, path);
    assert(operations_run(path, &op, 1) && op.io.result == 0);
}

static bool are_all(const uint8_t *data, size_t bytes, uint8_t value)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] != value) {
            return false;
        }
    }
    return true;
}

/* Values of wholes are from 128 on, or of zeroes and discards. */
static void fight_for_wholes(struct path *path, uint64_t *random, unsigned turn)
{
    static const enum io_op kinds[] = {IO_WRITE, IO_WRITE, IO_ZERO, IO_DISCARD};
    enum io_op kind = kinds[chance_below(random, ARRAY_SIZE(kinds))];
    uint64_t block = chance_below(random, CONTESTED - 1) * 4096ull;
    uint8_t value = kind == IO_WRITE  ? (uint8_t)(128 + turn % 64)
                    : kind == IO_ZERO ? 0
                                      : BLOCK_RAM_DISCARDED;
    bool is_cut = kind == IO_ZERO && chance_below(random, 2);
    uint8_t data[8192];

    memset(data, value, sizeof(data));
    if (is_cut) { /* sectors 4 to 8 of two blocks */
        do_one(path, kind, block + 2048, NULL, 6144);
    } else {
        do_one(path, kind, block, data, 8192);
    }
    do_one(path, IO_READ, block, data, 8192);
    assert(are_all(data + 2048, 2048, value) && are_all(data + 6144, 2048, value));
}

static void fight_for_a_sector(struct path *path, uint64_t *random, unsigned turn, unsigned index)
{
    uint64_t offset = chance_below(random, CONTESTED) * 4096ull + index * 512ull;
    uint8_t value = (uint8_t)(1 + (turn * 3 + index) % 126);
    uint8_t data[512];

    memset(data, value, sizeof(data));
    do_one(path, IO_WRITE, offset, data, 512);
    do_one(path, IO_READ, offset, data, 512);
    assert(data[0] == value || data[0] >= 128 || data[0] == 0);
    assert(are_all(data, 512, data[0]));
}

/* Sectors of blocks beyond are nobody else's: exactly what was written is there. */
static void keep_a_sector(struct path *path, uint64_t *random, unsigned turn, unsigned index,
                          uint8_t *kept)
{
    unsigned block = chance_below(random, CONTESTED);
    uint64_t offset = (CONTESTED + block) * 4096ull + index * 1024ull;
    uint8_t data[1024];

    do_one(path, IO_READ, offset, data, 1024);
    assert(are_all(data, 1024, kept[block]));
    kept[block] = (uint8_t)(turn + index);
    memset(data, kept[block], sizeof(data));
    do_one(path, IO_WRITE, offset, data, 1024);
}

static void *fight(void *arg)
{
    struct worker *worker = arg;
    uint64_t random = 20261128u + worker->index;
    uint8_t kept[CONTESTED] = {0};
    struct path *path;

    pthread_mutex_lock(&one_by_one);
    assert(path_open(&path, worker->root, &worker->reachable.context, NULL) == 0);
    pthread_mutex_unlock(&one_by_one);
    pthread_barrier_wait(&barrier);
    for (unsigned turn = 0; turn < FIGHTS; turn++) {
        if (worker->index == 0) {
            fight_for_wholes(path, &random, turn);
        } else {
            fight_for_a_sector(path, &random, turn, worker->index);
        }
        keep_a_sector(path, &random, turn, worker->index, kept);
    }
    pthread_mutex_lock(&one_by_one);
    path_close(path);
    pthread_mutex_unlock(&one_by_one);
    return NULL;
}

static void nobody_loses_what_it_wrote_beside_others(void **state)
{
    run_together(fight, (struct block_ram_opts){.block = 4096});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sectors_of_one_lane_agree_with_the_model),
        cmocka_unit_test(sectors_with_faults_agree_with_the_model),
        cmocka_unit_test(sectors_of_many_lanes_agree_with_the_model),
        cmocka_unit_test(sectors_of_many_lanes_with_faults_agree_with_the_model),
        cmocka_unit_test(nobody_loses_what_it_wrote_beside_others),
    };

    return unit_run(tests);
}
