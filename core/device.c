/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "core/device_ring.h"

#define BIT(n) (1ull << (n))

static void on_idle(uv_idle_t *idle)
{
    /* It is there to keep the loop from sleeping: the check phase does the work. */
}

/* Let a turn follow at once, even if no fd has anything. */
static void wake(struct device *dev)
{
    dev->has_turn_work = true;
    uv_idle_start(&dev->idle, on_idle);
}

void device_look(struct device *dev, const struct device_ring *r)
{
    dev->ready |= BIT(r->index);
    wake(dev);
}

/* Each errno is told once while the image is open; the statistics count them all. */
static void tell_io_error(struct device *dev, const struct request *request)
{
    static const char *const verb[] = {"read", "write", "flush"};
    unsigned code = min_of((unsigned)-request->io.result, 191u);
    uint64_t *word = &dev->errnos_told[code >> 6];

    if (*word & BIT(code & 63)) {
        return;
    }
    *word |= BIT(code & 63);
    log_error("%s: %s of %" PRIu64 " bytes at offset %" PRIu64 " failed: %s; the guest gets an "
              "I/O error, later ones like it are only counted",
              dev->name, verb[request->io.op], request->io.length, request->io.offset,
              code == ENODATA ? "the image ends before that, it was shrunk" : strerror((int)code));
}

static void finish(struct request *request)
{
    struct device_ring *r = request->ring;
    struct device *dev = r->dev;
    uint32_t len = blk_finish(request, dev->now_ns, &dev->stats);

    ring_push(&r->ring, &request->chain, len);
    dev->unpublished |= BIT(r->index);
    dev->stats.inflight--;
}

static void on_io_done(struct io *io)
{
    struct request *request = containerof(io, struct request, io);

    if (io->result < 0) {
        tell_io_error(request->ring->dev, request);
    }
    finish(request);
}

/* Returns false when the ring is broken by it. */
static bool take(struct device_ring *r, struct request *request)
{
    struct device *dev = r->dev;

    request->ring = r;
    request->start_ns = dev->now_ns;
    request->io.done = on_io_done;
    request->io.priv = request->backend_private;
    dev->stats.inflight++;
    if (dev->stats.inflight > dev->stats.inflight_max) {
        dev->stats.inflight_max = dev->stats.inflight;
    }
    switch (blk_parse(&dev->blk, request, &dev->stats)) {
    case BLK_SUBMIT:
        dev->backend->ops->queue(dev->backend, &request->io);
        return true;
    case BLK_ANSWERED:
        finish(request);
        return true;
    case BLK_BROKEN:
    default:
        dev->stats.inflight--;
        ring_drop(&r->ring, &request->chain);
        ring_break(&r->ring, request->chain.fault ? request->chain.fault
                                                  : "a request has no place for its status");
        return false;
    }
}

/*
 * Pop until the ring is empty and the driver knows that it has to kick again.  One pass takes
 * at most as many as the ring is long, so that a guest that adds for ever does not keep the
 * other rings, the completions and the socket waiting.
 */
static void serve(struct device_ring *r)
{
    unsigned budget = r->ring.layout.size;
    struct chain *chain;
    int ret;

    do {
        ring_kicks_off(&r->ring);
        while ((ret = ring_pop(&r->ring, &chain)) > 0) {
            if (!take(r, containerof(chain, struct request, chain))) {
                ret = -EPROTO;
                break;
            }
            if (--budget == 0) {
                device_look(r->dev, r);
                return;
            }
        }
        if (ret < 0) {
            device_ring_tell_fault(r);
            return;
        }
    } while (ring_kicks_on(&r->ring));
}

static void serve_ready(struct device *dev)
{
    uint64_t ready = dev->ready;

    dev->ready = 0;
    while (ready) {
        struct device_ring *r = &dev->ring[__builtin_ctzll(ready)];

        ready &= ready - 1;
        if (device_ring_is_live(r)) {
            serve(r);
        }
    }
}

/* Show the driver what has finished, and signal each ring at most once. */
static void publish(struct device *dev)
{
    while (dev->unpublished) {
        struct device_ring *r = &dev->ring[__builtin_ctzll(dev->unpublished)];

        dev->unpublished &= dev->unpublished - 1;
        if (ring_publish(&r->ring)) {
            device_ring_call(r);
            dev->stats.interrupts++;
        } else {
            dev->stats.interrupts_suppressed++;
        }
    }
}

static void submit(struct device *dev)
{
    unsigned calls;

    if (dev->backend) {
        dev->stats.submitted += dev->backend->ops->submit(dev->backend, &calls);
        dev->stats.submissions += calls;
    }
}

static bool is_drained(const struct device *dev, const struct drain *drain)
{
    return drain->ring ? drain->ring->ring.inflight == 0 : dev->stats.inflight == 0;
}

/* Each `done` may change the list: start again after it. */
static void run_drains(struct device *dev)
{
    struct drain **at = &dev->drains;

    while (*at) {
        struct drain *drain = *at;

        if (is_drained(dev, drain)) {
            *at = drain->next;
            drain->done(drain);
            at = &dev->drains;
        } else {
            at = &drain->next;
        }
    }
}

/* The guest's memory was taken away under us: its rings end, all else goes on. */
static void check_memory(struct device *dev)
{
    if (dev->is_memory_lost || !mem_guard_tripped()) {
        return;
    }
    dev->is_memory_lost = true;
    for (unsigned i = 0; i < dev->queues; i++) {
        if (dev->ring[i].ring.is_started) {
            ring_break(&dev->ring[i].ring, "the file behind guest memory was truncated");
            device_ring_tell_fault(&dev->ring[i]);
        }
    }
}

/*
 * The end of a turn.  Publish before submit: io_submit may block for buffered images, and the
 * guest should not wait for that.  What submit itself finishes is published after it.
 */
static void on_check(uv_check_t *check)
{
    struct device *dev = check->data;

    if (!dev->has_turn_work) {
        return;
    }
    dev->has_turn_work = false;
    uv_idle_stop(&dev->idle);
    if (dev->ready && !dev->pause_mask) {
        dev->now_ns = now_ns();
        serve_ready(dev);
    }
    publish(dev);
    submit(dev);
    publish(dev);
    check_memory(dev);
    run_drains(dev);
}

static void on_backend(struct watch *watch)
{
    struct device *dev = watch->arg;

    dev->now_ns = now_ns();
    dev->has_turn_work = true;
    dev->backend->ops->reap(dev->backend);
}

int device_init(struct device *dev, uv_loop_t *loop, const struct device_opts *opts,
                const struct blk_opts *blk, struct err *err)
{
    int ret;

    memset(dev, 0, offsetof(struct device, ring));
    dev->loop = loop;
    dev->name = opts->name;
    dev->queues = opts->queues;
    dev->queue_size_max = opts->queue_size_max;
    dev->pause_mask = PAUSE_ADMIN | PAUSE_GONE;
    mem_init(&dev->mem);
    mem_guard_watch(&dev->mem);
    blk_init(&dev->blk, blk);
    for (unsigned i = 0; i < ARRAY_SIZE(dev->ring); i++) {
        device_ring_init(&dev->ring[i], dev, i);
    }
    ret = uv_check_init(loop, &dev->check);
    if (ret == 0) {
        ret = uv_idle_init(loop, &dev->idle);
    }
    if (ret == 0) {
        dev->check.data = dev;
        dev->idle.data = dev;
        dev->open_handles = 2;
        ret = uv_check_start(&dev->check, on_check);
    }
    return ret < 0 ? err_set(err, ret, "%s: event loop", dev->name) : 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct device *dev = handle->data;

    dev->open_handles--;
    if (handle == (uv_handle_t *)&dev->check) {
        uv_close((uv_handle_t *)&dev->idle, on_closed);
    } else {
        assert(dev->open_handles == 0);
        dev->closed(dev);
    }
}

/*
 * Watches count themselves down in their own close callbacks, which all run in one phase of
 * the loop.  The idle handle is closed from within that phase, so it goes last, alone.
 */
void device_close(struct device *dev, void (*closed)(struct device *dev))
{
    dev->closed = closed;
    device_reset(dev);
    mem_guard_watch(NULL);
    uv_close((uv_handle_t *)&dev->check, on_closed);
}

int device_attach(struct device *dev, struct backend *backend, struct err *err)
{
    uint64_t capacity = dev->blk.opts.capacity;
    int ret;

    if (backend->size < capacity) {
        err_say(err, -EINVAL, "it has %" PRIu64 " bytes, the guest knows the disk with %" PRIu64,
                backend->size, capacity);
        err_hint(err, "give it its size back, or remove the disk and add it again");
        return -EINVAL;
    }
    if (backend->block_size > dev->blk.opts.logical_block ||
        !is_aligned(backend->size, dev->blk.opts.logical_block)) {
        return err_say(err, -EINVAL,
                       "its blocks (%u bytes) or size (%" PRIu64 " bytes) do not suit the "
                       "logical block size %u that the guest knows",
                       backend->block_size, backend->size, dev->blk.opts.logical_block);
    }
    ret = watch_open(&dev->backend_watch, dev->loop, backend->ops->fd(backend), false, on_backend,
                     dev, &dev->open_handles);
    if (ret < 0) {
        return err_set(err, ret, "its event fd");
    }
    dev->backend = backend;
    memset(dev->errnos_told, 0, sizeof(dev->errnos_told));
    blk_set_capacity(&dev->blk, backend->size);
    return backend->size > capacity;
}

struct backend *device_detach(struct device *dev)
{
    struct backend *backend = dev->backend;

    watch_close(dev->backend_watch);
    dev->backend_watch = NULL;
    dev->backend = NULL;
    return backend;
}

void device_drain(struct device *dev, struct drain *drain)
{
    drain->next = dev->drains;
    dev->drains = drain;
    wake(dev);
}

void device_pause(struct device *dev, enum pause_reason reason, struct drain *drain)
{
    dev->pause_mask |= reason;
    if (drain) {
        drain->ring = NULL;
        device_drain(dev, drain);
    }
}

void device_resume(struct device *dev, enum pause_reason reason)
{
    dev->pause_mask &= ~(unsigned)reason;
    if (dev->pause_mask == 0) {
        /* Kicks may have come, and gone, while nobody looked. */
        dev->ready = ~0ull;
        wake(dev);
    }
}

void device_drain_cancel(struct device *dev, struct drain *drain)
{
    for (struct drain **at = &dev->drains; *at; at = &(*at)->next) {
        if (*at == drain) {
            *at = drain->next;
            return;
        }
    }
}

uint64_t device_features(const struct device *dev)
{
    return blk_features(&dev->blk) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
           BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1);
}

int device_set_features(struct device *dev, uint64_t features)
{
    if (features & ~device_features(dev)) {
        return -EINVAL;
    }
    if (features != dev->features && device_rings_running(dev) > 0) {
        return -EBUSY;
    }
    dev->features = features;
    dev->blk.features = features;
    return 0;
}

void device_memory_changed(struct device *dev)
{
    for (unsigned i = 0; i < dev->queues; i++) {
        device_ring_remap(&dev->ring[i]);
    }
}

void device_reset(struct device *dev)
{
    for (unsigned i = 0; i < dev->queues; i++) {
        device_ring_reset(&dev->ring[i]);
    }
    mem_clear(&dev->mem);
    mem_guard_watch(&dev->mem);
    dev->is_memory_lost = false;
    dev->features = 0;
    dev->blk.features = 0;
    dev->ready = 0;
    dev->unpublished = 0;
}

unsigned device_rings_running(const struct device *dev)
{
    unsigned running = 0;

    for (unsigned i = 0; i < dev->queues; i++) {
        running += dev->ring[i].ring.is_started;
    }
    return running;
}

static void look_for_older(const struct device_ring *r, uint64_t now, struct device_oldest *oldest)
{
    for (unsigned head = 0; head < r->ring.layout.size; head++) {
        struct chain *chain = ring_slot(&r->ring, head);
        const struct request *request = containerof(chain, struct request, chain);

        if (chain->is_busy && now - request->start_ns >= oldest->age_ns) {
            *oldest = (struct device_oldest){
                .kind = request->kind,
                .offset = request->io.offset,
                .length = request->io.length,
                .age_ns = now - request->start_ns,
                .ring = r->index,
            };
        }
    }
}

bool device_oldest(const struct device *dev, struct device_oldest *oldest)
{
    uint64_t now = now_ns();

    *oldest = (struct device_oldest){0};
    for (unsigned i = 0; i < dev->queues && dev->stats.inflight > 0; i++) {
        if (dev->ring[i].ring.is_started && dev->ring[i].ring.inflight > 0) {
            look_for_older(&dev->ring[i], now, oldest);
        }
    }
    return dev->stats.inflight > 0;
}
