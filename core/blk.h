/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The virtio-blk device: its config space, its features, and the two ends of a request:
 * chain -> struct request (blk_parse), result -> status byte and length (blk_finish).
 * All checks are made on copies; nothing is read from the guest after blk_parse.
 * Owned by its device; disk thread only.
 * Source: VIRTIO 1.2, 5.2 "Block Device".
 */

#include <linux/virtio_blk.h>

#include "core/backend.h"
#include "core/base.h"
#include "core/ring.h"
#include "core/stats.h"

#define BLK_SERIAL_BYTES VIRTIO_BLK_ID_BYTES
#define BLK_MAX_QUEUES 64

/* Segments of data in one request; what the driver is told in seg_max. */
#define BLK_SEG_MAX 126

/*
 * The same for rings of `queue_size`: header and status need a descriptor each.
 * Source: VIRTIO 1.2, 2.7.5.3.1 (a chain is no longer than the queue, indirect ones too).
 */
static inline unsigned blk_seg_max(unsigned queue_size)
{
    return queue_size > 3 ? min_of(queue_size - 2, (unsigned)BLK_SEG_MAX) : 1;
}

/* One chain's pieces: the data, header and status, and a few for region edges. */
#define BLK_IOV_MAX (BLK_SEG_MAX + 2 + 8)

/* Largest data part of one request in bytes: fits an int, as the kernel's limit on one I/O. */
#define BLK_MAX_BYTES (1u << 30)

struct blk_opts {
    uint64_t capacity;       /* bytes, a multiple of logical_block */
    uint32_t logical_block;  /* bytes, a power of two, 512 .. 32768 */
    uint32_t physical_block; /* bytes, logical_block times a power of two */
    uint32_t opt_io;         /* bytes, 0: unknown */
    unsigned queues;
    unsigned seg_max;
    bool is_readonly;
    bool is_writethrough;
    char serial[BLK_SERIAL_BYTES + 1];
};

struct blk {
    struct blk_opts opts;
    struct virtio_blk_config config;
    uint64_t features; /* as the driver accepted them */
};

/* One request of the guest.  Lives in a ring's slot; the backend's bytes follow it. */
struct request {
    struct chain chain; /* first: to the ring, a slot is a chain */
    struct io io;
    struct device_ring *ring; /* parent: where it came from */
    uint8_t *status;          /* in guest memory */
    uint64_t start_ns;
    uint32_t used_len;       /* bytes written when it succeeds */
    uint32_t type;           /* VIRTIO_BLK_T_* */
    uint8_t status_on_error; /* VIRTIO_BLK_S_* when io.result is not 0 */
    enum stats_type kind;
    _Alignas(16) uint8_t backend_private[BACKEND_IO_SIZE];
};

enum blk_verdict {
    BLK_SUBMIT,   /* request->io is to be done by the backend */
    BLK_ANSWERED, /* nothing to do for the backend: push it, status is written */
    BLK_BROKEN,   /* there is no place for a status: the ring is broken */
};

/*
 * Take the capacity from the image, and the block sizes where `opts` has 0; refuse what the
 * image cannot do: blocks smaller than its own, a size that is no multiple of the block.
 * Returns 0 or -EINVAL; the caller knows the image's name and puts it before the error.
 */
int blk_opts_resolve(struct blk_opts *opts, const struct backend *backend, struct err *err);

void blk_init(struct blk *blk, const struct blk_opts *opts);

/* Change the capacity that the driver reads (bytes). */
void blk_set_capacity(struct blk *blk, uint64_t capacity);

/* The device's feature bits (0..23 and those of virtio-blk), ring bits not included. */
uint64_t blk_features(const struct blk *blk);

/* Read config space; bytes past its end read as zero, as newer drivers may ask for more. */
void blk_config_read(const struct blk *blk, uint32_t offset, void *to, uint32_t len);

/*
 * Turn a popped chain into a request.  `stats->invalid` counts what is refused.
 * request->chain is filled; everything else is set here, but for ring and start_ns.
 */
enum blk_verdict blk_parse(struct blk *blk, struct request *request, struct stats *stats);

/* Write the status for io.result and count it.  Returns the used length. */
uint32_t blk_finish(struct request *request, uint64_t end_ns, struct stats *stats);
