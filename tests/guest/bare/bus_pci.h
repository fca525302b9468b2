/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A virtio disk behind PCI: what its two register layouts share. */

#include "tests/guest/bare/pci.h"

#define NO_VECTOR 0xffffu

struct bus_pci {
    struct pci_function pci;
    bool has_msix;
    uint16_t config_vector; /* entry numbers of the MSI-X table */
    uint64_t common;        /* modern: where each structure lies */
    uint64_t notify;
    uint64_t isr;
    uint64_t device;
    uint32_t notify_step;
    uint64_t notify_at[MAX_QUEUES];
    uint16_t ports; /* legacy */
};

/* The entry of a queue: with few entries they share the last. */
static inline uint16_t bus_pci_vector(const struct bus_pci *bus, unsigned index)
{
    return (uint16_t)min_of(index, bus->pci.msix_entries - 1);
}

extern const struct blk_driver_ops bus_modern_ops;
extern const struct blk_driver_ops bus_legacy_ops;

void bus_modern_reset_ring(void *bus, unsigned index);

bool bus_modern_init(struct bus_pci *bus);
bool bus_legacy_init(struct bus_pci *bus);
