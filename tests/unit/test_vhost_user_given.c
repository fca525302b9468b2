/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A front-end's connection goes on with another device, as with the one of the next process: copies
 * of descriptors stand for what arrives there.  The first one stays, held, and must touch nothing.
 */

#define _GNU_SOURCE 1
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/block/image.h"
#include "core/virtio/inflight.h"
#include "transports/socket_rights.h"
#include "transports/vhost_user_given.h"

struct heir {
    struct device dev;
    _Atomic pid_t awaited;
    struct vhost_user *vu;
    struct image *image;
    struct vu_given given;
    struct drain drain;
    bool is_drained;
    bool has_stopped;
    bool has_closed;
};

static struct heir heir;

static void on_drained(struct drain *drain)
{
    (void)drain;
    heir.is_drained = true;
}

static bool is_at_rest(struct vu_bench *b)
{
    return heir.is_drained && !vhost_user_work(b->vu);
}

static void copy_fd(int *fd)
{
    *fd = *fd < 0 ? -1 : fcntl(*fd, F_DUPFD_CLOEXEC, 0);
}

static void copy_fds(struct vu_given *given)
{
    copy_fd(&given->listener.fd);
    copy_fd(&given->listener.lock_fd);
    copy_fd(&given->fd);
    for (unsigned i = 0; i < given->count; i++) {
        copy_fd(&given->msg[i].fd);
    }
    for (unsigned i = 0; i < given->fd_count; i++) {
        copy_fd(&given->fds[i]);
    }
}

/* The first comes to rest, and says what it was told. */
static void give(struct vu_bench *b)
{
    struct err err = {0};

    memset(&heir, 0, sizeof(heir));
    vhost_user_hold(b->vu, true);
    heir.drain = (struct drain){.done = on_drained, .own_below = LANES_MAX};
    device_pause(&b->dev, PAUSE_UPGRADE, &heir.drain);
    bench_wait(b, is_at_rest);
    if (vhost_user_give(b->vu, &heir.given, &err) < 0) {
        fail_msg("%s", err.text);
    }
    copy_fds(&heir.given);
}

static void open_heir(struct vu_bench *b)
{
    const struct image_opts image = {.type = "null", .size = 1 << 20, .max_inflight = 16};
    const struct device_opts opts = {.name = "vda",
                                     .queues = BENCH_QUEUES,
                                     .queue_size_max = BENCH_QUEUE_MAX,
                                     .awaited = &heir.awaited};
    struct blk_opts blk = {
        .queues = BENCH_QUEUES, .seg_max = BLK_SEG_MAX, .has_config_wce = true, .serial = "bench"};
    const struct vhost_user_opts vu = {
        .name = "vda", .rights = SOCKET_OWN(0600), .socket_path = b->path, .given = &heir.given};
    struct err err = {0};

    assert_int_equal(image_open(&heir.image, &image, &err), 0);
    assert_int_equal(blk_opts_resolve(&blk, image_facts(heir.image), &err), 0);
    assert_int_equal(device_init(&heir.dev, &b->loop, &opts, &blk, &err), 0);
    assert_int_equal(device_attach(&heir.dev, heir.image, &err), 0);
    device_pause(&heir.dev, PAUSE_UPGRADE, NULL);
    device_resume(&heir.dev, PAUSE_ADMIN);
    assert_int_equal(vhost_user_start(&heir.vu, &b->loop, &heir.dev, &vu, &err), 0);
}

/* All but to touch what is the guest's. */
static void prepare(struct vu_bench *b)
{
    struct err err = {0};

    give(b);
    open_heir(b);
    if (heir.given.fd >= 0 && vhost_user_take(heir.vu, &heir.given, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void go_on(void)
{
    struct err err = {0};

    if (vhost_user_take_rings(heir.vu, &heir.given, &err) < 0) {
        fail_msg("%s", err.text);
    }
    device_resume(&heir.dev, PAUSE_UPGRADE);
    vu_given_fini(&heir.given, true);
}

static void move(struct vu_bench *b)
{
    prepare(b);
    go_on();
}

static void on_stopped(void *arg)
{
    (void)arg;
    heir.has_stopped = true;
}

static void on_closed(void *arg)
{
    (void)arg;
    heir.has_closed = true;
}

static bool has_stopped(struct vu_bench *b)
{
    (void)b;
    return heir.has_stopped;
}

static bool has_closed(struct vu_bench *b)
{
    (void)b;
    return heir.has_closed;
}

static void end_heir(struct vu_bench *b)
{
    heir.is_drained = false;
    heir.drain = (struct drain){.done = on_drained, .own_below = LANES_MAX};
    device_pause(&heir.dev, PAUSE_EXIT, &heir.drain);
    while (!heir.is_drained) {
        bench_pump(b, 1);
    }
    vhost_user_stop(heir.vu, on_stopped, NULL);
    bench_wait(b, has_stopped);
    assert_ptr_equal(device_detach(&heir.dev), heir.image);
    image_close(heir.image);
    device_close(&heir.dev, on_closed, NULL);
    bench_wait(b, has_closed);
}

static void a_ring_goes_on_where_it_was(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    move(b);
    bench_offer(b);
    bench_wait_used(b, 2);
    end_heir(b);
}

static void what_comes_meanwhile_is_served_then_and_not_before(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    prepare(b);
    bench_offer(b);
    bench_pump(b, 20);
    assert_int_equal(bench_used_idx(b), 0);
    go_on();
    bench_wait_used(b, 1);
    assert_int_equal(device_rings_running(&heir.dev), 1);
    end_heir(b);
}

static void who_does_not_go_goes_on(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    prepare(b);
    bench_offer(b);
    vu_given_fini(&heir.given, true);
    end_heir(b);
    assert_int_equal(bench_used_idx(b), 0);
    device_resume(&b->dev, PAUSE_UPGRADE);
    bench_wait_used(b, 1);
    vhost_user_hold(b->vu, false);
}

static void messages_are_answered_by_the_next(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    move(b);
    assert_int_equal(bench_get_u64(b, VHOST_USER_GET_QUEUE_NUM), BENCH_QUEUES);
    assert_int_equal(bench_get_base(b), 1);
    end_heir(b);
}

static void half_a_message_is_received_to_its_end(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_header header = {.request = VHOST_USER_GET_QUEUE_NUM,
                                             .flags = VHOST_USER_VERSION};
    struct vu_answer answer;

    bench_negotiate(b);
    bench_send_raw(b->peer, &header, 5, NULL, 0);
    bench_pump(b, 20);
    move(b);
    bench_send_raw(b->peer, (const uint8_t *)&header + 5, sizeof(header) - 5, NULL, 0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.payload.u64, BENCH_QUEUES);
    end_heir(b);
}

static void half_a_message_keeps_its_descriptor(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_header header = {.request = VHOST_USER_SET_VRING_CALL,
                                             .flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY,
                                             .size = 8};
    const uint64_t ring = 0;
    struct vu_answer answer;

    bench_negotiate(b);
    bench_send_raw(b->peer, &header, sizeof(header), &b->call, 1);
    bench_pump(b, 50);
    move(b);
    bench_send_raw(b->peer, &ring, sizeof(ring), NULL, 0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.payload.u64, 0);
    end_heir(b);
}

/* It is in the socket's queue. */
static void who_connects_meanwhile_is_served_by_the_next(void **state)
{
    struct vu_bench *b = *state;
    uint64_t features;

    bench_negotiate(b);
    close(b->peer);
    b->peer = -1;
    prepare(b);
    b->peer = bench_connect(b);
    go_on();
    features = bench_get_u64(b, VHOST_USER_GET_FEATURES);
    assert_true(features & VHOST_USER_F_PROTOCOL_FEATURES);
    end_heir(b);
}

static void features_and_cache_are_as_they_were(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_false(device_is_in_doubt(&b->dev));
    move(b);
    assert_int_equal(device_accepted(&heir.dev), device_accepted(&b->dev));
    assert_false(
        device_is_in_doubt(&heir.dev)); /* its driver is not one that came from elsewhere */
    end_heir(b);
}

/* Nobody can map that again: a guest that does so must not keep others from going. */
static void lost_memory_is_not_passed_on(void **state)
{
    struct vu_bench *b = *state;
    struct err err = {0};

    bench_set_up(b);
    assert_int_equal(ftruncate(b->mem_fd, 0), 0);
    device_park(&b->dev);
    atomic_store(&b->dev.view.mem.region[0].is_lost, true);
    device_unpark(&b->dev);
    assert_int_equal(vhost_user_give(b->vu, &heir.given, &err), 0);
    assert_int_equal(heir.given.fd, -1);
    assert_true(heir.given.listener.fd >= 0);
    vu_given_fini(&heir.given, false);
}

static void a_log_of_requests_in_flight_goes_along(void **state)
{
    struct vu_bench *b = *state;
    uint64_t bytes = BENCH_QUEUES * ring_inflight_bytes(false, BENCH_QUEUE_SIZE);
    const struct vhost_user_inflight log = {
        .mmap_size = bytes, .num_queues = BENCH_QUEUES, .queue_size = BENCH_QUEUE_SIZE};
    int fd = memfd_create("log", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_INFLIGHT_FD, &log, sizeof(log), &fd, 1), 0);
    bench_share_memory(b);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    move(b);
    assert_non_null(heir.dev.queue[0].ring.layout.inflight.at);
    assert_int_equal(heir.dev.queue[0].ring.held_count, 0);
    bench_offer(b);
    bench_wait_used(b, 2);
    end_heir(b);
    close(fd);
}

static void a_ring_that_was_broken_stays_so(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    device_park(&b->dev);
    ring_break(&b->dev.queue[0].ring, "for the test");
    device_unpark(&b->dev);
    move(b);
    assert_true(device_has_broken_ring(&heir.dev));
    bench_offer(b);
    bench_pump(b, 20);
    assert_int_equal(bench_used_idx(b), 0);
    end_heir(b);
}

/* The kernel may have no room for one more to watch: here it is a descriptor that cannot be. */
static void a_socket_that_cannot_be_watched_stays_the_other_ones(void **state)
{
    struct vu_bench *b = *state;
    struct vu_given given;
    struct err err = {0};
    const struct vhost_user_opts vu = {
        .name = "heir", .socket_path = b->path, .rights = SOCKET_OWN(0600), .given = &given};
    struct vhost_user *heirs = NULL;
    int fd = memfd_create("no socket", MFD_CLOEXEC);

    assert_int_equal(vhost_user_give(b->vu, &given, &err), 0);
    given.listener.fd = fd;
    given.listener.lock_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    assert_true(fd >= 0 && given.listener.lock_fd >= 0);
    assert_true(vhost_user_start(&heirs, &b->loop, &b->dev, &vu, &err) < 0);
    assert_int_equal(given.listener.fd, fd);
    assert_int_equal(access(b->path, F_OK), 0);
    assert_int_equal(vhost_user_look(b->vu, &err), 0);
    vu_given_fini(&given, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(a_ring_goes_on_where_it_was),
        bench_test(what_comes_meanwhile_is_served_then_and_not_before),
        bench_test(who_does_not_go_goes_on),
        bench_test(messages_are_answered_by_the_next),
        bench_test(half_a_message_is_received_to_its_end),
        bench_test(half_a_message_keeps_its_descriptor),
        bench_test(who_connects_meanwhile_is_served_by_the_next),
        bench_test(features_and_cache_are_as_they_were),
        bench_test(lost_memory_is_not_passed_on),
        bench_test(a_log_of_requests_in_flight_goes_along),
        bench_test(a_ring_that_was_broken_stays_so),
        bench_test(a_socket_that_cannot_be_watched_stays_the_other_ones),
    };

    return unit_run(tests);
}
