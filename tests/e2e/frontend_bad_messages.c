/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

/* Send a message as told, asking for a reply. */
static struct frontend *send_raw(struct vhost_out out)
{
    struct frontend *fe = case_connect();

    if (!out.flags) {
        out.flags = VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY;
    }
    require(vhost_send(frontend_sock(fe), &out) == 0);
    return fe;
}

static void require_refused(struct vhost_out out)
{
    require(case_was_refused(send_raw(out)));
}

/* The same with a fresh connection for each, as many implementations close it. */
static void require_payload_refused(uint32_t request, const void *payload, uint32_t len, int fd)
{
    require_refused((struct vhost_out){.request = request,
                                       .size = len,
                                       .len = len,
                                       .payload = payload,
                                       .fd_count = fd >= 0,
                                       .fds = &fd});
}

static void half_a_header_harms_nobody(void)
{
    struct frontend *fe = case_connect();

    require(vhost_send_bytes(frontend_sock(fe), "abcd", 4, NULL, 0) == 0);
}

static void header_without_its_payload_harms_nobody(void)
{
    send_raw((struct vhost_out){.request = VHOST_SET_FEATURES, .size = 8});
}

static void payloads_of_wrong_length_are_refused(void)
{
    static const struct {
        uint32_t request;
        uint32_t len;
    } wrong[] = {
        {VHOST_SET_FEATURES, 0},          {VHOST_SET_FEATURES, 4},     {VHOST_SET_FEATURES, 16},
        {VHOST_SET_VRING_NUM, 4},         {VHOST_SET_VRING_ADDR, 8},   {VHOST_SET_VRING_ADDR, 48},
        {VHOST_SET_MEM_TABLE, 0},         {VHOST_SET_MEM_TABLE, 4},    {VHOST_SET_MEM_TABLE, 20},
        {VHOST_ADD_MEM_REG, 8},           {VHOST_ADD_MEM_REG, 200},    {VHOST_GET_VRING_BASE, 0},
        {VHOST_SET_VRING_KICK, 4},        {VHOST_SET_VRING_ENABLE, 1}, {VHOST_GET_CONFIG, 4},
        {VHOST_SET_PROTOCOL_FEATURES, 2},
    };
    static const uint8_t zeroes[256];

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        require_payload_refused(wrong[i].request, zeroes, wrong[i].len, -1);
    }
}

static void huge_payloads_are_refused_without_waiting_for_them(void)
{
    static const uint32_t sizes[] = {5000, 65536, 1u << 30, 0x7fffffff, UINT32_MAX};

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        require_refused((struct vhost_out){.request = VHOST_SET_FEATURES, .size = sizes[i]});
        require_refused((struct vhost_out){.request = VHOST_SET_CONFIG, .size = sizes[i]});
        require_refused((struct vhost_out){.request = 77777, .size = sizes[i]});
    }
}

static void wrong_versions_are_refused(void)
{
    static const uint64_t features;

    for (uint32_t version = 0; version < 4; version++) {
        struct vhost_out out = {.request = VHOST_SET_FEATURES,
                                .flags = version | VHOST_FLAG_NEED_REPLY,
                                .size = 8,
                                .len = 8,
                                .payload = &features};

        if (version != VHOST_FLAG_VERSION) {
            require_refused(out);
        }
    }
}

static void unknown_requests_are_refused(void)
{
    static const uint32_t requests[] = {0, 19, 26, 33, 44, 63, 64, 255, 65537, UINT32_MAX};

    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        require_refused((struct vhost_out){.request = requests[i]});
    }
}

static void garbage_is_refused(void)
{
    uint8_t bytes[4096];

    srandom(1);
    for (unsigned round = 0; round < 30; round++) {
        struct frontend *fe = case_connect();

        for (unsigned i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)random();
        }
        (void)vhost_send_bytes(frontend_sock(fe), bytes, sizeof(bytes), NULL,
                               0); /* may be cut off */
        require(case_was_refused(fe));
    }
}

static void fds_that_do_not_belong_are_refused(void)
{
    uint64_t features = 0;
    int fds[VHOST_MAX_FDS];

    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = STDIN_FILENO;
    }
    require_refused((struct vhost_out){.request = VHOST_SET_OWNER, .fd_count = 1, .fds = fds});
    require_refused((struct vhost_out){.request = VHOST_SET_FEATURES,
                                       .size = 8,
                                       .len = 8,
                                       .payload = &features,
                                       .fd_count = VHOST_MAX_FDS,
                                       .fds = fds});
}

static void too_many_fds_are_refused(void)
{
    struct frontend *fe = case_connect();
    uint64_t index = 0;
    int fds[VHOST_MAX_FDS] = {fe->ring[0].fds->kick, fe->ring[0].fds->kick, fe->ring[0].fds->kick};
    struct vhost_out out = {.request = VHOST_SET_VRING_KICK,
                            .flags = VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY,
                            .size = 8,
                            .len = 8,
                            .payload = &index,
                            .fd_count = 3,
                            .fds = fds};

    require(vhost_send(frontend_sock(fe), &out) == 0);
    require(case_was_refused(fe));
}

static void missing_fds_are_refused(void)
{
    uint64_t index = 0;
    struct vhost_mem_reg_msg slot = {.region = {.guest_addr = 0, .size = PAGE}};
    struct vhost_mem_table_msg table = {.count = 1, .region = {{.size = PAGE}}};

    require_payload_refused(VHOST_SET_VRING_KICK, &index, 8, -1);
    require_payload_refused(VHOST_SET_VRING_CALL, &index, 8, -1);
    require_payload_refused(VHOST_ADD_MEM_REG, &slot, sizeof(slot), -1);
    require_payload_refused(VHOST_SET_MEM_TABLE, &table, 8 + 32, -1);
}

static void memory_tables_that_lie_about_their_length_are_refused(void)
{
    static const uint32_t counts[] = {2, 9, 255, 0x10000000, UINT32_MAX};
    struct arena arena;
    struct vhost_mem_table_msg table = {0};

    arena_init(&arena, 0, 16 * PAGE);
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        table.count = counts[i];
        table.region[0].size = PAGE;
        require_payload_refused(VHOST_SET_MEM_TABLE, &table, 8 + 32, arena.fd);
        require_payload_refused(VHOST_SET_MEM_TABLE, &table, sizeof(table), arena.fd);
    }
    arena_fini(&arena);
}

static void bad_regions_are_refused(void)
{
    static const struct vhost_region_msg bad[] = {
        {.guest_addr = 0, .size = 0},
        {.guest_addr = UINT64_MAX - PAGE + 1, .size = 2 * PAGE},
        {.guest_addr = 0, .size = UINT64_MAX},
        {.guest_addr = 0, .size = 1ull << 62},
        {.guest_addr = 0, .size = 17 * PAGE},
        {.guest_addr = 0, .size = PAGE, .offset = 16 * PAGE},
        {.guest_addr = 0, .size = PAGE, .offset = UINT64_MAX - PAGE + 1},
        {.guest_addr = 0, .size = 2 * PAGE, .offset = UINT64_MAX - PAGE + 1},
        {.guest_addr = 0, .size = PAGE, .offset = 1ull << 63},
        {.guest_addr = 0, .size = 2 * PAGE, .user_addr = UINT64_MAX - PAGE},
    };
    struct arena arena;

    arena_init(&arena, 0, 16 * PAGE);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct vhost_mem_reg_msg slot = {.region = bad[i]};
        struct vhost_mem_table_msg table = {.count = 1, .region = {bad[i]}};

        require_payload_refused(VHOST_ADD_MEM_REG, &slot, sizeof(slot), arena.fd);
        require_payload_refused(VHOST_SET_MEM_TABLE, &table, 8 + 32, arena.fd);
    }
    arena_fini(&arena);
}

static void overlapping_regions_are_refused(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct vhost_mem_reg_msg slot = {
        .region = {.guest_addr = fe->arena.guest_addr + PAGE, .size = PAGE, .user_addr = PAGE}};
    int ret = frontend_set(fe, VHOST_ADD_MEM_REG, &slot, sizeof(slot), fe->arena.fd);

    require(ret == -EREMOTEIO || ret == -ECONNRESET);
}

static void memory_that_cannot_be_mapped_is_refused(void)
{
    struct vhost_mem_reg_msg slot = {.region = {.guest_addr = 0, .size = PAGE}};
    int fds[2];
    int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    require(pipe2(fds, O_CLOEXEC) == 0);
    require_payload_refused(VHOST_ADD_MEM_REG, &slot, sizeof(slot), fds[0]);
    require(ftruncate(sealed, PAGE) == 0);
    require(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    require_payload_refused(VHOST_ADD_MEM_REG, &slot, sizeof(slot), sealed);
    close(fds[0]);
    close(fds[1]);
    close(sealed);
}

static void unknown_region_cannot_be_removed(void)
{
    struct vhost_mem_reg_msg slot = {.region = {.guest_addr = 77 * PAGE, .size = PAGE}};

    require_payload_refused(VHOST_REM_MEM_REG, &slot, sizeof(slot), -1);
}

static void crooked_ring_sizes_are_refused(void)
{
    static const uint32_t sizes[] = {0, 3, 32769, 65536, 0x80000000, UINT32_MAX};

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct vhost_vring_state_msg state = {.index = 0, .num = sizes[i]};

        require_payload_refused(VHOST_SET_VRING_NUM, &state, sizeof(state), -1);
    }
}

static void rings_that_do_not_exist_are_refused(void)
{
    static const uint32_t requests[] = {VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
                                        VHOST_GET_VRING_BASE, VHOST_SET_VRING_ENABLE};
    struct vhost_vring_state_msg state = {.index = 9999, .num = 64};
    struct vhost_vring_addr_msg addr = {.index = UINT32_MAX};
    uint64_t index = 200;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        require_payload_refused(requests[i], &state, sizeof(state), -1);
    }
    require_payload_refused(VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    require_payload_refused(VHOST_SET_VRING_KICK, &index, 8, fd);
    require_payload_refused(VHOST_SET_VRING_CALL, &index, 8, fd);
    close(fd);
}

static void base_past_16_bits_is_refused(void)
{
    struct vhost_vring_state_msg state = {.index = 0, .num = 70000};

    require_payload_refused(VHOST_SET_VRING_BASE, &state, sizeof(state), -1);
}

/* Rings start with the kick fd: whichever message is refused, the ring must not run. */
static void bad_ring_addresses_are_refused(void)
{
    static const struct {
        int64_t desc, avail, used;
    } shift[] = {{1ll << 40, 0, 0}, {0, 1ll << 40, 0}, {0, 0, 1ll << 40},   {8, 0, 0},
                 {0, 1, 0},         {0, 0, 2},         {-(1ll << 40), 0, 0}};

    for (unsigned i = 0; i < ARRAY_SIZE(shift); i++) {
        struct frontend *fe = case_connect();
        const struct ring_driver *drv = fe->ring[0].drv;
        struct vhost_vring_addr_msg addr = {
            .index = 0,
            .desc = (uintptr_t)drv->desc + (uint64_t)shift[i].desc,
            .avail = (uintptr_t)drv->avail + (uint64_t)shift[i].avail,
            .used = (uintptr_t)drv->used + (uint64_t)shift[i].used,
        };

        require(frontend_share(fe) == 0);
        require(frontend_set_vring(fe, VHOST_SET_VRING_NUM, 0, drv->size) == 0);
        require(frontend_set(fe, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1) < 0 ||
                frontend_set_u64(fe, VHOST_SET_VRING_KICK, 0, fe->ring[0].fds->kick) < 0);
        frontend_disconnect(fe);
    }
}

static void kick_fds_that_are_none_are_refused(void)
{
    int fds[] = {memfd_create("none", MFD_CLOEXEC), open("/", O_RDONLY | O_CLOEXEC),
                 open("/dev/zero", O_RDWR | O_CLOEXEC), epoll_create1(EPOLL_CLOEXEC)};
    uint64_t index = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        require_payload_refused(VHOST_SET_VRING_KICK, &index, 8, fds[i]);
        close(fds[i]);
    }
}

static void features_that_are_not_offered_are_refused(void)
{
    uint64_t features = 1ull << 63 | 1ull << 34;

    require_payload_refused(VHOST_SET_FEATURES, &features, 8, -1);
}

static void config_outside_its_space_is_refused_or_empty(void)
{
    static const struct vhost_config_msg wrong[] = {
        {.offset = 0, .size = 0},          {.offset = 0, .size = 257},
        {.offset = 250, .size = 10},       {.offset = UINT32_MAX, .size = 8},
        {.offset = 0, .size = UINT32_MAX},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct frontend *fe = send_raw((struct vhost_out){.request = VHOST_GET_CONFIG,
                                                          .size = sizeof(wrong[i]),
                                                          .len = sizeof(wrong[i]),
                                                          .payload = &wrong[i]});
        struct vhost_in in;
        int ret = vhost_recv(frontend_sock(fe), &in, 5000);

        require(ret == -ECONNRESET || (ret == 0 && in.size == 0));
    }
}

static void client_that_does_not_read_answers_harms_nobody(void)
{
    struct frontend *fe = case_connect();
    uint32_t header[3] = {VHOST_GET_FEATURES, VHOST_FLAG_VERSION, 0};

    require(fcntl(frontend_sock(fe), F_SETFL, O_NONBLOCK) == 0);
    for (unsigned i = 0; i < 200000; i++) {
        if (vhost_send_bytes(frontend_sock(fe), header, sizeof(header), NULL, 0) < 0) {
            break;
        }
    }
}

static void clients_that_only_connect_harm_nobody(void)
{
    for (unsigned i = 0; i < 300; i++) {
        int sock = vhost_connect(case_opts().socket);

        require(sock >= 0);
        close(sock);
    }
}

static void ring_set_up_before_memory_harms_nobody(void)
{
    struct frontend *fe = case_connect();

    const struct ring_driver *drv = fe->ring[0].drv;
    struct vhost_vring_addr_msg addr = {
        .desc = (uintptr_t)drv->desc, .avail = (uintptr_t)drv->avail, .used = (uintptr_t)drv->used};

    /* Refused, or waits for memory: both will do. */
    (void)frontend_set_vring(fe, VHOST_SET_VRING_NUM, 0, drv->size);
    (void)frontend_set_vring(fe, VHOST_SET_VRING_BASE, 0, 0);
    (void)frontend_set(fe, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    (void)frontend_set_u64(fe, VHOST_SET_VRING_CALL, 0, fe->ring[0].fds->call);
    (void)frontend_set_u64(fe, VHOST_SET_VRING_KICK, 0, fe->ring[0].fds->kick);
    (void)frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, 0, 1);
}

static void messages_in_random_order_harm_nobody(void)
{
    srandom(7);
    for (unsigned round = 0; round < 6; round++) {
        struct frontend *fe = case_connect();

        for (unsigned i = 0; i < 200; i++) {
            uint64_t words[5] = {(uint64_t)random() % 4, (uint64_t)random() % 1025,
                                 (uint64_t)random(), (uint64_t)random(), (uint64_t)random()};
            uint32_t len = (uint32_t)random() % 6 * 8;
            struct vhost_out out = {.request = (uint32_t)random() % 40,
                                    .flags = VHOST_FLAG_VERSION,
                                    .size = len,
                                    .len = len,
                                    .payload = words,
                                    .fd_count = (unsigned)random() % 2,
                                    .fds = &fe->ring[0].fds->kick};

            if (vhost_send(frontend_sock(fe), &out) < 0) {
                break;
            }
        }
        frontend_disconnect(fe);
    }
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case bad_message_cases[] = {
    CASE(half_a_header_harms_nobody),
    CASE(header_without_its_payload_harms_nobody),
    CASE(payloads_of_wrong_length_are_refused),
    CASE(huge_payloads_are_refused_without_waiting_for_them),
    CASE(wrong_versions_are_refused),
    CASE(unknown_requests_are_refused),
    CASE(garbage_is_refused),
    CASE(fds_that_do_not_belong_are_refused),
    CASE(too_many_fds_are_refused),
    CASE(missing_fds_are_refused),
    CASE(memory_tables_that_lie_about_their_length_are_refused),
    CASE(bad_regions_are_refused),
    CASE(overlapping_regions_are_refused),
    CASE(memory_that_cannot_be_mapped_is_refused),
    CASE(unknown_region_cannot_be_removed),
    CASE(crooked_ring_sizes_are_refused),
    CASE(rings_that_do_not_exist_are_refused),
    CASE(base_past_16_bits_is_refused),
    CASE(bad_ring_addresses_are_refused),
    CASE(kick_fds_that_are_none_are_refused),
    CASE(features_that_are_not_offered_are_refused),
    CASE(config_outside_its_space_is_refused_or_empty),
    CASE(client_that_does_not_read_answers_harms_nobody),
    CASE(clients_that_only_connect_harm_nobody),
    CASE(ring_set_up_before_memory_harms_nobody),
    CASE(messages_in_random_order_harm_nobody),
    {0},
};
