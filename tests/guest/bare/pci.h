/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * PCI configuration through ports CF8 and CFC: find functions, capabilities, place BARs, MSI-X.
 * Source: PCI Local Bus Specification 3.0, 3.2.2.3 "Configuration Space", 6.1 and 6.8.2 "MSI-X".
 */

#include "tests/guest/bare/bare.h"

#define PCI_COMMAND 0x04u
#define PCI_INTERRUPT_LINE 0x3cu
#define PCI_CAP_VENDOR 0x09u
#define PCI_CAP_MSIX 0x11u

struct pci_function {
    unsigned device; /* on bus 0 */
    unsigned function;
    uint64_t bar[6]; /* 0: none */
    uint64_t msix_table;
    unsigned msix_entries; /* 0: no MSI-X */
    unsigned msix_cap;
};

uint32_t pci_read32(const struct pci_function *pci, unsigned offset);
uint16_t pci_read16(const struct pci_function *pci, unsigned offset);
uint8_t pci_read8(const struct pci_function *pci, unsigned offset);
void pci_write32(const struct pci_function *pci, unsigned offset, uint32_t value);
void pci_write16(const struct pci_function *pci, unsigned offset, uint16_t value);

/* Function number `index` that is a virtio disk; its BARs are placed and decoded.  */
bool pci_find_disk(struct pci_function *pci, unsigned index, bool is_legacy);

/* The next capability with this number after `after` (0: the first), 0: none. */
unsigned pci_capability(const struct pci_function *pci, uint8_t id, unsigned after);

/* Write all of the table and switch MSI-X on: entry i sends vector VECTOR_QUEUE + i. */
bool pci_msix_on(struct pci_function *pci);
