/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <unistd.h>

#include "transports/client/vhost_user_client_state.h"

/* Source: VIRTIO 1.2, 2.7 "Split Virtqueues" (alignment of the three parts). */
#define DESC_ALIGN 16u
#define AVAIL_ALIGN 2u
#define USED_ALIGN 4u

/* Source: VIRTIO 1.2, 2.8.10.1 "Structure Size and Alignment": of both event suppressions. */
#define EVENT_ALIGN 4u

static bool is_packed(const struct vhost_user_client *client)
{
    return client->accepted >> VIRTIO_F_RING_PACKED & 1;
}

/* Our address of [addr, addr + len) of the guest, NULL: not all of it is shared memory. */
static void *host_at(const struct vhost_user_client *client, uint64_t addr, uint64_t len)
{
    for (unsigned i = 0; i < client->region_count; i++) {
        const struct vhost_user_client_region *region = &client->region[i];

        if (addr >= region->guest_addr && range_ok(addr - region->guest_addr, len, region->size)) {
            return (uint8_t *)region->host + (addr - region->guest_addr);
        }
    }
    return NULL;
}

/* Of both kinds of rings. */
static void *desc_of(const struct vhost_user_client *client,
                     const struct vhost_user_client_ring *ring)
{
    _Static_assert(sizeof(struct vring_desc) == sizeof(struct vring_packed_desc), "VIRTIO 1.2");
    return host_at(client, ring->desc, sizeof(struct vring_desc) * ring->size);
}

/* Flags, index, heads, and the event word behind them; or the driver's event suppression. */
static void *avail_of(const struct vhost_user_client *client,
                      const struct vhost_user_client_ring *ring)
{
    return host_at(client, ring->avail,
                   is_packed(client) ? sizeof(struct vring_packed_desc_event)
                                     : 2ull * (3 + ring->size));
}

/* Or the device's event suppression. */
static void *used_of(const struct vhost_user_client *client,
                     const struct vhost_user_client_ring *ring)
{
    return host_at(client, ring->used,
                   is_packed(client) ? sizeof(struct vring_packed_desc_event)
                                     : 2ull * 3 + sizeof(struct vring_used_elem) * ring->size);
}

static int send_state(struct vhost_user_client *client, uint32_t request, uint32_t index,
                      uint32_t num, struct err *err)
{
    const struct vhost_user_vring_state state = {.index = index, .num = num};
    const struct vhost_user_out out = {.request = request, .len = sizeof(state), .payload = &state};

    return vhost_user_link_set(&client->link, &out, err);
}

static int send_addresses(struct vhost_user_client *client, unsigned index, struct err *err)
{
    const struct vhost_user_client_ring *ring = &client->ring[index].set;
    const struct vhost_user_vring_addr addr = {
        .index = index,
        .desc = (uintptr_t)desc_of(client, ring),
        .avail = (uintptr_t)avail_of(client, ring),
        .used = (uintptr_t)used_of(client, ring),
    };
    const struct vhost_user_out out = {
        .request = VHOST_USER_SET_VRING_ADDR, .len = sizeof(addr), .payload = &addr};

    return vhost_user_link_set(&client->link, &out, err);
}

static int send_fd(struct vhost_user_client *client, uint32_t request, unsigned index, int fd,
                   struct err *err)
{
    uint64_t value = index | (fd < 0 ? VHOST_USER_VRING_NO_FD : 0);
    const struct vhost_user_out out = {.request = request,
                                       .len = sizeof(value),
                                       .payload = &value,
                                       .fds = &fd,
                                       .fd_count = fd >= 0};

    return vhost_user_link_set(&client->link, &out, err);
}

/* The kick fd starts the ring, so it goes last but for the switch. */
static int send_ring(struct vhost_user_client *client, unsigned index, uint32_t base,
                     struct err *err)
{
    const struct vhost_user_client_ring *ring = &client->ring[index].set;
    int ret = send_state(client, VHOST_USER_SET_VRING_NUM, index, ring->size, err);

    if (ret == 0) {
        ret = send_state(client, VHOST_USER_SET_VRING_BASE, index, base, err);
    }
    if (ret == 0) {
        ret = send_addresses(client, index, err);
    }
    if (ret == 0 && ring->err_fd >= 0) {
        ret = send_fd(client, VHOST_USER_SET_VRING_ERR, index, ring->err_fd, err);
    }
    if (ret == 0) {
        ret = send_fd(client, VHOST_USER_SET_VRING_CALL, index, ring->call_fd, err);
    }
    if (ret == 0) {
        ret = send_fd(client, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd, err);
    }
    if (ret == 0 && (client->offered & VHOST_USER_F_PROTOCOL_FEATURES)) {
        ret = send_state(client, VHOST_USER_SET_VRING_ENABLE, index, 1, err);
    }
    return ret;
}

/*
 * Where a back-end that knows nothing goes on: what its predecessor took, it answered, as no
 * back-end of ours leaves requests behind when it ends in order; or what it had in flight stands in
 * the region.  So does the place in a packed ring, as nothing in the ring itself tells that.
 */
static uint32_t last_base(const struct vhost_user_client *client, unsigned index)
{
    const struct vhost_user_client_ring *ring = &client->ring[index].set;
    const struct vring_used *used = used_of(client, ring);

    return is_packed(client) ? ring->base : load16_acquire(&used->idx);
}

int client_restore_rings(struct vhost_user_client *client, struct err *err)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < VHOST_USER_CLIENT_MAX_RINGS; i++) {
        if (!client->ring[i].is_started) {
            continue;
        }
        if (i >= client->max_rings) {
            return err_say(err, -EPROTO, "%s: the back-end came back with %u rings, too few",
                           client->path, client->max_rings);
        }
        ret = send_ring(client, i, last_base(client, i), err);
    }
    return ret;
}

/* A counter that is full wakes its reader anyway. */
static void signal_fd(int fd)
{
    const uint64_t one = 1;

    if (fd >= 0) {
        ssize_t ret = write(fd, &one, sizeof(one));

        (void)ret;
    }
}

void client_nudge(struct vhost_user_client *client)
{
    for (unsigned i = 0; i < VHOST_USER_CLIENT_MAX_RINGS; i++) {
        if (client->ring[i].is_started) {
            signal_fd(client->ring[i].set.call_fd);
            signal_fd(client->ring[i].set.kick_fd);
        }
    }
}

static int check_ring(const struct vhost_user_client *client, unsigned index,
                      const struct vhost_user_client_ring *ring, struct err *err)
{
    if (index >= client->max_rings) {
        return err_say(err, -EINVAL, "%s: ring %u of a back-end with %u", client->path, index,
                       client->max_rings);
    }
    if (!is_power_of_2(ring->size) || ring->size > 32768) {
        return err_say(err, -EINVAL, "%s: ring %u: a size of %u", client->path, index, ring->size);
    }
    if (!desc_of(client, ring) || !avail_of(client, ring) || !used_of(client, ring)) {
        return err_say(err, -EINVAL, "%s: ring %u lies outside the shared memory", client->path,
                       index);
    }
    if (!is_aligned(ring->desc, DESC_ALIGN) ||
        !is_aligned(ring->avail, is_packed(client) ? EVENT_ALIGN : AVAIL_ALIGN) ||
        !is_aligned(ring->used, is_packed(client) ? EVENT_ALIGN : USED_ALIGN)) {
        return err_say(err, -EINVAL, "%s: ring %u is not aligned", client->path, index);
    }
    return 0;
}

int vhost_user_client_ring_start(struct vhost_user_client *client, unsigned index,
                                 const struct vhost_user_client_ring *ring, struct err *err)
{
    struct err why = {0};
    int ret = check_ring(client, index, ring, err);

    if (ret < 0) {
        return ret;
    }
    client->ring[index] = (struct client_ring){.set = *ring, .is_started = true};
    if (client->link.sock < 0) {
        return 0;
    }
    ret = client_conclude(client, send_ring(client, index, ring->base, &why), &why, err);
    if (ret < 0) {
        client->ring[index].is_started = false;
    }
    return ret;
}

static unsigned stop_patience(const struct vhost_user_client *client)
{
    switch (client->opts.stop_patience) {
    case 0:
        return VHOST_USER_CLIENT_STOP_PATIENCE;
    case VHOST_USER_CLIENT_FOR_EVER:
        return VHOST_USER_LINK_FOR_EVER;
    default:
        return client->opts.stop_patience;
    }
}

/* The answer of GET_VRING_BASE. */
static int ask_base(struct vhost_user_client *client, unsigned index, uint32_t *base,
                    struct err *err)
{
    struct vhost_user_vring_state state = {.index = index};
    const struct vhost_user_out out = {
        .request = VHOST_USER_GET_VRING_BASE, .len = sizeof(state), .payload = &state};
    uint32_t len = 0;
    int ret = vhost_user_link_ask(&client->link, &out, &state, sizeof(state), &len,
                                  stop_patience(client), err);

    if (ret == 0 && (len != sizeof(state) || state.index != index)) {
        return err_say(err, -EPROTO, "%s: what came back is no answer to GET_VRING_BASE",
                       client->path);
    }
    *base = state.num;
    return ret;
}

int vhost_user_client_ring_stop(struct vhost_user_client *client, unsigned index, uint32_t *base,
                                struct err *err)
{
    struct err why = {0};
    uint32_t answer = 0;
    int ret = 0;

    if (index >= VHOST_USER_CLIENT_MAX_RINGS || !client->ring[index].is_started) {
        return 0;
    }
    if (client->link.sock >= 0) {
        ret = client_conclude(client, ask_base(client, index, &answer, &why), &why, err);
    }
    if (client->link.sock < 0) {
        answer = last_base(client, index);
    }
    client->ring[index].is_started = false;
    if (base) {
        *base = answer;
    }
    return ret;
}

static int set_fd(struct vhost_user_client *client, uint32_t request, unsigned index, int fd,
                  struct err *err)
{
    struct err why = {0};

    if (client->link.sock < 0 || !client->ring[index].is_started) {
        return 0;
    }
    return client_conclude(client, send_fd(client, request, index, fd, &why), &why, err);
}

int vhost_user_client_ring_set_call(struct vhost_user_client *client, unsigned index, int call_fd,
                                    struct err *err)
{
    client->ring[index].set.call_fd = call_fd;
    return set_fd(client, VHOST_USER_SET_VRING_CALL, index, call_fd, err);
}

int vhost_user_client_ring_set_kick(struct vhost_user_client *client, unsigned index, int kick_fd,
                                    struct err *err)
{
    client->ring[index].set.kick_fd = kick_fd;
    return set_fd(client, VHOST_USER_SET_VRING_KICK, index, kick_fd, err);
}
