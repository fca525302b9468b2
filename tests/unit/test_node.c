/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/block/node_fault.h"
#include "core/block/node_file.h"
#include "core/block/node_forward.h"
#include "core/block/node_null.h"
#include "tests/unit/image_world.h"
#include "tests/unit/node_count.h"
#include "tests/unit/operation.h"

#define MS NS_PER_MS

/* The world's image with faults by these rules. */
static struct path *open_with_faults(struct image_world *w, const struct fault_rule *rules,
                                     unsigned count)
{
    const struct fault_opts faults = {.rules = rules, .count = count};
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    assert_int_equal(way_open_over(&w->way, &opts, &node_fault_ops, &faults, &w->err), 0);
    return w->way.path;
}

/* ---- layers ---- */

static void filter_has_the_facts_of_what_is_below(void **state)
{
    struct image_world *w = *state;
    const struct path *path = open_with_faults(w, NULL, 0);

    assert_int_equal(path->node->facts.size, IMAGE_BYTES);
    assert_true(path->node->facts.fd >= 0);
    assert_string_equal(path->node->facts.path, w->image);
    assert_non_null(path->facts.engine);
    assert_int_equal(image_lost(w->way.image).code, 0);
}

static void filter_costs_one_function(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct node *node;
    uint8_t data[1024] = {0};

    assert_int_equal(way_open_over(&w->way, &opts, &node_count_ops, NULL, &w->err), 0);
    node = node_get(w->way.image->root);
    assert_int_equal(operation_do(w->way.path, IO_WRITE, 0, data, 1024), 0);
    assert_int_equal(operation_do(w->way.path, IO_READ, 0, data, 512), 0);
    way_close(&w->way);
    assert_int_equal(containerof(node, struct node_count, node)->bytes, 1536);
    node_put(node);
}

/* As a read-only base has more than one image over it. */
static void node_stays_for_as_long_as_anybody_has_it(void **state)
{
    const struct image_opts opts = {.size = IMAGE_BYTES, .max_inflight = 16};
    const struct fault_opts no_faults = {.count = 0};
    struct context context = {0};
    struct node *base, *over[2];
    struct path *path;

    assert_int_equal(node_open(&base, &node_null_ops, NULL, &opts, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(node_open(&over[i], &node_fault_ops, node_get(base), &no_faults, NULL), 0);
    }
    node_put(base);
    assert_int_equal(path_open(&path, over[0], &context, NULL), 0);
    assert_int_equal(base->count, 3); /* two over it, and a path */
    node_put(over[1]);
    node_put(over[0]); /* the path still has it */
    assert_int_equal(base->count, 2);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), 0);
    path_close(path);
    assert_int_equal(context.leaf_count, 0);
}

static int next_fd(void)
{
    int fd = dup(0);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void path_that_cannot_be_had_leaves_nothing(void **state)
{
    struct image_world *w = *state;
    struct context context = {0};
    struct rlimit old, limit;
    struct path *path;

    (void)open_with_faults(w, NULL, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = old;
    limit.rlim_cur = (rlim_t)next_fd() + 1; /* the engine's; there is none for the timer */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(path_open(&path, w->way.image->root, &context, &w->err) < 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(context.leaf_count, 0);
    assert_int_equal(w->way.image->root->count, 2); /* the image, and the world's own path */
}

/* ---- several children ---- */

#define HALF (IMAGE_BYTES / 2)

/* The second half of the bytes is in the second child. */
static void halves_start(struct path *path, struct io *io)
{
    path_start(path->child[io->offset >= HALF], io);
}

static const struct node_ops halves_ops = {
    .type = "halves",
    .node_bytes = sizeof(struct node),
    .path_bytes = sizeof(struct path),
    .start = halves_start,
};

/* Over the world's image and another file; the counts that this has of both are the caller's. */
static struct node *open_halves(struct image_world *w, struct node *children[2])
{
    struct node *root;

    image_world_make(w->other, IMAGE_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        struct image_opts opts = image_world_opts(w, i ? w->other : w->image, CACHE_WRITEBACK);

        assert_int_equal(node_open(&children[i], &node_file_ops, NULL, &opts, &w->err), 0);
        (void)node_get(children[i]);
    }
    assert_int_equal(node_open_over(&root, &halves_ops, children, 2, NULL, &w->err), 0);
    return root;
}

static void filter_has_a_path_to_each_of_its_children(void **state)
{
    struct image_world *w = *state;
    struct context context = {0};
    struct node *children[2], *root = open_halves(w, children);
    uint8_t data[512] = {7}, back[512] = {0};
    struct path *path;

    assert_string_equal(root->facts.path, w->image);
    assert_int_equal(path_open(&path, root, &context, &w->err), 0);
    node_put(root);
    assert_int_equal(context.leaf_count, 2);
    assert_int_equal(operation_do(path, IO_WRITE, 0, data, 512), 0);
    data[0] = 8;
    assert_int_equal(operation_do(path, IO_WRITE, HALF, data, 512), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pread(children[i]->facts.fd, back, 512, i * HALF), 512);
        assert_int_equal(back[0], 7 + i);
    }
    path_close(path);
    assert_int_equal(context.leaf_count, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(children[i]->count, 1);
        node_put(children[i]);
    }
}

static int refuse_attach(struct path *path, struct err *err)
{
    return err_say(err, -EMFILE, "no way to it");
}

static void without_a_path_to_the_last_child_there_is_none_to_the_first(void **state)
{
    struct image_world *w = *state;
    struct node_ops refusing = halves_ops;
    struct context context = {0};
    struct node *children[2], *root = open_halves(w, children);
    struct path *path;

    refusing.attach = refuse_attach;
    children[1]->ops = &refusing;
    assert_int_equal(path_open(&path, root, &context, &w->err), -EMFILE);
    children[1]->ops = &node_file_ops;
    assert_int_equal(context.leaf_count, 0);
    node_put(root);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(children[i]->count, 1);
        node_put(children[i]);
    }
}

/* ---- faults ---- */

static void fault_ends_what_its_rule_names(void **state)
{
    static const struct fault_rule rule = {.ops = 1 << IO_WRITE, .error = -EIO};
    struct path *path = open_with_faults(*state, &rule, 1);
    uint8_t data[512] = {1}, back[512] = {2};

    assert_int_equal(operation_do(path, IO_WRITE, 0, data, 512), -EIO);
    assert_int_equal(operation_do(path, IO_READ, 0, back, 512), 0);
    assert_int_equal(back[0], 0); /* it was never written */
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), 0);
}

static void fault_is_of_its_range(void **state)
{
    static const struct fault_rule rule = {
        .ops = 1 << IO_READ, .offset = 4096, .length = 1024, .error = -ENXIO};
    struct path *path = open_with_faults(*state, &rule, 1);
    uint8_t data[4096];

    assert_int_equal(operation_do(path, IO_READ, 0, data, 4096), 0);
    assert_int_equal(operation_do(path, IO_READ, 3584, data, 1024), -ENXIO);
    assert_int_equal(operation_do(path, IO_READ, 4608, data, 4096), -ENXIO);
    assert_int_equal(operation_do(path, IO_READ, 5120, data, 512), 0);
}

static void fault_comes_now_and_then(void **state)
{
    static const struct fault_rule rule = {.ops = 1 << IO_FLUSH, .error = -EIO, .every = 3};
    struct path *path = open_with_faults(*state, &rule, 1);

    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), i % 3 ? 0 : -EIO);
    }
}

static void nothing_ends_before_it_was_given_away(void **state)
{
    static const struct fault_rule rule = {.ops = 1 << IO_FLUSH, .error = -EIO};
    struct path *path = open_with_faults(*state, &rule, 1);
    struct operation op;

    operation_init(&op, IO_FLUSH, 0, NULL, 0);
    operation_queue(&op, path);
    assert_int_equal(op.times_done, 0);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, -EIO);
}

/* The longer one is first, and is overtaken; what is late is done all the same. */
static void late_operations_are_overtaken_and_done(void **state)
{
    static const struct fault_rule rules[] = {
        {.ops = 1 << IO_WRITE, .offset = 0, .length = 512, .delay_ns = 40 * MS},
        {.ops = 1 << IO_WRITE, .offset = 512, .length = 512, .delay_ns = 10 * MS},
    };
    struct path *path = open_with_faults(*state, rules, 2);
    uint64_t begun_ns = now_ns();
    struct operation ops[3];
    uint8_t data[3][512];
    uint8_t back[3 * 512] = {0};

    for (unsigned i = 0; i < 3; i++) {
        memset(data[i], (int)i + 1, 512);
        operation_init(&ops[i], IO_WRITE, i * 512, data[i], 512);
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, 3));
    assert_true(ops[2].order < ops[1].order && ops[1].order < ops[0].order);
    assert_true(now_ns() - begun_ns >= 40 * MS);
    assert_int_equal(operation_do(path, IO_READ, 0, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(back));
}

/* ---- what a filter lets go on begins without another turn ---- */

/* Layers over a null image, by their options, the lowest first. */
static struct path *open_over_null(const struct node_ops *ops, const struct fault_opts *opts,
                                   unsigned count, struct context *context)
{
    const struct image_opts null = {.size = IMAGE_BYTES, .max_inflight = 16};
    struct node *node;
    struct path *path;

    assert_int_equal(node_open(&node, &node_null_ops, NULL, &null, NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(node_open(&node, ops, node, opts ? &opts[i] : NULL, NULL), 0);
    }
    assert_int_equal(path_open(&path, node, context, NULL), 0);
    node_put(node);
    return path;
}

/* As a lane has it: no submit but after a reap that has finished something. */
static int do_in_one_turn(struct path *path, enum io_op op)
{
    struct operation operation;

    operation_init(&operation, op, 0, NULL, 0);
    operation_queue(&operation, path);
    do {
        (void)context_submit(path->context);
    } while (context_reap(path->context) > 0 && context_is_held_back(path->context));
    return operation.times_done ? (int)operation.io.result : -EINPROGRESS;
}

static void what_goes_on_over_null_is_not_left(void **state)
{
    static const struct fault_rule late = {.ops = 1 << IO_FLUSH};
    const struct fault_opts opts = {.rules = &late, .count = 1};
    struct context context = {0};
    struct path *path = open_over_null(&node_fault_ops, &opts, 1, &context);

    assert_int_equal(do_in_one_turn(path, IO_FLUSH), 0);
    path_close(path);
}

static void what_goes_on_over_a_filter_is_not_left(void **state)
{
    static const struct fault_rule late = {.ops = 1 << IO_FLUSH};
    static const struct fault_rule bad = {.ops = 1 << IO_FLUSH, .error = -EIO};
    const struct fault_opts opts[] = {{.rules = &bad, .count = 1}, {.rules = &late, .count = 1}};
    struct context context = {0};
    struct path *path = open_over_null(&node_fault_ops, opts, 2, &context);

    assert_int_equal(do_in_one_turn(path, IO_FLUSH), -EIO);
    path_close(path);
}

static void what_goes_on_and_is_refused_by_a_file_is_not_left(void **state)
{
    static const struct fault_rule late = {.ops = 1 << IO_FLUSH};
    static const struct image_loss loss = {.code = -EIO, .op = IO_FLUSH};
    struct path *path = open_with_faults(*state, &late, 1);

    assert_int_equal(node_inherit(path->node, &loss, NULL), 0);
    assert_int_equal(do_in_one_turn(path, IO_FLUSH), -EIO);
}

static void more_layers_that_wait_than_a_lane_has_room_for_are_refused(void **state)
{
    const struct image_opts null = {.size = IMAGE_BYTES, .max_inflight = 16};
    const struct fault_opts none = {.count = 0};
    struct context context = {0};
    struct err err = {0};
    struct node *node;
    struct path *path;

    assert_int_equal(node_open(&node, &node_null_ops, NULL, &null, NULL), 0);
    for (unsigned i = 0; i < CONTEXT_LEAVES; i++) {
        assert_int_equal(node_open(&node, &node_fault_ops, node, &none, NULL), 0);
    }
    assert_int_equal(path_open(&path, node, &context, &err), -ENOSPC);
    assert_string_equal(err.text, "an image of more than 8 layers that wait");
    assert_int_equal(context.leaf_count, 0);
    node_put(node);
}

/* ---- an io that is mailed ---- */

#define MAILED 70u /* more than there are parcels */
#define TIMES 100u

/* A lane without a loop: its mail waits until it is run. */
struct fake_lane {
    struct context context;
    struct flight flight;
    struct message *first;
    struct message **last;
};

static void fake_wake(struct context *context)
{
    /* It is run by hand. */
}

static void fake_send(struct context *context, struct message *message)
{
    struct fake_lane *lane = containerof(context, struct fake_lane, context);

    message->next = NULL;
    *lane->last = message;
    lane->last = &message->next;
}

static void fake_init(struct fake_lane *lane)
{
    static const struct context_ops ops = {.wake = fake_wake, .send = fake_send};

    *lane = (struct fake_lane){.context = {.ops = &ops}};
    lane->context.flight = &lane->flight;
    lane->last = &lane->first;
}

static void fake_turn(struct fake_lane *lane)
{
    struct message *message = lane->first;

    lane->first = NULL;
    lane->last = &lane->first;
    while (message) {
        struct message *next = message->next;

        message->run(message);
        message = next;
    }
    (void)context_submit(&lane->context);
    (void)context_reap(&lane->context);
}

/* Begins anew in its own end, as a copy that goes piece by piece. */
struct piece {
    struct io io;
    struct path *path;
    unsigned times;
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

static void start_again(struct io *io)
{
    struct piece *piece = containerof(io, struct piece, io);

    piece->times++;
    if (piece->times < TIMES) {
        path_start(piece->path, io);
    }
}

static void mail_is_in_turn(void **state)
{
    static struct piece pieces[MAILED];
    struct fake_lane home, other;
    struct path *at_home, *path;

    fake_init(&home);
    fake_init(&other);
    at_home = open_over_null(&node_forward_ops, NULL, 1, &home.context);
    assert_int_equal(path_open(&path, at_home->node, &other.context, NULL), 0);
    for (unsigned i = 0; i < MAILED; i++) {
        pieces[i] = (struct piece){.io = {.op = IO_FLUSH, .done = start_again}, .path = path};
        pieces[i].io.frame = pieces[i].frame;
        path_start(path, &pieces[i].io);
    }
    while (pieces[0].times < TIMES / 2) {
        fake_turn(&home);
        fake_turn(&other);
    }
    for (unsigned i = 0; i < MAILED; i++) {
        assert_in_range(pieces[i].times, TIMES / 2 - 10, TIMES / 2 + 10);
    }
    while (other.first || home.first || home.flight.own > 0) {
        fake_turn(&home);
        fake_turn(&other);
    }
    for (unsigned i = 0; i < MAILED; i++) {
        assert_int_equal(pieces[i].times, TIMES);
    }
    path_close(path);
    path_close(at_home);
}

/* As when a filter is put over it: each lane has two ways for a while. */
static void home_lane_may_have_another_way_before_it_leaves_the_first(void **state)
{
    struct path *at_home[2], *path[2];
    struct fake_lane home, other;

    fake_init(&home);
    fake_init(&other);
    at_home[0] = open_over_null(&node_forward_ops, NULL, 1, &home.context);
    assert_int_equal(path_open(&path[0], at_home[0]->node, &other.context, NULL), 0);
    assert_int_equal(path_open(&at_home[1], at_home[0]->node, &home.context, NULL), 0);
    assert_int_equal(path_open(&path[1], at_home[0]->node, &other.context, NULL), 0);
    assert_int_equal(home.context.leaf_count, 2);
    assert_int_equal(other.context.leaf_count, 0);
    path_close(path[0]);
    path_close(at_home[0]);
    for (unsigned i = 0; i < 2; i++) {
        struct path *way = i ? path[1] : at_home[1];
        struct operation op;

        operation_init(&op, IO_FLUSH, 0, NULL, 0);
        operation_queue(&op, way);
        for (unsigned turn = 0; turn < 3; turn++) {
            fake_turn(&home);
            fake_turn(&other);
        }
        assert_int_equal(op.times_done, 1);
    }
    path_close(path[1]);
    path_close(at_home[1]);
    assert_int_equal(home.context.leaf_count, 0);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(filter_has_the_facts_of_what_is_below),
        in_world(filter_costs_one_function),
        cmocka_unit_test(node_stays_for_as_long_as_anybody_has_it),
        in_world(path_that_cannot_be_had_leaves_nothing),
        in_world(filter_has_a_path_to_each_of_its_children),
        in_world(without_a_path_to_the_last_child_there_is_none_to_the_first),
        in_world(fault_ends_what_its_rule_names),
        in_world(fault_is_of_its_range),
        in_world(fault_comes_now_and_then),
        in_world(nothing_ends_before_it_was_given_away),
        in_world(late_operations_are_overtaken_and_done),
        cmocka_unit_test(what_goes_on_over_null_is_not_left),
        cmocka_unit_test(what_goes_on_over_a_filter_is_not_left),
        in_world(what_goes_on_and_is_refused_by_a_file_is_not_left),
        cmocka_unit_test(more_layers_that_wait_than_a_lane_has_room_for_are_refused),
        cmocka_unit_test(mail_is_in_turn),
        cmocka_unit_test(home_lane_may_have_another_way_before_it_leaves_the_first),
    };

    return unit_run(tests);
}
