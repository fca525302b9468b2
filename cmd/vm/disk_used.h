/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Was a buffer used in a queue?  Found out by looking, as an irqfd sets no bit in a register: at
 * the used index of a split ring, at all descriptors of a packed one, which has none. Owned by its
 * disk, for as long as the queue runs; under the disk's lock.
 */

#include <linux/virtio_ring.h>

#include "cmd/vm/ram.h"
#include "transports/vmm/virtio_regs.h"

struct disk_used {
    const uint16_t *index;                /* in guest memory; NULL: no split ring runs */
    const struct vring_packed_desc *desc; /* likewise */
    unsigned size;
    uint8_t *seen; /* owned: of each descriptor, its marks as they were seen last */
    uint16_t marked;
};

/* Parts outside of memory are not looked at.  0 or -ENOMEM. */
int disk_used_start(struct disk_used *used, const struct ram *ram, const struct virtio_queue *set,
                    bool is_packed);
void disk_used_stop(struct disk_used *used);

/* Since the last call with `mark`. */
bool disk_used_was(struct disk_used *used, bool mark);
