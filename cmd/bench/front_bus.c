/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/front_bus.h"

#include <linux/virtio_config.h>
#include <sys/eventfd.h>

#include "core/log.h"

static uint8_t get_status(void *bus)
{
    return ((struct front *)bus)->status;
}

static void set_status(void *bus, uint8_t status)
{
    struct front *front = bus;

    for (unsigned i = 0; status == 0 && i < front->queues; i++) {
        if (vhost_user_client_ring_stop(front->client, i, NULL, &front->err) < 0) {
            log_warn("%s", front->err.text);
        }
    }
    /* How a device says that it does not take the features. */
    front->status = front->err.code < 0 ? status & (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK : status;
}

static uint64_t get_features(void *bus)
{
    return vhost_user_client_features(((struct front *)bus)->client);
}

static void set_features(void *bus, uint64_t features)
{
    struct front *front = bus;

    (void)vhost_user_client_set_features(front->client, features, &front->err); /* see set_status */
}

static uint32_t generation(void *bus)
{
    (void)bus;
    return 0;
}

static void read_config(void *bus, unsigned offset, void *to, unsigned len)
{
    vhost_user_client_config_read(((struct front *)bus)->client, offset, to, len);
}

static unsigned max_size(void *bus, unsigned index)
{
    (void)index;
    (void)bus;
    return BLK_DRIVER_MAX_SIZE;
}

static int set_ring(void *bus, unsigned index, const struct ring_driver *ring)
{
    struct front *front = bus;
    const struct vhost_user_client_ring set = {
        .size = ring->size,
        .desc = ring_driver_addr(ring, ring->desc),
        .avail = ring_driver_addr(ring, ring->avail),
        .used = ring_driver_addr(ring, ring->used),
        .kick_fd = front->kick_fd[index],
        .call_fd = front->call_fd[index],
        .err_fd = -1,
    };

    return vhost_user_client_ring_start(front->client, index, &set, &front->err);
}

static void notify(void *bus, unsigned index)
{
    (void)eventfd_write(((struct front *)bus)->kick_fd[index], 1); /* a full counter wakes, too */
}

static uint64_t now_ms(void *bus)
{
    (void)bus;
    return now_ns() / NS_PER_MS;
}

const struct blk_driver_ops front_bus_ops = {
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
