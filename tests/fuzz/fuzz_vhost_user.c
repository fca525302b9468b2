/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The vhost-user back-end over its real socket, its loop run turn by turn.  The input is a
 * list of steps of 4 bytes: a request, how to send it, and one byte of it to spoil.  Without
 * the spoiling a step is the message that a good front-end would send.
 */

#include <assert.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/device/device.h"
#include "core/device/device_state.h"
#include "core/base/porter.h"
#include "tests/lib/driver.h"
#include "tests/lib/vhost_msg.h"
#include "transports/vhost_user.h"
#include "transports/vhost_user_record.h"
#include "transports/socket_rights.h"

#define SIZE 16
#define GUEST 0x100000ull
#define ARENA_BYTES (256u << 10)
#define PATIENCE_TURNS 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct step {
    uint8_t request;
    uint8_t how; /* bits 0-2: fds, 3: need reply, 4: wrong size, 5: spoil, 6: kick, 7: pieces */
    uint8_t offset;
    uint8_t value;
};

static uv_loop_t loop;
static struct device dev;
static _Atomic pid_t awaited;
static struct vhost_user *vu;
static struct arena arena;
static struct driver drv;
static char path[64];
static int event_fd;
static int pipe_fds[2];

static void remove_socket(void)
{
    char lock[80];

    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(lock);
    unlink(path);
}

static void set_up(void)
{
    struct image_opts image = {.type = "null", .size = 1 << 20, .max_inflight = 64};
    struct blk_opts blk = {.capacity = 1 << 20,
                           .logical_block = 512,
                           .physical_block = 512,
                           .queues = 2,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {.name = "fuzz",
                               .queues = 2,
                               .queue_size_max = 1024,
                               .has_packed = true,
                               .awaited = &awaited};
    struct vhost_user_opts where = {
        .name = "fuzz", .socket_path = path, .rights = SOCKET_OWN(0600)};
    struct image *disk;
    struct err error = {0};

    snprintf(path, sizeof(path), "/tmp/vblk-fuzz.%d", (int)getpid());
    atexit(remove_socket);
    log_set_level(LOG_LEVEL_ERROR);
    mem_guard_install();
    arena_init(&arena, GUEST, ARENA_BYTES);
    driver_init(&drv, &arena, SIZE);
    event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert(event_fd >= 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0);
    assert(uv_loop_init(&loop) == 0);
    assert(device_init(&dev, &loop, &opts, &blk, &error) == 0);
    assert(image_open(&disk, &image, &error) == 0);
    assert(device_attach(&dev, disk, &error) == 0);
    device_resume(&dev, PAUSE_ADMIN);
    if (vhost_user_start(&vu, &loop, &dev, &where, &error) < 0) {
        errx(EXIT_FAILURE, "%s", error.text);
    }
}

static uint32_t put_vring(uint8_t *to, uint32_t num)
{
    struct vhost_vring_state_msg state = {.index = 0, .num = num};

    memcpy(to, &state, sizeof(state));
    return sizeof(state);
}

static uint32_t put_u64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof(value));
    return sizeof(value);
}

static uint32_t put_memory(uint8_t *to, bool is_table)
{
    struct vhost_region_msg region = {
        .guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = (uintptr_t)arena.host};

    put_u64(to, is_table); /* one region, or padding */
    memcpy(to + 8, &region, sizeof(region));
    return 8 + sizeof(region);
}

static uint32_t put_addresses(uint8_t *to)
{
    struct vhost_vring_addr_msg addr = {.desc = (uintptr_t)drv.ring.desc,
                                        .used = (uintptr_t)drv.ring.used,
                                        .avail = (uintptr_t)drv.ring.avail};

    memcpy(to, &addr, sizeof(addr));
    return sizeof(addr);
}

/* Its bits lie in the guest's own memory: what a front-end shares is what it shares. */
static uint32_t put_log(uint8_t *to)
{
    struct vhost_log_msg log = {.size = 4096, .offset = 32768};

    memcpy(to, &log, sizeof(log));
    return sizeof(log);
}

#define INFLIGHT_AT 131072u
#define INFLIGHT_BYTES 2048u

static uint32_t put_inflight(uint8_t *to)
{
    struct vhost_inflight_msg inflight = {.mmap_size = INFLIGHT_BYTES,
                                          .mmap_offset = INFLIGHT_AT,
                                          .num_queues = 2,
                                          .queue_size = SIZE};

    memcpy(to, &inflight, sizeof(inflight));
    return sizeof(inflight);
}

static uint32_t put_config(uint8_t *to)
{
    struct vhost_config_msg config = {.size = 60};

    memcpy(to, &config, offsetof(struct vhost_config_msg, data) + 60);
    return offsetof(struct vhost_config_msg, data) + 60;
}

/* The payload of a good front-end; its length. */
static uint32_t good_payload(uint32_t request, uint8_t *to)
{
    switch (request) {
    case VHOST_SET_FEATURES:
        return put_u64(to, 1ull << 32 | 1ull << VHOST_F_PROTOCOL_FEATURES | 1ull << 28 |
                               1ull << VHOST_F_LOG_ALL);
    case VHOST_SET_PROTOCOL_FEATURES:
        return put_u64(to, 1u << VHOST_P_REPLY_ACK | 1u << VHOST_P_CONFIGURE_MEM_SLOTS |
                               1u << VHOST_P_LOG_SHMFD | 1u << VHOST_P_INFLIGHT_SHMFD |
                               1u << VHOST_P_STATUS | 1u << VHOST_P_DEVICE_STATE |
                               1u << VHOST_P_BASE_INFLIGHT | 1u << VHOST_P_SKIP_DRAIN | 1);
    case VHOST_SET_MEM_TABLE:
    case VHOST_ADD_MEM_REG:
    case VHOST_REM_MEM_REG:
        return put_memory(to, request == VHOST_SET_MEM_TABLE);
    case VHOST_SET_LOG_BASE:
        return put_log(to);
    case VHOST_GET_INFLIGHT_FD:
    case VHOST_SET_INFLIGHT_FD:
        return put_inflight(to);
    case VHOST_SET_VRING_ADDR:
        return put_addresses(to);
    case VHOST_SET_VRING_NUM:
        return put_vring(to, SIZE);
    case VHOST_SET_VRING_BASE:
    case VHOST_GET_VRING_BASE:
        return put_vring(to, 0);
    case VHOST_SET_VRING_ENABLE:
        return put_vring(to, 1);
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_SET_VRING_ERR:
    case VHOST_SET_STATUS:
        return put_u64(to, 0);
    case VHOST_SET_DEVICE_STATE_FD:
        return put_u64(to, 1); /* to the disk */
    case VHOST_GET_CONFIG:
    case VHOST_SET_CONFIG:
        return put_config(to);
    default:
        return 0;
    }
}

static unsigned choose_fds(uint32_t request, unsigned how, int *fds)
{
    bool is_memory = request == VHOST_SET_MEM_TABLE || request == VHOST_ADD_MEM_REG ||
                     request == VHOST_SET_LOG_BASE || request == VHOST_SET_INFLIGHT_FD;
    bool is_event = (request >= VHOST_SET_VRING_KICK && request <= VHOST_SET_VRING_ERR) ||
                    request == VHOST_SET_LOG_FD;

    fds[0] = is_memory ? arena.fd : event_fd;
    fds[1] = pipe_fds[1];
    switch (how & 7) {
    case 5:
        fds[0] = pipe_fds[how >> 3 & 1];
        return 1;
    case 6:
        return 2;
    case 7:
        return !(is_memory || is_event);
    default:
        return is_memory || is_event;
    }
}

/* A pipe with the state of this very disk, of which one byte may be spoiled. */
static int state_pipe(const struct step *step)
{
    struct vu_record record;
    int fds[2];

    vu_record_make(&record, &dev);
    if (step->how & 4) {
        ((uint8_t *)&record)[step->offset % sizeof(record)] ^= step->value;
    }
    assert(pipe2(fds, O_CLOEXEC) == 0);
    assert(write(fds[1], &record, sizeof(record)) == sizeof(record));
    close(fds[1]);
    return fds[0];
}

static void turns(unsigned count)
{
    while (count-- > 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

/* What came with fds is received by a porter: it is served in the turns after that. */
static void receive_turns(void)
{
    turns(1);
    while (porter_count((uintptr_t)&dev) > 0) {
        turns(1);
    }
    turns(2);
}

static void send_step(int sock, const struct step *step)
{
    uint8_t bytes[VHOST_HEADER_BYTES + 512] = {0};
    uint32_t request = step->request % 48;
    uint32_t len = good_payload(request, bytes + VHOST_HEADER_BYTES);
    uint32_t header[3] = {request, VHOST_FLAG_VERSION | (step->how & VHOST_FLAG_NEED_REPLY), len};
    size_t first, total = VHOST_HEADER_BYTES + len;
    int fds[2];
    unsigned fd_count = choose_fds(request, step->how, fds);
    int state = request == VHOST_SET_DEVICE_STATE_FD ? state_pipe(step) : -1;

    if (state >= 0 && (step->how & 3) < 3) {
        fds[0] = state;
        fd_count = 1;
    }
    if (step->how & 16) {
        header[2] = step->value * 4u;
    }
    memcpy(bytes, header, sizeof(header));
    if (step->how & 32) {
        bytes[step->offset % total] ^= step->value;
    }
    first = step->how & 128 ? 1 + step->offset % total : total;
    (void)vhost_send_bytes(sock, bytes, first, fds, fd_count); /* the peer may have closed */
    receive_turns();
    (void)vhost_send_bytes(sock, bytes + first, total - first, NULL, 0);
    receive_turns();
    while (recv(sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    if (state >= 0) {
        close(state);
    }
}

/* One request, flush, which needs no data. */
static void kick(const struct step *step)
{
    struct piece pieces[] = {piece_out(GUEST + 65536, 16), piece_in(GUEST + 65552, 1)};
    uint64_t one = 1;

    memset(arena_at(&arena, GUEST + 65536), step->value & 15, 1);
    if (drv.free_count >= 2) {
        driver_offer(&drv, driver_chain(&drv, pieces, 2));
    }
    (void)!write(event_fd, &one, sizeof(one));
    turns(2);
}

static void end_connection(int sock)
{
    struct vhost_user_peer peer;
    unsigned left = PATIENCE_TURNS;

    close(sock);
    receive_turns();
    while (vhost_user_peer(vu, &peer) && left-- > 0) {
        turns(1);
    }
    assert(!vhost_user_peer(vu, &peer));
    assert(dev.lanes.first.flight.guest == 0);
    assert(device_rings_running(&dev) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct step step;
    int sock;

    if (!vu) {
        set_up();
    }
    driver_reset(&drv, 0);
    memset(arena.host + INFLIGHT_AT, 0, INFLIGHT_BYTES);
    sock = vhost_connect(path);
    assert(sock >= 0);
    turns(2);
    for (size_t at = 0; at + sizeof(step) <= size; at += sizeof(step)) {
        memcpy(&step, data + at, sizeof(step));
        if (step.how & 64) {
            kick(&step);
        } else {
            send_step(sock, &step);
        }
    }
    end_connection(sock);
    return 0;
}
