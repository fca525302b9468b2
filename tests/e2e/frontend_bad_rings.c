/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 5000

/* Ring 0 lies; ring 1 has to be served all the same. */
static struct frontend *liar(void)
{
    struct frontend_opts opts = case_opts();

    return case_start(&opts);
}

static void kick(struct frontend_ring *ring)
{
    uint64_t one = 1;

    require(write(ring->fds->kick, &one, sizeof(one)) == sizeof(one));
}

/* As the device sees the data of a ring's first request. */
static uint64_t data_addr(const struct frontend_ring *ring)
{
    return ring_driver_addr(ring->drv, ring->requests->data);
}

static bool is_signalled(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, PATIENCE_MS) == 1;
}

/* The back-end has to say that ring 0 is broken, and to serve ring 1. */
static void require_broken(struct frontend *fe)
{
    kick(&fe->ring[0]);
    require(is_signalled(fe->ring[0].fds->err));
    case_round_trip(&fe->ring[1], 0);
}

static void head_past_the_table_breaks_its_ring_alone(void)
{
    struct frontend *fe = liar();

    raw_ring_offer(fe->ring[0].drv, 60000);
    require_broken(fe);
}

static void loop_breaks_its_ring_alone(void)
{
    struct frontend *fe = liar();
    struct ring_driver *drv = fe->ring[0].drv;
    uint64_t addr = data_addr(&fe->ring[0]);

    raw_ring_set_desc(drv, 0, addr, 16, VRING_DESC_F_NEXT, 1);
    raw_ring_set_desc(drv, 1, addr, 16, VRING_DESC_F_NEXT, 0);
    raw_ring_offer(drv, 0);
    require_broken(fe);
}

/* A table that is no loop, only endless: more descriptors than any chain may have. */
static void table_of_40000_descriptors_breaks_its_ring_alone(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe;
    struct frontend_ring *ring;
    struct vring_desc *table;

    opts.request_bytes = 40000 * sizeof(*table);
    fe = case_start(&opts);
    ring = &fe->ring[0];
    table = ring->requests->data;
    for (unsigned i = 0; i < 40000; i++) {
        table[i] = (struct vring_desc){.addr = data_addr(ring),
                                       .len = 1,
                                       .flags = i < 39999 ? VRING_DESC_F_NEXT : 0,
                                       .next = (uint16_t)(i + 1)};
    }
    raw_ring_set_desc(ring->drv, 0, data_addr(ring), opts.request_bytes, VRING_DESC_F_INDIRECT, 0);
    raw_ring_offer(ring->drv, 0);
    require_broken(fe);
}

static void index_that_jumps_breaks_its_ring_alone(void)
{
    struct frontend *fe = liar();

    raw_ring_set_avail_idx(fe->ring[0].drv, 30000);
    require_broken(fe);
}

static void chain_without_a_status_breaks_its_ring_alone(void)
{
    struct frontend *fe = liar();
    struct ring_driver *drv = fe->ring[0].drv;

    raw_ring_set_desc(drv, 0, data_addr(&fe->ring[0]), 16, 0, 0);
    raw_ring_offer(drv, 0);
    require_broken(fe);
}

static void head_in_flight_twice_breaks_its_ring_at_most(void)
{
    struct frontend *fe = liar();
    struct ring_driver *drv = fe->ring[0].drv;
    struct ring_piece pieces[] = {{&fe->ring[0].requests->blk->frame->header, 16, false},
                                  {fe->ring[0].requests->data, 32769, true}};
    uint16_t head = (uint16_t)ring_driver_add(drv, pieces, 2);

    for (unsigned i = 1; i < 20; i++) {
        raw_ring_put(drv, head);
    }
    (void)ring_driver_show(drv);
    kick(&fe->ring[0]);
    case_round_trip(&fe->ring[1], 0);
}

static void buffers_outside_memory_are_answered(void)
{
    static const uint64_t addrs[] = {0, FRONTEND_GUEST_ADDR - 100, 1ull << 40, UINT64_MAX - 100};
    struct frontend *fe = liar();
    struct frontend_ring *ring = &fe->ring[0];

    for (unsigned i = 0; i < ARRAY_SIZE(addrs); i++) {
        struct frontend_request *request = frontend_prepare(ring, VIRTIO_BLK_T_IN, 0, 4096);

        request->blk->data = raw_ring_piece(ring->drv, addrs[i], 4096, true).data;
        frontend_put(request);
        frontend_kick(ring);
        require(frontend_wait(fe, PATIENCE_MS) == 0);
        require(frontend_reap(ring) == request);
        require(request->blk->status == VIRTIO_BLK_S_IOERR);
        frontend_release(request);
    }
    case_round_trip(&fe->ring[0], 0);
}

static void status_outside_memory_breaks_its_ring_alone(void)
{
    struct frontend *fe = liar();
    struct ring_driver *drv = fe->ring[0].drv;
    struct blk_driver_request *flush =
        frontend_prepare(&fe->ring[0], VIRTIO_BLK_T_FLUSH, 0, 0)->blk;
    struct ring_piece pieces[] = {{&flush->frame->header, sizeof(flush->header), false},
                                  raw_ring_piece(drv, UINT64_MAX, 1, true)};

    require(ring_driver_add(drv, pieces, 2) >= 0);
    (void)ring_driver_show(drv);
    require_broken(fe);
}

/* The device writes data and status over the ring itself: the guest's own loss. */
static void buffers_over_the_ring_itself_harm_nobody_else(void)
{
    struct frontend *fe = liar();
    struct frontend_ring *ring = &fe->ring[0];
    void *parts[] = {ring->drv->desc, ring->drv->avail, ring->drv->used};

    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        struct frontend_request *request = frontend_prepare(ring, VIRTIO_BLK_T_IN, i * 8, 4096);

        request->blk->data = (void *)(uintptr_t)round_down((uintptr_t)parts[i], 512);
        frontend_put(request);
    }
    (void)ring_driver_show(ring->drv);
    kick(ring);
    for (unsigned i = 0; i < 10; i++) {
        kick(ring);
        case_round_trip(&fe->ring[1], 0);
    }
}

static void descriptors_that_change_all_the_time_harm_nobody(void)
{
    struct frontend *fe = liar();
    struct frontend_ring *ring = &fe->ring[0];
    uint64_t base = data_addr(ring);

    srandom(3);
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < 8; i++) {
            raw_ring_set_desc(ring->drv, i, base + (uint64_t)random() % 70000,
                              (uint32_t)random() % 70000, (uint16_t)(random() % 8),
                              (uint16_t)(random() % 66));
        }
        raw_ring_offer(ring->drv, (uint16_t)(random() % 8));
        kick(ring);
    }
    case_round_trip(&fe->ring[1], 0);
}

static void memory_truncated_under_the_back_end_harms_nobody_else(void)
{
    struct frontend *fe = liar();

    for (unsigned i = 0; i < fe->opts.depth; i++) {
        frontend_put(frontend_prepare(&fe->ring[0], VIRTIO_BLK_T_IN, i * 128, 65536));
    }
    frontend_kick(&fe->ring[0]);
    require(ftruncate(fe->arena.fd, 0) == 0);
    kick(&fe->ring[0]);
    kick(&fe->ring[1]);
    poll(NULL, 0, 50);
    kick(&fe->ring[0]);
    /* Our own mapping must not fault when the case ends. */
    require(ftruncate(fe->arena.fd, (off_t)fe->arena.size) == 0);
    frontend_disconnect(fe);
}

/* A guest that adds for ever: the rings take turns. */
static void ring_that_is_never_empty_does_not_starve_the_other(void)
{
    struct frontend *fe = liar();
    struct frontend_ring *busy = &fe->ring[0];

    for (unsigned round = 0; round < 300; round++) {
        struct frontend_request *request;

        while ((request = frontend_prepare(busy, VIRTIO_BLK_T_IN, 0, 512))) {
            frontend_put(request);
        }
        frontend_kick(busy);
        if (round % 50 == 0) {
            case_round_trip(&fe->ring[1], 0);
        }
        while ((request = frontend_reap(busy))) {
            require(request->blk->status == VIRTIO_BLK_S_OK);
            frontend_release(request);
        }
    }
}

#define REGIONS 400u
#define REGION_BYTES 4096u
#define TABLE 1024u

/* Regions that follow one another, with one page of memory behind all of them. */
static void add_regions(struct frontend *fe, const struct arena *page)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        const struct vhost_mem_reg_msg slot = {
            .region = {.guest_addr = page->guest_addr + i * REGION_BYTES,
                       .size = REGION_BYTES,
                       .user_addr = page->guest_addr + i * REGION_BYTES}};

        require(frontend_set(fe, VHOST_ADD_MEM_REG, &slot, sizeof(slot), page->fd) == 0);
    }
}

/*
 * Every head leads to a table of buffers, each across all regions.  The status is the last byte,
 * and each ring has one of its own.
 */
static void offer_long_chains(struct frontend_ring *ring, const struct arena *page, unsigned count,
                              unsigned index)
{
    struct vring_desc *table = ring->requests->data;

    for (unsigned i = 0; i < TABLE; i++) {
        table[i] = (struct vring_desc){.addr = page->guest_addr,
                                       .len = REGIONS * REGION_BYTES,
                                       .flags = VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
                                       .next = (uint16_t)(i + 1)};
    }
    table[TABLE - 1].flags = VRING_DESC_F_WRITE;
    table[TABLE - 1].len -= index * CACHE_LINE;
    for (unsigned i = 0; i < count; i++) {
        raw_ring_set_desc(ring->drv, i, data_addr(ring), TABLE * sizeof(*table),
                          VRING_DESC_F_INDIRECT, 0);
        raw_ring_put(ring->drv, (uint16_t)i);
    }
    (void)ring_driver_show(ring->drv);
    kick(ring);
}

/* A back-end that walks each of them through all regions takes seconds. */
static uint64_t soon_ns(void)
{
    const char *patience = getenv("E2E_PATIENCE");

    return NS_PER_S * (patience ? (uint64_t)atoi(patience) : 1);
}

/* Returns how long the answers to chains on all rings took. */
static uint64_t answer_ns(struct frontend *fe, const struct arena *page)
{
    unsigned count = fe->opts.queue_size;
    uint64_t start_ns = now_ns();

    for (unsigned i = 0; i < fe->opts.queues; i++) {
        offer_long_chains(&fe->ring[i], page, count, i);
    }
    for (unsigned i = 0; i < fe->opts.queues; i++) {
        struct ring_driver *drv = fe->ring[i].drv;

        while (raw_ring_used_count(drv) < count) {
            require(now_ns() - start_ns < 100 * NS_PER_S);
        }
        drv->last_used += count;
    }
    return now_ns() - start_ns;
}

/* In one of a few times: others may want the processor. */
static void faulty_chains_over_hundreds_of_regions_are_answered_soon(void)
{
    struct frontend *fe = liar();
    struct arena page;
    unsigned tries = 1;

    arena_init(&page, 1ull << 40, REGION_BYTES);
    add_regions(fe, &page);
    while (answer_ns(fe, &page) >= soon_ns()) {
        require(++tries <= 5);
    }
    arena_fini(&page);
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case bad_ring_cases[] = {
    CASE(head_past_the_table_breaks_its_ring_alone),
    CASE(loop_breaks_its_ring_alone),
    CASE(table_of_40000_descriptors_breaks_its_ring_alone),
    CASE(index_that_jumps_breaks_its_ring_alone),
    CASE(chain_without_a_status_breaks_its_ring_alone),
    CASE(head_in_flight_twice_breaks_its_ring_at_most),
    CASE(buffers_outside_memory_are_answered),
    CASE(status_outside_memory_breaks_its_ring_alone),
    CASE(buffers_over_the_ring_itself_harm_nobody_else),
    CASE(descriptors_that_change_all_the_time_harm_nobody),
    CASE(memory_truncated_under_the_back_end_harms_nobody_else),
    CASE(ring_that_is_never_empty_does_not_starve_the_other),
    CASE(faulty_chains_over_hundreds_of_regions_are_answered_soon),
    {0},
};
