/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/plane.h"
#include "tests/lib/frontend.h"
#include "tests/unit/control_world.h"

#define DISK_BYTES (1u << 20)

/* Longer than any time-out here, and short enough to wait for. */
#define DELAY_MS 300

/*
 * A disk on its own thread; the test's thread is control, and the front-end.  Requests are
 * kept apart, as each is its own message.
 */
struct bench {
    struct control_world control;
    char image[96];
    struct plane_opts opts;
    struct plane *plane;
    struct plane_request request[4];
    unsigned answered[4]; /* the number of the answer, 0: none yet */
    unsigned answers;
    bool is_gone;
    bool has_ended;
    struct frontend fe;
    bool has_front_end;
};

static struct bench *bench; /* for callbacks that get a plane only */

static void on_gone(struct plane *plane)
{
    bench->is_gone = true;
    plane_end(plane);
}

static void on_ended(struct plane *plane)
{
    bench->has_ended = true;
}

static void on_answered(struct plane_request *request)
{
    bench->answered[request - bench->request] = ++bench->answers;
}

static void set_socket(struct bench *b, const char *name)
{
    char *path = b->opts.socket_path;

    (void)snprintf(path, sizeof(b->opts.socket_path), "%s/%s", b->control.dir, name);
}

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    bench = b;
    *state = b;
    control_world_start(&b->control, "plane");
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->control.dir);
    b->opts = (struct plane_opts){
        .name = "vda",
        .settings = {.poll_us = 50, .poll_cpu = 100, .engine = "auto", .threads = 1},
        .image = {.type = "null", .path = b->image, .size = DISK_BYTES, .delay_ms = DELAY_MS},
        .serial = "vda",
        .queues = 2,
        .queue_size = 64,
    };
    set_socket(b, "vda.sock");
    return 0;
}

static void send_request(struct bench *b, unsigned slot, enum plane_verb verb, uint32_t timeout_ms)
{
    struct plane_request *request = &b->request[slot];
    bool force = request->force;
    bool undo = request->undo;
    struct settings change = request->change;

    memset(request, 0, sizeof(*request));
    request->change = change;
    b->answered[slot] = 0;
    request->verb = verb;
    request->timeout_ms = timeout_ms;
    request->force = force;
    request->undo = undo;
    request->answered = on_answered;
    plane_send(b->plane, request);
}

static int wait_for(struct bench *b, unsigned slot)
{
    while (b->answered[slot] == 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    return b->request[slot].err.code;
}

static int ask(struct bench *b, enum plane_verb verb)
{
    send_request(b, 0, verb, 5000);
    return wait_for(b, 0);
}

static const struct plane_info *info(struct bench *b)
{
    assert_int_equal(ask(b, PLANE_INFO), 0);
    return &b->request[0].info;
}

static void start_plane(struct bench *b)
{
    struct mailbox *control = &b->control.mailbox;

    b->plane = calloc(1, sizeof(*b->plane));
    assert_non_null(b->plane);
    b->is_gone = false;
    b->has_ended = false;
    assert_int_equal(plane_start(b->plane, &b->opts, control, on_gone, on_ended, NULL), 0);
}

static int open_disk(struct bench *b)
{
    start_plane(b);
    return ask(b, PLANE_OPEN);
}

/* Its thread has been told to end. */
static void wait_ended(struct bench *b)
{
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
}

static void remove_disk(struct bench *b)
{
    b->request[0].force = true;
    assert_int_equal(ask(b, PLANE_REMOVE), 0);
    assert_true(b->is_gone);
    wait_ended(b);
}

static void connect_front_end(struct bench *b)
{
    const struct frontend_opts opts = {
        .socket = b->opts.socket_path,
        .queues = 1,
        .queue_size = 16,
        .depth = 8,
        .request_bytes = 4096,
    };

    frontend_init(&b->fe, &opts);
    b->has_front_end = true;
    assert_int_equal(frontend_start(&b->fe), 0);
}

static void put_write(struct bench *b, uint64_t sector)
{
    struct frontend_request *request =
        frontend_prepare(&b->fe.ring[0], VIRTIO_BLK_T_OUT, sector, 4096);

    assert_non_null(request);
    frontend_put(request);
    frontend_kick(&b->fe.ring[0]);
}

/* Until the disk has taken `count` requests. */
static void wait_inflight(struct bench *b, unsigned count)
{
    while (info(b)->stats.inflight < count) {
    }
}

static void begin_write(struct bench *b, uint64_t sector)
{
    put_write(b, sector);
    wait_inflight(b, 1);
}

/* With a front-end, and its write in flight. */
static void open_busy_disk(struct bench *b)
{
    assert_int_equal(open_disk(b), 0);
    connect_front_end(b);
    begin_write(b, 0);
}

static void expect_written(struct bench *b)
{
    struct frontend_request *request;

    while (!(request = frontend_reap(&b->fe.ring[0]))) {
        assert_int_equal(frontend_wait(&b->fe, 5000), 0);
    }
    assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
    frontend_release(request);
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    if (b->plane) {
        remove_disk(b);
    }
    if (b->has_front_end) {
        frontend_disconnect(&b->fe);
        frontend_fini(&b->fe);
    }
    control_world_stop(&b->control);
    free(b);
    return 0;
}

/* ---- open ---- */

static void disk_runs_when_it_is_open(void **state)
{
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(info(b)->geometry.size, DISK_BYTES);
    assert_true(info(b)->is_listening);
    assert_false(info(b)->has_peer);
    assert_int_equal(access(b->opts.socket_path, F_OK), 0);
    remove_disk(b);
    assert_int_not_equal(access(b->opts.socket_path, F_OK), 0);
}

static void failed_open_leaves_nothing(void **state)
{
    struct bench *b = *state;

    b->opts.image.type = "file";
    b->opts.image.size = 0;
    b->opts.image.delay_ms = 0;
    assert_int_equal(open_disk(b), -ENOENT);
    assert_non_null(strstr(b->request[0].err.text, b->image));
    wait_ended(b);
    assert_int_not_equal(access(b->opts.socket_path, F_OK), 0);
}

static void set_new_image(struct bench *b)
{
    b->opts.image = (struct backend_opts){.type = "file",
                                          .path = b->image,
                                          .size = DISK_BYTES,
                                          .create = true,
                                          .cache = CACHE_WRITEBACK};
}

/* The image is open by then, and was made for this disk. */
static void failed_socket_takes_the_new_image_back(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    set_socket(b, "no/such.sock");
    assert_true(open_disk(b) < 0);
    wait_ended(b);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

static void questions_after_a_failed_open_are_answered(void **state)
{
    struct bench *b = *state;

    b->opts.image.type = "file";
    start_plane(b);
    send_request(b, 0, PLANE_OPEN, 0);
    send_request(b, 1, PLANE_INFO, 0);
    send_request(b, 2, PLANE_STOP, 1000);
    assert_true(wait_for(b, 0) < 0);
    assert_int_equal(wait_for(b, 1), -ENODEV);
    assert_int_equal(wait_for(b, 2), -ENODEV);
    wait_ended(b);
}

/* ---- stop and start ---- */

static void stop_and_start_say_whether_they_changed_anything(void **state)
{
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_false(b->request[0].has_changed);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_true(b->request[0].has_changed);
    assert_int_equal(b->request[0].info.state, PLANE_STOPPED);
    assert_false(b->request[0].info.has_image);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_false(b->request[0].has_changed);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_true(b->request[0].has_changed);
    assert_int_equal(b->request[0].info.state, PLANE_RUNNING);
}

static void stop_lets_what_is_in_flight_finish(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(info(b)->stats.inflight, 0);
    expect_written(b);
    put_write(b, 8);
    assert_int_equal(info(b)->stats.inflight, 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_written(b);
}

static void late_drain_is_told_and_goes_on(void **state)
{
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    connect_front_end(b);
    begin_write(b, 16);
    send_request(b, 0, PLANE_STOP, 10);
    send_request(b, 1, PLANE_STOP, 5000);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    assert_non_null(strstr(b->request[0].err.text,
                           "vda: still draining: 1 in flight, the oldest a write of 4096 bytes at "
                           "offset 8192, for 0."));
    assert_int_equal(b->request[0].info.state, PLANE_STOPPING);
    assert_int_equal(b->answered[1], 0);
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(b->request[1].info.state, PLANE_STOPPED);
    expect_written(b);
}

static void start_cancels_a_drain(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_request(b, 0, PLANE_STOP, 5000);
    send_request(b, 1, PLANE_START, 0);
    assert_int_equal(wait_for(b, 0), -ECANCELED);
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(b->request[1].info.state, PLANE_RUNNING);
    expect_written(b);
    put_write(b, 0);
    expect_written(b);
}

/* ---- remove ---- */

static void disk_in_use_is_removed_by_force_only(void **state)
{
    struct bench *b = *state;
    char pid[32];

    open_busy_disk(b);
    assert_int_equal(ask(b, PLANE_REMOVE), -EBUSY);
    (void)snprintf(pid, sizeof(pid), "(pid %d)", (int)getpid());
    assert_non_null(strstr(b->request[0].err.text, pid));
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    remove_disk(b);
    expect_written(b);
}

static void removal_past_its_deadline_goes_on(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    b->request[0].force = true;
    send_request(b, 0, PLANE_REMOVE, 10);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    assert_int_equal(ask(b, PLANE_STOP), -EBUSY);
    assert_int_equal(info(b)->state, PLANE_REMOVING);
    remove_disk(b);
    expect_written(b);
}

static void removal_tells_those_who_wait_for_a_stop(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_request(b, 1, PLANE_STOP, 5000);
    b->request[0].force = true;
    send_request(b, 0, PLANE_REMOVE, 5000);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_int_equal(wait_for(b, 0), 0);
    wait_ended(b);
}

static void removal_leaves_the_image_that_was_made(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    remove_disk(b);
    assert_int_equal(access(b->image, F_OK), 0);
}

static void undoing_an_add_takes_the_image_that_it_made(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    b->request[0].undo = true;
    remove_disk(b);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

/* ---- restore ---- */

static void restore_opts(struct bench *b)
{
    b->opts.image =
        (struct backend_opts){.type = "file", .path = b->image, .cache = CACHE_WRITEBACK};
    b->opts.is_restored = true;
    b->opts.geometry =
        (struct plane_geometry){.size = DISK_BYTES, .logical_block = 512, .physical_block = 4096};
}

static void make_image(struct bench *b, off_t size)
{
    int fd = open(b->image, O_RDWR | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void restore_image(struct bench *b)
{
    restore_opts(b);
    make_image(b, DISK_BYTES);
}

static void restored_disk_without_an_image_exists_and_says_why(void **state)
{
    struct bench *b = *state;

    restore_opts(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, b->image));
    assert_int_equal(info(b)->geometry.size, DISK_BYTES);
    assert_true(info(b)->is_listening);
    assert_int_equal(ask(b, PLANE_START), -ENOENT);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    make_image(b, DISK_BYTES);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_string_equal(info(b)->reason, "");
}

static void restored_disk_may_stay_stopped(void **state)
{
    struct bench *b = *state;

    restore_opts(b);
    b->opts.is_stopped = true;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    make_image(b, DISK_BYTES);
    assert_int_equal(ask(b, PLANE_START), 0);
}

static void image_that_shrank_fails_and_one_that_grew_is_larger(void **state)
{
    struct bench *b = *state;

    restore_opts(b);
    make_image(b, DISK_BYTES / 2);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    make_image(b, DISK_BYTES * 2);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->geometry.size, DISK_BYTES * 2);
}

static void failed_disk_can_be_stopped(void **state)
{
    struct bench *b = *state;

    restore_opts(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_true(b->request[0].has_changed);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
}

/* ---- settings ---- */

static struct settings *begin_change(struct bench *b, unsigned slot)
{
    b->request[slot].change = (struct settings){
        .poll_us = PARAM_ABSENT, .poll_cpu = PARAM_ABSENT, .threads = PARAM_ABSENT};
    return &b->request[slot].change;
}

static int set_engine(struct bench *b, const char *engine)
{
    struct settings *change = begin_change(b, 0);

    (void)snprintf(change->engine, sizeof(change->engine), "%s", engine);
    return ask(b, PLANE_SET);
}

static void engine_changes_while_the_image_is_closed(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    b->opts.is_stopped = true;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(set_engine(b, "aio"), 0);
    assert_true(b->request[0].has_changed);
    assert_string_equal(b->request[0].info.settings.engine, "aio");
    assert_string_equal(b->request[0].info.lane[0].engine, "");
    assert_int_equal(set_engine(b, "aio"), 0);
    assert_false(b->request[0].has_changed);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_string_equal(info(b)->lane[0].engine, "aio");
    assert_string_equal(info(b)->lane[0].engine_reason, "asked for");
}

static void engine_of_an_open_image_stays(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(set_engine(b, "auto"), 0);
    assert_false(b->request[0].has_changed);
    assert_int_equal(set_engine(b, "aio"), -EBUSY);
    assert_false(b->request[0].has_changed);
    assert_non_null(strstr(b->request[0].err.text, "vblkctl stop vda"));
    assert_string_equal(info(b)->settings.engine, "auto");
}

/* As when no AIO context was left for the second: that is the whole host's, so not done here. */
static void each_thread_tells_its_engine(void **state)
{
    struct bench *b = *state;
    struct backend *second;

    b->opts.settings.threads = 2;
    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->lane_count, 2);
    second = b->plane->dev.lanes[1]->backend;
    assert_string_equal(info(b)->lane[1].engine, second->engine);
    second->engine = "other";
    second->engine_reason = "too many disks";
    assert_string_not_equal(info(b)->lane[0].engine, "other");
    assert_string_equal(info(b)->lane[1].engine, "other");
    assert_string_equal(info(b)->lane[1].engine_reason, "too many disks");
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_string_equal(info(b)->lane[1].engine, "");
}

static void polling_changes_under_a_front_end(void **state)
{
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    assert_int_equal(b->plane->dev.lane.spin.max_ns, 50 * 1000);
    connect_front_end(b);
    begin_write(b, 0);
    begin_change(b, 0)->poll_us = 0;
    assert_int_equal(ask(b, PLANE_SET), 0);
    assert_true(b->request[0].has_changed);
    assert_int_equal(b->request[0].info.settings.poll_us, 0);
    assert_int_equal(b->request[0].info.settings.poll_cpu, 100);
    begin_change(b, 0)->poll_cpu = 25;
    assert_int_equal(ask(b, PLANE_SET), 0);
    assert_int_equal(b->request[0].info.settings.poll_us, 0);
    assert_int_equal(b->request[0].info.settings.poll_cpu, 25);
    assert_int_equal(b->plane->dev.lane.spin.max_ns, 0);
    assert_int_equal(b->plane->dev.lane.spin.cpu_percent, 25);
    expect_written(b);
}

static void refused_change_changes_nothing(void **state)
{
    struct bench *b = *state;
    struct settings *change = begin_change(b, 0);

    assert_int_equal(open_disk(b), 0);
    change->poll_us = 7;
    (void)snprintf(change->engine, sizeof(change->engine), "aio");
    assert_int_equal(ask(b, PLANE_SET), -EBUSY);
    assert_false(b->request[0].has_changed);
    assert_int_equal(info(b)->settings.poll_us, 50);
    assert_int_equal(b->plane->dev.lane.spin.max_ns, 50 * 1000);
}

static void disk_that_is_being_removed_is_not_set(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    b->request[0].force = true;
    send_request(b, 0, PLANE_REMOVE, 10);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    assert_int_equal(set_engine(b, "auto"), -EBUSY);
    remove_disk(b);
}

/* ---- threads ---- */

static void send_threads(struct bench *b, unsigned slot, int threads, uint32_t timeout_ms)
{
    begin_change(b, slot)->threads = threads;
    send_request(b, slot, PLANE_SET, timeout_ms);
}

static void set_threads(struct bench *b, int threads)
{
    send_threads(b, 0, threads, 5000);
    assert_int_equal(wait_for(b, 0), 0);
}

static void threads_change_when_what_is_in_flight_has_ended(void **state)
{
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    connect_front_end(b);
    for (unsigned i = 0; i < 4; i++) {
        int threads = 2 - (int)i % 2;

        begin_write(b, 0);
        set_threads(b, threads);
        assert_true(b->request[0].has_changed);
        assert_int_equal(b->request[0].info.stats.inflight, 0);
        assert_int_equal(b->request[0].info.lane_count, threads);
        assert_int_equal(b->request[0].info.settings.threads, threads);
        assert_int_equal(b->request[0].info.pause_mask, 0);
        expect_written(b);
        assert_int_equal(info(b)->stats.type[STATS_WRITE].requests, i + 1);
    }
    set_threads(b, 1);
    assert_false(b->request[0].has_changed);
}

static void threads_stay_when_the_drain_takes_too_long(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_threads(b, 0, 2, 10);
    send_threads(b, 1, 2, 5000);
    assert_int_equal(wait_for(b, 1), -EBUSY);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    assert_non_null(strstr(b->request[0].err.text, "the disk goes on as before"));
    assert_int_equal(b->request[0].info.lane_count, 1);
    assert_int_equal(b->request[0].info.settings.threads, 1);
    assert_int_equal(b->request[0].info.pause_mask, 0);
    put_write(b, 8);
    expect_written(b);
    expect_written(b);
}

static void stop_and_a_change_of_threads_wait_for_the_same(void **state)
{
    struct bench *b = *state;

    b->opts.settings.threads = 2;
    assert_int_equal(open_disk(b), 0);
    connect_front_end(b);
    for (int i = 0; i < 2; i++) {
        begin_write(b, 0);
        send_threads(b, i, 1, 5000);
        send_request(b, 1 - i, PLANE_STOP, 5000);
        assert_int_equal(wait_for(b, 0), 0);
        assert_int_equal(wait_for(b, 1), 0);
        expect_written(b);
        assert_int_equal(info(b)->state, PLANE_STOPPED);
        assert_int_equal(info(b)->lane_count, 1);
        assert_int_equal(ask(b, PLANE_START), 0);
        set_threads(b, 2);
    }
    put_write(b, 0);
    expect_written(b);
}

static void removal_ends_a_change_of_threads(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_threads(b, 1, 2, 5000);
    b->request[0].force = true;
    assert_int_equal(ask(b, PLANE_REMOVE), 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    wait_ended(b);
}

static void restored_disk_has_its_threads(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    b->opts.settings.threads = 2;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(info(b)->lane_count, 2);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    set_threads(b, 1);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->lane_count, 1);
}

/* As a state file that somebody has edited may say. */
static void restored_disk_with_too_many_threads_is_failed(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    b->opts.settings.threads = 3;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, "threads: 3 cannot be had: there are 2 queues"));
    set_threads(b, 2);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->lane_count, 2);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(disk_runs_when_it_is_open),
        bench_test(failed_open_leaves_nothing),
        bench_test(failed_socket_takes_the_new_image_back),
        bench_test(questions_after_a_failed_open_are_answered),
        bench_test(stop_and_start_say_whether_they_changed_anything),
        bench_test(stop_lets_what_is_in_flight_finish),
        bench_test(late_drain_is_told_and_goes_on),
        bench_test(start_cancels_a_drain),
        bench_test(disk_in_use_is_removed_by_force_only),
        bench_test(removal_past_its_deadline_goes_on),
        bench_test(removal_tells_those_who_wait_for_a_stop),
        bench_test(removal_leaves_the_image_that_was_made),
        bench_test(undoing_an_add_takes_the_image_that_it_made),
        bench_test(restored_disk_without_an_image_exists_and_says_why),
        bench_test(restored_disk_may_stay_stopped),
        bench_test(image_that_shrank_fails_and_one_that_grew_is_larger),
        bench_test(failed_disk_can_be_stopped),
        bench_test(engine_changes_while_the_image_is_closed),
        bench_test(engine_of_an_open_image_stays),
        bench_test(each_thread_tells_its_engine),
        bench_test(polling_changes_under_a_front_end),
        bench_test(refused_change_changes_nothing),
        bench_test(disk_that_is_being_removed_is_not_set),
        bench_test(threads_change_when_what_is_in_flight_has_ended),
        bench_test(threads_stay_when_the_drain_takes_too_long),
        bench_test(stop_and_a_change_of_threads_wait_for_the_same),
        bench_test(removal_ends_a_change_of_threads),
        bench_test(restored_disk_has_its_threads),
        bench_test(restored_disk_with_too_many_threads_is_failed),
    };

    mem_guard_install();
    return unit_run(tests);
}
