/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* pipe2 */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <fcntl.h>
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
    uint64_t value = b->dev.features;

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
    bench_offer(b);
    bench_pump(b, 10);
    assert_int_equal(bench_used_idx(b), 0);
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

static void reset_stops_rings_and_keeps_memory(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_offer(b);
    bench_pump(b, 10);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(bench_used_idx(b), 1);
    assert_int_equal(device_rings_running(&b->dev), 0);
    assert_false(b->dev.ring[0].is_enabled);
    assert_int_equal(b->dev.mem.count, 1);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 2);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(device_rings_running(&b->dev), 0);
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

static void log_flag_is_refused_but_a_log_address_is_not(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_addr(b, BENCH_USER, BENCH_USER, BENCH_USER, 0), 0);
    assert_int_equal(bench_ack_addr(b, BENCH_USER, BENCH_USER, BENCH_USER, VHOST_USER_VRING_F_LOG),
                     1);
    bench_expect_closed(b);
    bench_expect_log(b, "logging of writes was not offered");
}

/* Live migration switches logging by sending addresses again; here it is the same ones. */
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
    assert_true(b->dev.ring[0].call_fd >= 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NO_FD, -1), 0);
    assert_int_equal(b->dev.ring[0].call_fd, -1);
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
        bench_test_slow(reset_stops_rings_and_keeps_memory),
        bench_test(bad_ring_size_is_refused),
        bench_test(ring_that_does_not_exist_is_refused),
        bench_test(addresses_outside_memory_are_refused),
        bench_test(log_flag_is_refused_but_a_log_address_is_not),
        bench_test(same_parts_again_are_fine_while_the_ring_runs),
        bench_test(kick_without_fd_is_refused_with_the_reason),
        bench_test(call_and_err_without_fd_are_fine),
        bench_test(fd_and_flag_must_agree),
        bench_test(fds_never_block),
        bench_test(fd_of_another_kind_is_refused),
        bench_test(enable_is_on_or_off),
        bench_test(base_must_fit_in_16_bits),
    };

    return unit_run(tests);
}
