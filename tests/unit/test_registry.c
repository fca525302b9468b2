/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/log.h"
#include "daemon/registry.h"

#define IMAGE_BYTES (1 << 20)

/* Disks on threads of their own; the test's thread is control. */
struct bench {
    char dir[64];
    char control[96];
    char image[96];
    uv_loop_t loop;
    struct mailbox mailbox;
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
    log_set_level(LOG_LEVEL_ERROR);
    (void)snprintf(b->dir, sizeof(b->dir), "/tmp/vblk-registry-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->control, sizeof(b->control), "%s/control", b->dir);
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->dir);
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(mailbox_init(&b->mailbox, &b->loop), 0);
    assert_int_equal(state_open(&b->state, b->dir, NULL), 0);
    assert_int_equal(state_start(b->state, &b->mailbox, NULL), 0);
    return 0;
}

/* `open_ms` 0: whatever is opened is late, as timers run before messages. */
static void start_registry(struct bench *b, unsigned open_ms)
{
    struct registry_opts opts = {
        .loop = &b->loop,
        .mailbox = &b->mailbox,
        .state = b->state,
        .socket_dir = b->dir,
        .control_path = b->control,
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
    while (!b->is_done) {
        uv_run(&b->loop, UV_RUN_ONCE);
    }
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
    char command[96];

    registry_stop(&b->registry, on_stopped, b);
    while (!b->has_ended) {
        uv_run(&b->loop, UV_RUN_ONCE);
    }
    registry_fini(&b->registry);
    mailbox_close(&b->mailbox);
    assert_int_equal(uv_run(&b->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    (void)snprintf(command, sizeof(command), "rm -r %s", b->dir);
    assert_int_equal(system(command), 0);
    free(b);
    return 0;
}

static void disk_opened_too_late_goes_with_the_file_that_it_made(void **state)
{
    struct bench *b = *state;

    start_registry(b, 0);
    assert_int_equal(add_new_image(b), -ETIMEDOUT);
    while (b->registry.disks || b->registry.dying) {
        uv_run(&b->loop, UV_RUN_ONCE);
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
