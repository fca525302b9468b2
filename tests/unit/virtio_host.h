/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A VMM for the register files' units: it wires nothing, and writes down what it was asked to do,
 * a letter and a number for each: S start, P stop, k kick by hand, K kick wired, X kick unwired,
 * C call wired, U call unwired, s signal.  "C0K0S0k0" is a queue's start.
 */

#include "transports/vmm/virtio_mmio.h"
#include "transports/vmm/virtio_pci.h"
#include "transports/vmm/virtio_regs.h"

#define HOST_QUEUES 2u
#define HOST_QUEUE_SIZE 256u
#define HOST_MMIO 0xc0000000u
#define HOST_PORTS 0xc000u
#define HOST_MEMORY 0xd0000000u
#define HOST_FEATURES (VIRTIO_FEATURE_VERSION_1 | 0x10000246u)

struct virtio_host {
    char log[512];
    uint64_t more;     /* offered beside HOST_FEATURES */
    uint64_t features; /* as accepted */
    uint8_t config[64];
    struct virtio_queue started[HOST_QUEUES];
    bool is_started[HOST_QUEUES]; /* what is started or wired twice, or stopped without, is wrong */
    bool is_kick_on[HOST_QUEUES];
    bool is_call_on[HOST_QUEUES + 1];
    struct virtio_doorbell door[HOST_QUEUES];
    struct virtio_message message[HOST_QUEUES + 1];
    bool is_line[HOST_QUEUES + 1]; /* the call went to the line */
    bool is_pending[HOST_QUEUES + 1];
    bool was_used;
    int refuse_features; /* what set_features returns */
    int refuse_queue;    /* what queue_start returns */
};

extern const struct virtio_host_ops virtio_host_ops;

void virtio_host_init(struct virtio_host *host);

/*
 * Begin anew: the host, and a register file in front of it.  That of mmio is at HOST_MMIO; the PCI
 * function is alone on its bus, with its BARs from HOST_PORTS and HOST_MEMORY on.
 */
void virtio_host_mmio(struct virtio_host *host, struct virtio_mmio *mmio, bool is_version_1);
void virtio_host_pci(struct virtio_host *host, struct virtio_pci *pci, struct pci_host *bus,
                     bool has_modern);

/* The log is this, and is empty again. */
void expect_log(struct virtio_host *host, const char *text);
