/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/chore.h"
#include "core/block/image.h"
#include "core/device/limiter.h"
#include "daemon/disk_ask.h"
#include "daemon/protocol.h"
#include "daemon/registry_keep.h"
#include "daemon/registry_life.h"
#include "tests/unit/control_world.h"
#include "tests/unit/no_rates.h"

#define IMAGE_BYTES (1 << 20)

#define OPEN_MS 1000u

/* ---- images that take their time to open ---- */

/* The linker sends all calls of image_open to __wrap_image_open, and so on. */
int __real_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err);
void __real_image_close(struct image *image);
void __wrap_image_close(struct image *image);
int __real_device_new(struct device **out, uv_loop_t *loop, const struct device_opts *opts,
                      const struct blk_opts *blk_opts, struct err *err);
int __wrap_device_new(struct device **out, uv_loop_t *loop, const struct device_opts *opts,
                      const struct blk_opts *blk_opts, struct err *err);
int __real_device_attach(struct device *dev, struct image *image, struct err *err);
int __wrap_device_attach(struct device *dev, struct image *image, struct err *err);

static atomic_bool is_silent;    /* the file system */
static atomic_bool is_open_slow; /* the disk's thread, with what was opened */
static atomic_bool is_held;
static atomic_bool has_answered; /* after it was silent */
static atomic_int open_error;    /* the file system's answer, 0: none */
static atomic_bool hangs_at_close;
static atomic_bool lacks_files; /* for another device */
static sem_t may_open;

static void hold(void)
{
    is_held = true;
    while (sem_wait(&may_open) < 0) {
    }
}

int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err)
{
    bool was_silent = is_silent;
    int ret;

    if (was_silent) {
        hold();
    }
    if (open_error) {
        return err_set(err, open_error, "image %s", opts->path);
    }
    ret = __real_image_open(out, opts, err);
    has_answered |= was_silent;
    return ret;
}

void __wrap_image_close(struct image *image)
{
    while (hangs_at_close) {
        (void)usleep(200);
    }
    __real_image_close(image);
}

int __wrap_device_new(struct device **out, uv_loop_t *loop, const struct device_opts *opts,
                      const struct blk_opts *blk_opts, struct err *err)
{
    return lacks_files ? err_set(err, -EMFILE, "%s", opts->name)
                       : __real_device_new(out, loop, opts, blk_opts, err);
}

int __wrap_device_attach(struct device *dev, struct image *image, struct err *err)
{
    if (is_open_slow) {
        hold();
    }
    return __real_device_attach(dev, image, err);
}

static void hold_opens(void)
{
    is_open_slow = true;
    is_held = false;
    has_answered = false;
    assert_int_equal(sem_init(&may_open, 0, 0), 0);
}

static void be_silent(void)
{
    hold_opens();
    is_open_slow = false;
    is_silent = true;
}

static void wait_true(const atomic_bool *flag)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (!*flag) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(1000);
    }
}

/* An image is opened beside the disk's thread, which then takes it. */
static void wait_held(void)
{
    wait_true(&is_held);
}

static void let_open(void)
{
    assert_int_equal(sem_post(&may_open), 0);
}

/* Disks on threads of their own; the test's thread is control. */
struct bench {
    struct control_world control;
    char socket[96];
    char image[96];
    struct state *state;
    struct registry registry;
    struct disk_config config;
    int answer[4]; /* of ops that ended, and nobody has taken it yet */
    unsigned answers;
    bool has_answer;
    bool has_ended;
    struct disk_record table; /* the first disk in the state file, when all has ended */
    size_t table_size;
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    is_open_slow = false;
    is_silent = false;
    open_error = 0;
    hangs_at_close = false;
    lacks_files = false;
    *state = b;
    control_world_start(&b->control, "registry");
    (void)snprintf(b->socket, sizeof(b->socket), "%s/control", b->control.dir);
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->control.dir);
    assert_int_equal(state_open(&b->state, b->control.dir, NULL), 0);
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    return 0;
}

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

static void add_answer(struct bench *b, int answer)
{
    assert_in_range(b->answers, 0, ARRAY_SIZE(b->answer) - 1);
    b->answer[b->answers++] = answer;
    b->has_answer = true;
}

static void on_done(struct op *op)
{
    add_answer(op->arg, op->err.code);
}

/* Of the op that ended first; several may end in one turn of the loop. */
static int wait_done(struct bench *b)
{
    int answer;

    control_world_wait(&b->control, &b->has_answer);
    answer = b->answer[0];
    b->answers--;
    memmove(b->answer, b->answer + 1, b->answers * sizeof(b->answer[0]));
    b->has_answer = b->answers > 0;
    return answer;
}

static void prepare_add(struct bench *b)
{
    b->config = (struct disk_config){
        .name = "vda",
        .image = {.type = "file", .cache = "writeback", .size = IMAGE_BYTES, .create = true},
        .settings = {.poll_us = 0,
                     .poll_cpu = 100,
                     .engine = "auto",
                     .huge_bounce = "auto",
                     .queue_threads = "auto",
                     .cpus = "all",
                     .detect_zeroes = "off",
                     .on_read_error = "report",
                     .on_write_error = "enospc",
                     NO_RATES,
                     .threads = 1},
        .discard = "on",
        .socket_mode = "0600",
        .socket_owner = -1,
        .socket_group = -1,
        .write_zeroes = "on",
        .config_wce = "on",
        .packed = "on",
        .in_order = "off",
        .seg_max = BLK_SEG_MAX,
        .max_discard_segments = BLK_RANGES,
        .max_write_zeroes_segments = BLK_RANGES,
        .queues = 1,
        .queue_size = 64,
    };
    (void)snprintf(b->config.image.path, sizeof(b->config.image.path), "%s", b->image);
}

static void begin_add(struct bench *b)
{
    prepare_add(b);
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, NULL), 0);
}

static void on_left(struct op *op)
{
    assert_int_equal(op->err.code, -ETIMEDOUT);
    assert_true(op->request.is_done);
    *(bool *)op->arg = true;
}

static int add_new_image(struct bench *b)
{
    begin_add(b);
    return wait_done(b);
}

static void wait_no_disks(struct bench *b)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (b->registry.disks || b->registry.dying) {
        assert_true(now_ns() < deadline_ns);
        uv_run(&b->control.loop, UV_RUN_NOWAIT);
    }
}

/* An opening that was abandoned undoes itself in its own time. */
static void expect_image_goes(const struct bench *b)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (access(b->image, F_OK) == 0) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(1000);
    }
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

static void read_table(struct bench *b)
{
    struct disk_record *records;

    assert_int_equal(state_open(&b->state, b->control.dir, NULL), 0);
    assert_int_equal(state_read(b->state, &records, &b->table_size, NULL), 0);
    if (b->table_size > 0) {
        b->table = records[0];
    }
    free(records);
    state_free(b->state);
}

static void begin_end(struct bench *b)
{
    registry_stop(&b->registry, on_stopped, b);
}

static void end(struct bench *b)
{
    control_world_wait(&b->control, &b->has_ended);
    registry_fini(&b->registry);
    read_table(b);
}

/* What was left to its thread is over, too. */
static void wait_none_abandoned(void)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (chore_abandoned() > 0) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(1000);
    }
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    if (!b->has_ended) {
        begin_end(b);
        end(b);
    }
    wait_none_abandoned();
    control_world_stop(&b->control);
    free(b);
    return 0;
}

/* What a disk named `name` has for a serial; `serial` NULL: it was given none. */
static const char *add_null(struct bench *b, const char *name, const char *serial)
{
    struct err err = {0};

    b->config = (struct disk_config){
        .image = {.type = "null", .size = IMAGE_BYTES, .cache = "none"},
        .settings = {.poll_us = 0,
                     .poll_cpu = 100,
                     .engine = "auto",
                     .huge_bounce = "auto",
                     .queue_threads = "auto",
                     .cpus = "all",
                     .detect_zeroes = "off",
                     .on_read_error = "report",
                     .on_write_error = "enospc",
                     NO_RATES,
                     .threads = 1},
        .discard = "on",
        .socket_mode = "0600",
        .socket_owner = -1,
        .socket_group = -1,
        .write_zeroes = "on",
        .config_wce = "on",
        .packed = "on",
        .in_order = "off",
        .seg_max = BLK_SEG_MAX,
        .max_discard_segments = BLK_RANGES,
        .max_write_zeroes_segments = BLK_RANGES,
        .queues = 1,
        .queue_size = 64,
    };
    (void)snprintf(b->config.name, sizeof(b->config.name), "%s", name);
    (void)snprintf(b->config.serial, sizeof(b->config.serial), "%s", serial ? serial : "");
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    return registry_find(&b->registry, name, &err)->record.config.serial;
}

static void serial_that_is_not_asked_for_is_no_other_disks(void **state)
{
    struct bench *b = *state;
    const char *first, *second, *third;

    start_registry(b, 30000);
    first = add_null(b, "a-guest-with-a-long-name-root", NULL);
    second = add_null(b, "a-guest-with-a-long-name-data", NULL);
    assert_string_not_equal(first, second);
    assert_int_equal(strlen(first), 20);
    assert_string_equal(add_null(b, "other", "vdb"), "vdb");
    third = add_null(b, "vdb", NULL);
    assert_string_not_equal(third, "vdb");
    assert_memory_equal(third, "vdb-", 4);
    assert_string_equal(add_null(b, "one-more", second), second); /* as was asked for */
}

static void disk_opened_too_late_goes_with_the_file_that_it_made(void **state)
{
    struct bench *b = *state;

    start_registry(b, OPEN_MS);
    for (unsigned i = 0; i < 2; i++) { /* not -EEXIST: nothing is in the way */
        hold_opens();
        assert_int_equal(add_new_image(b), -ETIMEDOUT);
        let_open();
        wait_no_disks(b);
        expect_image_goes(b);
    }
}

/* The one that hangs is neither in the way of the next, nor of the end. */
static void disk_that_is_added_can_be_removed_before_its_image_is_open(void **state)
{
    struct bench *b = *state;
    bool is_removed = false;

    start_registry(b, 60000);
    be_silent();
    begin_add(b);
    wait_held();
    assert_int_equal(disk_remove(b->registry.disks, false, 10, on_left, &is_removed, NULL), 0);
    assert_int_equal(wait_done(b), -ECANCELED);
    control_world_wait(&b->control, &is_removed);
    assert_null(b->registry.disks);
    is_silent = false;
    assert_int_equal(add_new_image(b), 0);
    let_open();
    wait_true(&has_answered);
    assert_int_equal(access(b->image, F_OK), 0);
}

static void disk_opened_in_time_stays_and_so_does_its_file(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    assert_int_equal(disk_remove(b->registry.disks, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    assert_null(b->registry.disks);
    assert_int_equal(access(b->image, F_OK), 0);
}

/* A question of a client that the disk's thread does not answer in time: no more are asked. */
static void find_slow(struct bench *b)
{
    wait_held();
    assert_int_equal(disk_info(b->registry.disks, false, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), -ETIMEDOUT);
    assert_int_equal(disk_info(b->registry.disks, false, on_done, b, NULL), -ETIMEDOUT);
}

static void disk_opened_too_late_goes_though_it_was_found_slow(void **state)
{
    struct bench *b = *state;

    start_registry(b, 3000);
    hold_opens();
    begin_add(b);
    find_slow(b);
    assert_int_equal(wait_done(b), -ETIMEDOUT);
    let_open();
    wait_no_disks(b);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

/* Nobody has it open, or it is not there. */
static void wait_image_let_go(const struct bench *b)
{
    const struct image_opts opts = {
        .type = "file", .path = b->image, .cache = CACHE_WRITEBACK, .max_inflight = 16};
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;
    struct image *image;
    int ret;

    while ((ret = image_open(&image, &opts, NULL)) == -EBUSY) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(1000);
    }
    if (ret == 0) {
        image_close(image);
    }
}

/* The removal is done before control knows that the disk was opened at all. */
static void disk_opened_too_late_goes_with_its_file_though_it_is_being_removed(void **state)
{
    struct bench *b = *state;

    start_registry(b, 5000); /* in which its image opens */
    hold_opens();
    begin_add(b);
    wait_held();
    assert_int_equal(disk_remove(b->registry.disks, false, 60000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), -ETIMEDOUT); /* add */
    let_open();
    wait_image_let_go(b);
    assert_int_equal(wait_done(b), 0);
    wait_no_disks(b);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

/* ---- control that is slow itself ---- */

/* A disk that was stopped, and whose image is just being opened again. */
static void begin_slow_start(struct bench *b)
{
    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    assert_int_equal(disk_stop(b->registry.disks, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    hold_opens();
    assert_int_equal(disk_start(b->registry.disks, false, on_done, b, NULL), 0);
    wait_held();
}

static void be_slow(void)
{
    (void)usleep((PROTOCOL_INFO_MS + 600) * 1000);
}

static void answer_that_control_sees_too_late_is_not_late(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    (void)add_null(b, "vda", NULL);
    assert_int_equal(disk_info(b->registry.disks, false, on_done, b, NULL), 0);
    be_slow();
    assert_int_equal(wait_done(b), 0);
}

/* As when the whole process was stopped. */
static void disk_that_had_as_little_time_as_control_is_given_more(void **state)
{
    struct bench *b = *state;

    begin_slow_start(b);
    assert_int_equal(disk_info(b->registry.disks, false, on_done, b, NULL), 0);
    be_slow();
    let_open();
    assert_int_equal(wait_done(b), 0); /* start */
    assert_int_equal(wait_done(b), 0);
}

/* As bench_stop asserts. */
static void disk_that_was_found_slow_ends_in_order(void **state)
{
    struct bench *b = *state;

    begin_slow_start(b);
    find_slow(b);
    let_open();
}

/* ---- what is under way when the daemon ends ---- */

static void add_that_ends_then_is_kept(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    hold_opens();
    begin_add(b);
    wait_held();
    begin_end(b);
    let_open();
    assert_int_equal(wait_done(b), 0);
    end(b);
    assert_int_equal(b->table_size, 1);
    assert_string_equal(b->table.config.name, "vda");
    assert_int_equal(b->table.size, IMAGE_BYTES);
}

static void add_that_is_late_then_leaves_nothing(void **state)
{
    struct bench *b = *state;

    start_registry(b, OPEN_MS);
    hold_opens();
    assert_int_equal(add_new_image(b), -ETIMEDOUT);
    begin_end(b);
    let_open();
    end(b);
    assert_int_equal(b->table_size, 0);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

static void add_that_is_late_then_holds_nobody_up(void **state)
{
    struct bench *b = *state;

    start_registry(b, OPEN_MS);
    hold_opens();
    assert_int_equal(add_new_image(b), -ETIMEDOUT);
    hangs_at_close = true;
    let_open();
    begin_end(b);
    end(b);
    hangs_at_close = false;
    assert_int_equal(b->table_size, 0);
}

/* Nobody waits for the file system, and the file that is made all the same is deleted. */
static void add_that_is_not_open_then_leaves_nothing(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    be_silent();
    begin_add(b);
    wait_held();
    begin_end(b);
    assert_int_equal(wait_done(b), -ECANCELED);
    end(b);
    assert_int_equal(b->table_size, 0);
    let_open();
    wait_true(&has_answered);
    expect_image_goes(b);
}

static void add_that_fails_then_is_told(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    hold_opens();
    prepare_add(b);
    (void)snprintf(b->config.socket, sizeof(b->config.socket), "%s.no/socket", b->control.dir);
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, NULL), 0);
    wait_held();
    begin_end(b);
    let_open();
    assert_int_equal(wait_done(b), -ENOENT);
    end(b);
    assert_int_equal(b->table_size, 0);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

static void start_that_ends_then_is_kept(void **state)
{
    struct bench *b = *state;

    begin_slow_start(b);
    begin_end(b);
    let_open();
    assert_int_equal(wait_done(b), 0);
    end(b);
    assert_int_equal(b->table_size, 1);
    assert_false(b->table.is_stopped);
}

static int stop_disk(struct bench *b)
{
    assert_int_equal(disk_stop(b->registry.disks, false, 20000, on_done, b, NULL), 0);
    return wait_done(b);
}

static void start_with_stopped_disk(struct bench *b)
{
    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    assert_int_equal(stop_disk(b), 0);
}

/* Its client was told that it goes on. */
static void start_image_late(struct bench *b, bool new_image)
{
    b->registry.opts.open_ms = 10;
    be_silent();
    assert_int_equal(disk_start(b->registry.disks, new_image, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), -ETIMEDOUT);
}

static void start_late(struct bench *b)
{
    start_with_stopped_disk(b);
    start_image_late(b, false);
}

static void start_that_is_late_then_is_kept(void **state)
{
    struct bench *b = *state;

    start_late(b);
    begin_end(b);
    end(b);
    assert_int_equal(b->table_size, 1);
    assert_false(b->table.is_stopped);
    let_open();
    wait_true(&has_answered);
}

static void start_that_is_late_and_fails_is_not_kept(void **state)
{
    struct bench *b = *state;

    start_late(b);
    assert_false(b->registry.disks->record.is_stopped);
    assert_int_equal(unlink(b->image), 0);
    let_open();
    while (!b->registry.disks->record.is_stopped) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    begin_end(b);
    end(b);
    assert_true(b->table.is_stopped);
}

static uint64_t replace_image(const struct bench *b)
{
    char other[sizeof(b->image) + 8];
    struct stat st;
    FILE *file;

    (void)snprintf(other, sizeof(other), "%s.other", b->image);
    file = fopen(other, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(other, IMAGE_BYTES), 0);
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(rename(other, b->image), 0);
    return st.st_ino;
}

static void wait_opened(struct bench *b, uint64_t inode)
{
    const struct disk_record *record = &b->registry.disks->record;
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while ((uint64_t)record->opened.inode != inode) {
        assert_true(now_ns() < deadline_ns);
        uv_run(&b->control.loop, UV_RUN_NOWAIT);
    }
}

/* Or the daemon would refuse it when it is started again. */
static void image_of_a_start_that_is_late_is_kept(void **state)
{
    struct bench *b = *state;
    uint64_t inode;

    start_with_stopped_disk(b);
    inode = replace_image(b);
    start_image_late(b, true);
    let_open();
    wait_opened(b, inode);
    begin_end(b);
    end(b);
    assert_int_equal(b->table.opened.inode, inode);
}

static void size_of_an_image_that_a_late_start_opens_is_kept(void **state)
{
    struct bench *b = *state;

    start_with_stopped_disk(b);
    assert_int_equal(truncate(b->image, 2 * IMAGE_BYTES), 0);
    start_image_late(b, false);
    let_open();
    while (b->registry.disks->record.size != 2 * IMAGE_BYTES) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    begin_end(b);
    end(b);
    assert_int_equal(b->table.size, 2 * IMAGE_BYTES);
}

static void on_restored(void *arg)
{
    add_answer(arg, 0);
}

/* One disk, as if the daemon were started. */
static void restore_disk(struct bench *b)
{
    struct disk_record *record = calloc(1, sizeof(*record));

    assert_non_null(record);
    prepare_add(b);
    b->config.image.create = false;
    b->config.image.size = 0;
    assert_int_equal(disk_config_complete(&b->config, b->control.dir, NULL), 0);
    *record = (struct disk_record){
        .config = b->config, .size = IMAGE_BYTES, .logical_block = 512, .physical_block = 4096};
    assert_int_equal(registry_restore(&b->registry, record, 1, on_restored, b, NULL), 0);
    free(record);
    (void)wait_done(b);
}

/* The daemon did not wait for it. */
static void image_of_a_disk_that_is_restored_late_is_kept(void **state)
{
    struct bench *b = *state;
    uint64_t inode = replace_image(b);

    start_registry(b, 10);
    be_silent();
    restore_disk(b);
    let_open();
    wait_opened(b, inode);
    begin_end(b);
    end(b);
    assert_int_equal(b->table.opened.inode, inode);
}

static struct disk *fail_to_restore_disk(struct bench *b)
{
    (void)replace_image(b);
    start_registry(b, 60000);
    lacks_files = true;
    restore_disk(b);
    lacks_files = false;
    return registry_find(&b->registry, "vda", NULL);
}

/* It comes back when there is more of what was lacking. */
static void disk_that_cannot_be_restored_stays_in_the_table(void **state)
{
    struct bench *b = *state;
    struct disk *disk = fail_to_restore_disk(b);
    struct err err;

    (void)add_null(b, "vdb", NULL);
    assert_int_equal(disk_info(disk, false, on_done, b, &err), -EAGAIN);
    begin_end(b);
    end(b);
    assert_int_equal(b->table_size, 2);
    assert_string_equal(b->table.config.name, "vda");
}

/* And added again, by its name, while the daemon runs. */
static void disk_that_cannot_be_restored_can_be_removed(void **state)
{
    struct bench *b = *state;
    struct disk *disk = fail_to_restore_disk(b);

    assert_int_equal(disk_remove(disk, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    wait_no_disks(b);
    (void)add_null(b, "vda", NULL);
    begin_end(b);
    end(b);
    assert_int_equal(b->table_size, 1);
    assert_string_equal(b->table.config.image.type, "null");
}

/* As it is in no table any more by then, the disk must not go twice. */
static void removal_of_a_disk_that_cannot_be_restored_outlasts_the_end(void **state)
{
    struct bench *b = *state;
    struct disk *disk = fail_to_restore_disk(b);

    assert_int_equal(disk_remove(disk, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(disk_remove(disk, false, 20000, on_done, b, NULL), 0);
    begin_end(b);
    end(b);
    assert_int_equal(b->table_size, 0);
}

/* As some NFS mounts do: its client was told that it does not go on. */
static void start_that_fails_by_a_time_out_of_the_file_system_is_not_kept(void **state)
{
    struct bench *b = *state;

    start_with_stopped_disk(b);
    open_error = -ETIMEDOUT;
    assert_int_equal(disk_start(b->registry.disks, false, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), -ETIMEDOUT);
    begin_end(b);
    end(b);
    assert_true(b->table.is_stopped);
}

static void remove_that_ends_then_is_kept(void **state)
{
    struct bench *b = *state;

    begin_slow_start(b);
    assert_int_equal(disk_remove(b->registry.disks, true, 20000, on_done, b, NULL), 0);
    begin_end(b);
    let_open();
    assert_int_equal(wait_done(b), 0); /* start */
    assert_int_equal(wait_done(b), 0);
    end(b);
    assert_int_equal(b->table_size, 0);
}

static void set_that_ends_then_is_kept(void **state)
{
    struct bench *b = *state;
    struct settings change = {
        .poll_us = 7, .poll_cpu = PARAM_ABSENT, .threads = PARAM_ABSENT, SAME_RATES};

    begin_slow_start(b);
    assert_int_equal(disk_set(b->registry.disks, &change, on_done, b, NULL), 0);
    begin_end(b);
    let_open();
    assert_int_equal(wait_done(b), 0); /* start */
    assert_int_equal(wait_done(b), 0);
    end(b);
    assert_int_equal(b->table_size, 1);
    assert_int_equal(b->table.config.settings.poll_us, 7);
}

/* ---- groups of disks that share their limits ---- */

/* All disks but the first are of null images, so they are there at once. */
static struct disk *add_to_group(struct bench *b, const char *name, const char *group, int64_t iops)
{
    struct settings *settings = &b->config.settings;

    prepare_add(b);
    b->config.image = (struct image_config){.type = "null", .cache = "none", .size = IMAGE_BYTES};
    (void)snprintf(b->config.name, sizeof(b->config.name), "%s", name);
    (void)snprintf(b->config.socket, sizeof(b->config.socket), "%s.%s", b->image, name);
    (void)snprintf(settings->group, sizeof(settings->group), "%s", group);
    settings->rates.of[RATE_IOPS].average = iops;
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    return registry_find(&b->registry, name, NULL);
}

static int64_t iops_of(const struct disk *disk)
{
    return disk->record.config.settings.rates.of[RATE_IOPS].average;
}

static struct settings change_of(const char *group, int64_t iops)
{
    struct settings change = {.poll_us = PARAM_ABSENT,
                              .poll_cpu = PARAM_ABSENT,
                              .batch = PARAM_ABSENT,
                              .threads = PARAM_ABSENT,
                              SAME_RATES};

    (void)snprintf(change.group, sizeof(change.group), "%s", group);
    change.rates.of[RATE_IOPS].average = iops;
    return change;
}

static void change_disk(struct bench *b, struct disk *disk, const char *group, int64_t iops)
{
    struct settings change = change_of(group, iops);

    assert_int_equal(disk_set(disk, &change, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
}

static void group_has_one_set_of_limits(void **state)
{
    struct bench *b = *state;
    struct disk *first, *second, *other;

    start_registry(b, 60000);
    first = add_to_group(b, "a", "g", 100);
    second = add_to_group(b, "b", "g", 0);
    other = add_to_group(b, "c", "none", 7);
    assert_int_equal(iops_of(second), 100);
    change_disk(b, second, "", 50);
    assert_int_equal(iops_of(first), 50);
    assert_int_equal(iops_of(other), 7);
    change_disk(b, first, "none", PARAM_ABSENT);
    change_disk(b, second, "", 20);
    assert_int_equal(iops_of(first), 50);
    change_disk(b, other, "g", PARAM_ABSENT);
    assert_int_equal(iops_of(other), 20);
    change_disk(b, other, "", 0);
    assert_int_equal(iops_of(second), 0);
    begin_end(b);
    end(b);
}

static void nobody_is_told(struct limit_member *member)
{
    (void)member;
}

/* The answer to the later of two changes was there first, so the one that is here is the older. */
static void table_has_what_holds_for_a_group_and_not_what_was_told_last(void **state)
{
    struct bench *b = *state;
    struct settings change = change_of("", PARAM_ABSENT);
    static struct limit_member other;
    struct rates from, to;
    struct disk *disk;

    start_registry(b, 60000);
    disk = add_to_group(b, "a", "g", 100);
    assert_int_equal(limit_join(&other, "g", &(struct rates){0}, nobody_is_told, NULL), 0);
    limit_rates(&other, &from);
    to = from;
    to.of[RATE_IOPS].average = 300;
    assert_true(limit_set(&other, &from, &to, now_ns()));
    disk->record.config.settings.rates.of[RATE_IOPS].average = 200;
    disk->record.config.settings.poll_us = 1;
    change.poll_us = 9;
    assert_int_equal(disk_set(disk, &change, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    assert_int_equal(iops_of(disk), 300);
    limit_leave(&other);
    begin_end(b);
    end(b);
}

static void disk_that_joins_changes_no_limits(void **state)
{
    struct bench *b = *state;
    struct settings change = change_of("g", 5);
    struct disk *disk;
    struct err err;

    start_registry(b, 60000);
    (void)add_to_group(b, "a", "g", 100);
    disk = add_to_group(b, "b", "none", 0);
    assert_int_equal(disk_set(disk, &change, on_done, b, &err), -EEXIST);
    assert_non_null(strstr(err.text, "b: group: g has limits already, which are also those of a"));
    (void)snprintf(b->config.name, sizeof(b->config.name), "c");
    (void)snprintf(b->config.socket, sizeof(b->config.socket), "%s.c", b->image);
    (void)snprintf(b->config.settings.group, sizeof(b->config.settings.group), "g");
    b->config.settings.rates.of[RATE_IOPS].average = 5;
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, &err), -EEXIST);
    change = change_of("g", 100); /* the same */
    assert_int_equal(disk_set(disk, &change, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    begin_end(b);
    end(b);
}

/* ---- sockets whose directory goes ---- */

static void wait_is(struct bench *b, bool (*is_true)(struct bench *b))
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (!is_true(b)) {
        assert_true(now_ns() < deadline_ns);
        uv_run(&b->control.loop, UV_RUN_NOWAIT);
    }
}

static bool is_watched(struct bench *b)
{
    return b->registry.disks->directory >= 0;
}

static bool is_lost(struct bench *b)
{
    return !is_watched(b);
}

static bool is_late(struct bench *b)
{
    return b->registry.disks->late_ops > 0 && b->registry.disks->must_look;
}

static bool is_in_place(struct bench *b)
{
    return is_watched(b) && !b->registry.disks->must_look &&
           access(b->registry.disks->record.config.socket, F_OK) == 0;
}

/* The clock need not be waited for. */
static void let_clock_strike(struct bench *b)
{
    uv_timer_t *timer = &b->registry.look_timer;

    assert_true(uv_is_active((uv_handle_t *)timer));
    assert_int_equal(uv_timer_start(timer, timer->timer_cb, 0, 0), 0);
    uv_run(&b->control.loop, UV_RUN_NOWAIT);
}

/* As the disk's thread may hang in that very directory. */
static void directory_that_a_disk_has_not_found_is_left_alone_by_control(void **state)
{
    struct bench *b = *state;
    char dir[96];
    char away[96];

    (void)snprintf(dir, sizeof(dir), "%s/sub", b->control.dir);
    (void)snprintf(away, sizeof(away), "%s/away", b->control.dir);
    assert_return_code(mkdir(dir, 0700), errno);
    start_registry(b, 60000);
    prepare_add(b);
    (void)snprintf(b->config.socket, sizeof(b->config.socket), "%s/sub/s", b->control.dir);
    assert_int_equal(registry_add(&b->registry, &b->config, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    assert_int_equal(disk_stop(b->registry.disks, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    wait_is(b, is_watched);
    hold_opens();
    assert_int_equal(disk_start(b->registry.disks, false, on_done, b, NULL), 0);
    wait_held();
    assert_return_code(rename(dir, away), errno);
    assert_return_code(mkdir(dir, 0700), errno);
    wait_is(b, is_lost);
    wait_is(b, is_late);
    let_clock_strike(b);
    assert_true(is_lost(b));
    let_open();
    assert_int_equal(wait_done(b), 0); /* start */
    wait_is(b, is_in_place);
}

/* ---- a state directory that cannot be written ---- */

static void break_state(struct bench *b, bool is_broken)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s/disks.json.new", b->control.dir);
    assert_int_equal(is_broken ? mkdir(name, 0700) : rmdir(name), 0);
}

/* As its thread tells it. */
static void say_writethrough(struct bench *b, bool on)
{
    struct disk *disk = b->registry.disks;

    disk->plane.cache.is_writethrough = on;
    disk->plane.cache.err.code = 0;
    registry_cache_keep(&disk->plane);
}

/* The disk's thread has its message back, as it answers what was asked later. */
static void wait_told(struct bench *b)
{
    while (b->registry.disks->ops > 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_equal(disk_info(b->registry.disks, false, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
}

static void what_a_guest_says_of_its_cache_is_kept(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    say_writethrough(b, true);
    assert_true(keeper_is_dirty(&b->registry.keeper));
    wait_told(b);
    assert_false(keeper_is_dirty(&b->registry.keeper));
    assert_int_equal(b->registry.disks->plane.cache.err.code, 0);
    say_writethrough(b, true); /* said again, it is there */
    assert_int_equal(b->registry.disks->ops, 0);
    begin_end(b);
    end(b);
    assert_true(b->table.is_writethrough);
}

static void what_a_guest_says_and_is_not_kept_is_told(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    break_state(b, true);
    for (unsigned i = 0; i < 2; i++) {
        say_writethrough(b, true);
        wait_told(b);
        assert_int_equal(b->registry.disks->plane.cache.err.code, -EISDIR);
    }
    break_state(b, false);
    begin_end(b);
    end(b);
    assert_true(b->table.is_writethrough);
}

static void disk_may_go_while_that_is_written(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    say_writethrough(b, true);
    assert_int_equal(disk_remove(b->registry.disks, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    wait_no_disks(b);
    assert_int_equal(add_new_image(b), -EEXIST); /* the file of the one before */
    assert_int_equal(unlink(b->image), 0);
    assert_int_equal(add_new_image(b), 0);
    say_writethrough(b, true);
    begin_end(b);
    end(b);
    assert_true(b->table.is_writethrough);
}

static void handed_over_image_is_kept_so_until_it_is_taken(void **state)
{
    struct bench *b = *state;
    struct disk *disk;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    disk = b->registry.disks;
    assert_false(disk->record.config.incoming);
    registry_handover_keep(&disk->plane);
    assert_true(keeper_is_dirty(&b->registry.keeper));
    wait_told(b);
    assert_false(keeper_is_dirty(&b->registry.keeper));
    assert_true(disk->record.config.incoming);
    assert_int_equal(stop_disk(b), 0);
    assert_true(disk->record.config.incoming);
    assert_int_equal(disk_start(disk, false, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), 0);
    assert_false(disk->record.config.incoming);
    registry_handover_keep(&disk->plane);
    begin_end(b);
    end(b);
    assert_true(b->table.config.incoming);
}

static void what_is_not_kept_is_told_each_time(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    break_state(b, true);
    assert_int_equal(stop_disk(b), -EISDIR);
    assert_int_equal(stop_disk(b), -EISDIR);
    break_state(b, false);
    assert_int_equal(stop_disk(b), 0);
    begin_end(b);
    end(b);
    assert_true(b->table.is_stopped);
}

static void removal_that_is_not_kept_is_tried_again_at_the_end(void **state)
{
    struct bench *b = *state;

    start_registry(b, 60000);
    assert_int_equal(add_new_image(b), 0);
    break_state(b, true);
    assert_int_equal(disk_remove(b->registry.disks, false, 20000, on_done, b, NULL), 0);
    assert_int_equal(wait_done(b), -EISDIR);
    break_state(b, false);
    begin_end(b);
    end(b);
    assert_int_equal(b->table_size, 0);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(serial_that_is_not_asked_for_is_no_other_disks),
        bench_test(disk_opened_too_late_goes_with_the_file_that_it_made),
        bench_test(disk_that_is_added_can_be_removed_before_its_image_is_open),
        bench_test(disk_opened_in_time_stays_and_so_does_its_file),
        bench_test(disk_opened_too_late_goes_though_it_was_found_slow),
        bench_test(disk_opened_too_late_goes_with_its_file_though_it_is_being_removed),
        bench_test(answer_that_control_sees_too_late_is_not_late),
        bench_test(disk_that_had_as_little_time_as_control_is_given_more),
        bench_test(disk_that_was_found_slow_ends_in_order),
        bench_test(add_that_ends_then_is_kept),
        bench_test(add_that_is_late_then_leaves_nothing),
        bench_test(add_that_is_late_then_holds_nobody_up),
        bench_test(add_that_is_not_open_then_leaves_nothing),
        bench_test(add_that_fails_then_is_told),
        bench_test(start_that_ends_then_is_kept),
        bench_test(start_that_is_late_then_is_kept),
        bench_test(start_that_is_late_and_fails_is_not_kept),
        bench_test(image_of_a_start_that_is_late_is_kept),
        bench_test(size_of_an_image_that_a_late_start_opens_is_kept),
        bench_test(image_of_a_disk_that_is_restored_late_is_kept),
        bench_test(disk_that_cannot_be_restored_stays_in_the_table),
        bench_test(disk_that_cannot_be_restored_can_be_removed),
        bench_test(removal_of_a_disk_that_cannot_be_restored_outlasts_the_end),
        bench_test(start_that_fails_by_a_time_out_of_the_file_system_is_not_kept),
        bench_test(remove_that_ends_then_is_kept),
        bench_test(set_that_ends_then_is_kept),
        bench_test(group_has_one_set_of_limits),
        bench_test(table_has_what_holds_for_a_group_and_not_what_was_told_last),
        bench_test(disk_that_joins_changes_no_limits),
        bench_test(directory_that_a_disk_has_not_found_is_left_alone_by_control),
        bench_test(what_a_guest_says_of_its_cache_is_kept),
        bench_test(what_a_guest_says_and_is_not_kept_is_told),
        bench_test(disk_may_go_while_that_is_written),
        bench_test(handed_over_image_is_kept_so_until_it_is_taken),
        bench_test(what_is_not_kept_is_told_each_time),
        bench_test(removal_that_is_not_kept_is_tried_again_at_the_end),
    };

    return unit_run(tests);
}
