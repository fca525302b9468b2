/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <linux/virtio_config.h>
#include <string.h>

#define PAGE 4096u

static void good_client_reads_what_it_wrote(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);

    case_round_trip(&fe->ring[0], 0);
    case_round_trip(&fe->ring[1], 64);
}

static void back_end_offers_what_front_ends_need(void)
{
    struct frontend *fe = case_connect();
    uint64_t features = vhost_user_client_features(fe->bus.client);
    uint64_t needed = 1ull << VHOST_P_MQ | 1ull << VHOST_P_CONFIG | 1ull << VHOST_P_REPLY_ACK |
                      1ull << VHOST_P_CONFIGURE_MEM_SLOTS;
    struct virtio_blk_config config;

    require(features >> VIRTIO_F_VERSION_1 & 1);
    require(features >> VIRTIO_RING_F_INDIRECT_DESC & 1);
    require(features >> VIRTIO_RING_F_EVENT_IDX & 1);
    require((frontend_protocol_features(fe) & needed) == needed);
    require(vhost_user_client_max_rings(fe->bus.client) >= 2);
    vhost_user_client_config_read(fe->bus.client, 0, &config, sizeof(config));
    require(config.capacity >= (8u << 20) / SECTOR_SIZE);
    require(config.num_queues == vhost_user_client_max_rings(fe->bus.client));
}

static void all_queues_carry_requests_at_once(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    unsigned done = 0;

    for (unsigned i = 0; i < opts.queues * opts.depth; i++) {
        struct frontend_request *request =
            frontend_prepare(&fe->ring[i % opts.queues], VIRTIO_BLK_T_OUT, i * 128, 65536);

        memset(request->data, (int)i + 1, 65536);
        frontend_put(request);
    }
    for (unsigned i = 0; i < opts.queues; i++) {
        frontend_kick(&fe->ring[i]);
    }
    while (done < opts.queues * opts.depth) {
        require(frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0);
        for (unsigned i = 0; i < opts.queues; i++) {
            struct frontend_request *request;

            while ((request = frontend_reap(&fe->ring[i]))) {
                require(request->blk->status == VIRTIO_BLK_S_OK);
                require(request->blk->used_len == 1);
                frontend_release(request);
                done++;
            }
        }
    }
    for (unsigned i = 0; i < opts.queues * opts.depth; i++) {
        uint8_t data[512];

        require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_IN, i * 128 + 127, data, 512) == 0);
        require(data[0] == i + 1 && data[511] == i + 1);
    }
}

/* On a disk that offers it: a large one, and small ones that would be done before. */
static void answers_come_in_the_order_of_requests_that_was_accepted(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe;
    struct frontend_request *request;
    uint64_t last = 0;

    opts.accept = 1ull << VIRTIO_F_IN_ORDER;
    fe = case_start(&opts);
    if (!(vhost_user_client_features(fe->bus.client) & opts.accept)) {
        return;
    }
    for (unsigned i = 0; i < opts.depth; i++) {
        frontend_put(frontend_prepare(&fe->ring[0], i % 4 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
                                      i * 128, i % 4 ? 512 : 65536));
    }
    frontend_kick(&fe->ring[0]);
    for (unsigned done = 0; done < opts.depth;) {
        require(frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0);
        while ((request = frontend_reap(&fe->ring[0]))) {
            require(request->blk->status == VIRTIO_BLK_S_OK);
            require(done == 0 || request->blk->header.sector > last);
            last = request->blk->header.sector;
            frontend_release(request);
            done++;
        }
    }
}

static void get_id_gives_a_text(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    char id[VIRTIO_BLK_ID_BYTES + 1] = "";

    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_GET_ID, 0, id, VIRTIO_BLK_ID_BYTES) == 0);
    require(id[0] != '\0');
}

static void what_the_disk_cannot_do_is_answered(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    uint8_t data[512] = {0};
    uint64_t end = fe->blk.capacity;

    require(frontend_do(&fe->ring[0], 99, 0, data, 512) == VIRTIO_BLK_S_UNSUPP);
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_IN, end, data, 512) == VIRTIO_BLK_S_IOERR);
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_OUT, end, data, 512) == VIRTIO_BLK_S_IOERR);
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_IN, UINT64_MAX, data, 512) ==
            VIRTIO_BLK_S_IOERR);
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_IN, 0, data, 100) == VIRTIO_BLK_S_IOERR);
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_IN, end - 1, data, 512) == VIRTIO_BLK_S_OK);
}

static void serve_without(uint64_t refused)
{
    struct frontend_opts opts = case_opts();

    opts.refuse = refused;
    opts.is_packed = opts.is_packed && !(refused >> VIRTIO_F_VERSION_1 & 1); /* of old: none */
    opts.queues = refused >> VIRTIO_BLK_F_MQ & 1 ? 1 : 2;

    struct frontend *fe = case_start(&opts);

    require((fe->blk.features & refused) == 0);
    for (unsigned i = 0; i < 20; i++) {
        case_round_trip(&fe->ring[i % opts.queues], i * 8);
    }
}

static void ring_works_without_the_event_index(void)
{
    serve_without(1ull << VIRTIO_RING_F_EVENT_IDX);
}

static void ring_works_without_indirect_tables(void)
{
    serve_without(1ull << VIRTIO_RING_F_INDIRECT_DESC);
}

static void legacy_ring_works(void)
{
    serve_without(1ull << VIRTIO_F_VERSION_1);
}

static void driver_that_accepts_nothing_is_served(void)
{
    serve_without(~(1ull << VHOST_F_PROTOCOL_FEATURES));
}

static void front_end_without_protocol_features_is_served(void)
{
    struct frontend_opts opts = case_opts();

    opts.refuse = 1ull << VHOST_F_PROTOCOL_FEATURES;
    opts.is_packed = false; /* they take an in-flight region */
    opts.queues = 1;

    struct frontend *fe = case_start(&opts);

    require(frontend_protocol_features(fe) == 0);
    case_round_trip(&fe->ring[0], 0);
}

static void front_end_with_memory_slots_is_served(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    uint64_t slots = 0;

    require(frontend_get_u64(fe, VHOST_GET_MAX_MEM_SLOTS, &slots) == 0);
    require(slots >= 32);
    case_round_trip(&fe->ring[0], 0);
}

static int add_region(struct frontend *fe, const struct arena *arena)
{
    const struct vhost_mem_reg_msg slot = {.region = {.guest_addr = arena->guest_addr,
                                                      .size = arena->size,
                                                      .user_addr = (uintptr_t)arena->host}};

    return frontend_set(fe, VHOST_ADD_MEM_REG, &slot, sizeof(slot), arena->fd);
}

/* A read into a region that is not the front-end's own; its status byte. */
static int read_into(struct frontend *fe, uint64_t addr, uint32_t len)
{
    struct frontend_ring *ring = &fe->ring[0];
    struct frontend_request *request = frontend_prepare(ring, VIRTIO_BLK_T_IN, 0, len);

    request->blk->data = raw_ring_piece(ring->drv, addr, len, true).data;
    frontend_put(request);
    frontend_kick(ring);
    require(frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0);
    require(frontend_reap(ring) == request);
    frontend_release(request);
    return request->blk->status;
}

static void memory_may_be_added_and_removed_while_rings_run(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct arena more;
    struct vhost_mem_reg_msg slot = {0};

    arena_init(&more, 1ull << 32, 16 * PAGE);
    slot.region = (struct vhost_region_msg){
        .guest_addr = more.guest_addr, .size = more.size, .user_addr = (uintptr_t)more.host};
    case_round_trip(&fe->ring[0], 0);
    require(read_into(fe, more.guest_addr, 4096) == VIRTIO_BLK_S_IOERR);
    require(add_region(fe, &more) == 0);
    require(read_into(fe, more.guest_addr, 4096) == VIRTIO_BLK_S_OK);
    case_round_trip(&fe->ring[1], 0);
    require(frontend_set(fe, VHOST_REM_MEM_REG, &slot, sizeof(slot), -1) == 0);
    require(read_into(fe, more.guest_addr, 4096) == VIRTIO_BLK_S_IOERR);
    case_round_trip(&fe->ring[0], 0);
    arena_fini(&more);
}

static void region_may_end_inside_a_page(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct arena more;

    arena_init(&more, 1ull << 32, PAGE + 512);
    require(add_region(fe, &more) == 0);
    require(read_into(fe, more.guest_addr + PAGE, 512) == VIRTIO_BLK_S_OK);
    require(read_into(fe, more.guest_addr + PAGE, 1024) == VIRTIO_BLK_S_IOERR);
    arena_fini(&more);
}

static void memory_table_may_be_sent_again(void)
{
    struct frontend_opts opts = case_opts();

    opts.refuse_protocol = 1ull << VHOST_P_CONFIGURE_MEM_SLOTS;

    struct frontend *fe = case_start(&opts);
    struct vhost_mem_table_msg table = {.count = 1,
                                        .region = {{.guest_addr = fe->arena.guest_addr,
                                                    .size = fe->arena.size,
                                                    .user_addr = (uintptr_t)fe->arena.host}}};

    case_round_trip(&fe->ring[0], 0);
    for (unsigned i = 0; i < 10; i++) {
        require(frontend_set(fe, VHOST_SET_MEM_TABLE, &table, 8 + sizeof(table.region[0]),
                             fe->arena.fd) == 0);
        case_round_trip(&fe->ring[i & 1], 0);
    }
}

static void get_config(struct frontend *fe, void *to, uint32_t offset, uint32_t len)
{
    const struct vhost_config_msg config = {.offset = offset, .size = len};
    uint32_t bytes = (uint32_t)offsetof(struct vhost_config_msg, data) + len;
    const struct vhost_out out = {.request = VHOST_GET_CONFIG,
                                  .flags = VHOST_FLAG_VERSION,
                                  .size = bytes,
                                  .len = bytes,
                                  .payload = &config};
    struct vhost_in in;

    require(vhost_send(frontend_sock(fe), &out) == 0);
    require(vhost_recv(frontend_sock(fe), &in, FRONTEND_TIMEOUT_MS) == 0);
    require(in.request == VHOST_GET_CONFIG && in.size == bytes);
    require(memcmp(in.payload, &config, offsetof(struct vhost_config_msg, flags)) == 0);
    memcpy(to, in.payload + offsetof(struct vhost_config_msg, data), len);
}

static void config_is_served_in_parts(void)
{
    struct frontend *fe = case_connect();
    uint8_t whole[60], part[60];

    vhost_user_client_config_read(fe->bus.client, 0, whole, 60);
    for (unsigned i = 0; i < 60; i += 4) {
        get_config(fe, part + i, i, 4);
    }
    require(memcmp(whole, part, 60) == 0);
}

/* As cloud-hypervisor did from v0.6.0 to v50.2: all of it, at 0x100, where virtio-mmio has it. */
static void config_is_served_at_the_offset_of_virtio_mmio(void)
{
    struct frontend *fe = case_connect();
    struct virtio_blk_config zero, mmio;

    get_config(fe, &zero, 0, sizeof(zero));
    get_config(fe, &mmio, 0x100, sizeof(mmio));
    require(memcmp(&zero, &mmio, sizeof(zero)) == 0);
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case good_cases[] = {
    CASE(good_client_reads_what_it_wrote),
    CASE(back_end_offers_what_front_ends_need),
    CASE(all_queues_carry_requests_at_once),
    CASE(answers_come_in_the_order_of_requests_that_was_accepted),
    CASE(get_id_gives_a_text),
    CASE(what_the_disk_cannot_do_is_answered),
    CASE(ring_works_without_the_event_index),
    CASE(ring_works_without_indirect_tables),
    CASE(legacy_ring_works),
    CASE(driver_that_accepts_nothing_is_served),
    CASE(front_end_without_protocol_features_is_served),
    CASE(front_end_with_memory_slots_is_served),
    CASE(memory_may_be_added_and_removed_while_rings_run),
    CASE(region_may_end_inside_a_page),
    CASE(memory_table_may_be_sent_again),
    CASE(config_is_served_in_parts),
    CASE(config_is_served_at_the_offset_of_virtio_mmio),
    {0},
};
