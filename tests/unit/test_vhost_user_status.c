/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#define ACKNOWLEDGED (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define RUNS (ACKNOWLEDGED | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

static uint64_t set_status(struct vu_bench *b, uint64_t status)
{
    return bench_ack_u64(b, VHOST_USER_SET_STATUS, status, -1);
}

static uint64_t get_status(struct vu_bench *b)
{
    return bench_get_u64(b, VHOST_USER_GET_STATUS);
}

/* As QEMU says it: what was read, and more. */
static void add_status(struct vu_bench *b, uint64_t bits)
{
    uint64_t status = get_status(b) | bits;

    bench_send(b, VHOST_USER_SET_STATUS, 0, &status, sizeof(status), NULL, 0);
}

static void start(struct vu_bench *b)
{
    bench_negotiate(b);
    add_status(b, VIRTIO_CONFIG_S_FEATURES_OK);
    bench_share_memory(b);
    bench_start_ring(b);
    add_status(b, ACKNOWLEDGED | VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(get_status(b), RUNS);
}

static void again(struct vu_bench *b)
{
    close(b->peer);
    b->peer = bench_connect(b);
}

static void expect_served(struct vu_bench *b)
{
    uint16_t idx = (uint16_t)(bench_used_idx(b) + 1);

    bench_offer(b);
    bench_wait_used(b, idx);
}

static void status_is_what_was_set(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(get_status(b), 0);
    assert_int_equal(set_status(b, ACKNOWLEDGED), 0);
    assert_int_equal(get_status(b), ACKNOWLEDGED);
    assert_int_equal(set_status(b, ACKNOWLEDGED | VIRTIO_CONFIG_S_FAILED), 0);
    assert_int_equal(get_status(b), ACKNOWLEDGED | VIRTIO_CONFIG_S_FAILED);
    again(b);
    bench_negotiate(b);
    assert_int_equal(get_status(b), 0);
}

/* The driver looks whether it is still there. */
static void features_are_ok_when_they_were_accepted(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t protocol = bench_get_u64(b, VHOST_USER_GET_PROTOCOL_FEATURES);

    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
    assert_int_equal(set_status(b, ACKNOWLEDGED | VIRTIO_CONFIG_S_FEATURES_OK), 0);
    assert_int_equal(get_status(b), ACKNOWLEDGED);
    bench_negotiate(b);
    assert_int_equal(set_status(b, ACKNOWLEDGED | VIRTIO_CONFIG_S_FEATURES_OK), 0);
    assert_int_equal(get_status(b), ACKNOWLEDGED | VIRTIO_CONFIG_S_FEATURES_OK);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(get_status(b), 0);
    assert_int_equal(set_status(b, ACKNOWLEDGED | VIRTIO_CONFIG_S_FEATURES_OK), 0);
    assert_int_equal(get_status(b), ACKNOWLEDGED);
}

/* QEMU up to 8.0: status, rings disabled, base; and later on all again but the memory. */
static void reset_stops_rings_where_they_are(void **state)
{
    struct vu_bench *b = *state;

    start(b);
    expect_served(b);
    expect_served(b);
    assert_int_equal(set_status(b, 0), 0);
    assert_int_equal(device_rings_running(&b->dev), 0);
    assert_int_equal(get_status(b), 0);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
    assert_int_equal(bench_get_base(b), 2);
    bench_negotiate(b);
    bench_start_ring(b);
    expect_served(b);
}

/* QEMU from 8.1 on. */
static void reset_may_come_when_rings_were_stopped(void **state)
{
    struct vu_bench *b = *state;

    start(b);
    expect_served(b);
    assert_int_equal(bench_get_base(b), 1);
    assert_int_equal(set_status(b, 0), 0);
    assert_int_equal(bench_get_base(b), 1);
    bench_negotiate(b);
    bench_start_ring(b);
    expect_served(b);
}

static void reset_waits_for_what_is_in_flight(void **state)
{
    struct vu_bench *b = *state;

    start(b);
    bench_begin(b);
    bench_let_go(b);
    assert_int_equal(set_status(b, 0), 0);
    assert_int_equal(bench_used_idx(b), 1);
    assert_int_equal(bench_get_base(b), 1);
}

static void stop_is_no_end_of_what_outlasts_it(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_log log = {.size = 64};
    struct vu_answer answer;
    uint64_t accepted;

    start(b);
    bench_send(b, VHOST_USER_SET_LOG_BASE, 0, &log, sizeof(log), &b->mem_fd, 1);
    assert_true(bench_receive(b, &answer));
    device_set_writeback(&b->dev, false);
    accepted = device_accepted(&b->dev);
    assert_int_equal(set_status(b, 0), 0);
    assert_false(device_has_writeback(&b->dev));
    assert_int_equal(device_accepted(&b->dev), accepted);
    assert_non_null(b->dev.view.mem.log.bits);
    assert_int_equal(b->dev.view.mem.count, 1);
    assert_false(blk_is_in_doubt(&b->dev.view.blk));
}

static bool is_broken(struct vu_bench *b)
{
    return b->dev.queue[0].ring.is_broken;
}

static void broken_ring_needs_a_reset(void **state)
{
    struct vu_bench *b = *state;
    struct vring_avail *avail = (struct vring_avail *)(b->mem + BENCH_AVAIL);
    const uint64_t one = 1;

    start(b);
    store16_release(&avail->idx, 1000);
    assert_int_equal(write(b->kick, &one, sizeof(one)), sizeof(one));
    bench_wait(b, is_broken);
    assert_int_equal(get_status(b), RUNS | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(set_status(b, RUNS | VIRTIO_CONFIG_S_NEEDS_RESET), 0);
    assert_int_equal(set_status(b, 0), 0);
    assert_int_equal(get_status(b), 0);
    assert_int_equal(set_status(b, RUNS | VIRTIO_CONFIG_S_NEEDS_RESET), 0);
    assert_int_equal(get_status(b), RUNS);
}

/* By what it knows of the connection before: QEMU 7.2 that meets `cont` as it connects again. */
static void status_is_served_before_it_is_negotiated(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t status = ACKNOWLEDGED;

    assert_int_equal(get_status(b), 0);
    bench_send(b, VHOST_USER_SET_STATUS, 0, &status, sizeof(status), NULL, 0);
    assert_int_equal(get_status(b), ACKNOWLEDGED);
    start(b);
    expect_served(b);
}

static void status_of_more_than_a_byte_is_refused(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(set_status(b, 0x100), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "(SET_STATUS): 0x100 has more than 8 bits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(status_is_what_was_set),
        bench_test(features_are_ok_when_they_were_accepted),
        bench_test(reset_stops_rings_where_they_are),
        bench_test(reset_may_come_when_rings_were_stopped),
        bench_test_slow(reset_waits_for_what_is_in_flight),
        bench_test(stop_is_no_end_of_what_outlasts_it),
        bench_test(broken_ring_needs_a_reset),
        bench_test(status_is_served_before_it_is_negotiated),
        bench_test(status_of_more_than_a_byte_is_refused),
    };

    return unit_run(tests);
}
