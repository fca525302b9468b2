/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
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
    uint16_t base;

    for (unsigned round = 0; round < 50; round++) {
        put_many(ring, opts.depth);
        require(frontend_ring_stop(fe, 0, &base) == 0);
        require(base == load16_acquire(&ring->drv->used->idx));
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
    uint64_t start_ns = now_ns();

    require(frontend_connect(second) < 0);
    require(now_ns() - start_ns < 2 * NS_PER_S);
    case_round_trip(&first->ring[0], 0);
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
    for (unsigned i = 0; i < 1000 && raw_ring_used_count(fe->ring[1].drv) == 0; i++) {
        poll(NULL, 0, 5);
    }
    require(read(fds[0], &signals, 8) < 0);
    poll(NULL, 0, 10);
    require(read(fds[1], &signals, 8) == 8);
    close(fds[0]);
    close(fds[1]);
}

#define LARGEST 1024u /* the disk has to be added with as much */
#define CHAINS (LARGEST / 3)

/* Fill a ring with reads of the first block, and take every one of them back. */
static void fill_and_drain(struct frontend *fe, struct ring_driver *drv)
{
    const struct frontend_request *request = fe->ring[0].requests;
    struct virtio_blk_outhdr *header = request[1].data;
    uint8_t *status = request[2].data;
    uint64_t deadline_ns = now_ns() + FRONTEND_TIMEOUT_MS * NS_PER_MS;
    unsigned taken = 0;
    uint16_t head;
    uint32_t len;

    for (unsigned i = 0; i < CHAINS; i++) {
        const struct ring_piece pieces[] = {{&header[i], sizeof(header[i]), false},
                                            {request[3].data, 4096, true},
                                            {&status[i], 1, true}};

        header[i] = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
        status[i] = 0xee;
        require(ring_driver_add(drv, pieces, 3) >= 0);
    }
    if (ring_driver_show(drv)) {
        require(eventfd_write(fe->ring[0].fds->kick, 1) == 0);
    }
    while (taken < CHAINS) {
        require(now_ns() < deadline_ns);
        taken += ring_driver_take(drv, &head, &len);
        require(!drv->is_broken);
    }
    for (unsigned i = 0; i < CHAINS; i++) {
        require(status[i] == VIRTIO_BLK_S_OK);
    }
}

static void largest_ring_works(void)
{
    struct frontend *fe = case_connect();
    struct frontend_ring *ring = &fe->ring[0];

    require(ring_driver_bytes(LARGEST, RING_DRIVER_MODERN_ALIGN) <= fe->opts.request_bytes);
    ring_driver_init(ring->drv, LARGEST, RING_DRIVER_MODERN_ALIGN, ring->requests->data,
                     ring->drv->offset);
    ring->drv->has_event_idx = true;
    require(frontend_share(fe) == 0);
    require(frontend_ring_start(fe, 0, 0) == 0);
    for (unsigned round = 0; round < 3; round++) {
        fill_and_drain(fe, ring->drv);
    }
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
        raw_ring_reset(fe->ring[i].drv, 0);
        require(frontend_ring_start(fe, i, 0) == 0);
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
    require(raw_ring_used_count(fe->ring[0].drv) == 0);
    require(frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, 0, 1) == 0);
    reap_all(fe, &fe->ring[0]);
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
    CASE(messages_may_come_back_to_back),
    CASE(message_may_come_in_pieces),
    CASE(fds_stay_with_their_messages),
    CASE(largest_ring_works),
    CASE(reset_device_can_be_started_again),
    CASE(disabled_ring_waits),
    CASE(storm_of_kicks_is_served),
    {0},
};
