/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap_all(struct frontend *fe, struct frontend_ring *ring)
{
    struct frontend_request *request;

    while (ring->inflight > 0) {
        require(frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0);
        while ((request = frontend_reap(ring))) {
            require(request->blk->status == VIRTIO_BLK_S_OK);
            frontend_release(request);
        }
    }
}

static void put_many(struct frontend_ring *ring, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        frontend_put(frontend_prepare(ring, VIRTIO_BLK_T_IN, i * 128, 65536));
    }
    frontend_kick(ring);
}

/* What was taken is published when the answer is there; the rest is served after a start. */
static void stopped_ring_goes_on_where_it_stopped(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct frontend_ring *ring = &fe->ring[0];
    uint32_t base;

    for (unsigned round = 0; round < 50; round++) {
        put_many(ring, opts.depth);
        require(frontend_ring_stop(fe, 0, &base) == 0);
        require(base == frontend_used_base(ring));
        case_round_trip(&fe->ring[1], 8);
        require(frontend_ring_start(fe, 0, base) == 0);
        reap_all(fe, ring);
    }
}

static void disconnect_with_requests_in_flight_harms_nobody(void)
{
    struct frontend_opts opts = case_opts();

    for (unsigned round = 0; round < 20; round++) {
        struct frontend *fe = case_start(&opts);

        put_many(&fe->ring[0], opts.depth);
        put_many(&fe->ring[1], opts.depth);
        frontend_disconnect(fe);
    }
}

static void reconnected_front_end_goes_on(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);

    for (unsigned round = 0; round < 5; round++) {
        uint64_t deadline_ns = now_ns() + 5 * NS_PER_S;
        int ret;

        case_round_trip(&fe->ring[0], 0);
        frontend_disconnect(fe);
        while ((ret = frontend_resume(fe)) < 0 && now_ns() < deadline_ns) {
            frontend_disconnect(fe);
            poll(NULL, 0, 10);
        }
        require(ret == 0);
    }
    case_round_trip(&fe->ring[0], 0);
}

static void second_client_is_told_no_at_once(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *first = case_start(&opts);
    struct frontend *second = case_frontend(&opts);
    int ret = frontend_connect(second);

    require(ret < 0 && ret != -ETIMEDOUT);
    case_round_trip(&first->ring[0], 0);
}

/* Small and large reads, and a discard now and then where the disk has them. */
static struct frontend_request *prepare_any(struct frontend_ring *ring, unsigned i)
{
    const struct virtio_blk_discard_write_zeroes segment = {i % 64 * 8, 8, 0};
    bool is_discard = i % 8 == 7 && (ring->fe->blk.features >> VIRTIO_BLK_F_DISCARD & 1);
    struct frontend_request *request =
        is_discard ? frontend_prepare(ring, VIRTIO_BLK_T_DISCARD, 0, sizeof(segment))
                   : frontend_prepare(ring, VIRTIO_BLK_T_IN, i % 64, i % 2 == 0 ? 512 : 65536);

    if (request && is_discard) {
        memcpy(request->data, &segment, sizeof(segment));
    }
    return request;
}

/*
 * Requests on both rings without a pause, until `goes_on` is false and all are answered.  Returns
 * whether all were answered well.
 */
static bool keep_busy(struct frontend *fe, const _Atomic bool *goes_on)
{
    struct frontend_request *request;
    unsigned inflight = 1;
    bool is_good = true;

    for (unsigned i = 0; inflight > 0; i++) {
        inflight = 0;
        for (unsigned j = 0; j < fe->opts.queues; j++) {
            struct frontend_ring *ring = &fe->ring[j];

            while ((request = frontend_reap(ring))) {
                is_good &= request->blk->status == VIRTIO_BLK_S_OK;
                frontend_release(request);
            }
            while (*goes_on && (request = prepare_any(ring, i + ring->inflight))) {
                frontend_put(request);
            }
            frontend_kick(ring);
            inflight += ring->inflight;
        }
    }
    return is_good;
}

/* The same in a process of its own, as the memory is shared.  Returns its number. */
static pid_t start_busy(struct frontend *fe, const _Atomic bool *goes_on)
{
    pid_t pid = fork();

    require(pid >= 0);
    if (pid == 0) {
        alarm(60);
        _exit(keep_busy(fe, goes_on) ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    return pid;
}

/* `change` returns how often it has failed. */
static void change_while_busy(struct frontend *fe, int (*change)(struct frontend *fe))
{
    _Atomic bool *goes_on =
        mmap(NULL, sizeof(*goes_on), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int failures = 0;
    int status;
    pid_t pid;

    require(goes_on != MAP_FAILED);
    *goes_on = true;
    pid = start_busy(fe, goes_on);
    for (unsigned round = 0; round < 60; round++) {
        failures += change(fe);
        poll(NULL, 0, 22); /* the back-end waits a while for more messages */
    }
    *goes_on = false;
    require(waitpid(pid, &status, 0) == pid);
    munmap((void *)goes_on, sizeof(*goes_on));
    require(failures == 0);
    require(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
}

static struct vhost_region_msg region_of(const struct frontend *fe)
{
    return (struct vhost_region_msg){.guest_addr = fe->arena.guest_addr,
                                     .size = fe->arena.size,
                                     .user_addr = (uintptr_t)fe->arena.host};
}

static int remove_and_add(struct frontend *fe)
{
    const struct vhost_mem_reg_msg slot = {.region = region_of(fe)};
    int failures = frontend_set(fe, VHOST_REM_MEM_REG, &slot, sizeof(slot), -1) < 0;

    return failures + (frontend_set(fe, VHOST_ADD_MEM_REG, &slot, sizeof(slot), fe->arena.fd) < 0);
}

/* As QEMU does when firmware unlocks the memory below 1 MiB: rings and all are gone for a while. */
static void memory_goes_and_comes_while_rings_are_busy(void)
{
    struct frontend_opts opts = case_opts();

    change_while_busy(case_start(&opts), remove_and_add);
}

static int send_table(struct frontend *fe)
{
    const struct vhost_mem_table_msg table = {.count = 1, .region = {region_of(fe)}};

    return frontend_set(fe, VHOST_SET_MEM_TABLE, &table, 8 + sizeof(table.region[0]),
                        fe->arena.fd) < 0;
}

static void memory_goes_with_each_table_while_rings_are_busy(void)
{
    struct frontend_opts opts = case_opts();

    opts.refuse_protocol = 1ull << VHOST_P_CONFIGURE_MEM_SLOTS;
    change_while_busy(case_start(&opts), send_table);
}

static void messages_may_come_back_to_back(void)
{
    struct frontend *fe = case_connect();
    struct vhost_vring_state_msg num = {.index = 0, .num = 64};
    uint32_t bytes[13] = {VHOST_GET_FEATURES,  VHOST_FLAG_VERSION, 0,
                          VHOST_GET_QUEUE_NUM, VHOST_FLAG_VERSION, 0,
                          VHOST_SET_VRING_NUM, VHOST_FLAG_VERSION, sizeof(num)};
    struct vhost_in in;
    uint32_t again[3] = {VHOST_GET_FEATURES, VHOST_FLAG_VERSION, 0};

    memcpy(&bytes[9], &num, sizeof(num));
    require(vhost_send_bytes(frontend_sock(fe), bytes, 44, NULL, 0) == 0);
    require(vhost_send_bytes(frontend_sock(fe), again, 12, NULL, 0) == 0);
    require(vhost_recv(frontend_sock(fe), &in, 5000) == 0 && in.request == VHOST_GET_FEATURES);
    require(vhost_recv(frontend_sock(fe), &in, 5000) == 0 && in.request == VHOST_GET_QUEUE_NUM);
    require(vhost_recv(frontend_sock(fe), &in, 5000) == 0 && in.request == VHOST_GET_FEATURES);
}

static void message_may_come_in_pieces(void)
{
    struct frontend *fe = case_connect();
    uint32_t bytes[3] = {VHOST_GET_FEATURES, VHOST_FLAG_VERSION, 0};
    struct vhost_in in;

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        require(vhost_send_bytes(frontend_sock(fe), (uint8_t *)bytes + i, 1, NULL, 0) == 0);
        poll(NULL, 0, 1);
    }
    require(vhost_recv(frontend_sock(fe), &in, 5000) == 0 && in.request == VHOST_GET_FEATURES);
}

/* Back to back with fds: each belongs to its own message. */
static void fds_stay_with_their_messages(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    int fds[2] = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct pollfd called = {.fd = fds[1], .events = POLLIN};
    uint64_t signals;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t index = i;
        struct vhost_out out = {.request = VHOST_SET_VRING_CALL,
                                .flags = VHOST_FLAG_VERSION,
                                .size = 8,
                                .len = 8,
                                .payload = &index,
                                .fd_count = 1,
                                .fds = &fds[i]};

        require(vhost_send(frontend_sock(fe), &out) == 0);
    }
    require(frontend_get_u64(fe, VHOST_GET_FEATURES, &signals) == 0); /* both are done */
    require(read(fds[0], &signals, 8) == 8 && signals == 1);
    require(read(fds[1], &signals, 8) == 8 && signals == 1);
    put_many(&fe->ring[1], 1);
    require(poll(&called, 1, FRONTEND_TIMEOUT_MS) == 1);
    require(read(fds[0], &signals, 8) < 0);
    close(fds[0]);
    close(fds[1]);
}

static void reset_device_can_be_started_again(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    uint64_t offered = 0;

    require(frontend_get_u64(fe, VHOST_GET_PROTOCOL_FEATURES, &offered) == 0);
    if (!(offered >> VHOST_P_RESET_DEVICE & 1)) {
        return;
    }
    offered = frontend_protocol_features(fe) | 1ull << VHOST_P_RESET_DEVICE;
    require(frontend_set_u64(fe, VHOST_SET_PROTOCOL_FEATURES, offered, -1) == 0);
    case_round_trip(&fe->ring[0], 0);
    require(frontend_set(fe, VHOST_RESET_DEVICE, NULL, 0, -1) == 0);
    require(frontend_accept(fe, fe->blk.features) == 0);
    for (unsigned i = 0; i < opts.queues; i++) {
        require(frontend_ring_begin(fe, i) == 0);
    }
    case_round_trip(&fe->ring[0], 0);
}

static void disabled_ring_waits(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);

    require(frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, 0, 0) == 0);
    put_many(&fe->ring[0], 4);
    case_round_trip(&fe->ring[1], 0);
    require(frontend_used_count(&fe->ring[0]) == 0);
    require(frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, 0, 1) == 0);
    reap_all(fe, &fe->ring[0]);
}

/* What was taken is there when the message is answered, and nothing comes after it. */
static void disabled_ring_is_left_alone(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct frontend_ring *ring = &fe->ring[0];

    for (unsigned round = 0; round < 50; round++) {
        unsigned used;

        put_many(ring, opts.depth);
        require(frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, 0, 0) == 0);
        used = frontend_used_count(ring);
        case_round_trip(&fe->ring[1], 0);
        require(frontend_used_count(ring) == used);
        require(frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, 0, 1) == 0);
        reap_all(fe, ring);
    }
}

/* The guest is reset, and its rings are disabled and nothing else; then it begins anew. */
static void disabled_rings_can_be_set_up_anew(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);

    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < opts.queues; i++) {
            case_round_trip(&fe->ring[i], 0);
        }
        for (unsigned i = 0; i < opts.queues; i++) {
            require(frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, i, 0) == 0);
        }
        for (unsigned i = 0; i < opts.queues; i++) {
            require(frontend_ring_begin(fe, i) == 0);
        }
    }
    case_round_trip(&fe->ring[0], 0);
}

static void storm_of_kicks_is_served(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    uint64_t one = 1;

    for (unsigned i = 0; i < 100000; i++) {
        require(write(fe->ring[0].fds->kick, &one, sizeof(one)) == sizeof(one));
    }
    case_round_trip(&fe->ring[1], 0);
    case_round_trip(&fe->ring[0], 0);
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case life_cases[] = {
    CASE(stopped_ring_goes_on_where_it_stopped),
    CASE(disconnect_with_requests_in_flight_harms_nobody),
    CASE(reconnected_front_end_goes_on),
    CASE(second_client_is_told_no_at_once),
    CASE(memory_goes_and_comes_while_rings_are_busy),
    CASE(memory_goes_with_each_table_while_rings_are_busy),
    CASE(messages_may_come_back_to_back),
    CASE(message_may_come_in_pieces),
    CASE(fds_stay_with_their_messages),
    CASE(reset_device_can_be_started_again),
    CASE(disabled_ring_waits),
    CASE(disabled_ring_is_left_alone),
    CASE(disabled_rings_can_be_set_up_anew),
    CASE(storm_of_kicks_is_served),
    {0},
};
