/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/ask.h"

/* A block that is not under way is found with so many tries, or else in the next turn. */
#define TRIES 8u

/* xorshift64: good enough to scatter, and the same for every peer. */
static uint64_t next_random(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

/* Scaled by multiplication, as a division takes longer than all the rest. */
static uint64_t random_block(struct load *load)
{
    return (uint64_t)((unsigned __int128)next_random(load) * load->blocks >> 64);
}

static uint64_t sequential_block(struct load *load)
{
    uint64_t block = load->next_block;

    load->next_block = block + 1 == load->blocks ? 0 : block + 1;
    return block;
}

static uint64_t pick_block(struct load *load)
{
    enum bench_rw rw = load->options->rw;

    return rw == BENCH_RANDREAD || rw == BENCH_RANDWRITE || rw == BENCH_RANDRW
               ? random_block(load)
               : sequential_block(load);
}

static uint32_t pick_type(struct load *load)
{
    switch (load->options->rw) {
    case BENCH_RANDREAD:
    case BENCH_READ:
        return VIRTIO_BLK_T_IN;
    case BENCH_RANDWRITE:
    case BENCH_WRITE:
        return VIRTIO_BLK_T_OUT;
    case BENCH_RANDRW:
        /* A bit that random_block does not depend on much. */
        return next_random(load) & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
    case BENCH_FLUSH:
        return VIRTIO_BLK_T_FLUSH;
    default:
        return VIRTIO_BLK_T_DISCARD;
    }
}

/* With patterns, one request at a time for a block.  Returns false when none was found. */
static bool claim_block(struct load *load, uint64_t *block)
{
    struct verify *verify = &load->verify;

    for (unsigned i = 0; i < TRIES; i++) {
        *block = pick_block(load);
        if (verify->blocks == 0) {
            return true;
        }
        if (!(verify->block[*block] & VERIFY_BUSY)) {
            verify->block[*block] |= VERIFY_BUSY;
            return true;
        }
    }
    return false;
}

/* The next that was written and is not checked yet. */
static bool claim_check(struct load *load, uint64_t *block)
{
    struct verify *verify = &load->verify;

    while (load->next_block < load->blocks) {
        *block = load->next_block++;
        if (verify->block[*block] != 0) {
            verify->block[*block] |= VERIFY_BUSY;
            return true;
        }
    }
    return false;
}

static void prepare(struct load *load, struct front_slot *slot, uint32_t type)
{
    struct blk_driver_request *request = &slot->request;
    uint32_t sectors = load->options->block_bytes / SECTOR_SIZE;
    uint64_t sector = load->offset + slot->block * sectors;

    request->header.type = type;
    request->header.sector = type == VIRTIO_BLK_T_FLUSH ? 0 : sector;
    if (type == VIRTIO_BLK_T_DISCARD) {
        request->header.sector = 0;
        request->range =
            (struct virtio_blk_discard_write_zeroes){.sector = sector, .num_sectors = sectors};
    } else if (type == VIRTIO_BLK_T_OUT && load->verify.blocks > 0) {
        verify_fill(&load->verify, slot->block, request->data);
    } else if (type == VIRTIO_BLK_T_IN && load->verify.blocks > 0) {
        memset(request->data, 0xa5, request->len); /* so that old data is not taken for new */
    }
}

bool ask_next(struct load *load, struct front_slot *slot)
{
    bool is_check = load->phase == LOAD_CHECK;

    if (is_check ? !claim_check(load, &slot->block) : !claim_block(load, &slot->block)) {
        return false;
    }
    prepare(load, slot, is_check ? VIRTIO_BLK_T_IN : pick_type(load));
    return true;
}
