/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "core/block/node_sector.h"
#include "tests/unit/block_ram.h"
#include "tests/unit/operation.h"

/* What is asked below, and who waits for whom, each step by the test's hand. */

#define BLOCK 4096u
#define BYTES (1u << 20)
#define DATA (256u * 1024)

struct world {
    struct node *root;
    struct path *lane[2];
    uint8_t data[DATA];
    uint8_t expected[BYTES];
};

static void wake(struct context *context)
{
}

/* All is one thread. */
static void send_at_once(struct context *context, struct message *message)
{
    message->run(message);
}

static const struct context_ops ops = {.wake = wake, .send = send_at_once};
static struct context contexts[2] = {{.ops = &ops}, {.ops = &ops}};

static struct block_ram *ram_of(const struct world *w)
{
    return containerof(w->root->child[0], struct block_ram, node);
}

/* What a lane has asked below. */
static struct path *below(const struct world *w, unsigned lane)
{
    return w->lane[lane]->child[0];
}

static int world_start(void **state)
{
    const struct block_ram_opts opts = {.size = BYTES, .block = BLOCK, .is_by_hand = true};
    static struct world world;
    struct node *ram;

    memset(&world, 0, sizeof(world));
    assert_int_equal(node_open(&ram, &block_ram_ops, NULL, &opts, NULL), 0);
    assert_int_equal(node_open(&world.root, &node_sector_ops, ram, NULL, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(path_open(&world.lane[i], world.root, &contexts[i], NULL), 0);
    }
    for (unsigned i = 0; i < BYTES; i++) {
        world.expected[i] = ram_of(&world)->bytes[i] = (uint8_t)(i / SECTOR_SIZE * 7 + i % 251);
    }
    for (unsigned i = 0; i < DATA; i++) {
        world.data[i] = (uint8_t)(i / SECTOR_SIZE * 11 + i % 239 + 1);
    }
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    assert_memory_equal(ram_of(w)->bytes, w->expected, BYTES);
    path_close(w->lane[0]);
    path_close(w->lane[1]);
    node_put(w->root);
    return 0;
}

static void ask(struct world *w, unsigned lane, struct operation *op, enum io_op kind,
                uint64_t offset, uint64_t length)
{
    operation_init(op, kind, offset, w->data, kind <= IO_WRITE ? length : 0);
    op->io.length = length;
    operation_queue(op, w->lane[lane]);
}

/* The oldest that a lane has asked below is this; do it. */
static void expect_below(struct world *w, unsigned lane, enum io_op kind, uint64_t offset,
                         uint64_t length)
{
    const struct io *io = block_ram_io(below(w, lane), 0);

    assert_non_null(io);
    assert_int_equal(io->op, kind);
    assert_int_equal(io->offset, offset);
    assert_int_equal(io->length, length);
    block_ram_end(below(w, lane), 0);
}

static void expect_nothing_below(const struct world *w, unsigned lane)
{
    assert_null(block_ram_io(below(w, lane), 0));
}

static void expect_done(const struct operation *op, int64_t result)
{
    assert_int_equal(op->times_done, 1);
    assert_int_equal(op->io.result, result);
}

/* ---- what is asked below ---- */

static void sectors_are_shown_and_blocks_are_told(void **state)
{
    const struct world *w = *state;

    assert_int_equal(w->root->facts.block_size, 512);
    assert_int_equal(w->root->facts.logical_block, 512);
    assert_int_equal(w->root->facts.physical_block, BLOCK);
    assert_int_equal(w->root->facts.patched_block, BLOCK);
    assert_int_equal(w->root->facts.discard_block, BLOCK);
    assert_int_equal(w->root->facts.size, BYTES);
}

static void sizes_are_whole_blocks_of_all_layers(void **state)
{
    const struct world *w = *state;
    struct err err = {0};

    assert_int_equal(node_resize(w->root, BYTES - 512, &err), -EINVAL);
    assert_string_equal(err.text, "1048064 bytes are no number of whole blocks of 4096");
    assert_int_equal(node_set_size(w->root, BYTES - 512, &err), -EINVAL);
    assert_int_equal(node_resize(w->root, BYTES - BLOCK, &err), 0);
    assert_int_equal(node_set_size(w->root, BYTES - BLOCK, &err), 0);
    assert_int_equal(w->root->facts.size, BYTES - BLOCK);
    assert_int_equal(w->root->child[0]->facts.size, BYTES - BLOCK);
}

static void whole_blocks_and_flushes_pass_as_they_are(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_READ, BLOCK, 2 * BLOCK);
    assert_ptr_equal(block_ram_io(below(w, 0), 0), &op.io);
    expect_below(w, 0, IO_READ, BLOCK, 2 * BLOCK);
    expect_done(&op, 0);
    assert_memory_equal(w->data, w->expected + BLOCK, 2 * BLOCK);
    ask(w, 0, &op, IO_FLUSH, 0, 0);
    assert_ptr_equal(block_ram_io(below(w, 0), 0), &op.io);
    expect_below(w, 0, IO_FLUSH, 0, 0);
    expect_done(&op, 0);
    ask(w, 0, &op, IO_WRITE, 0, 3 * BLOCK);
    expect_below(w, 0, IO_WRITE, 0, 3 * BLOCK);
    expect_done(&op, 0);
    memcpy(w->expected, w->data, 3 * BLOCK);
}

static void part_of_a_block_is_read_changed_and_written(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_WRITE, 3 * BLOCK + 1024, 1536);
    expect_below(w, 0, IO_READ, 3 * BLOCK, BLOCK);
    assert_int_equal(op.times_done, 0);
    expect_below(w, 0, IO_WRITE, 3 * BLOCK, BLOCK);
    expect_done(&op, 0);
    memcpy(w->expected + 3 * BLOCK + 1024, w->data, 1536);
    assert_int_equal(ram_of(w)->volatiles, 1);
}

static void few_blocks_are_read_by_one_read_and_many_at_their_edges(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_WRITE, 512, BLOCK);
    expect_below(w, 0, IO_READ, 0, 2 * BLOCK);
    expect_below(w, 0, IO_WRITE, 0, 2 * BLOCK);
    expect_done(&op, 0);
    memcpy(w->expected + 512, w->data, BLOCK);
    ask(w, 0, &op, IO_WRITE, 512, 7 * BLOCK);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_below(w, 0, IO_READ, 7 * BLOCK, BLOCK);
    expect_below(w, 0, IO_WRITE, 0, 8 * BLOCK);
    expect_done(&op, 0);
    memcpy(w->expected + 512, w->data, 7 * BLOCK);
    ask(w, 0, &op, IO_WRITE, 0, 7 * BLOCK + 512); /* the first is whole */
    expect_below(w, 0, IO_READ, 7 * BLOCK, BLOCK);
    expect_below(w, 0, IO_WRITE, 0, 8 * BLOCK);
    memcpy(w->expected, w->data, 7 * BLOCK + 512);
}

/* Pieces of a buffer less a block, which keeps what the last block had. */
static void large_write_goes_piece_by_piece(void **state)
{
    struct world *w = *state;
    const uint64_t piece = 60 * 1024;
    struct operation op;

    operation_init(&op, IO_WRITE, 512, w->data, 100000 / 512 * 512);
    operation_add(&op, w->data + 110 * 1024, 50 * 1024 + 512);
    op.io.flags = IO_FUA;
    operation_queue(&op, w->lane[0]);
    memcpy(w->expected + 512, w->data, 100000 / 512 * 512);
    memcpy(w->expected + 512 + 100000 / 512 * 512, w->data + 110 * 1024, 50 * 1024 + 512);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_below(w, 0, IO_READ, round_down(512 + op.io.length, BLOCK), BLOCK);
    expect_below(w, 0, IO_WRITE, 0, piece);
    expect_below(w, 0, IO_WRITE, piece, piece);
    expect_below(w, 0, IO_WRITE, 2 * piece, round_up(512 + op.io.length, BLOCK) - 2 * piece);
    expect_done(&op, 0);
    assert_int_equal(ram_of(w)->volatiles, 0);
}

static void read_of_parts_is_of_the_blocks_that_have_them(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_READ, 1024, 512);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_done(&op, 0);
    assert_memory_equal(w->data, w->expected + 1024, 512);
    ask(w, 0, &op, IO_READ, 3584, 100 * 1024);
    expect_below(w, 0, IO_READ, 0, 64 * 1024);
    expect_below(w, 0, IO_READ, 64 * 1024, 40 * 1024);
    expect_done(&op, 0);
    assert_memory_equal(w->data, w->expected + 3584, 100 * 1024);
}

static void zeroes_are_exact_at_their_edges(void **state)
{
    struct world *w = *state;
    const uint64_t end = 3 * BLOCK + 1024;
    struct operation op;

    operation_init(&op, IO_ZERO, 512, NULL, 0);
    op.io.length = end - 512;
    op.io.flags = IO_FUA | IO_MAY_UNMAP;
    operation_queue(&op, w->lane[0]);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_below(w, 0, IO_READ, 3 * BLOCK, BLOCK);
    assert_int_equal(block_ram_io(below(w, 0), 0)->flags, IO_FUA | IO_MAY_UNMAP);
    expect_below(w, 0, IO_ZERO, BLOCK, 2 * BLOCK);
    assert_int_equal(block_ram_io(below(w, 0), 0)->flags, IO_FUA);
    expect_below(w, 0, IO_WRITE, 0, BLOCK);
    expect_below(w, 0, IO_WRITE, 3 * BLOCK, BLOCK);
    expect_done(&op, 0);
    memset(w->expected + 512, 0, end - 512);
    assert_int_equal(ram_of(w)->volatiles, 0);
}

static void zeroes_at_one_edge_or_without_a_middle(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_ZERO, 4 * BLOCK + 512, 1024);
    expect_below(w, 0, IO_READ, 4 * BLOCK, BLOCK);
    expect_below(w, 0, IO_WRITE, 4 * BLOCK, BLOCK);
    expect_done(&op, 0);
    memset(w->expected + 4 * BLOCK + 512, 0, 1024);
    ask(w, 0, &op, IO_ZERO, 7 * BLOCK - 512, 1024);
    expect_below(w, 0, IO_READ, 6 * BLOCK, 2 * BLOCK);
    expect_below(w, 0, IO_WRITE, 6 * BLOCK, 2 * BLOCK);
    expect_done(&op, 0);
    memset(w->expected + 7 * BLOCK - 512, 0, 1024);
    ask(w, 0, &op, IO_ZERO, 0, BLOCK + 512);
    expect_below(w, 0, IO_READ, BLOCK, BLOCK);
    expect_below(w, 0, IO_ZERO, 0, BLOCK);
    expect_below(w, 0, IO_WRITE, BLOCK, BLOCK);
    expect_done(&op, 0);
    memset(w->expected, 0, BLOCK + 512);
    ask(w, 0, &op, IO_ZERO, 9 * BLOCK - 512, BLOCK + 512);
    expect_below(w, 0, IO_READ, 8 * BLOCK, BLOCK);
    expect_below(w, 0, IO_ZERO, 9 * BLOCK, BLOCK);
    expect_below(w, 0, IO_WRITE, 8 * BLOCK, BLOCK);
    expect_done(&op, 0);
    memset(w->expected + 9 * BLOCK - 512, 0, BLOCK + 512);
}

static void discards_are_cut_to_whole_blocks(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_DISCARD, 512, 3 * BLOCK);
    expect_below(w, 0, IO_DISCARD, BLOCK, 2 * BLOCK);
    expect_done(&op, 0);
    memset(w->expected + BLOCK, BLOCK_RAM_DISCARDED, 2 * BLOCK);
    ask(w, 0, &op, IO_DISCARD, 512, BLOCK);
    expect_nothing_below(w, 0);
    expect_done(&op, 0);
}

/* ---- what fails ---- */

static void write_whose_read_fails_has_changed_nothing(void **state)
{
    struct world *w = *state;
    struct operation op, next;

    ask(w, 0, &op, IO_WRITE, 512, 7 * BLOCK);
    ask(w, 1, &next, IO_WRITE, 0, BLOCK);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    block_ram_end(below(w, 0), -EIO);
    expect_done(&op, -EIO);
    expect_nothing_below(w, 0);
    expect_below(w, 1, IO_WRITE, 0, BLOCK);
    expect_done(&next, 0);
    memcpy(w->expected, w->data, BLOCK);
    ask(w, 0, &op, IO_ZERO, 512, 7 * BLOCK);
    block_ram_end(below(w, 0), -EILSEQ);
    expect_done(&op, -EILSEQ);
    expect_nothing_below(w, 0);
}

static void write_that_fails_says_so_and_is_over(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_WRITE, 512, 512);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    block_ram_end(below(w, 0), -ENOSPC);
    expect_done(&op, -ENOSPC);
    ask(w, 0, &op, IO_WRITE, 0, BLOCK);
    block_ram_end(below(w, 0), -EDQUOT);
    expect_done(&op, -EDQUOT);
    ask(w, 0, &op, IO_READ, 512, 512);
    block_ram_end(below(w, 0), -EIO);
    expect_done(&op, -EIO);
    expect_nothing_below(w, 0);
}

/* As lane_zeroes.h needs it, which writes then. */
static void zeroes_that_the_image_cannot_make_change_nothing(void **state)
{
    struct world *w = *state;
    struct operation op;

    ask(w, 0, &op, IO_ZERO, 512, 3 * BLOCK);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_below(w, 0, IO_READ, 3 * BLOCK, BLOCK);
    block_ram_end(below(w, 0), -EOPNOTSUPP);
    expect_done(&op, -EOPNOTSUPP);
    expect_nothing_below(w, 0);
}

/* ---- who waits for whom: changes of blocks 0 and 1 from two lanes ---- */

static const enum io_op changes[] = {IO_WRITE, IO_ZERO, IO_DISCARD};

static void change_expected(struct world *w, enum io_op kind)
{
    if (kind == IO_WRITE) {
        memcpy(w->expected, w->data, 2 * BLOCK);
    } else {
        memset(w->expected, kind == IO_ZERO ? 0 : BLOCK_RAM_DISCARDED, 2 * BLOCK);
    }
}

static void whole_blocks_wait_for_who_changes_a_part(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(changes) * 2; i++) {
        const unsigned lane = i % 2;
        struct operation part, whole;

        ask(w, 0, &part, IO_WRITE, BLOCK + 512, 512);
        ask(w, lane, &whole, changes[i / 2], 0, 2 * BLOCK);
        expect_below(w, 0, IO_READ, BLOCK, BLOCK);
        assert_null(block_ram_io(below(w, lane), lane ? 0 : 1));
        expect_below(w, 0, IO_WRITE, BLOCK, BLOCK);
        expect_done(&part, 0);
        expect_below(w, lane, changes[i / 2], 0, 2 * BLOCK);
        expect_done(&whole, 0);
        change_expected(w, changes[i / 2]);
    }
}

static void who_changes_a_part_waits_for_whole_blocks(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(changes) * 2; i++) {
        const unsigned lane = i % 2;
        struct operation part, whole;

        ask(w, lane, &whole, changes[i / 2], 0, 2 * BLOCK);
        ask(w, 0, &part, i % 4 < 2 ? IO_WRITE : IO_ZERO, BLOCK + 512, 512);
        assert_null(block_ram_io(below(w, 0), lane ? 0 : 1));
        expect_below(w, lane, changes[i / 2], 0, 2 * BLOCK);
        change_expected(w, changes[i / 2]);
        expect_below(w, 0, IO_READ, BLOCK, BLOCK);
        expect_below(w, 0, IO_WRITE, BLOCK, BLOCK);
        expect_done(&part, 0);
        if (i % 4 < 2) {
            memcpy(w->expected + BLOCK + 512, w->data, 512);
        } else {
            memset(w->expected + BLOCK + 512, 0, 512);
        }
    }
}

static void two_who_change_parts_of_a_block_are_both_kept(void **state)
{
    struct world *w = *state;
    struct operation op[2];

    ask(w, 0, &op[0], IO_WRITE, 512, 512);
    ask(w, 1, &op[1], IO_WRITE, 2048, 1024);
    expect_nothing_below(w, 1);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_nothing_below(w, 1);
    expect_below(w, 0, IO_WRITE, 0, BLOCK);
    expect_below(w, 1, IO_READ, 0, BLOCK);
    expect_below(w, 1, IO_WRITE, 0, BLOCK);
    expect_done(&op[0], 0);
    expect_done(&op[1], 0);
    memcpy(w->expected + 512, w->data, 512);
    memcpy(w->expected + 2048, w->data, 1024);
}

/* Whole blocks that come all the time do not keep a part waiting for ever; others are not held. */
static void who_waits_for_a_block_keeps_its_place(void **state)
{
    struct world *w = *state;
    struct operation first, part, later, other;

    ask(w, 1, &first, IO_WRITE, 0, BLOCK);
    ask(w, 0, &part, IO_WRITE, 512, 512);
    ask(w, 1, &later, IO_ZERO, 0, BLOCK);
    ask(w, 1, &other, IO_ZERO, 4 * BLOCK, BLOCK);
    expect_nothing_below(w, 0);
    expect_below(w, 1, IO_WRITE, 0, BLOCK);
    expect_below(w, 1, IO_ZERO, 4 * BLOCK, BLOCK);
    expect_nothing_below(w, 1);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    expect_below(w, 0, IO_WRITE, 0, BLOCK);
    expect_done(&part, 0);
    expect_below(w, 1, IO_ZERO, 0, BLOCK);
    expect_done(&later, 0);
    memset(w->expected, 0, BLOCK);
    memset(w->expected + 4 * BLOCK, 0, BLOCK);
}

static void reads_wait_for_nobody(void **state)
{
    struct world *w = *state;
    struct operation part, read[2];

    ask(w, 0, &part, IO_WRITE, 512, 512);
    ask(w, 1, &read[0], IO_READ, 1024, 512);
    ask(w, 1, &read[1], IO_READ, 0, BLOCK);
    expect_below(w, 1, IO_READ, 0, BLOCK);
    expect_below(w, 1, IO_READ, 0, BLOCK);
    expect_below(w, 0, IO_READ, 0, BLOCK);
    memcpy(w->expected + 512, w->data, 512);
    expect_below(w, 0, IO_WRITE, 0, BLOCK);
    expect_done(&part, 0);
}

/* ---- more than there is room for ---- */

/* Some for the same blocks, from both lanes: who waits for room holds nothing that others need. */
static void more_than_there_is_room_for_waits_and_ends(void **state)
{
    static struct operation op[2000];
    struct world *w = *state;
    bool has_ended;

    memset(w->data, 0x5a, DATA);
    for (unsigned i = 0; i < ARRAY_SIZE(op); i++) {
        const bool is_part = i % 2;
        const uint64_t block = i * 7 % 40;

        ask(w, i / 2 % 2, &op[i], IO_WRITE, block * BLOCK + (is_part ? 512 : 0),
            is_part ? 512 : BLOCK);
    }
    do {
        has_ended = false;
        for (unsigned lane = 0; lane < 2; lane++) {
            if (block_ram_io(below(w, lane), 0)) {
                block_ram_end(below(w, lane), 0);
                has_ended = true;
            }
        }
    } while (has_ended);
    for (unsigned i = 0; i < ARRAY_SIZE(op); i++) {
        expect_done(&op[i], 0);
    }
    memcpy(w->expected, ram_of(w)->bytes, BYTES);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(sectors_are_shown_and_blocks_are_told),
        in_world(sizes_are_whole_blocks_of_all_layers),
        in_world(whole_blocks_and_flushes_pass_as_they_are),
        in_world(part_of_a_block_is_read_changed_and_written),
        in_world(few_blocks_are_read_by_one_read_and_many_at_their_edges),
        in_world(large_write_goes_piece_by_piece),
        in_world(read_of_parts_is_of_the_blocks_that_have_them),
        in_world(zeroes_are_exact_at_their_edges),
        in_world(zeroes_at_one_edge_or_without_a_middle),
        in_world(discards_are_cut_to_whole_blocks),
        in_world(write_whose_read_fails_has_changed_nothing),
        in_world(write_that_fails_says_so_and_is_over),
        in_world(zeroes_that_the_image_cannot_make_change_nothing),
        in_world(whole_blocks_wait_for_who_changes_a_part),
        in_world(who_changes_a_part_waits_for_whole_blocks),
        in_world(two_who_change_parts_of_a_block_are_both_kept),
        in_world(who_waits_for_a_block_keeps_its_place),
        in_world(reads_wait_for_nobody),
        in_world(more_than_there_is_room_for_waits_and_ends),
    };

    return unit_run(tests);
}
