/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What goes over a vhost-user socket: numbers and layouts, no logic.
 * Native byte order (the sections' note), so little-endian where this builds.
 * Source: QEMU documentation, "Vhost-user Protocol" (docs/interop/vhost-user.rst); the section
 * is named at each part.
 */

#include <stdint.h>

/* "Header": the lower two bits of the flags are the version. */
#define VHOST_USER_VERSION 0x1u
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_REPLY (1u << 2)
#define VHOST_USER_NEED_REPLY (1u << 3)

struct vhost_user_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload, bytes */
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_header) == 12, "vhost-user, Header");

/* "Communication": "at most 8 descriptors in each message", one for each region of a table. */
#define VHOST_USER_MAX_FDS 8u

/* "Front-end message types". */
enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_CREATE_CRYPTO_SESSION = 26,
    VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_GPU_SET_SOCKET = 33,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_GET_SHARED_OBJECT = 41,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_GET_SHMEM_CONFIG = 44,
    VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
};

/* "Back-end message types". */
enum vhost_user_backend_request {
    VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
};

/* "Communication": a feature bit that virtio reserves, for features of the protocol itself. */
#define VHOST_USER_F_PROTOCOL_FEATURES (1ull << 30)

/* "Migration": no feature of a driver's either; what is stored for requests is to be logged. */
#define VHOST_USER_F_LOG_ALL (1ull << 26)

/* "Protocol features", those that concern a block device. */
#define VHOST_USER_PROTOCOL_F_MQ (1ull << 0)
#define VHOST_USER_PROTOCOL_F_LOG_SHMFD (1ull << 1)
#define VHOST_USER_PROTOCOL_F_REPLY_ACK (1ull << 3)
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ (1ull << 5)
#define VHOST_USER_PROTOCOL_F_CONFIG (1ull << 9)
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD (1ull << 12)
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE (1ull << 13)
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS (1ull << 15)
#define VHOST_USER_PROTOCOL_F_STATUS (1ull << 16)
#define VHOST_USER_PROTOCOL_F_DEVICE_STATE (1ull << 19)
#define VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT (1ull << 20)
#define VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN (1ull << 23)

/* "A vring state description". */
struct vhost_user_vring_state {
    uint32_t index;
    uint32_t num;
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_vring_state) == 8, "vhost-user, vring state");

/* "Migration": the ring's used part is to be logged. */
#define VHOST_USER_VRING_F_LOG (1u << 0)

/* "A vring address description": addresses in the front-end's address space. */
struct vhost_user_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log; /* guest address */
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vhost-user, vring address");

/* "Log description". */
struct vhost_user_log {
    uint64_t size; /* bytes */
    uint64_t offset;
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_log) == 16, "vhost-user, log description");

/* "Inflight description". */
struct vhost_user_inflight {
    uint64_t mmap_size; /* bytes */
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_inflight) == 20, "vhost-user, inflight description");

/* "Device state transfer parameters". */
struct vhost_user_transfer {
    uint32_t direction; /* 0: from the back-end, 1: to it */
    uint32_t phase;     /* 0: all rings are stopped */
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_transfer) == 8, "vhost-user, device state transfer");

/* "VHOST_USER_SET_VRING_KICK": the payload of the messages that carry a ring's fd. */
#define VHOST_USER_VRING_INDEX_MASK 0xffull
#define VHOST_USER_VRING_NO_FD (1ull << 8)

/* "Memory regions description". */
#define VHOST_USER_TABLE_REGIONS 8u

struct vhost_user_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t mmap_offset;
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_region) == 32, "vhost-user, memory region");

struct vhost_user_table {
    uint32_t count;
    uint32_t padding;
    struct vhost_user_region region[VHOST_USER_TABLE_REGIONS];
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_table) == 8 + 8 * 32, "vhost-user, memory table");

/* "Single memory region description"; some front-ends leave the padding out. */
struct vhost_user_single_region {
    uint64_t padding;
    struct vhost_user_region region;
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_single_region) == 40, "vhost-user, single region");

/* "Virtio device config space"; as much as QEMU ever asks for. */
#define VHOST_USER_CONFIG_BYTES 256u

struct vhost_user_config {
    uint32_t offset;
    uint32_t size; /* bytes that follow in `data` */
    uint32_t flags;
    uint8_t data[VHOST_USER_CONFIG_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct vhost_user_config) == 12 + 256, "vhost-user, config space");

#define VHOST_USER_CONFIG_HEADER_BYTES 12u

/*
 * Where the config space begins in the registers of virtio-mmio.  Front-ends made with the Rust
 * crate "vhost" have asked for it there: cloud-hypervisor v0.6.0 (2020) to v50.2 (2026).
 * Source: VIRTIO 1.2, 4.2.2 "MMIO Device Register Layout"; rust-vmm/vhost, issue 29;
 * cloud-hypervisor, "virtio-devices: vhost-user: blk: Use zero configuration offset".
 */
#define VHOST_USER_CONFIG_MMIO_OFFSET 0x100u

/* Larger than any message that is served, so that one which is not can be named. */
#define VHOST_USER_MAX_PAYLOAD 1024u

union vhost_user_payload {
    uint64_t u64;
    struct vhost_user_vring_state state;
    struct vhost_user_vring_addr addr;
    struct vhost_user_log log;
    struct vhost_user_transfer transfer;
    struct vhost_user_inflight inflight;
    struct vhost_user_table table;
    struct vhost_user_region region;
    struct vhost_user_single_region single;
    struct vhost_user_config config;
    uint8_t bytes[VHOST_USER_MAX_PAYLOAD];
};
