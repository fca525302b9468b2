/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The virtio-mmio register file of a VMM: version 2, or the legacy version 1.
 * Owner: the VMM.  Thread: one at a time.
 * Source: VIRTIO 1.2, 4.2 "Virtio Over MMIO".
 */

#include "transports/vmm/virtio_regs.h"

#define VIRTIO_MMIO_BYTES 0x1000u

struct virtio_mmio {
    struct virtio_regs regs;
    uint64_t base; /* guest address */
    bool is_version_1;
    uint32_t page;                          /* legacy GuestPageSize */
    uint32_t align[VIRTIO_REGS_MAX_QUEUES]; /* legacy QueueAlign */
};

struct virtio_mmio_opts {
    const struct virtio_host_ops *host; /* lent, as arg */
    void *arg;
    uint64_t base;
    unsigned queue_count;
    uint16_t queue_max;
    bool is_version_1;
};

void virtio_mmio_init(struct virtio_mmio *mmio, const struct virtio_mmio_opts *opts);

/* `offset` from base; `len` is 1, 2 or 4.  Registers are 4 bytes, config space is free. */
uint32_t virtio_mmio_read(struct virtio_mmio *mmio, uint32_t offset, unsigned len);
void virtio_mmio_write(struct virtio_mmio *mmio, uint32_t offset, uint32_t value, unsigned len);
