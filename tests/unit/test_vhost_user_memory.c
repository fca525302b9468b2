/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HALF (BENCH_MEM_BYTES / 2)

static struct vhost_user_region region_of(uint64_t offset, uint64_t size)
{
    return (struct vhost_user_region){.guest_addr = BENCH_GUEST + offset,
                                      .size = size,
                                      .user_addr = BENCH_USER + offset,
                                      .mmap_offset = offset};
}

static uint64_t change(struct vu_bench *b, uint32_t request, uint64_t offset, uint64_t size)
{
    const struct vhost_user_single_region single = {.region = region_of(offset, size)};

    return bench_ack(b, request, &single, sizeof(single), &b->mem_fd,
                     request == VHOST_USER_ADD_MEM_REG ? 1 : 0);
}

static uint64_t add(struct vu_bench *b, uint64_t offset, uint64_t size)
{
    return change(b, VHOST_USER_ADD_MEM_REG, offset, size);
}

static uint64_t rem(struct vu_bench *b, uint64_t offset, uint64_t size)
{
    return change(b, VHOST_USER_REM_MEM_REG, offset, size);
}

static void again(struct vu_bench *b)
{
    close(b->peer);
    b->peer = bench_connect(b);
    bench_negotiate(b);
}

static uint64_t set_table(struct vu_bench *b, const struct vhost_user_table *table, unsigned fds)
{
    int fd[VHOST_USER_MAX_FDS];

    for (unsigned i = 0; i < fds; i++) {
        fd[i] = b->mem_fd;
    }
    return bench_ack(b, VHOST_USER_SET_MEM_TABLE, table, 8 + 32 * min_of(table->count, 8u), fd,
                     fds);
}

static struct vhost_user_table table_of(unsigned count)
{
    struct vhost_user_table table = {.count = count};

    for (unsigned i = 0; i < count && i < VHOST_USER_TABLE_REGIONS; i++) {
        table.region[i] = region_of(i * 0x2000, 0x2000);
    }
    return table;
}

static void table_of_eight_regions_is_mapped(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table = table_of(8);

    bench_negotiate(b);
    assert_int_equal(set_table(b, &table, 8), 0);
    assert_int_equal(b->dev.view.mem.count, 8);
    b->mem[0x4321] = 0x5a;
    assert_int_equal(*(uint8_t *)mem_at(&b->dev.view.mem, 0x4321, 1), 0x5a);
    table = table_of(2);
    assert_int_equal(set_table(b, &table, 2), 0); /* replaces the other */
    assert_int_equal(b->dev.view.mem.count, 2);
}

static void table_that_contradicts_itself_is_refused(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table;

    for (unsigned i = 0; i < 5; i++) {
        again(b);
        table = table_of(i == 0 ? 0 : i == 1 ? 9 : 3);
        if (i == 2) {
            assert_int_equal(set_table(b, &table, 2), 1); /* one fd too few */
        } else if (i == 3) {
            assert_int_equal(set_table(b, &table, 4), 1); /* and one too many */
        } else if (i == 4) {
            int fds[3] = {b->mem_fd, b->mem_fd, b->mem_fd};

            assert_int_equal(bench_ack(b, VHOST_USER_SET_MEM_TABLE, &table, 8 + 32 * 2, fds, 3), 1);
        } else {
            assert_int_equal(set_table(b, &table, 0), 1);
        }
        bench_expect_closed(b);
    }
    bench_expect_log(b, "message 5 (SET_MEM_TABLE): 9 regions instead of 1 to 8");
}

/* virtio_uml sends the whole of its structure; what it does not count is not looked at. */
static void table_may_have_room_for_more_regions(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table = table_of(2);

    memset(&table.region[2], 0xff, 6 * sizeof(table.region[0]));
    bench_negotiate(b);
    for (uint32_t room = 2; room <= VHOST_USER_TABLE_REGIONS; room++) {
        int fds[2] = {b->mem_fd, b->mem_fd};

        assert_int_equal(bench_ack(b, VHOST_USER_SET_MEM_TABLE, &table, 8 + 32 * room, fds, 2), 0);
        assert_int_equal(b->dev.view.mem.count, 2);
    }
    for (uint32_t bytes = 8 + 32 * 2 + 1; bytes < 8 + 32 * 3; bytes += 10) {
        int fds[2] = {b->mem_fd, b->mem_fd};

        again(b);
        assert_int_equal(bench_ack(b, VHOST_USER_SET_MEM_TABLE, &table, bytes, fds, 2), 1);
        bench_expect_closed(b);
    }
    bench_expect_log(b, "2 regions in a payload of 73 bytes");
}

static void table_with_a_bad_region_closes(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table = table_of(2);

    again(b);
    table.region[1] = table.region[0]; /* overlaps */
    assert_int_equal(set_table(b, &table, 2), 1);
    bench_expect_closed(b);
    again(b);
    table.region[1] = region_of(0x2000, BENCH_MEM_BYTES); /* the file is shorter */
    assert_int_equal(set_table(b, &table, 2), 1);
    bench_expect_closed(b);
    again(b);
    table.region[1] = region_of(0x2000, UINT64_MAX);
    assert_int_equal(set_table(b, &table, 2), 1);
    bench_expect_closed(b);
    again(b);
    table = table_of(1);
    assert_int_equal(bench_ack(b, VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, &b->kick, 1), 1);
    bench_expect_closed(b);
    bench_expect_log(b,
                     "memory region at 0x0: what came is an eventfd; guest memory must be a memfd");
}

static void slots_are_as_many_as_the_table_has(void **state)
{
    struct vu_bench *b = *state;

    assert_int_equal(bench_get_u64(b, VHOST_USER_GET_MAX_MEM_SLOTS), 509);
}

static void regions_are_added_and_removed_one_by_one(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, HALF), 0);
    assert_int_equal(add(b, HALF, HALF), 0);
    assert_int_equal(b->dev.view.mem.count, 2);
    assert_int_equal(rem(b, 0, HALF), 0);
    assert_int_equal(b->dev.view.mem.count, 1);
    assert_null(mem_at(&b->dev.view.mem, 0, 1));
    assert_non_null(mem_at(&b->dev.view.mem, HALF, HALF));
}

static void region_without_padding_is_understood(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_region region = region_of(0x1000, 0x2000);

    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_ADD_MEM_REG, &region, sizeof(region), &b->mem_fd, 1),
                     0);
    assert_non_null(mem_at(&b->dev.view.mem, 0x1000, 0x2000));
    assert_int_equal(bench_ack(b, VHOST_USER_REM_MEM_REG, &region, sizeof(region), NULL, 0), 0);
    assert_int_equal(b->dev.view.mem.count, 0);
    bench_send(b, VHOST_USER_REM_MEM_REG, 0, &region, sizeof(region), NULL, 0);
    bench_expect_closed(b); /* no such region, and nobody to tell */
}

static void region_of_36_bytes_is_none(void **state)
{
    struct vu_bench *b = *state;
    const uint8_t payload[36] = {0};

    bench_negotiate(b);
    assert_int_equal(bench_ack(b, VHOST_USER_ADD_MEM_REG, payload, sizeof(payload), &b->mem_fd, 1),
                     1);
    bench_expect_closed(b);
}

/* libblkio shares buffers of any length. */
static void region_may_end_inside_a_page(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0x1000, 0x1801), 0);
    assert_non_null(mem_at(&b->dev.view.mem, 0x2800, 1));
    assert_null(mem_at(&b->dev.view.mem, 0x2801, 1));
    assert_int_equal(rem(b, 0x1000, 0x1801), 0);
}

/* As some front-ends do; the fd count of the teardown shows that it is closed. */
static void fd_of_a_removal_is_closed(void **state)
{
    struct vu_bench *b = *state;
    const struct vhost_user_single_region single = {.region = region_of(0, HALF)};

    bench_negotiate(b);
    assert_int_equal(add(b, 0, HALF), 0);
    assert_int_equal(bench_ack(b, VHOST_USER_REM_MEM_REG, &single, sizeof(single), &b->mem_fd, 1),
                     0);
    assert_int_equal(b->dev.view.mem.count, 0);
}

static void refused_region_leaves_the_rest_alone(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, HALF), 0);
    assert_int_equal(add(b, HALF - 1, HALF), 1); /* overlaps */
    assert_int_equal(rem(b, 0, HALF - 1), 1);
    assert_int_equal(rem(b, HALF, HALF), 1);
    assert_int_equal(b->dev.view.mem.count, 1);
    bench_expect_log(b, "ADD_MEM_REG refused");
    bench_expect_log(b, "REM_MEM_REG refused");
}

static void table_may_change_while_requests_are_in_flight(void **state)
{
    struct vu_bench *b = *state;

    bench_set_up(b);
    bench_begin(b);
    bench_let_go(b);
    bench_share_memory(b);
    assert_int_equal(bench_used_idx(b), 1); /* it ended first */
    bench_offer(b);
    bench_wait_used(b, 2);
}

static void use_image(struct vu_bench *b, int error)
{
    const struct image_opts opts = {
        .type = "null", .size = 1 << 20, .error = error, .holds_errors = true, .max_inflight = 16};

    device_pause(&b->dev, PAUSE_ADMIN, NULL);
    bench_pump(b, 5);
    image_close(device_detach(&b->dev));
    assert_int_equal(image_open(&b->image, &opts, NULL), 0);
    assert_int_equal(device_attach(&b->dev, b->image, NULL), 0);
    device_resume(&b->dev, PAUSE_ADMIN);
}

static void hold_one(struct vu_bench *b)
{
    bench_set_up(b);
    use_image(b, -EIO);
    bench_offer(b);
    bench_pump(b, 10);
    assert_int_equal(b->dev.queue[0].ring.held_count, 1);
}

static void table_may_change_while_requests_are_held(void **state)
{
    struct vu_bench *b = *state;

    hold_one(b);
    bench_share_memory(b);
    assert_int_equal(bench_used_idx(b), 0);
    use_image(b, 0);
    assert_true(device_retry(&b->dev));
    bench_wait_used(b, 1);
}

/* Its memory is gone when the ring is stopped, and is not written to. */
static void ring_that_holds_requests_may_lose_its_memory(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table = {.count = 1, .region = {region_of(HALF, HALF)}};

    hold_one(b);
    assert_int_equal(set_table(b, &table, 1), 0);
    bench_expect_log(b, "ring 0: its memory is no longer shared");
    assert_int_equal(bench_used_idx(b), 0);
    assert_int_equal(b->dev.queue[0].ring.held_count, 0);
}

static void base_is_behind_held_requests_which_are_answered(void **state)
{
    struct vu_bench *b = *state;

    hold_one(b);
    assert_int_equal(bench_get_base(b), 1);
    assert_int_equal(bench_used_idx(b), 1);
    bench_expect_log(b, "ring 0: stops with 1 request held, the guest gets I/O errors");
}

static void ring_outside_the_new_table_is_broken(void **state)
{
    struct vu_bench *b = *state;
    struct vhost_user_table table = {.count = 1, .region = {region_of(HALF, HALF)}};

    bench_set_up(b);
    assert_int_equal(set_table(b, &table, 1), 0);
    bench_expect_log(b, "ring 0: its memory is no longer shared");
    bench_offer(b);
    bench_pump(b, 10);
    assert_int_equal(bench_used_idx(b), 0);
}

/* Kicks of the time in between are not lost. */
static void border_between_regions_may_move_under_a_running_ring(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, HALF), 0);
    assert_int_equal(add(b, HALF, HALF), 0);
    bench_start_ring(b);
    assert_int_equal(rem(b, 0, HALF), 0);
    assert_int_equal(rem(b, HALF, HALF), 0);
    bench_offer(b);
    bench_pump(b, 2);
    assert_int_equal(bench_used_idx(b), 0);
    assert_int_equal(add(b, 0, HALF + 0x1000), 0);
    assert_int_equal(add(b, HALF + 0x1000, HALF - 0x1000), 0);
    bench_wait_used(b, 1);
    bench_offer(b);
    bench_wait_used(b, 2);
}

static void disk_waits_for_memory_that_its_ring_lies_in(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_start_ring(b);
    assert_int_equal(rem(b, 0, BENCH_MEM_BYTES), 0);
    bench_expect_log(b, "ring 0 lies in memory that was removed");
    bench_offer(b);
    bench_pump(b, 10);
    assert_true(b->dev.view.pause_mask & PAUSE_MESSAGE);
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_wait_used(b, 1);
    assert_false(b->dev.view.pause_mask & PAUSE_MESSAGE);
}

static bool is_running(struct vu_bench *b)
{
    return !(b->dev.view.pause_mask & PAUSE_MESSAGE);
}

static void ring_without_memory_can_be_stopped(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_start_ring(b);
    assert_int_equal(rem(b, 0, BENCH_MEM_BYTES), 0);
    bench_expect_log(b, "ring 0 lies in memory that was removed");
    assert_int_equal(bench_get_base(b), 0);
    bench_wait(b, is_running); /* nothing to wait for any more */
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
}

static void new_table_ends_the_wait_for_memory(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_start_ring(b);
    assert_int_equal(rem(b, 0, BENCH_MEM_BYTES), 0);
    bench_share_memory(b);
    assert_true(is_running(b));
    bench_offer(b);
    bench_wait_used(b, 1);
}

/* ---- memory that is taken away ---- */

static bool is_broken(struct vu_bench *b)
{
    return b->dev.queue[0].ring.is_broken;
}

static void lose_memory(struct vu_bench *b)
{
    const uint64_t one = 1;

    assert_return_code(ftruncate(b->mem_fd, 0), errno);
    assert_int_equal(write(b->kick, &one, sizeof(one)), sizeof(one));
    bench_wait(b, is_broken);
    bench_pump(b, 2);
    assert_string_equal(b->dev.queue[0].ring.fault, MEM_LOST);
    assert_return_code(ftruncate(b->mem_fd, BENCH_MEM_BYTES), errno);
    assert_true(mem_is_lost(&b->dev.view.mem));
}

static void loss_is_forgotten_with_the_memory_and_the_next_is_seen(void **state)
{
    struct vu_bench *b = *state;

    mem_guard_install();
    bench_set_up(b);
    for (unsigned i = 0; i < 3; i++) {
        lose_memory(b);
        (void)bench_get_base(b);
        bench_share_memory(b);
        assert_false(mem_is_lost(&b->dev.view.mem));
        bench_start_ring(b);
        bench_offer(b);
        bench_wait_used(b, bench_used_idx(b) + 1);
    }
}

static void ring_does_not_start_in_lost_memory(void **state)
{
    struct vu_bench *b = *state;

    mem_guard_install();
    bench_set_up(b);
    lose_memory(b);
    (void)bench_get_base(b);
    bench_start_ring(b);
    assert_true(is_broken(b));
    (void)bench_get_base(b);
    assert_int_equal(rem(b, 0, BENCH_MEM_BYTES), 0);
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_start_ring(b);
    bench_offer(b);
    bench_wait_used(b, 1);
}

static bool is_gone(struct vu_bench *b)
{
    return (b->dev.view.pause_mask & PAUSE_GONE) && b->dev.view.mem.count == 0;
}

static void disconnect_ends_the_wait_for_memory(void **state)
{
    struct vu_bench *b = *state;

    bench_negotiate(b);
    assert_int_equal(add(b, 0, BENCH_MEM_BYTES), 0);
    bench_start_ring(b);
    assert_int_equal(rem(b, 0, BENCH_MEM_BYTES), 0);
    close(b->peer);
    b->peer = -1;
    bench_wait(b, is_gone);
    assert_true(is_running(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(table_of_eight_regions_is_mapped),
        bench_test(table_that_contradicts_itself_is_refused),
        bench_test(table_may_have_room_for_more_regions),
        bench_test(table_with_a_bad_region_closes),
        bench_test(slots_are_as_many_as_the_table_has),
        bench_test(regions_are_added_and_removed_one_by_one),
        bench_test(region_without_padding_is_understood),
        bench_test(region_of_36_bytes_is_none),
        bench_test(region_may_end_inside_a_page),
        bench_test(fd_of_a_removal_is_closed),
        bench_test(refused_region_leaves_the_rest_alone),
        bench_test_slow(table_may_change_while_requests_are_in_flight),
        bench_test(table_may_change_while_requests_are_held),
        bench_test(ring_that_holds_requests_may_lose_its_memory),
        bench_test(base_is_behind_held_requests_which_are_answered),
        bench_test(ring_outside_the_new_table_is_broken),
        bench_test(border_between_regions_may_move_under_a_running_ring),
        bench_test(disk_waits_for_memory_that_its_ring_lies_in),
        bench_test(ring_without_memory_can_be_stopped),
        bench_test(new_table_ends_the_wait_for_memory),
        bench_test(disconnect_ends_the_wait_for_memory),
        bench_test(loss_is_forgotten_with_the_memory_and_the_next_is_seen),
        bench_test(ring_does_not_start_in_lost_memory),
    };

    return unit_run(tests);
}
