/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_msgs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PROTOCOL_FEATURES                                               \
    (VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK |       \
     VHOST_USER_PROTOCOL_F_BACKEND_REQ | VHOST_USER_PROTOCOL_F_CONFIG | \
     VHOST_USER_PROTOCOL_F_RESET_DEVICE | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)

static enum vu_verdict get_features(struct vu_session *session, struct vu_msg *msg)
{
    return vu_reply_u64(msg, device_features(session->dev) | VHOST_USER_F_PROTOCOL_FEATURES);
}

/*
 * Front-ends repeat it whenever they start the device, so the same choice is no change.
 * Source: vhost-user, "Ring states": without the protocol feature bit rings start enabled.
 */
static enum vu_verdict set_features(struct vu_session *session, struct vu_msg *msg)
{
    struct device *dev = session->dev;
    uint64_t bits = msg->payload.u64 & ~VHOST_USER_F_PROTOCOL_FEATURES;
    uint64_t unknown = bits & ~device_features(dev);

    if (unknown != 0) {
        return vu_fault(session, VU_BAD, "bits 0x%" PRIx64 " are not offered", unknown);
    }
    if (bits != dev->features) {
        if (device_rings_running(dev) > 0) {
            return vu_fault(session, VU_BAD,
                            "0x%" PRIx64 " instead of 0x%" PRIx64 " while rings run", bits,
                            dev->features);
        }
        if (device_set_features(dev, bits) < 0) {
            return vu_fault(session, VU_BAD, "0x%" PRIx64 " cannot be had", bits);
        }
    }
    session->has_protocol_features = msg->payload.u64 & VHOST_USER_F_PROTOCOL_FEATURES;
    for (unsigned i = 0; !session->has_protocol_features && i < dev->queues; i++) {
        (void)device_ring_enable(dev, i, true, NULL); /* the index is good, so it cannot fail */
    }
    return VU_DONE;
}

static enum vu_verdict get_protocol_features(struct vu_session *session, struct vu_msg *msg)
{
    (void)session;
    return vu_reply_u64(msg, PROTOCOL_FEATURES);
}

static enum vu_verdict set_protocol_features(struct vu_session *session, struct vu_msg *msg)
{
    uint64_t unknown = msg->payload.u64 & ~PROTOCOL_FEATURES;

    if (unknown != 0) {
        return vu_fault(session, VU_BAD, "bits 0x%" PRIx64 " are not offered", unknown);
    }
    session->protocol_features = msg->payload.u64;
    return VU_DONE;
}

/* Whoever connects is the owner. */
static enum vu_verdict set_owner(struct vu_session *session, struct vu_msg *msg)
{
    (void)session;
    (void)msg;
    return VU_DONE;
}

static enum vu_verdict get_queue_num(struct vu_session *session, struct vu_msg *msg)
{
    return vu_reply_u64(msg, session->dev->queues);
}

static bool config_range_ok(const struct vhost_user_config *config)
{
    return config->size > 0 && range_ok(config->offset, config->size, VHOST_USER_CONFIG_BYTES);
}

/*
 * Some front-ends ask for less than all of it, so any part is served.
 * Source: vhost-user, "VHOST_USER_GET_CONFIG": an empty payload says that there is an error.
 */
static enum vu_verdict get_config(struct vu_session *session, struct vu_msg *msg)
{
    struct vhost_user_config *config = &msg->payload.config;

    if (!config_range_ok(config)) {
        log_limited(&session->log, LOG_LEVEL_WARN,
                    "%s: GET_CONFIG: %u bytes at %u are outside the config space", session->label,
                    config->size, config->offset);
        msg->header.size = 0;
        return VU_REPLY;
    }
    blk_config_read(&session->dev->blk, config->offset, config->data, config->size);
    msg->header.size = VHOST_USER_CONFIG_HEADER_BYTES + config->size;
    return VU_REPLY;
}

/*
 * No field of the config space is writable, and it is the guest that writes: refusing is
 * enough, the front-end has done nothing wrong.
 */
static enum vu_verdict set_config(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_config *config = &msg->payload.config;
    uint8_t now[VHOST_USER_CONFIG_BYTES];

    if (!config_range_ok(config) ||
        msg->header.size != VHOST_USER_CONFIG_HEADER_BYTES + config->size) {
        return vu_fault(session, VU_BAD, "%u bytes at %u in a payload of %u", config->size,
                        config->offset, msg->header.size);
    }
    blk_config_read(&session->dev->blk, config->offset, now, config->size);
    if (memcmp(now, config->data, config->size) != 0) {
        return vu_fault(session, VU_REFUSED, "no field of the config space can be written");
    }
    return VU_DONE;
}

/*
 * One end of a socketpair, as all front-ends send it: its peer has no name.  The front-end's
 * own end of a connection to us has a peer with a name; to hold that would keep a connection
 * open after the front-end has gone.
 */
static bool is_channel(int fd)
{
    struct sockaddr_un peer = {.sun_family = AF_UNSPEC};
    socklen_t peer_len = sizeof(peer);
    int type = 0;
    socklen_t type_len = sizeof(type);

    return getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
           peer.sun_family == AF_UNIX && peer_len == sizeof(peer.sun_family) &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM;
}

/* Nothing is ever read from it, so nothing may wait in it: least of all fds. */
static void close_for_reading(int fd)
{
    uint8_t unused[256];

    (void)shutdown(fd, SHUT_RD); /* cannot fail on a connected socket */
    while (recv(fd, unused, sizeof(unused), MSG_DONTWAIT) > 0) {
    }
}

static enum vu_verdict set_backend_req_fd(struct vu_session *session, struct vu_msg *msg)
{
    if (!is_channel(msg->fd[0])) {
        return vu_fault(session, VU_BAD, "what came is no end of a UNIX socketpair");
    }
    close_for_reading(msg->fd[0]);
    if (session->backend_fd >= 0) {
        close(session->backend_fd);
    }
    session->backend_fd = msg->fd[0];
    msg->fd[0] = -1;
    return VU_DONE;
}

#define STATE_BYTES sizeof(struct vhost_user_vring_state)

/* With a name only: what other devices or features that were not offered would need. */
static const struct vu_handler handlers[] = {
    [VHOST_USER_GET_FEATURES] = {"GET_FEATURES", 0, 0, 0, 0, true, get_features},
    [VHOST_USER_SET_FEATURES] = {"SET_FEATURES", 8, 8, 0, 0, false, set_features},
    [VHOST_USER_SET_OWNER] = {"SET_OWNER", 0, 0, 0, 0, false, set_owner},
    [VHOST_USER_RESET_OWNER] = {"RESET_OWNER", 0, 0, 0, 0, false, vu_reset_rings},
    [VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, sizeof(struct vhost_user_table), 0,
                                  VHOST_USER_TABLE_REGIONS, false, vu_set_mem_table},
    [VHOST_USER_SET_LOG_BASE] = {.name = "SET_LOG_BASE"},
    [VHOST_USER_SET_LOG_FD] = {.name = "SET_LOG_FD"},
    [VHOST_USER_SET_VRING_NUM] = {"SET_VRING_NUM", STATE_BYTES, STATE_BYTES, 0, 0, false,
                                  vu_set_vring_num},
    [VHOST_USER_SET_VRING_ADDR] = {"SET_VRING_ADDR", sizeof(struct vhost_user_vring_addr),
                                   sizeof(struct vhost_user_vring_addr), 0, 0, false,
                                   vu_set_vring_addr},
    [VHOST_USER_SET_VRING_BASE] = {"SET_VRING_BASE", STATE_BYTES, STATE_BYTES, 0, 0, false,
                                   vu_set_vring_base},
    [VHOST_USER_GET_VRING_BASE] = {"GET_VRING_BASE", STATE_BYTES, STATE_BYTES, 0, 0, true,
                                   vu_get_vring_base},
    [VHOST_USER_SET_VRING_KICK] = {"SET_VRING_KICK", 8, 8, 0, 1, false, vu_set_vring_kick},
    [VHOST_USER_SET_VRING_CALL] = {"SET_VRING_CALL", 8, 8, 0, 1, false, vu_set_vring_call},
    [VHOST_USER_SET_VRING_ERR] = {"SET_VRING_ERR", 8, 8, 0, 1, false, vu_set_vring_err},
    [VHOST_USER_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", 0, 0, 0, 0, true,
                                          get_protocol_features},
    [VHOST_USER_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", 8, 8, 0, 0, false,
                                          set_protocol_features},
    [VHOST_USER_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", 0, 0, 0, 0, true, get_queue_num},
    [VHOST_USER_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", STATE_BYTES, STATE_BYTES, 0, 0, false,
                                     vu_set_vring_enable},
    [VHOST_USER_SEND_RARP] = {.name = "SEND_RARP"},
    [VHOST_USER_NET_SET_MTU] = {.name = "NET_SET_MTU"},
    [VHOST_USER_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", 0, 0, 1, 1, false, set_backend_req_fd},
    [VHOST_USER_IOTLB_MSG] = {.name = "IOTLB_MSG"},
    [VHOST_USER_SET_VRING_ENDIAN] = {.name = "SET_VRING_ENDIAN"},
    [VHOST_USER_GET_CONFIG] = {"GET_CONFIG", VHOST_USER_CONFIG_HEADER_BYTES,
                               sizeof(struct vhost_user_config), 0, 0, true, get_config},
    [VHOST_USER_SET_CONFIG] = {"SET_CONFIG", VHOST_USER_CONFIG_HEADER_BYTES,
                               sizeof(struct vhost_user_config), 0, 0, false, set_config},
    [VHOST_USER_CREATE_CRYPTO_SESSION] = {.name = "CREATE_CRYPTO_SESSION"},
    [VHOST_USER_CLOSE_CRYPTO_SESSION] = {.name = "CLOSE_CRYPTO_SESSION"},
    [VHOST_USER_POSTCOPY_ADVISE] = {.name = "POSTCOPY_ADVISE"},
    [VHOST_USER_POSTCOPY_LISTEN] = {.name = "POSTCOPY_LISTEN"},
    [VHOST_USER_POSTCOPY_END] = {.name = "POSTCOPY_END"},
    [VHOST_USER_GET_INFLIGHT_FD] = {.name = "GET_INFLIGHT_FD"},
    [VHOST_USER_SET_INFLIGHT_FD] = {.name = "SET_INFLIGHT_FD"},
    [VHOST_USER_GPU_SET_SOCKET] = {.name = "GPU_SET_SOCKET"},
    [VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", 0, 0, 0, 0, false, vu_reset_rings},
    [VHOST_USER_VRING_KICK] = {.name = "VRING_KICK"},
    [VHOST_USER_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", 0, 0, 0, 0, true, vu_get_max_mem_slots},
    [VHOST_USER_ADD_MEM_REG] = {"ADD_MEM_REG", sizeof(struct vhost_user_region),
                                sizeof(struct vhost_user_single_region), 1, 1, false,
                                vu_add_mem_reg},
    [VHOST_USER_REM_MEM_REG] = {"REM_MEM_REG", sizeof(struct vhost_user_region),
                                sizeof(struct vhost_user_single_region), 0, 1, false,
                                vu_rem_mem_reg},
    [VHOST_USER_SET_STATUS] = {.name = "SET_STATUS"},
    [VHOST_USER_GET_STATUS] = {.name = "GET_STATUS"},
    [VHOST_USER_GET_SHARED_OBJECT] = {.name = "GET_SHARED_OBJECT"},
    [VHOST_USER_SET_DEVICE_STATE_FD] = {.name = "SET_DEVICE_STATE_FD"},
    [VHOST_USER_CHECK_DEVICE_STATE] = {.name = "CHECK_DEVICE_STATE"},
};

static const struct vu_handler unknown_handler = {.name = "unknown"};

const struct vu_handler *vu_handler_of(uint32_t request)
{
    return request < ARRAY_SIZE(handlers) && handlers[request].name ? &handlers[request]
                                                                    : &unknown_handler;
}
