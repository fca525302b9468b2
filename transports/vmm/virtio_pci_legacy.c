/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The ports of BAR 0.
 * Source: VIRTIO 1.2, 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout".
 */
#include "transports/vmm/virtio_pci.h"

#define BAR_BYTES 0x80u
#define PAGE_BYTES 4096u

enum {
    HOST_FEATURES = 0,
    GUEST_FEATURES = 4,
    QUEUE_PFN = 8,
    QUEUE_SIZE = 12,
    QUEUE_SELECT = 14,
    QUEUE_NOTIFY = 16,
    STATUS = 18,
    ISR = 19,
    CONFIG_VECTOR = 20, /* both only with MSI-X on; without, the disk's config is here */
    QUEUE_VECTOR = 22,
    END = 24,
};

/* For virtio_pci_register_at. */
static const uint8_t starts[] = {
    HOST_FEATURES, GUEST_FEATURES, QUEUE_PFN,    QUEUE_SIZE, QUEUE_SELECT, QUEUE_NOTIFY, STATUS,
    ISR,           CONFIG_VECTOR,  QUEUE_VECTOR, END,
};

void virtio_pci_legacy_init(struct virtio_pci *pci)
{
    pci_function_add_bar(&pci->fn, VIRTIO_PCI_BAR_LEGACY, BAR_BYTES, true);
}

void virtio_pci_legacy_door(const struct virtio_pci *pci, unsigned queue,
                            struct virtio_doorbell *door)
{
    *door = (struct virtio_doorbell){
        .addr = pci->fn.bar[VIRTIO_PCI_BAR_LEGACY].addr + QUEUE_NOTIFY,
        .len = 2,
        .is_port = true,
        .has_match = true,
        .match = queue,
    };
}

static uint32_t config_at(const struct virtio_pci *pci)
{
    return pci->is_msix_on ? END : CONFIG_VECTOR;
}

static uint32_t read_queue(struct virtio_pci *pci, uint32_t offset)
{
    const struct virtio_queue *queue = virtio_regs_queue(&pci->regs);

    if (!queue) {
        return offset == QUEUE_VECTOR ? VIRTIO_NO_VECTOR : 0;
    }
    switch (offset) {
    case QUEUE_PFN:
        return virtio_regs_read_pfn(queue, PAGE_BYTES);
    case QUEUE_SIZE:
        return queue->size;
    default:
        return queue->vector;
    }
}

static uint32_t read_register(struct virtio_pci *pci, uint32_t offset)
{
    struct virtio_regs *regs = &pci->regs;

    switch (offset) {
    case HOST_FEATURES:
        return (uint32_t)(virtio_regs_offered(regs));
    case GUEST_FEATURES:
        return (uint32_t)regs->driver_features;
    case QUEUE_SELECT:
        return regs->queue_select;
    case QUEUE_NOTIFY:
        return 0;
    case STATUS:
        return regs->status;
    case ISR:
        return virtio_pci_read_isr(pci);
    case CONFIG_VECTOR:
        return regs->config_vector;
    default:
        return read_queue(pci, offset);
    }
}

uint32_t virtio_pci_legacy_read(struct virtio_pci *pci, uint32_t offset, unsigned len)
{
    unsigned register_len;
    uint32_t at;

    if (offset >= config_at(pci)) {
        return virtio_regs_config_read(&pci->regs, offset - config_at(pci), len);
    }
    at = virtio_pci_register_at(starts, ARRAY_SIZE(starts), offset, &register_len);
    if (offset + len > at + register_len) {
        return VIRTIO_NOTHING;
    }
    return virtio_pci_part(read_register(pci, at), offset - at, len);
}

/*
 * Who writes here before it has agreed on features by the modern way speaks the old interface.
 * Source: VIRTIO 1.2, 2.2.3 "Legacy Interface: A Note on Feature Bits".
 */
static void become_legacy(struct virtio_regs *regs)
{
    if (!(regs->status & VIRTIO_STATUS_FEATURES_OK)) {
        regs->is_legacy = true;
    }
}

static void write_vector(struct virtio_pci *pci, uint32_t offset, uint32_t value)
{
    struct virtio_regs *regs = &pci->regs;
    struct virtio_queue *queue = virtio_regs_queue(regs);

    if (offset == CONFIG_VECTOR) {
        regs->config_vector = virtio_pci_msix_number(pci, value);
        virtio_pci_rewire(pci, regs->queue_count);
    } else if (queue) {
        queue->vector = virtio_pci_msix_number(pci, value);
        virtio_pci_rewire(pci, regs->queue_select);
    }
}

static void write_register(struct virtio_pci *pci, uint32_t offset, uint32_t value)
{
    struct virtio_regs *regs = &pci->regs;

    switch (offset) {
    case GUEST_FEATURES:
        become_legacy(regs);
        regs->driver_select = 0;
        virtio_regs_write_features(regs, value);
        break;
    case QUEUE_PFN:
        become_legacy(regs);
        virtio_regs_queue_pfn(regs, value, PAGE_BYTES, PAGE_BYTES);
        break;
    case QUEUE_SELECT:
        regs->queue_select = (uint16_t)value;
        break;
    case QUEUE_NOTIFY:
        virtio_regs_notify(regs, value);
        break;
    case STATUS:
        become_legacy(regs);
        virtio_regs_set_status(regs, (uint8_t)value);
        break;
    case CONFIG_VECTOR:
    case QUEUE_VECTOR:
        write_vector(pci, offset, value);
        break;
    default:
        break; /* features, size and ISR are ours */
    }
}

void virtio_pci_legacy_write(struct virtio_pci *pci, uint32_t offset, uint32_t value, unsigned len)
{
    unsigned register_len;

    if (offset >= config_at(pci)) {
        virtio_regs_config_write(&pci->regs, offset - config_at(pci), value, len);
    } else if (virtio_pci_register_at(starts, ARRAY_SIZE(starts), offset, &register_len) ==
                   offset &&
               register_len == len) {
        write_register(pci, offset, value);
    }
}
