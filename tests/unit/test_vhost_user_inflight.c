/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* F_GET_SEALS */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/virtio/inflight.h"

#define PADDED_BYTES 24u
#define AREA_BYTES ring_inflight_bytes(false, BENCH_QUEUE_SIZE)
#define LOG_BYTES (BENCH_QUEUES * AREA_BYTES)

static struct vhost_user_inflight wanted(void)
{
    return (struct vhost_user_inflight){.num_queues = BENCH_QUEUES, .queue_size = BENCH_QUEUE_SIZE};
}

/* The fd comes with the first byte.  -1: none came. */
static int receive_fd(struct vu_bench *b, struct vu_answer *answer)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &answer->header, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    int fd = -1;

    while (recvmsg(b->peer, &msg, MSG_PEEK) < 0) {
        assert_int_equal(errno, EAGAIN);
        bench_pump(b, 1);
        msg.msg_controllen = sizeof(control.bytes);
    }
    if (CMSG_FIRSTHDR(&msg)) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    }
    assert_true(bench_receive(b, answer));
    return fd;
}

/* Ask for a log, with `size` bytes of question.  Returns its fd. */
static int get_log(struct vu_bench *b, uint32_t size, struct vhost_user_inflight *inflight)
{
    uint8_t payload[PADDED_BYTES] = {0};
    struct vu_answer answer;
    int fd;

    *inflight = wanted();
    memcpy(payload, inflight, sizeof(*inflight));
    bench_send(b, VHOST_USER_GET_INFLIGHT_FD, 0, payload, size, NULL, 0);
    fd = receive_fd(b, &answer);
    assert_int_equal(answer.header.request, VHOST_USER_GET_INFLIGHT_FD);
    assert_int_equal(answer.header.size, size);
    *inflight = answer.payload.inflight;
    return fd;
}

static uint64_t set_log(struct vu_bench *b, const struct vhost_user_inflight *inflight, int fd)
{
    uint8_t payload[PADDED_BYTES] = {0};

    memcpy(payload, inflight, sizeof(*inflight));
    return bench_ack(b, VHOST_USER_SET_INFLIGHT_FD, payload, sizeof(payload), &fd, 1);
}

static struct inflight_split *map_log(int fd)
{
    void *at = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    assert_true(at != MAP_FAILED);
    return at;
}

/* A log as this front-end keeps it, handed in before the ring starts. */
static struct inflight_split *begin(struct vu_bench *b, int *fd)
{
    struct vhost_user_inflight inflight;

    bench_negotiate(b);
    *fd = get_log(b, PADDED_BYTES, &inflight);
    assert_int_equal(set_log(b, &inflight, *fd), 0);
    return map_log(*fd);
}

static void end(struct inflight_split *log, int fd)
{
    munmap(log, LOG_BYTES);
    close(fd);
}

static void log_is_a_file_that_stays(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_inflight inflight;
    const uint32_t sizes[] = {sizeof(inflight), PADDED_BYTES};

    bench_negotiate(b);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        int fd = get_log(b, sizes[i], &inflight);

        assert_true(fd >= 0);
        assert_int_equal(inflight.mmap_size, LOG_BYTES);
        assert_int_equal(inflight.mmap_offset, 0);
        assert_int_equal(inflight.num_queues, BENCH_QUEUES);
        assert_int_equal(inflight.queue_size, BENCH_QUEUE_SIZE);
        assert_true(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
        assert_int_equal(ftruncate(fd, 0), -1);
        close(fd);
    }
}

static void expect_refused(struct vu_bench *b, uint16_t queues, uint16_t size)
{
    const struct vhost_user_inflight asked = {.num_queues = queues, .queue_size = size};

    bench_negotiate(b);
    bench_send(b, VHOST_USER_GET_INFLIGHT_FD, 0, &asked, sizeof(asked), NULL, 0);
    bench_expect_closed(b);
    bench_expect_log(b, "instead of 1 to 2 of 1 to 32768");
    close(b->peer);
    b->peer = bench_connect(b);
}

static void log_of_no_size_is_refused(void **state)
{
    struct vu_bench *b = *state;

    expect_refused(b, 0, 8);
    expect_refused(b, BENCH_QUEUES + 1, 8);
    expect_refused(b, 1, 0);
    expect_refused(b, 1, 32769);
}

static void log_must_be_negotiated(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_inflight asked = wanted();

    bench_send(b, VHOST_USER_GET_INFLIGHT_FD, 0, &asked, sizeof(asked), NULL, 0);
    bench_expect_closed(b);
    bench_expect_log(b, "GET_INFLIGHT_FD): INFLIGHT_SHMFD was not negotiated");
    close(b->peer);
    b->peer = bench_connect(b);
    bench_send(b, VHOST_USER_SET_INFLIGHT_FD, 0, &asked, sizeof(asked), &b->mem_fd, 1);
    bench_expect_closed(b);
    bench_expect_log(b, "SET_INFLIGHT_FD): INFLIGHT_SHMFD was not negotiated");
}

static void one_that_takes_us_for_another_is_told(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_inflight asked = wanted();

    bench_send(b, VHOST_USER_SET_INFLIGHT_FD, 0, &asked, sizeof(asked), &b->mem_fd, 1);
    bench_expect_closed(b);
    bench_expect_log(b, "while its back-end was started anew does not know of that");
}

static void expect_bad_log(struct vu_bench *b, const struct vhost_user_inflight *inflight, int fd,
                           const char *text)
{
    bench_negotiate(b);
    assert_int_equal(set_log(b, inflight, fd), 1);
    bench_expect_closed(b);
    bench_expect_log(b, text);
    close(b->peer);
    b->peer = bench_connect(b);
}

static void log_that_cannot_be_one_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_inflight good = wanted();
    struct vhost_user_inflight bad;

    good.mmap_size = LOG_BYTES;
    expect_bad_log(b, &good, b->kick, "what came is");
    bad = good;
    bad.num_queues = 0;
    expect_bad_log(b, &bad, b->mem_fd, "cannot be divided among 0 rings");
    bad = good;
    bad.mmap_size += 1;
    expect_bad_log(b, &bad, b->mem_fd, "cannot be divided among 2 rings");
    bad = good;
    bad.mmap_offset = 4;
    expect_bad_log(b, &bad, b->mem_fd, "cannot be divided among 2 rings");
}

static void log_must_lie_in_its_file(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_inflight good = wanted();
    struct vhost_user_inflight bad = good;

    good.mmap_size = LOG_BYTES;
    expect_bad_log(b, &bad, b->mem_fd, "0 bytes instead of 1 to 1073741824");
    bad = good;
    bad.mmap_offset = BENCH_MEM_BYTES;
    expect_bad_log(b, &bad, b->mem_fd, "its file has 65536 bytes");
    bad.mmap_offset = UINT64_MAX - 7;
    expect_bad_log(b, &bad, b->mem_fd, "bytes instead of 1 to 1073741824");
}

static void log_is_handed_in_before_rings_run(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_inflight inflight;
    int fd;

    bench_set_up(b);
    fd = get_log(b, PADDED_BYTES, &inflight);
    assert_int_equal(set_log(b, &inflight, fd), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "SET_INFLIGHT_FD): rings run");
    close(fd);
}

/* cloud-hypervisor, when a guest's next driver begins: with a log of its own, or the same one. */
static void log_may_come_while_all_rings_are_disabled(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_inflight inflight;
    int fd;
    struct inflight_split *log = begin(b, &fd);
    int other = get_log(b, PADDED_BYTES, &inflight);
    struct inflight_split *next = map_log(other);

    bench_share_memory(b);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
    memset(b->mem + BENCH_DESC, 0, BENCH_USED + 0x1000 - BENCH_DESC);
    assert_int_equal(set_log(b, &inflight, other), 0);
    assert_int_equal(device_rings_running(&b->dev), 0);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    bench_pump(b, 0);
    assert_int_equal(next->used_idx, 1);
    assert_int_equal(log->used_idx, 1);
    end(next, other);
    end(log, fd);
}

static void what_is_in_flight_stands_in_the_log(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    bench_share_memory(b);
    bench_start_ring(b);
    assert_int_equal(log->version, 1);
    assert_int_equal(log->desc_num, BENCH_QUEUE_SIZE);
    bench_begin(b);
    assert_int_equal(log->desc[0].is_inflight, 1);
    bench_let_go(b);
    bench_wait_used(b, 1);
    bench_pump(b, 0);
    assert_int_equal(log->desc[0].is_inflight, 0);
    assert_int_equal(log->used_idx, 1);
    end(log, fd);
}

/* As one that was killed has left it: popped, and not answered.  The base is an old one. */
static void what_another_left_is_tried_again(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    log->version = 1;
    log->desc_num = BENCH_QUEUE_SIZE;
    log->desc[0].is_inflight = 1;
    bench_share_memory(b);
    bench_offer(b);
    bench_start_ring(b);
    bench_wait_used(b, 1);
    bench_expect_log(b, "ring 0: tries again 1 request that whoever served it before");
    assert_int_equal(bench_get_base(b), 1);
    end(log, fd);
}

static void kick(struct vu_bench *b)
{
    const uint64_t one = 1;

    assert_int_equal(write(b->kick, &one, sizeof(one)), sizeof(one));
    bench_pump(b, 1);
}

/* Its driver has nothing new for us, and waits. */
static void driver_that_kicks_for_what_is_tried_again_is_not_blind(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    log->version = 1;
    log->desc_num = BENCH_QUEUE_SIZE;
    log->desc[0].is_inflight = 1;
    bench_share_memory(b);
    bench_offer(b);
    bench_start_ring(b);
    for (unsigned i = 0; i < 3; i++) {
        kick(b);
    }
    assert_false(bench_has_log(b, "no request is seen"));
    bench_let_go(b);
    bench_wait_used(b, 1);
    end(log, fd);
}

static void log_of_another_ring_breaks_this_one_alone(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    log->version = 7;
    bench_share_memory(b);
    bench_start_ring(b);
    bench_expect_log(b, "is of a version that is not known here");
    assert_int_equal(bench_get_u64(b, VHOST_USER_GET_QUEUE_NUM), BENCH_QUEUES);
    end(log, fd);
}

/* RESET_DEVICE: whatever was in flight, the driver does not wait for it. */
static void reset_forgets_what_was_in_flight(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    bench_share_memory(b);
    bench_start_ring(b);
    assert_int_equal(log->version, 1);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(log->version, 0);
    bench_negotiate(b);
    bench_start_ring(b); /* with the same log */
    assert_int_equal(log->version, 1);
    end(log, fd);
}

static void set_base(struct vu_bench *b, uint32_t base)
{
    const struct vhost_user_vring_state state = {.index = 0, .num = base};

    assert_int_equal(bench_ack(b, VHOST_USER_SET_VRING_BASE, &state, sizeof(state), NULL, 0), 0);
}

/* Where it was stopped it is the same ring, whose requests may be in the log. */
static void ring_that_begins_elsewhere_is_another_one(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    bench_share_memory(b);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    assert_int_equal(bench_get_base(b), 1);
    set_base(b, 1);
    assert_int_equal(log->version, 1);
    set_base(b, 0);
    assert_int_equal(log->version, 0);
    end(log, fd);
}

static bool is_gone(struct vu_bench *b)
{
    return bench_has_log(b, "disconnected") || !b->dev.view.mem.inflight_region.host;
}

static void log_stays_as_it_is_when_the_front_end_leaves(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin(b, &fd);

    bench_share_memory(b);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
    close(b->peer);
    b->peer = -1;
    bench_wait(b, is_gone);
    assert_int_equal(log->version, 1);
    assert_int_equal(log->used_idx, 1);
    end(log, fd);
}

/* A front-end's own file, which nothing seals. */
static void truncated_log_breaks_the_ring(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_inflight inflight = wanted();
    int fd = memfd_create("log", MFD_CLOEXEC);

    if (RUNNING_ON_VALGRIND) {
        close(fd);
        skip();
    }
    mem_guard_install();
    assert_return_code(ftruncate(fd, (off_t)LOG_BYTES), errno);
    inflight.mmap_size = LOG_BYTES;
    bench_negotiate(b);
    assert_int_equal(set_log(b, &inflight, fd), 0);
    bench_share_memory(b);
    bench_start_ring(b);
    assert_return_code(ftruncate(fd, 0), errno);
    bench_offer(b);
    bench_expect_log(b, MEM_INFLIGHT_LOST);
    close(fd);
}

/* ---- suspended ---- */

#define FIRST_VERSION (1ull << 12 | 1ull << 20)
#define WITH_MESSAGE (FIRST_VERSION | 1ull << 23)
#define SKIP_DRAIN 45u

/* A log that holds one request, which a stopped disk does not try. */
static struct inflight_split *begin_with(struct vu_bench *b, uint64_t features, int *fd)
{
    struct vhost_user_inflight inflight;
    uint64_t protocol = bench_get_u64(b, VHOST_USER_GET_PROTOCOL_FEATURES);
    struct inflight_split *log;

    assert_true((protocol & WITH_MESSAGE) == WITH_MESSAGE);
    protocol = (protocol & ~WITH_MESSAGE) | features;
    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
    assert_int_equal(
        bench_ack_u64(b, VHOST_USER_SET_FEATURES, bench_get_u64(b, VHOST_USER_GET_FEATURES), -1),
        0);
    *fd = get_log(b, PADDED_BYTES, &inflight);
    assert_int_equal(set_log(b, &inflight, *fd), 0);
    log = map_log(*fd);
    log->version = 1;
    log->desc_num = BENCH_QUEUE_SIZE;
    log->desc[0].is_inflight = 1;
    device_pause(&b->dev, PAUSE_ADMIN, NULL);
    bench_share_memory(b);
    bench_offer(b);
    bench_start_ring(b);
    return log;
}

/* The guest is on its way to another host. */
static int begin_dirty_log(struct vu_bench *b)
{
    const struct vhost_user_log payload = {.size = 4096};
    int fd = memfd_create("dirty", MFD_CLOEXEC);

    assert_return_code(ftruncate(fd, 4096), errno);
    (void)bench_ack(b, VHOST_USER_SET_LOG_BASE, &payload, sizeof(payload), &fd, 1);
    return fd;
}

static uint32_t skip_drain(struct vu_bench *b)
{
    const struct vhost_user_vring_state state = {.index = 0};
    struct vu_answer answer;

    bench_send(b, SKIP_DRAIN, 0, &state, sizeof(state), NULL, 0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, SKIP_DRAIN);
    assert_int_equal(answer.header.size, sizeof(state));
    return answer.payload.state.num;
}

static void expect_kept(struct vu_bench *b, struct inflight_split *log, int fd, int dirty)
{
    assert_int_equal(log->desc[0].is_inflight, 1);
    assert_int_equal(bench_used_idx(b), 0);
    bench_expect_log(b, "ring 0: stops with 1 request not answered, for whoever serves it next");
    end(log, fd);
    close(dirty);
}

static void expect_failed(struct vu_bench *b, struct inflight_split *log, int fd, int dirty)
{
    assert_int_equal(log->desc[0].is_inflight, 0);
    assert_int_equal(bench_used_idx(b), 1);
    bench_expect_log(b, "ring 0: stops with 1 request held, the guest gets I/O errors");
    end(log, fd);
    close(dirty);
}

static void message_of_its_own_suspends(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin_with(b, WITH_MESSAGE, &fd);
    int dirty = begin_dirty_log(b);

    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
    assert_int_equal(skip_drain(b), 1);
    expect_kept(b, log, fd, dirty);
}

/* Who has a message of its own for that wants to know of nothing in flight with the other one. */
static void base_is_asked_for_with_all_done_where_there_is_a_message(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin_with(b, WITH_MESSAGE, &fd);
    int dirty = begin_dirty_log(b);

    assert_int_equal(bench_get_base(b), 1);
    expect_failed(b, log, fd, dirty);
}

static void first_version_suspends_without_a_message(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin_with(b, FIRST_VERSION, &fd);
    int dirty = begin_dirty_log(b);

    assert_int_equal(bench_get_base(b), 1);
    expect_kept(b, log, fd, dirty);
}

static void nothing_is_suspended_that_was_not_agreed_on(void **state)
{
    struct vu_bench *b = *state;
    int fd;
    struct inflight_split *log = begin_with(b, 1ull << 12, &fd);
    int dirty = begin_dirty_log(b);

    assert_int_equal(bench_get_base(b), 1);
    expect_failed(b, log, fd, dirty);
}

static void message_that_was_not_agreed_on_is_refused(void **state)
{
    const struct vhost_user_vring_state ring = {.index = 0};
    const uint64_t lacks[] = {FIRST_VERSION, WITH_MESSAGE & ~(1ull << 20),
                              WITH_MESSAGE & ~(1ull << 12)};
    struct vu_bench *b = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(lacks); i++) {
        uint64_t features = bench_get_u64(b, VHOST_USER_GET_PROTOCOL_FEATURES);

        features = (features & ~WITH_MESSAGE) | lacks[i];
        bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &features, 8, NULL, 0);
        bench_send(b, SKIP_DRAIN, 0, &ring, sizeof(ring), NULL, 0);
        bench_expect_closed(b);
        bench_expect_log(b, "GET_VRING_BASE_SKIP_DRAIN was not negotiated, or not with");
        close(b->peer);
        b->peer = bench_connect(b);
    }
}

/* It is said again when a ring starts, and not while all are stopped. */
static void suspended_device_sends_nothing(void **state)
{
    struct vu_bench *b = *state;
    char byte;
    int ends[2];

    bench_set_up(b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &ends[1], 1), 0);
    close(ends[1]);
    while (recv(ends[0], &byte, 1, 0) == 1) {
    }
    (void)bench_get_base(b);
    assert_int_equal(vhost_user_config_changed(b->vu), VHOST_USER_WILL_TELL);
    assert_int_equal(recv(ends[0], &byte, 1, 0), -1);
    bench_start_ring(b);
    assert_int_equal(recv(ends[0], &byte, 1, 0), 1);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(log_is_a_file_that_stays),
        bench_test(log_of_no_size_is_refused),
        bench_test(log_must_be_negotiated),
        bench_test(one_that_takes_us_for_another_is_told),
        bench_test(log_that_cannot_be_one_is_refused),
        bench_test(log_must_lie_in_its_file),
        bench_test(log_is_handed_in_before_rings_run),
        bench_test(log_may_come_while_all_rings_are_disabled),
        bench_test_slow(what_is_in_flight_stands_in_the_log),
        bench_test(what_another_left_is_tried_again),
        bench_test_slow(driver_that_kicks_for_what_is_tried_again_is_not_blind),
        bench_test(log_of_another_ring_breaks_this_one_alone),
        bench_test(reset_forgets_what_was_in_flight),
        bench_test(ring_that_begins_elsewhere_is_another_one),
        bench_test(log_stays_as_it_is_when_the_front_end_leaves),
        bench_test(truncated_log_breaks_the_ring),
        bench_test(message_of_its_own_suspends),
        bench_test(base_is_asked_for_with_all_done_where_there_is_a_message),
        bench_test(first_version_suspends_without_a_message),
        bench_test(nothing_is_suspended_that_was_not_agreed_on),
        bench_test(message_that_was_not_agreed_on_is_refused),
        bench_test(suspended_device_sends_nothing),
    };

    return unit_run(tests);
}
