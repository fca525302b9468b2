/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vmm/virtio_pci.h"

#include <assert.h>

/* Source: VIRTIO 1.2, 4.1.2 "PCI Device Discovery", 4.1.2.3 "Legacy Interfaces". */
#define VIRTIO_VENDOR 0x1af4u
#define DEVICE_TRANSITIONAL 0x1001u
#define DEVICE_MODERN (0x1040u + VIRTIO_ID_BLOCK)
#define CLASS_STORAGE 0x0100u

/* VIRTIO 1.2, 4.1.4 "Virtio Structure PCI Capabilities": in the window's capability. */
#define WINDOW_BAR 4u
#define WINDOW_OFFSET 8u
#define WINDOW_LENGTH 12u
#define WINDOW_DATA 16u

static struct virtio_pci *pci_of(struct pci_function *fn)
{
    return containerof(fn, struct virtio_pci, fn);
}

static bool pci_door(struct virtio_regs *regs, unsigned queue, struct virtio_doorbell *door)
{
    const struct virtio_pci *pci = containerof(regs, struct virtio_pci, regs);
    unsigned bar = regs->is_legacy ? VIRTIO_PCI_BAR_LEGACY : VIRTIO_PCI_BAR_MODERN;

    if (!pci->fn.bar[bar].is_on) {
        return false;
    }
    if (regs->is_legacy) {
        virtio_pci_legacy_door(pci, queue, door);
    } else {
        virtio_pci_modern_door(pci, queue, door);
    }
    return true;
}

static const struct virtio_file_ops file_ops = {
    .door = pci_door,
    .wire_call = virtio_pci_wire_call,
};

/* Source: VIRTIO 1.2, 4.1.4.5 "ISR status capability". */
uint8_t virtio_pci_read_isr(struct virtio_pci *pci)
{
    struct virtio_regs *regs = &pci->regs;
    uint8_t isr = regs->isr;

    regs->isr = 0;
    if (virtio_regs_is_live(regs) && regs->host->was_used(regs->arg, true)) {
        isr |= VIRTIO_ISR_QUEUE;
    }
    return isr;
}

void virtio_pci_line_acked(struct virtio_pci *pci)
{
    struct virtio_regs *regs = &pci->regs;

    if (virtio_regs_is_live(regs) && !pci->is_msix_on &&
        (regs->isr != 0 || regs->host->was_used(regs->arg, false))) {
        regs->host->signal(regs->arg, regs->queue_count);
    }
}

uint32_t virtio_pci_register_at(const uint8_t *starts, unsigned count, uint32_t offset,
                                unsigned *len)
{
    unsigned i = 0;

    while (i + 1 < count && starts[i + 1] <= offset) {
        i++;
    }
    *len = i + 1 < count ? (unsigned)(starts[i + 1] - starts[i]) : 0;
    return starts[i];
}

static uint32_t bar_read(struct pci_function *fn, unsigned bar, uint32_t offset, unsigned len)
{
    switch (bar) {
    case VIRTIO_PCI_BAR_LEGACY:
        return virtio_pci_legacy_read(pci_of(fn), offset, len);
    case VIRTIO_PCI_BAR_MSIX:
        return virtio_pci_msix_read(pci_of(fn), offset, len);
    default:
        return virtio_pci_modern_read(pci_of(fn), offset, len);
    }
}

static void bar_write(struct pci_function *fn, unsigned bar, uint32_t offset, uint32_t value,
                      unsigned len)
{
    switch (bar) {
    case VIRTIO_PCI_BAR_LEGACY:
        virtio_pci_legacy_write(pci_of(fn), offset, value, len);
        break;
    case VIRTIO_PCI_BAR_MSIX:
        virtio_pci_msix_write(pci_of(fn), offset, value, len);
        break;
    default:
        virtio_pci_modern_write(pci_of(fn), offset, value, len);
        break;
    }
}

/*
 * Where the window of the configuration space looks.
 * Source: VIRTIO 1.2, 4.1.4.9 "PCI configuration access capability".
 */
static bool window(const struct virtio_pci *pci, unsigned *bar, uint32_t *offset, uint32_t *len)
{
    *bar = pci_config_get(&pci->fn, pci->window_at + WINDOW_BAR, 1);
    *offset = pci_config_get(&pci->fn, pci->window_at + WINDOW_OFFSET, 4);
    *len = pci_config_get(&pci->fn, pci->window_at + WINDOW_LENGTH, 4);
    return *bar < PCI_BARS && is_power_of_2(*len) && *len <= 4 && is_aligned(*offset, *len) &&
           range_ok(*offset, *len, pci->fn.bar[*bar].size);
}

static bool touches_window(const struct virtio_pci *pci, unsigned offset, unsigned len)
{
    unsigned data = pci->window_at + WINDOW_DATA;

    return pci->window_at && offset < data + 4 && offset + len > data;
}

static void config_read(struct pci_function *fn, unsigned offset, unsigned len)
{
    struct virtio_pci *pci = pci_of(fn);
    unsigned bar;
    uint32_t at;
    uint32_t window_len;

    if (touches_window(pci, offset, len) && window(pci, &bar, &at, &window_len)) {
        pci_config_set(fn, pci->window_at + WINDOW_DATA, bar_read(fn, bar, at, window_len), 4);
    }
}

static void config_written(struct pci_function *fn, unsigned offset, unsigned len)
{
    struct virtio_pci *pci = pci_of(fn);
    unsigned bar;
    uint32_t at;
    uint32_t window_len;

    virtio_pci_follow_control(pci);
    if (touches_window(pci, offset, len) && window(pci, &bar, &at, &window_len)) {
        bar_write(fn, bar, at, pci_config_get(fn, pci->window_at + WINDOW_DATA, window_len),
                  window_len);
    }
}

static void moved(struct pci_function *fn)
{
    virtio_regs_move_doors(&pci_of(fn)->regs);
}

static const struct pci_function_ops function_ops = {
    .read = bar_read,
    .write = bar_write,
    .config_read = config_read,
    .config_written = config_written,
    .moved = moved,
};

void virtio_pci_init(struct virtio_pci *pci, const struct virtio_pci_opts *opts)
{
    assert(opts->has_modern || opts->has_legacy);
    memset(pci, 0, sizeof(*pci));
    pci->has_modern = opts->has_modern;
    pci->has_legacy = opts->has_legacy;
    pci->vector_count = opts->queue_count + 1;
    pci_function_init(&pci->fn, &function_ops, VIRTIO_VENDOR,
                      opts->has_legacy ? DEVICE_TRANSITIONAL : DEVICE_MODERN, CLASS_STORAGE);
    pci->fn.lock = opts->lock;
    pci_config_set(&pci->fn, PCI_REVISION, opts->has_legacy ? 0 : 1, 1);
    pci_config_set(&pci->fn, PCI_SUBSYSTEM_VENDOR, VIRTIO_VENDOR, 2);
    pci_config_set(&pci->fn, PCI_SUBSYSTEM, VIRTIO_ID_BLOCK, 2);
    virtio_regs_init(&pci->regs, &file_ops, opts->host, opts->arg, opts->queue_count,
                     opts->queue_max);
    virtio_pci_msix_init(pci);
    if (opts->has_legacy) {
        virtio_pci_legacy_init(pci);
    }
    if (opts->has_modern) {
        virtio_pci_modern_init(pci);
    }
}
