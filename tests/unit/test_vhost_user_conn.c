/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/lingering.h"
#include "transports/vhost_user_conn.h"

/* One message as it goes over the socket. */
struct raw {
    struct vhost_user_header header;
    uint64_t u64;
} __attribute__((packed));

static struct raw raw_u64(uint32_t request, uint64_t value)
{
    return (struct raw){{request, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 8}, value};
}

static void expect_ack(struct vu_bench *b, uint32_t request, uint64_t result)
{
    struct vu_answer answer;

    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, request);
    assert_int_equal(answer.payload.u64, result);
}

static void message_in_pieces_is_served(void **state)
{
    struct vu_bench *b = *state;
    struct raw raw;

    bench_negotiate(b);
    raw = raw_u64(VHOST_USER_SET_VRING_CALL, 0);
    for (unsigned i = 0; i < sizeof(raw); i++) {
        bench_send_raw(b->peer, (uint8_t *)&raw + i, 1, &b->call, i == 0 ? 1 : 0);
        bench_pump(b, 0);
        bench_pump(b, 0);
    }
    expect_ack(b, VHOST_USER_SET_VRING_CALL, 0);
    assert_true(b->dev.queue[0].call_fd >= 0);
}

/* Fds are not bound to the first byte of their message. */
static void fd_that_comes_with_the_payload_is_its_own(void **state)
{
    struct vu_bench *b = *state;
    struct raw raw;

    bench_negotiate(b);
    raw = raw_u64(VHOST_USER_SET_VRING_CALL, 0);
    bench_send_raw(b->peer, &raw.header, sizeof(raw.header), NULL, 0);
    bench_send_raw(b->peer, &raw.u64, sizeof(raw.u64), &b->call, 1);
    expect_ack(b, VHOST_USER_SET_VRING_CALL, 0);
}

/* Each fd belongs to the message that it was sent with, although all are there at once. */
static void messages_back_to_back_keep_their_fds(void **state)
{
    struct vu_bench *b = *state;
    struct raw raw;

    bench_negotiate(b);
    for (unsigned i = 0; i < 40; i++) {
        bool has_fd = i % 3 != 0;

        raw = raw_u64(VHOST_USER_SET_VRING_CALL, has_fd ? 1 : VHOST_USER_VRING_NO_FD);
        bench_send_raw(b->peer, &raw, sizeof(raw), &b->call, has_fd ? 1 : 0);
    }
    for (unsigned i = 0; i < 40; i++) {
        expect_ack(b, VHOST_USER_SET_VRING_CALL, 0);
    }
    assert_int_equal(b->dev.queue[0].call_fd, -1);
    assert_true(b->dev.queue[1].call_fd >= 0);
}

static void many_messages_in_one_write_are_served(void **state)
{
    struct vu_bench *b = *state;
    struct raw raw[30];

    bench_negotiate(b);
    for (unsigned i = 0; i < ARRAY_SIZE(raw); i++) {
        raw[i] = raw_u64(VHOST_USER_SET_VRING_ERR, VHOST_USER_VRING_NO_FD);
    }
    bench_send_raw(b->peer, raw, sizeof(raw), NULL, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(raw); i++) {
        expect_ack(b, VHOST_USER_SET_VRING_ERR, 0);
    }
}

static void other_version_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_header header = {.request = VHOST_USER_GET_FEATURES, .flags = 2};

    bench_send_raw(b->peer, &header, sizeof(header), NULL, 0);
    bench_expect_closed(b);
    bench_expect_log(b, "message 1: version 2, this is version 1, connection closed");
}

static void huge_payload_is_refused_before_it_comes(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_header header = {
        .request = VHOST_USER_SET_MEM_TABLE, .flags = VHOST_USER_VERSION, .size = UINT32_MAX};

    bench_send_raw(b->peer, &header, sizeof(header), NULL, 0);
    bench_expect_closed(b);
    bench_expect_log(b, "payload of 4294967295 bytes");
}

static void more_fds_than_a_message_may_have_are_refused(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_table table = {.count = 8};
    int fds[9];

    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = b->mem_fd;
    }
    bench_send(b, VHOST_USER_SET_MEM_TABLE, 0, &table, sizeof(table), fds, ARRAY_SIZE(fds));
    bench_expect_closed(b);
    bench_expect_log(b, "more than 8 file descriptors");
}

static void fds_in_small_portions_are_counted_as_well(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_header header = {
        .request = VHOST_USER_SET_MEM_TABLE, .flags = VHOST_USER_VERSION, .size = 264};

    for (unsigned i = 0; i < 10; i++) {
        const int fds[] = {b->mem_fd, b->kick};

        bench_send_raw(b->peer, (uint8_t *)&header + i, 1, fds, i < 5 ? 2 : 0);
    }
    bench_expect_closed(b);
    bench_expect_log(b, "more than 8 file descriptors");
}

static void leaving_in_the_middle_of_a_message_is_told(void **state)
{
    struct vu_bench *b = *state;
    struct raw raw = raw_u64(VHOST_USER_SET_VRING_CALL, 0);

    bench_send_raw(b->peer, &raw, sizeof(raw) - 1, &b->call, 1);
    bench_pump(b, 2);
    close(b->peer);
    b->peer = -1;
    bench_expect_log(b, "closed in the middle of a message");
}

static void half_closed_connection_is_at_its_end(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(shutdown(b->peer, SHUT_WR), 0);
    bench_expect_closed(b);
    bench_expect_log(b, "disconnected");
}

/* ---- fds that make wait whoever closes them ---- */

/* Closed here, so that whoever receives them closes them last. */
static struct lingering give_lingering(struct vu_bench *b, uint32_t request, unsigned times)
{
    struct lingering l = lingering_open();
    int fds[16];

    for (unsigned i = 0; i < times; i++) {
        fds[i] = l.fd;
    }
    bench_send(b, request, 0, NULL, 0, fds, times);
    close(l.fd);
    return l;
}

static bool has_no_porter(struct vu_bench *b)
{
    return porter_count((uintptr_t)&b->dev) == 0;
}

static void let_go(struct vu_bench *b, struct lingering *l)
{
    close(l->peer);
    bench_wait(b, has_no_porter);
}

static void fd_of_any_message_holds_up_nobody(void **state)
{
    static const uint32_t requests[] = {VHOST_USER_SET_OWNER, VHOST_USER_GET_FEATURES,
                                        VHOST_USER_SET_BACKEND_REQ_FD, 9999};
    struct vu_bench *b = *state;
    uint64_t before = now_ns();

    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        struct lingering l = give_lingering(b, requests[i], 1);

        bench_expect_closed(b);
        close(b->peer);
        b->peer = bench_connect(b);
        bench_negotiate(b);
        let_go(b, &l);
    }
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
}

static void fds_that_are_too_many_hold_up_nobody(void **state)
{
    struct vu_bench *b = *state;
    uint64_t before = now_ns();
    struct lingering l = give_lingering(b, VHOST_USER_SET_OWNER, 16);

    bench_expect_closed(b);
    bench_expect_log(b, "more than 8 file descriptors");
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
    let_go(b, &l);
}

/* It lies behind a message that ends the connection. */
static void fd_that_was_not_read_holds_up_nobody(void **state)
{
    struct vu_bench *b = *state;
    uint64_t before = now_ns();
    struct lingering l;

    bench_negotiate(b);
    bench_send(b, 9999, 0, NULL, 0, NULL, 0);
    l = give_lingering(b, VHOST_USER_SET_OWNER, 1);
    bench_expect_closed(b);
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
    let_go(b, &l);
}

static void fd_on_a_connection_that_nobody_took_holds_up_nobody(void **state)
{
    struct vu_bench *b = *state;
    uint64_t before = now_ns();
    struct lingering l = lingering_open();
    int first = b->peer;

    bench_negotiate(b);
    b->peer = bench_connect(b);
    bench_send(b, VHOST_USER_SET_OWNER, 0, NULL, 0, &l.fd, 1);
    close(l.fd);
    vhost_user_unlisten(b->vu);
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
    close(l.peer);
    close(first);
}

/* Each keeps a thread waiting; the last but one is as many as a disk may have. */
static void disk_serves_nobody_while_too_many_threads_wait(void **state)
{
    struct vu_bench *b = *state;
    struct lingering l[PORTERS_OF_ONE - 1];

    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        l[i] = give_lingering(b, VHOST_USER_SET_OWNER, 1);
        bench_expect_closed(b);
        close(b->peer);
        b->peer = bench_connect(b);
    }
    bench_expect_log(b, "3 threads wait for files that front-ends handed in");
    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        close(l[i].peer);
    }
    bench_negotiate(b);
}

/* A porter of this disk that waits for `l`, which goes to it on a connection of its own. */
static void occupy_porter(struct vu_bench *b, struct lingering *l)
{
    struct vhost_user_header header = {.flags = VHOST_USER_VERSION};
    int sock[2];
    int answer[2];

    *l = lingering_open();
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), errno);
    assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, answer), errno);
    bench_send_raw(sock[1], &header, sizeof(header), &l->fd, 1);
    close(l->fd);
    assert_int_equal(porter_receive(sock[0], sizeof(header), answer[1], (uintptr_t)&b->dev), 0);
    close(sock[0]);
    close(sock[1]);
    close(answer[0]);
    close(answer[1]);
}

/* They answer before they are done, and may be slow at that. */
static void message_waits_for_a_porter_that_is_about_to_be_free(void **state)
{
    struct vu_bench *b = *state;
    struct lingering l[PORTERS_OF_ONE - 1];
    struct raw raw = raw_u64(VHOST_USER_SET_VRING_CALL, 0);

    bench_negotiate(b);
    bench_wait(b, has_no_porter);
    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        occupy_porter(b, &l[i]);
    }
    bench_send_raw(b->peer, &raw, sizeof(raw), &b->call, 1);
    bench_pump(b, 50);
    close(l[0].peer);
    expect_ack(b, VHOST_USER_SET_VRING_CALL, 0);
    for (unsigned i = 1; i < ARRAY_SIZE(l); i++) {
        close(l[i].peer);
    }
    bench_wait(b, has_no_porter);
}

/* The threads of the one that is connected are busy just now, which nobody can do anything about.
 */
static void second_client_that_waits_for_a_moment_is_no_error(void **state)
{
    struct vu_bench *b = *state;
    struct lingering l[2];
    int second;

    bench_negotiate(b);
    bench_wait(b, has_no_porter);
    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        occupy_porter(b, &l[i]);
    }
    second = bench_connect(b);
    bench_pump(b, 20);
    assert_false(bench_has_log(b, " refused, "));
    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        close(l[i].peer);
    }
    bench_expect_log(b, " refused, ");
    assert_false(bench_has_log(b, "threads wait"));
    close(second);
}

/* ---- a connection alone, with little patience ---- */

struct lonely {
    struct vu_conn conn;
    uv_loop_t loop;
    char fault[64];
    bool is_closed;
};

static struct lonely *lonely_of(struct vu_conn *conn)
{
    return containerof(conn, struct lonely, conn);
}

static void on_lonely_message(struct vu_conn *conn, struct vu_msg *msg)
{
    vu_conn_reply(conn, msg->header.request, msg->payload.bytes, VHOST_USER_MAX_PAYLOAD);
}

static void on_lonely_over(struct vu_conn *conn, const char *fault)
{
    strcpy(lonely_of(conn)->fault, fault ? fault : "left");
    vu_conn_close(conn);
}

static void on_lonely_closed(struct vu_conn *conn)
{
    lonely_of(conn)->is_closed = true;
}

static const struct vu_conn_ops lonely_ops = {.message = on_lonely_message,
                                              .over = on_lonely_over,
                                              .closed = on_lonely_closed,
                                              .stall_ms = 20,
                                              .look_ms = 100};

/* Returns the peer's end. */
static int lonely_open(struct lonely *l)
{
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                       errno);
    memset(l, 0, sizeof(*l));
    assert_int_equal(uv_loop_init(&l->loop), 0);
    assert_int_equal(vu_conn_open(&l->conn, &l->loop, pair[0], 1, &lonely_ops), 0);
    return pair[1];
}

static void lonely_expect_end(struct lonely *l, const char *fault)
{
    uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_true(l->is_closed);
    assert_string_equal(l->fault, fault);
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

/* With its own end among the fds: nobody would ever see it close. */
static void half_a_message_is_not_waited_for_for_ever(void **state)
{
    static struct lonely lonely;
    struct raw raw = raw_u64(VHOST_USER_SET_VRING_CALL, 0);
    int fd = lonely_open(&lonely);

    bench_send_raw(fd, &raw, sizeof(raw) - 1, &fd, 1);
    close(fd);
    lonely_expect_end(&lonely, "sent half a message and no more");
}

static void replies_do_not_wait_for_ever(void **state)
{
    static struct lonely lonely;
    struct vhost_user_header header = {.request = 1, .flags = VHOST_USER_VERSION};
    int fd = lonely_open(&lonely);

    while (send(fd, &header, sizeof(header), MSG_NOSIGNAL) > 0) {
        uv_run(&lonely.loop, UV_RUN_NOWAIT);
    }
    lonely_expect_end(&lonely, "does not read its replies");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(message_in_pieces_is_served),
        bench_test(fd_that_comes_with_the_payload_is_its_own),
        bench_test(messages_back_to_back_keep_their_fds),
        bench_test(many_messages_in_one_write_are_served),
        bench_test(other_version_is_refused),
        bench_test(huge_payload_is_refused_before_it_comes),
        bench_test(more_fds_than_a_message_may_have_are_refused),
        bench_test(fds_in_small_portions_are_counted_as_well),
        bench_test(leaving_in_the_middle_of_a_message_is_told),
        bench_test(half_closed_connection_is_at_its_end),
        bench_test(fd_of_any_message_holds_up_nobody),
        bench_test(fds_that_are_too_many_hold_up_nobody),
        bench_test(fd_that_was_not_read_holds_up_nobody),
        bench_test(fd_on_a_connection_that_nobody_took_holds_up_nobody),
        bench_test(disk_serves_nobody_while_too_many_threads_wait),
        bench_test(message_waits_for_a_porter_that_is_about_to_be_free),
        bench_test(second_client_that_waits_for_a_moment_is_no_error),
        cmocka_unit_test(half_a_message_is_not_waited_for_for_ever),
        cmocka_unit_test(replies_do_not_wait_for_ever),
    };

    return unit_run(tests);
}
