/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The virtio-mmio register file, both versions, with a VMM that only writes down. */
#include "transports/vmm/virtio_mmio.h"

#include "tests/unit/unit.h"
#include "tests/unit/virtio_host.h"

static struct virtio_mmio mmio;
static struct virtio_host host;

static void begin(bool is_version_1)
{
    virtio_host_mmio(&host, &mmio, is_version_1);
}

static uint32_t get(uint32_t offset)
{
    return virtio_mmio_read(&mmio, offset, 4);
}

static void set(uint32_t offset, uint32_t value)
{
    virtio_mmio_write(&mmio, offset, value, 4);
}

static void accept(uint64_t features)
{
    set(0x070, 3);
    set(0x024, 0);
    set(0x020, (uint32_t)features);
    set(0x024, 1);
    set(0x020, (uint32_t)(features >> 32));
    set(0x070, 11);
}

static void set_queue(unsigned index)
{
    set(0x030, index);
    set(0x038, 16);
    set(0x080, 0x1000);
    set(0x084, 0x1);
    set(0x090, 0x2000);
    set(0x094, 0x2);
    set(0x0a0, 0x3000);
    set(0x0a4, 0x3);
    set(0x044, 1);
}

static void drive(void)
{
    begin(false);
    accept(HOST_FEATURES);
    set_queue(0);
    set(0x070, 15);
}

static void it_tells_what_it_is(void **state)
{
    begin(false);
    assert_int_equal(get(0x000), 0x74726976);
    assert_int_equal(get(0x004), 2);
    assert_int_equal(get(0x008), 2);
    assert_int_equal(get(0x034), HOST_QUEUE_SIZE);
    begin(true);
    assert_int_equal(get(0x004), 1);
}

static void registers_take_four_bytes_only(void **state)
{
    begin(false);
    assert_int_equal(virtio_mmio_read(&mmio, 0x000, 2), 0);
    assert_int_equal(virtio_mmio_read(&mmio, 0x002, 4), 0);
    virtio_mmio_write(&mmio, 0x070, 1, 1);
    virtio_mmio_write(&mmio, 0x070, 1, 2);
    assert_int_equal(get(0x070), 0);
    set(0x070, 1);
    assert_int_equal(get(0x070), 1);
}

static void config_takes_any_size(void **state)
{
    begin(false);
    assert_int_equal(virtio_mmio_read(&mmio, 0x100, 1), 0x40);
    assert_int_equal(virtio_mmio_read(&mmio, 0x101, 2), 0x4241);
    assert_int_equal(get(0x104), 0x47464544);
    assert_int_equal(get(0xffc), 0);
    virtio_mmio_write(&mmio, 0x120, 0x7, 1);
    assert_int_equal(host.config[0x20], 7);
    assert_int_equal(host.config[0x21], 0x61);
}

static void features_come_in_halves(void **state)
{
    begin(false);
    set(0x014, 0);
    assert_int_equal(get(0x010), (uint32_t)HOST_FEATURES);
    set(0x014, 1);
    assert_int_equal(get(0x010), (HOST_FEATURES | VIRTIO_FEATURE_RING_RESET) >> 32);
    set(0x014, 2);
    assert_int_equal(get(0x010), 0);
    accept(VIRTIO_FEATURE_VERSION_1 | 0x40);
    assert_int_equal(get(0x070), 11);
    assert_int_equal(host.features, VIRTIO_FEATURE_VERSION_1 | 0x40);
}

static void features_that_were_not_offered_are_refused(void **state)
{
    begin(false);
    accept(VIRTIO_FEATURE_VERSION_1 | 1);
    assert_int_equal(get(0x070), 3);
    begin(false);
    accept(0x40); /* without VERSION_1 */
    assert_int_equal(get(0x070), 3);
    set(0x070, 15); /* and it cannot be driven like that */
    assert_int_equal(get(0x070), 3);
    expect_log(&host, "");
}

static void features_are_fixed_once_agreed(void **state)
{
    begin(false);
    accept(HOST_FEATURES);
    set(0x024, 0);
    set(0x020, 0);
    assert_int_equal(mmio.regs.driver_features, HOST_FEATURES);
}

static void queues_wait_for_features_ok(void **state)
{
    begin(false);
    set(0x070, 3);
    set_queue(0);
    assert_int_equal(get(0x044), 0);
    assert_int_equal(mmio.regs.queue[0].desc, 0);
    assert_int_equal(mmio.regs.queue[0].size, HOST_QUEUE_SIZE);
}

static void a_queue_starts_in_the_order_that_loses_nothing(void **state)
{
    drive();
    expect_log(&host, "C2C0K0S0k0");
    assert_int_equal(host.started[0].size, 16);
    assert_int_equal(host.started[0].desc, 0x100001000);
    assert_int_equal(host.started[0].avail, 0x200002000);
    assert_int_equal(host.started[0].used, 0x300003000);
    assert_int_equal(host.door[0].addr, HOST_MMIO + 0x50);
    assert_int_equal(host.door[0].len, 4);
    assert_true(host.door[0].has_match);
    assert_int_equal(host.door[0].match, 0);
    assert_true(host.is_line[0]);
}

static void a_reset_stops_in_the_reverse_order(void **state)
{
    drive();
    expect_log(&host, "C2C0K0S0k0");
    set(0x070, 0);
    expect_log(&host, "X0P0U0U2");
    assert_int_equal(get(0x070), 0);
    assert_int_equal(get(0x044), 0);
    assert_int_equal(mmio.regs.driver_features, 0);
    set(0x050, 0); /* a kick of before is nobody's */
    expect_log(&host, "");
}

static void a_queue_may_start_and_stop_later(void **state)
{
    drive();
    host.log[0] = '\0';
    set_queue(1);
    expect_log(&host, "C1K1S1k1");
    assert_int_equal(host.door[1].match, 1);
    set(0x044, 0);
    expect_log(&host, "X1P1U1");
    assert_int_equal(get(0x044), 0);
}

static void queue_reset_wants_its_feature(void **state)
{
    drive();
    host.log[0] = '\0';
    set(0x0c0, 1);
    expect_log(&host, "");
    begin(false);
    accept(HOST_FEATURES | VIRTIO_FEATURE_RING_RESET);
    assert_int_equal(host.features, HOST_FEATURES); /* ours alone */
    set_queue(0);
    set(0x070, 15);
    host.log[0] = '\0';
    set(0x0c0, 1);
    expect_log(&host, "X0P0U0");
    assert_int_equal(get(0x0c0), 0);
    assert_int_equal(mmio.regs.queue[0].size, HOST_QUEUE_SIZE);
}

static void a_queue_that_is_ready_does_not_change(void **state)
{
    drive();
    set(0x038, 32);
    set(0x080, 0x9000);
    assert_int_equal(mmio.regs.queue[0].size, 16);
    assert_int_equal(mmio.regs.queue[0].desc, 0x100001000);
}

static void wrong_sizes_are_ignored(void **state)
{
    begin(false);
    accept(HOST_FEATURES);
    set(0x038, 0);
    set(0x038, 3);
    set(0x038, HOST_QUEUE_SIZE * 2);
    set(0x038, 0x10000);
    assert_int_equal(mmio.regs.queue[0].size, HOST_QUEUE_SIZE);
}

static void wrong_queue_numbers_are_nothing(void **state)
{
    drive();
    host.log[0] = '\0';
    set(0x030, HOST_QUEUES);
    assert_int_equal(get(0x034), 0);
    assert_int_equal(get(0x044), 0);
    set_queue(HOST_QUEUES);
    set_queue(0x10000); /* is not queue 0 */
    set(0x050, HOST_QUEUES);
    set(0x050, UINT32_MAX);
    set(0x050, 1); /* not started */
    expect_log(&host, "");
}

static void a_kick_without_a_wire_is_passed_on_and_counted(void **state)
{
    drive();
    host.log[0] = '\0';
    set(0x050, 0);
    expect_log(&host, "k0");
    assert_int_equal(mmio.regs.notify_writes, 1);
}

static void interrupts_are_of_used_buffers_unless_only_the_config_changed(void **state)
{
    begin(false);
    assert_int_equal(get(0x060), 0);
    drive();
    assert_int_equal(get(0x060), 1);
    virtio_regs_config_changed(&mmio.regs);
    assert_int_equal(get(0x060), 2);
    host.was_used = true;
    assert_int_equal(get(0x060), 3);
    set(0x064, 3);
    assert_false(host.was_used);
    assert_int_equal(get(0x060), 1);
}

static void a_config_change_counts_and_signals(void **state)
{
    uint32_t before;

    drive();
    host.log[0] = '\0';
    before = get(0x0fc);
    virtio_regs_config_changed(&mmio.regs);
    assert_int_not_equal(get(0x0fc), before);
    expect_log(&host, "s2");
}

static void there_is_no_shared_memory(void **state)
{
    begin(false);
    assert_int_equal(get(0x0b0), UINT32_MAX);
    assert_int_equal(get(0x0b4), UINT32_MAX);
}

static void legacy_queues_lie_in_one_piece(void **state)
{
    begin(true);
    set(0x070, 3);
    set(0x020, 0x40);
    set(0x028, 4096);
    set(0x030, 1);
    set(0x038, 8);
    set(0x03c, 4096);
    set(0x040, 0x123);
    assert_int_equal(get(0x040), 0x123);
    set(0x070, 7);
    expect_log(&host, "C2C1K1S1k1");
    assert_int_equal(host.features, 0x40);
    assert_int_equal(host.started[1].desc, 0x123000);
    assert_int_equal(host.started[1].avail, 0x123000 + 8 * 16);
    assert_int_equal(host.started[1].used, 0x124000);
    set(0x040, 0);
    expect_log(&host, "X1P1U1");
    set(0x070, 0);
    assert_int_equal(get(0x004), 1);
}

/* Linux writes it first, and then resets. */
static void the_page_size_outlives_a_reset(void **state)
{
    begin(true);
    set(0x028, 8192);
    set(0x070, 0);
    set(0x070, 3);
    set(0x040, 0x10);
    set(0x070, 7);
    assert_int_equal(host.started[0].desc, 0x20000);
    set(0x028, 3000); /* no power of two */
    assert_int_equal(get(0x040), 0x10);
}

static void legacy_knows_nothing_newer(void **state)
{
    begin(true);
    set(0x014, 1);
    assert_int_equal(get(0x010), 0);
    set(0x080, 0x1000);
    set(0x044, 1);
    assert_int_equal(get(0x044), 0);
    assert_int_equal(mmio.regs.queue[0].desc, 0);
    set(0x070, 11);
    assert_int_equal(get(0x070), 3); /* there is no FEATURES_OK */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_tells_what_it_is),
        cmocka_unit_test(registers_take_four_bytes_only),
        cmocka_unit_test(config_takes_any_size),
        cmocka_unit_test(features_come_in_halves),
        cmocka_unit_test(features_that_were_not_offered_are_refused),
        cmocka_unit_test(features_are_fixed_once_agreed),
        cmocka_unit_test(queues_wait_for_features_ok),
        cmocka_unit_test(a_queue_starts_in_the_order_that_loses_nothing),
        cmocka_unit_test(a_reset_stops_in_the_reverse_order),
        cmocka_unit_test(a_queue_may_start_and_stop_later),
        cmocka_unit_test(queue_reset_wants_its_feature),
        cmocka_unit_test(a_queue_that_is_ready_does_not_change),
        cmocka_unit_test(wrong_sizes_are_ignored),
        cmocka_unit_test(wrong_queue_numbers_are_nothing),
        cmocka_unit_test(a_kick_without_a_wire_is_passed_on_and_counted),
        cmocka_unit_test(interrupts_are_of_used_buffers_unless_only_the_config_changed),
        cmocka_unit_test(a_config_change_counts_and_signals),
        cmocka_unit_test(there_is_no_shared_memory),
        cmocka_unit_test(legacy_queues_lie_in_one_piece),
        cmocka_unit_test(the_page_size_outlives_a_reset),
        cmocka_unit_test(legacy_knows_nothing_newer),
    };

    return unit_run(tests);
}
