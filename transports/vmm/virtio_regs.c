/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vmm/virtio_regs.h"

#include <assert.h>

static void set_half(uint64_t *word, bool is_high, uint32_t value)
{
    *word = is_high ? ((*word & 0xffffffffu) | (uint64_t)value << 32)
                    : ((*word & ~0xffffffffull) | value);
}

static void queue_clear(struct virtio_regs *regs, unsigned index)
{
    regs->queue[index] = (struct virtio_queue){
        .size = regs->queue_max,
        .vector = VIRTIO_NO_VECTOR,
    };
}

static void registers_clear(struct virtio_regs *regs)
{
    regs->status = 0;
    regs->isr = 0;
    regs->is_legacy = false;
    regs->driver_features = 0;
    regs->device_select = 0;
    regs->driver_select = 0;
    regs->queue_select = 0;
    regs->config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < regs->queue_count; i++) {
        queue_clear(regs, i);
    }
    if (regs->file->reset) {
        regs->file->reset(regs);
    }
}

void virtio_regs_init(struct virtio_regs *regs, const struct virtio_file_ops *file,
                      const struct virtio_host_ops *host, void *arg, unsigned queue_count,
                      uint16_t queue_max)
{
    assert(queue_count > 0 && queue_count <= VIRTIO_REGS_MAX_QUEUES);
    memset(regs, 0, sizeof(*regs));
    regs->file = file;
    regs->host = host;
    regs->arg = arg;
    regs->queue_count = queue_count;
    regs->queue_max = queue_max;
    registers_clear(regs);
}

bool virtio_regs_is_live(const struct virtio_regs *regs)
{
    return (regs->status & VIRTIO_STATUS_DRIVER_OK) != 0;
}

/* ---- queues: the order of the wires is this project's promise, see the header ---- */

static void kick_on(struct virtio_regs *regs, unsigned index)
{
    struct virtio_queue *queue = &regs->queue[index];

    if (!queue->is_kick_on && regs->file->door(regs, index, &queue->door)) {
        queue->is_kick_on = regs->host->kick_on(regs->arg, index, &queue->door) == 0;
    }
}

static void kick_off(struct virtio_regs *regs, unsigned index)
{
    struct virtio_queue *queue = &regs->queue[index];

    if (queue->is_kick_on) {
        regs->host->kick_off(regs->arg, index, &queue->door);
        queue->is_kick_on = false;
    }
}

/*
 * The rings lie outside of memory, or the back-end refused: the driver has to begin anew.
 * Source: VIRTIO 1.2, 2.1.2 "Device Requirements: Device Status Field".
 */
static void needs_reset(struct virtio_regs *regs)
{
    regs->status |= VIRTIO_STATUS_NEEDS_RESET;
    virtio_regs_config_changed(regs);
}

static void queue_start(struct virtio_regs *regs, unsigned index)
{
    struct virtio_queue *queue = &regs->queue[index];

    if (!queue->is_ready || queue->is_running) {
        return;
    }
    regs->file->wire_call(regs, index);
    kick_on(regs, index);
    if (regs->host->queue_start(regs->arg, index, queue) < 0) {
        kick_off(regs, index);
        regs->host->call_off(regs->arg, index);
        queue->is_ready = false;
        needs_reset(regs);
        return;
    }
    queue->is_running = true;
    regs->host->kick(regs->arg, index);
}

static void queue_stop(struct virtio_regs *regs, unsigned index)
{
    if (regs->queue[index].is_running) {
        kick_off(regs, index);
        regs->host->queue_stop(regs->arg, index);
        regs->host->call_off(regs->arg, index);
        regs->queue[index].is_running = false;
    }
}

void virtio_regs_move_doors(struct virtio_regs *regs)
{
    for (unsigned i = 0; i < regs->queue_count; i++) {
        if (regs->queue[i].is_running) {
            kick_off(regs, i);
            kick_on(regs, i);
            regs->host->kick(regs->arg, i);
        }
    }
}

void virtio_regs_reset(struct virtio_regs *regs)
{
    for (unsigned i = 0; i < regs->queue_count; i++) {
        queue_stop(regs, i);
    }
    regs->host->call_off(regs->arg, regs->queue_count);
    registers_clear(regs);
}

struct virtio_queue *virtio_regs_queue(struct virtio_regs *regs)
{
    return regs->queue_select < regs->queue_count ? &regs->queue[regs->queue_select] : NULL;
}

/*
 * Source: VIRTIO 1.2, 3.1.1 "Driver Requirements: Device Initialization" (queues come after
 * FEATURES_OK), 4.1.4.3.2 (nothing of a queue changes once it is enabled).
 */
struct virtio_queue *virtio_regs_queue_setup(struct virtio_regs *regs)
{
    struct virtio_queue *queue = virtio_regs_queue(regs);
    bool is_early = !regs->is_legacy && !(regs->status & VIRTIO_STATUS_FEATURES_OK);

    return queue && !queue->is_ready && !is_early ? queue : NULL;
}

/* Source: VIRTIO 1.2, 2.7 "Split Virtqueues": the size is a power of two. */
void virtio_regs_set_size(struct virtio_regs *regs, uint32_t size)
{
    struct virtio_queue *queue = virtio_regs_queue_setup(regs);

    if (queue && is_power_of_2(size) && size <= regs->queue_max) {
        queue->size = (uint16_t)size;
    }
}

void virtio_regs_set_address(struct virtio_regs *regs, enum virtio_area area, bool is_high,
                             uint32_t value)
{
    struct virtio_queue *queue = virtio_regs_queue_setup(regs);

    if (!queue) {
        return;
    }
    switch (area) {
    case VIRTIO_DESC:
        set_half(&queue->desc, is_high, value);
        break;
    case VIRTIO_AVAIL:
        set_half(&queue->avail, is_high, value);
        break;
    case VIRTIO_USED:
        set_half(&queue->used, is_high, value);
        break;
    }
}

void virtio_regs_queue_ready(struct virtio_regs *regs)
{
    struct virtio_queue *queue = virtio_regs_queue_setup(regs);

    if (queue) {
        queue->is_ready = true;
        if (virtio_regs_is_live(regs)) {
            queue_start(regs, regs->queue_select);
        }
    }
}

/* Source: VIRTIO 1.2, 2.6.1 "Virtqueue Reset". */
void virtio_regs_queue_reset(struct virtio_regs *regs)
{
    if (virtio_regs_queue(regs)) {
        queue_stop(regs, regs->queue_select);
        queue_clear(regs, regs->queue_select);
    }
}

/* Source: VIRTIO 1.2, 2.7.2 "Legacy Interfaces: A Note on Virtqueue Layout". */
void virtio_regs_queue_pfn(struct virtio_regs *regs, uint32_t pfn, uint32_t page, uint32_t align)
{
    struct virtio_queue *queue = virtio_regs_queue(regs);

    if (!queue || !regs->is_legacy) {
        return;
    }
    queue_stop(regs, regs->queue_select);
    queue->is_ready = pfn != 0 && is_power_of_2(align);
    queue->desc = (uint64_t)pfn * page;
    if (queue->is_ready) {
        queue->avail = queue->desc + 16u * queue->size;
        queue->used = round_up(queue->avail + 6 + 2u * queue->size, align);
        if (virtio_regs_is_live(regs)) {
            queue_start(regs, regs->queue_select);
        }
    }
}

uint32_t virtio_regs_read_pfn(const struct virtio_queue *queue, uint32_t page)
{
    return queue->is_ready ? (uint32_t)(queue->desc / page) : 0;
}

void virtio_regs_notify(struct virtio_regs *regs, uint32_t queue)
{
    regs->notify_writes++;
    if (queue < regs->queue_count && regs->queue[queue].is_running) {
        regs->host->kick(regs->arg, queue);
    }
}

/* ---- features and status ---- */

/*
 * Features of register files and not of what is behind them: SR_IOV, NOTIFICATION_DATA and
 * NOTIF_CONFIG_DATA.  Ours have none of them: an ioeventfd, which takes most kicks, has no data.
 * Source: VIRTIO 1.2, 6 "Reserved Feature Bits".
 */
static const uint64_t lacking = 1ull << 37 | 1ull << 38 | 1ull << 39;

uint64_t virtio_regs_offered(const struct virtio_regs *regs)
{
    uint64_t features = (regs->host->features(regs->arg) & ~lacking) | VIRTIO_FEATURE_RING_RESET;

    return regs->is_legacy ? (uint32_t)features : features;
}

uint32_t virtio_regs_read_features(const struct virtio_regs *regs)
{
    if (regs->device_select > 1) {
        return 0;
    }
    return (uint32_t)(virtio_regs_offered(regs) >> (32 * regs->device_select));
}

uint32_t virtio_regs_read_accepted(const struct virtio_regs *regs)
{
    return regs->driver_select > 1
               ? 0
               : (uint32_t)(regs->driver_features >> (32 * regs->driver_select));
}

void virtio_regs_write_features(struct virtio_regs *regs, uint32_t value)
{
    if (regs->driver_select < 2 && !(regs->status & VIRTIO_STATUS_FEATURES_OK) &&
        !virtio_regs_is_live(regs)) {
        set_half(&regs->driver_features, regs->driver_select == 1, value);
    }
}

/*
 * May the driver have what it asks for?
 * Source: VIRTIO 1.2, 2.2.2 "Device Requirements: Feature Bits"; 6.2: a device may refuse a
 * driver that does not take VERSION_1 and yet does not use the legacy interface.
 */
static bool accept_features(struct virtio_regs *regs)
{
    uint64_t wanted = regs->driver_features;

    if ((wanted & ~virtio_regs_offered(regs)) != 0 ||
        (!regs->is_legacy && !(wanted & VIRTIO_FEATURE_VERSION_1))) {
        return false;
    }
    return regs->host->set_features(regs->arg, wanted & ~VIRTIO_FEATURE_RING_RESET) == 0;
}

static void go_live(struct virtio_regs *regs)
{
    regs->file->wire_call(regs, regs->queue_count);
    (void)regs->host->was_used(regs->arg, true); /* from here on */
    for (unsigned i = 0; i < regs->queue_count; i++) {
        queue_start(regs, i);
    }
}

/* Bits only come, until a reset takes them all.  NEEDS_RESET is ours alone. */
void virtio_regs_set_status(struct virtio_regs *regs, uint8_t status)
{
    uint8_t added = status & (uint8_t) ~(regs->status | VIRTIO_STATUS_NEEDS_RESET);

    if (status == 0) {
        virtio_regs_reset(regs);
        return;
    }
    if (regs->is_legacy) {
        added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    }
    if (((added & VIRTIO_STATUS_FEATURES_OK) ||
         (regs->is_legacy && (added & VIRTIO_STATUS_DRIVER_OK))) &&
        !accept_features(regs)) {
        added &= (uint8_t) ~(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    }
    if (!regs->is_legacy && !((regs->status | added) & VIRTIO_STATUS_FEATURES_OK)) {
        added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    }
    regs->status |= added;
    if (added & VIRTIO_STATUS_DRIVER_OK) {
        go_live(regs);
    }
}

/* ---- config space ---- */

uint32_t virtio_regs_config_read(struct virtio_regs *regs, uint32_t offset, uint32_t len)
{
    uint32_t value = 0;

    assert(len <= sizeof(value));
    regs->host->config_read(regs->arg, offset, &value, len);
    return value;
}

void virtio_regs_config_write(struct virtio_regs *regs, uint32_t offset, uint32_t value,
                              uint32_t len)
{
    assert(len <= sizeof(value));
    regs->host->config_write(regs->arg, offset, &value, len);
}

void virtio_regs_config_changed(struct virtio_regs *regs)
{
    regs->generation++;
    if (virtio_regs_is_live(regs)) {
        regs->isr |= VIRTIO_ISR_CONFIG;
        regs->host->signal(regs->arg, regs->queue_count);
    }
}
