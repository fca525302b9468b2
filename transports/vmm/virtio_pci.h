/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A virtio PCI function of a VMM: modern and legacy registers, MSI-X and an interrupt line.
 *
 *   virtio_pci.c         configuration space, capabilities, who serves which BAR
 *   virtio_pci_modern.c  common, notify, isr and device structures (BAR 4)
 *   virtio_pci_legacy.c  ports (BAR 0)
 *   virtio_pci_msix.c    vectors, masks, pending bits (BAR 1)
 *
 * Owner: the VMM, which also owns the pci_host that it sits in.
 * Thread: one at a time, who holds the lock that it was given.
 * Source: VIRTIO 1.2, 4.1 "Virtio Over PCI Bus".
 */

#include <assert.h>

#include "transports/vmm/pci_host.h"
#include "transports/vmm/virtio_regs.h"

#define VIRTIO_PCI_BAR_LEGACY 0u
#define VIRTIO_PCI_BAR_MSIX 1u
#define VIRTIO_PCI_BAR_MODERN 4u

#define VIRTIO_PCI_VECTORS (VIRTIO_REGS_MAX_QUEUES + 1)

/* Source: PCI 3.0, 6.8.2.6 "MSI-X Table": address, upper address, data, control. */
struct virtio_pci_vector {
    uint32_t word[4];
};

struct virtio_pci {
    struct pci_function fn;
    struct virtio_regs regs;
    bool has_modern;
    bool has_legacy;
    unsigned vector_count;
    unsigned msix_at; /* capabilities' offsets in the configuration */
    unsigned window_at;
    bool is_msix_on; /* as of the last look at the control word */
    bool is_all_masked;
    bool is_line_off;
    struct virtio_pci_vector vector[VIRTIO_PCI_VECTORS];
};

struct virtio_pci_opts {
    const struct virtio_host_ops *host; /* lent, as arg */
    void *arg;
    unsigned queue_count;
    uint16_t queue_max;
    pthread_mutex_t *lock; /* lent, for accesses by the bus; NULL: the VMM serializes */
    bool has_modern;       /* both: transitional */
    bool has_legacy;
};

void virtio_pci_init(struct virtio_pci *pci, const struct virtio_pci_opts *opts);

/*
 * The guest has acknowledged the interrupt line, which is down now: raise it again if there is
 * something which it has not been told.
 */
void virtio_pci_line_acked(struct virtio_pci *pci);

/* ---- between the files of the function ---- */

/* The ISR register: what happened since it was last read.  Reading tells. */
uint8_t virtio_pci_read_isr(struct virtio_pci *pci);

/*
 * The register that holds the byte at `offset`: where it begins, and its length in `*len`, 0 when
 * there is none.  `starts` says where each begins, the next one's is its end, and the last the end
 * of all.
 */
uint32_t virtio_pci_register_at(const uint8_t *starts, unsigned count, uint32_t offset,
                                unsigned *len);

/* `len` bytes of a register's value, from its byte number `first` on. */
static inline uint32_t virtio_pci_part(uint32_t value, unsigned first, unsigned len)
{
    assert(len >= 1 && first + len <= sizeof(value));
    return (value >> (8 * first)) & (UINT32_MAX >> (32 - 8 * len));
}

uint32_t virtio_pci_modern_read(struct virtio_pci *pci, uint32_t offset, unsigned len);
void virtio_pci_modern_write(struct virtio_pci *pci, uint32_t offset, uint32_t value, unsigned len);
void virtio_pci_modern_init(struct virtio_pci *pci);
void virtio_pci_modern_door(const struct virtio_pci *pci, unsigned queue,
                            struct virtio_doorbell *door);

uint32_t virtio_pci_legacy_read(struct virtio_pci *pci, uint32_t offset, unsigned len);
void virtio_pci_legacy_write(struct virtio_pci *pci, uint32_t offset, uint32_t value, unsigned len);
void virtio_pci_legacy_init(struct virtio_pci *pci);
void virtio_pci_legacy_door(const struct virtio_pci *pci, unsigned queue,
                            struct virtio_doorbell *door);

void virtio_pci_msix_init(struct virtio_pci *pci);
uint32_t virtio_pci_msix_read(struct virtio_pci *pci, uint32_t offset, unsigned len);
void virtio_pci_msix_write(struct virtio_pci *pci, uint32_t offset, uint32_t value, unsigned len);

/* A vector register: the number, or VIRTIO_NO_VECTOR for one that there is not. */
uint16_t virtio_pci_msix_number(const struct virtio_pci *pci, uint32_t value);

/* The vector of a source was set; wire it if the device is live. */
void virtio_pci_rewire(struct virtio_pci *pci, unsigned source);

/* The control word of MSI-X or the command register may have changed. */
void virtio_pci_follow_control(struct virtio_pci *pci);

/* virtio_file_ops.wire_call */
void virtio_pci_wire_call(struct virtio_regs *regs, unsigned source);
