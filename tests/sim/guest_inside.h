/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the guest is made of: for guest.c and guest_request.c. */

#include <linux/virtio_blk.h>

#include "core/driver/ring_driver.h"
#include "tests/sim/guest.h"
#include "tests/sim/model.h"

#define SLOTS 16u
#define FRAME_AT 4096u
#define FRAME_BYTES 256u
#define DATA_AT 8192u
#define DATA_SECTORS 4u
#define DATA_BYTES (DATA_SECTORS * SECTOR_SIZE)
#define PIECES 7u
#define STATUS_UNWRITTEN 0xee
#define SERIAL "simulated"

/* What the device sees of a request, beside its data. */
struct frame {
    struct virtio_blk_outhdr header;
    struct virtio_blk_discard_write_zeroes range;
    uint8_t status;
    uint8_t padding[31];
    struct vring_desc table[PIECES];
};

struct guest_slot {
    struct model_request model;
    uint64_t order; /* of those that its queue has offered */
};

struct guest_queue {
    struct ring_driver ring;
    struct ring_driver_chain chain[SLOTS];
    struct guest_slot slot[SLOTS];
    unsigned by_head[SLOTS];
    unsigned pending;
    uint64_t offered;
    uint64_t answered; /* the order of the last, where there is one */
    uint64_t behind;   /* where the last request ended, sectors */
    enum model_kind last;
    int kick_fd, call_fd;
    bool must_show;
    bool must_kick;
    bool takes; /* it was interrupted, and takes what there is */
    bool is_frozen;
    bool is_checked;                   /* nobody who was killed may still store there */
    uint8_t before[GUEST_QUEUE_BYTES]; /* as it was when it was frozen */
};

extern struct guest_queue guest_queues[SIM_QUEUES];

static inline uint8_t *area_of(unsigned index)
{
    return guest_memory + index * GUEST_QUEUE_BYTES;
}

static inline struct frame *frame_of(unsigned index, unsigned slot)
{
    return (struct frame *)(area_of(index) + FRAME_AT + slot * FRAME_BYTES);
}

static inline uint8_t *data_of(unsigned index, unsigned slot)
{
    return area_of(index) + DATA_AT + slot * DATA_BYTES;
}

/* ---- guest_request.c ---- */

/* From a run's beginning. */
void guest_reset_requests(void);

/* Put a request into the ring, if there is room. */
void guest_offer(unsigned index);

/* Take an answer, which is checked.  Returns false: there is none. */
bool guest_take(unsigned index);
