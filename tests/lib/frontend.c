/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/frontend.h"

#include <err.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>

#include "transports/client/vhost_user_client_state.h"

/* ---- messages of the test's own ---- */

int frontend_sock(const struct frontend *fe)
{
    return fe->bus.client->link.sock;
}

uint64_t frontend_protocol_features(const struct frontend *fe)
{
    return fe->bus.client->link.protocol_features;
}

int frontend_set(struct frontend *fe, uint32_t request, const void *payload, uint32_t len, int fd)
{
    const struct vhost_user_out out = {
        .request = request, .len = len, .payload = payload, .fds = &fd, .fd_count = fd >= 0};

    return vhost_user_link_set(&fe->bus.client->link, &out, &fe->bus.err);
}

int frontend_set_u64(struct frontend *fe, uint32_t request, uint64_t value, int fd)
{
    return frontend_set(fe, request, &value, sizeof(value), fd);
}

int frontend_set_vring(struct frontend *fe, uint32_t request, uint32_t index, uint32_t num)
{
    const struct vhost_vring_state_msg state = {.index = index, .num = num};

    return frontend_set(fe, request, &state, sizeof(state), -1);
}

int frontend_get_u64(struct frontend *fe, uint32_t request, uint64_t *value)
{
    return vhost_user_link_get_u64(&fe->bus.client->link, request, value, &fe->bus.err);
}

/* ---- connection ---- */

int frontend_connect(struct frontend *fe)
{
    const struct vhost_user_client_opts opts = {
        .socket = fe->opts.socket,
        .timeout_ms = FRONTEND_TIMEOUT_MS,
        .rings = fe->opts.queues,
        .ring_size = fe->opts.is_packed || fe->opts.is_tracked ? (uint16_t)fe->opts.queue_size : 0,
        .refuse = fe->opts.refuse,
        .refuse_protocol = fe->opts.refuse_protocol,
    };

    fe->bus.err = (struct err){0};
    return vhost_user_client_open(&fe->bus.client, &opts, &fe->bus.err);
}

/*
 * To a VMM a back-end that hung up is one that will be told later, so its calls succeed; to a test
 * that does not follow it has failed.
 */
static int conclude(struct frontend *fe, int ret)
{
    if (ret == 0 && !fe->opts.follows && !vhost_user_client_is_connected(fe->bus.client)) {
        fe->bus.err = fe->bus.client->why;
        return fe->bus.err.code;
    }
    return ret;
}

int frontend_accept(struct frontend *fe, uint64_t features)
{
    return conclude(fe, vhost_user_client_set_features(fe->bus.client, features, &fe->bus.err));
}

int frontend_share(struct frontend *fe)
{
    const struct vhost_user_client_region region = {.guest_addr = fe->arena.guest_addr,
                                                    .size = fe->arena.size,
                                                    .host = fe->arena.host,
                                                    .fd = fe->arena.fd};

    return conclude(fe, vhost_user_client_add_memory(fe->bus.client, &region, &fe->bus.err));
}

int frontend_ring_start(struct frontend *fe, unsigned index, uint32_t base)
{
    return conclude(fe, vhost_user_bus_ring_start(&fe->bus, index, fe->ring[index].drv, base));
}

int frontend_ring_stop(struct frontend *fe, unsigned index, uint32_t *base)
{
    return conclude(fe, vhost_user_client_ring_stop(fe->bus.client, index, base, &fe->bus.err));
}

/* What the driver does not know and the test does. */
static uint64_t with_more(const struct frontend *fe, uint64_t features)
{
    return features | (fe->opts.accept & vhost_user_client_features(fe->bus.client));
}

static void set_features(void *bus, uint64_t features)
{
    vhost_user_bus_ops.set_features(bus,
                                    with_more(containerof(bus, struct frontend, bus), features));
}

/* A driver that does not know VERSION_1 is one of old. */
static int start_driver(struct frontend *fe)
{
    struct blk_driver_opts opts = fe->blk.opts;

    opts.is_legacy = fe->opts.refuse >> VIRTIO_F_VERSION_1 & 1;
    if (blk_driver_start(&fe->blk, &opts) < 0) {
        return fe->bus.err.code < 0 ? fe->bus.err.code : -EPROTO;
    }
    if (fe->opts.is_packed && !blk_driver_has(&fe->blk, VIRTIO_F_RING_PACKED)) {
        return -ENOTSUP;
    }
    return conclude(fe, fe->blk.queues == fe->opts.queues ? 0 : -ENOSPC);
}

int frontend_start(struct frontend *fe)
{
    int ret = frontend_connect(fe);

    if (ret == 0) {
        ret = frontend_share(fe);
    }
    return ret == 0 ? start_driver(fe) : ret;
}

/* The word for a place in a packed ring: VIRTIO 1.2, 2.8.1 "Driver and Device Ring Wrap Counters".
 */
static uint32_t word_of(const struct ring_driver *ring, uint32_t place)
{
    return (place & (ring->size - 1)) | (place & ring->size ? 0 : 1u << 15);
}

/* Behind the last descriptor that was used, whether the driver has seen it or not. */
static uint32_t packed_used_place(const struct ring_driver *ring, unsigned *count)
{
    const uint16_t both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
    uint32_t place = ring->place.taken;

    for (*count = 0; place != ring->place.shown; ++*count) {
        const struct vring_packed_desc *desc = &ring->packed[place & (ring->size - 1)];

        if ((load16_acquire(&desc->flags) & both) != (place & ring->size ? 0 : both)) {
            break;
        }
        place += ring->chain[desc->id].count;
    }
    return place;
}

unsigned frontend_used_count(const struct frontend_ring *ring)
{
    unsigned count;

    if (!ring->drv->is_packed) {
        return raw_ring_used_count(ring->drv);
    }
    (void)packed_used_place(ring->drv, &count);
    return count;
}

uint32_t frontend_used_base(const struct frontend_ring *ring)
{
    unsigned count;
    uint32_t word;

    if (!ring->drv->is_packed) {
        return load16_acquire(&ring->drv->used->idx);
    }
    word = word_of(ring->drv, packed_used_place(ring->drv, &count));
    return word | word << 16;
}

int frontend_ring_begin(struct frontend *fe, unsigned index)
{
    struct ring_driver *drv = fe->ring[index].drv;
    bool has_event_idx = drv->has_event_idx;

    if (!drv->is_packed) {
        raw_ring_reset(drv, 0);
        return frontend_ring_start(fe, index, 0);
    }
    ring_driver_init_packed(drv, drv->size, drv->packed, drv->offset, drv->chain);
    drv->has_event_idx = has_event_idx;
    return frontend_ring_start(fe, index, VHOST_USER_CLIENT_PACKED_BASE);
}

int frontend_resume(struct frontend *fe)
{
    int ret = frontend_connect(fe);

    if (ret == 0) {
        ret = frontend_accept(fe, with_more(fe, fe->blk.features));
    }
    if (ret == 0) {
        ret = frontend_share(fe);
    }
    for (unsigned i = 0; ret == 0 && i < fe->opts.queues; i++) {
        ret = frontend_ring_start(fe, i, frontend_used_base(&fe->ring[i]));
    }
    return ret;
}

void frontend_disconnect(struct frontend *fe)
{
    if (fe->bus.client) {
        vhost_user_client_close(fe->bus.client);
        fe->bus.client = NULL;
    }
}

/* ---- memory ---- */

static void *make(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        errx(EXIT_FAILURE, "no memory");
    }
    return memory;
}

static void *take(struct frontend *fe, uint64_t bytes, uint64_t align)
{
    return arena_at(&fe->arena, arena_take(&fe->arena, bytes, align));
}

static void init_ring(struct frontend *fe, unsigned index)
{
    struct frontend_ring *ring = &fe->ring[index];
    struct blk_driver_queue *queue = &fe->queue[index];
    const struct blk_driver_opts *opts = &fe->blk.opts;

    *ring = (struct frontend_ring){
        .fe = fe, .fds = &fe->bus.fds[index], .queue = queue, .drv = &queue->ring};
    queue->index = index;
    ring_driver_init(&queue->ring, opts->queue_size, RING_DRIVER_MODERN_ALIGN,
                     (uint8_t *)opts->ring_memory + blk_driver_ring_bytes(opts) * index,
                     opts->offset, queue->chain);
    ring->requests = make(fe->opts.depth, sizeof(*ring->requests));
    ring->blk = make(fe->opts.depth, sizeof(*ring->blk));
    for (unsigned i = 0; i < fe->opts.depth; i++) {
        struct frontend_request *request = &ring->requests[i];

        request->ring = ring;
        request->blk = &ring->blk[i];
        request->blk->frame = take(fe, sizeof(*request->blk->frame), 16);
        request->data = take(fe, fe->opts.request_bytes, 4096);
        request->next = ring->free;
        ring->free = request;
    }
}

void frontend_init(struct frontend *fe, const struct frontend_opts *opts)
{
    uint64_t request_bytes = sizeof(struct blk_driver_frame) + opts->request_bytes + 4096u;
    struct blk_driver_opts driver = {.ops = &fe->ops,
                                     .bus = &fe->bus,
                                     .is_indirect = true,
                                     .is_packed = opts->is_packed,
                                     .queues = opts->queues,
                                     .queue_size = opts->queue_size,
                                     .timeout_ms = FRONTEND_TIMEOUT_MS};
    /* As a driver of old would take it, which is more. */
    uint64_t ring_bytes =
        blk_driver_ring_bytes(&(struct blk_driver_opts){.is_legacy = true}) * opts->queues;

    *fe = (struct frontend){.opts = *opts, .ops = vhost_user_bus_ops};
    fe->ops.set_features = set_features;
    if (vhost_user_bus_init(&fe->bus, opts->queues, true, &fe->bus.err) < 0) {
        errx(EXIT_FAILURE, "%s", fe->bus.err.text);
    }
    arena_init(&fe->arena, FRONTEND_GUEST_ADDR,
               round_up(ring_bytes + request_bytes * opts->depth * opts->queues, 4096));
    fe->queue = make(opts->queues, sizeof(*fe->queue));
    fe->ring = make(opts->queues, sizeof(*fe->ring));
    driver.queue = fe->queue;
    driver.offset = fe->arena.guest_addr - (uintptr_t)fe->arena.host;
    driver.ring_memory = take(fe, ring_bytes, 4096);
    fe->blk.opts = driver;
    for (unsigned i = 0; i < opts->queues; i++) {
        init_ring(fe, i);
    }
}

void frontend_fini(struct frontend *fe)
{
    vhost_user_bus_fini(&fe->bus);
    for (unsigned i = 0; i < fe->opts.queues; i++) {
        free(fe->ring[i].requests);
        free(fe->ring[i].blk);
    }
    free(fe->ring);
    free(fe->queue);
    arena_fini(&fe->arena);
}
