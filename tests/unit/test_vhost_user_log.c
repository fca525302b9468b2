/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE DIRTY_LOG_PAGE
#define LOG_BYTES 64u
#define OFFSET 8u

/* The pages of what a read stores, see vu_bench_peer.c. */
#define USED_PAGE (BENCH_USED / PAGE)
#define DATA_PAGE 5u
#define STATUS_PAGE 6u
#define BITS_OF_DATA (BIT(DATA_PAGE) | BIT(STATUS_PAGE))
#define BITS_OF_READ (BITS_OF_DATA | BIT(USED_PAGE))

static int make_log(size_t bytes)
{
    int fd = memfd_create("log", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_return_code(ftruncate(fd, (off_t)bytes), errno);
    return fd;
}

/* The first 64 pages. */
static uint64_t bits_of(int fd)
{
    uint64_t bits;

    assert_int_equal(pread(fd, &bits, sizeof(bits), OFFSET), sizeof(bits));
    return bits;
}

static void clear(int fd)
{
    const uint8_t none[LOG_BYTES] = {0};

    assert_int_equal(pwrite(fd, none, LOG_BYTES, OFFSET), LOG_BYTES);
}

static void send_log(struct vu_bench *b, uint32_t flags, uint64_t size, uint64_t offset, int fd)
{
    const struct vhost_user_log log = {.size = size, .offset = offset};

    bench_send(b, VHOST_USER_SET_LOG_BASE, flags, &log, sizeof(log), &fd, 1);
}

/* It is answered without being asked to. */
static void set_log(struct vu_bench *b, int fd)
{
    struct vu_answer answer;

    send_log(b, 0, LOG_BYTES, OFFSET, fd);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_SET_LOG_BASE);
    assert_int_equal(answer.header.size, 8);
    assert_int_equal(answer.payload.u64, 0);
}

static void log_data(struct vu_bench *b, bool on)
{
    uint64_t features = b->dev.view.blk.features | VHOST_USER_F_PROTOCOL_FEATURES;

    features |= on ? VHOST_USER_F_LOG_ALL : 0;
    assert_int_equal(bench_ack_u64(b, VHOST_USER_SET_FEATURES, features, -1), 0);
}

static uint64_t set_addr(struct vu_bench *b, uint32_t index, bool logs, uint64_t log)
{
    const struct vhost_user_vring_addr addr = {.index = index,
                                               .flags = logs ? VHOST_USER_VRING_F_LOG : 0,
                                               .desc = BENCH_USER + BENCH_DESC,
                                               .used = BENCH_USER + BENCH_USED,
                                               .avail = BENCH_USER + BENCH_AVAIL,
                                               .log = log};

    return bench_ack(b, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static void log_ring(struct vu_bench *b, bool on)
{
    assert_int_equal(set_addr(b, 0, on, BENCH_GUEST + BENCH_USED), 0);
}

static void do_read(struct vu_bench *b)
{
    uint16_t idx = (uint16_t)(bench_used_idx(b) + 1);

    bench_offer(b);
    bench_wait_used(b, idx);
    bench_pump(b, 0);
}

/* The first that is seen of a log: rings that were looked at have asked for kicks by then. */
static void settle(struct vu_bench *b)
{
    for (unsigned i = 0; i < 10; i++) {
        bench_pump(b, 0);
    }
}

/* bench_set_up accepts all that is offered, LOG_ALL as well; begin without. */
static void set_up(struct vu_bench *b)
{
    bench_set_up(b);
    log_data(b, false);
}

static void log_begins_and_ends_while_rings_run(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    set_up(b);
    do_read(b);
    set_log(b, log);
    do_read(b);
    assert_int_equal(bits_of(log), 0);
    log_data(b, true);
    log_ring(b, true);
    do_read(b);
    assert_int_equal(bits_of(log), BITS_OF_READ);
    log_data(b, false);
    settle(b);
    clear(log);
    do_read(b);
    assert_int_equal(bits_of(log), BIT(USED_PAGE));
    log_ring(b, false);
    assert_null(b->dev.view.mem.log.bits);
    clear(log);
    do_read(b);
    assert_int_equal(bits_of(log), 0);
    close(log);
}

/* As QEMU starts a device during a migration. */
static void log_may_come_after_all_that_is_logged(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    bench_negotiate(b);
    log_data(b, true);
    bench_share_memory(b);
    bench_start_ring(b);
    log_ring(b, true);
    set_log(b, log);
    do_read(b);
    assert_int_equal(bits_of(log), BITS_OF_READ);
    close(log);
}

static void read_in_flight_is_marked_when_it_ends(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    set_up(b);
    bench_begin(b);
    set_log(b, log);
    log_data(b, true);
    log_ring(b, true);
    assert_int_equal(bits_of(log) & BITS_OF_DATA, 0);
    bench_let_go(b);
    bench_wait_used(b, 1);
    assert_int_equal(bits_of(log), BITS_OF_READ);
    close(log);
}

static void next_log_takes_the_place_of_the_last(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);
    int next = make_log(8192);

    set_up(b);
    set_log(b, log);
    log_data(b, true);
    log_ring(b, true);
    set_log(b, next);
    settle(b);
    clear(log);
    do_read(b);
    assert_int_equal(bits_of(log), 0);
    assert_int_equal(bits_of(next), BITS_OF_READ);
    close(log);
    close(next);
}

static void log_ends_with_its_connection(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    set_up(b);
    set_log(b, log);
    log_data(b, true);
    log_ring(b, true);
    do_read(b);
    close(b->peer);
    b->peer = bench_connect(b);
    bench_negotiate(b);
    assert_null(b->dev.view.mem.log.bits);
    bench_share_memory(b);
    bench_start_ring(b);
    clear(log);
    do_read(b);
    assert_int_equal(bits_of(log), 0);
    close(log);
}

static void log_ends_with_a_reset(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    set_up(b);
    set_log(b, log);
    log_data(b, true);
    log_ring(b, true);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_null(b->dev.view.mem.log.bits);
    clear(log);
    bench_start_ring(b);
    do_read(b);
    assert_int_equal(bits_of(log), 0);
    close(log);
}

static void all_features_without_a_log_do_no_harm(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    do_read(b);
    assert_false(b->dev.view.logs_data);
}

static void again(struct vu_bench *b)
{
    close(b->peer);
    b->peer = bench_connect(b);
    set_up(b);
}

static void expect_refused(struct vu_bench *b, uint64_t size, uint64_t offset, int fd,
                           const char *why)
{
    again(b);
    send_log(b, 0, size, offset, fd);
    bench_expect_closed(b);
    bench_expect_log(b, why);
}

static void log_that_cannot_hold_all_is_refused(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    expect_refused(b, 1, 0, log,
                   "message 6 (SET_LOG_BASE): the log of a migration: with 1 bytes it ends before "
                   "the memory region at 0x0 does");
    expect_refused(b, 0, 0, log, "SET_LOG_BASE): the log of a migration: 0 bytes instead of 1 to");
    expect_refused(b, 4097, 0, log, "its file has 4096 bytes, 4097 are needed");
    close(log);
}

static void log_that_is_no_log_is_refused(void **state)
{
    struct vu_bench *b = *state;
    int log = make_log(4096);

    expect_refused(b, 4096, 1, log, "its file has 4096 bytes, 4097 are needed");
    expect_refused(b, 1ull << 33, 0, log, "8589934592 bytes instead of");
    expect_refused(b, 64, UINT64_MAX - 3, log, "64 bytes instead of");
    expect_refused(b, 64, 0, b->kick, "a log must be a memfd");
    close(log);
}

static void log_needs_its_protocol_feature(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t protocol = VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK;

    set_up(b);
    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
    send_log(b, 0, LOG_BYTES, 0, b->mem_fd);
    bench_expect_closed(b);
    bench_expect_log(b, "(SET_LOG_BASE): LOG_SHMFD was not negotiated");
    again(b);
    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
    assert_int_equal(set_addr(b, 0, true, 0), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "ring 0: its writes cannot be logged, LOG_SHMFD was not negotiated");
}

static void ring_past_the_log_is_refused(void **state)
{
    struct vu_bench *b = *state;
    const uint64_t end = LOG_BYTES * 8 * PAGE;
    int log = make_log(4096);

    set_up(b);
    set_log(b, log);
    assert_int_equal(set_addr(b, 0, true, end - 6 - 8 * BENCH_QUEUE_SIZE), 0);
    assert_int_equal(set_addr(b, 0, true, end - 5 - 8 * BENCH_QUEUE_SIZE), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "ring 0: its log address 0x1fffbb lies past the end of the log");
    again(b);
    assert_int_equal(set_addr(b, 0, true, end), 0); /* there is no log yet */
    send_log(b, 0, LOG_BYTES, 0, log);
    bench_expect_closed(b);
    again(b);
    assert_int_equal(set_addr(b, BENCH_QUEUES, true, 0), 1);
    bench_expect_closed(b);
    close(log);
}

static void memory_past_the_log_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_single_region single = {
        .region = {.guest_addr = 2ull << 20, .size = 4096, .user_addr = 1ull << 20}};
    int log = make_log(4096);

    set_up(b);
    set_log(b, log);
    assert_int_equal(bench_ack(b, VHOST_USER_ADD_MEM_REG, &single, sizeof(single), &b->mem_fd, 1),
                     1);
    bench_expect_log(b, "ADD_MEM_REG refused: memory region at 0x200000 lies past the end of the "
                        "log of its migration, which has 64 bytes");
    single.region.guest_addr -= 4096;
    assert_int_equal(bench_ack(b, VHOST_USER_ADD_MEM_REG, &single, sizeof(single), &b->mem_fd, 1),
                     0);
    close(log);
}

static void memory_table_is_replaced_under_a_log(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table = bench_table();
    int log = make_log(4096);

    set_up(b);
    set_log(b, log);
    log_data(b, true);
    log_ring(b, true);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, &b->mem_fd, 1), 0);
    settle(b);
    clear(log);
    do_read(b);
    assert_int_equal(bits_of(log), BITS_OF_READ);
    close(log);
}

static void eventfd_for_marks_is_taken(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_LOG_FD, NULL, 0, &b->kick, 1), 0);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_LOG_FD, NULL, 0, &b->mem_fd, 1), 1);
    bench_expect_closed(b);
    bench_expect_log(b, "(SET_LOG_FD): what came is no eventfd");
}

static bool is_broken(struct vu_bench *b)
{
    return b->dev.queue[0].ring.is_broken;
}

static void truncated_log_is_the_end_of_its_rings_alone(void **state)
{
    struct vu_bench *b = *state;
    int log;

    if (RUNNING_ON_VALGRIND) {
        skip();
    }
    log = make_log(4096);
    mem_guard_install();
    set_up(b);
    set_log(b, log);
    log_data(b, true);
    assert_return_code(ftruncate(log, 0), errno);
    bench_offer(b);
    bench_wait(b, is_broken);
    bench_expect_log(b, "ring 0: the file behind the log of its migration was truncated");
    again(b);
    do_read(b);
    close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(log_begins_and_ends_while_rings_run),
        bench_test(log_may_come_after_all_that_is_logged),
        bench_test_slow(read_in_flight_is_marked_when_it_ends),
        bench_test(next_log_takes_the_place_of_the_last),
        bench_test(log_ends_with_its_connection),
        bench_test(log_ends_with_a_reset),
        bench_test(all_features_without_a_log_do_no_harm),
        bench_test(log_that_cannot_hold_all_is_refused),
        bench_test(log_that_is_no_log_is_refused),
        bench_test(log_needs_its_protocol_feature),
        bench_test(ring_past_the_log_is_refused),
        bench_test(memory_past_the_log_is_refused),
        bench_test(memory_table_is_replaced_under_a_log),
        bench_test(eventfd_for_marks_is_taken),
        bench_test(truncated_log_is_the_end_of_its_rings_alone),
    };

    return unit_run(tests);
}
