/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A guest that accesses anything by any length: KVM hands on 1 to 8 bytes, as it cuts in two what
 * crosses a page (linux, arch/x86/kvm/x86.c, emulator_read_write).  Run with sanitizers.
 */
#include "tests/unit/machine_world.h"

#include "cmd/vm/layout.h"
#include "tests/unit/chance.h"
#include "tests/unit/unit.h"

#define LONGEST 8u
#define ACCESSES 200000u
#define NEAR 9u /* bytes around an edge */

/* In the configuration space. */
#define LINE 0x3cu

static int start(void **state)
{
    machine_world_start(&virtio_host_ops);
    return 0;
}

static int stop(void **state)
{
    machine_world_stop();
    return 0;
}

static uint64_t config_at(unsigned disk)
{
    return LAYOUT_ECAM + (1 + disk) * 8 * PCI_ECAM_FUNCTION_BYTES;
}

static uint64_t bytes_at(uint64_t addr, unsigned len)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < len; i++) {
        value |= (machine_read(&machine, false, addr + i, 1) & 0xff) << (8 * i);
    }
    return value;
}

static void a_read_of_any_length_is_that_of_its_bytes(void **state)
{
    uint64_t config = config_at(WORLD_QUICK);

    for (unsigned len = 1; len <= LONGEST; len++) {
        for (unsigned offset = 0; offset + len <= PCI_CONFIG_BYTES; offset++) {
            assert_int_equal(machine_read(&machine, false, config + offset, len),
                             bytes_at(config + offset, len));
        }
    }
    assert_int_equal(machine_read(&machine, false, config, 7) & 0xffffffff, 0x10011af4);
}

/* What is left of 8 bytes that begin one byte before the window. */
static void a_read_across_the_begin_of_a_window_reads_what_is_in_it(void **state)
{
    uint64_t bridge = machine_read(&machine, false, LAYOUT_ECAM, 7);

    assert_int_equal(bridge & 0xffffffff, 0x12378086);
    assert_int_equal(bridge >> 56, 0);
    assert_int_equal(machine_read(&machine, false, LAYOUT_ECAM - 1, 1), 0xff);
}

static void a_write_of_any_length_is_that_of_its_bytes(void **state)
{
    uint64_t config = config_at(WORLD_QUICK);

    for (unsigned len = 1; len <= LONGEST; len++) {
        for (unsigned at = 0; at < len; at++) {
            uint64_t line = 0x40 + 8 * len + at;

            machine_write(&machine, false, config + LINE - at, len, line << (8 * at));
            assert_int_equal(machine_read(&machine, false, config + LINE, 1), line);
        }
    }
}

static void what_is_nowhere_reads_as_ones_of_that_length(void **state)
{
    for (unsigned len = 1; len <= LONGEST; len++) {
        uint64_t ones = UINT64_MAX >> (64 - 8 * len);

        assert_int_equal(machine_read(&machine, false, LAYOUT_IOAPIC, len), ones);
        assert_int_equal(machine_read(&machine, false, UINT64_MAX - 2, len), ones);
        assert_int_equal(machine_read(&machine, true, 0x500, len), ones);
        assert_int_equal(machine_read(&machine, true, 0xffff, len), ones);
    }
}

/* ---- edges ---- */

static void access_once(bool is_port, uint64_t addr, unsigned len)
{
    (void)machine_read(&machine, is_port, addr, len);
    machine_write(&machine, is_port, addr, len, 0);
    machine_write(&machine, is_port, addr, len, UINT64_MAX);
    pci_host_assign(&machine.pci, LAYOUT_PORT_PCI, LAYOUT_PCI_MEMORY); /* where they were */
}

/* Up to and with the longest on either side. */
static void access_around(bool is_port, uint64_t edge)
{
    for (uint64_t addr = edge - NEAR; addr != edge + NEAR; addr++) {
        for (unsigned len = 1; len <= LONGEST; len++) {
            access_once(is_port, addr, len);
        }
    }
}

static void access_bars(const struct pci_function *fn)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &fn->bar[i];

        if (bar->size) {
            access_around(bar->is_io, bar->addr);
            access_around(bar->is_io, (uint64_t)bar->addr + bar->size);
        }
    }
}

static void no_access_around_an_edge_does_harm(void **state)
{
    static const uint64_t edges[] = {0,
                                     LAYOUT_MMIO,
                                     LAYOUT_MMIO + 0x100, /* its config */
                                     LAYOUT_MMIO + VIRTIO_MMIO_BYTES,
                                     LAYOUT_ECAM,
                                     LAYOUT_ECAM + PCI_CONFIG_BYTES,
                                     LAYOUT_ECAM + PCI_ECAM_FUNCTION_BYTES,
                                     LAYOUT_ECAM + PCI_ECAM_BYTES,
                                     LAYOUT_IOAPIC,
                                     LAYOUT_RAM_HIGH};
    static const uint16_t ports[] = {0,
                                     LAYOUT_PORT_KEYBOARD,
                                     LAYOUT_PORT_CMOS,
                                     LAYOUT_PORT_SERIAL,
                                     LAYOUT_PORT_SERIAL + SERIAL_PORTS,
                                     LAYOUT_PORT_PM_EVENT,
                                     LAYOUT_PORT_PM_CONTROL,
                                     PCI_HOST_PORT,
                                     PCI_HOST_PORT + PCI_HOST_PORTS};

    for (unsigned i = 0; i < ARRAY_SIZE(edges); i++) {
        access_around(false, edges[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        access_around(true, ports[i]);
    }
    for (unsigned i = 0; i < WORLD_MMIO; i++) {
        access_around(false, config_at(i));
        access_around(false, config_at(i) + PCI_CONFIG_BYTES);
        access_bars(&machine.disk[i].pci.fn);
    }
}

static void no_length_at_any_register_does_harm(void **state)
{
    for (unsigned len = 1; len <= LONGEST; len++) {
        for (unsigned offset = 0; offset < PCI_CONFIG_BYTES; offset++) {
            access_once(false, LAYOUT_MMIO + offset, len);
            access_once(false, config_at(WORLD_QUICK) + offset, len);
            access_bars(&machine.pci.bridge);
        }
    }
}

/* ---- anything ---- */

/* Where something answers, or just not. */
static uint64_t some_address(bool is_port)
{
    const struct pci_function *fn = &machine.disk[chance(WORLD_MMIO)].pci.fn;
    const struct pci_bar *bar = &fn->bar[chance(PCI_BARS)];

    if (chance(2) && bar->size && bar->is_io == is_port) {
        return bar->addr + chance(chance(4) ? 0x48 : bar->size + LONGEST) - NEAR / 2;
    }
    if (is_port) {
        return chance(4) ? PCI_HOST_PORT + chance(PCI_HOST_PORTS) : chance(1u << 16);
    }
    return chance(2) ? LAYOUT_MMIO + chance(chance(4) ? 0x108 : VIRTIO_MMIO_BYTES + LONGEST)
                     : config_at(chance(WORLD_MMIO)) + chance(PCI_CONFIG_BYTES + LONGEST);
}

static uint64_t some_value(void)
{
    return chance(4) ? chance(16) : (uint64_t)chance(UINT32_MAX) << 32 | chance(UINT32_MAX);
}

static void access_anything(void)
{
    bool is_port = chance(4) == 0;
    uint64_t addr = some_address(is_port);
    unsigned len = 1 + chance(LONGEST);

    if (chance(4) == 0) {
        (void)machine_read(&machine, is_port, addr, len);
    } else {
        machine_write(&machine, is_port, addr, len, some_value());
    }
}

static unsigned forget_logs(void)
{
    unsigned started = 0;

    for (unsigned i = 0; i < WORLD_DISKS; i++) {
        started += world_host[i].is_started[0];
        world_host[i].log[0] = '\0';
        world_host[i].was_used = chance(2);
    }
    return started;
}

static void expect_nothing_left(unsigned disk, struct virtio_regs *regs)
{
    virtio_regs_reset(regs);
    for (unsigned i = 0; i < HOST_QUEUES; i++) {
        assert_false(world_host[disk].is_started[i]);
        assert_false(world_host[disk].is_kick_on[i]);
        assert_false(world_host[disk].is_call_on[i]);
    }
}

static void machine_outlives_a_wild_guest(void **state)
{
    unsigned started = 0;

    chance_begin();
    for (unsigned i = 0; i < ACCESSES; i++) {
        if (i % 64 == 0) {
            pci_host_assign(&machine.pci, LAYOUT_PORT_PCI, LAYOUT_PCI_MEMORY);
        }
        if (chance(256) == 0) {
            world_drive(chance(WORLD_MMIO));
        }
        access_anything();
        started += forget_logs();
    }
    assert_true(started > ACCESSES / 50); /* it was driven, and not only refused */
    expect_nothing_left(WORLD_SLOW, &machine.disk[WORLD_SLOW].pci.regs);
    expect_nothing_left(WORLD_QUICK, &machine.disk[WORLD_QUICK].pci.regs);
    expect_nothing_left(WORLD_MMIO, &machine.disk[WORLD_MMIO].mmio.regs);
}

int main(void)
{
#define machine_test(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        machine_test(a_read_of_any_length_is_that_of_its_bytes),
        machine_test(a_read_across_the_begin_of_a_window_reads_what_is_in_it),
        machine_test(a_write_of_any_length_is_that_of_its_bytes),
        machine_test(what_is_nowhere_reads_as_ones_of_that_length),
        machine_test(no_access_around_an_edge_does_harm),
        machine_test(no_length_at_any_register_does_harm),
        machine_test(machine_outlives_a_wild_guest),
    };

    return unit_run(tests);
}
