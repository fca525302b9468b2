/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: VIRTIO 1.2, 4.1.4 "Virtio Structure PCI Capabilities". */
#include "tests/guest/bare/bus_pci.h"

enum {
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR = 3,
    CAP_DEVICE = 4,
};

/* VIRTIO 1.2, 4.1.4.3 "Common configuration structure layout". */
enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    MSIX_CONFIG = 0x10,
    STATUS = 0x14,
    GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_AVAIL = 0x28,
    QUEUE_USED = 0x30,
    QUEUE_RESET = 0x3a,
};

bool bus_modern_init(struct bus_pci *bus)
{
    const struct pci_function *pci = &bus->pci;

    for (unsigned cap = pci_capability(pci, PCI_CAP_VENDOR, 0); cap != 0;
         cap = pci_capability(pci, PCI_CAP_VENDOR, cap)) {
        unsigned bar = pci_read8(pci, cap + 4);
        uint64_t at;

        if (bar >= ARRAY_SIZE(pci->bar) || pci->bar[bar] == 0) {
            continue;
        }
        at = pci->bar[bar] + pci_read32(pci, cap + 8);
        switch (pci_read8(pci, cap + 3)) {
        case CAP_COMMON:
            bus->common = at;
            break;
        case CAP_NOTIFY:
            bus->notify = at;
            bus->notify_step = pci_read32(pci, cap + 16);
            break;
        case CAP_ISR:
            bus->isr = at;
            break;
        case CAP_DEVICE:
            bus->device = at;
            break;
        default:
            break;
        }
    }
    return bus->common && bus->notify && bus->isr && bus->device;
}

static uint8_t get_status(void *arg)
{
    struct bus_pci *bus = arg;

    return reg_read8(bus->common + STATUS);
}

static void set_status(void *arg, uint8_t status)
{
    struct bus_pci *bus = arg;

    reg_write8(bus->common + STATUS, status);
}

static uint64_t get_features(void *arg)
{
    struct bus_pci *bus = arg;
    uint64_t low;

    reg_write32(bus->common + DEVICE_FEATURE_SELECT, 0);
    low = reg_read32(bus->common + DEVICE_FEATURE);
    reg_write32(bus->common + DEVICE_FEATURE_SELECT, 1);
    return low | (uint64_t)reg_read32(bus->common + DEVICE_FEATURE) << 32;
}

static void set_features(void *arg, uint64_t features)
{
    struct bus_pci *bus = arg;

    for (unsigned half = 0; half < 2; half++) {
        reg_write32(bus->common + DRIVER_FEATURE_SELECT, half);
        reg_write32(bus->common + DRIVER_FEATURE, (uint32_t)(features >> 32 * half));
    }
}

static uint32_t generation(void *arg)
{
    struct bus_pci *bus = arg;

    return reg_read8(bus->common + GENERATION);
}

static void read_config(void *arg, unsigned offset, void *to, unsigned len)
{
    struct bus_pci *bus = arg;
    uint8_t *bytes = to;

    for (unsigned i = 0; i < len; i++) {
        bytes[i] = reg_read8(bus->device + offset + i);
    }
}

static unsigned max_size(void *arg, unsigned index)
{
    struct bus_pci *bus = arg;

    reg_write16(bus->common + QUEUE_SELECT, (uint16_t)index);
    return reg_read16(bus->common + QUEUE_SIZE);
}

static void write64(uint64_t at, uint64_t value)
{
    reg_write32(at, (uint32_t)value);
    reg_write32(at + 4, (uint32_t)(value >> 32));
}

static int set_ring(void *arg, unsigned index, const struct ring_driver *ring)
{
    struct bus_pci *bus = arg;
    uint64_t common = bus->common;

    reg_write16(common + MSIX_CONFIG, bus->has_msix ? bus->config_vector : NO_VECTOR);
    reg_write16(common + QUEUE_SELECT, (uint16_t)index);
    reg_write16(common + QUEUE_SIZE, (uint16_t)ring->size);
    if (bus->has_msix) {
        reg_write16(common + QUEUE_MSIX, bus_pci_vector(bus, index));
        if (reg_read16(common + QUEUE_MSIX) == NO_VECTOR) {
            return -1;
        }
    }
    write64(common + QUEUE_DESC, ring_driver_addr(ring, ring->desc));
    write64(common + QUEUE_AVAIL, ring_driver_addr(ring, ring->avail));
    write64(common + QUEUE_USED, ring_driver_addr(ring, ring->used));
    bus->notify_at[index] =
        bus->notify + (uint64_t)reg_read16(common + QUEUE_NOTIFY_OFF) * bus->notify_step;
    reg_write16(common + QUEUE_ENABLE, 1);
    return reg_read16(common + QUEUE_SIZE) == ring->size ? 0 : -1;
}

/* Source: VIRTIO 1.2, 4.1.4.3 (queue_reset, queue_enable). */
void bus_modern_reset_ring(void *arg, unsigned index)
{
    struct bus_pci *bus = arg;

    reg_write16(bus->common + QUEUE_SELECT, (uint16_t)index);
    reg_write16(bus->common + QUEUE_RESET, 1);
    while (reg_read16(bus->common + QUEUE_RESET) != 0) {
    }
    if (reg_read16(bus->common + QUEUE_ENABLE) != 0) {
        fail("enabled after its reset, queue", index);
    }
}

static void notify(void *arg, unsigned index)
{
    struct bus_pci *bus = arg;

    reg_write16(bus->notify_at[index], (uint16_t)index);
}

const struct blk_driver_ops bus_modern_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .generation = generation,
    .read_config = read_config,
    .max_size = max_size,
    .set_ring = set_ring,
    .notify = notify,
    .now_ms = bus_now_ms,
    .relax = bus_relax,
};
