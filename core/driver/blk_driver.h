/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A driver for a virtio disk, as boot firmware needs one: negotiate, set up rings, learn the
 * shape of the disk, read many blocks into memory, write, flush, discard, ask for the serial.
 * Freestanding and polled: memory, registers and the clock are the caller's.  One thread.
 *
 * Only rings, frames and data lie in memory that the device sees.  All else may lie where it does
 * not, and what the device writes to a frame is read once and checked, so that nothing that it
 * does can lead the driver astray.
 *
 * Two ways to work: blk_driver_read and its like do one thing and wait for it; with
 * blk_driver_submit, _kick and _poll many requests are under way on several rings.
 * Source: VIRTIO 1.2, 3.1 "Device Initialization", 5.2 "Block Device".
 */

#include <linux/virtio_blk.h>

#include "core/base/base.h"
#include "core/driver/ring_driver.h"

/* What happened, below 0; at or above it is the status that the device wrote. */
enum blk_driver_fault {
    BLK_DRIVER_TIMEOUT = -1,  /* no answer in time; only a reset ends what is under way */
    BLK_DRIVER_FULL = -2,     /* no descriptor is free */
    BLK_DRIVER_BROKEN = -3,   /* the device broke its ring */
    BLK_DRIVER_REFUSED = -4,  /* the device does not want these features or this ring */
    BLK_DRIVER_RANGE = -5,    /* past the end of the disk */
    BLK_DRIVER_UNABLE = -6,   /* not negotiated */
    BLK_DRIVER_NO_STATUS = -7 /* answered without a status */
};

/* How the device's registers are reached.  `bus` is the caller's. */
struct blk_driver_ops {
    uint8_t (*get_status)(void *bus);
    void (*set_status)(void *bus, uint8_t status); /* 0: reset, done when it reads so */
    uint64_t (*get_features)(void *bus);
    void (*set_features)(void *bus, uint64_t features);
    uint32_t (*generation)(void *bus); /* of the config space; NULL: it has none */
    void (*read_config)(void *bus, unsigned offset, void *to, unsigned len);
    unsigned (*max_size)(void *bus, unsigned index); /* descriptors of a ring, 0: no such ring */
    int (*set_ring)(void *bus, unsigned index, const struct ring_driver *ring); /* < 0: refused */
    void (*notify)(void *bus, unsigned index);
    uint64_t (*now_ms)(void *bus);
    void (*relax)(void *bus); /* between two looks; may be NULL */
};

/* Header, data, status. */
#define BLK_DRIVER_PIECES 3u

/* What the device sees of a request beside its data. */
struct blk_driver_frame {
    struct vring_desc table[BLK_DRIVER_PIECES]; /* with opts.is_indirect */
    struct virtio_blk_outhdr header;
    struct virtio_blk_discard_write_zeroes range;
    uint8_t status;
};

/* One request, the driver's side of it. */
struct blk_driver_request {
    struct blk_driver_frame *frame; /* its own until it is done; lent */
    struct virtio_blk_outhdr header;
    struct virtio_blk_discard_write_zeroes range; /* of a discard without data */
    void *data;                                   /* in memory that the device sees */
    uint32_t len;
    uint8_t status;    /* when it is done: as the device wrote */
    uint32_t used_len; /* as the device said; within what it may write */
    void *arg;         /* the caller's */
};

/* A status that no device writes. */
#define BLK_DRIVER_STATUS_UNWRITTEN 0xeeu

/* Descriptors of a ring at most. */
#define BLK_DRIVER_MAX_SIZE 256u

/* A ring and who is in it.  In memory that the device does not see. */
struct blk_driver_queue {
    struct ring_driver ring;
    struct ring_driver_chain chain[BLK_DRIVER_MAX_SIZE];
    struct blk_driver_request *by_head[BLK_DRIVER_MAX_SIZE];
    unsigned index;
    uint64_t kicks;
    bool is_indirect; /* one descriptor of the ring for each request */
};

/* What the device sees of the functions that wait. */
struct blk_driver_own {
    struct blk_driver_frame frame;
    char id[VIRTIO_BLK_ID_BYTES];
};

enum blk_driver_nature {
    BLK_DRIVER_PLAIN,
    BLK_DRIVER_ISO9660, /* blocks of 2048 bytes */
};

struct blk_driver_opts {
    const struct blk_driver_ops *ops;
    void *bus;
    bool is_legacy;     /* no FEATURES_OK, ring layout of old */
    bool is_size_fixed; /* by the device: legacy PCI */
    bool is_indirect;   /* use indirect descriptors where the device has them */
    bool is_packed;     /* and packed rings */
    uint64_t refuse;    /* features not to accept */
    uint64_t offset;    /* device address - our pointer, for all memory */
    unsigned queues;    /* asked for; fewer when the device has fewer */
    unsigned queue_size;
    unsigned timeout_ms;
    struct blk_driver_queue *queue; /* `queues` of them */
    void *ring_memory;              /* blk_driver_ring_bytes for each queue */
    struct blk_driver_own *own;     /* NULL: the functions that wait are not used */
};

struct blk_driver {
    struct blk_driver_opts opts;
    uint64_t features;
    uint64_t capacity; /* sectors */
    uint32_t block_size;
    uint32_t size_max; /* bytes of one piece of data, 0: no limit */
    unsigned heads;
    unsigned sectors;                  /* of a track, numbered from 1 */
    unsigned queues;                   /* in use */
    struct blk_driver_request request; /* of the functions that wait */
};

/* Memory of one ring, page-aligned. */
size_t blk_driver_ring_bytes(const struct blk_driver_opts *opts);

/* Reset the device, negotiate, set up the rings, read the shape.  0 or a fault. */
int blk_driver_start(struct blk_driver *blk, const struct blk_driver_opts *opts);

/* Reset the device: it touches nothing any more. */
void blk_driver_stop(struct blk_driver *blk);

/* Read the capacity anew: it changes while the guest runs. */
void blk_driver_read_shape(struct blk_driver *blk);

static inline bool blk_driver_has(const struct blk_driver *blk, unsigned bit)
{
    return blk->features >> bit & 1;
}

/* Shape, in units of block_size where it says blocks. */
uint64_t blk_driver_blocks(const struct blk_driver *blk);
uint64_t blk_driver_cylinders(const struct blk_driver *blk);

/* Sectors of one block: what a block number is multiplied by for the device. */
unsigned blk_driver_sectors_per_block(const struct blk_driver *blk);

/*
 * Look at the disk: is it an ISO 9660 image?  If so, blocks are 2048 bytes from now on.
 * `scratch` has 2048 bytes.  The nature or a fault.
 */
int blk_driver_guess_nature(struct blk_driver *blk, void *scratch);

/* Each waits for its end.  0, the status that the device wrote, or a fault. */
int blk_driver_read(struct blk_driver *blk, uint64_t sector, void *to, uint64_t bytes);
int blk_driver_write(struct blk_driver *blk, uint64_t sector, const void *from, uint64_t bytes);
int blk_driver_flush(struct blk_driver *blk);
int blk_driver_discard(struct blk_driver *blk, uint64_t sector, uint32_t sectors);
int blk_driver_get_id(struct blk_driver *blk, char id[VIRTIO_BLK_ID_BYTES + 1]);

/* The same in blocks. */
int blk_driver_read_blocks(struct blk_driver *blk, uint64_t block, unsigned count, void *to);

/*
 * Many at once.  `request` is the driver's until blk_driver_poll returns it; frame, header, data,
 * len are filled in by the caller, and for a discard the range.  Returns 0 or BLK_DRIVER_FULL.
 */
int blk_driver_submit(struct blk_driver_queue *queue, struct blk_driver_request *request);

/*
 * Show what was submitted, and notify the device when it wants that.  Once more before a wait: see
 * ring_driver_show.
 */
void blk_driver_kick(struct blk_driver *blk, struct blk_driver_queue *queue);

/* The next that is done.  NULL: none, or the device broke the ring (ring.fault). */
struct blk_driver_request *blk_driver_poll(struct blk_driver_queue *queue);
