/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: VIRTIO 1.2, 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout". */
#include "tests/guest/bare/bus_pci.h"

enum {
    DEVICE_FEATURES = 0,
    DRIVER_FEATURES = 4,
    QUEUE_PFN = 8,
    QUEUE_SIZE = 12,
    QUEUE_SELECT = 14,
    QUEUE_NOTIFY = 16,
    STATUS = 18,
    MSIX_CONFIG = 20, /* with MSI-X on */
    MSIX_QUEUE = 22,
    CONFIG = 20,
    CONFIG_MSIX = 24,
};

#define PAGE_SHIFT 12

bool bus_legacy_init(struct bus_pci *bus)
{
    bus->ports = (uint16_t)bus->pci.bar[0];
    return bus->ports != 0 && (pci_read32(&bus->pci, 0x10) & 1);
}

static uint16_t port(void *arg, unsigned offset)
{
    struct bus_pci *bus = arg;

    return (uint16_t)(bus->ports + offset);
}

static uint8_t get_status(void *arg)
{
    return in8(port(arg, STATUS));
}

static void set_status(void *arg, uint8_t status)
{
    out8(port(arg, STATUS), status);
}

static uint64_t get_features(void *arg)
{
    return in32(port(arg, DEVICE_FEATURES));
}

static void set_features(void *arg, uint64_t features)
{
    out32(port(arg, DRIVER_FEATURES), (uint32_t)features);
}

static void read_config(void *arg, unsigned offset, void *to, unsigned len)
{
    struct bus_pci *bus = arg;
    uint8_t *bytes = to;
    unsigned start = bus->has_msix ? CONFIG_MSIX : CONFIG;

    for (unsigned i = 0; i < len; i++) {
        bytes[i] = in8(port(bus, start + offset + i));
    }
}

static unsigned max_size(void *arg, unsigned index)
{
    out16(port(arg, QUEUE_SELECT), (uint16_t)index);
    return in16(port(arg, QUEUE_SIZE));
}

static int set_ring(void *arg, unsigned index, const struct ring_driver *ring)
{
    struct bus_pci *bus = arg;

    out16(port(bus, QUEUE_SELECT), (uint16_t)index);
    out32(port(bus, QUEUE_PFN), (uint32_t)(ring_driver_addr(ring, ring->desc) >> PAGE_SHIFT));
    if (!bus->has_msix) {
        return 0;
    }
    out16(port(bus, MSIX_CONFIG), bus->config_vector);
    out16(port(bus, MSIX_QUEUE), bus_pci_vector(bus, index));
    return in16(port(bus, MSIX_QUEUE)) == NO_VECTOR ? -1 : 0;
}

static void notify(void *arg, unsigned index)
{
    out16(port(arg, QUEUE_NOTIFY), (uint16_t)index);
}

const struct blk_driver_ops bus_legacy_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .read_config = read_config,
    .max_size = max_size,
    .set_ring = set_ring,
    .notify = notify,
    .now_ms = bus_now_ms,
    .relax = bus_relax,
};
