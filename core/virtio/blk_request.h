/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A virtio-blk device and its requests as structs, for those who make something of them.
 * Owned by their device; the disk's thread, or its lane's.
 */

#include <linux/virtio_blk.h>

#include "core/block/io.h"
#include "core/base/base.h"
#include "core/base/iov.h"
#include "core/base/stats.h"
#include "core/virtio/blk_opts.h"
#include "core/virtio/ring.h"

struct blk {
    struct blk_opts opts;
    struct virtio_blk_config config;
    uint64_t features;        /* as the driver accepted them */
    bool is_known;            /* see blk_vouch */
    _Atomic bool is_in_doubt; /* see blk_doubt; a flush on any lane ends it */
};

/* Why a request is answered with an error without a look at the image. */
enum refusal {
    REFUSAL_CHAIN,     /* chain.fault says why */
    REFUSAL_HEADER,    /* it has none, or a part of one */
    REFUSAL_DIRECTION, /* data that the device would read in a read, or write in a write */
    REFUSAL_READONLY,
    REFUSAL_LENGTH, /* more than BLK_MAX_BYTES */
    REFUSAL_ALIGN,  /* no whole logical blocks */
    REFUSAL_RANGE,  /* past the end */
    REFUSAL_ID,     /* no room for the serial number */
    REFUSAL_TYPE,   /* unknown, or not offered, or not accepted */
    REFUSAL_RANGES, /* of a discard: no whole segments, none, or more than BLK_RANGES_MAX */
    REFUSAL_FLAGS,  /* of a segment: unknown, or not for this type */
    REFUSAL_NONE,
};

/* One request of the guest.  Lives in a ring's slot; the io's frame and its pieces follow it. */
struct request {
    struct chain chain; /* first: to the ring, a slot is a chain */
    struct io io;
    struct queue *queue; /* parent: where it came from */
    uint8_t *status;     /* in guest memory */
    uint64_t start_ns;
    uint32_t used_len;       /* bytes written when it succeeds */
    uint32_t type;           /* VIRTIO_BLK_T_* */
    uint8_t status_on_error; /* VIRTIO_BLK_S_* when io.result is not 0 */
    uint8_t refusal;         /* enum refusal: of one that was refused, not set for others */
    enum stats_type kind;
    uint32_t ranges_left;       /* segments that io has not come to */
    struct iov_place ranges_at; /* where the next of them begins */
    const struct iovec *ranges; /* the guest's pieces that have them, in chain.iov */
    uint64_t ranges_bytes;      /* of all that io has come to */
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

/*
 * Bytes of a slot: a request of 128 KiB in pages fits, with room for the edges of memory regions.
 * An odd number of cache lines, so that the slots in use do not compete for a few sets of the
 * cache.
 */
#define BLK_SLOT_BYTES (13u * CACHE_LINE)
#define BLK_SLOT_IOVS ((BLK_SLOT_BYTES - sizeof(struct request)) / sizeof(struct iovec))
_Static_assert(BLK_SLOT_IOVS >= 32 + 2, "128 KiB in pages, header and status");
