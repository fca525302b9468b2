/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device_ring.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void device_ring_init(struct device_ring *r, struct device *dev, unsigned index, struct lane *lane)
{
    *r =
        (struct device_ring){.dev = dev, .lane = lane, .index = index, .call_fd = -1, .err_fd = -1};
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void close_kick(struct device_ring *r)
{
    watch_close(r->kick);
    r->kick = NULL;
}

void device_ring_reset(struct device_ring *r)
{
    lane_forget(r->lane, r);
    ring_stop(&r->ring);
    close_kick(r);
    close_fd(&r->call_fd);
    close_fd(&r->err_fd);
    device_ring_init(r, r->dev, r->index, r->lane);
}

/* -EAGAIN: the counter is full, so the peer has a signal waiting for it already. */
static void signal_fd(int fd)
{
    uint64_t one = 1;

    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0) {
        return;
    }
}

void device_ring_call(struct device_ring *r)
{
    signal_fd(r->call_fd);
}

void device_ring_tell_fault(struct device_ring *r)
{
    if (r->is_fault_told) {
        return;
    }
    r->is_fault_told = true;
    log_limited(&r->lane->guest_log, LOG_LEVEL_WARN, "%s: ring %u: %s, ring stopped", r->dev->name,
                r->index, r->ring.fault);
    signal_fd(r->err_fd);
}

static int check_index(struct device *dev, unsigned index, struct err *err)
{
    if (index >= dev->queues) {
        return err_say(err, -EINVAL, "ring %u: the disk has %u (0 to %u)", index, dev->queues,
                       dev->queues - 1);
    }
    return 0;
}

/* The ring `index`, which must not run: its parts are about to change. */
static int check_stopped(struct device *dev, unsigned index, struct err *err)
{
    int ret = check_index(dev, index, err);

    if (ret == 0 && dev->ring[index].ring.is_started) {
        return err_say(err, -EBUSY, "ring %u runs: it has to be stopped first (GET_VRING_BASE)",
                       index);
    }
    return ret;
}

/* Source: VIRTIO 1.2, 2.7 "Split Virtqueues" (alignment of the three parts). */
static int resolve(struct device_ring *r, struct ring_layout *l, struct err *err)
{
    struct mem *mem = &r->dev->mem;

    l->size = r->size;
    l->desc = mem_at_user(mem, r->addr.desc, ring_desc_bytes(r->size));
    l->avail = mem_at_user(mem, r->addr.avail, ring_avail_bytes(r->size));
    l->used = mem_at_user(mem, r->addr.used, ring_used_bytes(r->size));
    if (!l->desc || !l->avail || !l->used) {
        return err_say(err, -EFAULT, "ring %u: its %s of %u entries lies outside guest memory",
                       r->index,
                       !l->desc    ? "descriptor table"
                       : !l->avail ? "available ring"
                                   : "used ring",
                       r->size);
    }
    if (!is_aligned((uintptr_t)l->desc, 16) || !is_aligned((uintptr_t)l->avail, 2) ||
        !is_aligned((uintptr_t)l->used, 4)) {
        return err_say(err, -EINVAL, "ring %u: a part of it is not aligned", r->index);
    }
    return 0;
}

static bool negotiated(const struct device *dev, unsigned bit)
{
    return (dev->features >> bit & 1) != 0;
}

/* Start the ring if all its parts are there; it is no error when some are still to come. */
static int start_if_complete(struct device_ring *r, struct err *err)
{
    struct device *dev = r->dev;
    struct ring_layout layout = {
        .last_avail = r->base,
        .has_event_idx = negotiated(dev, VIRTIO_RING_F_EVENT_IDX),
        .has_indirect = negotiated(dev, VIRTIO_RING_F_INDIRECT_DESC),
        .slot_size = sizeof(struct request),
        .iov_max = BLK_IOV_MAX,
    };
    int ret;

    if (r->ring.is_started || !r->size || !r->has_addr || !r->kick || !dev->mem.count) {
        return 0;
    }
    ret = resolve(r, &layout, err);
    if (ret < 0) {
        return ret;
    }
    ret = ring_start(&r->ring, &layout, &dev->mem);
    if (ret < 0) {
        return err_set(err, ret, "ring %u: request slots", r->index);
    }
    r->is_fault_told = false;
    log_debug("%s: ring %u: starts at %u, size %u", dev->name, r->index, r->base, r->size);
    lane_look(r->lane, r);
    return 0;
}

/* Its other parts came before the memory that they lie in. */
static void start_late(struct device_ring *r)
{
    struct err err;

    if (start_if_complete(r, &err) < 0) {
        log_limited(&r->lane->guest_log, LOG_LEVEL_WARN, "%s: %s, ring not started", r->dev->name,
                    err.text);
    }
}

void device_ring_remap(struct device_ring *r)
{
    struct ring_layout layout;
    struct err err;

    if (!r->ring.is_started) {
        start_late(r);
        return;
    }
    if (resolve(r, &layout, &err) < 0) {
        ring_break(&r->ring, "its memory is no longer shared");
        device_ring_tell_fault(r);
        /* Nothing may be written there any more. */
        lane_forget(r->lane, r);
        r->base = r->ring.last_avail;
        ring_stop(&r->ring);
        return;
    }
    ring_relocate(&r->ring, layout.desc, layout.avail, layout.used);
}

static int set_size(struct device *dev, unsigned index, unsigned size, struct err *err)
{
    int ret = check_stopped(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    if (!is_power_of_2(size) || size > dev->queue_size_max) {
        return err_say(err, -EINVAL, "ring %u: size %u is no power of two up to %u", index, size,
                       dev->queue_size_max);
    }
    dev->ring[index].size = size;
    return start_if_complete(&dev->ring[index], err);
}

int device_ring_set_size(struct device *dev, unsigned index, unsigned size, struct err *err)
{
    int ret;

    device_park(dev);
    ret = set_size(dev, index, size, err);
    device_unpark(dev);
    return ret;
}

static int set_addr(struct device *dev, unsigned index, const struct device_ring_addr *addr,
                    struct err *err)
{
    struct device_ring *r;
    struct ring_layout layout;
    int ret = check_stopped(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    r = &dev->ring[index];
    r->addr = *addr;
    r->has_addr = false;
    if (r->size && dev->mem.count) {
        ret = resolve(r, &layout, err);
        if (ret < 0) {
            return ret;
        }
    }
    r->has_addr = true;
    return start_if_complete(r, err);
}

int device_ring_set_addr(struct device *dev, unsigned index, const struct device_ring_addr *addr,
                         struct err *err)
{
    int ret;

    device_park(dev);
    ret = set_addr(dev, index, addr, err);
    device_unpark(dev);
    return ret;
}

int device_ring_set_base(struct device *dev, unsigned index, unsigned base, struct err *err)
{
    int ret = check_stopped(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    if (base > UINT16_MAX) {
        return err_say(err, -EINVAL, "ring %u: base %u does not fit in 16 bits", index, base);
    }
    dev->ring[index].base = (uint16_t)base;
    return 0;
}

/*
 * Kicks of an eventfd come as edges, and nobody reads it.  Anything else that can be waited for
 * is read: first, so that a kick that comes before the look at the ring is not lost.
 */
static void on_kick(struct watch *watch)
{
    struct device_ring *r = watch->arg;
    uint64_t kicks;
    ssize_t got = watch->wants_edges ? 1 : read(watch->fd, &kicks, sizeof(kicks));

    if (got == 0) {
        /* The end of a pipe or socket: it would be readable for ever. */
        ring_break(&r->ring, "its kick fd has come to its end");
        device_ring_tell_fault(r);
        close_kick(r);
        return;
    }
    if (got < 0) {
        return;
    }
    r->lane->stats.kicks++;
    lane_kicked(r->lane, r);
}

int device_ring_open_kick(struct device_ring *r, struct lane *lane, struct watch **kick,
                          struct err *err)
{
    int ret;

    *kick = NULL;
    if (!r->kick || r->lane == lane) {
        return 0;
    }
    ret = watch_open(kick, lane->loop, r->kick->fd, false, on_kick, r, &lane->open_handles);
    if (ret < 0) {
        return err_set(err, ret, "ring %u: its kick fd cannot be waited for", r->index);
    }
    if (r->kick->wants_edges) {
        watch_edges(*kick);
    }
    return 0;
}

void device_ring_move(struct device_ring *r, struct lane *lane, struct watch *kick)
{
    if (r->lane == lane) {
        return;
    }
    lane_forget(r->lane, r);
    r->lane = lane;
    if (kick) {
        r->kick->owns_fd = false;
        kick->owns_fd = true;
        close_kick(r);
        r->kick = kick;
    }
}

static bool is_eventfd(int fd)
{
    char path[32];
    char kind[64] = "";

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits */
    return readlink(path, kind, sizeof(kind) - 1) > 0 && strcmp(kind, "anon_inode:[eventfd]") == 0;
}

static int set_kick(struct device *dev, unsigned index, int fd, struct err *err)
{
    struct device_ring *r;
    struct watch *watch;
    int ret = check_index(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    r = &dev->ring[index];
    ret = watch_open(&watch, r->lane->loop, fd, false, on_kick, r, &r->lane->open_handles);
    if (ret < 0) {
        return err_set(err, ret, "ring %u: the kick fd cannot be waited for", index);
    }
    if (is_eventfd(fd)) {
        watch_edges(watch);
    }
    close_kick(r);
    r->kick = watch;
    ret = start_if_complete(r, err);
    if (ret < 0) {
        close_kick(r);
        return ret;
    }
    watch->owns_fd = true;
    if (r->ring.is_started) {
        lane_look(r->lane, r);
    }
    return 0;
}

int device_ring_set_kick(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret;

    device_park(dev);
    ret = set_kick(dev, index, fd, err);
    device_unpark(dev);
    return ret;
}

/* The driver may be waiting for a signal that went nowhere, or to the old fd: signal once. */
static int set_call(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret = check_index(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    close_fd(&dev->ring[index].call_fd);
    dev->ring[index].call_fd = fd;
    device_ring_call(&dev->ring[index]);
    return 0;
}

int device_ring_set_call(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret;

    device_park(dev);
    ret = set_call(dev, index, fd, err);
    device_unpark(dev);
    return ret;
}

static int set_err(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret = check_index(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    close_fd(&dev->ring[index].err_fd);
    dev->ring[index].err_fd = fd;
    return 0;
}

int device_ring_set_err(struct device *dev, unsigned index, int fd, struct err *err)
{
    int ret;

    device_park(dev);
    ret = set_err(dev, index, fd, err);
    device_unpark(dev);
    return ret;
}

int device_ring_enable(struct device *dev, unsigned index, bool on, struct err *err)
{
    int ret = check_index(dev, index, err);

    if (ret < 0) {
        return ret;
    }
    device_park(dev);
    dev->ring[index].is_enabled = on;
    if (on) {
        lane_look(dev->ring[index].lane, &dev->ring[index]);
    }
    device_unpark(dev);
    return 0;
}

void device_ring_pause(struct device *dev, unsigned index, struct drain *drain)
{
    device_park(dev);
    dev->ring[index].is_paused = true;
    device_drain(dev, &dev->ring[index], drain);
    device_unpark(dev);
}

uint16_t device_ring_stop(struct device *dev, unsigned index)
{
    struct device_ring *r = &dev->ring[index];

    device_park(dev);
    if (r->ring.is_started) {
        lane_forget(r->lane, r);
        r->base = r->ring.last_avail;
        ring_stop(&r->ring);
    }
    close_kick(r);
    close_fd(&r->call_fd);
    r->is_paused = false;
    device_unpark(dev);
    return r->base;
}
