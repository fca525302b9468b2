/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/block/image_allocate.h"
#include "core/block/node_file.h"
#include "core/device/device_change.h"
#include "core/base/chore.h"
#include "core/block/image_opening.h"
#include "core/device/device_state.h"
#include "daemon/plane_cache.h"
#include "daemon/plane_retry.h"
#include "daemon/plane_thread.h"
#include "tests/lib/frontend.h"
#include "tests/unit/chance.h"
#include "tests/unit/control_world.h"
#include "tests/unit/gate_image.h"
#include "tests/unit/no_rates.h"

#define DISK_BYTES (1u << 20)

/* Of whoever shall not give up. */
#define LONG_MS 60000

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
    unsigned resumed;
    bool is_gone;
    bool has_ended;
    struct frontend fe;
    bool has_front_end;
    unsigned keeps; /* how often control was told of the cache */
};

/* ---- images that are behind the gate, and file systems that do not answer ---- */

static void write_some(const char *path)
{
    static const char bytes[4096] = "somebody's";
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    close(fd);
}

/* The linker sends all calls of image_open to __wrap_image_open, and so on. */
int __real_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err);
void __real_image_close(struct image *image);
void __wrap_image_close(struct image *image);
void __real_image_fate_look(struct image_fate *fate, const char *path, int fd, bool had_name);
void __wrap_image_fate_look(struct image_fate *fate, const char *path, int fd, bool had_name);

static atomic_bool is_silent;
static atomic_bool is_asked;
static atomic_bool has_opened; /* after that */
static atomic_bool is_silent_at_end;
static atomic_bool has_closed; /* after that */
static sem_t may_answer;
static atomic_bool is_allocating; /* while that is so, something comes of an open that hangs */
static atomic_bool is_unwanted;   /* and the last one that hung found that it was, at its end */
static atomic_bool hangs_at_open; /* until it is false: for as many as come */
static atomic_bool hangs_at_close;
static atomic_bool is_used_at_once; /* by somebody who asks for no lock */
static atomic_bool hangs_at_look;
static atomic_bool is_looking;
static atomic_bool is_file_open; /* that the last look was for, by its end */

static void wait_while(const atomic_bool *hangs)
{
    while (*hangs) {
        (void)usleep(200);
    }
}

static void wait_for_answer(void)
{
    is_asked = true;
    while (sem_wait(&may_answer) < 0) {
    }
}

int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err)
{
    bool was_silent = is_silent;
    int ret;

    if (strcmp(opts->type, "null") == 0) {
        return gate_image_open(out, opts->size, err);
    }
    if (was_silent) {
        wait_for_answer();
    }
    while (is_allocating) {
        opts->progress->bytes += 512;
        (void)usleep(1000);
    }
    wait_while(&hangs_at_open);
    is_unwanted = opts->progress && opts->progress->is_unwanted;
    ret = __real_image_open(out, opts, err);
    if (is_used_at_once && ret == 0) {
        write_some(opts->path);
    }
    has_opened |= was_silent && ret == 0;
    return ret;
}

void __wrap_image_close(struct image *image)
{
    bool was_silent = is_silent_at_end;

    if (was_silent) {
        wait_for_answer();
    }
    wait_while(&hangs_at_close);
    __real_image_close(image);
    has_closed |= was_silent;
}

void __wrap_image_fate_look(struct image_fate *fate, const char *path, int fd, bool had_name)
{
    is_looking = true;
    wait_while(&hangs_at_look);
    __real_image_fate_look(fate, path, fd, had_name);
    is_file_open = fcntl(fd, F_GETFD) >= 0;
    is_looking = false;
}

static void be_silent(void)
{
    is_silent = true;
    is_asked = false;
    has_opened = false;
    assert_int_equal(sem_init(&may_answer, 0, 0), 0);
}

/* Files are opened, and not closed. */
static void be_silent_at_end(void)
{
    be_silent();
    is_silent = false;
    is_silent_at_end = true;
    has_closed = false;
}

static void wait_true(const atomic_bool *flag)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (!*flag) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(1000);
    }
}

static void answer(void)
{
    is_silent = false;
    is_silent_at_end = false;
    assert_int_equal(sem_post(&may_answer), 0);
}

/* ---- the disk ---- */

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

static void on_resumed(struct plane *plane)
{
    bench->resumed++;
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
        .socket_rights = {.mode = 0600, .uid = SOCKET_ANYBODY, .gid = SOCKET_ANYBODY},
        .settings = {.poll_us = 50,
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
        .image = {.type = "null", .path = b->image, .size = DISK_BYTES},
        .serial = "vda",
        .queues = 2,
        .queue_size = 64,
    };
    set_socket(b, "vda.sock");
    gate_open();
    return 0;
}

static void send_request(struct bench *b, unsigned slot, enum plane_verb verb, uint32_t timeout_ms)
{
    struct plane_request *request = &b->request[slot];
    bool force = request->force;
    bool undo = request->undo;
    bool new_image = request->new_image;
    bool wants_look = request->wants_look;
    bool is_exit = request->is_exit;
    struct settings change = request->change;

    memset(request, 0, sizeof(*request));
    request->change = change;
    b->answered[slot] = 0;
    request->verb = verb;
    request->timeout_ms = timeout_ms;
    request->force = force;
    request->undo = undo;
    request->new_image = new_image;
    request->wants_look = wants_look;
    request->is_exit = is_exit;
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
    send_request(b, 0, verb, LONG_MS);
    return wait_for(b, 0);
}

/* The same, of what waits for requests in flight, which end once it has been asked. */
static int ask_and_let_go(struct bench *b, enum plane_verb verb)
{
    send_request(b, 0, verb, LONG_MS);
    gate_open();
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
    assert_int_equal(plane_start(b->plane, &b->opts, control, on_gone, on_ended, on_resumed, NULL),
                     0);
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
    assert_int_equal(ask_and_let_go(b, PLANE_REMOVE), 0);
    assert_true(b->is_gone);
    wait_ended(b);
}

static struct settings *begin_change(struct bench *b, unsigned slot)
{
    b->request[slot].change = (struct settings){
        .poll_us = PARAM_ABSENT, .poll_cpu = PARAM_ABSENT, .threads = PARAM_ABSENT, SAME_RATES};
    return &b->request[slot].change;
}

static void connect_front_end(struct bench *b)
{
    const struct frontend_opts opts = {
        .socket = b->opts.socket_path,
        .queues = 1,
        .queue_size = 16,
        .depth = 8,
        .request_bytes = 4096,
        .accept = BIT(VIRTIO_BLK_F_CONFIG_WCE),
    };

    frontend_init(&b->fe, &opts);
    b->has_front_end = true;
    assert_int_equal(frontend_start(&b->fe), 0);
}

/* The connection before may still be on its way out. */
static void reconnect_front_end(struct bench *b)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    while (frontend_resume(&b->fe) < 0) {
        assert_true(now_ns() < deadline_ns);
        frontend_disconnect(&b->fe);
        (void)usleep(1000);
    }
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
    while (info(b)->device.stats.inflight < count) {
    }
}

/* It is in flight until the gate is opened. */
static void begin_write(struct bench *b, uint64_t sector)
{
    gate_shut();
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

    gate_open();
    while (!(request = frontend_reap(&b->fe.ring[0]))) {
        assert_int_equal(frontend_wait(&b->fe, LONG_MS), 0);
    }
    assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
    frontend_release(request);
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

    if (b->plane) {
        remove_disk(b);
    }
    if (b->has_front_end) {
        frontend_disconnect(&b->fe);
        frontend_fini(&b->fe);
    }
    wait_none_abandoned();
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
    assert_int_equal(open_disk(b), -ENOENT);
    assert_non_null(strstr(b->request[0].err.text, b->image));
    wait_ended(b);
    assert_int_not_equal(access(b->opts.socket_path, F_OK), 0);
}

static void set_new_image(struct bench *b)
{
    b->opts.image = (struct image_opts){.type = "file",
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

/* A watch of the directory, which sees what is done to the image, deleted or not. */
static int watch_image(struct bench *b)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    assert_true(fd >= 0);
    assert_true(inotify_add_watch(fd, b->control.dir, IN_DELETE | IN_CLOSE_WRITE) >= 0);
    return fd;
}

/* What was done to it last. */
static uint32_t last_seen(const struct bench *b, int fd)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    const struct inotify_event *event;
    uint32_t last = 0;
    ssize_t len;

    while ((len = read(fd, events, sizeof(events))) > 0) {
        for (const char *at = events; at < events + len; at += sizeof(*event) + event->len) {
            event = (const struct inotify_event *)at;
            if (event->len > 0 && strcmp(event->name, strrchr(b->image, '/') + 1) == 0) {
                last = event->mask;
            }
        }
    }
    close(fd);
    return last;
}

/* Once it is unlocked it may be somebody else's. */
static void new_image_is_deleted_before_it_is_unlocked(void **state)
{
    struct bench *b = *state;
    int watch = watch_image(b);

    set_new_image(b);
    set_socket(b, "no/such.sock");
    assert_true(open_disk(b) < 0);
    wait_ended(b);
    assert_int_equal(last_seen(b, watch), IN_CLOSE_WRITE);
    set_socket(b, "vda.sock");
    watch = watch_image(b);
    assert_int_equal(open_disk(b), 0);
    b->request[0].undo = true;
    remove_disk(b);
    assert_int_equal(last_seen(b, watch), IN_CLOSE_WRITE);
}

/* A disk that is added, in slot 1, with an image that it makes, of which the file system is silent.
 */
static void begin_silent_add(struct bench *b, uint32_t timeout_ms)
{
    set_new_image(b);
    be_silent();
    start_plane(b);
    send_request(b, 1, PLANE_OPEN, timeout_ms);
    wait_true(&is_asked);
}

/* What was made for nobody is deleted, by a thread that nobody waits for. */
static void expect_image_goes(struct bench *b)
{
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;

    wait_true(&has_opened);
    while (access(b->image, F_OK) == 0) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(1000);
    }
}

static void questions_are_answered_while_a_disk_is_added(void **state)
{
    struct bench *b = *state;

    begin_silent_add(b, 5000);
    assert_int_equal(info(b)->state, PLANE_OPENING);
    assert_string_equal(info(b)->reason, "its image is being opened");
    assert_int_equal(ask(b, PLANE_START), -EBUSY);
    assert_non_null(strstr(b->request[0].err.text, "it is being added"));
    assert_int_equal(ask(b, PLANE_STOP), -EBUSY);
    begin_change(b, 0)->threads = 2;
    assert_int_equal(ask(b, PLANE_SET), -EBUSY);
    assert_int_equal(b->answered[1], 0);
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(access(b->image, F_OK), 0);
}

static void disk_that_is_added_can_be_removed_before_its_image_is_open(void **state)
{
    struct bench *b = *state;

    begin_silent_add(b, LONG_MS);
    send_request(b, 0, PLANE_REMOVE, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_non_null(strstr(b->request[1].err.text, "removed before its image was open"));
    send_request(b, 2, PLANE_INFO, 0);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(b->answered[0], 0); /* the image is not free */
    answer();
    assert_int_equal(wait_for(b, 0), 0);
    assert_true(has_opened);
    assert_int_not_equal(access(b->image, F_OK), 0);
    wait_ended(b);
}

/* No error is for an image that is free. */
static void expect_left(struct bench *b, unsigned slot)
{
    send_request(b, slot, PLANE_REMOVE, 10);
    assert_int_equal(wait_for(b, slot), -ETIMEDOUT);
    assert_true(b->request[slot].is_done);
    assert_non_null(strstr(b->request[slot].err.text, "it was done, but its image may be in use"));
    assert_non_null(strstr(b->request[slot].err.text, b->image));
    wait_ended(b);
}

static void removal_says_that_what_is_being_opened_is_not_free(void **state)
{
    struct bench *b = *state;

    begin_silent_add(b, LONG_MS);
    expect_left(b, 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    answer();
    expect_image_goes(b);
}

static void late_add_leaves_nothing(void **state)
{
    struct bench *b = *state;

    begin_silent_add(b, 10);
    assert_int_equal(wait_for(b, 1), -ETIMEDOUT);
    assert_non_null(strstr(b->request[1].err.text, "the disk is not added"));
    assert_non_null(strstr(b->request[1].err.text, b->image));
    wait_ended(b);
    answer();
    expect_image_goes(b);
}

/* What takes long is no file system that hangs. */
static void add_is_waited_for_while_its_image_is_allocated(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    hangs_at_open = true;
    is_allocating = true;
    start_plane(b);
    send_request(b, 1, PLANE_OPEN, 500);
    (void)usleep(700 * 1000);
    assert_non_null(strstr(info(b)->reason, "its image is being opened: "));
    assert_non_null(strstr(info(b)->reason, " bytes are allocated"));
    assert_int_equal(b->answered[1], 0);
    is_allocating = false;
    assert_int_equal(wait_for(b, 1), -ETIMEDOUT);
    wait_ended(b);
    hangs_at_open = false;
    wait_true(&is_unwanted);
}

static void late_add_leaves_what_somebody_has_written(void **state)
{
    struct bench *b = *state;

    begin_silent_add(b, LONG_MS);
    is_used_at_once = true;
    send_request(b, 0, PLANE_REMOVE, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_non_null(strstr(b->request[1].err.text, "it is deleted, unless it is written to"));
    answer();
    assert_int_equal(wait_for(b, 0), 0);
    is_used_at_once = false;
    assert_int_equal(access(b->image, F_OK), 0);
    wait_ended(b);
}

static void images_that_are_left_are_not_too_many(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    hangs_at_open = true;
    for (unsigned i = 0; i < IMAGES_LEFT_MAX; i++) {
        start_plane(b);
        send_request(b, 0, PLANE_OPEN, 0);
        assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
        wait_ended(b);
    }
    start_plane(b);
    send_request(b, 0, PLANE_OPEN, LONG_MS);
    assert_int_equal(wait_for(b, 0), -EBUSY);
    assert_non_null(strstr(b->request[0].err.text, "as 64 images are still being opened"));
    wait_ended(b);
    hangs_at_open = false;
    wait_none_abandoned();
    assert_int_equal(open_disk(b), 0);
}

static void end_of_the_daemon_does_not_wait_for_an_add(void **state)
{
    struct bench *b = *state;

    begin_silent_add(b, 60000);
    assert_int_equal(ask(b, PLANE_HURRY), 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_non_null(strstr(b->request[1].err.text, "the daemon is ending"));
    wait_ended(b);
    answer();
    expect_image_goes(b);
}

/* An add that fails, in slot 1, as its socket cannot be made, and whose image does not close. */
static void begin_silent_failure(struct bench *b)
{
    set_new_image(b);
    set_socket(b, "no/such.sock");
    be_silent_at_end();
    start_plane(b);
    send_request(b, 1, PLANE_OPEN, 60000);
    wait_true(&is_asked);
}

static void questions_while_an_add_that_failed_is_undone_are_answered(void **state)
{
    struct bench *b = *state;

    begin_silent_failure(b);
    assert_int_equal(info(b)->state, PLANE_OPENING);
    assert_string_equal(info(b)->reason, "its image is being closed");
    assert_int_equal(ask(b, PLANE_STOP), -EBUSY);
    assert_non_null(strstr(b->request[0].err.text, "it was not added"));
    answer();
    assert_int_equal(wait_for(b, 1), -ENOENT);
    wait_ended(b);
    assert_int_not_equal(access(b->image, F_OK), 0);
}

/* Two seconds, and not the time that an image has to open. */
static void add_that_failed_waits_no_longer_than_need_be(void **state)
{
    struct bench *b = *state;

    begin_silent_failure(b);
    assert_int_equal(wait_for(b, 1), -ENOENT);
    assert_non_null(strstr(b->request[1].err.text, "its image may be in use until"));
    wait_ended(b);
    answer();
    wait_true(&has_closed);
}

static void add_that_failed_can_be_removed_while_it_is_undone(void **state)
{
    struct bench *b = *state;

    begin_silent_failure(b);
    expect_left(b, 0);
    assert_int_equal(wait_for(b, 1), -ENOENT);
    answer();
    wait_true(&has_closed);
}

static void end_of_the_daemon_does_not_wait_for_an_add_to_be_undone(void **state)
{
    struct bench *b = *state;

    begin_silent_failure(b);
    assert_int_equal(ask(b, PLANE_HURRY), 0);
    assert_int_equal(wait_for(b, 1), -ENOENT);
    wait_ended(b);
    answer();
    wait_true(&has_closed);
    assert_int_not_equal(access(b->image, F_OK), 0);
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
    assert_int_equal(ask_and_let_go(b, PLANE_STOP), 0);
    assert_int_equal(info(b)->device.stats.inflight, 0);
    expect_written(b);
    put_write(b, 8);
    assert_int_equal(info(b)->device.stats.inflight, 0);
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
    send_request(b, 1, PLANE_STOP, LONG_MS);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    assert_non_null(strstr(b->request[0].err.text,
                           "vda: still draining: 1 in flight, the oldest a write of 4096 bytes at "
                           "offset 8192, for "));
    assert_int_equal(b->request[0].info.state, PLANE_STOPPING);
    assert_int_equal(b->answered[1], 0);
    gate_open();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(b->request[1].info.state, PLANE_STOPPED);
    expect_written(b);
}

static void start_cancels_a_drain(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_request(b, 0, PLANE_STOP, LONG_MS);
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
    send_request(b, 1, PLANE_STOP, LONG_MS);
    b->request[0].force = true;
    send_request(b, 0, PLANE_REMOVE, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    gate_open();
    assert_int_equal(wait_for(b, 0), 0);
    wait_ended(b);
}

static void expect_stop_ends(struct bench *b, const char *text)
{
    b->request[0].force = true;
    b->request[0].is_exit = true;
    send_request(b, 0, PLANE_REMOVE, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_non_null(strstr(b->request[1].err.text, text));
    gate_open();
    assert_int_equal(wait_for(b, 0), 0);
    b->request[0].is_exit = false;
    wait_ended(b);
}

/* The table has a stop from its time-out on. */
static void end_of_the_daemon_says_what_becomes_of_a_stop(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_request(b, 1, PLANE_STOP, LONG_MS);
    expect_stop_ends(b, "started again, it runs the disk");
    frontend_disconnect(&b->fe);
    frontend_fini(&b->fe);
    open_busy_disk(b);
    send_request(b, 0, PLANE_STOP, 10);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    send_request(b, 1, PLANE_STOP, LONG_MS);
    expect_stop_ends(b, "started again, it leaves the disk stopped");
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

/* The other removal waits for a look at the file, which the image must stay open for. */
static void undoing_an_add_that_is_being_removed_takes_the_image_that_it_made(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    hangs_at_look = true;
    b->request[1].force = true;
    send_request(b, 1, PLANE_REMOVE, LONG_MS);
    while (info(b)->state != PLANE_REMOVING) {
        (void)usleep(1000);
    }
    b->request[2].undo = true;
    send_request(b, 2, PLANE_REMOVE, LONG_MS);
    (void)info(b); /* it has been taken by then */
    hangs_at_look = false;
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_not_equal(access(b->image, F_OK), 0);
    wait_ended(b);
}

static void undoing_an_add_leaves_what_was_written(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    write_some(b->image);
    b->request[0].undo = true;
    remove_disk(b);
    assert_int_equal(access(b->image, F_OK), 0);
}

static void make_image(struct bench *b, off_t size)
{
    int fd = open(b->image, O_RDWR | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

/* Where to. */
static char *move_image_away(struct bench *b)
{
    static char away[sizeof(b->image) + 8];

    (void)snprintf(away, sizeof(away), "%s.away", b->image);
    assert_int_equal(rename(b->image, away), 0);
    return away;
}

static void undoing_an_add_leaves_what_has_taken_its_place(void **state)
{
    struct bench *b = *state;

    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    (void)move_image_away(b);
    make_image(b, DISK_BYTES);
    b->request[0].undo = true;
    remove_disk(b);
    assert_int_equal(access(b->image, F_OK), 0);
}

/* ---- restore ---- */

static void restore_opts(struct bench *b)
{
    b->opts.image = (struct image_opts){.type = "file", .path = b->image, .cache = CACHE_WRITEBACK};
    b->opts.is_restored = true;
    b->opts.geometry =
        (struct plane_geometry){.size = DISK_BYTES, .logical_block = 512, .physical_block = 4096};
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

static int start_with_new_image(struct bench *b)
{
    int ret;

    b->request[0].new_image = true;
    ret = ask(b, PLANE_START);
    b->request[0].new_image = false;
    return ret;
}

static void another_image_is_taken_when_that_is_meant_only(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    move_image_away(b);
    make_image(b, DISK_BYTES);
    assert_int_equal(ask(b, PLANE_START), -ESTALE);
    assert_non_null(strstr(b->request[0].err.text, "vblkctl start vda --new-image"));
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    assert_int_equal(start_with_new_image(b), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
}

/* A stopped disk whose start waits for a file system, in slot 1. */
static void begin_silent_start(struct bench *b)
{
    restore_image(b);
    b->opts.is_stopped = true;
    assert_int_equal(open_disk(b), 0);
    be_silent();
    send_request(b, 1, PLANE_START, LONG_MS);
    wait_true(&is_asked);
}

static void image_that_does_not_open_holds_up_nobody_else(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    assert_non_null(strstr(info(b)->reason, "is being opened"));
    connect_front_end(b);
    send_request(b, 2, PLANE_START, LONG_MS);
    assert_int_equal(b->answered[1], 0);
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_true(b->request[1].has_changed);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_string_equal(info(b)->reason, "");
    put_write(b, 8);
    expect_written(b);
}

/* Control has the disk as stopped by then. */
static void late_start_is_told_and_goes_on(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    send_request(b, 2, PLANE_START, 10);
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    assert_non_null(strstr(b->request[2].err.text, "the start goes on"));
    assert_int_equal(b->answered[1], 0);
    assert_int_equal(b->resumed, 0);
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(b->resumed, 1);
    assert_true(b->plane->again.runs);
}

/* Control has the disk as one that runs by then. */
static void late_start_that_fails_is_taken_back(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    send_request(b, 2, PLANE_START, 10);
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    assert_int_equal(unlink(b->image), 0);
    answer();
    assert_int_equal(wait_for(b, 1), -ENOENT);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    assert_int_equal(b->resumed, 1);
    assert_false(b->plane->again.runs);
}

static void end_of_the_daemon_says_what_becomes_of_a_start(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    send_request(b, 2, PLANE_START, 10);
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    b->request[0].force = true;
    b->request[0].is_exit = true;
    send_request(b, 0, PLANE_REMOVE, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_non_null(strstr(b->request[1].err.text, "started again, it starts the disk"));
    answer();
    assert_int_equal(wait_for(b, 0), 0);
    wait_ended(b);
}

/* What its thread opens when the disk is gone is closed, and its lock given up. */
static void disk_is_removed_while_its_image_does_not_open(void **state)
{
    struct bench *b = *state;
    const struct image_opts opts = {
        .type = "file", .path = b->image, .cache = CACHE_WRITEBACK, .max_inflight = 16};
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;
    struct image *image;

    begin_silent_start(b);
    expect_left(b, 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    answer();
    wait_true(&has_opened);
    while (image_open(&image, &opts, NULL) < 0) {
        assert_true(now_ns() < deadline_ns);
    }
    image_close(image);
}

static void expect_free(struct bench *b)
{
    const struct image_opts opts = {
        .type = "file", .path = b->image, .cache = CACHE_WRITEBACK, .max_inflight = 16};
    struct image *image;

    assert_int_equal(image_open(&image, &opts, NULL), 0);
    image_close(image);
}

static void removal_waits_until_what_is_being_opened_is_closed(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    send_request(b, 0, PLANE_REMOVE, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_int_equal(b->answered[0], 0);
    answer();
    assert_int_equal(wait_for(b, 0), 0);
    expect_free(b);
    wait_ended(b);
}

static void stop_takes_a_start_back(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    send_request(b, 2, PLANE_STOP, 10);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_non_null(strstr(b->request[1].err.text, "stopped before its image was open"));
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    assert_non_null(strstr(b->request[2].err.text, "its image is still being opened, for "));
    assert_non_null(strstr(b->request[2].err.text, "; the stop goes on"));
    assert_int_equal(info(b)->state, PLANE_STOPPING);
    send_request(b, 2, PLANE_STOP, LONG_MS);
    answer();
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    expect_free(b);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
}

static void start_goes_on_after_one_that_was_taken_back(void **state)
{
    struct bench *b = *state;

    begin_silent_start(b);
    send_request(b, 2, PLANE_STOP, LONG_MS);
    send_request(b, 3, PLANE_START, LONG_MS);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    answer();
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(wait_for(b, 3), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
}

/* A disk whose stop, in slot 1, waits for a file system that does not close the image. */
static void begin_silent_stop(struct bench *b)
{
    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    be_silent_at_end();
    send_request(b, 1, PLANE_STOP, 5000);
    wait_true(&is_asked);
}

static void image_that_does_not_close_holds_up_nobody_else(void **state)
{
    struct bench *b = *state;

    begin_silent_stop(b);
    assert_int_equal(info(b)->state, PLANE_STOPPING);
    assert_string_equal(info(b)->reason, "its image is being closed");
    connect_front_end(b);
    begin_change(b, 0)->threads = 2;
    assert_int_equal(ask(b, PLANE_SET), 0);
    assert_int_equal(b->answered[1], 0);
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    assert_int_equal(info(b)->device.lane_count, 2);
    assert_string_equal(info(b)->reason, "");
    assert_true(has_closed);
}

static void late_stop_says_that_the_image_is_being_closed(void **state)
{
    struct bench *b = *state;

    begin_silent_stop(b);
    send_request(b, 2, PLANE_STOP, 10);
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    assert_non_null(strstr(b->request[2].err.text, "its image is still being closed, for "));
    assert_non_null(strstr(b->request[2].err.text, "; the stop goes on; remove --force ends "));
    answer();
    assert_int_equal(wait_for(b, 1), 0);
}

/* It is too late to go on with the one that is being closed. */
static void start_waits_for_the_close(void **state)
{
    struct bench *b = *state;

    begin_silent_stop(b);
    send_request(b, 2, PLANE_START, 5000);
    send_request(b, 3, PLANE_START, 10);
    assert_int_equal(wait_for(b, 3), -ETIMEDOUT);
    assert_non_null(strstr(b->request[3].err.text, "is still being closed: the file system"));
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(wait_for(b, 2), 0);
    assert_true(b->answered[1] < b->answered[2]);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(b->resumed, 1);
}

static void stop_takes_a_start_back_that_waits_for_the_close(void **state)
{
    struct bench *b = *state;

    begin_silent_stop(b);
    send_request(b, 2, PLANE_START, LONG_MS);
    send_request(b, 3, PLANE_STOP, LONG_MS);
    assert_int_equal(wait_for(b, 2), -ECANCELED);
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(wait_for(b, 3), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
}

/* The lock of the one that was not taken is given up before anybody is told. */
static void start_that_fails_waits_for_the_close(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    move_image_away(b);
    make_image(b, DISK_BYTES);
    be_silent_at_end();
    send_request(b, 1, PLANE_START, 5000);
    wait_true(&is_asked);
    assert_string_equal(info(b)->reason, "its image could not be taken, and is being closed");
    assert_int_equal(start_with_new_image(b), -EBUSY);
    assert_int_equal(ask(b, PLANE_STOP), -EBUSY);
    assert_int_equal(b->answered[1], 0);
    answer();
    assert_int_equal(wait_for(b, 1), -ESTALE);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    assert_int_equal(start_with_new_image(b), 0);
}

static void removal_waits_for_the_close_of_a_stop(void **state)
{
    struct bench *b = *state;

    begin_silent_stop(b);
    send_request(b, 2, PLANE_REMOVE, 10);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    assert_non_null(strstr(b->request[2].err.text, "the removal goes on"));
    send_request(b, 2, PLANE_REMOVE, 5000);
    assert_int_equal(info(b)->state, PLANE_REMOVING);
    answer();
    assert_int_equal(wait_for(b, 2), 0);
    assert_true(has_closed);
    wait_ended(b);
}

static void disk_that_is_removed_by_force_waits_no_longer_than_its_time(void **state)
{
    struct bench *b = *state;

    begin_silent_stop(b);
    b->request[2].force = true;
    send_request(b, 2, PLANE_REMOVE, 10);
    assert_int_equal(wait_for(b, 2), -ETIMEDOUT);
    assert_true(b->request[2].is_done);
    assert_non_null(
        strstr(b->request[2].err.text, "it was done, but its image may be in use until"));
    wait_ended(b);
    answer();
    wait_true(&has_closed);
}

static void end_of_the_daemon_does_not_wait_for_a_close(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    be_silent_at_end();
    send_request(b, 1, PLANE_REMOVE, 60000);
    wait_true(&is_asked);
    b->request[2].force = true;
    b->request[2].is_exit = true;
    send_request(b, 2, PLANE_REMOVE, 60000);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(wait_for(b, 1), -ETIMEDOUT);
    wait_ended(b);
    answer();
    wait_true(&has_closed);
}

static void restored_disk_whose_image_does_not_open_answers(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    be_silent();
    start_plane(b);
    send_request(b, 1, PLANE_OPEN, LONG_MS);
    wait_true(&is_asked);
    assert_int_equal(info(b)->geometry.size, DISK_BYTES);
    assert_true(info(b)->is_listening);
    assert_true(b->plane->dev->view.is_fenced); /* the one before may have its guest's buffers */
    assert_int_equal(b->answered[1], 0);
    answer();
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_false(b->plane->dev->view.is_fenced);
}

static void image_that_was_away_meanwhile_is_taken(void **state)
{
    struct bench *b = *state;
    char *away;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    away = move_image_away(b);
    assert_int_equal(ask(b, PLANE_START), -ENOENT);
    assert_int_equal(symlink(away, b->image), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
}

static void restored_disk_knows_its_image(void **state)
{
    struct bench *b = *state;
    char *away;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    b->opts.image_id = info(b)->image_id;
    remove_disk(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    remove_disk(b);
    away = move_image_away(b);
    make_image(b, DISK_BYTES);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, "--new-image"));
    assert_int_equal(rename(away, b->image), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
}

static void delete_image(struct bench *b)
{
    assert_int_equal(unlink(b->image), 0);
}

static void deleted_image_is_closed_by_force_only(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    delete_image(b);
    assert_int_equal(ask(b, PLANE_STOP), -ESTALE);
    assert_non_null(strstr(b->request[0].err.text, "or use --force"));
    assert_int_equal(ask(b, PLANE_REMOVE), -ESTALE);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(info(b)->device.pause_mask & PAUSE_ADMIN, 0);
    b->request[0].force = true;
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
}

static void several_who_ask_at_once_are_all_answered(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    delete_image(b);
    b->request[1].force = false;
    send_request(b, 0, PLANE_STOP, LONG_MS);
    send_request(b, 1, PLANE_REMOVE, LONG_MS);
    b->request[2].wants_look = true;
    send_request(b, 2, PLANE_INFO, 0);
    send_request(b, 3, PLANE_STOP, 0);
    assert_int_equal(wait_for(b, 0), -ESTALE);
    assert_int_equal(wait_for(b, 1), -ESTALE);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(b->request[2].info.fate.kind, IMAGE_DELETED);
    assert_int_equal(wait_for(b, 3), -ESTALE);
    b->request[1].force = true;
    send_request(b, 0, PLANE_STOP, LONG_MS);
    send_request(b, 1, PLANE_REMOVE, LONG_MS);
    send_request(b, 2, PLANE_INFO, 0);
    assert_int_equal(wait_for(b, 0), -ESTALE);
    assert_int_equal(wait_for(b, 1), 0);
    assert_true(wait_for(b, 2) == 0 || b->request[2].err.code == -ENODEV);
    wait_ended(b);
}

/* Another node in the place of the root, on the disk's thread. */
struct swap {
    struct message message;
    struct plane *plane;
    struct device_change change;
    atomic_bool is_done;
};

static void on_swapped(struct device_change *change)
{
    struct swap *swap = containerof(change, struct swap, change);

    node_put(change->node); /* that was the root */
    swap->is_done = true;
}

static void run_swap(struct message *message)
{
    struct swap *swap = containerof(message, struct swap, message);

    if (device_change_begin(swap->plane->dev, &swap->change, NULL) < 0) {
        abort();
    }
}

static void swap_image(struct bench *b)
{
    struct image_opts opts = b->opts.image;
    struct swap swap = {.message = {.run = run_swap},
                        .plane = b->plane,
                        .change = {.kind = CHANGE_SWAP, .done = on_swapped}};

    opts.max_inflight = 16;
    assert_int_equal(unlink(b->image), 0); /* its file is locked */
    make_image(b, DISK_BYTES);
    assert_int_equal(node_open(&swap.change.node, &node_file_ops, NULL, &opts, NULL), 0);
    mailbox_send(&b->plane->worker.mailbox, &swap.message);
    while (!swap.is_done) {
        (void)usleep(200);
    }
    assert_int_equal(swap.change.err.code, 0);
}

static void file_that_is_looked_at_stays_open_without_the_image(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    assert_int_equal(open_disk(b), 0);
    hangs_at_look = true;
    b->request[2].wants_look = true;
    send_request(b, 2, PLANE_INFO, 0);
    while (!is_looking) {
        (void)usleep(200);
    }
    swap_image(b);
    hangs_at_look = false;
    while (is_looking) {
        (void)usleep(200);
    }
    assert_true(is_file_open);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
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

/* As of a file system that is mounted later than the daemon starts. */
static void image_that_comes_late_is_taken_by_itself(void **state)
{
    uint64_t deadline_ns = now_ns() + 30 * NS_PER_S;
    struct bench *b = *state;

    restore_opts(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, "; it is tried again by itself"));
    assert_int_equal(access(b->image, F_OK), -1);
    make_image(b, DISK_BYTES);
    while (info(b)->state == PLANE_FAILED) {
        assert_true(now_ns() < deadline_ns);
        (void)usleep(2000);
    }
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_string_equal(info(b)->reason, "");
}

/* It may be that its guest runs there. */
static void image_that_somebody_else_has_is_left_to_a_person(void **state)
{
    struct bench *b = *state;
    struct image_opts opts = {.type = "file", .path = b->image, .max_inflight = 1};
    struct image *other;

    restore_image(b);
    assert_int_equal(image_open(&other, &opts, NULL), 0);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_null(strstr(info(b)->reason, "tried again"));
    image_close(other);
    assert_int_equal(ask(b, PLANE_START), 0);
}

static void failed_disk_that_is_stopped_is_not_tried_again(void **state)
{
    struct bench *b = *state;

    restore_opts(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    make_image(b, DISK_BYTES);
    (void)usleep((PLANE_RETRY_MS + 200) * 1000);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
}

/* ---- settings ---- */

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
    assert_string_equal(b->request[0].info.device.lane[0].engine, "");
    assert_int_equal(set_engine(b, "aio"), 0);
    assert_false(b->request[0].has_changed);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_string_equal(info(b)->device.lane[0].engine, "aio");
    assert_string_equal(info(b)->device.lane[0].engine_reason, "asked for");
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
    struct path_facts *second;

    b->opts.settings.threads = 2;
    set_new_image(b);
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->device.lane_count, 2);
    second = &b->plane->dev->lanes.lane[1]->path->facts;
    assert_string_equal(info(b)->device.lane[1].engine, second->engine);
    second->engine = "other";
    second->engine_reason = "too many disks";
    assert_string_not_equal(info(b)->device.lane[0].engine, "other");
    assert_string_equal(info(b)->device.lane[1].engine, "other");
    assert_string_equal(info(b)->device.lane[1].engine_reason, "too many disks");
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_string_equal(info(b)->device.lane[1].engine, "");
}

static void polling_changes_under_a_front_end(void **state)
{
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    assert_int_equal(b->plane->dev->lanes.first.spin.max_ns, 50 * 1000);
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
    assert_int_equal(b->plane->dev->lanes.first.spin.max_ns, 0);
    assert_int_equal(b->plane->dev->lanes.first.spin.cpu_percent, 25);
    expect_written(b);
}

static bool offers_wce(struct bench *b)
{
    return device_features(b->plane->dev) & BIT(VIRTIO_BLK_F_CONFIG_WCE);
}

/* ---- what a guest was shown ---- */

static void config_of(struct bench *b, struct virtio_blk_config *config)
{
    device_config_read(b->plane->dev, 0, config, sizeof(*config));
}

/* As the registry has a disk come back that it has kept. */
static void restore_shown(struct bench *b, const struct blk_shown *shown)
{
    struct plane_geometry geometry = info(b)->geometry;

    remove_disk(b);
    geometry.shown = *shown;
    b->opts.is_restored = true;
    b->opts.geometry = geometry;
    assert_int_equal(open_disk(b), 0);
}

static void disk_shows_what_it_has_shown_to_the_bit(void **state)
{
    struct bench *b = *state;
    struct virtio_blk_config before, now;
    struct blk_shown shown;
    uint64_t features;

    assert_int_equal(open_disk(b), 0);
    config_of(b, &before);
    features = device_features(b->plane->dev);
    shown = info(b)->geometry.shown;
    assert_int_equal(shown.features, features);
    restore_shown(b, &shown);
    config_of(b, &now);
    assert_memory_equal(&now, &before, sizeof(now));
    assert_int_equal(device_features(b->plane->dev), features);
}

/* Of a program that offered fewer features, and had other limits. */
static void limits_of_another_version_stay(void **state)
{
    struct bench *b = *state;
    struct virtio_blk_config config;
    struct blk_shown shown;

    assert_int_equal(open_disk(b), 0);
    shown = info(b)->geometry.shown;
    shown.features &= ~BIT(VIRTIO_RING_F_EVENT_IDX);
    shown.seg_max = 7;
    restore_shown(b, &shown);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    config_of(b, &config);
    assert_int_equal(config.seg_max, 7);
    assert_int_equal(device_features(b->plane->dev), shown.features);
    assert_int_equal(device_set_features(b->plane->dev, BIT(VIRTIO_RING_F_EVENT_IDX)), -EINVAL);
    assert_int_equal(info(b)->geometry.shown.features, shown.features);
    assert_int_equal(info(b)->geometry.shown.seg_max, 7);
}

#define UNSERVED 15 /* VIRTIO_BLK_F_LIFETIME, which headers of old lack */

/* It is shown all the same, or the guest's front-end would leave; and its requests wait. */
static void feature_that_is_not_served_fails_the_disk_by_name(void **state)
{
    struct bench *b = *state;
    struct blk_shown shown;

    assert_int_equal(open_disk(b), 0);
    shown = info(b)->geometry.shown;
    shown.features |= BIT(UNSERVED);
    restore_shown(b, &shown);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, "that this vblkd does not serve: 0x8000 (lifetime)"));
    assert_non_null(strstr(info(b)->reason, "remove the disk and add it again"));
    assert_int_equal(device_features(b->plane->dev), shown.features);
    assert_int_equal(device_set_features(b->plane->dev, BIT(UNSERVED)), -EINVAL);
    assert_int_equal(ask(b, PLANE_START), -ENOTSUP);
}

/* Killed and started again, or reconnected to: what the driver has accepted is found again. */
static void switch_of_the_cache_is_offered_as_asked_for(void **state)
{
    struct bench *b = *state;
    uint64_t accepted;

    assert_int_equal(open_disk(b), 0);
    assert_false(offers_wce(b));
    remove_disk(b);
    b->opts.has_config_wce = true;
    assert_int_equal(open_disk(b), 0);
    assert_true(offers_wce(b));
    connect_front_end(b);
    accepted = info(b)->device.features;
    assert_true(accepted & BIT(VIRTIO_BLK_F_CONFIG_WCE));
    frontend_disconnect(&b->fe);
    reconnect_front_end(b);
    assert_int_equal(info(b)->device.features, accepted);
}

/* Nobody can write there, or all of it is stable. */
static void disk_that_has_no_choice_offers_none(void **state)
{
    struct bench *b = *state;

    b->opts.has_config_wce = true;
    set_new_image(b);
    b->opts.image.cache = CACHE_WRITETHROUGH;
    assert_int_equal(open_disk(b), 0);
    assert_false(offers_wce(b));
    assert_false(info(b)->device.is_writeback);
    assert_false(info(b)->device.has_switched);
}

/* ---- the switch of the write cache, which control is to keep ---- */

static void on_keep_cache(struct plane *plane)
{
    assert_ptr_equal(plane, bench->plane);
    bench->keeps++;
}

/* A file, whose flush is one. */
static void open_disk_with_switch(struct bench *b)
{
    set_new_image(b);
    b->opts.has_config_wce = true;
    b->opts.keep_cache = on_keep_cache;
    assert_int_equal(open_disk(b), 0);
    connect_front_end(b);
}

static void send_switch(struct bench *b, uint8_t writeback)
{
    const struct vhost_config_msg config = {
        .offset = offsetof(struct virtio_blk_config, wce), .size = 1, .data = {writeback}};
    uint32_t bytes = (uint32_t)offsetof(struct vhost_config_msg, data) + 1;
    const struct vhost_out out = {.request = VHOST_SET_CONFIG,
                                  .flags = VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY,
                                  .size = bytes,
                                  .len = bytes,
                                  .payload = &config};

    assert_int_equal(vhost_send(frontend_sock(&b->fe), &out), 0);
}

static void wait_told(struct bench *b, unsigned keeps)
{
    while (b->keeps < keeps) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_equal(b->keeps, keeps);
}

static bool is_answered(struct bench *b)
{
    uint8_t byte;

    (void)info(b); /* the disk's thread has done what came before */
    return recv(frontend_sock(&b->fe), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static uint64_t answer_of_switch(struct bench *b)
{
    uint64_t result = UINT64_MAX;
    struct vhost_in in;

    assert_int_equal(vhost_recv(frontend_sock(&b->fe), &in, LONG_MS), 0);
    assert_int_equal(in.request, VHOST_SET_CONFIG);
    assert_int_equal(in.size, sizeof(result));
    memcpy(&result, in.payload, sizeof(result));
    return result;
}

static void switch_is_answered_when_control_has_kept_it(void **state)
{
    struct bench *b = *state;

    open_disk_with_switch(b);
    send_switch(b, 0);
    wait_told(b, 1);
    assert_true(b->plane->cache.is_writethrough);
    assert_int_equal(b->plane->cache.err.code, 0);
    assert_false(info(b)->device.is_writeback);
    assert_true(info(b)->device.has_switched);
    assert_false(is_answered(b));
    put_write(b, 0);
    expect_written(b); /* nothing else waits for it */
    plane_cache_kept(b->plane);
    assert_int_equal(answer_of_switch(b), 0);
    send_switch(b, 1);
    assert_int_equal(answer_of_switch(b), 0); /* and kept behind that */
    wait_told(b, 2);
    assert_false(b->plane->cache.is_writethrough);
    plane_cache_kept(b->plane);
    assert_true(info(b)->device.is_writeback);
    assert_false(info(b)->device.has_switched);
}

static void switch_that_control_cannot_keep_is_refused(void **state)
{
    struct bench *b = *state;

    open_disk_with_switch(b);
    send_switch(b, 0);
    wait_told(b, 1);
    (void)err_say(&b->plane->cache.err, -ENOSPC, "the state directory is full");
    plane_cache_kept(b->plane);
    assert_int_equal(answer_of_switch(b), 1);
    assert_false(info(b)->device.is_writeback);
    send_switch(b, 0); /* the error was of that time */
    wait_told(b, 2);
    assert_int_equal(b->plane->cache.err.code, 0);
    plane_cache_kept(b->plane);
    assert_int_equal(answer_of_switch(b), 0);
}

/* The answer to the first is nobody's; what was asked for last is told once more, behind it. */
static void switch_by_another_connection_is_kept_behind_the_first(void **state)
{
    struct bench *b = *state;

    open_disk_with_switch(b);
    send_switch(b, 0);
    wait_told(b, 1);
    frontend_disconnect(&b->fe);
    reconnect_front_end(b);
    send_switch(b, 0);
    assert_int_equal(b->keeps, 1);
    plane_cache_kept(b->plane); /* before it is asked for again, or behind that */
    wait_told(b, 2);
    assert_false(is_answered(b));
    plane_cache_kept(b->plane);
    assert_int_equal(answer_of_switch(b), 0);
}

static void switch_of_a_stopped_disk_is_kept(void **state)
{
    struct bench *b = *state;

    open_disk_with_switch(b);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    send_switch(b, 0);
    wait_told(b, 1);
    plane_cache_kept(b->plane);
    assert_int_equal(answer_of_switch(b), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_false(info(b)->device.is_writeback);
}

/* Whoever keeps it learns that by `gone`, and tells nobody. */
static void disk_may_go_while_its_switch_is_kept(void **state)
{
    struct bench *b = *state;

    open_disk_with_switch(b);
    send_switch(b, 0);
    wait_told(b, 1);
    remove_disk(b);
}

/* Also for a driver that has not accepted the switch, as of a disk that had none before. */
static void restored_disk_is_served_as_its_driver_has_asked(void **state)
{
    struct bench *b = *state;

    restore_image(b);
    b->opts.is_writethrough = true;
    assert_int_equal(open_disk(b), 0);
    assert_true(info(b)->device.has_switched);
    connect_front_end(b);
    assert_false(info(b)->device.features & BIT(VIRTIO_BLK_F_CONFIG_WCE));
    assert_true(info(b)->device.features & BIT(VIRTIO_BLK_F_FLUSH));
    assert_false(info(b)->device.is_writeback);
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
    assert_int_equal(b->plane->dev->lanes.first.spin.max_ns, 50 * 1000);
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
    send_threads(b, 0, threads, LONG_MS);
    gate_open();
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
        assert_int_equal(b->request[0].info.device.stats.inflight, 0);
        assert_int_equal(b->request[0].info.device.lane_count, threads);
        assert_int_equal(b->request[0].info.settings.threads, threads);
        assert_int_equal(b->request[0].info.device.pause_mask, 0);
        expect_written(b);
        assert_int_equal(info(b)->device.stats.type[STATS_WRITE].requests, i + 1);
    }
    set_threads(b, 1);
    assert_false(b->request[0].has_changed);
}

static void threads_stay_when_the_drain_takes_too_long(void **state)
{
    struct bench *b = *state;

    open_busy_disk(b);
    send_threads(b, 0, 2, 10);
    send_threads(b, 1, 2, LONG_MS);
    assert_int_equal(wait_for(b, 1), -EBUSY);
    assert_int_equal(wait_for(b, 0), -ETIMEDOUT);
    assert_non_null(strstr(b->request[0].err.text, "the disk goes on as before"));
    assert_int_equal(b->request[0].info.device.lane_count, 1);
    assert_int_equal(b->request[0].info.settings.threads, 1);
    assert_int_equal(b->request[0].info.device.pause_mask, 0);
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
        send_threads(b, i, 1, LONG_MS);
        send_request(b, 1 - i, PLANE_STOP, LONG_MS);
        gate_open();
        assert_int_equal(wait_for(b, 0), 0);
        assert_int_equal(wait_for(b, 1), 0);
        expect_written(b);
        assert_int_equal(info(b)->state, PLANE_STOPPED);
        assert_int_equal(info(b)->device.lane_count, 1);
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
    send_threads(b, 1, 2, LONG_MS);
    b->request[0].force = true;
    assert_int_equal(ask_and_let_go(b, PLANE_REMOVE), 0);
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
    assert_int_equal(info(b)->device.lane_count, 2);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    set_threads(b, 1);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->device.lane_count, 1);
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
    assert_int_equal(info(b)->device.lane_count, 2);
}

/* ---- in any order ---- */

#define RANDOM_LIVES 60u
#define RANDOM_STEPS 60u

/* What may be asked of a disk that is there.  Removals are asked for at the end. */
static void ask_anything(struct bench *b, unsigned slot)
{
    static const enum plane_verb verbs[] = {PLANE_START, PLANE_STOP, PLANE_SET, PLANE_INFO};
    enum plane_verb verb = verbs[chance(ARRAY_SIZE(verbs))];

    begin_change(b, slot)->threads = (int)chance(2) + 1;
    b->request[slot].new_image = chance(2);
    b->request[slot].wants_look = chance(2);
    b->request[slot].force = chance(2);
    send_request(b, slot, verb, chance(3) ? 5000 : chance(3));
}

static void do_anything(struct bench *b)
{
    unsigned slot = chance(3);

    switch (chance(8)) {
    case 0:
        hangs_at_open = chance(2);
        break;
    case 1:
        hangs_at_close = chance(2);
        break;
    case 2: /* another image takes its place */
        (void)move_image_away(b);
        make_image(b, DISK_BYTES);
        break;
    case 3:
        (void)usleep(chance(1000));
        break;
    default:
        if (b->answered[slot]) {
            ask_anything(b, slot);
        }
    }
    uv_run(&b->control.loop, UV_RUN_NOWAIT);
}

/* Returns false when what was left of an earlier life has the image open for a moment. */
static bool begin_any_life(struct bench *b)
{
    (void)unlink(b->image);
    if (chance(2)) {
        set_new_image(b);
        b->opts.is_restored = false;
    } else {
        restore_image(b);
        b->opts.is_stopped = chance(2);
    }
    hangs_at_open = false;
    start_plane(b);
    send_request(b, 0, PLANE_OPEN, 60000);
    if (wait_for(b, 0) < 0) {
        wait_ended(b);
    }
    return b->plane != NULL;
}

/* By force, as a client or as the end of the daemon, and whether or not file systems answer. */
static void end_any_life(struct bench *b)
{
    bool hangs = chance(4) == 0;

    if (!hangs) {
        hangs_at_open = false;
        hangs_at_close = false;
    }
    b->request[3].force = true;
    send_request(b, 3, PLANE_REMOVE, hangs ? 1 : 60000);
    (void)wait_for(b, 3);
    hangs_at_open = false;
    hangs_at_close = false;
    wait_ended(b);
    for (unsigned slot = 0; slot < 4; slot++) {
        assert_int_not_equal(b->answered[slot], 0);
    }
}

static void whatever_is_asked_is_answered_whatever_file_systems_do(void **state)
{
    struct bench *b = *state;

    chance_begin();
    for (unsigned life = 0; life < RANDOM_LIVES; life++) {
        bool is_there = begin_any_life(b);

        for (unsigned slot = 0; slot < 3; slot++) {
            b->answered[slot] = 1;
        }
        for (unsigned step = 0; is_there && step < RANDOM_STEPS; step++) {
            do_anything(b);
        }
        if (is_there) {
            end_any_life(b);
        }
    }
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(disk_runs_when_it_is_open),
        bench_test(failed_open_leaves_nothing),
        bench_test(failed_socket_takes_the_new_image_back),
        bench_test(new_image_is_deleted_before_it_is_unlocked),
        bench_test(questions_are_answered_while_a_disk_is_added),
        bench_test(disk_that_is_added_can_be_removed_before_its_image_is_open),
        bench_test(removal_says_that_what_is_being_opened_is_not_free),
        bench_test(late_add_leaves_nothing),
        bench_test(add_is_waited_for_while_its_image_is_allocated),
        bench_test(late_add_leaves_what_somebody_has_written),
        bench_test(images_that_are_left_are_not_too_many),
        bench_test(end_of_the_daemon_does_not_wait_for_an_add),
        bench_test(questions_while_an_add_that_failed_is_undone_are_answered),
        bench_test(add_that_failed_waits_no_longer_than_need_be),
        bench_test(add_that_failed_can_be_removed_while_it_is_undone),
        bench_test(end_of_the_daemon_does_not_wait_for_an_add_to_be_undone),
        bench_test(stop_and_start_say_whether_they_changed_anything),
        bench_test(stop_lets_what_is_in_flight_finish),
        bench_test(late_drain_is_told_and_goes_on),
        bench_test(start_cancels_a_drain),
        bench_test(disk_in_use_is_removed_by_force_only),
        bench_test(removal_past_its_deadline_goes_on),
        bench_test(removal_tells_those_who_wait_for_a_stop),
        bench_test(end_of_the_daemon_says_what_becomes_of_a_stop),
        bench_test(removal_leaves_the_image_that_was_made),
        bench_test(undoing_an_add_takes_the_image_that_it_made),
        bench_test(undoing_an_add_that_is_being_removed_takes_the_image_that_it_made),
        bench_test(undoing_an_add_leaves_what_was_written),
        bench_test(undoing_an_add_leaves_what_has_taken_its_place),
        bench_test(restored_disk_without_an_image_exists_and_says_why),
        bench_test(restored_disk_may_stay_stopped),
        bench_test(image_that_shrank_fails_and_one_that_grew_is_larger),
        bench_test(another_image_is_taken_when_that_is_meant_only),
        bench_test(image_that_does_not_open_holds_up_nobody_else),
        bench_test(late_start_is_told_and_goes_on),
        bench_test(late_start_that_fails_is_taken_back),
        bench_test(end_of_the_daemon_says_what_becomes_of_a_start),
        bench_test(disk_is_removed_while_its_image_does_not_open),
        bench_test(removal_waits_until_what_is_being_opened_is_closed),
        bench_test(stop_takes_a_start_back),
        bench_test(start_goes_on_after_one_that_was_taken_back),
        bench_test(image_that_does_not_close_holds_up_nobody_else),
        bench_test(late_stop_says_that_the_image_is_being_closed),
        bench_test(start_waits_for_the_close),
        bench_test(stop_takes_a_start_back_that_waits_for_the_close),
        bench_test(start_that_fails_waits_for_the_close),
        bench_test(removal_waits_for_the_close_of_a_stop),
        bench_test(disk_that_is_removed_by_force_waits_no_longer_than_its_time),
        bench_test(end_of_the_daemon_does_not_wait_for_a_close),
        bench_test(restored_disk_whose_image_does_not_open_answers),
        bench_test(image_that_was_away_meanwhile_is_taken),
        bench_test(restored_disk_knows_its_image),
        bench_test(deleted_image_is_closed_by_force_only),
        bench_test(several_who_ask_at_once_are_all_answered),
        bench_test(file_that_is_looked_at_stays_open_without_the_image),
        bench_test(failed_disk_can_be_stopped),
        bench_test(image_that_comes_late_is_taken_by_itself),
        bench_test(image_that_somebody_else_has_is_left_to_a_person),
        bench_test(failed_disk_that_is_stopped_is_not_tried_again),
        bench_test(engine_changes_while_the_image_is_closed),
        bench_test(engine_of_an_open_image_stays),
        bench_test(each_thread_tells_its_engine),
        bench_test(polling_changes_under_a_front_end),
        bench_test(disk_shows_what_it_has_shown_to_the_bit),
        bench_test(limits_of_another_version_stay),
        bench_test(feature_that_is_not_served_fails_the_disk_by_name),
        bench_test(switch_of_the_cache_is_offered_as_asked_for),
        bench_test(disk_that_has_no_choice_offers_none),
        bench_test(switch_is_answered_when_control_has_kept_it),
        bench_test(switch_that_control_cannot_keep_is_refused),
        bench_test(switch_by_another_connection_is_kept_behind_the_first),
        bench_test(switch_of_a_stopped_disk_is_kept),
        bench_test(disk_may_go_while_its_switch_is_kept),
        bench_test(restored_disk_is_served_as_its_driver_has_asked),
        bench_test(refused_change_changes_nothing),
        bench_test(disk_that_is_being_removed_is_not_set),
        bench_test(threads_change_when_what_is_in_flight_has_ended),
        bench_test(threads_stay_when_the_drain_takes_too_long),
        bench_test(stop_and_a_change_of_threads_wait_for_the_same),
        bench_test(removal_ends_a_change_of_threads),
        bench_test(restored_disk_has_its_threads),
        bench_test(restored_disk_with_too_many_threads_is_failed),
        bench_test(whatever_is_asked_is_answered_whatever_file_systems_do),
    };

    mem_guard_install();
    return unit_run(tests);
}
