/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>

#include "transports/client/vhost_user_client_state.h"

#define KNOWN_PROTOCOL_FEATURES                                         \
    (VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK |       \
     VHOST_USER_PROTOCOL_F_BACKEND_REQ | VHOST_USER_PROTOCOL_F_CONFIG | \
     VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)

static bool is_away(const struct vhost_user_client *client)
{
    return client->link.sock < 0;
}

int client_conclude(struct vhost_user_client *client, int ret, const struct err *why,
                    struct err *err)
{
    if (ret == -EREMOTEIO) {
        if (err) {
            *err = *why;
        }
        return ret;
    }
    if (ret < 0) {
        client_leave(client, why);
    } else if (client->link.config_changed) {
        client_wake(client);
    }
    return 0;
}

int client_read_config(struct vhost_user_client *client, struct err *err)
{
    struct vhost_user_config config = {.size = CLIENT_CONFIG_BYTES};
    const struct vhost_user_out out = {
        .request = VHOST_USER_GET_CONFIG,
        .len = VHOST_USER_CONFIG_HEADER_BYTES + CLIENT_CONFIG_BYTES,
        .payload = &config,
    };
    uint32_t len = 0;
    int ret;

    if (!vhost_user_link_has(&client->link, VHOST_USER_PROTOCOL_F_CONFIG)) {
        return 0;
    }
    ret = vhost_user_link_ask(&client->link, &out, &config, sizeof(config), &len, 1, err);
    if (ret < 0) {
        return ret;
    }
    if (len != out.len) {
        return err_say(err, -EREMOTEIO, "%s: the back-end does not give its config space",
                       client->path);
    }
    memcpy(client->config, config.data, CLIENT_CONFIG_BYTES);
    return 0;
}

static int count_rings(struct vhost_user_client *client, struct err *err)
{
    uint64_t count = 1;
    int ret = 0;

    if (vhost_user_link_has(&client->link, VHOST_USER_PROTOCOL_F_MQ)) {
        ret = vhost_user_link_get_u64(&client->link, VHOST_USER_GET_QUEUE_NUM, &count, err);
    }
    if (ret == 0 && count == 0) {
        return err_say(err, -EPROTO, "%s: the back-end has no ring", client->path);
    }
    client->max_rings = (unsigned)min_of(count, (uint64_t)VHOST_USER_CLIENT_MAX_RINGS);
    return ret;
}

/* REPLY_ACK holds from the message after the one that agrees on it. */
static int negotiate_protocol(struct vhost_user_client *client, struct err *err)
{
    struct vhost_user_link *link = &client->link;
    uint64_t offered = 0;
    int ret = vhost_user_link_get_u64(link, VHOST_USER_GET_PROTOCOL_FEATURES, &offered, err);

    if (ret < 0) {
        return ret;
    }
    offered &= KNOWN_PROTOCOL_FEATURES & ~client->opts.refuse_protocol;
    ret = vhost_user_link_set_u64(link, VHOST_USER_SET_PROTOCOL_FEATURES, offered, err);
    link->protocol_features = offered;
    if (ret == 0 && vhost_user_link_has(link, VHOST_USER_PROTOCOL_F_BACKEND_REQ) &&
        vhost_user_link_has(link, VHOST_USER_PROTOCOL_F_CONFIG)) {
        ret = vhost_user_link_open_channel(link, err);
    }
    return ret;
}

int client_negotiate(struct vhost_user_client *client, struct err *err)
{
    const struct vhost_user_out owner = {.request = VHOST_USER_SET_OWNER};
    struct vhost_user_link *link = &client->link;
    int ret = vhost_user_link_get_u64(link, VHOST_USER_GET_FEATURES, &client->offered, err);

    client->offered &= ~client->opts.refuse;
    if (ret == -ECONNRESET) {
        err_hint(err, "another front-end may have this disk: end that first");
    } else if (ret == -ETIMEDOUT) {
        err_hint(err, "the back-end may hang, or another front-end have this disk");
    }
    if (ret == 0 && (client->offered & VHOST_USER_F_PROTOCOL_FEATURES)) {
        ret = negotiate_protocol(client, err);
    }
    if (!client_keeps_inflight(client)) {
        client->offered &= ~BIT(VIRTIO_F_RING_PACKED);
    }
    if (ret == 0) {
        ret = vhost_user_link_set(link, &owner, err);
    }
    if (ret == 0) {
        ret = count_rings(client, err);
    }
    return ret == 0 ? client_read_config(client, err) : ret;
}

/* The in-flight region follows: its layout is one of split rings or of packed ones. */
static int send_features(struct vhost_user_client *client, struct err *err)
{
    uint64_t missing = client->accepted & ~client->offered;
    int ret;

    if (missing != 0) {
        return err_say(err, -EPROTO,
                       "%s: the back-end came back without features that the guest uses (0x%" PRIx64
                       ")",
                       client->path, missing);
    }
    ret = vhost_user_link_set_u64(
        &client->link, VHOST_USER_SET_FEATURES,
        client->accepted | (client->offered & VHOST_USER_F_PROTOCOL_FEATURES), err);
    return ret == 0 ? client_send_inflight(client, err) : ret;
}

static struct vhost_user_region region_message(const struct vhost_user_client_region *region)
{
    return (struct vhost_user_region){
        .guest_addr = region->guest_addr,
        .size = region->size,
        .user_addr = (uintptr_t)region->host,
        .mmap_offset = region->offset,
    };
}

static int add_region(struct vhost_user_client *client,
                      const struct vhost_user_client_region *region, struct err *err)
{
    const struct vhost_user_single_region single = {.region = region_message(region)};
    const struct vhost_user_out out = {.request = VHOST_USER_ADD_MEM_REG,
                                       .len = sizeof(single),
                                       .payload = &single,
                                       .fds = &region->fd,
                                       .fd_count = 1};

    return vhost_user_link_set(&client->link, &out, err);
}

static int set_table(struct vhost_user_client *client, struct err *err)
{
    struct vhost_user_table table = {.count = client->region_count};
    int fds[VHOST_USER_TABLE_REGIONS];
    const struct vhost_user_out out = {
        .request = VHOST_USER_SET_MEM_TABLE,
        .len = (uint32_t)(8 + client->region_count * sizeof(table.region[0])),
        .payload = &table,
        .fds = fds,
        .fd_count = client->region_count,
    };

    for (unsigned i = 0; i < client->region_count; i++) {
        table.region[i] = region_message(&client->region[i]);
        fds[i] = client->region[i].fd;
    }
    return vhost_user_link_set(&client->link, &out, err);
}

/* All regions, from number `first` on where the back-end takes them one by one. */
static int share_from(struct vhost_user_client *client, unsigned first, struct err *err)
{
    int ret = 0;

    if (client->region_count == 0) {
        return 0;
    }
    if (!vhost_user_link_has(&client->link, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
        return set_table(client, err);
    }
    for (unsigned i = first; ret == 0 && i < client->region_count; i++) {
        ret = add_region(client, &client->region[i], err);
    }
    return ret;
}

int client_restore(struct vhost_user_client *client, struct err *err)
{
    int ret = client->has_accepted ? send_features(client, err) : 0;

    if (ret == 0) {
        ret = share_from(client, 0, err);
    }
    return ret == 0 ? client_restore_rings(client, err) : ret;
}

int vhost_user_client_add_memory(struct vhost_user_client *client,
                                 const struct vhost_user_client_region *region, struct err *err)
{
    struct err why = {0};
    int ret;

    if (client->region_count == VHOST_USER_CLIENT_MAX_REGIONS) {
        return err_say(err, -ENOSPC, "%s: more than %d regions of memory", client->path,
                       VHOST_USER_CLIENT_MAX_REGIONS);
    }
    client->region[client->region_count++] = *region;
    if (is_away(client)) {
        return 0;
    }
    ret = client_conclude(client, share_from(client, client->region_count - 1, &why), &why, err);
    if (ret < 0) {
        client->region_count--;
    }
    return ret;
}

int vhost_user_client_set_features(struct vhost_user_client *client, uint64_t features,
                                   struct err *err)
{
    uint64_t unknown = features & ~vhost_user_client_features(client);
    struct err why = {0};

    if (unknown != 0) {
        return err_say(err, -EINVAL, "%s: feature bits 0x%" PRIx64 " are not offered", client->path,
                       unknown);
    }
    client->accepted = features;
    client->has_accepted = true;
    client_forget_inflight(client);
    return is_away(client) ? 0 : client_conclude(client, send_features(client, &why), &why, err);
}

uint64_t vhost_user_client_features(const struct vhost_user_client *client)
{
    return client->offered & ~(VHOST_USER_F_PROTOCOL_FEATURES | VHOST_USER_F_LOG_ALL);
}

unsigned vhost_user_client_max_rings(const struct vhost_user_client *client)
{
    return client->max_rings;
}

void vhost_user_client_config_read(const struct vhost_user_client *client, uint32_t offset,
                                   void *to, uint32_t len)
{
    memset(to, 0, len);
    if (offset < CLIENT_CONFIG_BYTES) {
        memcpy(to, client->config + offset, min_of(len, CLIENT_CONFIG_BYTES - offset));
    }
}

int vhost_user_client_config_write(struct vhost_user_client *client, uint32_t offset,
                                   const void *from, uint32_t len, struct err *err)
{
    struct vhost_user_config config = {.offset = offset, .size = len};
    const struct vhost_user_out out = {.request = VHOST_USER_SET_CONFIG,
                                       .len = VHOST_USER_CONFIG_HEADER_BYTES + len,
                                       .payload = &config};
    struct err why = {0};
    int ret;

    if (!range_ok(offset, len, CLIENT_CONFIG_BYTES)) {
        return err_say(err, -EINVAL, "%s: %u bytes at %u lie outside the config space",
                       client->path, len, offset);
    }
    if (is_away(client)) {
        return err_say(err, -ENOTCONN, "%s: the back-end is away", client->path);
    }
    memcpy(config.data, from, len);
    ret = client_conclude(client, vhost_user_link_set(&client->link, &out, &why), &why, err);
    if (ret == 0 && !is_away(client)) {
        memcpy(client->config + offset, from, len);
    }
    return ret;
}
