/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * vhost-user messages as a front-end sends and receives them, well-formed or not.
 * Written from the specification and not from transports/vhost_user_wire.h, so that a wrong
 * number there is seen.
 * Source: QEMU documentation, "Vhost-user Protocol".
 */

#include "core/base/base.h"

#define VHOST_HEADER_BYTES 12
#define VHOST_MAX_PAYLOAD 4096
#define VHOST_MAX_FDS 8

enum vhost_request {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_RESET_OWNER = 4,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_LOG_BASE = 6,
    VHOST_SET_LOG_FD = 7,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_SET_BACKEND_REQ_FD = 21,
    VHOST_GET_CONFIG = 24,
    VHOST_SET_CONFIG = 25,
    VHOST_GET_INFLIGHT_FD = 31,
    VHOST_SET_INFLIGHT_FD = 32,
    VHOST_RESET_DEVICE = 34,
    VHOST_GET_MAX_MEM_SLOTS = 36,
    VHOST_ADD_MEM_REG = 37,
    VHOST_REM_MEM_REG = 38,
    VHOST_SET_STATUS = 39,
    VHOST_GET_STATUS = 40,
    VHOST_SET_DEVICE_STATE_FD = 42,
    VHOST_CHECK_DEVICE_STATE = 43,
    VHOST_SKIP_DRAIN = 45,
};

enum {
    VHOST_FLAG_VERSION = 1,
    VHOST_FLAG_REPLY = 1 << 2,
    VHOST_FLAG_NEED_REPLY = 1 << 3,
};

/* Bits of the protocol features. */
enum {
    VHOST_P_MQ = 0,
    VHOST_P_LOG_SHMFD = 1,
    VHOST_P_REPLY_ACK = 3,
    VHOST_P_BACKEND_REQ = 5,
    VHOST_P_CONFIG = 9,
    VHOST_P_INFLIGHT_SHMFD = 12,
    VHOST_P_RESET_DEVICE = 13,
    VHOST_P_CONFIGURE_MEM_SLOTS = 15,
    VHOST_P_STATUS = 16,
    VHOST_P_DEVICE_STATE = 19,
    VHOST_P_BASE_INFLIGHT = 20,
    VHOST_P_SKIP_DRAIN = 23,
};

#define VHOST_F_LOG_ALL 26
#define VHOST_F_PROTOCOL_FEATURES 30

/* In the u64 of SET_VRING_KICK, CALL and ERR: no fd comes with it. */
#define VHOST_VRING_NO_FD (1u << 8)

struct vhost_vring_state_msg {
    uint32_t index;
    uint32_t num;
};

struct vhost_vring_addr_msg {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

struct vhost_log_msg {
    uint64_t size;
    uint64_t offset;
};

struct vhost_inflight_msg {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
} __attribute__((packed));

struct vhost_region_msg {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t offset;
};

struct vhost_mem_table_msg {
    uint32_t count;
    uint32_t padding;
    struct vhost_region_msg region[8];
};

struct vhost_mem_reg_msg {
    uint64_t padding;
    struct vhost_region_msg region;
};

struct vhost_config_msg {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[256];
};

/* A message to send; `size` goes into the header, `len` bytes of payload follow it. */
struct vhost_out {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint32_t len;
    const void *payload;
    unsigned fd_count;
    const int *fds;
};

struct vhost_in {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint8_t payload[VHOST_MAX_PAYLOAD];
};

/* Connect to a listening socket; the fd or -errno. */
int vhost_connect(const char *path);

/* Send all of it, the fds with the first byte.  Returns 0 or -errno. */
int vhost_send(int sock, const struct vhost_out *out);

/* Send plain bytes, with fds or without.  Returns 0 or -errno. */
int vhost_send_bytes(int sock, const void *bytes, size_t len, const int *fds, unsigned fd_count);

/* Receive one message.  Returns 0, -ECONNRESET when the peer closed, -ETIMEDOUT, -EPROTO. */
int vhost_recv(int sock, struct vhost_in *in, int timeout_ms);
