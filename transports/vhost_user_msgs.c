/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_msgs.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/features.h"

#define PROTOCOL_FEATURES                                                        \
    (VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_LOG_SHMFD |                \
     VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_BACKEND_REQ |       \
     VHOST_USER_PROTOCOL_F_CONFIG | VHOST_USER_PROTOCOL_F_RESET_DEVICE |         \
     VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS | VHOST_USER_PROTOCOL_F_STATUS |  \
     VHOST_USER_PROTOCOL_F_DEVICE_STATE | VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD | \
     VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT |                             \
     VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN)

/* Of this protocol, and not of a driver. */
#define OWN_FEATURES (VHOST_USER_F_PROTOCOL_FEATURES | VHOST_USER_F_LOG_ALL)

static enum vu_verdict get_features(struct vu_session *session, struct vu_msg *msg)
{
    return vu_reply_u64(msg, device_features(session->dev) | OWN_FEATURES);
}

bool vu_has_enabled_ring(const struct device *dev)
{
    for (unsigned i = 0; i < device_queues(dev); i++) {
        const struct device_ring_told ring = device_ring_told(dev, i);

        if (ring.is_running && ring.is_enabled) {
            return true;
        }
    }
    return false;
}

enum vu_verdict vu_set_all_up_anew(struct vu_session *session, struct vu_msg *msg)
{
    for (unsigned i = 0; i < device_queues(session->dev); i++) {
        device_ring_renew(session->dev, i);
    }
    vu_memory_settle(session);
    return session->handler->handle(session, msg);
}

/*
 * Front-ends repeat it whenever they start the device, so the same choice is no change.  Logging is
 * switched while rings run.  A front-end that accepts all that is offered may do so without a log.
 * Source: vhost-user, "Ring states": without the protocol feature bit rings start enabled.
 */
static enum vu_verdict set_features(struct vu_session *session, struct vu_msg *msg)
{
    struct device *dev = session->dev;
    uint64_t bits = msg->payload.u64 & ~OWN_FEATURES;
    uint64_t unknown = bits & ~device_acceptable(dev);
    char text[FEATURES_TEXT_BYTES];

    if (unknown != 0) {
        return vu_fault(session, VU_BAD, "features %s are not offered",
                        features_say(unknown, text));
    }
    if (bits != device_accepted(dev)) {
        if (vu_has_enabled_ring(dev)) {
            return vu_fault(session, VU_BAD,
                            "0x%" PRIx64 " instead of 0x%" PRIx64 " while rings run", bits,
                            device_accepted(dev));
        }
        if (device_rings_running(dev) > 0) {
            return vu_wait_for_device(session, vu_set_all_up_anew);
        }
        if (device_set_features(dev, bits) < 0) {
            return vu_fault(session, VU_BAD, "0x%" PRIx64 " cannot be had", bits);
        }
    }
    device_log_data(dev, msg->payload.u64 & VHOST_USER_F_LOG_ALL);
    session->has_protocol_features = msg->payload.u64 & VHOST_USER_F_PROTOCOL_FEATURES;
    session->has_features = true;
    for (unsigned i = 0; !session->has_protocol_features && i < device_queues(dev); i++) {
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
    return vu_reply_u64(msg, device_queues(session->dev));
}

static bool config_range_ok(uint32_t offset, uint32_t size)
{
    return size > 0 && range_ok(offset, size, VHOST_USER_CONFIG_BYTES);
}

/* See VHOST_USER_CONFIG_MMIO_OFFSET; all that such front-ends ask for is the whole of it. */
static uint32_t config_start(const struct vhost_user_config *config)
{
    return config->offset == VHOST_USER_CONFIG_MMIO_OFFSET ? 0 : config->offset;
}

/*
 * Some front-ends ask for less than all of it, so any part is served.  The answer has the offset
 * that was asked for, which front-ends compare.
 * Source: vhost-user, "VHOST_USER_GET_CONFIG": an empty payload says that there is an error.
 */
static enum vu_verdict get_config(struct vu_session *session, struct vu_msg *msg)
{
    struct vhost_user_config *config = &msg->payload.config;
    uint32_t start = config_start(config);

    if (!config_range_ok(start, config->size)) {
        log_limited(&session->log, LOG_LEVEL_WARN,
                    "%s: GET_CONFIG: %u bytes at %u are outside the config space", session->label,
                    config->size, config->offset);
        msg->header.size = 0;
        return VU_REPLY;
    }
    device_config_read(session->dev, start, config->data, config->size);
    if (start == 0 && config->size >= sizeof(((struct virtio_blk_config *)0)->capacity)) {
        session->read_capacity = device_capacity(session->dev);
    }
    msg->header.size = VHOST_USER_CONFIG_HEADER_BYTES + config->size;
    return VU_REPLY;
}

#define WRITEBACK_AT ((uint32_t)offsetof(struct virtio_blk_config, wce))

/*
 * Only `writeback` is writable, and it is the guest that writes: refusing is enough, the front-end
 * has done nothing wrong.  What is as it was may come with it.
 * Source: vhost-user, "VHOST_USER_SET_CONFIG" (flags 0: a driver's write; 1: live migration).
 */
static enum vu_verdict set_config(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_config *config = &msg->payload.config;
    uint8_t now[VHOST_USER_CONFIG_BYTES];
    uint32_t at = WRITEBACK_AT - config->offset;
    bool writes = config->offset <= WRITEBACK_AT && at < config->size;

    if (!config_range_ok(config->offset, config->size) ||
        msg->header.size != VHOST_USER_CONFIG_HEADER_BYTES + config->size) {
        return vu_fault(session, VU_BAD, "%u bytes at %u in a payload of %u", config->size,
                        config->offset, msg->header.size);
    }
    if (config->flags != 0) {
        return vu_fault(session, VU_REFUSED, "flags 0x%x are not those of a driver's write",
                        config->flags);
    }
    device_config_read(session->dev, config->offset, now, config->size);
    if (writes) {
        now[at] = config->data[at];
    }
    if (memcmp(now, config->data, config->size) != 0) {
        return vu_fault(session, VU_REFUSED,
                        "no field of the config space can be written but writeback");
    }
    return writes ? vu_switch_cache(session, config->data[at]) : VU_DONE;
}

/* One end of a socketpair, as all front-ends send it. */
static bool is_channel(const struct foreign *foreign)
{
    int type = 0;
    socklen_t type_len = sizeof(type);

    return foreign->kind == FOREIGN_SOCKET &&
           getsockopt(foreign->fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 &&
           type == SOCK_STREAM;
}

static enum vu_verdict set_backend_req_fd(struct vu_session *session, struct vu_msg *msg)
{
    struct foreign *foreign = &msg->fd[0];

    if (!is_channel(foreign)) {
        return vu_fault(session, VU_BAD, "what came is %s, and no end of a UNIX socketpair",
                        foreign->what);
    }
    if (session->backend_fd >= 0) {
        close(session->backend_fd);
    }
    session->backend_fd = foreign->fd;
    foreign->fd = -1;
    return VU_DONE;
}

#define STATE_BYTES sizeof(struct vhost_user_vring_state)

/* Most front-ends send the padding that their compilers put behind it. */
#define INFLIGHT_BYTES sizeof(struct vhost_user_inflight)
#define INFLIGHT_PADDED_BYTES 24

/* With a name only: what other devices or features that were not offered would need. */
static const struct vu_handler handlers[] = {
    [VHOST_USER_GET_FEATURES] = {"GET_FEATURES", 0, 0, 0, 0, true, get_features},
    [VHOST_USER_SET_FEATURES] = {"SET_FEATURES", 8, 8, 0, 0, false, set_features},
    [VHOST_USER_SET_OWNER] = {"SET_OWNER", 0, 0, 0, 0, false, set_owner},
    [VHOST_USER_RESET_OWNER] = {"RESET_OWNER", 0, 0, 0, 0, false, vu_reset_owner},
    [VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, sizeof(struct vhost_user_table), 0,
                                  VHOST_USER_TABLE_REGIONS, false, vu_set_mem_table},
    [VHOST_USER_SET_LOG_BASE] = {"SET_LOG_BASE", sizeof(struct vhost_user_log),
                                 sizeof(struct vhost_user_log), 1, 1, true, vu_set_log_base},
    [VHOST_USER_SET_LOG_FD] = {"SET_LOG_FD", 0, 8, 1, 1, false, vu_set_log_fd},
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
    [VHOST_USER_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", INFLIGHT_BYTES, INFLIGHT_PADDED_BYTES, 0, 0,
                                    true, vu_get_inflight_fd},
    [VHOST_USER_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", INFLIGHT_BYTES, INFLIGHT_PADDED_BYTES, 1, 1,
                                    false, vu_set_inflight_fd},
    [VHOST_USER_GPU_SET_SOCKET] = {.name = "GPU_SET_SOCKET"},
    [VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", 0, 0, 0, 0, false, vu_reset_device},
    [VHOST_USER_VRING_KICK] = {.name = "VRING_KICK"},
    [VHOST_USER_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", 0, 0, 0, 0, true, vu_get_max_mem_slots},
    [VHOST_USER_ADD_MEM_REG] = {"ADD_MEM_REG", sizeof(struct vhost_user_region),
                                sizeof(struct vhost_user_single_region), 1, 1, false,
                                vu_add_mem_reg},
    [VHOST_USER_REM_MEM_REG] = {"REM_MEM_REG", sizeof(struct vhost_user_region),
                                sizeof(struct vhost_user_single_region), 0, 1, false,
                                vu_rem_mem_reg},
    [VHOST_USER_SET_STATUS] = {"SET_STATUS", 8, 8, 0, 0, false, vu_set_status},
    [VHOST_USER_GET_STATUS] = {"GET_STATUS", 0, 0, 0, 0, true, vu_get_status},
    [VHOST_USER_GET_SHARED_OBJECT] = {.name = "GET_SHARED_OBJECT"},
    [VHOST_USER_SET_DEVICE_STATE_FD] = {"SET_DEVICE_STATE_FD", sizeof(struct vhost_user_transfer),
                                        sizeof(struct vhost_user_transfer), 1, 1, true,
                                        vu_set_device_state_fd},
    [VHOST_USER_CHECK_DEVICE_STATE] = {"CHECK_DEVICE_STATE", 0, 0, 0, 0, false,
                                       vu_check_device_state, true},
    [VHOST_USER_GET_SHMEM_CONFIG] = {.name = "GET_SHMEM_CONFIG"},
    [VHOST_USER_GET_VRING_BASE_SKIP_DRAIN] = {"GET_VRING_BASE_SKIP_DRAIN", STATE_BYTES, STATE_BYTES,
                                              0, 0, true, vu_get_vring_base_skip_drain},
};

static const struct vu_handler unknown_handler = {.name = "unknown"};

const struct vu_handler *vu_handler_of(uint32_t request)
{
    return request < ARRAY_SIZE(handlers) && handlers[request].name ? &handlers[request]
                                                                    : &unknown_handler;
}
