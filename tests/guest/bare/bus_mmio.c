/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Source: VIRTIO 1.2, 4.2.2 "MMIO Device Register Layout", 4.2.4 "Legacy interface".  Devices
 * are named as Linux wants it: virtio_mmio.device=SIZE@ADDRESS:INTERRUPT, one word each.
 */
#include "tests/guest/bare/bare.h"

enum {
    MAGIC = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SELECT = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SELECT = 0x024,
    PAGE_BYTES = 0x028, /* legacy */
    QUEUE_SELECT = 0x030,
    QUEUE_MAX = 0x034,
    QUEUE_SIZE = 0x038,
    QUEUE_ALIGN = 0x03c, /* legacy */
    QUEUE_PFN = 0x040,   /* legacy */
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_AVAIL = 0x090,
    QUEUE_USED = 0x0a0,
    QUEUE_RESET = 0x0c0,
    GENERATION = 0x0fc,
    CONFIG = 0x100,
};

#define MAGIC_VALUE 0x74726976u
#define DISK_ID 2u

struct bus_mmio {
    uint64_t base;
    unsigned gsi;
    bool is_legacy;
};

static struct bus_mmio bus_mmio;

static void ack_line(void)
{
    reg_write32(bus_mmio.base + INTERRUPT_ACK, reg_read32(bus_mmio.base + INTERRUPT_STATUS));
}

static uint32_t get(void *arg, unsigned offset)
{
    struct bus_mmio *bus = arg;

    return reg_read32(bus->base + offset);
}

static void set(void *arg, unsigned offset, uint32_t value)
{
    struct bus_mmio *bus = arg;

    reg_write32(bus->base + offset, value);
}

static uint8_t get_status(void *bus)
{
    return (uint8_t)get(bus, STATUS);
}

static void set_status(void *bus, uint8_t status)
{
    set(bus, STATUS, status);
}

static uint64_t get_features(void *bus)
{
    uint64_t low;

    set(bus, DEVICE_FEATURES_SELECT, 0);
    low = get(bus, DEVICE_FEATURES);
    set(bus, DEVICE_FEATURES_SELECT, 1);
    return low | (uint64_t)get(bus, DEVICE_FEATURES) << 32;
}

static void set_features(void *bus, uint64_t features)
{
    for (unsigned half = 0; half < 2; half++) {
        set(bus, DRIVER_FEATURES_SELECT, half);
        set(bus, DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
    }
}

static uint32_t generation(void *bus)
{
    return bus_mmio.is_legacy ? 0 : get(bus, GENERATION);
}

static void read_config(void *arg, unsigned offset, void *to, unsigned len)
{
    struct bus_mmio *bus = arg;
    uint8_t *bytes = to;

    for (unsigned i = 0; i < len; i++) {
        bytes[i] = reg_read8(bus->base + CONFIG + offset + i);
    }
}

static unsigned max_size(void *bus, unsigned index)
{
    set(bus, QUEUE_SELECT, index);
    return get(bus, QUEUE_MAX);
}

static void set64(void *bus, unsigned offset, uint64_t value)
{
    set(bus, offset, (uint32_t)value);
    set(bus, offset + 4, (uint32_t)(value >> 32));
}

static int set_ring_legacy(void *bus, const struct ring_driver *ring)
{
    set(bus, PAGE_BYTES, RING_DRIVER_LEGACY_ALIGN);
    set(bus, QUEUE_SIZE, ring->size);
    set(bus, QUEUE_ALIGN, RING_DRIVER_LEGACY_ALIGN);
    set(bus, QUEUE_PFN, (uint32_t)(ring_driver_addr(ring, ring->desc) / RING_DRIVER_LEGACY_ALIGN));
    return get(bus, QUEUE_PFN) != 0 ? 0 : -1;
}

static int set_ring(void *bus, unsigned index, const struct ring_driver *ring)
{
    set(bus, QUEUE_SELECT, index);
    if (bus_mmio.is_legacy) {
        return set_ring_legacy(bus, ring);
    }
    set(bus, QUEUE_SIZE, ring->size);
    set64(bus, QUEUE_DESC, ring_driver_addr(ring, ring->desc));
    set64(bus, QUEUE_AVAIL, ring_driver_addr(ring, ring->avail));
    set64(bus, QUEUE_USED, ring_driver_addr(ring, ring->used));
    set(bus, QUEUE_READY, 1);
    return get(bus, QUEUE_READY) == 1 ? 0 : -1;
}

/* Source: VIRTIO 1.2, 4.2.2 (QueueReset). */
static void reset_ring(void *bus, unsigned index)
{
    set(bus, QUEUE_SELECT, index);
    set(bus, QUEUE_RESET, 1);
    while (get(bus, QUEUE_RESET) != 0) {
    }
    if (get(bus, QUEUE_READY) != 0) {
        fail("ready after its reset, queue", index);
    }
}

static void notify(void *bus, unsigned index)
{
    set(bus, QUEUE_NOTIFY, index);
}

static const struct blk_driver_ops ops = {
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

static bool is_disk(uint64_t base)
{
    return reg_read32(base + MAGIC) == MAGIC_VALUE && reg_read32(base + DEVICE_ID) == DISK_ID;
}

/* Number `index` of the devices on the command line that are disks. */
static bool find(struct bus_mmio *bus, unsigned index)
{
    for (const char *word = option_text("virtio_mmio.device"); word;
         word = option_next("virtio_mmio.device", word)) {
        (void)number_of(&word);
        word += *word == '@';
        bus->base = number_of(&word);
        word += *word == ':';
        bus->gsi = (unsigned)number_of(&word);
        if (is_disk(bus->base) && index-- == 0) {
            return true;
        }
    }
    return false;
}

void bus_mmio_find(struct bare_disk *disk, unsigned index)
{
    struct bus_mmio *bus = &bus_mmio;

    if (!find(bus, index)) {
        fail("no virtio-mmio disk", index);
    }
    bus->is_legacy = reg_read32(bus->base + VERSION) == 1;
    irq_line_ack = ack_line;
    irq_line_on(bus->gsi, option_is("trigger", "level", false));
    *disk = (struct bare_disk){
        .ops = &ops,
        .reset_ring = bus->is_legacy ? NULL : reset_ring,
        .bus = bus,
        .name = bus->is_legacy ? "mmio-legacy" : "mmio",
        .is_legacy = bus->is_legacy,
    };
}
