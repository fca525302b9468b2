/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The structures of BAR 4, a page for each kind:
 *
 *   0x0000 common   0x1000 isr   0x2000 device   0x3000 notify, 4 bytes for each queue
 *
 * Source: VIRTIO 1.2, 4.1.4 "Virtio Structure PCI Capabilities".
 */
#include "transports/vmm/virtio_pci.h"

#define BAR_BYTES 0x4000u
#define PAGE_BYTES 0x1000u
#define COMMON_AT 0x0000u
#define ISR_AT 0x1000u
#define DEVICE_AT 0x2000u
#define NOTIFY_AT 0x3000u
#define NOTIFY_STEP 4u

#define COMMON_BYTES 0x40u
#define CONFIG_BYTES 0x100u /* of the disk, with room */

#define CAPABILITY_VENDOR 0x09u

/* VIRTIO 1.2, 4.1.4, cfg_type. */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };

#define CAP_BYTES 16u
#define CAP_LONG_BYTES 20u

/* VIRTIO 1.2, 4.1.4.3 "Common configuration structure layout". */
enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_VECTOR = 0x10,
    NUM_QUEUES = 0x12,
    DEVICE_STATUS = 0x14,
    CONFIG_GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
    QUEUE_NOTIFY_DATA = 0x38,
    QUEUE_RESET = 0x3a,
};

/* For virtio_pci_register_at. */
static const uint8_t starts[] = {
    DEVICE_FEATURE_SELECT, DEVICE_FEATURE, DRIVER_FEATURE_SELECT, DRIVER_FEATURE,
    CONFIG_VECTOR,         NUM_QUEUES,     DEVICE_STATUS,         CONFIG_GENERATION,
    QUEUE_SELECT,          QUEUE_SIZE,     QUEUE_VECTOR,          QUEUE_ENABLE,
    QUEUE_NOTIFY_OFF,      QUEUE_DESC,     QUEUE_DESC + 4,        QUEUE_DRIVER,
    QUEUE_DRIVER + 4,      QUEUE_DEVICE,   QUEUE_DEVICE + 4,      QUEUE_NOTIFY_DATA,
    QUEUE_RESET,           0x3c,
};

static unsigned add_capability(struct virtio_pci *pci, uint8_t type, uint32_t offset, uint32_t len,
                               unsigned bytes)
{
    unsigned at = pci_function_add_capability(&pci->fn, CAPABILITY_VENDOR, bytes);

    pci_config_set(&pci->fn, at + 2, bytes, 1);
    pci_config_set(&pci->fn, at + 3, type, 1);
    pci_config_set(&pci->fn, at + 4, type == CAP_WINDOW ? 0 : VIRTIO_PCI_BAR_MODERN, 1);
    pci_config_set(&pci->fn, at + 8, offset, 4);
    pci_config_set(&pci->fn, at + 12, len, 4);
    return at;
}

void virtio_pci_modern_init(struct virtio_pci *pci)
{
    unsigned at;

    pci_function_add_bar(&pci->fn, VIRTIO_PCI_BAR_MODERN, BAR_BYTES, false);
    (void)add_capability(pci, CAP_COMMON, COMMON_AT, COMMON_BYTES, CAP_BYTES);
    (void)add_capability(pci, CAP_ISR, ISR_AT, 1, CAP_BYTES);
    (void)add_capability(pci, CAP_DEVICE, DEVICE_AT, CONFIG_BYTES, CAP_BYTES);
    at = add_capability(pci, CAP_NOTIFY, NOTIFY_AT, NOTIFY_STEP * pci->regs.queue_count,
                        CAP_LONG_BYTES);
    pci_config_set(&pci->fn, at + 16, NOTIFY_STEP, 4);
    at = add_capability(pci, CAP_WINDOW, 0, 0, CAP_LONG_BYTES);
    pci->fn.writable[at + 4] = 0xff;                /* bar */
    memset(pci->fn.writable + at + 8, 0xff, 4 * 3); /* offset, length, data */
    pci->window_at = at;
}

/* Any length: the address tells the queue, and a driver may write 2 or 4 bytes. */
void virtio_pci_modern_door(const struct virtio_pci *pci, unsigned queue,
                            struct virtio_doorbell *door)
{
    *door = (struct virtio_doorbell){
        .addr = pci->fn.bar[VIRTIO_PCI_BAR_MODERN].addr + NOTIFY_AT + NOTIFY_STEP * queue,
    };
}

/* ---- reading ---- */

static uint32_t read_address(uint64_t addr, uint32_t offset)
{
    return (uint32_t)(offset & 4 ? addr >> 32 : addr);
}

static uint32_t read_queue(struct virtio_pci *pci, uint32_t offset)
{
    const struct virtio_queue *queue = virtio_regs_queue(&pci->regs);

    if (!queue) {
        return offset == QUEUE_VECTOR ? VIRTIO_NO_VECTOR : 0; /* size 0: there is no such queue */
    }
    switch (offset) {
    case QUEUE_SIZE:
        return queue->size;
    case QUEUE_VECTOR:
        return queue->vector;
    case QUEUE_ENABLE:
        return queue->is_ready;
    case QUEUE_NOTIFY_OFF:
        return pci->regs.queue_select;
    case QUEUE_DESC:
    case QUEUE_DESC + 4:
        return read_address(queue->desc, offset);
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4:
        return read_address(queue->avail, offset);
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4:
        return read_address(queue->used, offset);
    default:
        return 0; /* also QUEUE_RESET: it is done when the write returns */
    }
}

static uint32_t read_common(struct virtio_pci *pci, uint32_t offset)
{
    const struct virtio_regs *regs = &pci->regs;

    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        return regs->device_select;
    case DEVICE_FEATURE:
        return virtio_regs_read_features(regs);
    case DRIVER_FEATURE_SELECT:
        return regs->driver_select;
    case DRIVER_FEATURE:
        return virtio_regs_read_accepted(regs);
    case CONFIG_VECTOR:
        return regs->config_vector;
    case NUM_QUEUES:
        return regs->queue_count;
    case DEVICE_STATUS:
        return regs->status;
    case CONFIG_GENERATION:
        return (uint8_t)regs->generation;
    case QUEUE_SELECT:
        return regs->queue_select;
    default:
        return read_queue(pci, offset);
    }
}

/* A part of a register reads as that part of its value. */
static uint32_t read_common_part(struct virtio_pci *pci, uint32_t offset, unsigned len)
{
    unsigned register_len;
    uint32_t at = virtio_pci_register_at(starts, ARRAY_SIZE(starts), offset, &register_len);

    if (offset + len > at + register_len) {
        return VIRTIO_NOTHING;
    }
    return virtio_pci_part(read_common(pci, at), offset - at, len);
}

uint32_t virtio_pci_modern_read(struct virtio_pci *pci, uint32_t offset, unsigned len)
{
    uint32_t at = offset % PAGE_BYTES;

    switch (offset - at) {
    case COMMON_AT:
        return read_common_part(pci, at, len);
    case ISR_AT:
        return at == 0 ? virtio_pci_read_isr(pci) : VIRTIO_NOTHING;
    case DEVICE_AT:
        return virtio_regs_config_read(&pci->regs, at, len);
    default:
        return VIRTIO_NOTHING; /* notify registers are written only */
    }
}

/* ---- writing ---- */

static void write_queue(struct virtio_pci *pci, uint32_t offset, uint32_t value)
{
    struct virtio_regs *regs = &pci->regs;
    struct virtio_queue *queue = virtio_regs_queue(regs);

    if (regs->is_legacy) {
        return; /* this driver set its queues up by the ports */
    }
    switch (offset) {
    case QUEUE_SIZE:
        virtio_regs_set_size(regs, value);
        break;
    case QUEUE_VECTOR:
        if (queue) {
            queue->vector = virtio_pci_msix_number(pci, value);
            virtio_pci_rewire(pci, regs->queue_select);
        }
        break;
    case QUEUE_ENABLE: /* 4.1.4.3.2: 0 is not to be written */
        if (value == 1) {
            virtio_regs_queue_ready(regs);
        }
        break;
    case QUEUE_RESET:
        if (value == 1 && (regs->driver_features & VIRTIO_FEATURE_RING_RESET)) {
            virtio_regs_queue_reset(regs);
        }
        break;
    case QUEUE_DESC:
    case QUEUE_DESC + 4:
        virtio_regs_set_address(regs, VIRTIO_DESC, offset != QUEUE_DESC, value);
        break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4:
        virtio_regs_set_address(regs, VIRTIO_AVAIL, offset != QUEUE_DRIVER, value);
        break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4:
        virtio_regs_set_address(regs, VIRTIO_USED, offset != QUEUE_DEVICE, value);
        break;
    default:
        break;
    }
}

static void write_common(struct virtio_pci *pci, uint32_t offset, uint32_t value)
{
    struct virtio_regs *regs = &pci->regs;

    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        regs->device_select = value;
        break;
    case DRIVER_FEATURE_SELECT:
        regs->driver_select = value;
        break;
    case DRIVER_FEATURE:
        virtio_regs_write_features(regs, value);
        break;
    case CONFIG_VECTOR:
        regs->config_vector = virtio_pci_msix_number(pci, value);
        virtio_pci_rewire(pci, regs->queue_count);
        break;
    case DEVICE_STATUS:
        virtio_regs_set_status(regs, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        regs->queue_select = (uint16_t)value;
        break;
    default:
        write_queue(pci, offset, value);
        break;
    }
}

/* Source: VIRTIO 1.2, 4.1.3.1: a driver writes each field in its own width. */
static void write_common_whole(struct virtio_pci *pci, uint32_t offset, uint32_t value,
                               unsigned len)
{
    unsigned register_len;

    if (virtio_pci_register_at(starts, ARRAY_SIZE(starts), offset, &register_len) == offset &&
        register_len == len) {
        write_common(pci, offset, value);
    }
}

void virtio_pci_modern_write(struct virtio_pci *pci, uint32_t offset, uint32_t value, unsigned len)
{
    uint32_t at = offset % PAGE_BYTES;

    switch (offset - at) {
    case COMMON_AT:
        write_common_whole(pci, at, value, len);
        break;
    case DEVICE_AT:
        virtio_regs_config_write(&pci->regs, at, value, len);
        break;
    case NOTIFY_AT:
        virtio_regs_notify(&pci->regs, at / NOTIFY_STEP);
        break;
    default:
        break;
    }
}
