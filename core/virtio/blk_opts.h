/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a virtio-blk device is made of, and how large its parts may be (blk.h).
 * Plain values.
 */

#include <linux/virtio_blk.h>

#include "core/base/base.h"
#include "core/base/err.h"

struct node_facts;

#define BLK_SERIAL_BYTES VIRTIO_BLK_ID_BYTES
#define BLK_MAX_QUEUES 64

/*
 * Segments of data in one request: what the driver is told in seg_max, at most.  More are
 * served, up to RING_MAX_IOVS pieces.  But a driver reads this before the front-end tells the size
 * of a ring, and a chain may be no longer than its ring: QEMU makes rings of 128.
 */
#define BLK_SEG_MAX 126

/*
 * How many fit into a ring of `queue_size`: header and status need a descriptor each.
 * Source: VIRTIO 1.2, 2.7.5.3.1 (a chain is no longer than the queue, indirect ones too).
 */
static inline unsigned blk_seg_fit(unsigned queue_size)
{
    return queue_size > 3 ? queue_size - 2 : 1;
}

/* What a driver with rings of `queue_size` is told unless it is said. */
static inline unsigned blk_seg_max(unsigned queue_size)
{
    return min_of(blk_seg_fit(queue_size), (unsigned)BLK_SEG_MAX);
}

/* A driver of pages cannot make less of a segment, and Linux refuses the disk. */
#define BLK_SIZE_MAX_LEAST 4096u

/* Largest data part of one request in bytes: fits an int, as the kernel's limit on one I/O. */
#define BLK_MAX_BYTES (1u << 30)

/* Segments in one DISCARD or WRITE_ZEROES that the driver is told of; Linux makes no more. */
#define BLK_RANGES 256u

/* What is served of them: checking that many holds up the lane for less than a turn. */
#define BLK_RANGES_MAX 16384u

/* Bytes of one segment that the driver is told of; longer ones are served as well. */
#define BLK_DISCARD_MAX (1u << 30)
#define BLK_ZEROES_MAX (128u << 20)

/* The config space has 32 bits for them, in sectors. */
#define BLK_SECTORS_MAX_BYTES ((uint64_t)UINT32_MAX * SECTOR_SIZE)

/* In bytes, with the largest blocks: 8 and 16 bits of the config space. */
#define BLK_ALIGNMENT_MAX (255u * 32768)
#define BLK_MIN_IO_MAX (65535u * 32768)

/* For discard_block: as the image has it. */
#define BLK_DISCARD_BLOCK_ANY UINT32_MAX

enum blk_zeroes {
    BLK_ZEROES_OFF,   /* WRITE_ZEROES is not offered */
    BLK_ZEROES_KEEP,  /* what is zeroed stays allocated, whatever the driver allows */
    BLK_ZEROES_UNMAP, /* unless the driver allows otherwise */
};

/* Cylinders, heads and sectors, for who asks a BIOS; of no use elsewhere. */
struct blk_chs {
    uint16_t cylinders;
    uint8_t heads; /* 0: no geometry is offered */
    uint8_t sectors;
};

/*
 * How large the driver is told to make its requests; larger ones are served all the same.  A 0
 * stands for what is said unless something else is.
 */
struct blk_limits {
    uint32_t size_max;      /* bytes of a segment of data, 0: SIZE_MAX is not offered */
    uint32_t discard_count; /* segments of a discard */
    uint32_t zeroes_count;
    uint64_t discard_bytes; /* of one such segment, logical blocks */
    uint64_t zeroes_bytes;
};

/* "C,H,S", a number from 1 on for each.  Returns false when it is not that. */
bool blk_chs_parse(const char *text, struct blk_chs *chs);

/* Segments of data in one request that any version may have shown; that many are served. */
#define BLK_SEG_SERVED 1024u

/*
 * What a driver is shown that the image does not say, but an option or the program: which features
 * are offered, and how much may be asked for at once.  A guest goes by what it was shown first, so
 * that is kept with its disk; another program serves it, or does not serve the disk.
 * The limits are called as in the config space.
 */
struct blk_shown {
    uint64_t features; /* those of the rings as well; 0: nothing was shown yet */
    uint32_t size_max; /* 0: no SIZE_MAX */
    uint32_t seg_max;
    uint32_t max_discard_sectors; /* this and the next 0: no DISCARD */
    uint32_t max_discard_seg;
    uint32_t max_write_zeroes_sectors; /* this and the next 0: no WRITE_ZEROES */
    uint32_t max_write_zeroes_seg;
};

struct blk_opts {
    uint64_t capacity;       /* bytes, a multiple of logical_block */
    uint32_t logical_block;  /* bytes, a power of two, 512 .. 32768 */
    uint32_t physical_block; /* bytes, logical_block times a power of two */
    uint32_t alignment;      /* bytes, logical blocks: where the first physical block begins */
    uint32_t min_io;         /* bytes, logical blocks; 0: the physical block */
    uint32_t opt_io;         /* bytes, 0: unknown */
    struct blk_chs chs;
    uint32_t discard_block; /* bytes that are given back together, 0: no DISCARD is offered */
    enum blk_zeroes zeroes;
    struct blk_shown shown;   /* 0: as this program has it */
    struct blk_limits limits; /* where nothing was shown yet */
    unsigned queues;
    unsigned seg_max;  /* where nothing was shown yet */
    bool may_be_empty; /* its capacity may be 0 */
    bool is_readonly;
    bool is_writethrough; /* whatever the driver says */
    bool is_unsafe;       /* nothing that the driver does need be stable, whatever it says */
    bool has_config_wce;  /* the driver may choose, unless it is read-only or writethrough */
    char serial[BLK_SERIAL_BYTES + 1];
};

/*
 * Take the capacity from the image, and where `opts` has 0 the block sizes, the geometry, and the
 * topology as far as the config space has room for it; refuse what the image cannot do: blocks
 * smaller than its own, a size that is no multiple of the block, limits of what it has not.
 * Discards and zeroes are as the image has them, but no more than `opts` has, whose discard_block
 * may be BLK_DISCARD_BLOCK_ANY.  Returns 0 or -EINVAL; the caller knows the image's name and puts
 * it before the error.
 */
int blk_opts_resolve(struct blk_opts *opts, const struct node_facts *image, struct err *err);

/* Of options from elsewhere: 0, or -EINVAL when blk_init cannot take them.  Thread: any. */
int blk_opts_check(const struct blk_opts *opts, struct err *err);

/* What this program would show of such a disk, but for the features. */
struct blk_shown blk_shown_new(const struct blk_opts *opts);
