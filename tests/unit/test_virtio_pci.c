/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The virtio PCI function behind its host bridge: configuration space, modern and legacy
 * registers, MSI-X, with a VMM that only writes down.
 */
#include "transports/vmm/virtio_pci.h"

#include "tests/unit/unit.h"
#include "tests/unit/virtio_host.h"

/* Where the firmware's part puts them: MSI-X first, then the modern structures. */
#define MSIX (HOST_MEMORY)
#define COMMON (HOST_MEMORY + 0x4000)
#define ISR (COMMON + 0x1000)
#define DEVICE (COMMON + 0x2000)
#define NOTIFY (COMMON + 0x3000)

static struct virtio_pci pci;
static struct pci_host bus;
static struct virtio_host host;

static void begin(bool has_modern)
{
    virtio_host_pci(&host, &pci, &bus, has_modern);
}

static void cfg_address(unsigned slot, unsigned offset)
{
    pci_host_config_write(&bus, 0xcf8, 0x80000000u | slot << 11 | (offset & 0xfc), 4);
}

static uint32_t cfg(unsigned offset, unsigned len)
{
    cfg_address(1, offset);
    return pci_host_config_read(&bus, (uint16_t)(0xcfc + (offset & 3)), len);
}

static void cfg_set(unsigned offset, uint32_t value, unsigned len)
{
    cfg_address(1, offset);
    pci_host_config_write(&bus, (uint16_t)(0xcfc + (offset & 3)), value, len);
}

static uint32_t mem(uint64_t addr, unsigned len)
{
    uint32_t value = 0x5a5a5a5a;

    assert_true(pci_host_read(&bus, false, addr, len, &value));
    return value;
}

static void mem_set(uint64_t addr, uint32_t value, unsigned len)
{
    assert_true(pci_host_write(&bus, false, addr, len, value));
}

static uint32_t port(unsigned offset, unsigned len)
{
    uint32_t value = 0x5a5a5a5a;

    assert_true(pci_host_read(&bus, true, HOST_PORTS + offset, len, &value));
    return value;
}

static void port_set(unsigned offset, uint32_t value, unsigned len)
{
    assert_true(pci_host_write(&bus, true, HOST_PORTS + offset, len, value));
}

static unsigned capability(uint8_t id, uint8_t type)
{
    for (unsigned at = cfg(0x34, 1); at != 0; at = cfg(at + 1, 1)) {
        if (cfg(at, 1) == id && (type == 0 || cfg(at + 3, 1) == type)) {
            return at;
        }
    }
    return 0;
}

static void accept(uint64_t features)
{
    mem_set(COMMON + 0x14, 3, 1);
    mem_set(COMMON + 0x08, 0, 4);
    mem_set(COMMON + 0x0c, (uint32_t)features, 4);
    mem_set(COMMON + 0x08, 1, 4);
    mem_set(COMMON + 0x0c, (uint32_t)(features >> 32), 4);
    mem_set(COMMON + 0x14, 11, 1);
}

static void set_queue(unsigned index)
{
    mem_set(COMMON + 0x16, index, 2);
    mem_set(COMMON + 0x18, 16, 2);
    for (unsigned i = 0; i < 6; i++) {
        mem_set(COMMON + 0x20 + 4 * i, (i + 1) << 12, 4);
    }
    mem_set(COMMON + 0x1c, 1, 2);
}

static void drive(void)
{
    begin(true);
    accept(HOST_FEATURES);
    set_queue(0);
    mem_set(COMMON + 0x14, 15, 1);
}

static void msix_on(void)
{
    unsigned at = capability(0x11, 0);

    cfg_set(at + 2, 0x8000, 2);
}

static void set_vector(unsigned vector, uint32_t addr, uint32_t data, uint32_t control)
{
    mem_set(MSIX + 16 * vector, addr, 4);
    mem_set(MSIX + 16 * vector + 4, 0, 4);
    mem_set(MSIX + 16 * vector + 8, data, 4);
    mem_set(MSIX + 16 * vector + 12, control, 4);
}

/* A device that is driven with vector 0 for the config and 1 for queue 0, both open. */
static void drive_with_vectors(void)
{
    begin(true);
    msix_on();
    set_vector(0, 0xfee00000, 0x40, 0);
    set_vector(1, 0xfee01000, 0x41, 0);
    accept(HOST_FEATURES);
    mem_set(COMMON + 0x10, 0, 2);
    mem_set(COMMON + 0x16, 0, 2);
    mem_set(COMMON + 0x1a, 1, 2);
    set_queue(0);
    mem_set(COMMON + 0x14, 15, 1);
}

/* ---- configuration space ---- */

static void the_bridge_and_the_disk_are_found(void **state)
{
    begin(true);
    cfg_address(0, 0);
    assert_int_equal(pci_host_config_read(&bus, 0xcfc, 4), 0x12378086);
    cfg_address(0, 8);
    assert_int_equal(pci_host_config_read(&bus, 0xcfe, 2), 0x0600);
    assert_int_equal(cfg(0, 4), 0x10011af4);
    assert_int_equal(cfg(0x0a, 2), 0x0100);
    assert_int_equal(cfg(0x08, 1), 0);
    assert_int_equal(cfg(0x2c, 4), 0x00021af4);
    assert_int_equal(cfg(0x3c, 2), 0x0111); /* pin A at line 17 */
    cfg_address(2, 0);
    assert_int_equal(pci_host_config_read(&bus, 0xcfc, 4), UINT32_MAX);
    assert_int_equal(pci_host_config_read(&bus, 0xcfe, 2), 0xffff);
    pci_host_config_write(&bus, 0xcf8, 0, 4); /* not enabled */
    assert_int_equal(pci_host_config_read(&bus, 0xcfc, 4), UINT32_MAX);
    pci_host_config_write(&bus, 0xcf8, 0x80010800, 4); /* another bus */
    assert_int_equal(pci_host_config_read(&bus, 0xcfc, 4), UINT32_MAX);
    assert_int_equal(pci_host_config_read(&bus, 0xcf8, 4), 0x80010800);
}

static void bars_tell_their_size(void **state)
{
    begin(true);
    cfg_set(0x10, UINT32_MAX, 4);
    assert_int_equal(cfg(0x10, 4), 0xff81);
    cfg_set(0x14, UINT32_MAX, 4);
    assert_int_equal(cfg(0x14, 4), 0xfffff000);
    cfg_set(0x20, UINT32_MAX, 4);
    assert_int_equal(cfg(0x20, 4), 0xffffc000);
    cfg_set(0x18, UINT32_MAX, 4); /* there is none */
    assert_int_equal(cfg(0x18, 4), 0);
}

static void what_is_read_only_stays(void **state)
{
    begin(true);
    cfg_set(0x00, 0, 4);
    assert_int_equal(cfg(0x00, 4), 0x10011af4);
    cfg_set(0x34, 0, 1);
    assert_int_not_equal(cfg(0x34, 1), 0);
    cfg_set(0x3c, 0x0b, 1);
    assert_int_equal(cfg(0x3c, 2), 0x010b);
}

static void the_structures_are_announced(void **state)
{
    static const uint32_t offset[] = {0, 0x0000, 0x3000, 0x1000, 0x2000};

    begin(true);
    for (uint8_t type = 1; type <= 4; type++) {
        unsigned at = capability(9, type);

        assert_int_not_equal(at, 0);
        assert_int_equal(cfg(at + 2, 1), type == 2 ? 20 : 16);
        assert_int_equal(cfg(at + 4, 1), 4);
        assert_int_equal(cfg(at + 8, 4), offset[type]);
    }
    assert_int_equal(cfg(capability(9, 2) + 16, 4), 4);
    assert_int_equal(cfg(capability(0x11, 0) + 2, 2), HOST_QUEUES); /* one more than that */
    begin(false);
    assert_int_equal(capability(9, 0), 0);
    assert_int_not_equal(capability(0x11, 0), 0);
}

static void the_window_reaches_all_registers(void **state)
{
    unsigned at;

    begin(true);
    at = capability(9, 5);
    cfg_set(at + 4, 4, 1);
    cfg_set(at + 8, 0x14, 4);
    cfg_set(at + 12, 1, 4);
    cfg_set(at + 16, 1, 1);
    assert_int_equal(mem(COMMON + 0x14, 1), 1);
    assert_int_equal(cfg(at + 16, 1), 1);
    cfg_set(at + 8, 0x12, 4);
    cfg_set(at + 12, 2, 4);
    assert_int_equal(cfg(at + 16, 2), HOST_QUEUES);
    cfg_set(at + 8, 0x4000, 4); /* behind the BAR */
    assert_int_equal(cfg(at + 16, 2), HOST_QUEUES);
    cfg_set(at + 4, 9, 1); /* there is no such BAR */
    cfg_set(at + 16, 0, 1);
    assert_int_equal(mem(COMMON + 0x14, 1), 1);
}

static void doors_follow_the_bar(void **state)
{
    uint32_t value;

    drive();
    expect_log(&host, "C2C0K0S0k0");
    assert_int_equal(host.door[0].addr, NOTIFY);
    assert_int_equal(host.door[0].len, 0);
    assert_false(host.door[0].is_port);
    cfg_set(0x20, 0xe0000000, 4);
    expect_log(&host, "X0K0k0");
    assert_int_equal(host.door[0].addr, 0xe0003000);
    assert_false(pci_host_read(&bus, false, COMMON, 4, &value));
    cfg_set(0x04, 0, 2); /* memory off: nowhere to kick */
    expect_log(&host, "X0k0");
    assert_false(pci_host_read(&bus, false, 0xe0000000, 4, &value));
    cfg_set(0x04, 2, 2);
    expect_log(&host, "K0k0");
}

/* ---- modern ---- */

static void registers_read_back(void **state)
{
    begin(true);
    accept(HOST_FEATURES);
    mem_set(COMMON + 0x00, 1, 4);
    assert_int_equal(mem(COMMON + 0x00, 4), 1);
    assert_int_equal(mem(COMMON + 0x04, 4), 0x101);
    mem_set(COMMON + 0x00, 2, 4);
    assert_int_equal(mem(COMMON + 0x04, 4), 0);
    assert_int_equal(mem(COMMON + 0x08, 4), 1);
    assert_int_equal(mem(COMMON + 0x0c, 4), 1);
    assert_int_equal(mem(COMMON + 0x10, 2), VIRTIO_NO_VECTOR);
    assert_int_equal(mem(COMMON + 0x12, 2), HOST_QUEUES);
    assert_int_equal(mem(COMMON + 0x15, 1), 0);
    set_queue(1);
    assert_int_equal(mem(COMMON + 0x16, 2), 1);
    assert_int_equal(mem(COMMON + 0x18, 2), 16);
    assert_int_equal(mem(COMMON + 0x1a, 2), VIRTIO_NO_VECTOR);
    assert_int_equal(mem(COMMON + 0x1c, 2), 1);
    assert_int_equal(mem(COMMON + 0x1e, 2), 1);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(mem(COMMON + 0x20 + 4 * i, 4), (i + 1) << 12);
    }
    assert_int_equal(mem(COMMON + 0x3a, 2), 0);
}

static void writes_take_the_width_of_the_register(void **state)
{
    begin(true);
    mem_set(COMMON + 0x14, 1, 2);
    mem_set(COMMON + 0x14, 1, 4);
    assert_int_equal(mem(COMMON + 0x14, 1), 0);
    mem_set(COMMON + 0x00, 1, 2);
    assert_int_equal(mem(COMMON + 0x00, 4), 0);
    assert_int_equal(mem(COMMON + 0x13, 1), 0); /* the upper half of a register */
    assert_int_equal(mem(COMMON + 0x12, 4), 0); /* more than one */
    assert_int_equal(mem(COMMON + 0x3e, 2), 0);
    assert_int_equal(mem(DEVICE + 1, 2), 0x4241);
}

static void nothing_is_set_up_before_features_ok(void **state)
{
    begin(true);
    mem_set(COMMON + 0x14, 3, 1);
    set_queue(0);
    assert_int_equal(mem(COMMON + 0x18, 2), HOST_QUEUE_SIZE);
    assert_int_equal(mem(COMMON + 0x1c, 2), 0);
    mem_set(COMMON + 0x14, 7, 1); /* nor is it driven */
    assert_int_equal(mem(COMMON + 0x14, 1), 3);
    expect_log(&host, "");
}

static void a_refused_feature_leaves_features_ok_off(void **state)
{
    begin(true);
    accept(HOST_FEATURES | 1);
    assert_int_equal(mem(COMMON + 0x14, 1), 3);
    begin(true);
    host.refuse_features = -1;
    accept(HOST_FEATURES);
    assert_int_equal(mem(COMMON + 0x14, 1), 3);
}

static void wrong_queue_numbers_are_nothing(void **state)
{
    drive();
    host.log[0] = '\0';
    set_queue(HOST_QUEUES);
    assert_int_equal(mem(COMMON + 0x18, 2), 0);
    assert_int_equal(mem(COMMON + 0x1c, 2), 0);
    mem_set(COMMON + 0x16, 0xffff, 2);
    mem_set(COMMON + 0x1a, 0, 2);
    assert_int_equal(mem(COMMON + 0x1a, 2), VIRTIO_NO_VECTOR);
    mem_set(NOTIFY + 4 * HOST_QUEUES, 0, 2);
    mem_set(NOTIFY + 4, 1, 2); /* not started */
    expect_log(&host, "");
    mem_set(NOTIFY, 0, 2);
    expect_log(&host, "k0");
    assert_int_equal(pci.regs.notify_writes, 3);
}

static void a_reset_amid_requests_stops_first(void **state)
{
    drive();
    set_queue(1);
    host.log[0] = '\0';
    mem_set(COMMON + 0x14, 0, 1);
    expect_log(&host, "X0P0U0X1P1U1U2");
    assert_int_equal(mem(COMMON + 0x14, 1), 0);
    accept(HOST_FEATURES);
    set_queue(0);
    mem_set(COMMON + 0x14, 15, 1);
    expect_log(&host, "C2C0K0S0k0");
}

/* A back-end may say of itself what it likes, the registers are not its own. */
static void features_of_the_registers_are_not_the_back_ends(void **state)
{
    begin(true);
    host.more = 1ull << 34 | 1ull << 37 | 1ull << 38 | 1ull << 39;
    mem_set(COMMON, 1, 4);
    assert_int_equal(mem(COMMON + 4, 4), 1u | 1u << 2 | 1u << 8); /* VERSION_1, packed, reset */
    accept(HOST_FEATURES | 1ull << 38);
    assert_int_equal(mem(COMMON + 0x14, 1) & 8, 0);
    mem_set(COMMON + 0x14, 0, 1);
    accept(HOST_FEATURES | 1ull << 34 | VIRTIO_FEATURE_RING_RESET);
    assert_int_equal(mem(COMMON + 0x14, 1) & 8, 8);
    assert_int_equal(host.features, HOST_FEATURES | 1ull << 34);
}

static void one_queue_can_be_reset(void **state)
{
    begin(true);
    accept(HOST_FEATURES | VIRTIO_FEATURE_RING_RESET);
    set_queue(0);
    set_queue(1);
    mem_set(COMMON + 0x14, 15, 1);
    host.log[0] = '\0';
    mem_set(COMMON + 0x3a, 1, 2);
    expect_log(&host, "X1P1U1");
    assert_int_equal(mem(COMMON + 0x1c, 2), 0);
    assert_int_equal(mem(COMMON + 0x3a, 2), 0);
    set_queue(1);
    expect_log(&host, "C1K1S1k1");
}

static void a_config_change_is_a_new_generation(void **state)
{
    drive();
    host.log[0] = '\0';
    host.was_used = false;
    virtio_regs_config_changed(&pci.regs);
    expect_log(&host, "s2");
    assert_int_equal(mem(COMMON + 0x15, 1), 1);
    assert_int_equal(mem(ISR, 1), 2);
    assert_int_equal(mem(ISR, 1), 0);
    host.was_used = true;
    assert_int_equal(mem(ISR, 1), 1);
    assert_int_equal(mem(ISR, 1), 0);
}

/* ---- the interrupt line ---- */

static void an_acknowledged_line_rises_again_when_there_is_more(void **state)
{
    drive();
    host.log[0] = '\0';
    host.was_used = false;
    virtio_pci_line_acked(&pci);
    expect_log(&host, "");
    host.was_used = true;
    virtio_pci_line_acked(&pci);
    expect_log(&host, "s2");
    assert_int_equal(mem(ISR, 1), 1);
    virtio_pci_line_acked(&pci);
    expect_log(&host, "");
}

static void the_line_can_be_switched_off(void **state)
{
    drive();
    assert_true(host.is_line[0]);
    host.log[0] = '\0';
    cfg_set(0x04, 0x403, 2);
    expect_log(&host, "U0U2");
    cfg_set(0x04, 0x003, 2);
    expect_log(&host, "C0C2");
}

/* ---- MSI-X ---- */

static void sources_go_to_their_vectors(void **state)
{
    drive_with_vectors();
    assert_false(host.is_line[0]);
    assert_int_equal(host.message[0].addr, 0xfee01000);
    assert_int_equal(host.message[0].data, 0x41);
    assert_int_equal(host.message[2].data, 0x40);
}

static void vectors_that_do_not_exist_are_refused(void **state)
{
    drive_with_vectors();
    mem_set(COMMON + 0x10, HOST_QUEUES + 1, 2);
    assert_int_equal(mem(COMMON + 0x10, 2), VIRTIO_NO_VECTOR);
    host.log[0] = '\0';
    mem_set(COMMON + 0x1a, 99, 2);
    assert_int_equal(mem(COMMON + 0x1a, 2), VIRTIO_NO_VECTOR);
    expect_log(&host, "U0");
}

static void a_masked_vector_has_no_wire_but_pends(void **state)
{
    drive_with_vectors();
    host.log[0] = '\0';
    mem_set(MSIX + 16 + 12, 1, 4);
    expect_log(&host, "U0");
    assert_int_equal(mem(MSIX + 0x800, 4), 0);
    host.is_pending[0] = true;
    assert_int_equal(mem(MSIX + 0x800, 4), 2);
    mem_set(MSIX + 16 + 12, 0, 4);
    expect_log(&host, "C0");
    assert_int_equal(mem(MSIX + 0x800, 4), 0);
}

static void all_vectors_can_be_masked_at_once(void **state)
{
    unsigned at;

    drive_with_vectors();
    at = capability(0x11, 0);
    host.log[0] = '\0';
    cfg_set(at + 2, 0xc000, 2);
    expect_log(&host, "U0U2");
    host.is_pending[2] = true;
    assert_int_equal(mem(MSIX + 0x800, 4), 1);
    cfg_set(at + 2, 0x8000, 2);
    expect_log(&host, "C0C2");
    cfg_set(at + 2, 0, 2); /* back to the line */
    expect_log(&host, "C0C2");
    assert_true(host.is_line[0]);
}

static void a_message_may_change_while_in_use(void **state)
{
    drive_with_vectors();
    host.log[0] = '\0';
    mem_set(MSIX + 16 + 8, 0x77, 4);
    expect_log(&host, "C0");
    assert_int_equal(host.message[0].data, 0x77);
}

/* Source: PCI 3.0, 6.8.2.6 "Message Address for MSI-X Table Entries", 6.8.2.9 "Vector Control". */
static void reserved_bits_of_the_table_are_zero(void **state)
{
    drive_with_vectors();
    host.log[0] = '\0';
    for (unsigned i = 0; i < 4; i++) {
        mem_set(MSIX + 16 + 4 * i, UINT32_MAX, 4);
    }
    assert_int_equal(mem(MSIX + 16, 4), 0xfffffffc);
    assert_int_equal(mem(MSIX + 16 + 4, 4), UINT32_MAX);
    assert_int_equal(mem(MSIX + 16 + 8, 4), UINT32_MAX);
    assert_int_equal(mem(MSIX + 16 + 12, 4), 1);
    mem_set(MSIX + 16 + 12, 0xfffffffe, 4);
    assert_int_equal(mem(MSIX + 16 + 12, 4), 0);
    assert_int_equal(host.message[0].addr, 0xfffffffffffffffc);
}

static void the_table_takes_words_only(void **state)
{
    drive_with_vectors();
    mem_set(MSIX + 8, 0x99, 2);
    assert_int_equal(mem(MSIX + 8, 4), 0x40);
    assert_int_equal(mem(MSIX + 8, 2), 0);
    mem_set(MSIX + 16 * (HOST_QUEUES + 1), 1, 4); /* behind the last */
    assert_int_equal(mem(MSIX + 16 * (HOST_QUEUES + 1), 4), 0);
    mem_set(MSIX + 0x800, UINT32_MAX, 4);
    assert_int_equal(mem(MSIX + 0x800, 4), 0);
}

/* ---- legacy ---- */

static void drive_legacy(void)
{
    begin(false);
    port_set(18, 3, 1);
    port_set(4, 0x40, 4);
    port_set(14, 1, 2);
    port_set(8, 0x123, 4);
    port_set(18, 7, 1);
}

static void legacy_registers_are_where_they_were(void **state)
{
    drive_legacy();
    assert_int_equal(port(0, 4), (uint32_t)HOST_FEATURES);
    assert_int_equal(port(4, 4), 0x40);
    assert_int_equal(port(8, 4), 0x123);
    assert_int_equal(port(12, 2), HOST_QUEUE_SIZE);
    assert_int_equal(port(14, 2), 1);
    assert_int_equal(port(18, 1), 7);
    assert_int_equal(port(20, 1), 0x40);
    assert_int_equal(port(20, 4), 0x43424140);
    assert_int_equal(port(2, 2), (uint32_t)HOST_FEATURES >> 16);
}

static void a_legacy_queue_starts_and_stops(void **state)
{
    drive_legacy();
    expect_log(&host, "C2C1K1S1k1");
    assert_int_equal(host.features, 0x40);
    assert_int_equal(host.started[1].desc, 0x123000);
    assert_int_equal(host.started[1].avail, 0x123000 + HOST_QUEUE_SIZE * 16);
    assert_int_equal(host.started[1].used, 0x125000);
    assert_true(host.door[1].is_port);
    assert_int_equal(host.door[1].addr, HOST_PORTS + 16);
    assert_int_equal(host.door[1].len, 2);
    assert_int_equal(host.door[1].match, 1);
    port_set(16, 1, 2);
    expect_log(&host, "k1");
    port_set(18, 0, 1);
    expect_log(&host, "X1P1U1U2");
    assert_int_equal(port(8, 4), 0);
}

static void the_legacy_size_is_fixed(void **state)
{
    begin(false);
    port_set(12, 16, 2);
    assert_int_equal(port(12, 2), HOST_QUEUE_SIZE);
    port_set(14, HOST_QUEUES, 2);
    assert_int_equal(port(12, 2), 0);
    port_set(8, 1, 4);
    assert_int_equal(port(8, 4), 0);
}

static void msix_moves_the_legacy_config(void **state)
{
    begin(false);
    msix_on();
    assert_int_equal(port(20, 2), VIRTIO_NO_VECTOR);
    assert_int_equal(port(24, 1), 0x40);
    port_set(20, 0, 2);
    port_set(22, 1, 2);
    assert_int_equal(port(20, 2), 0);
    assert_int_equal(port(22, 2), 1);
    port_set(22, 77, 2);
    assert_int_equal(port(22, 2), VIRTIO_NO_VECTOR);
}

static void legacy_writes_take_the_width_of_the_register(void **state)
{
    begin(false);
    port_set(18, 1, 2);
    assert_int_equal(port(18, 1), 0);
    port_set(8, 1, 2);
    port_set(8, 1, 1);
    assert_int_equal(port(8, 4), 0);
}

static void a_transitional_device_speaks_either(void **state)
{
    begin(true);
    port_set(18, 3, 1);
    port_set(4, 0, 4);
    port_set(8, 1, 4);
    port_set(18, 7, 1);
    expect_log(&host, "C2C0K0S0k0");
    assert_true(host.door[0].is_port);
    port_set(18, 0, 1);
    host.log[0] = '\0';
    accept(HOST_FEATURES);
    set_queue(0);
    mem_set(COMMON + 0x14, 15, 1);
    expect_log(&host, "C2C0K0S0k0");
    assert_false(host.door[0].is_port);
}

/* Source: VIRTIO 1.2, 4.1.4.10: those registers are of the legacy interface alone. */
static void legacy_queues_are_nothing_to_a_modern_driver(void **state)
{
    drive();
    host.log[0] = '\0';
    port_set(14, 0, 2);
    port_set(8, 0, 4);
    port_set(14, 1, 2);
    port_set(8, 0x123, 4);
    expect_log(&host, "");
    mem_set(COMMON + 0x16, 0, 2);
    assert_int_equal(mem(COMMON + 0x1c, 2), 1);
    assert_int_equal(mem(COMMON + 0x20, 4), 0x1000);
    mem_set(COMMON + 0x16, 1, 2);
    assert_int_equal(mem(COMMON + 0x1c, 2), 0);
}

static void modern_queues_are_nothing_to_a_legacy_driver(void **state)
{
    begin(true);
    port_set(18, 3, 1);
    port_set(8, 0x123, 4);
    port_set(18, 7, 1);
    host.log[0] = '\0';
    for (unsigned queue = 0; queue < HOST_QUEUES; queue++) {
        set_queue(queue);
    }
    expect_log(&host, "");
    port_set(14, 1, 2);
    assert_int_equal(port(8, 4), 0);
    assert_int_equal(port(12, 2), HOST_QUEUE_SIZE);
    mem_set(COMMON + 0x14, 0, 1); /* a reset is a reset, and then a driver may be modern */
    accept(HOST_FEATURES);
    assert_int_equal(mem(COMMON + 0x14, 1), 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bridge_and_the_disk_are_found),
        cmocka_unit_test(bars_tell_their_size),
        cmocka_unit_test(what_is_read_only_stays),
        cmocka_unit_test(the_structures_are_announced),
        cmocka_unit_test(the_window_reaches_all_registers),
        cmocka_unit_test(doors_follow_the_bar),
        cmocka_unit_test(registers_read_back),
        cmocka_unit_test(writes_take_the_width_of_the_register),
        cmocka_unit_test(nothing_is_set_up_before_features_ok),
        cmocka_unit_test(a_refused_feature_leaves_features_ok_off),
        cmocka_unit_test(wrong_queue_numbers_are_nothing),
        cmocka_unit_test(a_reset_amid_requests_stops_first),
        cmocka_unit_test(features_of_the_registers_are_not_the_back_ends),
        cmocka_unit_test(one_queue_can_be_reset),
        cmocka_unit_test(a_config_change_is_a_new_generation),
        cmocka_unit_test(an_acknowledged_line_rises_again_when_there_is_more),
        cmocka_unit_test(the_line_can_be_switched_off),
        cmocka_unit_test(sources_go_to_their_vectors),
        cmocka_unit_test(vectors_that_do_not_exist_are_refused),
        cmocka_unit_test(a_masked_vector_has_no_wire_but_pends),
        cmocka_unit_test(all_vectors_can_be_masked_at_once),
        cmocka_unit_test(a_message_may_change_while_in_use),
        cmocka_unit_test(reserved_bits_of_the_table_are_zero),
        cmocka_unit_test(the_table_takes_words_only),
        cmocka_unit_test(legacy_registers_are_where_they_were),
        cmocka_unit_test(a_legacy_queue_starts_and_stops),
        cmocka_unit_test(the_legacy_size_is_fixed),
        cmocka_unit_test(msix_moves_the_legacy_config),
        cmocka_unit_test(legacy_writes_take_the_width_of_the_register),
        cmocka_unit_test(a_transitional_device_speaks_either),
        cmocka_unit_test(legacy_queues_are_nothing_to_a_modern_driver),
        cmocka_unit_test(modern_queues_are_nothing_to_a_legacy_driver),
    };

    return unit_run(tests);
}
