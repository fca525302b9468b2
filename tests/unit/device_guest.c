/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/device_guest.h"

#include <linux/virtio_ring.h>
#include <unistd.h>

#include "core/device/device_state.h"
#include "tests/unit/unit.h"

void device_guest_share(struct device *dev, const struct frontend *guest)
{
    const struct arena *arena = &guest->arena;
    struct mem_layout layout = {
        .guest_addr = arena->guest_addr, .size = arena->size, .user_addr = (uintptr_t)arena->host};

    assert_int_equal(mem_add(&dev->view.mem, &layout, arena->fd, NULL), 0);
}

void device_guest_accept(struct device *dev, struct frontend *guest, uint64_t features)
{
    assert_int_equal(device_set_features(dev, features), 0);
    for (unsigned i = 0; i < guest->opts.queues; i++) {
        guest->ring[i].drv->has_event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
    }
}

struct ring_addr device_guest_addr(const struct frontend *guest, unsigned index)
{
    const struct ring_driver *drv = guest->ring[index].drv;

    return (struct ring_addr){
        .desc = (uintptr_t)drv->desc,
        .used = (uintptr_t)drv->used,
        .avail = (uintptr_t)drv->avail,
    };
}

void device_guest_start_ring(struct device *dev, const struct frontend *guest, unsigned index,
                             uint32_t base)
{
    const struct frontend_ring *ring = &guest->ring[index];
    struct ring_addr addr = device_guest_addr(guest, index);

    assert_int_equal(device_ring_set_size(dev, index, ring->drv->size, NULL), 0);
    assert_int_equal(device_ring_set_base(dev, index, base, NULL), 0);
    assert_int_equal(device_ring_set_addr(dev, index, &addr, NULL), 0);
    assert_int_equal(device_ring_set_err(dev, index, dup(ring->fds->err), NULL), 0);
    assert_int_equal(device_ring_set_call(dev, index, dup(ring->fds->call), NULL), 0);
    assert_int_equal(device_ring_set_kick(dev, index, dup(ring->fds->kick), NULL), 0);
    assert_int_equal(device_ring_enable(dev, index, true, NULL), 0);
}

void device_guest_start(struct device *dev, struct frontend *guest, uint64_t features)
{
    device_guest_share(dev, guest);
    device_guest_accept(dev, guest, features);
    for (unsigned i = 0; i < guest->opts.queues; i++) {
        device_guest_start_ring(dev, guest, i, guest->ring[i].drv->shown_idx);
    }
    device_resume(dev, PAUSE_ADMIN);
    device_resume(dev, PAUSE_GONE);
}
