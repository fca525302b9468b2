/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Rings as large as the protocol allows, and requests with more segments than are told. */

#include "tests/e2e/frontend_cases.h"

#include <string.h>
#include <sys/eventfd.h>

#define LARGEST 32768u
#define MOST_SEGMENTS 1024u /* of data */

/* What the device sees of a request without data of its own. */
struct small {
    struct vring_desc table[3];
    struct virtio_blk_outhdr header;
    uint8_t status;
};

static void show_and_kick(const struct frontend_ring *ring)
{
    if (ring_driver_show(ring->drv)) {
        require(eventfd_write(ring->fds->kick, 1) == 0);
    }
}

/* Take `count` chains back; the driver finds out whether one comes twice. */
static void take(struct ring_driver *drv, unsigned count)
{
    uint64_t deadline_ns = now_ns() + FRONTEND_TIMEOUT_MS * NS_PER_MS;
    unsigned taken = 0;
    uint16_t head;
    uint32_t len;

    while (taken < count) {
        require(now_ns() < deadline_ns);
        taken += ring_driver_take(drv, &head, &len);
        require(!drv->fault);
    }
}

/* ---- the largest ring ---- */

/* One descriptor for each request: all of the ring is in flight. */
static void fill_and_drain(struct frontend_ring *ring, struct small *small, void *data)
{
    for (unsigned i = 0; i < LARGEST; i++) {
        const struct ring_piece pieces[] = {{&small[i].header, sizeof(small[i].header), false},
                                            {data, 4096, true},
                                            {&small[i].status, 1, true}};

        small[i].header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
        small[i].status = 0xee;
        require(ring_driver_add_indirect(ring->drv, small[i].table, pieces, 3) >= 0);
    }
    show_and_kick(ring);
    take(ring->drv, LARGEST);
    for (unsigned i = 0; i < LARGEST; i++) {
        require(small[i].status == VIRTIO_BLK_S_OK);
    }
}

static void largest_ring_works(void)
{
    static struct ring_driver_chain chain[LARGEST];
    struct frontend_opts opts = case_opts();
    struct frontend *fe;
    struct frontend_ring *ring;

    opts.request_bytes = LARGEST * sizeof(struct small);
    fe = case_connect_with(&opts);
    ring = &fe->ring[0];
    require(ring_driver_bytes(LARGEST, RING_DRIVER_MODERN_ALIGN) <= opts.request_bytes);
    ring_driver_init(ring->drv, LARGEST, RING_DRIVER_MODERN_ALIGN, ring->requests[0].data,
                     ring->drv->offset, chain);
    ring->drv->has_event_idx = true;
    require(frontend_share(fe) == 0);
    require(frontend_ring_start(fe, 0, 0) == 0);
    for (unsigned round = 0; round < 3; round++) { /* indices wrap on the way */
        fill_and_drain(ring, ring->requests[1].data, ring->requests[2].data);
    }
}

/* ---- many segments ---- */

/* A request in many pieces of a sector, in an order of its own. */
struct scattered {
    struct vring_desc table[MOST_SEGMENTS * 2];
    struct virtio_blk_outhdr header;
    uint8_t status;
    uint8_t data[MOST_SEGMENTS][SECTOR_SIZE];
};

static struct frontend *scatterer(unsigned queue_size)
{
    struct frontend_opts opts = case_opts();

    opts.queue_size = queue_size;
    opts.request_bytes = sizeof(struct scattered);
    return case_start(&opts);
}

/* Piece i is place (i * step) of the data; more than there are go round. */
static void add_scattered(struct ring_driver *drv, struct scattered *s, uint32_t type,
                          unsigned segments, unsigned step)
{
    static struct ring_piece pieces[MOST_SEGMENTS * 2];

    s->header = (struct virtio_blk_outhdr){.type = type};
    s->status = 0xee;
    pieces[0] = (struct ring_piece){&s->header, sizeof(s->header), false};
    for (unsigned i = 0; i < segments; i++) {
        pieces[i + 1] = (struct ring_piece){s->data[i * step % MOST_SEGMENTS], SECTOR_SIZE,
                                            type == VIRTIO_BLK_T_IN};
    }
    pieces[segments + 1] = (struct ring_piece){&s->status, 1, true};
    require(ring_driver_add_indirect(drv, s->table, pieces, segments + 2) >= 0);
}

static uint8_t do_scattered(const struct frontend_ring *ring, struct scattered *s, uint32_t type,
                            unsigned segments, unsigned step)
{
    add_scattered(ring->drv, s, type, segments, step);
    show_and_kick(ring);
    take(ring->drv, 1);
    return s->status;
}

/* Windows' viostor sends up to 515, on rings of any size. */
static void many_segments_are_served_whatever_the_size_of_the_ring(void)
{
    static const unsigned counts[] = {35, 36, 37, 129, 515, MOST_SEGMENTS};
    struct frontend *fe = scatterer(128);
    struct frontend_ring *ring = &fe->ring[0];
    struct scattered *out = ring->requests[0].data;
    struct scattered *in = ring->requests[1].data;

    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        for (unsigned j = 0; j < MOST_SEGMENTS; j++) {
            memset(out->data[j], (int)(j * 7 + i), SECTOR_SIZE);
            out->data[j][0] = (uint8_t)(j >> 8);
        }
        require(do_scattered(ring, out, VIRTIO_BLK_T_OUT, counts[i], 1) == VIRTIO_BLK_S_OK);
        require(do_scattered(ring, in, VIRTIO_BLK_T_IN, counts[i], 3) == VIRTIO_BLK_S_OK);
        for (unsigned j = 0; j < counts[i]; j++) {
            require(memcmp(in->data[j * 3 % MOST_SEGMENTS], out->data[j], SECTOR_SIZE) == 0);
        }
    }
}

static void too_many_segments_are_answered_with_an_error(void)
{
    struct frontend *fe = scatterer(128);
    struct frontend_ring *ring = &fe->ring[0];

    require(do_scattered(ring, ring->requests[0].data, VIRTIO_BLK_T_IN, MOST_SEGMENTS + 300, 1) ==
            VIRTIO_BLK_S_IOERR);
    case_round_trip(ring, 0);
}

/* Any number of them at once, in requests that read the same and share a table. */
static void add_many(struct frontend_ring *ring, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        add_scattered(ring->drv, ring->requests[0].data, VIRTIO_BLK_T_IN, 515, 1);
    }
    show_and_kick(ring);
}

static void any_number_of_long_requests_ends(void)
{
    struct frontend *fe = scatterer(256);

    for (unsigned round = 0; round < 5; round++) {
        add_many(&fe->ring[0], 256);
        add_many(&fe->ring[1], 255);
        take(fe->ring[0].drv, 256);
        take(fe->ring[1].drv, 255);
    }
}

static void ring_with_long_requests_stops_and_goes_on(void)
{
    struct frontend *fe = scatterer(256);
    struct frontend_ring *ring = &fe->ring[0];
    uint32_t base;

    for (unsigned round = 0; round < 20; round++) {
        add_many(ring, 256);
        require(frontend_ring_stop(fe, 0, &base) == 0);
        require(base == load16_acquire(&ring->drv->used->idx));
        case_round_trip(&fe->ring[1], 0);
        require(frontend_ring_start(fe, 0, base) == 0);
        take(ring->drv, 256);
    }
}

static void front_end_leaves_amid_long_requests(void)
{
    for (unsigned round = 0; round < 5; round++) {
        struct frontend *fe = scatterer(256);

        add_many(&fe->ring[0], 256);
        add_many(&fe->ring[1], 256);
        frontend_disconnect(fe);
    }
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case large_cases[] = {
    CASE(largest_ring_works),
    CASE(many_segments_are_served_whatever_the_size_of_the_ring),
    CASE(too_many_segments_are_answered_with_an_error),
    CASE(any_number_of_long_requests_ends),
    CASE(ring_with_long_requests_stops_and_goes_on),
    CASE(front_end_leaves_amid_long_requests),
    {0},
};
