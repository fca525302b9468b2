/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/block/node.h"
#include "core/virtio/mem.h"
#include "daemon/plane_resize.h"
#include "daemon/plane_thread.h"
#include "tests/lib/frontend.h"
#include "tests/unit/control_world.h"
#include "tests/unit/gate_image.h"
#include "tests/unit/no_rates.h"

#define MIB (1u << 20)
#define DISK_BYTES (8u * MIB)
#define LONG_MS 60000

/* A disk on its own thread; the test's thread is control, and the guest. */
struct bench {
    struct control_world control;
    char image[96];
    struct plane_opts opts;
    struct plane *plane;
    struct plane_request request[3];
    bool answered[3];
    bool has_ended;
    unsigned resumed;
    uint64_t resumed_size;
    unsigned keeps;
    bool keeps_for_ever; /* until keep_now */
    off_t size_at_keep;  /* of the image, when it was to be kept that the disk has shrunk */
    struct err keep_fails;
    struct frontend fe;
    bool has_front_end;
};

static struct bench *bench; /* for callbacks that get a plane only */

/* ---- file systems that do not answer, and a null image that can have another size ---- */

int __real_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __real_node_measure(const struct node *node, struct node_extent *extent, struct err *err);
int __wrap_node_measure(const struct node *node, struct node_extent *extent, struct err *err);
int __real_node_resize(struct node *node, uint64_t bytes, struct err *err);
int __wrap_node_resize(struct node *node, uint64_t bytes, struct err *err);

static atomic_bool hangs_at_resize;
static atomic_bool is_resizing;
static atomic_int resize_fails; /* -errno */

int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err)
{
    return strcmp(opts->type, "null") == 0 ? gate_image_open(out, opts->size, err)
                                           : __real_image_open(out, opts, err);
}

int __wrap_node_measure(const struct node *node, struct node_extent *extent, struct err *err)
{
    int ret = __real_node_measure(node, extent, err);

    if (strcmp(node->ops->type, "file") != 0) {
        extent->is_fixed = false;
    }
    return ret;
}

int __wrap_node_resize(struct node *node, uint64_t bytes, struct err *err)
{
    is_resizing = true;
    while (hangs_at_resize) {
        (void)usleep(200);
    }
    is_resizing = false;
    if (resize_fails < 0) {
        return err_set(err, resize_fails, "cannot make it");
    }
    return __real_node_resize(node, bytes, err);
}

/* ---- the bench ---- */

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
    bench->resumed++;
    bench->resumed_size = plane->again.info.geometry.size;
}

static void on_answered(struct plane_request *request)
{
    bench->answered[request - bench->request] = true;
}

static uint64_t file_size(const struct bench *b)
{
    struct stat st;

    assert_return_code(stat(b->image, &st), errno);
    return (uint64_t)st.st_size;
}

static void keep_size(struct plane *plane)
{
    bench->keeps++;
    bench->size_at_keep = (off_t)file_size(bench);
    plane->resize.err = bench->keep_fails;
    if (!bench->keeps_for_ever) {
        plane_resize_kept(plane);
    }
}

static void cut_file(const struct bench *b, off_t bytes)
{
    assert_return_code(truncate(b->image, bytes), errno);
}

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    int fd;

    assert_non_null(b);
    bench = b;
    *state = b;
    hangs_at_resize = false;
    resize_fails = 0;
    control_world_start(&b->control, "resize");
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->control.dir);
    fd = open(b->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    cut_file(b, DISK_BYTES);
    b->opts = (struct plane_opts){
        .name = "vda",
        .settings = {.poll_us = 50,
                     .poll_cpu = 100,
                     .engine = "auto",
                     .huge_bounce = "auto",
                     .queue_threads = "auto",
                     .detect_zeroes = "off",
                     .on_read_error = "report",
                     .on_write_error = "enospc",
                     NO_RATES,
                     .threads = 2},
        .image = {.type = "file", .path = b->image, .size = DISK_BYTES, .cache = CACHE_WRITEBACK},
        .serial = "vda",
        .queues = 2,
        .queue_size = 64,
        .keep_size = keep_size,
    };
    (void)snprintf(b->opts.socket_path, sizeof(b->opts.socket_path), "%s/vda.sock", b->control.dir);
    return 0;
}

static void send_request(struct bench *b, unsigned slot, enum plane_verb verb)
{
    struct plane_request *request = &b->request[slot];

    *request = (struct plane_request){.verb = verb,
                                      .timeout_ms = LONG_MS,
                                      .answered = on_answered,
                                      .wants_look = true,
                                      .force = verb == PLANE_REMOVE};
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
    send_request(b, 0, verb);
    return wait_for(b, 0);
}

static const struct plane_info *info(struct bench *b)
{
    assert_int_equal(ask(b, PLANE_INFO), 0);
    return &b->request[0].info;
}

static uint64_t disk_size(struct bench *b)
{
    return info(b)->geometry.size;
}

/* In slot 1. */
static void send_resize(struct bench *b, uint64_t size, bool shrink, uint32_t timeout_ms)
{
    struct plane_request *request = &b->request[1];

    *request = (struct plane_request){.verb = PLANE_RESIZE,
                                      .timeout_ms = timeout_ms,
                                      .answered = on_answered,
                                      .size = size,
                                      .shrink = shrink};
    b->answered[1] = false;
    plane_send(b->plane, request);
}

static int resize(struct bench *b, uint64_t size, bool shrink)
{
    send_resize(b, size, shrink, LONG_MS);
    return wait_for(b, 1);
}

static void expect_text(const struct bench *b, unsigned slot, const char *text)
{
    if (!strstr(b->request[slot].err.text, text)) {
        fail_msg("\"%s\" is not in \"%s\"", text, b->request[slot].err.text);
    }
}

static void open_disk(struct bench *b)
{
    b->plane = calloc(1, sizeof(*b->plane));
    assert_non_null(b->plane);
    b->has_ended = false;
    assert_int_equal(
        plane_start(b->plane, &b->opts, &b->control.mailbox, on_gone, on_ended, on_resumed, NULL),
        0);
    assert_int_equal(ask(b, PLANE_OPEN), 0);
}

static void remove_disk(struct bench *b)
{
    if (b->plane) {
        assert_int_equal(ask(b, PLANE_REMOVE), 0);
        control_world_wait(&b->control, &b->has_ended);
        free(b->plane);
        b->plane = NULL;
    }
}

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

static void put_write(struct bench *b, uint64_t sector)
{
    struct frontend_request *request =
        frontend_prepare(&b->fe.ring[0], VIRTIO_BLK_T_OUT, sector, 4096);

    assert_non_null(request);
    frontend_put(request);
    frontend_kick(&b->fe.ring[0]);
}

static uint8_t take_status(struct bench *b)
{
    struct frontend_request *request;
    uint8_t status;

    while (!(request = frontend_reap(&b->fe.ring[0]))) {
        assert_int_equal(frontend_wait(&b->fe, LONG_MS), 0);
    }
    status = request->blk->status;
    frontend_release(request);
    return status;
}

/* The status of a write of the last 4096 bytes before `end`. */
static uint8_t write_before(struct bench *b, uint64_t end)
{
    put_write(b, end / 512 - 8);
    return take_status(b);
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    hangs_at_resize = false;
    gate_open();
    remove_disk(b);
    if (b->has_front_end) {
        frontend_disconnect(&b->fe);
        frontend_fini(&b->fe);
    }
    control_world_stop(&b->control);
    free(b);
    return 0;
}

/* ---- more ---- */

static void disk_and_its_image_grow_under_the_guest(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    connect_guest(b);
    assert_int_equal(write_before(b, 2 * DISK_BYTES), VIRTIO_BLK_S_IOERR);
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), 0);
    assert_true(b->request[1].has_changed);
    assert_int_equal(b->request[1].old_size, DISK_BYTES);
    assert_int_equal(b->request[1].info.geometry.size, 2 * DISK_BYTES);
    assert_int_equal(b->request[1].told, VHOST_USER_TOLD);
    assert_int_equal(file_size(b), 2 * DISK_BYTES);
    assert_int_equal(write_before(b, 2 * DISK_BYTES), VIRTIO_BLK_S_OK);
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), 0);
    assert_false(b->request[1].has_changed);
    assert_int_equal(b->keeps, 0); /* control keeps it with the answer */
}

static void sizes_that_do_not_suit_change_nothing(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    assert_int_equal(resize(b, DISK_BYTES + 100, false), -EINVAL);
    expect_text(b, 1, "vda: 8388708 bytes are no whole logical blocks of 512: 8389120 would be");
    assert_int_equal(resize(b, DISK_BYTES / 2, false), -EINVAL);
    expect_text(b, 1, "what is beyond 4194304 would be lost");
    resize_fails = -EFBIG;
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), -EFBIG);
    expect_text(b, 1, "vda: cannot make it: File too large");
    assert_int_equal(disk_size(b), DISK_BYTES);
    assert_int_equal(file_size(b), DISK_BYTES);
}

static void disk_that_is_only_read_follows_its_image(void **state)
{
    struct bench *b = *state;

    b->opts.image.is_readonly = true;
    open_disk(b);
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), -EROFS);
    expect_text(b, 1, "vda: it is read-only");
    cut_file(b, 2 * DISK_BYTES);
    assert_int_equal(resize(b, 0, false), 0);
    assert_int_equal(disk_size(b), 2 * DISK_BYTES);
}

static void null_image_keeps_its_size(void **state)
{
    struct bench *b = *state;

    b->opts.image = (struct image_opts){.type = "null", .size = DISK_BYTES};
    open_disk(b);
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), -EOPNOTSUPP);
    expect_text(b, 1, "keeps the size that it has");
    assert_int_equal(resize(b, 0, false), 0);
    assert_false(b->request[1].has_changed);
}

/* Nothing of what others have put there is cut off. */
static void image_that_others_have_made_larger_is_not_cut(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    cut_file(b, 4 * DISK_BYTES);
    assert_int_equal(resize(b, 2 * DISK_BYTES, true), -EINVAL);
    expect_text(b, 1, "somebody has given its image 33554432 bytes");
    assert_int_equal(file_size(b), 4 * DISK_BYTES);
}

static void image_that_has_grown_is_noticed(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    cut_file(b, 2 * DISK_BYTES);
    assert_int_equal(disk_size(b), 2 * DISK_BYTES);
    assert_int_equal(b->resumed, 1); /* and kept */
    assert_int_equal(b->resumed_size, 2 * DISK_BYTES);
    cut_file(b, 3 * DISK_BYTES + 100);
    assert_int_equal(disk_size(b), 2 * DISK_BYTES);
    assert_int_equal(info(b)->image_now, 3 * DISK_BYTES + 100);
    assert_int_equal(resize(b, 0, false), -EINVAL);
    expect_text(b, 1, "do not suit the logical block size 512 that the guest knows");
    cut_file(b, DISK_BYTES);
    assert_int_equal(info(b)->image_now, DISK_BYTES);
    assert_int_equal(disk_size(b), 2 * DISK_BYTES);
    cut_file(b, 0);
    assert_true(info(b)->has_image_now);
    assert_int_equal(info(b)->image_now, 0);
    cut_file(b, DISK_BYTES);
    assert_int_equal(resize(b, 0, false), -EINVAL);
    expect_text(b, 1, "its image has 8388608 bytes, and its guest knows the disk with 16777216");
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), 0); /* which gives it back */
    assert_int_equal(file_size(b), 2 * DISK_BYTES);
}

/* While a ring runs; nobody asks. */
static void image_that_grows_is_noticed_by_the_clock(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    connect_guest(b);
    cut_file(b, 2 * DISK_BYTES);
    while (b->resumed == 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_equal(b->resumed_size, 2 * DISK_BYTES);
    assert_int_equal(write_before(b, 2 * DISK_BYTES), VIRTIO_BLK_S_OK);
}

/* ---- less ---- */

static void what_is_beyond_the_end_of_a_disk_that_shrinks_fails(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    connect_guest(b);
    assert_int_equal(write_before(b, DISK_BYTES), VIRTIO_BLK_S_OK);
    assert_int_equal(resize(b, DISK_BYTES / 2, true), 0);
    assert_true(b->request[1].has_changed);
    assert_int_equal(b->keeps, 1);
    assert_int_equal(b->size_at_keep, DISK_BYTES); /* first kept, and then cut */
    assert_int_equal(file_size(b), DISK_BYTES / 2);
    assert_int_equal(write_before(b, DISK_BYTES), VIRTIO_BLK_S_IOERR);
    assert_int_equal(write_before(b, DISK_BYTES / 2), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_size(b), DISK_BYTES / 2);
    assert_int_equal(info(b)->device.pause_mask, 0);
}

/* A daemon that is started again finds no disk that is larger than its image. */
static void image_is_not_cut_where_the_size_is_not_kept(void **state)
{
    struct bench *b = *state;

    (void)err_say(&b->keep_fails, -ENOSPC, "no room for the table");
    open_disk(b);
    assert_int_equal(resize(b, DISK_BYTES / 2, true), -ENOSPC);
    expect_text(b, 1, "the disk has 4194304 bytes by now, but its image was not cut: no room");
    assert_true(b->request[1].has_changed);
    assert_int_equal(file_size(b), DISK_BYTES);
    assert_int_equal(disk_size(b), DISK_BYTES / 2); /* looked at: it has not grown */
    assert_int_equal(b->resumed, 0);
}

static void image_that_cannot_be_cut_is_not_noticed_as_growth(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    resize_fails = -EPERM;
    assert_int_equal(resize(b, DISK_BYTES / 2, true), -EPERM);
    expect_text(b, 1, "its image was not cut: cannot make it: Operation not permitted");
    assert_int_equal(disk_size(b), DISK_BYTES / 2);
    assert_int_equal(info(b)->image_now, DISK_BYTES);
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(disk_size(b), DISK_BYTES);
}

static void disk_that_was_stopped_meanwhile_has_what_its_image_has(void **state)
{
    struct bench *b = *state;

    b->keeps_for_ever = true;
    open_disk(b);
    send_resize(b, DISK_BYTES / 2, true, LONG_MS);
    while (b->keeps == 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(ask(b, PLANE_START), 0);
    plane_resize_kept(b->plane);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    expect_text(b, 1, "its image was not cut: the disk was stopped");
    assert_int_equal(disk_size(b), DISK_BYTES);
    assert_int_equal(file_size(b), DISK_BYTES);
}

static void disk_that_does_not_come_to_rest_keeps_its_size(void **state)
{
    struct bench *b = *state;

    b->opts.image = (struct image_opts){.type = "null", .size = DISK_BYTES};
    open_disk(b);
    connect_guest(b);
    gate_shut();
    put_write(b, 0);
    while (info(b)->device.stats.inflight == 0) {
    }
    send_resize(b, DISK_BYTES / 2, true, 20);
    assert_int_equal(wait_for(b, 1), -ETIMEDOUT);
    expect_text(b, 1, "still draining: 1 in flight");
    expect_text(b, 1, "nothing is changed");
    assert_int_equal(info(b)->device.pause_mask, 0);
    assert_int_equal(disk_size(b), DISK_BYTES);
    send_resize(b, DISK_BYTES / 2, true, LONG_MS);
    while (!(info(b)->device.pause_mask & PAUSE_IMAGE)) {
    }
    send_request(b, 2, PLANE_STOP);
    while (info(b)->state != PLANE_STOPPING) {
    }
    gate_open();
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(take_status(b), VIRTIO_BLK_S_OK);
}

/* ---- file systems that do not answer, and who else wants something ---- */

static void hang_at_resize(struct bench *b, uint64_t size, bool shrink, uint32_t timeout_ms)
{
    hangs_at_resize = true;
    send_resize(b, size, shrink, timeout_ms);
    while (!is_resizing) {
        uv_run(&b->control.loop, UV_RUN_NOWAIT);
    }
}

static void file_system_that_hangs_is_told_and_holds_up_nobody(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    connect_guest(b);
    hang_at_resize(b, 2 * DISK_BYTES, false, 20);
    assert_int_equal(wait_for(b, 1), -ETIMEDOUT);
    expect_text(b, 1, "vda: the image's file system does not answer, for ");
    assert_int_equal(write_before(b, DISK_BYTES), VIRTIO_BLK_S_OK);
    assert_int_equal(resize(b, 4 * DISK_BYTES, false), -EBUSY);
    expect_text(b, 1, "vda: its size is being changed already");
    expect_text(b, 1, "does not answer");
    hangs_at_resize = false;
    while (b->resumed == 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_int_equal(b->resumed_size, 2 * DISK_BYTES);
    assert_int_equal(resize(b, 4 * DISK_BYTES, false), 0);
}

/* The guest has less by then, so it goes on. */
static void image_that_is_cut_late_is_cut(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    hang_at_resize(b, DISK_BYTES / 2, true, 100);
    assert_int_equal(wait_for(b, 1), -ETIMEDOUT);
    expect_text(b, 1, "vda: the disk is smaller, but the image's file system does not answer");
    assert_true(b->request[1].has_changed);
    assert_int_equal(disk_size(b), DISK_BYTES / 2);
    hangs_at_resize = false;
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(file_size(b), DISK_BYTES / 2);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(disk_size(b), DISK_BYTES / 2);
}

static void two_at_once_are_one(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    hang_at_resize(b, 2 * DISK_BYTES, false, LONG_MS);
    send_request(b, 2, PLANE_RESIZE);
    assert_int_equal(wait_for(b, 2), -EBUSY);
    hangs_at_resize = false;
    assert_int_equal(wait_for(b, 1), 0);
}

static void stop_waits_for_who_has_the_file(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    hang_at_resize(b, 2 * DISK_BYTES, false, LONG_MS);
    send_request(b, 2, PLANE_STOP);
    while (info(b)->state != PLANE_STOPPING) {
    }
    assert_false(b->answered[2]);
    hangs_at_resize = false;
    assert_int_equal(wait_for(b, 1), -EBUSY);
    expect_text(b, 1, "vda: it is being stopped; its image has 16777216 bytes by now");
    assert_int_equal(wait_for(b, 2), 0);
    assert_int_equal(resize(b, 4 * DISK_BYTES, false), -EBUSY);
    expect_text(b, 1, "vda: it is stopped, and its image is closed; first 'vblkctl start vda'");
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(disk_size(b), 2 * DISK_BYTES);
}

static void removal_tells_who_waits_for_a_size(void **state)
{
    struct bench *b = *state;

    open_disk(b);
    hang_at_resize(b, 2 * DISK_BYTES, false, LONG_MS);
    send_request(b, 2, PLANE_REMOVE);
    assert_int_equal(wait_for(b, 1), -ECANCELED);
    expect_text(b, 1, "vda: the disk is being removed");
    hangs_at_resize = false;
    assert_int_equal(wait_for(b, 2), 0);
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
}

/* As a front-end that begins to migrate. */
static int begin_log(struct bench *b)
{
    const struct vhost_log_msg msg = {.size = 1 << 16};
    int log = memfd_create("log", MFD_CLOEXEC);
    struct vhost_out out = {.request = VHOST_SET_LOG_BASE,
                            .flags = VHOST_FLAG_VERSION,
                            .size = sizeof(msg),
                            .len = sizeof(msg),
                            .payload = &msg,
                            .fd_count = 1,
                            .fds = &log};
    uint64_t features = info(b)->device.features | BIT(VHOST_F_PROTOCOL_FEATURES);
    uint64_t protocol = frontend_protocol_features(&b->fe) | BIT(VHOST_P_LOG_SHMFD);
    struct vhost_in in;

    assert_true(log >= 0);
    assert_return_code(ftruncate(log, 1 << 16), errno);
    assert_int_equal(frontend_set_u64(&b->fe, VHOST_SET_PROTOCOL_FEATURES, protocol, -1), 0);
    assert_int_equal(vhost_send(frontend_sock(&b->fe), &out), 0);
    assert_int_equal(vhost_recv(frontend_sock(&b->fe), &in, LONG_MS), 0);
    assert_int_equal(
        frontend_set_u64(&b->fe, VHOST_SET_FEATURES, features | BIT(VHOST_F_LOG_ALL), -1), 0);
    return log;
}

static void guest_that_is_migrated_takes_its_size_along(void **state)
{
    struct bench *b = *state;
    int log;

    open_disk(b);
    connect_guest(b);
    log = begin_log(b);
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), -EBUSY);
    expect_text(b, 1, "vda: its guest is being migrated");
    cut_file(b, 2 * DISK_BYTES);
    assert_int_equal(resize(b, 0, false), -EBUSY);
    assert_int_equal(disk_size(b), DISK_BYTES); /* not noticed either */
    assert_int_equal(b->resumed, 0);
    close(log);
}

static void disk_whose_guest_is_elsewhere_is_resized_there(void **state)
{
    struct bench *b = *state;

    b->opts.is_incoming = true;
    open_disk(b);
    assert_int_equal(resize(b, 2 * DISK_BYTES, false), -EBUSY);
    expect_text(b, 1, "vda: its guest runs elsewhere");
    assert_int_equal(resize(b, 0, false), -EBUSY);
    assert_int_equal(file_size(b), DISK_BYTES);
}

#define bench_test(name) cmocka_unit_test_setup_teardown(name, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(disk_and_its_image_grow_under_the_guest),
        bench_test(sizes_that_do_not_suit_change_nothing),
        bench_test(disk_that_is_only_read_follows_its_image),
        bench_test(null_image_keeps_its_size),
        bench_test(image_that_others_have_made_larger_is_not_cut),
        bench_test(image_that_has_grown_is_noticed),
        bench_test(image_that_grows_is_noticed_by_the_clock),
        bench_test(what_is_beyond_the_end_of_a_disk_that_shrinks_fails),
        bench_test(image_is_not_cut_where_the_size_is_not_kept),
        bench_test(image_that_cannot_be_cut_is_not_noticed_as_growth),
        bench_test(disk_that_was_stopped_meanwhile_has_what_its_image_has),
        bench_test(disk_that_does_not_come_to_rest_keeps_its_size),
        bench_test(file_system_that_hangs_is_told_and_holds_up_nobody),
        bench_test(image_that_is_cut_late_is_cut),
        bench_test(two_at_once_are_one),
        bench_test(stop_waits_for_who_has_the_file),
        bench_test(removal_tells_who_waits_for_a_size),
        bench_test(guest_that_is_migrated_takes_its_size_along),
        bench_test(disk_whose_guest_is_elsewhere_is_resized_there),
    };

    mem_guard_install();
    return unit_run(tests);
}
