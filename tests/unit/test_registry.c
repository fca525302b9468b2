/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/registry.h"
#include "tests/unit/control_world.h"

#define IMAGE_BYTES (1 << 20)

/* Disks on threads of their own; the test's thread is control. */
struct bench {
    struct control_world control;
    char socket[96];
    char image[96];
    struct state *state;
    struct registry registry;
    struct disk_config config;
    int answer; /* of the last op */
    bool is_done;
    bool has_ended;
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    *state = b;
    control_world_start(&b->control, "registry");
    (void)snprintf(b->socket, sizeof(b->socket), "%s/control", b->control.dir);
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->control.dir);
    assert_int_equal(state_open(&b->state, b->control.dir, NULL), 0);
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    return 0;
}

/* `open_ms` 0: whatever is opened is late, as timers run before messages. */
static void start_registry(struct bench *b, unsigned open_ms)
{
    struct registry_opts opts = {
        .loop = &b->control.loop,
        .mailbox = &b->control.mailbox,
        .state = b->state,
        .socket_dir = b->control.dir,
        .control_path = b->socket,
        .open_ms = open_ms,
    };

    assert_int_equal(registry_init(&b->registry, &opts), 0);
}

static void on_done(struct op *op)
{
    struct bench *b = op->arg;

    b->answer = op->err.code;
    b->is_done = true;
}

static int wait_done(struct bench *b)
{
    control_world_wait(&b->control, &b->is_done);
    b->is_done = false;
    return b->answer;
}

static int add_new_image(struct bench *b)
{
    b->config = (struct disk_config){
        .name = "vda",
        .image = {.type = "file", .cache = "writeback", .size = IMAGE_BYTES, .create = true},
        .settings = {.poll_us = 0, .poll_cpu = 100, .engine = "auto", .threads = 1},
        .queues = 1,
        .queue_size = 64,
    };
    (void)snprintf(b->config.image.path, sizeof(b->config.image.path), "%s", b->image);
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, NULL), 0);
    return wait_done(b);
}

static void on_ended(void *arg)
{
    ((struct bench *)arg)->has_ended = true;
}

static void on_stopped(void *arg, bool is_clean)
{
    struct bench *b = arg;

    assert_true(is_clean);
    state_stop(b->state, on_ended, b);
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    registry_stop(&b->registry, on_stopped, b);
    control_world_wait(&b->control, &b->has_ended);
    registry_fini(&b->registry);
    control_world_stop(&b->control);
    free(b);
    return 0;
}

static void disk_opened_too_late_goes_with_the_file_that_it_made(void **state)
{
    struct bench *b = *state;

    start_registry(b, 0);
    assert_int_equal(add_new_image(b), -ETIMEDOUT);
    while (b->registry.disks || b->registry.dying) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_not_equal(access(b->image, F_OK), 0);
    assert_int_equal(add_new_image(b), -ETIMEDOUT); /* not -EEXIST: nothing is in the way */
}

static void disk_opened_in_time_stays_and_so_does_its_file(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    assert_int_equal(registry_remove(b->registry.disks, false, 1000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    assert_null(b->registry.disks);
    assert_int_equal(access(b->image, F_OK), 0);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(disk_opened_too_late_goes_with_the_file_that_it_made),
        bench_test(disk_opened_in_time_stays_and_so_does_its_file),
    };

    return unit_run(tests);
}
