/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void features_are_those_of_the_device_and_of_the_protocol(void **state)
{
    struct vu_bench *b = *state;
    uint64_t features = bench_get_u64(b, VHOST_USER_GET_FEATURES);

    assert_int_equal(features, device_features(&b->dev) | VHOST_USER_F_PROTOCOL_FEATURES |
                                   VHOST_USER_F_LOG_ALL);
    assert_int_equal(bench_get_u64(b, VHOST_USER_GET_PROTOCOL_FEATURES),
                     1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15 |
                         1 << 16 | 1 << 19 | 1 << 20 | 1 << 23);
    assert_int_equal(bench_get_u64(b, VHOST_USER_GET_QUEUE_NUM), BENCH_QUEUES);
}

static void accepted_features_reach_the_device(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t chosen = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH;

    bench_negotiate(b);
    assert_int_equal(
        bench_ack_u64(b, VHOST_USER_SET_FEATURES, chosen | VHOST_USER_F_PROTOCOL_FEATURES, -1), 0);
    assert_int_equal(b->dev.view.blk.features, chosen);
}

static void feature_that_is_not_offered_is_refused(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_FEATURES, 1ull << 27, -1), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "message 2 (SET_FEATURES): features 0x8000000 (any_layout) are not "
                        "offered, connection closed");
}

static void protocol_feature_that_is_not_offered_is_refused(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t pagefault = 1ull << 8;

    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &pagefault, 8, NULL, 0);
    bench_expect_closed(b);
    bench_expect_log(b, "SET_PROTOCOL_FEATURES): bits 0x100");
}

static void features_cannot_change_while_rings_run(void **state)
{
    struct vu_bench *b = *state;
    uint64_t same;

    bench_negotiate(b);
    same = b->dev.view.blk.features | VHOST_USER_F_PROTOCOL_FEATURES;
    bench_share_memory(b);
    bench_start_ring(b);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_FEATURES, same, -1), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_FEATURES, 0, -1), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "while rings run");
}

static void acknowledgement_needs_the_protocol_feature(void **state)
{
    struct vu_bench *b = *state;
    struct vu_answer answer;

    bench_send(b, VHOST_USER_SET_OWNER, VHOST_USER_NEED_REPLY, NULL, 0, NULL, 0);
    bench_get_u64(b, VHOST_USER_GET_FEATURES); /* the first answer that comes is this one's */
    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0), 0);
    bench_send(b, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0);
    bench_get_u64(b, VHOST_USER_GET_FEATURES); /* nor is it answered unasked */
    bench_send(b, VHOST_USER_GET_FEATURES, VHOST_USER_NEED_REPLY, NULL, 0, NULL, 0);
    assert_true(bench_receive(b, &answer));
    bench_get_u64(b, VHOST_USER_GET_QUEUE_NUM); /* and there is one reply, not two */
}

static void unknown_message_closes_and_is_named_by_number(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack(b, 4711, NULL, 0, NULL, 0), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "message 4711 (unknown): not served");
}

static void message_of_a_feature_not_offered_is_named(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    bench_send(b, VHOST_USER_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
    bench_expect_closed(b);
    bench_expect_log(b, "(POSTCOPY_ADVISE): not served");
}

static void again(struct vu_bench *b)
{
    close(b->peer);
    b->peer = bench_connect(b);
    bench_negotiate(b);
}

/* No message has this size. */
static void any_message_of_wrong_size_closes(void **state)
{
    struct vu_bench *b = *state;
    const uint8_t payload[300] = {0};

    for (uint32_t request = 0; request < 64; request++) {
        again(b);
        bench_send(b, request, 0, payload, sizeof(payload), NULL, 0);
        bench_expect_closed(b);
    }
}

/* One byte less than the message has, and no fds where it has some. */
static void any_message_that_is_cut_short_closes(void **state)
{
    struct vu_bench *b = *state;
    static const uint8_t size[64] = {
        [VHOST_USER_SET_FEATURES] = 8,     [VHOST_USER_SET_MEM_TABLE] = 40,
        [VHOST_USER_SET_VRING_NUM] = 8,    [VHOST_USER_SET_VRING_ADDR] = 40,
        [VHOST_USER_SET_VRING_BASE] = 8,   [VHOST_USER_GET_VRING_BASE] = 8,
        [VHOST_USER_SET_VRING_KICK] = 8,   [VHOST_USER_SET_VRING_CALL] = 8,
        [VHOST_USER_SET_VRING_ERR] = 8,    [VHOST_USER_SET_PROTOCOL_FEATURES] = 8,
        [VHOST_USER_SET_VRING_ENABLE] = 8, [VHOST_USER_GET_CONFIG] = 12,
        [VHOST_USER_SET_CONFIG] = 12,      [VHOST_USER_ADD_MEM_REG] = 32,
        [VHOST_USER_REM_MEM_REG] = 32,     [VHOST_USER_SET_STATUS] = 8,
    };
    const uint8_t payload[64] = {0};

    for (uint32_t request = 0; request < ARRAY_SIZE(size); request++) {
        if (size[request] > 0) {
            again(b);
            bench_send(b, request, 0, payload, size[request] - 1u, NULL, 0);
            bench_expect_closed(b);
        }
    }
}

static void fd_with_a_message_that_has_none_closes(void **state)
{
    struct vu_bench *b = *state;

    bench_send(b, VHOST_USER_GET_FEATURES, 0, NULL, 0, &b->call, 1);
    bench_expect_closed(b);
    bench_expect_log(b, "1 file descriptors instead of 0 to 0");
}

/* ---- config space ---- */

static struct vu_answer get_config(struct vu_bench *b, uint32_t offset, uint32_t size)
{
    struct vhost_user_config config = {.offset = offset, .size = size};
    struct vu_answer answer;

    bench_send(b, VHOST_USER_GET_CONFIG, 0, &config,
               VHOST_USER_CONFIG_HEADER_BYTES + min_of(size, VHOST_USER_CONFIG_BYTES), NULL, 0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_GET_CONFIG);
    return answer;
}

/* Firecracker asks for 60 bytes, QEMU for its whole structure, some for all 256. */
static void config_is_read_in_any_length(void **state)
{
    static const uint32_t sizes[] = {8, 36, 60, sizeof(struct virtio_blk_config), 256};
    struct vu_bench *b = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct vu_answer answer = get_config(b, 0, sizes[i]);
        uint64_t capacity;

        assert_int_equal(answer.header.size, VHOST_USER_CONFIG_HEADER_BYTES + sizes[i]);
        assert_int_equal(answer.payload.config.size, sizes[i]);
        memcpy(&capacity, answer.payload.config.data, sizeof(capacity));
        assert_int_equal(capacity, (1 << 20) / SECTOR_SIZE);
    }
}

static void config_is_read_at_any_offset(void **state)
{
    struct vu_bench *b = *state;
    struct vu_answer answer =
        get_config(b, offsetof(struct virtio_blk_config, num_queues), sizeof(uint16_t));

    assert_int_equal(answer.header.size, VHOST_USER_CONFIG_HEADER_BYTES + 2);
    assert_int_equal(answer.payload.config.data[0], BENCH_QUEUES);
    answer = get_config(b, 255, 1);
    assert_int_equal(answer.header.size, VHOST_USER_CONFIG_HEADER_BYTES + 1);
}

static void config_outside_is_an_empty_answer(void **state)
{
    struct vu_bench *b = *state;

    assert_int_equal(get_config(b, 0, 257).header.size, 0);
    assert_int_equal(get_config(b, 250, 8).header.size, 0);
    assert_int_equal(get_config(b, UINT32_MAX, 8).header.size, 0);
    assert_int_equal(get_config(b, 0, UINT32_MAX).header.size, 0);
    assert_int_equal(get_config(b, 0, 8).header.size, VHOST_USER_CONFIG_HEADER_BYTES + 8);
}

/* cloud-hypervisor compares the offset of the answer with the one it asked for. */
static void config_at_the_offset_of_virtio_mmio_is_that_at_zero(void **state)
{
    static const uint32_t sizes[] = {8, 60, sizeof(struct virtio_blk_config), 256};
    struct vu_bench *b = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct vu_answer zero = get_config(b, 0, sizes[i]);
        struct vu_answer answer = get_config(b, 0x100, sizes[i]);

        assert_int_equal(answer.header.size, VHOST_USER_CONFIG_HEADER_BYTES + sizes[i]);
        assert_int_equal(answer.payload.config.offset, 0x100);
        assert_int_equal(answer.payload.config.size, sizes[i]);
        assert_memory_equal(answer.payload.config.data, zero.payload.config.data, sizes[i]);
    }
    assert_false(bench_has_log(b, "GET_CONFIG"));
    assert_int_equal(get_config(b, 0x100, 257).header.size, 0);
    assert_int_equal(get_config(b, 0x101, 8).header.size, 0);
    assert_int_equal(get_config(b, 0x120, 8).header.size, 0);
}

static uint64_t set_config(struct vu_bench *b, const struct vhost_user_config *config)
{
    return bench_ack(b, VHOST_USER_SET_CONFIG, config,
                     VHOST_USER_CONFIG_HEADER_BYTES + config->size, NULL, 0);
}

static void config_cannot_be_changed_but_the_client_stays(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_config config = {.offset = 0, .size = 8};

    bench_negotiate(b);
    assert_int_equal(set_config(b, &config), 1); /* a capacity of zero */
    bench_expect_log(b, "SET_CONFIG refused");
    memcpy(config.data, get_config(b, 0, 8).payload.config.data, 8);
    assert_int_equal(set_config(b, &config), 0); /* what it is anyway */
    bench_send(b, VHOST_USER_SET_CONFIG, 0, &config, 12, NULL, 0);
    bench_expect_closed(b); /* eight bytes that did not come */
}

/* ---- the channel for our own requests ---- */

static void config_change_is_told_over_the_channel(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_header header;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
    close(pair[1]);
    assert_int_equal(vhost_user_config_changed(b->vu), VHOST_USER_WILL_TELL);
    assert_int_equal(read(pair[0], &header, sizeof(header)), sizeof(header));
    assert_int_equal(header.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
    assert_int_equal(header.flags, VHOST_USER_VERSION);
    assert_int_equal(header.size, 0);
    for (unsigned i = 0; i < 100000; i++) { /* never read: must not wait */
        vhost_user_config_changed(b->vu);
    }
    assert_false(bench_has_log(b, "cannot be told"));
    close(pair[0]);
    vhost_user_config_changed(b->vu);
    bench_expect_log(b, "cannot be told");
}

static void config_change_without_a_channel_is_logged(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(vhost_user_config_changed(b->vu), VHOST_USER_CANNOT_TELL);
    bench_expect_log(b, "the guest sees it when its device is restarted");
}

static bool is_told(int channel)
{
    struct vhost_user_header header;
    ssize_t got = recv(channel, &header, sizeof(header), MSG_DONTWAIT);

    if (got < 0) {
        return false;
    }
    assert_int_equal(got, sizeof(header));
    assert_int_equal(header.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
    return true;
}

/* QEMU drops what it is told before, and reads nothing when it connects again. */
static void size_that_a_front_end_has_not_read_is_told_when_a_ring_starts(void **state)
{
    struct vu_bench *b = *state;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
    close(pair[1]);
    bench_share_memory(b);
    assert_false(is_told(pair[0]));
    bench_start_ring(b);
    assert_true(is_told(pair[0]));
    assert_int_equal(vhost_user_config_changed(b->vu), VHOST_USER_TOLD);
    assert_true(is_told(pair[0]));
    (void)bench_get_base(b);
    (void)get_config(b, 8, 8); /* not the size */
    bench_start_ring(b);
    assert_true(is_told(pair[0]));
    (void)bench_get_base(b);
    (void)get_config(b, 0, 60);
    bench_start_ring(b);
    assert_false(is_told(pair[0]));
    (void)bench_get_base(b);
    blk_set_capacity(&b->dev.view.blk, device_capacity(&b->dev) + 4096);
    bench_start_ring(b);
    assert_true(is_told(pair[0]));
    close(pair[0]);
}

/* Its image was ejected while nobody was connected. */
static void no_size_at_all_is_told_as_well(void **state)
{
    struct vu_bench *b = *state;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    blk_set_capacity(&b->dev.view.blk, 0);
    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
    close(pair[1]);
    bench_share_memory(b);
    bench_start_ring(b);
    assert_true(is_told(pair[0]));
    close(pair[0]);
}

static void channel_must_be_a_socket(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &b->mem_fd, 1), 1);
    bench_expect_closed(b);
}

static bool is_gone(struct vu_bench *b)
{
    return (b->dev.view.pause_mask & PAUSE_GONE) != 0;
}

/* Held by us it would never be seen to close. */
static void channel_must_not_be_the_connection_itself(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    bench_send(b, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &b->peer, 1);
    bench_expect_closed(b);
    bench_wait(b, is_gone);
}

/* Nor may it be hidden in what waits to be read from the channel. */
static void connection_inside_the_channel_does_not_keep_it_open(void **state)
{
    struct vu_bench *b = *state;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    bench_negotiate(b);
    bench_send_raw(pair[0], "x", 1, &b->peer, 1);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
    assert_int_equal(send(pair[0], "x", 1, MSG_NOSIGNAL), -1);
    close(pair[0]);
    close(pair[1]);
    close(b->peer);
    b->peer = -1;
    bench_wait(b, is_gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(features_are_those_of_the_device_and_of_the_protocol),
        bench_test(accepted_features_reach_the_device),
        bench_test(feature_that_is_not_offered_is_refused),
        bench_test(protocol_feature_that_is_not_offered_is_refused),
        bench_test(features_cannot_change_while_rings_run),
        bench_test(acknowledgement_needs_the_protocol_feature),
        bench_test(unknown_message_closes_and_is_named_by_number),
        bench_test(message_of_a_feature_not_offered_is_named),
        bench_test(any_message_of_wrong_size_closes),
        bench_test(any_message_that_is_cut_short_closes),
        bench_test(fd_with_a_message_that_has_none_closes),
        bench_test(config_is_read_in_any_length),
        bench_test(config_is_read_at_any_offset),
        bench_test(config_outside_is_an_empty_answer),
        bench_test(config_at_the_offset_of_virtio_mmio_is_that_at_zero),
        bench_test(config_cannot_be_changed_but_the_client_stays),
        bench_test(config_change_is_told_over_the_channel),
        bench_test(config_change_without_a_channel_is_logged),
        bench_test(size_that_a_front_end_has_not_read_is_told_when_a_ring_starts),
        bench_test(no_size_at_all_is_told_as_well),
        bench_test(channel_must_be_a_socket),
        bench_test(channel_must_not_be_the_connection_itself),
        bench_test(connection_inside_the_channel_does_not_keep_it_open),
    };

    return unit_run(tests);
}
