/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/fuzz/peer.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer peer = {.sock = -1, .second = -1};

/* ---- files ---- */

static int make_sealed(void)
{
    int fd = memfd_create("vblk-fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert(fd >= 0 && ftruncate(fd, PEER_ARENA_BYTES) == 0);
    assert(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
    return fd;
}

static int open_again(int fd)
{
    char path[48];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void open_pairs(void)
{
    int ends[2];

    assert(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    peer.file[PEER_PIPE] = ends[0];
    peer.other_end[0] = ends[1];
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    peer.file[PEER_SOCKET] = ends[0];
    peer.other_end[1] = ends[1];
}

void peer_start(void)
{
    for (unsigned i = 0; i < PEER_RINGS; i++) {
        arena_init(&peer.arena[i], PEER_GUEST + i * PEER_ARENA_BYTES, PEER_ARENA_BYTES);
        driver_init(&peer.split[i], &peer.arena[i], PEER_RING_SIZE);
        packed_init(&peer.packed[i], &peer.arena[i], PEER_RING_SIZE);
    }
    peer.file[PEER_FIRST] = peer.arena[0].fd;
    peer.file[PEER_SECOND] = peer.arena[1].fd;
    peer.file[PEER_INFLIGHT] = memfd_create("vblk-fuzz", MFD_CLOEXEC);
    peer.file[PEER_SEALED] = make_sealed();
    peer.file[PEER_READONLY] = open_again(peer.arena[0].fd);
    peer.file[PEER_DIRECTORY] = open("/", O_RDONLY | O_CLOEXEC);
    peer.file[PEER_ZERO] = open("/dev/zero", O_RDWR | O_CLOEXEC);
    open_pairs();
    for (unsigned i = PEER_KICK; i < PEER_FILES; i++) {
        peer.file[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    for (unsigned i = 0; i < PEER_FILES; i++) {
        assert(peer.file[i] >= 0);
    }
}

void peer_reset(void)
{
    uint64_t count;

    peer_flip_end();
    for (unsigned i = 0; i < PEER_RINGS; i++) {
        assert(ftruncate(peer.arena[i].fd, PEER_ARENA_BYTES) == 0);
        memset(peer.arena[i].host, 0, PEER_ARENA_BYTES);
    }
    assert(ftruncate(peer.file[PEER_INFLIGHT], 0) == 0);
    assert(ftruncate(peer.file[PEER_INFLIGHT], PEER_INFLIGHT_BYTES) == 0);
    for (unsigned i = PEER_KICK; i < PEER_FILES; i++) {
        (void)!read(peer.file[i], &count, sizeof(count)); /* it may be empty */
    }
    peer.is_cut = false;
    peer.is_packed = false;
    peer.requests = 0;
    peer_rings_reset();
}

/* ---- connections ---- */

static void hang_up(int *sock)
{
    if (*sock >= 0) {
        close(*sock);
    }
    *sock = -1;
}

static int call(const char *path)
{
    int sock = vhost_connect(path);

    if (sock >= 0) {
        (void)fcntl(sock, F_SETFL, O_NONBLOCK); /* who does not read makes nobody wait */
    }
    return sock;
}

void peer_disconnect(void)
{
    hang_up(&peer.sock);
    hang_up(&peer.second);
}

void peer_connect(const char *path)
{
    hang_up(&peer.sock);
    peer.sock = call(path);
}

void peer_connect_second(const char *path)
{
    hang_up(&peer.second);
    peer.second = call(path);
}

void peer_listen(void)
{
    uint8_t bytes[1024];

    while (peer.sock >= 0 && recv(peer.sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/* ---- messages ---- */

static uint32_t put(uint8_t *to, const void *from, uint32_t len)
{
    memcpy(to, from, len);
    return len;
}

static uint32_t put_u64(uint8_t *to, uint64_t value)
{
    return put(to, &value, sizeof(value));
}

static uint32_t put_vring(uint8_t *to, unsigned ring, uint32_t num)
{
    const struct vhost_vring_state_msg vring = {.index = ring, .num = num};

    return put(to, &vring, sizeof(vring));
}

static struct vhost_region_msg region_of(unsigned arena)
{
    return (struct vhost_region_msg){.guest_addr = peer.arena[arena].guest_addr,
                                     .size = PEER_ARENA_BYTES,
                                     .user_addr = (uintptr_t)peer.arena[arena].host};
}

static uint32_t put_slot(uint8_t *to, unsigned arena)
{
    const struct vhost_mem_reg_msg slot = {.region = region_of(arena)};

    return put(to, &slot, sizeof(slot));
}

/* Both files, or the first alone. */
static uint32_t put_table(uint8_t *to, unsigned count)
{
    const struct vhost_mem_table_msg table = {.count = count,
                                              .region = {region_of(0), region_of(1)}};

    return put(to, &table, (uint32_t)(8 + count * sizeof(table.region[0])));
}

/* In a file of its own, or within the guest's memory. */
static uint32_t put_inflight(uint8_t *to, bool is_own)
{
    const struct vhost_inflight_msg inflight = {.mmap_size = PEER_INFLIGHT_BYTES,
                                                .mmap_offset = is_own ? 0 : PEER_INFLIGHT_AT,
                                                .num_queues = PEER_RINGS,
                                                .queue_size = PEER_RING_SIZE};

    return put(to, &inflight, sizeof(inflight));
}

static uint32_t put_log(uint8_t *to)
{
    const struct vhost_log_msg log = {.size = PEER_LOG_BYTES, .offset = PEER_LOG_AT};

    return put(to, &log, sizeof(log));
}

static uint32_t put_addresses(uint8_t *to, unsigned ring)
{
    struct vhost_vring_addr_msg addr;

    peer_ring_addresses(ring, &addr);
    return put(to, &addr, sizeof(addr));
}

static uint32_t put_config(uint8_t *to, bool is_set)
{
    struct vhost_config_msg config = {.offset = is_set ? 32 : 0, .size = is_set ? 1 : 60};

    config.data[0] = 1; /* of SET_CONFIG: writeback */
    return put(to, &config, (uint32_t)offsetof(struct vhost_config_msg, data) + config.size);
}

static uint64_t features_with(uint8_t with)
{
    return 1ull << VIRTIO_F_VERSION_1 | 1ull << VHOST_F_PROTOCOL_FEATURES |
           1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_FLUSH |
           1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES |
           (with & PEER_WITH_LOG ? 1ull << VHOST_F_LOG_ALL : 0) |
           (with & PEER_WITH_EVENT_IDX ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
           (with & PEER_WITH_PACKED ? 1ull << VIRTIO_F_RING_PACKED : 0) |
           (with & PEER_WITH_WCE ? 1ull << VIRTIO_BLK_F_CONFIG_WCE : 0);
}

static uint64_t protocol_features(void)
{
    return 1u << VHOST_P_MQ | 1u << VHOST_P_LOG_SHMFD | 1u << VHOST_P_REPLY_ACK |
           1u << VHOST_P_CONFIG | 1u << VHOST_P_INFLIGHT_SHMFD | 1u << VHOST_P_RESET_DEVICE |
           1u << VHOST_P_CONFIGURE_MEM_SLOTS | 1u << VHOST_P_STATUS | 1u << VHOST_P_DEVICE_STATE |
           1u << VHOST_P_BACKEND_REQ;
}

/* The payload of a good front-end; `which` is a ring, a file or a flag. */
static uint32_t good_payload(uint32_t request, uint8_t *to, uint8_t which)
{
    unsigned ring = which & 1;

    switch (request) {
    case VHOST_SET_FEATURES:
        return put_u64(to, features_with(which));
    case VHOST_SET_PROTOCOL_FEATURES:
        return put_u64(to, protocol_features());
    case VHOST_SET_MEM_TABLE:
        return put_table(to, 1 + ring);
    case VHOST_ADD_MEM_REG:
    case VHOST_REM_MEM_REG:
        return put_slot(to, ring);
    case VHOST_SET_LOG_BASE:
        return put_log(to);
    case VHOST_GET_INFLIGHT_FD:
    case VHOST_SET_INFLIGHT_FD:
        return put_inflight(to, ring);
    case VHOST_SET_VRING_ADDR:
        return put_addresses(to, ring);
    case VHOST_SET_VRING_NUM:
        return put_vring(to, ring, PEER_RING_SIZE);
    case VHOST_SET_VRING_BASE:
        return put_vring(to, ring, peer_ring_base(ring));
    case VHOST_GET_VRING_BASE:
        return put_vring(to, ring, 0);
    case VHOST_SET_VRING_ENABLE:
        return put_vring(to, ring, which >> 1 & 1);
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_SET_VRING_ERR:
        return put_u64(to, ring);
    case VHOST_SET_STATUS:
        return put_u64(to, which);
    case VHOST_SET_DEVICE_STATE_FD:
        return put_u64(to, ring);
    case VHOST_GET_CONFIG:
    case VHOST_SET_CONFIG:
        return put_config(to, request == VHOST_SET_CONFIG);
    default:
        return 0;
    }
}

/* What a good front-end sends with it; PEER_FILES: nothing. */
static enum peer_file good_file(uint32_t request, uint8_t which)
{
    switch (request) {
    case VHOST_SET_MEM_TABLE:
    case VHOST_SET_LOG_BASE:
        return PEER_FIRST;
    case VHOST_ADD_MEM_REG:
        return which & 1 ? PEER_SECOND : PEER_FIRST;
    case VHOST_SET_INFLIGHT_FD:
        return which & 1 ? PEER_INFLIGHT : PEER_FIRST;
    case VHOST_SET_VRING_KICK:
        return which & 1 ? PEER_KICK_1 : PEER_KICK;
    case VHOST_SET_VRING_CALL:
        return which & 1 ? PEER_CALL_1 : PEER_CALL;
    case VHOST_SET_VRING_ERR:
    case VHOST_SET_LOG_FD:
        return PEER_ERR;
    case VHOST_SET_BACKEND_REQ_FD:
        return PEER_SOCKET;
    case VHOST_SET_DEVICE_STATE_FD:
        return PEER_PIPE;
    default:
        return PEER_FILES;
    }
}

static unsigned take_files(uint32_t request, uint8_t which, int fds[PEER_RINGS])
{
    enum peer_file file = good_file(request, which);

    if (file == PEER_FILES) {
        return 0;
    }
    fds[0] = peer.file[file];
    fds[1] = peer.file[PEER_SECOND];
    return request == VHOST_SET_MEM_TABLE ? 1 + (which & 1) : 1;
}

/* How a message is sent. */
#define HOW_REPLY 1u
#define HOW_LONG 2u  /* its length is another one */
#define HOW_SPOIL 4u /* one byte of it is */
#define HOW_HALF 8u  /* the end is not sent */
#define HOW_FILE 16u /* with another file */
#define HOW_NONE 32u /* without any */
#define HOW_TWO 64u  /* with one more */
#define HOW_SECOND 128u

static unsigned spoil_files(struct peer_args args, int fds[PEER_RINGS + 1], unsigned count)
{
    if (args.b & HOW_FILE) {
        fds[0] = peer.file[args.d % PEER_FILES];
        count = count > 0 ? count : 1;
    }
    if (args.b & HOW_NONE) {
        count = 0;
    }
    if (args.b & HOW_TWO) {
        fds[count++] = peer.file[args.c % PEER_FILES];
    }
    return count;
}

/* a: the request, b: how, c: where it is spoiled, d: by what, or which ring and so on. */
void peer_message(struct peer_args args)
{
    uint8_t bytes[VHOST_HEADER_BYTES + 512] = {0};
    uint32_t request = args.a % 48;
    uint32_t len = good_payload(request, bytes + VHOST_HEADER_BYTES, args.d);
    uint32_t header[3] = {request,
                          VHOST_FLAG_VERSION | (args.b & HOW_REPLY ? VHOST_FLAG_NEED_REPLY : 0),
                          args.b & HOW_LONG ? args.c : len};
    uint32_t total = VHOST_HEADER_BYTES + len;
    int fds[PEER_RINGS + 1];
    unsigned count = spoil_files(args, fds, take_files(request, args.d, fds));

    memcpy(bytes, header, sizeof(header));
    if (args.b & HOW_SPOIL) {
        bytes[args.c % total] ^= args.d;
    }
    if (args.b & HOW_HALF) {
        total = 1 + args.c % total;
    }
    if (peer.sock >= 0) {
        (void)vhost_send_bytes(args.b & HOW_SECOND && peer.second >= 0 ? peer.second : peer.sock,
                               bytes, total, fds, count); /* it may have hung up */
    }
}

/* ---- the start ---- */

static void send_good(uint32_t request, uint8_t which)
{
    peer_message((struct peer_args){.a = (uint8_t)request, .d = which});
}

static void share(uint8_t with)
{
    if (with & PEER_WITH_SLOTS) {
        send_good(VHOST_ADD_MEM_REG, 0);
        send_good(VHOST_ADD_MEM_REG, 1);
    } else {
        send_good(VHOST_SET_MEM_TABLE, 1);
    }
}

static void set_up_ring(uint8_t ring)
{
    send_good(VHOST_SET_VRING_NUM, ring);
    send_good(VHOST_SET_VRING_BASE, ring);
    send_good(VHOST_SET_VRING_ADDR, ring);
    send_good(VHOST_SET_VRING_CALL, ring);
    send_good(VHOST_SET_VRING_ERR, ring);
    send_good(VHOST_SET_VRING_KICK, ring);
    send_good(VHOST_SET_VRING_ENABLE, ring | 2);
}

void peer_set_up(uint8_t with)
{
    bool has_second = !peer.is_cut && !(with & PEER_WITH_ONE_RING);

    peer.is_packed = with & PEER_WITH_PACKED;
    if (!(with & PEER_WITH_OLD_RINGS)) {
        peer_rings_reset();
    }
    send_good(VHOST_SET_PROTOCOL_FEATURES, 0);
    send_good(VHOST_SET_FEATURES, with);
    if (with & PEER_WITH_INFLIGHT) {
        send_good(VHOST_SET_INFLIGHT_FD, with & PEER_WITH_SLOTS ? 0 : 1);
    }
    if (with & PEER_WITH_LOG) {
        send_good(VHOST_SET_LOG_BASE, 0);
    }
    share(with);
    set_up_ring(0);
    if (has_second) {
        set_up_ring(1);
    }
}
