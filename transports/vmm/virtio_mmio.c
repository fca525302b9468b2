/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Source: VIRTIO 1.2, 4.2.2 "MMIO Device Register Layout", 4.2.4 "Legacy interface".
 */
#include "transports/vmm/virtio_mmio.h"

enum {
    MAGIC = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    GUEST_PAGE_SIZE = 0x028, /* legacy */
    QUEUE_SEL = 0x030,
    QUEUE_NUM_MAX = 0x034,
    QUEUE_NUM = 0x038,
    QUEUE_ALIGN = 0x03c, /* legacy */
    QUEUE_PFN = 0x040,   /* legacy */
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    SHM_LEN = 0x0b0, /* and the base behind it: no such region */
    SHM_END = 0x0c0,
    QUEUE_RESET = 0x0c0,
    GENERATION = 0x0fc,
    CONFIG = 0x100,
};

#define MAGIC_VALUE 0x74726976u  /* "virt" */
#define VENDOR_VALUE 0x4b4c4256u /* "VBLK" */
#define LEGACY_PAGE 4096u

static bool mmio_door(struct virtio_regs *regs, unsigned queue, struct virtio_doorbell *door)
{
    const struct virtio_mmio *mmio = containerof(regs, struct virtio_mmio, regs);

    *door = (struct virtio_doorbell){
        .addr = mmio->base + QUEUE_NOTIFY,
        .len = 4,
        .has_match = true,
        .match = queue,
    };
    return true;
}

static void mmio_wire_call(struct virtio_regs *regs, unsigned source)
{
    (void)regs->host->call_on(regs->arg, source, NULL);
}

/* The page size stays: Linux writes it once, before the reset that its probing begins with. */
static void mmio_reset(struct virtio_regs *regs)
{
    struct virtio_mmio *mmio = containerof(regs, struct virtio_mmio, regs);

    regs->is_legacy = mmio->is_version_1;
    for (unsigned i = 0; i < VIRTIO_REGS_MAX_QUEUES; i++) {
        mmio->align[i] = LEGACY_PAGE;
    }
}

static const struct virtio_file_ops mmio_ops = {
    .door = mmio_door,
    .wire_call = mmio_wire_call,
    .reset = mmio_reset,
};

void virtio_mmio_init(struct virtio_mmio *mmio, const struct virtio_mmio_opts *opts)
{
    mmio->base = opts->base;
    mmio->is_version_1 = opts->is_version_1;
    mmio->page = LEGACY_PAGE;
    virtio_regs_init(&mmio->regs, &mmio_ops, opts->host, opts->arg, opts->queue_count,
                     opts->queue_max);
}

/*
 * An irqfd cannot set a bit here, so an interrupt that is not only of the config is said to be
 * of a used buffer.
 */
static uint32_t interrupt_status(struct virtio_regs *regs)
{
    if (!virtio_regs_is_live(regs)) {
        return regs->isr;
    }
    if (regs->isr == 0) {
        return VIRTIO_ISR_QUEUE;
    }
    return regs->isr | (regs->host->was_used(regs->arg, false) ? VIRTIO_ISR_QUEUE : 0);
}

/* The driver looks at its rings after this, so what was used until now is told. */
static void interrupt_ack(struct virtio_regs *regs, uint32_t bits)
{
    regs->isr &= (uint8_t)~bits;
    if (bits & VIRTIO_ISR_QUEUE) {
        (void)regs->host->was_used(regs->arg, true);
    }
}

static uint32_t read_queue(struct virtio_mmio *mmio, uint32_t offset)
{
    const struct virtio_queue *queue = virtio_regs_queue(&mmio->regs);

    if (!queue) {
        return 0;
    }
    switch (offset) {
    case QUEUE_NUM_MAX:
        return mmio->regs.queue_max;
    case QUEUE_READY:
        return mmio->is_version_1 ? 0 : queue->is_ready;
    case QUEUE_PFN:
        return mmio->is_version_1 ? virtio_regs_read_pfn(queue, mmio->page) : 0;
    default:
        return 0;
    }
}

static uint32_t read_register(struct virtio_mmio *mmio, uint32_t offset)
{
    struct virtio_regs *regs = &mmio->regs;

    switch (offset) {
    case MAGIC:
        return MAGIC_VALUE;
    case VERSION:
        return mmio->is_version_1 ? 1 : 2;
    case DEVICE_ID:
        return VIRTIO_ID_BLOCK;
    case VENDOR_ID:
        return VENDOR_VALUE;
    case DEVICE_FEATURES:
        return mmio->is_version_1 && regs->device_select ? 0 : virtio_regs_read_features(regs);
    case INTERRUPT_STATUS:
        return interrupt_status(regs);
    case STATUS:
        return regs->status;
    case GENERATION:
        return regs->generation;
    default:
        break;
    }
    if (offset >= SHM_LEN && offset < SHM_END) {
        return UINT32_MAX; /* 4.2.2.1: what says that there is no such region */
    }
    return read_queue(mmio, offset);
}

uint32_t virtio_mmio_read(struct virtio_mmio *mmio, uint32_t offset, unsigned len)
{
    if (offset >= CONFIG) {
        return virtio_regs_config_read(&mmio->regs, offset - CONFIG, len);
    }
    return len == 4 && is_aligned(offset, 4) ? read_register(mmio, offset) : VIRTIO_NOTHING;
}

static void write_legacy(struct virtio_mmio *mmio, uint32_t offset, uint32_t value)
{
    struct virtio_regs *regs = &mmio->regs;

    switch (offset) {
    case GUEST_PAGE_SIZE:
        mmio->page = is_power_of_2(value) ? value : mmio->page;
        break;
    case QUEUE_ALIGN:
        if (virtio_regs_queue_setup(regs) && is_power_of_2(value)) {
            mmio->align[regs->queue_select] = value;
        }
        break;
    case QUEUE_PFN:
        if (virtio_regs_queue(regs)) {
            virtio_regs_queue_pfn(regs, value, mmio->page, mmio->align[regs->queue_select]);
        }
        break;
    default:
        break;
    }
}

static void write_ready(struct virtio_mmio *mmio, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case QUEUE_READY:
        if (value == 1) {
            virtio_regs_queue_ready(&mmio->regs);
        } else if (value == 0) {
            virtio_regs_queue_reset(&mmio->regs);
        }
        break;
    case QUEUE_RESET:
        if (value == 1 && (mmio->regs.driver_features & VIRTIO_FEATURE_RING_RESET)) {
            virtio_regs_queue_reset(&mmio->regs);
        }
        break;
    case QUEUE_DESC:
    case QUEUE_DESC + 4:
        virtio_regs_set_address(&mmio->regs, VIRTIO_DESC, offset != QUEUE_DESC, value);
        break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4:
        virtio_regs_set_address(&mmio->regs, VIRTIO_AVAIL, offset != QUEUE_DRIVER, value);
        break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4:
        virtio_regs_set_address(&mmio->regs, VIRTIO_USED, offset != QUEUE_DEVICE, value);
        break;
    default:
        break;
    }
}

static void write_register(struct virtio_mmio *mmio, uint32_t offset, uint32_t value)
{
    struct virtio_regs *regs = &mmio->regs;

    switch (offset) {
    case DEVICE_FEATURES_SEL:
        regs->device_select = value;
        break;
    case DRIVER_FEATURES:
        virtio_regs_write_features(regs, value);
        break;
    case DRIVER_FEATURES_SEL:
        regs->driver_select = value;
        break;
    case QUEUE_SEL:
        regs->queue_select = (uint16_t)min_of(value, (uint32_t)UINT16_MAX);
        break;
    case QUEUE_NUM:
        virtio_regs_set_size(regs, value);
        break;
    case QUEUE_NOTIFY:
        virtio_regs_notify(regs, value);
        break;
    case INTERRUPT_ACK:
        interrupt_ack(regs, value);
        break;
    case STATUS:
        virtio_regs_set_status(regs, (uint8_t)value);
        break;
    default:
        if (mmio->is_version_1) {
            write_legacy(mmio, offset, value);
        } else {
            write_ready(mmio, offset, value);
        }
        break;
    }
}

void virtio_mmio_write(struct virtio_mmio *mmio, uint32_t offset, uint32_t value, unsigned len)
{
    if (offset >= CONFIG) {
        virtio_regs_config_write(&mmio->regs, offset - CONFIG, value, len);
    } else if (len == 4 && is_aligned(offset, 4)) {
        write_register(mmio, offset, value);
    }
}
