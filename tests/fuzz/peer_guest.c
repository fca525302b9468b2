/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The guest of a hostile front-end: its rings, its requests, and what it does to both. */

#include "tests/fuzz/peer.h"

#include <assert.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>

#define FRAME_BYTES 64u
#define STATUS_AT 32u
#define FRAMES 64u
#define TABLE_BYTES 512u
#define DATA_BYTES 4096u
#define PIECES_MAX 24u

void peer_rings_reset(void)
{
    for (unsigned i = 0; i < PEER_RINGS; i++) {
        if (i == 1 && peer.is_cut) {
            continue;
        }
        if (peer.is_packed) {
            packed_reset(&peer.packed[i], 0);
        } else {
            driver_reset(&peer.split[i], 0);
        }
        peer.head[i] = 0;
    }
}

static uint64_t user_addr(unsigned ring, const void *part)
{
    const struct arena *arena = &peer.arena[ring];

    return (uintptr_t)arena->host + (uint64_t)((const uint8_t *)part - arena->host);
}

void peer_ring_addresses(unsigned ring, struct vhost_vring_addr_msg *addr)
{
    const struct ring_driver *split = &peer.split[ring].ring;
    const struct packed *packed = &peer.packed[ring];

    *addr = (struct vhost_vring_addr_msg){
        .index = ring,
        .desc = user_addr(ring, peer.is_packed ? (void *)packed->desc : split->desc),
        .avail = user_addr(ring, peer.is_packed ? (void *)packed->driver : split->avail),
        .used = user_addr(ring, peer.is_packed ? (void *)packed->device : split->used)};
}

/* Where it goes on after what it has been answered. */
uint32_t peer_ring_base(unsigned ring)
{
    return peer.is_packed ? packed_base(&peer.packed[ring], peer.packed[ring].taken)
                          : peer.split[ring].ring.last_used;
}

/* ---- requests ---- */

/* How a request is made. */
#define ODD_NO_STATUS 1u
#define ODD_SPLIT_HEADER 2u
#define ODD_STATUS_NOWHERE 4u
#define ODD_DATA_NOWHERE 8u
#define ODD_NO_KICK 16u
#define ODD_TWICE 32u
#define ODD_DIRECTION 64u
#define ODD_LATER 128u /* the one before is offered instead */

static const uint32_t request_types[] = {VIRTIO_BLK_T_IN,
                                         VIRTIO_BLK_T_OUT,
                                         VIRTIO_BLK_T_FLUSH,
                                         VIRTIO_BLK_T_GET_ID,
                                         VIRTIO_BLK_T_DISCARD,
                                         VIRTIO_BLK_T_WRITE_ZEROES,
                                         99,
                                         VIRTIO_BLK_T_SECURE_ERASE};

static bool is_written_by_disk(uint32_t type)
{
    return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

static void put_range(uint64_t addr, const struct arena *arena, struct peer_args args)
{
    const struct virtio_blk_discard_write_zeroes range = {
        .sector = args.b * 8u, .num_sectors = args.d * 8u, .flags = args.c & 1};

    memcpy(arena_at(arena, addr), &range, sizeof(range));
}

/* Data in one piece, in many, across the border of both files, or in none. */
static unsigned add_data(struct piece *pieces, const struct arena *arena, struct peer_args args,
                         uint32_t type, bool is_in)
{
    uint64_t at = arena->guest_addr + PEER_DATA_AT + (args.b % 32) * DATA_BYTES;
    unsigned kind = args.a >> 4 & 7;
    unsigned count = kind == 3 ? 16 : 1;
    uint32_t len = kind == 1 ? 512 : kind == 4 ? 65536 : kind == 5 ? args.d : DATA_BYTES;

    if (kind == 0 || type == VIRTIO_BLK_T_FLUSH) {
        return 0;
    }
    if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES) {
        put_range(at, arena, args);
        len = kind == 5 ? args.d : sizeof(struct virtio_blk_discard_write_zeroes);
    }
    if (kind == 6) {
        at = PEER_GUEST + PEER_ARENA_BYTES - 512u * (1 + args.b % 8);
    }
    if (args.c & ODD_DATA_NOWHERE) {
        at += (uint64_t)args.d << 17;
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t part = count > 1 ? len / count : len;

        pieces[i] = (struct piece){.addr = at + i * part, .len = part, .is_in = is_in};
    }
    return count;
}

static unsigned make_pieces(struct piece *pieces, const struct arena *arena, struct peer_args args)
{
    uint64_t frame = arena->guest_addr + PEER_FRAMES_AT + peer.requests % FRAMES * FRAME_BYTES;
    uint32_t type = request_types[args.a >> 1 & 7];
    const struct virtio_blk_outhdr header = {.type = type, .sector = args.b * 8u};
    bool is_in = is_written_by_disk(type) != ((args.c & ODD_DIRECTION) > 0);
    unsigned count = 0;

    memcpy(arena_at(arena, frame), &header, sizeof(header));
    if (args.c & ODD_SPLIT_HEADER) {
        pieces[count++] = piece_out(frame, 5);
        pieces[count++] = piece_out(frame + 5, sizeof(header) - 5);
    } else {
        pieces[count++] = piece_out(frame, sizeof(header));
    }
    count += add_data(pieces + count, arena, args, type, is_in);
    if (!(args.c & ODD_NO_STATUS)) {
        uint64_t nowhere = args.c & ODD_STATUS_NOWHERE ? 1ull << 40 : 0;

        pieces[count++] = piece_in(frame + STATUS_AT + nowhere, 1);
    }
    return count;
}

static void offer_split(unsigned ring, const struct piece *pieces, unsigned count, uint64_t table,
                        struct peer_args args)
{
    struct driver *drv = &peer.split[ring];

    if (drv->free_count < count) {
        return;
    }
    if (!(args.c & ODD_LATER)) {
        peer.head[ring] = args.a & 128 ? driver_chain_indirect(drv, pieces, count, 0, table)
                                       : driver_chain(drv, pieces, count);
    }
    driver_offer(drv, peer.head[ring]);
    if (args.c & ODD_TWICE) {
        driver_offer(drv, peer.head[ring]);
    }
}

static void offer_packed(unsigned ring, const struct piece *pieces, unsigned count, uint64_t table,
                         struct peer_args args)
{
    struct packed *drv = &peer.packed[ring];
    unsigned under_way = (uint16_t)(drv->offered - drv->taken);
    unsigned wants = args.a & 128 ? 1 : count;

    if (under_way + wants > PEER_RING_SIZE) {
        return;
    }
    if (!(args.c & ODD_LATER)) {
        peer.head[ring] = (uint16_t)((peer.head[ring] + 1u) % PEER_RING_SIZE);
    }
    if (args.a & 128) {
        packed_offer_indirect(drv, pieces, count, table, peer.head[ring]);
    } else {
        packed_offer(drv, pieces, count, peer.head[ring]);
    }
}

static void kick_once(unsigned ring)
{
    uint64_t one = 1;

    (void)!write(peer.file[PEER_KICK + ring], &one, sizeof(one)); /* its counter may be full */
}

/* a: the ring, the type, the data, indirect; b: sector; c: what is odd about it. */
void peer_request(struct peer_args args)
{
    struct piece pieces[PIECES_MAX];
    unsigned ring = args.a & 1;
    const struct arena *arena = &peer.arena[ring];
    uint64_t table = arena->guest_addr + PEER_TABLES_AT + peer.requests % 16 * TABLE_BYTES;
    unsigned count;

    if (ring == 1 && peer.is_cut) {
        return;
    }
    peer_reap();
    count = make_pieces(pieces, arena, args);
    peer.requests++;
    if (count == 0) {
        return;
    }
    if (peer.is_packed) {
        offer_packed(ring, pieces, count, table, args);
    } else {
        offer_split(ring, pieces, count, table, args);
    }
    if (!(args.c & ODD_NO_KICK)) {
        kick_once(ring);
    }
}

/* What a spoiled ring says is taken as it comes. */
void peer_reap(void)
{
    struct used used;

    for (unsigned i = 0; i < PEER_RINGS; i++) {
        unsigned left = PEER_RING_SIZE;

        if (i == 1 && peer.is_cut) {
            continue;
        }
        while (left-- > 0 && (peer.is_packed ? packed_reap(&peer.packed[i], &used)
                                             : driver_reap(&peer.split[i], &used))) {
        }
    }
}

/* a: the ring, or neither; b: how often; c: its call fd is filled, or taken. */
void peer_kick(struct peer_args args)
{
    uint64_t count = UINT64_MAX - 1;

    for (unsigned i = 0; i < args.b; i++) {
        kick_once(args.a & 1);
    }
    if (args.c & 1) {
        (void)!write(peer.file[PEER_CALL + (args.a & 1)], &count, sizeof(count));
    }
    if (args.c & 2) {
        (void)!read(peer.file[PEER_CALL + (args.a & 1)], &count, sizeof(count));
    }
}

/* ---- what is done to memory ---- */

/* a: which file, and how far to go; b, c: where; d: what is turned over there. */
void peer_spoil(struct peer_args args)
{
    static const uint32_t starts[] = {0, PEER_FRAMES_AT, PEER_TABLES_AT, PEER_INFLIGHT_AT,
                                      PEER_LOG_AT};
    unsigned arena = args.a & 1;
    uint32_t at = starts[(args.a >> 1) % ARRAY_SIZE(starts)] + (args.b | (args.c & 15u) << 8);
    uint8_t byte;

    if (args.a & 128) {
        if (pread(peer.file[PEER_INFLIGHT], &byte, 1, at % PEER_INFLIGHT_BYTES) == 1) {
            byte ^= args.d;
            (void)!pwrite(peer.file[PEER_INFLIGHT], &byte, 1, at % PEER_INFLIGHT_BYTES);
        }
    } else if (arena == 0 || !peer.is_cut) {
        peer.arena[arena].host[at] ^= args.d;
    }
}

/* a: the second file is cut off, or the in-flight region's, or they are whole again. */
void peer_cut(struct peer_args args)
{
    switch (args.a % 4) {
    case 0:
        peer.is_cut = true;
        assert(ftruncate(peer.arena[1].fd, 0) == 0);
        break;
    case 1:
        assert(ftruncate(peer.arena[1].fd, PEER_ARENA_BYTES) == 0);
        peer.is_cut = false;
        break;
    case 2:
        assert(ftruncate(peer.file[PEER_INFLIGHT], 0) == 0);
        break;
    default:
        assert(ftruncate(peer.file[PEER_INFLIGHT], PEER_INFLIGHT_BYTES) == 0);
    }
}
