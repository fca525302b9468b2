/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <libaio.h>
#include <string.h>
#include <unistd.h>

#include "core/block/aio_ring.h"

#define COUNT 8u

/* The kernel's side is played by the test, but for the last group. */
struct world {
    struct aio_ring ring;
    uint64_t put; /* events, ever */
    uint64_t taken;
    union {
        struct aio_ring_shared shared;
        uint8_t bytes[sizeof(struct aio_ring_shared) + COUNT * sizeof(struct aio_ring_event)];
    } memory;
};

static int world_start(void **state)
{
    static struct world world;

    memset(&world, 0, sizeof(world));
    world.memory.shared.magic = AIO_RING_MAGIC;
    world.memory.shared.compat_features = 1;
    world.memory.shared.header_length = sizeof(struct aio_ring_shared);
    world.memory.shared.count = COUNT;
    *state = &world;
    return 0;
}

/* valgrind has the ring refused: then what it holds cannot be told. */
static void open_ring(struct world *w)
{
    if (RUNNING_ON_VALGRIND) {
        skip();
    }
    assert_true(aio_ring_open(&w->ring, &w->memory));
}

static void put(struct world *w, unsigned count)
{
    struct aio_ring_shared *shared = &w->memory.shared;

    for (unsigned i = 0; i < count; i++) {
        shared->event[shared->tail] =
            (struct aio_ring_event){.data = 1000 + w->put, .result = -(int64_t)w->put};
        w->put++;
        shared->tail = (shared->tail + 1) % COUNT;
    }
}

static unsigned take(struct world *w, unsigned max)
{
    struct engine_event events[ENGINE_EVENTS];
    unsigned count = aio_ring_take(&w->ring, events, max);

    for (unsigned i = 0; i < count; i++) {
        assert_ptr_equal(events[i].data, (void *)(uintptr_t)(1000 + w->taken));
        assert_int_equal(events[i].result, -(int64_t)w->taken);
        w->taken++;
    }
    return count;
}

static void empty_ring_gives_nothing(void **state)
{
    struct world *w = *state;

    open_ring(w);
    w->memory.shared.head = 77; /* would be stored over, if anything was */
    assert_int_equal(take(w, 4), 0);
    assert_int_equal(w->memory.shared.head, 77);
}

static void events_come_in_order_and_their_places_are_given_back(void **state)
{
    struct world *w = *state;

    open_ring(w);
    put(w, 3);
    assert_int_equal(take(w, 8), 3);
    assert_int_equal(w->memory.shared.head, 3);
    assert_int_equal(take(w, 8), 0);
}

static void no_more_are_taken_than_asked_for(void **state)
{
    struct world *w = *state;

    open_ring(w);
    put(w, 5);
    assert_int_equal(take(w, 2), 2);
    assert_int_equal(w->memory.shared.head, 2);
    assert_int_equal(take(w, 2), 2);
    assert_int_equal(take(w, 2), 1);
}

static void ring_wraps(void **state)
{
    struct world *w = *state;

    open_ring(w);
    for (unsigned i = 0; i < 1000; i++) {
        put(w, 1 + i % (COUNT - 1));
        assert_int_equal(take(w, COUNT), 1 + i % (COUNT - 1));
        assert_int_equal(w->memory.shared.head, w->memory.shared.tail);
    }
}

static void ring_that_is_under_way_is_taken_up(void **state)
{
    struct world *w = *state;

    put(w, 5);
    w->memory.shared.head = 3;
    w->taken = 3;
    open_ring(w);
    assert_int_equal(take(w, COUNT), 2);
}

static void unknown_layouts_are_refused(void **state)
{
    struct world *w = *state;
    struct aio_ring_shared good = w->memory.shared;

    w->memory.shared.magic++;
    assert_false(aio_ring_open(&w->ring, &w->memory));
    w->memory.shared = good;
    w->memory.shared.incompat_features = 1;
    assert_false(aio_ring_open(&w->ring, &w->memory));
    w->memory.shared = good;
    w->memory.shared.header_length = 128;
    assert_false(aio_ring_open(&w->ring, &w->memory));
    w->memory.shared = good;
    w->memory.shared.count = 0;
    assert_false(aio_ring_open(&w->ring, &w->memory));
    assert_null(w->ring.shared);
}

/* More than the ring has places, some at a time: the kernel sees what we give back. */
static void ring_of_this_kernel_is_read(void **state)
{
    struct engine_event events[ENGINE_EVENTS];
    io_context_t context = NULL;
    struct aio_ring ring;
    struct iocb iocb;
    struct iocb *pointer = &iocb;
    char byte;
    int pipe_fd[2];

    assert_int_equal(pipe(pipe_fd), 0);
    assert_int_equal(io_setup(4, &context), 0);
    if (!aio_ring_open(&ring, context)) {
        io_destroy(context);
        skip();
    }
    for (uintptr_t i = 0; i < 10 * ring.count; i++) {
        assert_int_equal(write(pipe_fd[1], "x", 1), 1);
        io_prep_pread(&iocb, pipe_fd[0], &byte, 1, 0);
        iocb.data = (void *)i; // NOLINT(performance-no-int-to-ptr)
        assert_int_equal(io_submit(context, 1, &pointer), 1);
        assert_int_equal(aio_ring_take(&ring, events, ENGINE_EVENTS), 1);
        assert_int_equal((uintptr_t)events[0].data, i);
    }
    io_destroy(context);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(empty_ring_gives_nothing, world_start),
        cmocka_unit_test_setup(events_come_in_order_and_their_places_are_given_back, world_start),
        cmocka_unit_test_setup(no_more_are_taken_than_asked_for, world_start),
        cmocka_unit_test_setup(ring_wraps, world_start),
        cmocka_unit_test_setup(ring_that_is_under_way_is_taken_up, world_start),
        cmocka_unit_test_setup(unknown_layouts_are_refused, world_start),
        cmocka_unit_test(ring_of_this_kernel_is_read),
    };

    return unit_run(tests);
}
