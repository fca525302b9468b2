/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "transports/vhost_user_record.h"

#define SAVE 0u
#define LOAD 1u
#define OK 0x100u /* no file descriptor comes back */
#define REFUSED 0x101u

struct pipe_ends {
    int reads;
    int writes;
};

static struct pipe_ends make_pipe(void)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    return (struct pipe_ends){fds[0], fds[1]};
}

static uint64_t transfer(struct vu_bench *b, uint32_t direction, uint32_t phase, int fd)
{
    const struct vhost_user_transfer wanted = {.direction = direction, .phase = phase};
    struct vu_answer answer;

    bench_send(b, VHOST_USER_SET_DEVICE_STATE_FD, 0, &wanted, sizeof(wanted), &fd, 1);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_SET_DEVICE_STATE_FD);
    assert_int_equal(answer.header.size, 8);
    return answer.payload.u64;
}

static void send_check(struct vu_bench *b)
{
    bench_send(b, VHOST_USER_CHECK_DEVICE_STATE, 0, NULL, 0, NULL, 0);
}

/* It is answered without being asked to. */
static uint64_t answer_of_check(struct vu_bench *b)
{
    struct vu_answer answer;

    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_CHECK_DEVICE_STATE);
    assert_int_equal(answer.header.size, 8);
    return answer.payload.u64;
}

static uint64_t check(struct vu_bench *b)
{
    send_check(b);
    return answer_of_check(b);
}

/* All that comes, up to the end. */
static size_t read_all(struct vu_bench *b, int fd, void *to, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t len = 0;
    ssize_t got = 1;

    while (got > 0) {
        while (poll(&p, 1, 0) == 0) {
            bench_pump(b, 1);
        }
        got = read(fd, (char *)to + len, size - len);
        len += got > 0 ? (size_t)got : 0;
    }
    assert_int_equal(got, 0);
    return len;
}

static struct vu_record saved(struct vu_bench *b)
{
    struct pipe_ends ends = make_pipe();
    uint8_t bytes[4096];
    struct vu_record record;

    assert_int_equal(transfer(b, SAVE, 0, ends.writes), OK);
    close(ends.writes);
    assert_int_equal(read_all(b, ends.reads, bytes, sizeof(bytes)), sizeof(record));
    close(ends.reads);
    memcpy(&record, bytes, sizeof(record));
    return record;
}

static void begin_load(struct vu_bench *b, const void *bytes, size_t len)
{
    struct pipe_ends ends = make_pipe();

    assert_int_equal(transfer(b, LOAD, 0, ends.reads), OK);
    close(ends.reads);
    assert_int_equal(write(ends.writes, bytes, len), (ssize_t)len);
    close(ends.writes);
}

static uint64_t load(struct vu_bench *b, const struct vu_record *record)
{
    begin_load(b, record, sizeof(*record));
    return check(b);
}

static bool was_told(struct vu_bench *b)
{
    return b->keeps > 0;
}

static void kept(struct vu_bench *b)
{
    const struct err err = {0};

    vhost_user_kept(b->vu, &err);
}

/* A ring that another has served before. */
static void go_on(struct vu_bench *b)
{
    store16_release(b->mem + BENCH_USED + 2, 7);
    store16_release(b->mem + BENCH_AVAIL + 2, 7);
    bench_share_memory(b);
    bench_start_ring(b);
}

static bool is_in_doubt(struct vu_bench *b)
{
    return blk_is_in_doubt(&b->dev.view.blk);
}

static void state_says_what_the_driver_was_shown_and_has_said(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record;
    struct virtio_blk_config config = {0};

    bench_negotiate(b);
    record = saved(b);
    assert_int_equal(check(b), 0);
    assert_int_equal(record.features, device_features(&b->dev));
    assert_int_equal(record.accepted, device_accepted(&b->dev));
    assert_int_equal(record.cache, VU_RECORD_WRITEBACK);
    memcpy(&config, record.config, sizeof(record.config));
    assert_int_equal(config.capacity, 2048);
    device_set_writeback(&b->dev, false);
    assert_int_equal(saved(b).cache, VU_RECORD_WRITETHROUGH);
}

static void writeback_that_came_along_is_beyond_doubt(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record;

    bench_negotiate(b);
    record = saved(b);
    assert_int_equal(load(b, &record), 0);
    go_on(b);
    assert_false(is_in_doubt(b));
    assert_true(blk_is_writeback(&b->dev.view.blk));
    bench_expect_log(b, "goes on with the state of a guest that came");
    close(b->peer);
    b->peer = bench_connect(b);
    bench_negotiate(b);
    go_on(b);
    assert_true(is_in_doubt(b)); /* it was that connection's */
}

static void doubt_comes_along_as_such(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record;

    bench_negotiate(b);
    go_on(b);
    assert_true(is_in_doubt(b));
    (void)bench_get_base(b);
    record = saved(b);
    assert_int_equal(record.cache, VU_RECORD_UNKNOWN);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    bench_negotiate(b);
    assert_int_equal(load(b, &record), 0);
    go_on(b);
    assert_true(is_in_doubt(b));
}

static void writethrough_that_came_along_is_kept_before_it_is_confirmed(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record;
    uint8_t byte;

    bench_negotiate(b);
    record = saved(b);
    record.cache = VU_RECORD_WRITETHROUGH;
    begin_load(b, &record, sizeof(record));
    send_check(b);
    bench_wait(b, was_told);
    bench_pump(b, 5);
    assert_int_equal(recv(b->peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_false(device_has_writeback(&b->dev));
    kept(b);
    assert_int_equal(answer_of_check(b), 0);
    record.cache = VU_RECORD_WRITEBACK; /* another guest's, later */
    b->keeps = 0;
    assert_int_equal(load(b, &record), 0);
    assert_true(device_has_writeback(&b->dev));
    assert_true(was_told(b));
}

static void disk_whose_rings_run_has_no_state(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();
    struct vu_record record;

    bench_set_up(b);
    assert_int_equal(transfer(b, SAVE, 0, ends.writes), REFUSED);
    bench_expect_log(b, "SET_DEVICE_STATE_FD refused: rings run, and a state is of a disk at rest");
    assert_int_equal(transfer(b, LOAD, 0, ends.reads), REFUSED);
    close(ends.reads);
    close(ends.writes);
    assert_int_equal(bench_ack_state(b, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
    (void)saved(b); /* some front-ends stop in no other way */
    assert_int_equal(check(b), 0);
    (void)bench_get_base(b);
    record = saved(b);
    begin_load(b, &record, sizeof(record));
    bench_start_ring(b);
    assert_int_equal(check(b), 1);
    bench_expect_log(b, "CHECK_DEVICE_STATE refused: rings run already");
}

static void refuse(struct vu_bench *b, const void *bytes, size_t len, const char *why)
{
    uint8_t now[sizeof(struct vu_record) + 1];
    struct err err = {0};
    char note[64];

    begin_load(b, bytes, len);
    assert_int_equal(check(b), 1);
    memcpy(now, bytes, min_of(len, sizeof(now))); /* the log has the first few */
    assert_true(vu_record_check(now, min_of(len, sizeof(now)), &b->dev, note, sizeof(note), &err) <
                0);
    if (!strstr(err.text, why)) {
        fail_msg("%s", err.text);
    }
    assert_true(device_has_writeback(&b->dev));
}

static void what_is_no_state_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record, other;
    uint8_t much[4096] = {0};

    bench_negotiate(b);
    record = saved(b);
    record.cache = VU_RECORD_WRITETHROUGH;
    refuse(b, &record, 0, "the 0 bytes that came are no state of a disk of vblkd");
    bench_expect_log(b, "CHECK_DEVICE_STATE refused: the 0 bytes that came are no state of a disk");
    refuse(b, &record, 15, "the 15 bytes that came are no state");
    refuse(b, much, sizeof(record), "the 96 bytes that came are no state");
    refuse(b, &record, sizeof(record) - 1, "the state has 95 bytes of 96, and should have 96");
    memcpy(much, &record, sizeof(record));
    refuse(b, much, sizeof(much), "the state has 97 bytes of 96");
    other = record;
    other.bytes++;
    refuse(b, &other, sizeof(other), "the state has 96 bytes of 97");
    other = record;
    other.version = 2;
    refuse(b, &other, sizeof(other), "the state has version 2, this vblkd knows 1");
    other = record;
    other.cache = 3;
    refuse(b, &other, sizeof(other), "the state is damaged: cache 3");
}

static struct vu_record with_config(const struct vu_record *record,
                                    const struct virtio_blk_config *config)
{
    struct vu_record other = *record;

    memcpy(other.config, config, sizeof(other.config));
    return other;
}

#define changed(record, field, value)                                 \
    ({                                                                \
        struct virtio_blk_config config_ = {0};                       \
        memcpy(&config_, (record)->config, sizeof((record)->config)); \
        config_.field = (value);                                      \
        with_config(record, &config_);                                \
    })

static void guest_of_a_disk_that_this_one_is_not_is_refused_by_name(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record, other;

    bench_negotiate(b);
    record = saved(b);
    other = changed(&record, capacity, 2049);
    refuse(b, &other, sizeof(other), "the guest goes by capacity 2049, and this disk has 2048");
    other = changed(&record, blk_size, 256);
    refuse(b, &other, sizeof(other), "the guest goes by blk_size 256, and this disk has 512");
    other = changed(&record, num_queues, 3);
    refuse(b, &other, sizeof(other), "the guest goes by num_queues 3, and this disk has 2");
    other = record;
    other.accepted |= BIT(VIRTIO_BLK_F_RO);
    refuse(b, &other, sizeof(other),
           "the guest has accepted the features 0x20 (ro), which this disk");
}

static void what_does_no_harm_until_the_guest_starts_anew_is_told(void **state)
{
    struct vu_bench *b = *state;
    struct vu_record record, other;

    bench_negotiate(b);
    record = saved(b);
    other = changed(&record, seg_max, 7);
    other = changed(&other, capacity, 2047);
    other.features = 0;
    assert_int_equal(load(b, &other), 0);
    bench_expect_log(b, "otherwise when it starts anew: capacity 2048 instead of 2047, "
                        "seg_max 126 instead of 7, features ");
}

static void pipe_that_is_never_closed_is_given_up(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();

    bench_negotiate(b);
    assert_int_equal(transfer(b, LOAD, 0, ends.reads), OK);
    assert_int_equal(write(ends.writes, "vblk", 4), 4);
    assert_int_equal(check(b), 1);
    bench_expect_log(b, "CHECK_DEVICE_STATE refused: the end of the state: Connection timed out");
    close(ends.reads);
    close(ends.writes);
}

static void pipe_that_nobody_empties_is_given_up(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();
    uint8_t much[4096] = {0};

    assert_int_equal(fcntl(ends.writes, F_SETFL, O_NONBLOCK), 0);
    while (write(ends.writes, much, sizeof(much)) > 0) {
    }
    bench_negotiate(b);
    assert_int_equal(transfer(b, SAVE, 0, ends.writes), OK);
    assert_int_equal(check(b), 1);
    bench_expect_log(b, "the state was not taken: Connection timed out");
    close(ends.reads);
    close(ends.writes);
}

static void pipe_without_a_reader_is_told(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();

    close(ends.reads);
    bench_negotiate(b);
    assert_int_equal(transfer(b, SAVE, 0, ends.writes), OK);
    close(ends.writes);
    assert_int_equal(check(b), 1);
    bench_expect_log(b, "the pipe of the state: Broken pipe");
}

/* Of two the second counts, whatever the first has come to. */
static void next_transfer_takes_the_place_of_the_last(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();

    bench_negotiate(b);
    assert_int_equal(transfer(b, LOAD, 0, ends.reads), OK);
    assert_int_equal(saved(b).version, VU_RECORD_VERSION);
    assert_int_equal(check(b), 0);
    close(ends.reads);
    close(ends.writes);
}

static void what_cannot_carry_a_state_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();

    bench_negotiate(b);
    assert_int_equal(check(b), 1);
    bench_expect_log(b, "CHECK_DEVICE_STATE refused: no state was asked for, or sent");
    assert_int_equal(transfer(b, SAVE, 0, b->mem_fd), REFUSED);
    bench_expect_log(b, "what came is shared memory; a state goes through a pipe");
    assert_int_equal(transfer(b, SAVE, 0, ends.reads), REFUSED);
    bench_expect_log(b, "the end of a pipe that came cannot be written");
    assert_int_equal(transfer(b, LOAD, 0, ends.writes), REFUSED);
    bench_expect_log(b, "the end of a pipe that came cannot be read");
    assert_int_equal(transfer(b, 2, 0, ends.writes), REFUSED);
    bench_expect_log(b, "direction 2, phase 0: neither is known");
    assert_int_equal(transfer(b, SAVE, 1, ends.writes), REFUSED);
    assert_int_equal(check(b), 1); /* none of them was begun */
    close(ends.reads);
    close(ends.writes);
}

static void state_needs_its_protocol_feature(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_transfer wanted = {.direction = SAVE};
    const uint64_t none = 0;

    bench_send(b, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &none, 8, NULL, 0);
    bench_send(b, VHOST_USER_SET_DEVICE_STATE_FD, 0, &wanted, sizeof(wanted), &b->kick, 1);
    bench_expect_closed(b);
    bench_expect_log(b, "message 42 (SET_DEVICE_STATE_FD): DEVICE_STATE was not negotiated");
    close(b->peer);
    b->peer = bench_connect(b);
    send_check(b);
    bench_expect_closed(b);
    bench_expect_log(b, "message 43 (CHECK_DEVICE_STATE): DEVICE_STATE was not negotiated");
}

/* The teardown proves that it leaves nothing behind. */
static void front_end_may_leave_meanwhile(void **state)
{
    struct vu_bench *b = *state;
    struct pipe_ends ends = make_pipe();

    bench_negotiate(b);
    assert_int_equal(transfer(b, LOAD, 0, ends.reads), OK);
    send_check(b);
    bench_pump(b, 5);
    close(b->peer);
    b->peer = bench_connect(b);
    bench_negotiate(b);
    assert_int_equal(check(b), 1);
    assert_int_equal(transfer(b, LOAD, 0, ends.reads), OK);
    close(ends.reads);
    close(ends.writes);
}

#define hasty_test(test) cmocka_unit_test_setup_teardown(test, bench_start_hasty, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(state_says_what_the_driver_was_shown_and_has_said),
        bench_test(writeback_that_came_along_is_beyond_doubt),
        bench_test(doubt_comes_along_as_such),
        bench_test(writethrough_that_came_along_is_kept_before_it_is_confirmed),
        bench_test(disk_whose_rings_run_has_no_state),
        bench_test(what_is_no_state_is_refused),
        bench_test(guest_of_a_disk_that_this_one_is_not_is_refused_by_name),
        bench_test(what_does_no_harm_until_the_guest_starts_anew_is_told),
        hasty_test(pipe_that_is_never_closed_is_given_up),
        hasty_test(pipe_that_nobody_empties_is_given_up),
        bench_test(pipe_without_a_reader_is_told),
        bench_test(next_transfer_takes_the_place_of_the_last),
        bench_test(what_cannot_carry_a_state_is_refused),
        bench_test(state_needs_its_protocol_feature),
        bench_test(front_end_may_leave_meanwhile),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return unit_run(tests);
}
