/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * MSI-X: BAR 1 holds the table at 0 and the pending bits at 0x800.
 *
 * A vector that is masked has no wire: what its sources signal stays in their eventfds, which
 * therefore *are* the pending bits, and wiring them again at the unmask delivers it.
 * Source: PCI Local Bus Specification 3.0, 6.8.2 "MSI-X Capability and Table Structures".
 */
#include "transports/vmm/virtio_pci.h"

#define BAR_BYTES 0x1000u
#define PENDING_AT 0x800u
#define ENTRY_BYTES ((unsigned)sizeof(struct virtio_pci_vector))

#define CAPABILITY_MSIX 0x11u
#define CAPABILITY_BYTES 12u
#define CONTROL 2u /* offset in the capability */
#define CONTROL_ENABLE 0x8000u
#define CONTROL_MASK_ALL 0x4000u

#define WORD_CONTROL 3u
#define VECTOR_MASKED 1u

/*
 * The bits of an entry that a guest may set; the others are reserved, or align the address.
 * Source: PCI 3.0, 6.8.2.6 "Message Address for MSI-X Table Entries", 6.8.2.9 "Vector Control".
 */
static const uint32_t entry_bits[] = {~3u, UINT32_MAX, UINT32_MAX, VECTOR_MASKED};

void virtio_pci_msix_init(struct virtio_pci *pci)
{
    unsigned at = pci_function_add_capability(&pci->fn, CAPABILITY_MSIX, CAPABILITY_BYTES);

    pci_config_set(&pci->fn, at + CONTROL, pci->vector_count - 1, 2);
    pci_config_set(&pci->fn, at + 4, VIRTIO_PCI_BAR_MSIX, 4);
    pci_config_set(&pci->fn, at + 8, PENDING_AT | VIRTIO_PCI_BAR_MSIX, 4);
    pci->fn.writable[at + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASK_ALL) >> 8;
    pci->msix_at = at;
    pci_function_add_bar(&pci->fn, VIRTIO_PCI_BAR_MSIX, BAR_BYTES, false);
    for (unsigned i = 0; i < pci->vector_count; i++) {
        pci->vector[i].word[WORD_CONTROL] = VECTOR_MASKED;
    }
}

uint16_t virtio_pci_msix_number(const struct virtio_pci *pci, uint32_t value)
{
    return value < pci->vector_count ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static uint16_t vector_of(const struct virtio_regs *regs, unsigned source)
{
    return source == regs->queue_count ? regs->config_vector : regs->queue[source].vector;
}

static bool is_masked(const struct virtio_pci *pci, unsigned vector)
{
    return pci->is_all_masked || (pci->vector[vector].word[WORD_CONTROL] & VECTOR_MASKED) != 0;
}

static void wire_vector(struct virtio_pci *pci, unsigned source)
{
    struct virtio_regs *regs = &pci->regs;
    uint16_t number = vector_of(regs, source);
    const struct virtio_pci_vector *vector;
    struct virtio_message message;

    if (number == VIRTIO_NO_VECTOR || is_masked(pci, number)) {
        regs->host->call_off(regs->arg, source);
        return;
    }
    vector = &pci->vector[number];
    message.addr = vector->word[0] | (uint64_t)vector->word[1] << 32;
    message.data = vector->word[2];
    (void)regs->host->call_on(regs->arg, source, &message);
}

void virtio_pci_wire_call(struct virtio_regs *regs, unsigned source)
{
    struct virtio_pci *pci = containerof(regs, struct virtio_pci, regs);

    if (pci->is_msix_on) {
        wire_vector(pci, source);
    } else if (pci->is_line_off) {
        regs->host->call_off(regs->arg, source);
    } else {
        (void)regs->host->call_on(regs->arg, source, NULL);
    }
}

void virtio_pci_rewire(struct virtio_pci *pci, unsigned source)
{
    if (virtio_regs_is_live(&pci->regs) &&
        (source == pci->regs.queue_count || pci->regs.queue[source].is_running)) {
        virtio_pci_wire_call(&pci->regs, source);
    }
}

static void rewire_all(struct virtio_pci *pci)
{
    for (unsigned source = 0; source <= pci->regs.queue_count; source++) {
        virtio_pci_rewire(pci, source);
    }
}

void virtio_pci_follow_control(struct virtio_pci *pci)
{
    uint32_t control = pci_config_get(&pci->fn, pci->msix_at + CONTROL, 2);
    bool is_on = (control & CONTROL_ENABLE) != 0;
    bool is_all_masked = (control & CONTROL_MASK_ALL) != 0;
    bool is_line_off = (pci_config_get(&pci->fn, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX) != 0;

    if (is_on != pci->is_msix_on || is_all_masked != pci->is_all_masked ||
        is_line_off != pci->is_line_off) {
        pci->is_msix_on = is_on;
        pci->is_all_masked = is_all_masked;
        pci->is_line_off = is_line_off;
        rewire_all(pci);
    }
}

/* Pending: masked, and a source of this vector has signalled. */
static bool is_pending(const struct virtio_pci *pci, unsigned vector)
{
    const struct virtio_regs *regs = &pci->regs;

    if (!is_masked(pci, vector)) {
        return false;
    }
    for (unsigned source = 0; source <= regs->queue_count; source++) {
        if (vector_of(regs, source) == vector && regs->host->is_pending(regs->arg, source)) {
            return true;
        }
    }
    return false;
}

static uint32_t read_pending(const struct virtio_pci *pci, uint32_t offset)
{
    unsigned first = 8 * offset;
    uint32_t bits = 0;

    for (unsigned i = 0; i < 32 && first + i < pci->vector_count; i++) {
        bits |= is_pending(pci, first + i) ? 1u << i : 0;
    }
    return bits;
}

/* The table takes aligned words only (6.8.2: "DWORD or QWORD"; QWORDs come as two words). */
uint32_t virtio_pci_msix_read(struct virtio_pci *pci, uint32_t offset, unsigned len)
{
    if (len != 4 || !is_aligned(offset, 4)) {
        return VIRTIO_NOTHING;
    }
    if (offset >= PENDING_AT) {
        return read_pending(pci, offset - PENDING_AT);
    }
    if (offset / ENTRY_BYTES >= pci->vector_count) {
        return VIRTIO_NOTHING;
    }
    return pci->vector[offset / ENTRY_BYTES].word[offset % ENTRY_BYTES / 4];
}

void virtio_pci_msix_write(struct virtio_pci *pci, uint32_t offset, uint32_t value, unsigned len)
{
    unsigned number = offset / ENTRY_BYTES;
    unsigned word = offset % ENTRY_BYTES / 4;

    if (len != 4 || !is_aligned(offset, 4) || number >= pci->vector_count) {
        return;
    }
    pci->vector[number].word[word] = value & entry_bits[word];
    for (unsigned source = 0; source <= pci->regs.queue_count; source++) {
        if (vector_of(&pci->regs, source) == number) {
            virtio_pci_rewire(pci, source);
        }
    }
}
