/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* pipe2 */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void request_is_served(void **state)
{
    struct vu_bench *b = *state;
    uint64_t calls;

    bench_set_up(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(read(b->call, &calls, sizeof(calls)), sizeof(calls));
}

static void ring_starts_disabled(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
    bench_offer(b);
    bench_pump(b, 20);
    assert_int_equal(bench_used_idx(b), 0);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
    bench_wait_used(b, 1);
}

static void ring_starts_enabled_without_protocol_features(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_table table = bench_table();
    const struct vhost_user_vring_state num = {.index = 0, .num = BENCH_QUEUE_SIZE};
    const struct vhost_user_vring_addr addr = {.desc = BENCH_USER + BENCH_DESC,
                                               .used = BENCH_USER + BENCH_USED,
                                               .avail = BENCH_USER + BENCH_AVAIL};
    uint64_t value = b->dev.view.blk.features;

    bench_send(b, VHOST_USER_SET_FEATURES, 0, &value, 8, NULL, 0);
    bench_send(b, VHOST_USER_SET_MEM_TABLE, 0, &table, 8 + 32, &b->mem_fd, 1);
    bench_send(b, VHOST_USER_SET_VRING_NUM, 0, &num, sizeof(num), NULL, 0);
    bench_send(b, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
    value = 0;
    bench_send(b, VHOST_USER_SET_VRING_KICK, 0, &value, 8, &b->kick, 1);
    bench_offer(b);
    bench_wait_used(b, 1);
}

static void get_vring_base_waits_for_what_is_in_flight(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_begin(b);
    assert_int_equal(bench_used_idx(b), 0);
    bench_let_go(b);
    assert_int_equal(bench_get_base(b), 1);
    assert_int_equal(bench_used_idx(b), 1);
    assert_int_equal(device_rings_running(&b->dev), 0);
}

/* QEMU asks at each reset of the guest, for every ring. */
static void base_of_a_ring_that_never_ran_is_what_was_set(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_get_base(b), 0);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 77), 0);
    assert_int_equal(bench_get_base(b), 77);
}

static void ring_can_be_stopped_and_started_again(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    bench_share_memory(b);
    for (uint16_t i = 0; i < 4; i++) {
        bench_start_ring(b);
        bench_offer(b);
        bench_wait_used(b, i + 1);
        assert_int_equal(bench_get_base(b), i + 1);
    }
}

static void reset_device_is_as_new_and_keeps_memory(void **state)
{
    struct vu_bench *b = *state;
    const struct ring_setup *ring = &b->dev.ring[0];

    bench_set_up(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_ERR, 0, b->call), 0);
    bench_begin(b);
    bench_let_go(b);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(bench_used_idx(b), 1);
    assert_int_equal(device_rings_running(&b->dev), 0);
    assert_false(ring->queue->is_enabled || ring->has_addr);
    assert_int_equal(ring->size, 0);
    assert_true(ring->queue->call_fd < 0 && ring->queue->err_fd < 0);
    assert_int_equal(b->dev.view.blk.features, 0);
    assert_int_equal(b->dev.view.mem.count, 1);
    assert_int_equal(bench_get_base(b), 0);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 2);
}

/* It should do no more than to disable rings, and the front-ends of old asked for the base. */
static void reset_owner_stops_rings_and_keeps_the_rest(void **state)
{
    struct vu_bench *b = *state;
    uint64_t features;

    bench_set_up(b);
    features = b->dev.view.blk.features;
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(device_rings_running(&b->dev), 0);
    assert_false(b->dev.queue[0].is_enabled);
    assert_int_equal(b->dev.view.blk.features, features);
    assert_int_equal(b->dev.view.mem.count, 1);
    assert_int_equal(bench_get_base(b), 1);
}

static uint64_t enable(struct vu_bench *b, uint32_t on)
{
    return bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, on);
}

/* The guest has begun anew, and its ring with it. */
static void zero_ring(struct vu_bench *b)
{
    memset(b->mem + BENCH_DESC, 0, BENCH_USED + 0x1000 - BENCH_DESC);
}

/* QEMU alone sends GET_VRING_BASE; memory that a request writes to would be the guest's again. */
static void disabling_waits_for_what_is_in_flight(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_begin(b);
    assert_int_equal(bench_used_idx(b), 0);
    bench_let_go(b);
    assert_int_equal(enable(b, 0), 0);
    assert_int_equal(bench_used_idx(b), 1);
    bench_offer(b);
    bench_pump(b, 20);
    assert_int_equal(bench_used_idx(b), 1);
    assert_int_equal(enable(b, 1), 0);
    bench_wait_used(b, 2);
}

/* cloud-hypervisor v25.0 and virtio_uml reset a device by nothing else than this. */
static void disabled_ring_can_be_set_up_anew(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    for (unsigned round = 0; round < 3; round++) {
        for (uint16_t i = 0; i < 3; i++) {
            bench_offer(b);
            bench_wait_used(b, i + 1);
        }
        assert_int_equal(enable(b, 0), 0);
        zero_ring(b);
        bench_start_ring(b); /* at the base 0 */
    }
    bench_offer(b);
    bench_wait_used(b, 1);
}

/* Whatever comes first, and whatever differs. */
static void any_part_of_a_disabled_ring_can_change(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t desc = BENCH_USER + BENCH_DESC, used = BENCH_USER + BENCH_USED,
                   avail = BENCH_USER + BENCH_AVAIL;

    bench_set_up(b);
    for (unsigned part = 0; part < 4; part++) {
        bench_offer(b);
        bench_wait_used(b, 1);
        assert_int_equal(enable(b, 0), 0);
        zero_ring(b);
        if (part == 0) {
            assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_NUM, 0, 128), 0);
        } else if (part == 1) {
            assert_int_equal(bench_ack_addr(b, desc + 0x4000, used + 0x4000, avail + 0x4000, 0), 0);
        } else if (part == 2) {
            assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 7), 0);
        } else {
            assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, 0, b->kick), 0);
        }
        assert_int_equal(device_rings_running(&b->dev), part == 3);
        bench_start_ring(b);
        assert_int_equal(device_rings_running(&b->dev), 1);
    }
    bench_offer(b);
    bench_wait_used(b, 1);
}

/* virtio_uml and DPDK give the call fd before all else. */
static void call_fd_is_kept_when_a_disabled_ring_is_set_up_anew(void **state)
{
    struct vu_bench *b = *state;
    uint64_t calls;

    bench_set_up(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(enable(b, 0), 0);
    zero_ring(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, b->call), 0);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 0), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, 0, b->kick), 0);
    assert_int_equal(enable(b, 1), 0);
    assert_int_equal(read(b->call, &calls, sizeof(calls)), sizeof(calls));
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(read(b->call, &calls, sizeof(calls)), sizeof(calls));
}

/* The firmware's driver, then that of the operating system. */
static void features_may_change_while_all_rings_are_disabled(void **state)
{
    struct vu_bench *b = *state;
    uint64_t features;

    bench_set_up(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    features = b->dev.view.blk.features & ~(1ull << VIRTIO_RING_F_EVENT_IDX);
    assert_int_equal(enable(b, 0), 0);
    assert_int_equal(
        bench_ack_u64(b, VHOST_USER_SET_FEATURES, features | VHOST_USER_F_PROTOCOL_FEATURES, -1),
        0);
    assert_int_equal(b->dev.view.blk.features, features);
    assert_int_equal(device_rings_running(&b->dev), 0);
    zero_ring(b);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
}

static void base_of_a_running_ring_can_only_be_said_again(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 0), 0);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 1), 0);
    bench_offer(b);
    bench_wait_used(b, 2);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 1), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "ring 0 runs: it has to be stopped (GET_VRING_BASE) or disabled first");
}

static void again(struct vu_bench *b)
{
    close(b->peer);
    b->peer = bench_connect(b);
    bench_negotiate(b);
}

static void bad_ring_size_is_refused(void **state)
{
    static const uint32_t bad[] = {0, 3, BENCH_QUEUE_MAX * 2, 0x80000000u, UINT32_MAX};
    struct vu_bench *b = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        again(b);
        assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_NUM, 0, bad[i]), 1);
        bench_expect_closed(b);
    }
    bench_expect_log(b, "message 8 (SET_VRING_NUM): ring 0: size 3 ");
}

static void ring_that_does_not_exist_is_refused(void **state)
{
    static const uint32_t requests[] = {VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE,
                                        VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_ENABLE};
    static const uint32_t with_fd[] = {VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL,
                                       VHOST_USER_SET_VRING_ERR};
    struct vu_bench *b = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        const struct vhost_user_vring_state ring = {.index = BENCH_QUEUES, .num = 1};

        again(b);
        bench_send(b, requests[i], 0, &ring, sizeof(ring), NULL, 0);
        bench_expect_closed(b);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(with_fd); i++) {
        again(b);
        assert_int_equal(bench_ack_u64(b, with_fd[i], 255, b->call), 1);
        bench_expect_closed(b);
    }
    bench_expect_log(b, "of a device with 2");
}

static void addresses_outside_memory_are_refused(void **state)
{
    static const uint64_t bad[] = {0, BENCH_USER + BENCH_MEM_BYTES - 16, BENCH_USER - 64,
                                   UINT64_MAX, UINT64_MAX - 127};
    struct vu_bench *b = *state;
    const uint64_t desc = BENCH_USER + BENCH_DESC, used = BENCH_USER + BENCH_USED,
                   avail = BENCH_USER + BENCH_AVAIL;

    for (unsigned i = 0; i < 3 * ARRAY_SIZE(bad); i++) {
        uint64_t addr = bad[i / 3];

        again(b);
        bench_share_memory(b);
        assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_NUM, 0, BENCH_QUEUE_SIZE), 0);
        assert_int_equal(bench_ack_addr(b, i % 3 == 0 ? addr : desc, i % 3 == 1 ? addr : used,
                                        i % 3 == 2 ? addr : avail, 0),
                         1);
        bench_expect_closed(b);
    }
}

static void same_parts_again_are_fine_while_the_ring_runs(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_NUM, 0, BENCH_QUEUE_SIZE), 0);
    assert_int_equal(bench_ack_addr(b, BENCH_USER + BENCH_DESC, BENCH_USER + BENCH_USED,
                                    BENCH_USER + BENCH_AVAIL, 0),
                     0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, 0, b->kick), 0);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(bench_ack_addr(b, BENCH_USER, BENCH_USER, BENCH_USER, 0), 1);
    bench_expect_closed(b);
}

static void kick_without_fd_is_refused_with_the_reason(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, VHOST_USER_VRING_NO_FD, -1), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "polling without a kick fd is not supported");
}

static void call_and_err_without_fd_are_fine(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, b->call), 0);
    assert_true(b->dev.queue[0].call_fd >= 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NO_FD, -1), 0);
    assert_int_equal(b->dev.queue[0].call_fd, -1);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_ERR, VHOST_USER_VRING_NO_FD, -1), 0);
}

static void fd_and_flag_must_agree(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NO_FD, b->call),
                     1);
    bench_expect_closed(b);
    again(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, -1), 1);
    bench_expect_closed(b);
}

static void fds_never_block(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_false(fcntl(b->call, F_GETFL) & O_NONBLOCK);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, b->call), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_ERR, 0, b->call), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, 0, b->kick), 0);
    assert_true(fcntl(b->call, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(b->kick, F_GETFL) & O_NONBLOCK);
}

static void refuse_fd(struct vu_bench *b, uint32_t request, int fd)
{
    again(b);
    assert_int_equal(bench_ack_u64(b, request, 0, fd), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "what came is no eventfd");
}

static void fd_of_another_kind_is_refused(void **state)
{
    struct vu_bench *b = *state;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ends[2];

    assert_return_code(pipe2(ends, O_CLOEXEC), errno);
    refuse_fd(b, VHOST_USER_SET_VRING_KICK, b->mem_fd);
    refuse_fd(b, VHOST_USER_SET_VRING_CALL, b->mem_fd);
    refuse_fd(b, VHOST_USER_SET_VRING_ERR, timer);
    refuse_fd(b, VHOST_USER_SET_VRING_KICK, dir);
    bench_expect_log(b, "ring 0: what came is no eventfd but a directory");
    refuse_fd(b, VHOST_USER_SET_VRING_CALL, null);
    refuse_fd(b, VHOST_USER_SET_VRING_KICK, b->peer);
    refuse_fd(b, VHOST_USER_SET_VRING_KICK, ends[1]); /* the wrong end of a pipe */
    refuse_fd(b, VHOST_USER_SET_VRING_CALL, ends[0]);
    again(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, 0, ends[0]), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, ends[1]), 0);
    close(timer);
    close(dir);
    close(null);
    close(ends[0]);
    close(ends[1]);
}

/* virtio_uml has no signal for an eventfd, so it takes one end of a socketpair. */
static void call_and_err_fd_may_be_an_end_of_a_socketpair(void **state)
{
    struct vu_bench *b = *state;
    struct vring_avail *avail = (struct vring_avail *)(b->mem + BENCH_AVAIL);
    uint64_t calls;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    bench_set_up(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_ERR, 0, pair[1]), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, pair[1]), 0);
    assert_int_equal(recv(pair[0], &calls, sizeof(calls), MSG_DONTWAIT), sizeof(calls));
    for (uint16_t i = 1; i < 20; i++) {
        avail->ring[BENCH_QUEUE_SIZE] = i - 1; /* the next is to be told of */
        bench_offer(b);
        bench_wait_used(b, i);
        bench_pump(b, 0);
        assert_int_equal(recv(pair[0], &calls, sizeof(calls), MSG_DONTWAIT), sizeof(calls));
    }
    close(pair[0]);
    bench_offer(b);
    bench_wait_used(b, 20); /* nobody is there to be told */
    close(pair[1]);
}

/* As with the channel for our own requests: it would keep the connection open for ever. */
static void call_fd_is_not_the_connection_nor_does_it_hide_it(void **state)
{
    struct vu_bench *b = *state;
    int pair[2];

    refuse_fd(b, VHOST_USER_SET_VRING_CALL, b->peer);
    refuse_fd(b, VHOST_USER_SET_VRING_ERR, b->peer);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    again(b);
    bench_send_raw(pair[0], "x", 1, &b->peer, 1);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, pair[1]), 0);
    assert_int_equal(send(pair[0], "x", 1, MSG_NOSIGNAL), -1);
    close(pair[1]);
    again(b); /* the old one is seen to end, else this one were refused */
    close(pair[0]);
}

static void enable_is_on_or_off(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 2), 1);
    bench_expect_closed(b);
}

static void base_must_fit_in_16_bits(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, 0x10000), 1);
    bench_expect_closed(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(request_is_served),
        bench_test(ring_starts_disabled),
        bench_test(ring_starts_enabled_without_protocol_features),
        bench_test_slow(get_vring_base_waits_for_what_is_in_flight),
        bench_test(base_of_a_ring_that_never_ran_is_what_was_set),
        bench_test(ring_can_be_stopped_and_started_again),
        bench_test_slow(reset_device_is_as_new_and_keeps_memory),
        bench_test(reset_owner_stops_rings_and_keeps_the_rest),
        bench_test_slow(disabling_waits_for_what_is_in_flight),
        bench_test(disabled_ring_can_be_set_up_anew),
        bench_test(any_part_of_a_disabled_ring_can_change),
        bench_test(call_fd_is_kept_when_a_disabled_ring_is_set_up_anew),
        bench_test(features_may_change_while_all_rings_are_disabled),
        bench_test(base_of_a_running_ring_can_only_be_said_again),
        bench_test(bad_ring_size_is_refused),
        bench_test(ring_that_does_not_exist_is_refused),
        bench_test(addresses_outside_memory_are_refused),
        bench_test(same_parts_again_are_fine_while_the_ring_runs),
        bench_test(kick_without_fd_is_refused_with_the_reason),
        bench_test(call_and_err_without_fd_are_fine),
        bench_test(fd_and_flag_must_agree),
        bench_test(fds_never_block),
        bench_test(fd_of_another_kind_is_refused),
        bench_test(call_and_err_fd_may_be_an_end_of_a_socketpair),
        bench_test(call_fd_is_not_the_connection_nor_does_it_hide_it),
        bench_test(enable_is_on_or_off),
        bench_test(base_must_fit_in_16_bits),
    };

    return unit_run(tests);
}
