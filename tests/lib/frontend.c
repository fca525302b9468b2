/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/frontend.h"

#include <err.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transports/vhost_user_client_state.h"

/* ---- messages of the test's own ---- */

int frontend_sock(const struct frontend *fe)
{
    return fe->client->link.sock;
}

uint64_t frontend_protocol_features(const struct frontend *fe)
{
    return fe->client->link.protocol_features;
}

int frontend_set(struct frontend *fe, uint32_t request, const void *payload, uint32_t len, int fd)
{
    const struct vhost_user_out out = {
        .request = request, .len = len, .payload = payload, .fds = &fd, .fd_count = fd >= 0};

    return vhost_user_link_set(&fe->client->link, &out, &fe->err);
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
    return vhost_user_link_get_u64(&fe->client->link, request, value, &fe->err);
}

/* ---- the driver's bus ---- */

static uint8_t get_status(void *bus)
{
    return ((struct frontend *)bus)->status;
}

/* A device that does not take the features does not keep FEATURES_OK. */
static void set_status(void *bus, uint8_t status)
{
    struct frontend *fe = bus;

    for (unsigned i = 0; status == 0 && i < fe->opts.queues; i++) {
        (void)frontend_ring_stop(fe, i, NULL); /* told in err */
    }
    fe->status = fe->err.code < 0 ? status & (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK : status;
}

static uint64_t get_features(void *bus)
{
    return vhost_user_client_features(((struct frontend *)bus)->client);
}

static void set_features(void *bus, uint64_t features)
{
    (void)frontend_accept(bus, features); /* see set_status */
}

static uint32_t generation(void *bus)
{
    (void)bus;
    return 0;
}

static void read_config(void *bus, unsigned offset, void *to, unsigned len)
{
    vhost_user_client_config_read(((struct frontend *)bus)->client, offset, to, len);
}

static unsigned max_size(void *bus, unsigned index)
{
    (void)bus;
    (void)index;
    return BLK_DRIVER_MAX_SIZE;
}

static int set_ring(void *bus, unsigned index, const struct ring_driver *ring)
{
    (void)ring; /* it is in the queue */
    return frontend_ring_start(bus, index, 0);
}

static void notify(void *bus, unsigned index)
{
    (void)eventfd_write(((struct frontend *)bus)->ring[index].kick_fd, 1); /* full wakes, too */
}

static uint64_t now_ms(void *bus)
{
    (void)bus;
    return now_ns() / NS_PER_MS;
}

static const struct blk_driver_ops driver_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .generation = generation,
    .read_config = read_config,
    .max_size = max_size,
    .set_ring = set_ring,
    .notify = notify,
    .now_ms = now_ms,
};

/* ---- connection ---- */

int frontend_connect(struct frontend *fe)
{
    const struct vhost_user_client_opts opts = {
        .socket = fe->opts.socket,
        .timeout_ms = FRONTEND_TIMEOUT_MS,
        .refuse = fe->opts.refuse,
        .refuse_protocol = fe->opts.refuse_protocol,
    };

    fe->err = (struct err){0};
    return vhost_user_client_open(&fe->client, &opts, &fe->err);
}

/*
 * To a VMM a back-end that hung up is one that will be told later, so its calls succeed; to a test
 * that does not follow it has failed.
 */
static int conclude(struct frontend *fe, int ret)
{
    if (ret == 0 && !fe->opts.follows && !vhost_user_client_is_connected(fe->client)) {
        fe->err = fe->client->why;
        return fe->err.code;
    }
    return ret;
}

int frontend_accept(struct frontend *fe, uint64_t features)
{
    return conclude(fe, vhost_user_client_set_features(fe->client, features, &fe->err));
}

int frontend_share(struct frontend *fe)
{
    const struct vhost_user_client_region region = {.guest_addr = fe->arena.guest_addr,
                                                    .size = fe->arena.size,
                                                    .host = fe->arena.host,
                                                    .fd = fe->arena.fd};

    return conclude(fe, vhost_user_client_add_memory(fe->client, &region, &fe->err));
}

int frontend_ring_start(struct frontend *fe, unsigned index, uint16_t base)
{
    const struct frontend_ring *ring = &fe->ring[index];
    const struct vhost_user_client_ring set = {
        .size = ring->drv->size,
        .desc = ring_driver_addr(ring->drv, ring->drv->desc),
        .avail = ring_driver_addr(ring->drv, ring->drv->avail),
        .used = ring_driver_addr(ring->drv, ring->drv->used),
        .base = base,
        .kick_fd = ring->kick_fd,
        .call_fd = ring->call_fd,
        .err_fd = ring->err_fd,
    };

    return conclude(fe, vhost_user_client_ring_start(fe->client, index, &set, &fe->err));
}

int frontend_ring_stop(struct frontend *fe, unsigned index, uint16_t *base)
{
    return conclude(fe, vhost_user_client_ring_stop(fe->client, index, base, &fe->err));
}

/* A driver that does not know VERSION_1 is one of old. */
static int start_driver(struct frontend *fe)
{
    struct blk_driver_opts opts = fe->blk.opts;

    opts.is_legacy = fe->opts.refuse >> VIRTIO_F_VERSION_1 & 1;
    if (blk_driver_start(&fe->blk, &opts) < 0) {
        return fe->err.code < 0 ? fe->err.code : -EPROTO;
    }
    return fe->blk.queues == fe->opts.queues ? 0 : -ENOSPC;
}

int frontend_start(struct frontend *fe)
{
    int ret = frontend_connect(fe);

    if (ret == 0) {
        ret = frontend_share(fe);
    }
    return ret == 0 ? start_driver(fe) : ret;
}

int frontend_resume(struct frontend *fe)
{
    int ret = frontend_connect(fe);

    if (ret == 0) {
        ret = frontend_accept(fe, fe->blk.features);
    }
    if (ret == 0) {
        ret = frontend_share(fe);
    }
    for (unsigned i = 0; ret == 0 && i < fe->opts.queues; i++) {
        ret = frontend_ring_start(fe, i, load16_acquire(&fe->ring[i].drv->used->idx));
    }
    return ret;
}

void frontend_disconnect(struct frontend *fe)
{
    if (fe->client) {
        vhost_user_client_close(fe->client);
        fe->client = NULL;
    }
}

/* ---- memory ---- */

static int make_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        err(EXIT_FAILURE, "eventfd");
    }
    return fd;
}

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

    *ring = (struct frontend_ring){.fe = fe, .queue = queue, .drv = &queue->ring};
    ring->kick_fd = make_eventfd();
    ring->call_fd = make_eventfd();
    ring->err_fd = make_eventfd();
    queue->index = index;
    ring_driver_init(&queue->ring, opts->queue_size, RING_DRIVER_MODERN_ALIGN,
                     (uint8_t *)opts->ring_memory + blk_driver_ring_bytes(opts) * index,
                     opts->offset);
    ring->requests = make(fe->opts.depth, sizeof(*ring->requests));
    for (unsigned i = 0; i < fe->opts.depth; i++) {
        struct frontend_request *request = &ring->requests[i];

        request->ring = ring;
        request->blk = take(fe, sizeof(*request->blk), 16);
        request->data = take(fe, fe->opts.request_bytes, 4096);
        request->next = ring->free;
        ring->free = request;
    }
}

void frontend_init(struct frontend *fe, const struct frontend_opts *opts)
{
    uint64_t request_bytes = sizeof(struct blk_driver_request) + opts->request_bytes + 4096u;
    struct blk_driver_opts driver = {.ops = &driver_ops,
                                     .bus = fe,
                                     .is_indirect = true,
                                     .queues = opts->queues,
                                     .queue_size = opts->queue_size,
                                     .timeout_ms = FRONTEND_TIMEOUT_MS};
    /* As a driver of old would take it, which is more. */
    uint64_t ring_bytes =
        blk_driver_ring_bytes(&(struct blk_driver_opts){.is_legacy = true}) * opts->queues;

    *fe = (struct frontend){.opts = *opts};
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
    frontend_disconnect(fe);
    for (unsigned i = 0; i < fe->opts.queues; i++) {
        close(fe->ring[i].kick_fd);
        close(fe->ring[i].call_fd);
        close(fe->ring[i].err_fd);
        free(fe->ring[i].requests);
    }
    free(fe->ring);
    free(fe->queue);
    arena_fini(&fe->arena);
}
