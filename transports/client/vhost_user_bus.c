/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/client/vhost_user_bus.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/log.h"

int vhost_user_bus_ring_start(struct vhost_user_bus *bus, unsigned index,
                              const struct ring_driver *ring, uint32_t base)
{
    const struct vhost_user_client_ring set = {
        .size = ring->size,
        .desc = ring_driver_addr(ring, ring->desc),
        .avail = ring_driver_addr(ring, ring->avail),
        .used = ring_driver_addr(ring, ring->used),
        .base = base,
        .kick_fd = bus->fds[index].kick,
        .call_fd = bus->fds[index].call,
        .err_fd = bus->fds[index].err,
    };

    return vhost_user_client_ring_start(bus->client, index, &set, &bus->err);
}

/* ---- what the driver calls ---- */

static uint8_t get_status(void *arg)
{
    return ((struct vhost_user_bus *)arg)->status;
}

static void set_status(void *arg, uint8_t status)
{
    struct vhost_user_bus *bus = arg;

    for (unsigned i = 0; status == 0 && i < bus->rings; i++) {
        if (vhost_user_client_ring_stop(bus->client, i, NULL, &bus->err) < 0) {
            log_warn("%s", bus->err.text);
        }
    }
    /* How a device says that it does not take the features. */
    bus->status = bus->err.code < 0 ? status & (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK : status;
}

static uint64_t get_features(void *arg)
{
    return vhost_user_client_features(((struct vhost_user_bus *)arg)->client);
}

static void set_features(void *arg, uint64_t features)
{
    struct vhost_user_bus *bus = arg;

    (void)vhost_user_client_set_features(bus->client, features, &bus->err); /* see set_status */
}

static void read_config(void *arg, unsigned offset, void *to, unsigned len)
{
    vhost_user_client_config_read(((struct vhost_user_bus *)arg)->client, offset, to, len);
}

static unsigned max_size(void *arg, unsigned index)
{
    (void)arg;
    (void)index;
    return BLK_DRIVER_MAX_SIZE;
}

static int set_ring(void *arg, unsigned index, const struct ring_driver *ring)
{
    return vhost_user_bus_ring_start(arg, index, ring,
                                     ring->is_packed ? VHOST_USER_CLIENT_PACKED_BASE : 0);
}

static void notify(void *arg, unsigned index)
{
    struct vhost_user_bus *bus = arg;

    (void)eventfd_write(bus->fds[index].kick, 1); /* a full counter wakes, too */
}

static uint64_t now_ms(void *arg)
{
    (void)arg;
    return now_ns() / NS_PER_MS;
}

const struct blk_driver_ops vhost_user_bus_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .read_config = read_config,
    .max_size = max_size,
    .set_ring = set_ring,
    .notify = notify,
    .now_ms = now_ms,
};

/* ---- init and fini ---- */

/* On failure errno is eventfd's. */
static bool open_fds(struct vhost_user_bus_fds *fds, bool has_err_fd)
{
    fds->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fds->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fds->err = has_err_fd ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    return fds->kick >= 0 && fds->call >= 0 && (!has_err_fd || fds->err >= 0);
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

int vhost_user_bus_init(struct vhost_user_bus *bus, unsigned rings, bool has_err_fds,
                        struct err *err)
{
    assert(rings <= VHOST_USER_CLIENT_MAX_RINGS);
    *bus = (struct vhost_user_bus){.rings = 0};
    while (bus->rings < rings) {
        if (!open_fds(&bus->fds[bus->rings++], has_err_fds)) {
            return err_set(err, -errno, "eventfds for %u rings", rings);
        }
    }
    return 0;
}

void vhost_user_bus_fini(struct vhost_user_bus *bus)
{
    if (bus->client) {
        vhost_user_client_close(bus->client);
    }
    for (unsigned i = 0; i < bus->rings; i++) {
        close_fd(bus->fds[i].kick);
        close_fd(bus->fds[i].call);
        close_fd(bus->fds[i].err);
    }
    *bus = (struct vhost_user_bus){.rings = 0};
}
