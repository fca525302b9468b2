/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A driver that writes anything anywhere: whatever it does, queues start and stop in pairs, each
 * kick is unwired where it was wired (virtio_host looks), and a reset ends all of it.
 */
#include "tests/unit/chance.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_host.h"
#include "transports/vmm/virtio_mmio.h"
#include "transports/vmm/virtio_pci.h"

#define ACCESSES 400000u
#define CONFIG_PORT 0xcf8u

static struct virtio_mmio mmio;
static struct virtio_pci pci;
static struct pci_host bus;
static struct virtio_host host;
static unsigned starts;

/* Numbers that mean something somewhere come often. */
static uint32_t value(void)
{
    static const uint32_t common[] = {
        0,
        1,
        2,
        3,
        7,
        11,
        15,
        16,
        0x40,
        4096,
        0x8000,
        0xc000,
        0xffff,
        UINT32_MAX,
        (uint32_t)HOST_FEATURES,
        HOST_FEATURES >> 32,
        1u << 8 | 1,
    };

    return chance(8) ? common[chance(ARRAY_SIZE(common))] : chance(UINT32_MAX);
}

static void begin(void)
{
    starts = 0;
    chance_begin();
}

/* What the VMM does meanwhile. */
static void happen(struct virtio_regs *regs)
{
    bool is_started = host.is_started[0] || host.is_started[1];

    host.log[0] = '\0';
    starts += is_started;
    host.was_used = chance(2);
    host.refuse_queue = chance(16) ? 0 : -1;
    host.refuse_features = chance(64) ? 0 : -1;
    if (chance(64) == 0) {
        virtio_regs_config_changed(regs);
    }
    if (is_started && chance(256) == 0) {
        virtio_regs_reset(regs);
    }
}

static void expect_end(struct virtio_regs *regs)
{
    assert_true(starts > ACCESSES / 50); /* it was driven, and not only refused */
    virtio_regs_reset(regs);
    for (unsigned i = 0; i < HOST_QUEUES; i++) {
        assert_false(host.is_started[i]);
        assert_false(host.is_kick_on[i]);
        assert_false(host.is_call_on[i]);
    }
    assert_false(host.is_call_on[HOST_QUEUES]);
}

/* ---- virtio-mmio ---- */

struct step {
    uint16_t offset;
    uint8_t len;
    uint32_t value;
};

/* As a driver should, or no number of accesses would find the way. */
static void drive_mmio(void)
{
    static const struct step steps[] = {
        {0x070, 4, 0},  {0x070, 4, 3},
        {0x024, 4, 0},  {0x020, 4, (uint32_t)HOST_FEATURES},
        {0x024, 4, 1},  {0x020, 4, HOST_FEATURES >> 32 | 0x100},
        {0x070, 4, 11}, {0x030, 4, 0},
        {0x040, 4, 1},  {0x044, 4, 1},
        {0x030, 4, 1},  {0x040, 4, 1},
        {0x044, 4, 1},  {0x070, 4, 15},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        virtio_mmio_write(&mmio, steps[i].offset, steps[i].value, steps[i].len);
    }
}

static void wild_mmio(bool is_version_1)
{
    begin();
    virtio_host_mmio(&host, &mmio, is_version_1);
    for (unsigned i = 0; i < ACCESSES; i++) {
        uint32_t offset = chance(16) ? 4 * chance(0x40) : chance(VIRTIO_MMIO_BYTES - 4);
        unsigned len = chance(16) ? 4 : 1u << chance(2);

        if (chance(512) == 0) {
            drive_mmio();
        } else if (chance(4) == 0) {
            (void)virtio_mmio_read(&mmio, offset, len);
        } else {
            virtio_mmio_write(&mmio, offset, value(), len);
        }
        happen(&mmio.regs);
    }
    expect_end(&mmio.regs);
}

static void mmio_outlives_a_wild_driver(void **state)
{
    wild_mmio(false);
}

static void mmio_of_version_1_outlives_a_wild_driver(void **state)
{
    wild_mmio(true);
}

/* ---- virtio-pci ---- */

static void touch_config(void)
{
    unsigned len = 1u << chance(3);
    uint32_t offset = round_down(chance(PCI_CONFIG_BYTES), len);

    pci_host_config_write(&bus, CONFIG_PORT, 0x80000800u | (offset & 0xfc), 4);
    if (chance(2)) {
        (void)pci_host_config_read(&bus, (uint16_t)(CONFIG_PORT + 4 + (offset & 3)), len);
    } else {
        pci_host_config_write(&bus, (uint16_t)(CONFIG_PORT + 4 + (offset & 3)), value(), len);
    }
}

static void drive_pci(void)
{
    static const struct step steps[] = {
        {0x14, 1, 0},  {0x14, 1, 3},
        {0x08, 4, 0},  {0x0c, 4, (uint32_t)HOST_FEATURES},
        {0x08, 4, 1},  {0x0c, 4, HOST_FEATURES >> 32 | 0x100},
        {0x14, 1, 11}, {0x16, 2, 0},
        {0x1a, 2, 1},  {0x1c, 2, 1},
        {0x16, 2, 1},  {0x1c, 2, 1},
        {0x14, 1, 15},
    };
    uint32_t base = pci.fn.bar[VIRTIO_PCI_BAR_MODERN].addr;

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        (void)pci_host_write(&bus, false, base + steps[i].offset, steps[i].len, steps[i].value);
    }
}

static void touch_bar(void)
{
    static const unsigned bars[] = {VIRTIO_PCI_BAR_LEGACY, VIRTIO_PCI_BAR_MSIX,
                                    VIRTIO_PCI_BAR_MODERN};
    static const uint8_t whole[] = {1, 2, 4, 4, 4};
    unsigned bar = bars[chance(ARRAY_SIZE(bars))];
    const struct pci_bar *at = &pci.fn.bar[bar];
    unsigned len = whole[chance(ARRAY_SIZE(whole))];
    uint32_t offset = chance(4) ? chance(0x40) : chance(at->size - 4);
    uint32_t read;

    offset = round_down(offset, len);
    if (chance(4) == 0) {
        (void)pci_host_read(&bus, at->is_io, at->addr + offset, len, &read);
    } else {
        (void)pci_host_write(&bus, at->is_io, at->addr + offset, len, value());
    }
}

static void pci_outlives_a_wild_driver(void **state)
{
    begin();
    virtio_host_pci(&host, &pci, &bus, true);
    for (unsigned i = 0; i < ACCESSES; i++) {
        if (i % 64 == 0) {
            pci_host_assign(&bus, HOST_PORTS, HOST_MEMORY); /* else the BARs are soon off */
        }
        if (chance(512) == 0) {
            drive_pci();
        } else if (chance(16) == 0) {
            touch_config();
        } else {
            touch_bar();
        }
        if (chance(16) == 0) {
            virtio_pci_line_acked(&pci);
        }
        happen(&pci.regs);
    }
    expect_end(&pci.regs);
    pci_host_fini(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mmio_outlives_a_wild_driver),
        cmocka_unit_test(mmio_of_version_1_outlives_a_wild_driver),
        cmocka_unit_test(pci_outlives_a_wild_driver),
    };

    return unit_run(tests);
}
