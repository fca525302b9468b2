/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/frontend.h"

#include <err.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What a VMM would accept: all that these tests know to use. */
static const uint64_t known_features =
    1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
    1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VHOST_F_PROTOCOL_FEATURES |
    1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_RO |
    1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY |
    1ull << VIRTIO_BLK_F_MQ;

static const uint64_t known_protocol_features =
    1ull << VHOST_P_MQ | 1ull << VHOST_P_REPLY_ACK | 1ull << VHOST_P_CONFIG |
    1ull << VHOST_P_CONFIGURE_MEM_SLOTS | 1ull << VHOST_P_RESET_DEVICE;

/* Of the config space, up to write_zeroes_may_unmap: QEMU's back-end refuses to tell more. */
#define CONFIG_BYTES 60

/* Send `request` and receive its answer, which must be one. */
static int ask(struct frontend *fe, const struct vhost_out *out, struct vhost_in *in)
{
    int ret = vhost_send(fe->sock, out);

    if (ret == 0) {
        ret = vhost_recv(fe->sock, in, FRONTEND_TIMEOUT_MS);
    }
    if (ret == 0 &&
        (in->request != out->request || in->flags != (VHOST_FLAG_VERSION | VHOST_FLAG_REPLY))) {
        ret = -EPROTO;
    }
    return ret;
}

int frontend_get_u64(struct frontend *fe, uint32_t request, uint64_t *value)
{
    struct vhost_out out = {.request = request, .flags = VHOST_FLAG_VERSION};
    struct vhost_in in;
    int ret = ask(fe, &out, &in);

    if (ret == 0 && in.size != sizeof(*value)) {
        ret = -EPROTO;
    }
    if (ret == 0) {
        memcpy(value, in.payload, sizeof(*value));
    }
    return ret;
}

/* With REPLY_ACK every message is acknowledged, so that its effect is known to be there. */
int frontend_set(struct frontend *fe, uint32_t request, const void *payload, uint32_t len, int fd)
{
    struct vhost_out out = {.request = request,
                            .flags = VHOST_FLAG_VERSION,
                            .size = len,
                            .len = len,
                            .payload = payload,
                            .fd_count = fd >= 0,
                            .fds = &fd};
    struct vhost_in in;
    uint64_t result = 0;
    int ret;

    if (!frontend_has_protocol(fe, VHOST_P_REPLY_ACK)) {
        return vhost_send(fe->sock, &out);
    }
    out.flags |= VHOST_FLAG_NEED_REPLY;
    ret = ask(fe, &out, &in);
    if (ret < 0) {
        return ret;
    }
    if (in.size != sizeof(result)) {
        return -EPROTO;
    }
    memcpy(&result, in.payload, sizeof(result));
    return result == 0 ? 0 : -EREMOTEIO;
}

int frontend_set_u64(struct frontend *fe, uint32_t request, uint64_t value, int fd)
{
    return frontend_set(fe, request, &value, sizeof(value), fd);
}

int frontend_set_vring(struct frontend *fe, uint32_t request, uint32_t index, uint32_t num)
{
    struct vhost_vring_state_msg state = {.index = index, .num = num};

    return frontend_set(fe, request, &state, sizeof(state), -1);
}

int frontend_get_vring_base(struct frontend *fe, uint32_t index, uint32_t *base)
{
    struct vhost_vring_state_msg state = {.index = index};
    struct vhost_out out = {.request = VHOST_GET_VRING_BASE,
                            .flags = VHOST_FLAG_VERSION,
                            .size = sizeof(state),
                            .len = sizeof(state),
                            .payload = &state};
    struct vhost_in in;
    int ret = ask(fe, &out, &in);

    if (ret < 0) {
        return ret;
    }
    if (in.size != sizeof(state)) {
        return -EPROTO;
    }
    memcpy(&state, in.payload, sizeof(state));
    *base = state.num;
    return state.index == index ? 0 : -EPROTO;
}

int frontend_get_config(struct frontend *fe, void *to, uint32_t offset, uint32_t len)
{
    struct vhost_config_msg config = {.offset = offset, .size = len};
    uint32_t bytes = (uint32_t)offsetof(struct vhost_config_msg, data) + len;
    struct vhost_out out = {.request = VHOST_GET_CONFIG,
                            .flags = VHOST_FLAG_VERSION,
                            .size = bytes,
                            .len = bytes,
                            .payload = &config};
    struct vhost_in in;
    int ret = ask(fe, &out, &in);

    if (ret < 0) {
        return ret;
    }
    if (in.size != bytes) {
        return -EPROTO;
    }
    memcpy(to, in.payload + offsetof(struct vhost_config_msg, data), len);
    return 0;
}

int frontend_share(struct frontend *fe, const struct vhost_region_msg *region, int fd)
{
    struct vhost_mem_reg_msg slot = {.region = *region};
    struct vhost_mem_table_msg table = {.count = 1, .region = {*region}};
    uint32_t table_bytes = offsetof(struct vhost_mem_table_msg, region) + sizeof(*region);

    if (fe->opts.use_mem_slots) {
        return frontend_set(fe, VHOST_ADD_MEM_REG, &slot, sizeof(slot), fd);
    }
    return frontend_set(fe, VHOST_SET_MEM_TABLE, &table, table_bytes, fd);
}

static int negotiate_protocol(struct frontend *fe)
{
    int ret = frontend_get_u64(fe, VHOST_GET_PROTOCOL_FEATURES, &fe->protocol_features);

    if (ret < 0) {
        return ret;
    }
    uint64_t wanted = fe->protocol_features & known_protocol_features;

    fe->protocol_features = 0; /* REPLY_ACK does not hold for this message yet */
    ret = frontend_set_u64(fe, VHOST_SET_PROTOCOL_FEATURES, wanted, -1);
    fe->protocol_features = wanted;
    if (ret == 0 && frontend_has_protocol(fe, VHOST_P_MQ)) {
        ret = frontend_get_u64(fe, VHOST_GET_QUEUE_NUM, &fe->max_queues);
    }
    return ret;
}

int frontend_connect(struct frontend *fe)
{
    uint64_t refuse = fe->opts.refuse;
    int ret;

    fe->sock = vhost_connect(fe->opts.socket);
    if (fe->sock < 0) {
        ret = fe->sock;
        fe->sock = -1;
        return ret;
    }
    fe->protocol_features = 0;
    fe->max_queues = 1;
    ret = frontend_get_u64(fe, VHOST_GET_FEATURES, &fe->offered);
    if (fe->opts.is_simple) {
        refuse |= 1ull << VHOST_F_PROTOCOL_FEATURES;
    }
    fe->features = fe->offered & known_features & ~refuse;
    if (ret == 0 && frontend_has(fe, VHOST_F_PROTOCOL_FEATURES)) {
        ret = negotiate_protocol(fe);
    }
    if (ret == 0) {
        ret = frontend_set(fe, VHOST_SET_OWNER, NULL, 0, -1);
    }
    if (ret == 0 && frontend_has_protocol(fe, VHOST_P_CONFIG)) {
        ret = frontend_get_config(fe, &fe->config, 0, CONFIG_BYTES);
    }
    if (ret == 0) {
        ret = frontend_set_u64(fe, VHOST_SET_FEATURES, fe->features, -1);
    }
    return ret;
}

static struct vhost_vring_addr_msg ring_addresses(const struct frontend_ring *ring)
{
    return (struct vhost_vring_addr_msg){
        .index = ring->index,
        .desc = (uintptr_t)ring->drv.desc,
        .used = (uintptr_t)ring->drv.used,
        .avail = (uintptr_t)ring->drv.avail,
    };
}

int frontend_ring_start(struct frontend *fe, unsigned index, uint16_t base)
{
    struct frontend_ring *ring = &fe->ring[index];
    struct vhost_vring_addr_msg addr = ring_addresses(ring);
    int ret = frontend_set_vring(fe, VHOST_SET_VRING_NUM, index, ring->drv.size);

    ring->drv.has_event_idx = frontend_has(fe, VIRTIO_RING_F_EVENT_IDX);
    if (ret == 0) {
        ret = frontend_set_vring(fe, VHOST_SET_VRING_BASE, index, base);
    }
    if (ret == 0) {
        ret = frontend_set(fe, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    }
    if (ret == 0) {
        ret = frontend_set_u64(fe, VHOST_SET_VRING_ERR, index, ring->err_fd);
    }
    if (ret == 0) {
        ret = frontend_set_u64(fe, VHOST_SET_VRING_CALL, index, ring->call_fd);
    }
    if (ret == 0) {
        ret = frontend_set_u64(fe, VHOST_SET_VRING_KICK, index, ring->kick_fd);
    }
    if (ret == 0 && frontend_has(fe, VHOST_F_PROTOCOL_FEATURES)) {
        ret = frontend_set_vring(fe, VHOST_SET_VRING_ENABLE, index, 1);
    }
    return ret;
}

int frontend_start(struct frontend *fe)
{
    struct vhost_region_msg region = {.guest_addr = fe->arena.guest_addr,
                                      .size = fe->arena.size,
                                      .user_addr = (uintptr_t)fe->arena.host};
    int ret = frontend_connect(fe);

    if (ret == 0) {
        ret = frontend_share(fe, &region, fe->arena.fd);
    }
    for (unsigned i = 0; ret == 0 && i < fe->opts.queues; i++) {
        ret = frontend_ring_start(fe, i, fe->ring[i].drv.shown_idx);
    }
    return ret;
}

void frontend_disconnect(struct frontend *fe)
{
    if (fe->sock >= 0) {
        close(fe->sock);
        fe->sock = -1;
    }
}

static int make_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        err(EXIT_FAILURE, "eventfd");
    }
    return fd;
}

static void init_request(struct frontend_ring *ring, struct frontend_request *request)
{
    struct arena *arena = &ring->fe->arena;

    request->ring = ring;
    request->header_addr = arena_take(arena, sizeof(struct virtio_blk_outhdr), 16);
    request->status_addr = arena_take(arena, 1, 1);
    request->table_addr = arena_take(arena, 3 * sizeof(struct vring_desc), 16);
    request->data_addr = arena_take(arena, ring->fe->opts.request_bytes, 4096);
    request->data = arena_at(arena, request->data_addr);
    request->next = ring->free;
    ring->free = request;
}

static void init_ring(struct frontend *fe, unsigned index)
{
    struct frontend_ring *ring = &fe->ring[index];

    ring->fe = fe;
    ring->index = index;
    ring->kick_fd = make_eventfd();
    ring->call_fd = make_eventfd();
    ring->err_fd = make_eventfd();
    driver_init(&ring->drv, &fe->arena, fe->opts.queue_size);
    ring->requests = calloc(fe->opts.depth, sizeof(*ring->requests));
    if (!ring->requests) {
        errx(EXIT_FAILURE, "no memory");
    }
    for (unsigned i = 0; i < fe->opts.depth; i++) {
        init_request(ring, &ring->requests[fe->opts.depth - 1 - i]);
    }
}

/* All the memory that the rings and their requests will take, with room for alignment. */
static uint64_t memory_bytes(const struct frontend_opts *opts)
{
    uint64_t ring = opts->queue_size * 64ull + 4096;
    uint64_t request = round_up(opts->request_bytes, 4096) + 8192;

    return round_up((ring + request * opts->depth) * opts->queues, 4096);
}

void frontend_init(struct frontend *fe, const struct frontend_opts *opts)
{
    memset(fe, 0, sizeof(*fe));
    fe->opts = *opts;
    fe->sock = -1;
    arena_init(&fe->arena, FRONTEND_GUEST_ADDR, memory_bytes(opts));
    fe->ring = calloc(opts->queues, sizeof(*fe->ring));
    if (!fe->ring) {
        errx(EXIT_FAILURE, "no memory");
    }
    for (unsigned i = 0; i < opts->queues; i++) {
        init_ring(fe, i);
    }
}

void frontend_fini(struct frontend *fe)
{
    frontend_disconnect(fe);
    for (unsigned i = 0; i < fe->opts.queues; i++) {
        close(fe->ring[i].kick_fd);
        close(fe->ring[i].call_fd);
        close(fe->ring[i].err_fd);
        free(fe->ring[i].requests);
    }
    free(fe->ring);
    arena_fini(&fe->arena);
}
