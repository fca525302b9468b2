/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/guest/bare/bus_pci.h"

static struct bus_pci bus_pci;

static void ack_line(void)
{
    if (bus_pci.ports) {
        (void)in8((uint16_t)(bus_pci.ports + 19));
    } else {
        (void)reg_read8(bus_pci.isr);
    }
}

/* Entries go to the queues in order; the config shares the last one of the table. */
static void set_up_interrupts(struct bus_pci *bus, bool wants_msix)
{
    bus->has_msix = wants_msix && pci_msix_on(&bus->pci);
    if (bus->has_msix) {
        bus->config_vector = (uint16_t)(bus->pci.msix_entries - 1);
        return;
    }
    irq_line_ack = ack_line;
    irq_line_on(pci_read8(&bus->pci, PCI_INTERRUPT_LINE), true);
}

void bus_pci_find(struct bare_disk *disk, unsigned index, bool is_legacy, bool wants_msix)
{
    struct bus_pci *bus = &bus_pci;

    if (!pci_find_disk(&bus->pci, index, is_legacy)) {
        fail("no virtio disk on PCI", index);
    }
    if (!(is_legacy ? bus_legacy_init(bus) : bus_modern_init(bus))) {
        fail("registers not found", is_legacy);
    }
    set_up_interrupts(bus, wants_msix);
    *disk = (struct bare_disk){
        .ops = is_legacy ? &bus_legacy_ops : &bus_modern_ops,
        .reset_ring = is_legacy ? NULL : bus_modern_reset_ring,
        .bus = bus,
        .name = is_legacy ? "pci-legacy" : "pci",
        .is_legacy = is_legacy,
        .is_size_fixed = is_legacy,
        .has_msix = bus->has_msix,
    };
}

uint64_t bus_now_ms(void *bus)
{
    (void)bus;
    return clock_ms();
}

void bus_relax(void *bus)
{
    (void)bus;
    __asm__ volatile("pause");
}
