/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"
#include "tests/unit/lingering.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool is_connected(struct vu_bench *b)
{
    struct vhost_user_peer peer;

    return vhost_user_peer(b->vu, &peer);
}

static bool is_gone(struct vu_bench *b)
{
    return !is_connected(b) && (b->dev.view.pause_mask & PAUSE_GONE) && b->dev.view.mem.count == 0;
}

static void leave(struct vu_bench *b)
{
    close(b->peer);
    b->peer = -1;
}

static void peer_is_known_by_name(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_peer peer;

    assert_true(b->dev.view.pause_mask & PAUSE_GONE);
    assert_false(vhost_user_peer(b->vu, &peer));
    bench_wait(b, is_connected);
    assert_true(vhost_user_peer(b->vu, &peer));
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, getuid());
    assert_true(strlen(peer.comm) > 0);
    assert_false(b->dev.view.pause_mask & PAUSE_GONE);
    bench_expect_log(b, ") connected\n");
}

static void second_client_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vu_answer answer;
    int second;

    bench_wait(b, is_connected);
    second = bench_connect(b);
    assert_false(bench_receive_on(b, second, &answer));
    close(second);
    bench_expect_log(b, "refused");
    bench_expect_log(b, ") is connected\n");
    bench_get_u64(b, VHOST_USER_GET_FEATURES); /* the first goes on */
}

/* What it cannot read at once makes wait whoever closes it. */
static int send_lingering(int to)
{
    const struct vhost_user_vring_state ring = {.index = 0};
    struct vhost_user_header header = {
        .request = VHOST_USER_SET_VRING_CALL, .flags = VHOST_USER_VERSION, .size = 8};
    struct lingering l = lingering_open();
    uint8_t bytes[sizeof(header) + 8] = {0};

    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), &ring, sizeof(ring));
    bench_send_raw(to, bytes, sizeof(bytes), &l.fd, 1);
    close(l.fd);
    return l.peer;
}

/* Those who are refused leave the threads that the connected one may come to need. */
static void second_clients_do_not_make_the_first_ones_end_wait(void **state)
{
    struct vu_bench *b = *state;
    int second[4];
    int peer[ARRAY_SIZE(second) + 2];
    uint64_t before;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* as lingering_open, but before anything is open */
    }
    bench_wait(b, is_connected);
    for (unsigned i = 0; i < ARRAY_SIZE(second); i++) {
        second[i] = bench_connect(b);
        peer[i] = send_lingering(second[i]);
        bench_pump(b, 20);
    }
    before = now_ns();
    for (unsigned i = ARRAY_SIZE(second); i < ARRAY_SIZE(peer); i++) {
        peer[i] = send_lingering(b->peer);
    }
    bench_expect_closed(b);
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
    for (unsigned i = 0; i < ARRAY_SIZE(peer); i++) {
        close(peer[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(second); i++) {
        close(second[i]);
    }
}

/* Whether or not the loop has seen the first one leave. */
static void client_that_comes_back_at_once_is_served(void **state)
{
    struct vu_bench *b = *state;

    for (unsigned i = 0; i < 5; i++) {
        bench_negotiate(b);
        bench_share_memory(b);
        close(b->peer);
        b->peer = bench_connect(b);
    }
    bench_negotiate(b);
    assert_false(bench_has_log(b, "refused"));
}

/* As libblkio does: a probe, then for good; the second waits in the listener's queue. */
static void client_waits_while_the_first_one_drains(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_begin(b);
    close(b->peer);
    b->peer = bench_connect(b);
    bench_pump(b, 10);
    assert_int_equal(b->dev.lanes.first.flight.guest, 1);
    assert_int_equal(b->dev.view.mem.count, 1); /* not pulled away under the request */
    bench_let_go(b);
    bench_negotiate(b);
    assert_int_equal(b->dev.lanes.first.flight.guest, 0);
    assert_int_equal(bench_used_idx(b), 1);
    assert_int_equal(b->dev.view.mem.count, 0);
}

static void disconnect_forgets_everything(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_int_equal(device_rings_running(&b->dev), 1);
    leave(b);
    bench_wait(b, is_gone);
    bench_expect_log(b, "disconnected");
    assert_int_equal(device_rings_running(&b->dev), 0);
    assert_int_equal(b->dev.view.blk.features, 0);
}

static void peer_that_reads_no_replies_is_not_read_from(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_header header = {.request = VHOST_USER_GET_FEATURES,
                                       .flags = VHOST_USER_VERSION};
    unsigned sent = 0;

    bench_wait(b, is_connected);
    for (unsigned quiet = 0; quiet < 50;) {
        if (write(b->peer, &header, sizeof(header)) == sizeof(header)) {
            sent++;
            quiet = 0;
        } else {
            quiet++;
        }
        bench_pump(b, 0);
    }
    assert_true(sent > 100);
    for (unsigned i = 0; i < sent; i++) { /* none is lost */
        struct vu_answer answer;

        assert_true(bench_receive(b, &answer));
        assert_int_equal(answer.header.request, VHOST_USER_GET_FEATURES);
    }
}

static void peer_may_leave_without_reading_replies(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_header header = {.request = VHOST_USER_GET_FEATURES,
                                       .flags = VHOST_USER_VERSION};

    bench_wait(b, is_connected);
    for (unsigned i = 0; i < 100; i++) {
        bench_send_raw(b->peer, &header, sizeof(header), NULL, 0);
    }
    bench_pump(b, 2);
    leave(b);
    bench_wait(b, is_gone);
}

/* The refusal cannot be sent any more. */
static void bad_message_of_a_peer_that_has_left_is_survived(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_vring_state ring = {.index = 99};

    bench_negotiate(b);
    bench_send(b, VHOST_USER_SET_VRING_NUM, VHOST_USER_NEED_REPLY, &ring, sizeof(ring), NULL, 0);
    leave(b);
    bench_wait(b, is_gone);
}

/* For people, until another one has left in order. */
static void who_was_hung_up_on_is_remembered(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_vring_state ring = {.index = 99};

    bench_negotiate(b);
    assert_string_equal(vhost_user_hung_up(b->vu), "");
    bench_send(b, VHOST_USER_SET_VRING_NUM, 0, &ring, sizeof(ring), NULL, 0);
    bench_wait(b, is_gone);
    assert_non_null(strstr(vhost_user_hung_up(b->vu), "SET_VRING_NUM"));
    close(b->peer);
    b->peer = bench_connect(b);
    bench_wait(b, is_connected);
    assert_non_null(strstr(vhost_user_hung_up(b->vu), "SET_VRING_NUM"));
    leave(b);
    bench_wait(b, is_gone);
    assert_string_equal(vhost_user_hung_up(b->vu), "");
}

static void unlisten_keeps_the_connection(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    vhost_user_unlisten(b->vu);
    assert_int_equal(access(b->path, F_OK), -1);
    bench_get_u64(b, VHOST_USER_GET_FEATURES);
}

static void on_stopped(void *arg)
{
    struct vu_bench *b = arg;

    b->vu = NULL;
}

static bool is_stopped(struct vu_bench *b)
{
    return !b->vu;
}

struct stranger {
    uv_poll_t poll;
    int fd;
    bool is_seen;
};

static void on_stranger(uv_poll_t *poll, int status, int events)
{
    containerof(poll, struct stranger, poll)->is_seen = true;
    (void)uv_poll_stop(poll);
}

/* Others on the loop get the number of the listening socket, and are heard after the end too. */
static void number_of_the_listener_is_free_after_unlisten(void **state)
{
    struct vu_bench *b = *state;
    struct stranger strangers[4];

    bench_wait(b, is_connected);
    vhost_user_unlisten(b->vu);
    for (unsigned i = 0; i < ARRAY_SIZE(strangers); i++) {
        strangers[i].is_seen = false;
        strangers[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_int_equal(uv_poll_init(&b->loop, &strangers[i].poll, strangers[i].fd), 0);
        assert_int_equal(uv_poll_start(&strangers[i].poll, UV_READABLE, on_stranger), 0);
    }
    bench_pump(b, 10);
    device_pause(&b->dev, PAUSE_EXIT, NULL);
    vhost_user_stop(b->vu, on_stopped, b);
    bench_wait(b, is_stopped);
    for (unsigned i = 0; i < ARRAY_SIZE(strangers); i++) {
        assert_int_equal(eventfd_write(strangers[i].fd, 1), 0);
    }
    bench_pump(b, 20);
    for (unsigned i = 0; i < ARRAY_SIZE(strangers); i++) {
        assert_true(strangers[i].is_seen);
        uv_close((uv_handle_t *)&strangers[i].poll, NULL);
        close(strangers[i].fd);
    }
    bench_pump(b, 2);
}

static void stop_cuts_the_client_off(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    device_pause(&b->dev, PAUSE_EXIT, NULL);
    vhost_user_stop(b->vu, on_stopped, b);
    bench_expect_closed(b);
    bench_pump(b, 5);
    assert_null(b->vu);
    assert_int_equal(b->dev.view.mem.count, 0);
}

static void stop_while_nobody_is_connected(void **state)
{
    struct vu_bench *b = *state;

    bench_wait(b, is_connected);
    leave(b);
    bench_wait(b, is_gone);
    bench_pump(b, 2);
}

/* The message waits for a drain that the transport's end comes before. */
static void stop_while_a_message_waits(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_vring_state ring = {.index = 0};

    bench_set_up(b);
    bench_begin(b);
    bench_send(b, VHOST_USER_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
    bench_pump(b, 10);
    assert_int_equal(b->dev.lanes.first.flight.guest, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(peer_is_known_by_name),
        bench_test(second_client_is_refused),
        bench_test(second_clients_do_not_make_the_first_ones_end_wait),
        bench_test(client_that_comes_back_at_once_is_served),
        bench_test_slow(client_waits_while_the_first_one_drains),
        bench_test(disconnect_forgets_everything),
        bench_test(peer_that_reads_no_replies_is_not_read_from),
        bench_test(peer_may_leave_without_reading_replies),
        bench_test(bad_message_of_a_peer_that_has_left_is_survived),
        bench_test(who_was_hung_up_on_is_remembered),
        bench_test(unlisten_keeps_the_connection),
        bench_test(number_of_the_listener_is_free_after_unlisten),
        bench_test(stop_cuts_the_client_off),
        bench_test(stop_while_nobody_is_connected),
        bench_test_slow(stop_while_a_message_waits),
    };

    return unit_run(tests);
}
