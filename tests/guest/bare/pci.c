/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/guest/bare/pci.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u

#define VENDOR_VIRTIO 0x1af4u
#define DEVICE_LEGACY 0x1001u /* transitional, too */
#define DEVICE_MODERN 0x1042u
#define COMMAND_DECODE 0x7u /* I/O, memory, bus master */
#define COMMAND_NO_INTX 0x400u
#define BAR_OFFSET 0x10u
#define BAR_IO 0x1u
#define BAR_64 0x4u
#define CAP_POINTER 0x34u
#define MSIX_ENABLE 0x8000u
#define MSIX_FUNCTION 0x4000u /* mask of all */
#define MSIX_ENTRY_BYTES 16u

/* Where a BAR goes that firmware did not place. */
static uint64_t next_memory = 0xe1000000u;
static uint64_t next_io = 0xc000u;

static void select_register(const struct pci_function *pci, unsigned offset)
{
    out32(CONFIG_ADDRESS,
          CONFIG_ENABLE | pci->device << 11 | pci->function << 8 | (offset & 0xfcu));
}

uint32_t pci_read32(const struct pci_function *pci, unsigned offset)
{
    select_register(pci, offset);
    return in32(CONFIG_DATA);
}

uint16_t pci_read16(const struct pci_function *pci, unsigned offset)
{
    select_register(pci, offset);
    return in16((uint16_t)(CONFIG_DATA + (offset & 2)));
}

uint8_t pci_read8(const struct pci_function *pci, unsigned offset)
{
    select_register(pci, offset);
    return in8((uint16_t)(CONFIG_DATA + (offset & 3)));
}

void pci_write32(const struct pci_function *pci, unsigned offset, uint32_t value)
{
    select_register(pci, offset);
    out32(CONFIG_DATA, value);
}

void pci_write16(const struct pci_function *pci, unsigned offset, uint16_t value)
{
    select_register(pci, offset);
    out16((uint16_t)(CONFIG_DATA + (offset & 2)), value);
}

unsigned pci_capability(const struct pci_function *pci, uint8_t id, unsigned after)
{
    unsigned cap = pci_read8(pci, after ? after + 1 : CAP_POINTER) & 0xfcu;

    for (unsigned i = 0; cap != 0 && i < 48; i++) {
        if (pci_read8(pci, cap) == id) {
            return cap;
        }
        cap = pci_read8(pci, cap + 1) & 0xfcu;
    }
    return 0;
}

/* The size of what a BAR decodes, 0: not there.  The BAR is as before afterwards. */
static uint32_t bar_size(const struct pci_function *pci, unsigned offset)
{
    uint32_t old = pci_read32(pci, offset);
    uint32_t mask;

    pci_write32(pci, offset, 0xffffffffu);
    mask = pci_read32(pci, offset);
    pci_write32(pci, offset, old);
    mask &= old & BAR_IO ? 0xfffcu : 0xfffffff0u;
    return mask & (~mask + 1);
}

static uint64_t take(uint64_t *next, uint32_t size)
{
    uint64_t at = round_up(*next, size);

    *next = at + size;
    return at;
}

/* Firmware's place is kept where we can reach it. */
static unsigned place_bar(struct pci_function *pci, unsigned number)
{
    unsigned offset = BAR_OFFSET + 4 * number;
    uint32_t low = pci_read32(pci, offset);
    bool is_io = low & BAR_IO;
    bool is_64 = !is_io && (low & BAR_64);
    uint32_t size = bar_size(pci, offset);
    uint64_t addr = low & (is_io ? ~3u : ~15u);

    if (is_64) {
        addr |= (uint64_t)pci_read32(pci, offset + 4) << 32;
    }
    if (size == 0) {
        return is_64 ? 2 : 1;
    }
    if (addr == 0 || addr >> 32 != 0) {
        addr = take(is_io ? &next_io : &next_memory, size);
        pci_write32(pci, offset, (uint32_t)addr);
        if (is_64) {
            pci_write32(pci, offset + 4, 0);
        }
    }
    pci->bar[number] = addr;
    return is_64 ? 2 : 1;
}

static void find_msix(struct pci_function *pci)
{
    unsigned cap = pci_capability(pci, PCI_CAP_MSIX, 0);
    uint32_t table;

    if (cap == 0) {
        return;
    }
    table = pci_read32(pci, cap + 4);
    if ((table & 7) >= ARRAY_SIZE(pci->bar) || pci->bar[table & 7] == 0) {
        return;
    }
    pci->msix_cap = cap;
    pci->msix_entries = (pci_read16(pci, cap + 2) & 0x7ffu) + 1;
    pci->msix_table = pci->bar[table & 7] + (table & ~7u);
}

static bool is_disk(const struct pci_function *pci, bool is_legacy)
{
    uint32_t id = pci_read32(pci, 0);
    unsigned device = id >> 16;

    if ((id & 0xffffu) != VENDOR_VIRTIO) {
        return false;
    }
    return device == DEVICE_LEGACY || (device == DEVICE_MODERN && !is_legacy);
}

/* Where the index counts all virtio disks, legacy or not. */
bool pci_find_disk(struct pci_function *pci, unsigned index, bool is_legacy)
{
    for (unsigned i = 0; i < 256; i++) {
        *pci = (struct pci_function){.device = i / 8, .function = i % 8};
        if (!is_disk(pci, is_legacy) || index-- > 0) {
            continue;
        }
        pci_write16(pci, PCI_COMMAND, 0);
        for (unsigned bar = 0; bar < ARRAY_SIZE(pci->bar);) {
            bar += place_bar(pci, bar);
        }
        pci_write16(pci, PCI_COMMAND, COMMAND_DECODE);
        find_msix(pci);
        return true;
    }
    return false;
}

bool pci_msix_on(struct pci_function *pci)
{
    uint64_t address = irq_msi_address();

    if (pci->msix_entries == 0) {
        return false;
    }
    pci_write16(pci, pci->msix_cap + 2, MSIX_ENABLE | MSIX_FUNCTION);
    for (unsigned i = 0; i < pci->msix_entries; i++) {
        uint64_t entry = pci->msix_table + (uint64_t)MSIX_ENTRY_BYTES * i;

        reg_write32(entry, (uint32_t)address);
        reg_write32(entry + 4, (uint32_t)(address >> 32));
        reg_write32(entry + 8, VECTOR_QUEUE + i);
        reg_write32(entry + 12, 0);
    }
    pci_write16(pci, PCI_COMMAND, COMMAND_DECODE | COMMAND_NO_INTX);
    pci_write16(pci, pci->msix_cap + 2, MSIX_ENABLE);
    return true;
}
