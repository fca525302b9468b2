/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/block/image_lock.h"
#include "core/virtio/mem.h"
#include "daemon/plane_keep.h"
#include "daemon/plane_thread.h"
#include "tests/lib/frontend.h"
#include "tests/unit/control_world.h"
#include "tests/unit/no_rates.h"

#define DISK_BYTES (1u << 20)
#define LONG_MS 60000
#define UNSERVED 15 /* VIRTIO_BLK_F_LIFETIME, which headers of old lack */

/* A disk on its own thread; the test's thread is control, the front-end and whoever else locks. */
struct bench {
    struct control_world control;
    char image[96];
    struct plane_opts opts;
    struct plane *plane;
    struct plane_request request[2];
    bool answered[2];
    bool is_gone;
    bool has_ended;
    unsigned resumed;
    unsigned keeps;      /* how often control was to keep that the image is handed over */
    bool keeps_for_ever; /* until keep_now */
    struct err keep_fails;
    int log;   /* -1: there is none yet */
    int other; /* open, and locked; -1: not */
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
    (void)plane;
    bench->has_ended = true;
}

static void on_resumed(struct plane *plane)
{
    (void)plane;
    bench->resumed++;
}

static void on_answered(struct plane_request *request)
{
    bench->answered[request - bench->request] = true;
}

static void keep_handover(struct plane *plane)
{
    bench->keeps++;
    plane->keep.err = bench->keep_fails;
    if (!bench->keeps_for_ever) {
        plane_keep_kept(plane);
    }
}

static void keep_now(struct bench *b)
{
    b->keeps_for_ever = false;
    plane_keep_kept(b->plane);
}

static void set_size(struct bench *b, off_t bytes)
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
    b->log = -1;
    b->other = -1;
    control_world_start(&b->control, "handover");
    (void)snprintf(b->image, sizeof(b->image), "%s/img", b->control.dir);
    fd = open(b->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    set_size(b, DISK_BYTES);
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
        .image = {.type = "file", .path = b->image, .cache = CACHE_WRITEBACK},
        .serial = "vda",
        .queues = 2,
        .queue_size = 64,
        .keep_handover = keep_handover,
    };
    (void)snprintf(b->opts.socket_path, sizeof(b->opts.socket_path), "%s/vda.sock", b->control.dir);
    return 0;
}

/* ---- requests ---- */

static void send_request(struct bench *b, unsigned slot, enum plane_verb verb)
{
    struct plane_request *request = &b->request[slot];

    *request = (struct plane_request){.verb = verb,
                                      .timeout_ms = LONG_MS,
                                      .answered = on_answered,
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

/* Control's loop runs meanwhile. */
static void wait_state(struct bench *b, enum plane_state state)
{
    uint64_t deadline_ns = now_ns() + 60 * NS_PER_S;

    while (info(b)->state != state) {
        assert_true(now_ns() < deadline_ns);
    }
}

static void wait_reason(struct bench *b, const char *part)
{
    uint64_t deadline_ns = now_ns() + 60 * NS_PER_S;

    while (!strstr(info(b)->reason, part)) {
        assert_true(now_ns() < deadline_ns);
    }
}

static void wait_keeps(struct bench *b, unsigned count)
{
    while (b->keeps < count) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
}

static int open_disk(struct bench *b)
{
    b->plane = calloc(1, sizeof(*b->plane));
    assert_non_null(b->plane);
    b->is_gone = false;
    b->has_ended = false;
    assert_int_equal(
        plane_start(b->plane, &b->opts, &b->control.mailbox, on_gone, on_ended, on_resumed, NULL),
        0);
    return ask(b, PLANE_OPEN);
}

static void open_incoming(struct bench *b)
{
    b->opts.is_incoming = true;
    assert_int_equal(open_disk(b), 0);
    assert_int_equal(info(b)->state, PLANE_WAITING);
}

static void wait_removed(struct bench *b)
{
    assert_int_equal(wait_for(b, 0), 0);
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
}

/* ---- whoever else wants the image ---- */

static int lock_image(struct bench *b)
{
    const struct image_use use = {.image = b->image};
    int ret;

    b->other = open(b->image, O_RDWR | O_CLOEXEC);
    assert_true(b->other >= 0);
    ret = image_lock(b->other, b->image, &use, NULL);
    if (ret < 0) {
        close(b->other);
        b->other = -1;
    }
    return ret;
}

static void unlock_image(struct bench *b)
{
    close(b->other);
    b->other = -1;
}

static void expect_free(struct bench *b)
{
    assert_int_equal(lock_image(b), 0);
    unlock_image(b);
}

/* ---- the guest ---- */

static void connect_guest(struct bench *b)
{
    const struct frontend_opts opts = {.socket = b->opts.socket_path,
                                       .queues = 1,
                                       .queue_size = 16,
                                       .depth = 8,
                                       .request_bytes = 4096};

    frontend_init(&b->fe, &opts);
    b->has_front_end = true;
    assert_int_equal(frontend_start(&b->fe), 0);
}

static void put_write(struct bench *b, uint8_t byte)
{
    struct frontend_request *request = frontend_prepare(&b->fe.ring[0], VIRTIO_BLK_T_OUT, 0, 4096);

    assert_non_null(request);
    memset(request->data, byte, 4096);
    frontend_put(request);
    frontend_kick(&b->fe.ring[0]);
}

static void expect_written(struct bench *b, uint8_t byte)
{
    struct frontend_request *request;
    uint8_t first;
    int fd;

    while (!(request = frontend_reap(&b->fe.ring[0]))) {
        assert_int_equal(frontend_wait(&b->fe, LONG_MS), 0);
    }
    assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
    frontend_release(request);
    fd = open(b->image, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &first, 1, 0), 1);
    assert_int_equal(first, byte);
    close(fd);
}

static void write_byte(struct bench *b, uint8_t byte)
{
    put_write(b, byte);
    expect_written(b, byte);
}

/* As a front-end that begins to migrate: the log, and then what is to be logged. */
static void begin_migration(struct bench *b)
{
    const struct vhost_log_msg log = {.size = 1 << 16};
    struct vhost_out out = {.request = VHOST_SET_LOG_BASE,
                            .flags = VHOST_FLAG_VERSION,
                            .size = sizeof(log),
                            .len = sizeof(log),
                            .payload = &log,
                            .fd_count = 1,
                            .fds = &b->log};
    uint64_t features = info(b)->device.features | BIT(VHOST_F_PROTOCOL_FEATURES);
    uint64_t protocol =
        frontend_protocol_features(&b->fe) | BIT(VHOST_P_LOG_SHMFD) | BIT(VHOST_P_STATUS);
    struct vhost_in in;

    b->log = memfd_create("log", MFD_CLOEXEC);
    assert_true(b->log >= 0);
    assert_return_code(ftruncate(b->log, 1 << 16), errno);
    assert_int_equal(frontend_set_u64(&b->fe, VHOST_SET_PROTOCOL_FEATURES, protocol, -1), 0);
    assert_int_equal(vhost_send(frontend_sock(&b->fe), &out), 0);
    assert_int_equal(vhost_recv(frontend_sock(&b->fe), &in, LONG_MS), 0);
    assert_int_equal(
        frontend_set_u64(&b->fe, VHOST_SET_FEATURES, features | BIT(VHOST_F_LOG_ALL), -1), 0);
}

/* The base at which it goes on. */
static uint32_t stop_guest(struct bench *b)
{
    uint32_t base;

    assert_int_equal(frontend_ring_stop(&b->fe, 0, &base), 0);
    return base;
}

static void continue_guest(struct bench *b, uint32_t base)
{
    assert_int_equal(frontend_ring_start(&b->fe, 0, base), 0);
}

/* A disk with a guest, whose migration is under way. */
static void open_migrated(struct bench *b)
{
    assert_int_equal(open_disk(b), 0);
    connect_guest(b);
    write_byte(b, 1);
    begin_migration(b);
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    if (b->other >= 0) {
        unlock_image(b);
    }
    if (b->plane) {
        send_request(b, 0, PLANE_REMOVE);
        wait_removed(b);
    }
    if (b->has_front_end) {
        frontend_disconnect(&b->fe);
        frontend_fini(&b->fe);
    }
    if (b->log >= 0) {
        close(b->log);
    }
    control_world_stop(&b->control);
    free(b);
    return 0;
}

/* ---- a guest comes ---- */

static void incoming_disk_is_there_while_somebody_has_its_image(void **state)
{
    struct bench *b = *state;

    assert_int_equal(lock_image(b), 0);
    open_incoming(b);
    assert_int_equal(info(b)->geometry.size, DISK_BYTES);
    assert_int_equal(info(b)->geometry.logical_block, 512);
    assert_true(info(b)->is_listening);
    assert_false(info(b)->has_image);
    assert_non_null(strstr(info(b)->reason, "elsewhere"));
    unlock_image(b);
    expect_free(b);
}

static void first_queue_takes_the_image(void **state)
{
    struct bench *b = *state;

    open_incoming(b);
    connect_guest(b);
    write_byte(b, 5);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_string_equal(info(b)->reason, "");
    assert_true(info(b)->has_image);
    assert_int_equal(b->resumed, 1);
    assert_int_equal(lock_image(b), -EBUSY);
}

static void guest_waits_for_who_has_the_image(void **state)
{
    struct bench *b = *state;
    uint64_t later_ns = now_ns() + NS_PER_S;
    char holder[32];

    (void)snprintf(holder, sizeof(holder), "(pid %d)", (int)getpid());
    assert_int_equal(lock_image(b), 0);
    open_incoming(b);
    connect_guest(b);
    put_write(b, 6);
    wait_reason(b, "in use by another");
    while (now_ns() < later_ns) { /* some tries later as well */
        assert_non_null(strstr(info(b)->reason, holder));
    }
    assert_int_equal(info(b)->state, PLANE_WAITING);
    assert_int_equal(info(b)->device.stats.inflight, 0);
    unlock_image(b);
    expect_written(b, 6);
    wait_state(b, PLANE_RUNNING);
}

static void guest_that_has_gone_wants_no_image(void **state)
{
    struct bench *b = *state;

    assert_int_equal(lock_image(b), 0);
    open_incoming(b);
    connect_guest(b);
    wait_reason(b, "in use by another");
    frontend_disconnect(&b->fe);
    wait_reason(b, "elsewhere");
    unlock_image(b);
    expect_free(b);
    assert_int_equal(info(b)->state, PLANE_WAITING);
    assert_int_equal(frontend_start(&b->fe), 0);
    write_byte(b, 7);
}

/* It is told to who adds the disk, and not to its guest when that has come. */
static void incoming_disk_that_cannot_show_what_it_is_to_is_refused(void **state)
{
    struct bench *b = *state;

    b->opts.is_pinned = true;
    b->opts.geometry = (struct plane_geometry){
        .logical_block = 512,
        .physical_block = 4096,
        .shown = {.features = BIT(UNSERVED) | BIT(VIRTIO_BLK_F_SEG_MAX), .seg_max = 1},
    };
    b->opts.is_incoming = true;
    assert_int_equal(open_disk(b), -ENOTSUP);
    assert_non_null(strstr(b->request[0].err.text, "does not serve: 0x8000"));
    control_world_wait(&b->control, &b->has_ended);
    free(b->plane);
    b->plane = NULL;
    expect_free(b);
}

static void size_is_what_it_is_when_the_image_is_taken(void **state)
{
    struct bench *b = *state;

    open_incoming(b);
    set_size(b, 2 * DISK_BYTES);
    connect_guest(b);
    wait_state(b, PLANE_RUNNING);
    assert_int_equal(info(b)->geometry.size, 2 * DISK_BYTES);
}

static void image_that_shrank_is_not_taken(void **state)
{
    struct bench *b = *state;

    open_incoming(b);
    set_size(b, DISK_BYTES / 2);
    connect_guest(b);
    put_write(b, 8);
    wait_reason(b, "the guest knows the disk with 1048576");
    expect_free(b);
    set_size(b, DISK_BYTES);
    expect_written(b, 8);
}

static void start_takes_the_image_without_a_guest(void **state)
{
    struct bench *b = *state;

    assert_int_equal(lock_image(b), 0);
    open_incoming(b);
    assert_int_equal(ask(b, PLANE_START), -EBUSY);
    assert_int_equal(info(b)->state, PLANE_WAITING);
    unlock_image(b);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(lock_image(b), -EBUSY);
}

static void stop_ends_the_wait(void **state)
{
    struct bench *b = *state;

    assert_int_equal(lock_image(b), 0);
    open_incoming(b);
    connect_guest(b);
    put_write(b, 9);
    wait_reason(b, "in use by another");
    assert_int_equal(ask(b, PLANE_STOP), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    unlock_image(b);
    expect_free(b);
    assert_int_equal(ask(b, PLANE_START), 0);
    expect_written(b, 9);
}

static void restored_disk_waits_on(void **state)
{
    struct bench *b = *state;

    b->opts.is_restored = true;
    b->opts.geometry =
        (struct plane_geometry){.size = DISK_BYTES, .logical_block = 512, .physical_block = 4096};
    open_incoming(b);
    expect_free(b);
    connect_guest(b);
    write_byte(b, 10);
}

/* ---- a guest leaves ---- */

static void migrated_guest_leaves_the_image(void **state)
{
    struct bench *b = *state;

    open_migrated(b);
    assert_int_equal(lock_image(b), -EBUSY);
    (void)stop_guest(b);
    wait_state(b, PLANE_WAITING);
    assert_int_equal(b->keeps, 1);
    assert_false(info(b)->has_image);
    expect_free(b);
}

static void migrated_guest_of_several_threads_leaves_the_image(void **state)
{
    struct bench *b = *state;

    b->opts.settings.threads = 2;
    migrated_guest_leaves_the_image(state);
}

/* QEMU up to 8.0 says it before it asks where rings are. */
static void guest_whose_rings_a_status_stops_leaves_the_image(void **state)
{
    struct bench *b = *state;

    open_migrated(b);
    assert_int_equal(frontend_set_u64(&b->fe, VHOST_SET_STATUS, 0, -1), 0);
    (void)stop_guest(b);
    wait_state(b, PLANE_WAITING);
    assert_int_equal(b->keeps, 1);
    expect_free(b);
}

static void guest_that_comes_back_takes_the_image_again(void **state)
{
    struct bench *b = *state;
    uint32_t base;

    open_migrated(b);
    base = stop_guest(b);
    wait_state(b, PLANE_WAITING);
    continue_guest(b, base);
    write_byte(b, 2);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(b->resumed, 1);
    (void)stop_guest(b);
    wait_state(b, PLANE_WAITING);
    assert_int_equal(b->keeps, 2);
}

static void guest_whose_migration_failed_waits_for_who_has_the_image(void **state)
{
    struct bench *b = *state;
    uint32_t base;

    open_migrated(b);
    base = stop_guest(b);
    wait_state(b, PLANE_WAITING);
    assert_int_equal(lock_image(b), 0);
    continue_guest(b, base);
    put_write(b, 3);
    wait_reason(b, "in use by another");
    unlock_image(b);
    expect_written(b, 3);
}

/* It has not been closed by then. */
static void guest_that_goes_on_at_once_keeps_the_image(void **state)
{
    struct bench *b = *state;
    uint32_t base;

    b->keeps_for_ever = true;
    open_migrated(b);
    base = stop_guest(b);
    wait_keeps(b, 1);
    assert_int_equal(info(b)->state, PLANE_STOPPING);
    assert_int_equal(lock_image(b), -EBUSY);
    continue_guest(b, base);
    put_write(b, 4);
    keep_now(b);
    expect_written(b, 4);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(b->resumed, 1);
}

static void paused_guest_keeps_the_image(void **state)
{
    struct bench *b = *state;
    uint32_t base;

    assert_int_equal(open_disk(b), 0);
    connect_guest(b);
    base = stop_guest(b);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(lock_image(b), -EBUSY);
    continue_guest(b, base);
    write_byte(b, 11);
    assert_int_equal(b->keeps, 0);
}

static void readers_share_and_keep_the_image(void **state)
{
    struct bench *b = *state;

    b->opts.image.is_readonly = true;
    assert_int_equal(open_disk(b), 0);
    connect_guest(b);
    begin_migration(b);
    (void)stop_guest(b);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(b->keeps, 0);
}

/* It is told, and the guest goes on elsewhere all the same. */
static void image_is_left_where_that_cannot_be_kept(void **state)
{
    struct bench *b = *state;

    (void)err_say(&b->keep_fails, -ENOSPC, "the disk is full");
    migrated_guest_leaves_the_image(state);
}

static void stop_while_the_image_is_handed_over_is_a_stop(void **state)
{
    struct bench *b = *state;

    b->keeps_for_ever = true;
    open_migrated(b);
    (void)stop_guest(b);
    wait_keeps(b, 1);
    send_request(b, 1, PLANE_STOP);
    assert_int_equal(info(b)->state, PLANE_STOPPING);
    keep_now(b);
    assert_int_equal(wait_for(b, 1), 0);
    assert_int_equal(info(b)->state, PLANE_STOPPED);
    expect_free(b);
}

static void start_while_the_image_is_handed_over_keeps_it(void **state)
{
    struct bench *b = *state;

    b->keeps_for_ever = true;
    open_migrated(b);
    (void)stop_guest(b);
    wait_keeps(b, 1);
    assert_int_equal(ask(b, PLANE_START), 0);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    keep_now(b);
    assert_int_equal(info(b)->state, PLANE_RUNNING);
    assert_int_equal(lock_image(b), -EBUSY);
}

static void handover_behind_one_that_is_being_kept_is_kept_itself(void **state)
{
    struct bench *b = *state;
    uint32_t base;

    b->keeps_for_ever = true;
    open_migrated(b);
    base = stop_guest(b);
    wait_keeps(b, 1);
    assert_int_equal(ask(b, PLANE_START), 0);
    continue_guest(b, base);
    write_byte(b, 12);
    (void)stop_guest(b);
    keep_now(b);
    wait_state(b, PLANE_WAITING);
    assert_int_equal(b->keeps, 2);
}

static void disk_may_go_while_its_image_is_handed_over(void **state)
{
    struct bench *b = *state;

    b->keeps_for_ever = true;
    open_migrated(b);
    (void)stop_guest(b);
    wait_keeps(b, 1);
    send_request(b, 0, PLANE_REMOVE);
    control_world_wait(&b->control, &b->answered[0]);
    wait_removed(b);
    expect_free(b);
}

#define bench_test(name) cmocka_unit_test_setup_teardown(name, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(incoming_disk_is_there_while_somebody_has_its_image),
        bench_test(first_queue_takes_the_image),
        bench_test(guest_waits_for_who_has_the_image),
        bench_test(guest_that_has_gone_wants_no_image),
        bench_test(incoming_disk_that_cannot_show_what_it_is_to_is_refused),
        bench_test(size_is_what_it_is_when_the_image_is_taken),
        bench_test(image_that_shrank_is_not_taken),
        bench_test(start_takes_the_image_without_a_guest),
        bench_test(stop_ends_the_wait),
        bench_test(restored_disk_waits_on),
        bench_test(migrated_guest_leaves_the_image),
        bench_test(migrated_guest_of_several_threads_leaves_the_image),
        bench_test(guest_whose_rings_a_status_stops_leaves_the_image),
        bench_test(guest_that_comes_back_takes_the_image_again),
        bench_test(guest_whose_migration_failed_waits_for_who_has_the_image),
        bench_test(guest_that_goes_on_at_once_keeps_the_image),
        bench_test(paused_guest_keeps_the_image),
        bench_test(readers_share_and_keep_the_image),
        bench_test(image_is_left_where_that_cannot_be_kept),
        bench_test(stop_while_the_image_is_handed_over_is_a_stop),
        bench_test(start_while_the_image_is_handed_over_keeps_it),
        bench_test(handover_behind_one_that_is_being_kept_is_kept_itself),
        bench_test(disk_may_go_while_its_image_is_handed_over),
    };

    mem_guard_install();
    return unit_run(tests);
}
