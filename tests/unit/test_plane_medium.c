/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/chore.h"
#include "core/block/image.h"
#include "core/block/image_lock.h"
#include "core/virtio/mem.h"
#include "daemon/params.h"
#include "daemon/plane_medium_steps.h"
#include "daemon/plane_thread.h"
#include "tests/lib/frontend.h"
#include "tests/unit/control_world.h"

#define DISK_BYTES (1u << 20)
#define LONG_MS 60000

/* ---- a file system that does not answer ---- */

int __real_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err);
void __real_image_close(struct image *image);
void __wrap_image_close(struct image *image);

static atomic_bool hangs_at_open;
static atomic_bool hangs_at_close;

static void wait_while(const atomic_bool *hangs)
{
    while (*hangs) {
        (void)usleep(200);
    }
}

int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err)
{
    wait_while(&hangs_at_open);
    return __real_image_open(out, opts, err);
}

void __wrap_image_close(struct image *image)
{
    wait_while(&hangs_at_close);
    __real_image_close(image);
}

/* A disk on its own thread, and two images; the test's thread is control and the front-end. */
struct bench {
    struct control_world control;
    char image[96];
    char other[96];
    struct plane_opts opts;
    struct plane *plane;
    struct medium_ask ask;
    struct plane_request request[3];
    bool answered[3];
    bool has_ended;
    unsigned keeps;      /* how often control was to keep another image */
    bool keeps_for_ever; /* until keep_now */
    struct err keep_fails;
    uint32_t patience_ms; /* 0: long */
    char kept[PATH_MAX];  /* path of the image in the table */
    uint64_t kept_size;
    struct frontend fe;
    bool has_front_end;
};

static struct bench *bench; /* for callbacks that get a plane only */

static void on_gone(struct plane *plane)
{
    plane_end(plane);
}

static void on_ended(struct plane *plane)
{
    (void)plane;
    bench->has_ended = true;
}

static void on_resumed(struct plane *plane)
{
    (void)plane;
}

static void on_answered(struct plane_request *request)
{
    bench->answered[request - bench->request] = true;
}

static void keep_now(struct bench *b)
{
    b->plane->medium.kept.err = b->keep_fails;
    if (b->keep_fails.code == 0) {
        (void)snprintf(b->kept, sizeof(b->kept), "%s", b->plane->medium.kept.image->path);
        b->kept_size = b->plane->medium.kept.size;
    }
    plane_medium_kept(b->plane);
}

static void keep_medium(struct plane *plane)
{
    (void)plane;
    bench->keeps++;
    if (!bench->keeps_for_ever) {
        keep_now(bench);
    }
}

static void make_image(const char *path, off_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_return_code(ftruncate(fd, bytes), errno);
    close(fd);
}

static void take_defaults(struct settings *settings)
{
    json_auto_t *nothing = json_object();

    assert_int_equal(params_read(nothing, settings_params, "", settings, NULL), 0);
}

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    bench = b;
    *state = b;
    control_world_start(&b->control, "medium");
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->control.dir);
    (void)snprintf(b->other, sizeof(b->other), "%s/other", b->control.dir);
    make_image(b->image, DISK_BYTES);
    make_image(b->other, DISK_BYTES);
    b->opts = (struct plane_opts){
        .name = "vda",
        .socket_rights = {.mode = 0600, .uid = SOCKET_ANYBODY, .gid = SOCKET_ANYBODY},
        .image = {.type = "file", .path = b->image, .cache = CACHE_WRITEBACK},
        .serial = "vda",
        .queues = 2,
        .queue_size = 64,
        .keep_medium = keep_medium,
    };
    take_defaults(&b->opts.settings);
    b->opts.settings.threads = 2;
    (void)snprintf(b->opts.socket_path, sizeof(b->opts.socket_path), "%s/vda.sock", b->control.dir);
    return 0;
}

/* ---- requests ---- */

static void send_request(struct bench *b, unsigned slot, enum plane_verb verb)
{
    struct plane_request *request = &b->request[slot];

    request->verb = verb;
    request->answered = on_answered;
    request->timeout_ms = b->patience_ms ? b->patience_ms : LONG_MS;
    b->answered[slot] = false;
    plane_send(b->plane, request);
}

static int wait_for(struct bench *b, unsigned slot)
{
    control_world_wait(&b->control, &b->answered[slot]);
    return b->request[slot].err.code;
}

static int ask(struct bench *b, enum plane_verb verb)
{
    b->request[0] = (struct plane_request){.force = verb == PLANE_REMOVE};
    send_request(b, 0, verb);
    return wait_for(b, 0);
}

static const struct plane_info *info(struct bench *b)
{
    assert_int_equal(ask(b, PLANE_INFO), 0);
    return &b->request[0].info;
}

static void wait_keeps(struct bench *b, unsigned count)
{
    while (b->keeps < count) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
}

static struct image_config image_of(const char *path)
{
    struct image_config image = {.type = "file", .cache = "writeback"};

    (void)snprintf(image.path, sizeof(image.path), "%s", path);
    return image;
}

static struct image_config no_image(void)
{
    return (struct image_config){.type = "empty", .cache = "writeback"};
}

/* As control asks for it. */
static int change(struct bench *b, enum medium_change change, const char *path, bool force)
{
    b->ask = (struct medium_ask){.change = change,
                                 .image = path ? image_of(path) : no_image(),
                                 .before = path ? no_image() : image_of(b->plane->image_path)};
    b->request[1] = (struct plane_request){.medium = &b->ask, .force = force};
    send_request(b, 1, PLANE_MEDIUM);
    return wait_for(b, 1);
}

static void begin_replace(struct bench *b, unsigned slot, const char *path, bool force)
{
    b->ask = (struct medium_ask){.change = MEDIUM_REPLACE,
                                 .image = image_of(path),
                                 .before = image_of(b->plane->image_path)};
    b->request[slot] = (struct plane_request){.medium = &b->ask, .force = force};
    send_request(b, slot, PLANE_MEDIUM);
}

static int replace(struct bench *b, const char *path, bool force)
{
    begin_replace(b, 1, path, force);
    return wait_for(b, 1);
}

static void expect_err(struct bench *b, unsigned slot, const char *text)
{
    assert_non_null(strstr(b->request[slot].err.text, text));
}

static int open_disk(struct bench *b)
{
    b->plane = calloc(1, sizeof(*b->plane));
    assert_non_null(b->plane);
    b->has_ended = false;
    assert_int_equal(
        plane_start(b->plane, &b->opts, &b->control.mailbox, on_gone, on_ended, on_resumed, NULL),
        0);
    return ask(b, PLANE_OPEN);
}

static void remove_disk(struct bench *b)
{
    assert_int_equal(ask(b, PLANE_REMOVE), 0);
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
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

/* ---- whoever else wants an image ---- */

static int lock_image(const char *path, int *fd)
{
    const struct image_use use = {.image = path};
    int ret;

    *fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(*fd >= 0);
    ret = image_lock(*fd, path, &use, NULL);
    if (ret < 0) {
        close(*fd);
    }
    return ret;
}

static void expect_free(const char *path)
{
    int fd;

    assert_int_equal(lock_image(path, &fd), 0);
    close(fd);
}

static void expect_used(const char *path)
{
    int fd;

    assert_int_equal(lock_image(path, &fd), -EBUSY);
}

/* ---- the guest ---- */

static void connect_guest(struct bench *b)
{
    const struct frontend_opts opts = {.socket = b->opts.socket_path,
                                       .queues = 2,
                                       .queue_size = 16,
                                       .depth = 8,
                                       .request_bytes = 4096};

    frontend_init(&b->fe, &opts);
    b->has_front_end = true;
    assert_int_equal(frontend_start(&b->fe), 0);
}

static void put_write_on(struct bench *b, unsigned ring, uint8_t byte)
{
    struct frontend_request *request =
        frontend_prepare(&b->fe.ring[ring], VIRTIO_BLK_T_OUT, 0, 4096);

    assert_non_null(request);
    memset(request->data, byte, 4096);
    frontend_put(request);
    frontend_kick(&b->fe.ring[ring]);
}

static void put_write(struct bench *b, uint8_t byte)
{
    put_write_on(b, 0, byte);
}

static void wait_written(struct bench *b)
{
    struct frontend_request *request;

    while (!(request = frontend_reap(&b->fe.ring[0]))) {
        assert_int_equal(frontend_wait(&b->fe, LONG_MS), 0);
    }
    assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
    frontend_release(request);
}

static void write_byte(struct bench *b, uint8_t byte)
{
    put_write(b, byte);
    wait_written(b);
}

static void expect_byte(const char *path, uint8_t byte)
{
    uint8_t first;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &first, 1, 0), 1);
    assert_int_equal(first, byte);
    close(fd);
}

static void open_with_guest(struct bench *b)
{
    assert_int_equal(open_disk(b), 0);
    connect_guest(b);
    write_byte(b, 1);
}

/* The disk is as it was, on the image that it was added with. */
static void expect_as_before(struct bench *b)
{
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(info(b)->device.pause_mask & PAUSE_MEDIUM, 0);
    assert_string_equal(b->plane->image_path, b->image);
    expect_used(b->image);
    expect_free(b->other);
    if (b->has_front_end) {
        write_byte(b, 9);
        expect_byte(b->image, 9);
        expect_byte(b->other, 0);
    }
}

/* ---- tests ---- */

static void stopped_disk_is_started_from_the_other_image(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    put_write(b, 2);
    assert_int_equal(replace(b, b->other, false), 0);
    assert_true(b->request[1].has_changed);
    assert_int_equal(b->request[1].info.state, PLANE_STOPPED);
    assert_string_equal(b->kept, b->other);
    expect_free(b->image);
    expect_free(b->other);
    assert_int_equal(ask(b, PLANE_START), 0);
    wait_written(b);
    expect_used(b->other);
    expect_byte(b->other, 2);
    expect_byte(b->image, 1);
}

static void copy_of_a_disk_that_runs_is_refused(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    assert_int_equal(replace(b, b->other, false), -EBUSY);
    expect_err(b, 1, "first 'vblkctl stop vda'");
    assert_int_equal(b->keeps, 0);
    expect_as_before(b);
}

static void disk_that_runs_goes_on_with_the_other_image_by_force(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    assert_int_equal(replace(b, b->other, true), 0);
    assert_true(b->request[1].has_changed);
    assert_int_equal(b->request[1].info.state, PLANE_RUNNING);
    expect_free(b->image);
    expect_used(b->other);
    write_byte(b, 3);
    expect_byte(b->other, 3);
    expect_byte(b->image, 1);
    assert_int_equal(replace(b, b->image, true), 0);
    write_byte(b, 4);
    expect_byte(b->image, 4);
    expect_byte(b->other, 3);
}

/* Both had to wait for a look at the image, so control had said the same to both. */
static void who_asked_before_another_change_is_refused(void **state)
{
    struct bench *b = *state;
    struct medium_ask late;

    open_with_guest(b);
    begin_replace(b, 1, b->other, true);
    late = b->ask;
    late.image = image_of("/dev/null/none");
    assert_int_equal(wait_for(b, 1), 0);
    b->request[2] = (struct plane_request){.medium = &late, .force = true};
    send_request(b, 2, PLANE_MEDIUM);
    assert_int_equal(wait_for(b, 2), -EBUSY);
    expect_err(b, 2, "vda: its image was changed after this was asked for");
    expect_used(b->other);
}

static void readonly_disk_that_runs_goes_on_with_a_copy(void **state)
{
    struct bench *b = *state;

    b->opts.image.is_readonly = true;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(replace(b, b->other, false), 0);
    assert_string_equal(b->plane->image_path, b->other);
    assert_true(b->plane->opts.image.is_readonly);
    expect_free(b->image);
}

static void image_that_was_moved_is_known_by_its_new_path(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    assert_int_equal(unlink(b->other), 0);
    assert_int_equal(rename(b->image, b->other), 0);
    assert_int_equal(replace(b, b->other, false), 0);
    assert_true(b->request[1].has_changed);
    assert_string_equal(b->kept, b->other);
    write_byte(b, 5);
    expect_byte(b->other, 5);
    assert_int_equal(replace(b, b->other, false), 0);
    assert_false(b->request[1].has_changed);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
}

static void image_that_does_not_suit_is_refused(void **state)
{
    struct bench *b = *state;
    int fd;

    open_with_guest(b);
    assert_return_code(truncate(b->other, DISK_BYTES / 2), errno);
    assert_int_equal(replace(b, b->other, true), -EINVAL);
    expect_err(b, 1, "it has 524288 bytes, and the disk 1048576");
    assert_return_code(truncate(b->other, 2 * DISK_BYTES), errno);
    assert_int_equal(replace(b, b->other, true), -EINVAL);
    assert_return_code(truncate(b->other, DISK_BYTES), errno);
    assert_int_equal(lock_image(b->other, &fd), 0);
    assert_int_equal(replace(b, b->other, true), -EBUSY);
    close(fd);
    assert_int_equal(replace(b, b->control.dir, true), -EISDIR);
    assert_int_equal(replace(b, "/none", true), -ENOENT);
    assert_int_equal(b->keeps, 0);
    expect_as_before(b);
}

static void disk_keeps_its_image_when_that_cannot_be_written_down(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    (void)err_say(&b->keep_fails, -ENOSPC, "no room");
    assert_int_equal(replace(b, b->other, true), -ENOSPC);
    expect_err(b, 1, "its image stays as it is");
    assert_int_equal(b->keeps, 2);
    expect_as_before(b);
}

static void requests_wait_until_it_is_written_down(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    b->keeps_for_ever = true;
    begin_replace(b, 1, b->other, true);
    wait_keeps(b, 1);
    put_write(b, 6);
    assert_string_equal(info(b)->reason, "which image it has is being written to the state file");
    assert_int_equal(info(b)->device.stats.inflight, 0);
    assert_int_equal(info(b)->device.pause_mask, PAUSE_MEDIUM);
    b->request[2] = (struct plane_request){.medium = &b->ask};
    send_request(b, 2, PLANE_MEDIUM);
    assert_int_equal(wait_for(b, 2), -EBUSY);
    keep_now(b);
    assert_int_equal(wait_for(b, 1), 0);
    wait_written(b);
    expect_byte(b->other, 6);
}

static void stop_ends_it_undone(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    b->keeps_for_ever = true;
    begin_replace(b, 1, b->other, true);
    wait_keeps(b, 1);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(ask(b, PLANE_START), -EBUSY);
    keep_now(b);
    wait_keeps(b, 2);
    assert_false(b->answered[1]);
    b->keeps_for_ever = false;
    keep_now(b);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_string_equal(b->kept, b->image);
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_as_before(b);
}

static void removal_does_not_wait_for_it(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    b->keeps_for_ever = true;
    begin_replace(b, 1, b->other, true);
    wait_keeps(b, 1);
    assert_int_equal(ask(b, PLANE_REMOVE), 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
    expect_free(b->image);
    expect_free(b->other);
}

/* By then the table may name either image: what is written to one would be missing from the other.
 */
static void end_of_the_daemon_writes_no_more(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    b->keeps_for_ever = true;
    begin_replace(b, 1, b->other, true);
    wait_keeps(b, 1);
    put_write_on(b, 1, 8);
    b->request[0] = (struct plane_request){.force = true, .is_exit = true};
    send_request(b, 0, PLANE_REMOVE);
    assert_int_equal(wait_for(b, 0), 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
    expect_byte(b->image, 1);
    expect_byte(b->other, 0);
}

/* Who was left to its thread has come to its end. */
static void wait_none_left(void)
{
    while (chore_abandoned() > 0) {
        (void)usleep(200);
    }
}

static void image_that_does_not_open_is_given_up_in_time(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    hangs_at_open = true;
    b->patience_ms = 200;
    assert_int_equal(replace(b, b->other, true), -ETIMEDOUT);
    expect_err(b, 1, "nothing is changed");
    assert_int_equal(b->keeps, 0);
    write_byte(b, 2);
    b->patience_ms = 0;
    begin_replace(b, 1, b->other, true);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    hangs_at_open = false;
    wait_none_left();
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_as_before(b);
}

static void image_that_does_not_close_is_left(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    hangs_at_close = true;
    b->patience_ms = 200;
    assert_int_equal(replace(b, b->other, true), -ETIMEDOUT);
    expect_err(b, 1, "it was done, but the image that it had may be in use");
    assert_true(b->request[1].is_done);
    write_byte(b, 2);
    expect_byte(b->other, 2);
    assert_string_equal(b->kept, b->other);
    expect_used(b->image);
    hangs_at_close = false;
    wait_none_left();
    b->patience_ms = 0;
    assert_int_equal(replace(b, b->image, true), 0);
}

static void what_is_written_down_late_is_done(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    b->keeps_for_ever = true;
    b->patience_ms = 300;
    assert_int_equal(replace(b, b->other, true), -ETIMEDOUT);
    expect_err(b, 1, "the state file is still being written");
    put_write(b, 7);
    keep_now(b);
    wait_written(b);
    expect_byte(b->other, 7);
    b->keeps_for_ever = false;
    b->patience_ms = 0;
    while (info(b)->reason[0]) { /* the one that it was is still being closed */
    }
    assert_int_equal(replace(b, b->image, true), 0);
}

static void failed_disk_is_cured(void **state)
{
    uint64_t deadline_ns = now_ns() + 30 * NS_PER_S;
    struct bench *b = *state;

    assert_int_equal(open_disk(b), 0);
    b->opts.geometry = info(b)->geometry;
    remove_disk(b);
    assert_int_equal(unlink(b->image), 0);
    b->opts.is_restored = true;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, "if it was moved: vblkctl replace vda IMAGE"));
    assert_int_equal(replace(b, b->other, false), 0);
    while (info(b)->state == PLANE_FAILED) {
        assert_null(strstr(info(b)->reason, "is to be started"));
        assert_true(now_ns() < deadline_ns);
        (void)usleep(2000);
    }
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    expect_used(b->other);
}

static void failed_disk_that_is_not_tried_again_is_to_be_started(void **state)
{
    struct bench *b = *state;
    struct image_opts opts = {.type = "file", .path = b->image, .max_inflight = 1};
    struct image *elsewhere;

    assert_int_equal(open_disk(b), 0);
    b->opts.geometry = info(b)->geometry;
    remove_disk(b);
    assert_int_equal(image_open(&elsewhere, &opts, NULL), 0);
    b->opts.is_restored = true;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_int_equal(replace(b, b->other, false), 0);
    assert_int_equal(info(b)->state, PLANE_FAILED);
    assert_non_null(strstr(info(b)->reason, "is to be started"));
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_used(b->other);
    image_close(elsewhere);
}

static void open_empty(struct bench *b)
{
    const struct image_config nothing = no_image();

    image_config_opts(&nothing, &b->opts.image);
    assert_int_equal(open_disk(b), 0);
}

static uint8_t status_of_read(struct bench *b)
{
    struct frontend_request *request = frontend_prepare(&b->fe.ring[0], VIRTIO_BLK_T_IN, 0, 4096);
    uint8_t status;

    assert_non_null(request);
    frontend_put(request);
    frontend_kick(&b->fe.ring[0]);
    while (!(request = frontend_reap(&b->fe.ring[0]))) {
        assert_int_equal(frontend_wait(&b->fe, LONG_MS), 0);
    }
    status = request->blk->status;
    frontend_release(request);
    return status;
}

static void empty_disk_has_no_byte_until_an_image_comes(void **state)
{
    struct bench *b = *state;

    open_empty(b);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(info(b)->geometry.size, 0);
    assert_int_equal(info(b)->geometry.logical_block, 512);
    assert_int_equal(info(b)->geometry.physical_block, 4096);
    assert_int_equal(info(b)->geometry.zeroes, BLK_ZEROES_OFF); /* as nobody has asked for them */
    connect_guest(b);
    assert_int_equal(status_of_read(b), VIRTIO_BLK_S_IOERR);
    assert_int_equal(change(b, MEDIUM_INSERT, b->other, false), 0);
    assert_int_equal(b->kept_size, DISK_BYTES);
    assert_int_equal(info(b)->geometry.size, DISK_BYTES);
    write_byte(b, 2);
    expect_byte(b->other, 2);
    expect_used(b->other);
}

static int set_engine(struct bench *b, const char *engine)
{
    b->request[0] = (struct plane_request){.change = b->plane->settings};
    (void)snprintf(b->request[0].change.engine, sizeof(b->request[0].change.engine), "%s", engine);
    send_request(b, 0, PLANE_SET);
    return wait_for(b, 0);
}

static void empty_disk_has_no_engine_that_it_would_have_to_keep(void **state)
{
    struct bench *b = *state;

    open_empty(b);
    assert_int_equal(set_engine(b, "aio"), 0);
    assert_int_equal(change(b, MEDIUM_INSERT, b->other, false), 0);
    assert_string_equal(info(b)->device.lane[0].engine, "aio");
    assert_int_equal(set_engine(b, "auto"), -EBUSY);
}

static void image_is_let_go_of_by_force_while_a_guest_has_it(void **state)
{
    struct bench *b = *state;

    open_with_guest(b);
    assert_int_equal(change(b, MEDIUM_EJECT, NULL, false), -EBUSY);
    expect_err(b, 1, "have the guest unmount it, and use --force");
    assert_int_equal(change(b, MEDIUM_EJECT, NULL, true), 0);
    assert_string_equal(b->kept, "");
    assert_int_equal(info(b)->geometry.size, 0);
    expect_free(b->image);
    assert_int_equal(status_of_read(b), VIRTIO_BLK_S_IOERR);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(change(b, MEDIUM_INSERT, b->other, false), 0);
    write_byte(b, 3);
    expect_byte(b->other, 3);
}

static void image_comes_and_goes_while_its_disk_is_stopped(void **state)
{
    struct bench *b = *state;

    open_empty(b);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_return_code(truncate(b->other, DISK_BYTES + 100), errno);
    assert_int_equal(change(b, MEDIUM_INSERT, b->other, false), -EINVAL);
    assert_return_code(truncate(b->other, 2 * DISK_BYTES), errno);
    assert_int_equal(change(b, MEDIUM_INSERT, b->other, false), 0);
    assert_int_equal(info(b)->geometry.size, 2 * DISK_BYTES);
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_used(b->other);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(change(b, MEDIUM_EJECT, NULL, false), 0);
    assert_int_equal(info(b)->geometry.size, 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_free(b->other);
    assert_int_equal(change(b, MEDIUM_INSERT, b->image, false), 0);
    assert_int_equal(info(b)->geometry.size, DISK_BYTES);
}

#define bench_test(name) cmocka_unit_test_setup_teardown(name, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(stopped_disk_is_started_from_the_other_image),
        bench_test(copy_of_a_disk_that_runs_is_refused),
        bench_test(disk_that_runs_goes_on_with_the_other_image_by_force),
        bench_test(who_asked_before_another_change_is_refused),
        bench_test(readonly_disk_that_runs_goes_on_with_a_copy),
        bench_test(image_that_was_moved_is_known_by_its_new_path),
        bench_test(image_that_does_not_suit_is_refused),
        bench_test(disk_keeps_its_image_when_that_cannot_be_written_down),
        bench_test(requests_wait_until_it_is_written_down),
        bench_test(stop_ends_it_undone),
        bench_test(removal_does_not_wait_for_it),
        bench_test(end_of_the_daemon_writes_no_more),
        bench_test(image_that_does_not_open_is_given_up_in_time),
        bench_test(image_that_does_not_close_is_left),
        bench_test(what_is_written_down_late_is_done),
        bench_test(failed_disk_is_cured),
        bench_test(failed_disk_that_is_not_tried_again_is_to_be_started),
        bench_test(empty_disk_has_no_byte_until_an_image_comes),
        bench_test(empty_disk_has_no_engine_that_it_would_have_to_keep),
        bench_test(image_is_let_go_of_by_force_while_a_guest_has_it),
        bench_test(image_comes_and_goes_while_its_disk_is_stopped),
    };

    mem_guard_install();
    return unit_run(tests);
}
