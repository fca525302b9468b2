/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"

#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>

#define WRITEBACK_AT offsetof(struct virtio_blk_config, wce)

static void send_switch(struct vu_bench *b, uint8_t value)
{
    const struct vhost_user_config config = {.offset = WRITEBACK_AT, .size = 1, .data = {value}};

    bench_send(b, VHOST_USER_SET_CONFIG, VHOST_USER_NEED_REPLY, &config,
               VHOST_USER_CONFIG_HEADER_BYTES + 1, NULL, 0);
}

static uint64_t answer_of_switch(struct vu_bench *b)
{
    struct vu_answer answer;

    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_SET_CONFIG);
    assert_int_equal(answer.header.size, 8);
    return answer.payload.u64;
}

static bool was_told(struct vu_bench *b)
{
    return b->keeps > 0;
}

/* The daemon is told, and has not answered. */
static void begin_switch(struct vu_bench *b, uint8_t value)
{
    b->keeps = 0;
    send_switch(b, value);
    bench_wait(b, was_told);
}

static void kept(struct vu_bench *b, int code)
{
    struct err err = {0};

    if (code < 0) {
        (void)err_say(&err, code, "the state directory is full");
    }
    vhost_user_kept(b->vu, &err);
}

static uint64_t switch_to(struct vu_bench *b, uint8_t value)
{
    begin_switch(b, value);
    kept(b, 0);
    return answer_of_switch(b);
}

static bool serves_writeback(struct vu_bench *b)
{
    return blk_is_writeback(&b->dev.view.blk);
}

/* All of the config space, as the device shows it. */
static struct vhost_user_config read_config(struct vu_bench *b)
{
    const struct vhost_user_config ask = {.size = sizeof(struct virtio_blk_config)};
    struct vu_answer answer;

    bench_send(b, VHOST_USER_GET_CONFIG, 0, &ask, VHOST_USER_CONFIG_HEADER_BYTES + ask.size, NULL,
               0);
    assert_true(bench_receive(b, &answer));
    assert_int_equal(answer.header.request, VHOST_USER_GET_CONFIG);
    return answer.payload.config;
}

static uint8_t shown(struct vu_bench *b)
{
    return read_config(b).data[WRITEBACK_AT];
}

static uint64_t write_config(struct vu_bench *b, const struct vhost_user_config *config)
{
    return bench_ack(b, VHOST_USER_SET_CONFIG, config,
                     VHOST_USER_CONFIG_HEADER_BYTES + config->size, NULL, 0);
}

static bool has_answer(struct vu_bench *b)
{
    uint8_t byte;

    bench_pump(b, 5);
    return recv(b->peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void writethrough_is_answered_when_it_is_kept(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_true(serves_writeback(b));
    begin_switch(b, 0);
    assert_false(serves_writeback(b));
    assert_false(has_answer(b));
    bench_offer(b); /* what the guest's other processors ask for goes on */
    bench_wait_used(b, 1);
    kept(b, 0);
    assert_int_equal(answer_of_switch(b), 0);
    assert_int_equal(shown(b), 0);
}

/* One that is told of an error thinks that it has writeback, and flushes: that does no harm. */
static void writethrough_that_is_not_kept_is_refused_and_served(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    begin_switch(b, 0);
    kept(b, -ENOSPC);
    assert_int_equal(answer_of_switch(b), 1);
    bench_expect_log(b, "SET_CONFIG refused: the state directory is full");
    assert_false(serves_writeback(b));
    assert_int_equal(switch_to(b, 0), 0); /* it may ask again */
}

/* Killed before it is kept, the daemon serves writethrough to a driver that flushes. */
static void writeback_is_kept_behind_its_answer(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_int_equal(switch_to(b, 0), 0);
    b->keeps = 0;
    send_switch(b, 1);
    assert_int_equal(answer_of_switch(b), 0);
    bench_wait(b, was_told);
    assert_true(serves_writeback(b));
    assert_int_equal(shown(b), 1);
    kept(b, -ENOSPC);
    assert_false(has_answer(b)); /* there is none left to give */
}

static void writethrough_outlasts_resets_and_connections(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    assert_int_equal(switch_to(b, 0), 0);
    assert_int_equal(bench_ack(b, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(shown(b), 0);
    close(b->peer);
    b->peer = bench_connect(b);
    bench_set_up(b);
    assert_int_equal(shown(b), 0);
    assert_false(serves_writeback(b));
}

static void writethrough_waits_for_what_is_in_flight(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_begin(b);
    b->keeps = 0;
    send_switch(b, 0);
    bench_pump(b, 20);
    assert_int_equal(b->keeps, 0);
    bench_let_go(b);
    bench_wait(b, was_told);
    assert_int_equal(bench_used_idx(b), 1);
    kept(b, 0);
    assert_int_equal(answer_of_switch(b), 0);
}

static void driver_without_the_feature_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_config config;
    uint64_t bits;

    bench_negotiate(b);
    bits = b->dev.view.blk.features & ~BIT(VIRTIO_BLK_F_CONFIG_WCE);
    assert_int_equal(
        bench_ack_u64(b, VHOST_USER_SET_FEATURES, bits | VHOST_USER_F_PROTOCOL_FEATURES, -1), 0);
    config = read_config(b);
    config.data[WRITEBACK_AT] = 0;
    assert_int_equal(write_config(b, &config), 1);
    bench_expect_log(b, "the driver has not accepted CONFIG_WCE");
    assert_true(serves_writeback(b));
    assert_int_equal(b->keeps, 0);
}

static void writeback_that_is_no_boolean_is_refused(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    send_switch(b, 2);
    assert_int_equal(answer_of_switch(b), 1);
    bench_expect_log(b, "writeback is 0 or 1, and not 2");
    assert_true(serves_writeback(b));
}

/* As live migration would write what no driver may, of which there is nothing here. */
static void write_that_is_not_the_drivers_is_refused(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_config config = {.offset = WRITEBACK_AT, .size = 1, .flags = 1};

    bench_negotiate(b);
    assert_int_equal(write_config(b, &config), 1);
    bench_expect_log(b, "flags 0x1 are not those of a driver's write");
    assert_true(serves_writeback(b));
}

static bool has_ended(struct vu_bench *b)
{
    uint8_t byte;

    return recv(b->peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* The driver goes on with writeback, and flushes, until whoever keeps it is there again. */
static void writethrough_that_takes_too_long_is_refused_and_served(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    begin_switch(b, 0);
    bench_wait(b, has_ended);
    assert_int_equal(answer_of_switch(b), 1);
    bench_expect_log(b, "that was not on stable storage after 20 ms; it goes on");
    assert_false(serves_writeback(b));
    assert_int_equal(shown(b), 0);
    kept(b, 0);
    assert_false(has_answer(b)); /* it has had one */
}

static void all_of_the_config_space_may_come_with_it(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_config config;

    bench_negotiate(b);
    config = read_config(b);
    config.data[WRITEBACK_AT] = 0;
    bench_send(b, VHOST_USER_SET_CONFIG, VHOST_USER_NEED_REPLY, &config,
               VHOST_USER_CONFIG_HEADER_BYTES + config.size, NULL, 0);
    bench_wait(b, was_told);
    kept(b, 0);
    assert_int_equal(answer_of_switch(b), 0);
    assert_false(serves_writeback(b));
}

static void other_fields_that_change_with_it_are_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_config config;

    bench_negotiate(b);
    config = read_config(b);
    config.data[WRITEBACK_AT] = 0;
    config.data[0] ^= 1;
    assert_int_equal(write_config(b, &config), 1);
    bench_expect_log(b, "no field of the config space can be written but writeback");
    assert_true(serves_writeback(b));
    config = (struct vhost_user_config){.offset = WRITEBACK_AT, .size = 2, .data = {0, 0xee}};
    assert_int_equal(write_config(b, &config), 1);
    assert_true(serves_writeback(b));
}

static void message_that_is_longer_than_it_says_closes(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_config config = {.offset = WRITEBACK_AT, .size = 1};

    bench_negotiate(b);
    bench_send(b, VHOST_USER_SET_CONFIG, 0, &config, VHOST_USER_CONFIG_HEADER_BYTES + 2, NULL, 0);
    bench_expect_closed(b);
    assert_int_equal(b->dev.view.blk.config.wce, 1);
}

static bool is_left(struct vu_bench *b)
{
    return b->dev.view.pause_mask & PAUSE_GONE;
}

/* The answer belongs to nobody by then, the next front-end least of all. */
static void front_end_may_leave_before_it_is_kept(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    begin_switch(b, 0);
    close(b->peer);
    kept(b, 0);
    bench_wait(b, is_left);
    b->peer = bench_connect(b);
    bench_negotiate(b);
    kept(b, 0);
    assert_false(has_answer(b));
    assert_int_equal(shown(b), 0);
}

/* The teardown proves that it leaves nothing behind. */
static void disk_may_go_before_it_is_kept(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    begin_switch(b, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(writethrough_is_answered_when_it_is_kept),
        bench_test(writethrough_that_is_not_kept_is_refused_and_served),
        bench_test(writeback_is_kept_behind_its_answer),
        bench_test(writethrough_outlasts_resets_and_connections),
        bench_test_slow(writethrough_waits_for_what_is_in_flight),
        bench_test(driver_without_the_feature_is_refused),
        bench_test(writeback_that_is_no_boolean_is_refused),
        bench_test(write_that_is_not_the_drivers_is_refused),
        cmocka_unit_test_setup_teardown(writethrough_that_takes_too_long_is_refused_and_served,
                                        bench_start_hasty, bench_stop),
        bench_test(all_of_the_config_space_may_come_with_it),
        bench_test(other_fields_that_change_with_it_are_refused),
        bench_test(message_that_is_longer_than_it_says_closes),
        bench_test(front_end_may_leave_before_it_is_kept),
        bench_test(disk_may_go_before_it_is_kept),
    };

    return unit_run(tests);
}
