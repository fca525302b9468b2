/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front-end of struct vu_bench: messages, memory, and the driver's side of one ring. */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEADLINE_NS (30 * NS_PER_S)

#define HEADER_AT 0x4000u
#define DATA_AT 0x5000u
#define STATUS_AT 0x6000u

int bench_connect(struct vu_bench *b)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, b->path);
    assert_return_code(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
    return fd;
}

void bench_send_raw(int fd, const void *bytes, size_t len, const int *fds, unsigned fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 32)];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd_count > 0) {
        struct cmsghdr *c;

        hdr.msg_control = control.bytes;
        hdr.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        c = CMSG_FIRSTHDR(&hdr);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    assert_int_equal(sendmsg(fd, &hdr, MSG_NOSIGNAL), len);
}

void bench_send(struct vu_bench *b, uint32_t request, uint32_t flags, const void *payload,
                uint32_t size, const int *fds, unsigned fd_count)
{
    struct vhost_user_header header = {
        .request = request, .flags = VHOST_USER_VERSION | flags, .size = size};
    uint8_t bytes[sizeof(header) + VHOST_USER_MAX_PAYLOAD];

    memcpy(bytes, &header, sizeof(header));
    if (size > 0) {
        memcpy(bytes + sizeof(header), payload, size);
    }
    bench_send_raw(b->peer, bytes, sizeof(header) + size, fds, fd_count);
}

/* Returns false when there will be no more. */
static bool receive_bytes(struct vu_bench *b, int fd, void *to, size_t want)
{
    uint64_t end = now_ns() + DEADLINE_NS;
    size_t have = 0;

    while (have < want) {
        ssize_t got = recv(fd, (uint8_t *)to + have, want - have, 0);

        if (got > 0) {
            have += (size_t)got;
        } else if (got == 0 || errno != EAGAIN) {
            return false;
        } else {
            assert_true(now_ns() < end);
            bench_pump(b, 1);
        }
    }
    return true;
}

bool bench_receive_on(struct vu_bench *b, int fd, struct vu_answer *answer)
{
    if (!receive_bytes(b, fd, &answer->header, sizeof(answer->header))) {
        return false;
    }
    assert_int_equal(answer->header.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
    assert_true(answer->header.size <= sizeof(answer->payload));
    return receive_bytes(b, fd, answer->payload.bytes, answer->header.size);
}

bool bench_receive(struct vu_bench *b, struct vu_answer *answer)
{
    return bench_receive_on(b, b->peer, answer);
}

void bench_expect_closed(struct vu_bench *b)
{
    struct vu_answer answer;

    assert_false(bench_receive(b, &answer));
}

uint64_t bench_get_u64(struct vu_bench *b, uint32_t request)
{
    struct vu_answer answer;

    bench_send(b, request, 0, NULL, 0, NULL, 0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, request);
    assert_int_equal(answer.header.size, 8);
    return answer.payload.u64;
}

uint64_t bench_ack(struct vu_bench *b, uint32_t request, const void *payload, uint32_t size,
                   const int *fds, unsigned fd_count)
{
    struct vu_answer answer;

    bench_send(b, request, VHOST_USER_NEED_REPLY, payload, size, fds, fd_count);
    if (!bench_receive(b, &answer)) {
        return UINT64_MAX;
    }
    assert_int_equal(answer.header.request, request);
    assert_int_equal(answer.header.size, 8);
    return answer.payload.u64;
}

uint64_t bench_ack_u64(struct vu_bench *b, uint32_t request, uint64_t value, int fd)
{
    return bench_ack(b, request, &value, sizeof(value), &fd, fd >= 0 ? 1 : 0);
}

uint64_t bench_ack_state(struct vu_bench *b, uint32_t request, uint32_t index, uint32_t num)
{
    const struct vhost_user_vring_state state = {.index = index, .num = num};

    return bench_ack(b, request, &state, sizeof(state), NULL, 0);
}

uint64_t bench_ack_addr(struct vu_bench *b, uint64_t desc, uint64_t used, uint64_t avail,
                        uint32_t flags)
{
    const struct vhost_user_vring_addr addr = {
        .index = 0, .flags = flags, .desc = desc, .used = used, .avail = avail, .log = 0xdead000};

    return bench_ack(b, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

void bench_negotiate(struct vu_bench *b)
{
    uint64_t features = bench_get_u64(b, VHOST_USER_GET_FEATURES);
    uint64_t protocol = bench_get_u64(b, VHOST_USER_GET_PROTOCOL_FEATURES);

    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_FEATURES, features, -1), 0);
}

struct vhost_user_table bench_table(void)
{
    return (struct vhost_user_table){
        .count = 1,
        .region = {{.guest_addr = BENCH_GUEST, .size = BENCH_MEM_BYTES, .user_addr = BENCH_USER}}};
}

void bench_share_memory(struct vu_bench *b)
{
    const struct vhost_user_table table = bench_table();

    assert_int_equal(bench_ack(b, VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, &b->mem_fd, 1), 0);
}

/* ---- the ring ---- */

void bench_start_ring(struct vu_bench *b)
{
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_NUM, 0, BENCH_QUEUE_SIZE), 0);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_BASE, 0, bench_used_idx(b)), 0);
    assert_int_equal(bench_ack_addr(b, BENCH_USER + BENCH_DESC, BENCH_USER + BENCH_USED,
                                    BENCH_USER + BENCH_AVAIL, 0),
                     0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_CALL, 0, b->call), 0);
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_VRING_KICK, 0, b->kick), 0);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
}

void bench_set_up(struct vu_bench *b)
{
    bench_negotiate(b);
    bench_share_memory(b);
    bench_start_ring(b);
}

void bench_offer(struct vu_bench *b)
{
    struct vring_desc *desc = (struct vring_desc *)(b->mem + BENCH_DESC);
    struct vring_avail *avail = (struct vring_avail *)(b->mem + BENCH_AVAIL);
    uint16_t head = avail->idx % 2 * 3; /* two may be in flight */
    const uint64_t one = 1;

    memset(b->mem + HEADER_AT, 0, 16);
    desc[head] = (struct vring_desc){HEADER_AT, 16, VRING_DESC_F_NEXT, head + 1};
    desc[head + 1] =
        (struct vring_desc){DATA_AT, SECTOR_SIZE, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, head + 2};
    desc[head + 2] = (struct vring_desc){STATUS_AT, 1, VRING_DESC_F_WRITE, 0};
    avail->ring[avail->idx % BENCH_QUEUE_SIZE] = head;
    store16_release(&avail->idx, avail->idx + 1);
    assert_int_equal(write(b->kick, &one, sizeof(one)), sizeof(one));
}

static bool is_in_flight(struct vu_bench *b)
{
    return b->dev.lanes.first.flight.guest == 1;
}

void bench_begin(struct vu_bench *b)
{
    bench_offer(b);
    bench_wait(b, is_in_flight);
}

uint16_t bench_used_idx(const struct vu_bench *b)
{
    return load16_acquire(b->mem + BENCH_USED + 2);
}

void bench_wait_used(struct vu_bench *b, uint16_t idx)
{
    uint64_t end = now_ns() + DEADLINE_NS;

    while (bench_used_idx(b) != idx) {
        assert_true(now_ns() < end);
        bench_pump(b, 1);
    }
}

uint32_t bench_get_base(struct vu_bench *b)
{
    const struct vhost_user_vring_state state = {.index = 0};
    struct vu_answer answer;

    bench_send(b, VHOST_USER_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_GET_VRING_BASE);
    assert_int_equal(answer.header.size, sizeof(state));
    assert_int_equal(answer.payload.state.index, 0);
    return answer.payload.state.num;
}
