/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Front-ends that say and hand in what they should not, or do not listen. */

#include "tests/e2e/hostile_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE 4096u

static struct vhost_mem_reg_msg slot_of(const struct frontend *fe, unsigned index)
{
    return (struct vhost_mem_reg_msg){
        .region = {.guest_addr = (1ull << 40) + index * (uint64_t)PAGE,
                   .size = PAGE,
                   .user_addr = (1ull << 40) + index * (uint64_t)PAGE,
                   .offset = index % (fe->arena.size / PAGE) * (uint64_t)PAGE}};
}

/* The same file for memory, kicks, calls and the logs, many times over. */
static void same_fd(struct frontend *fe)
{
    static const uint32_t requests[] = {VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK,
                                        VHOST_SET_VRING_ERR};
    int fd = hostile_below(2) ? fe->ring[0].fds->kick : fe->arena.fd;
    uint64_t index = hostile_below(2);
    const struct vhost_mem_reg_msg slot[] = {slot_of(fe, 0), slot_of(fe, 1), slot_of(fe, 1)};

    for (unsigned i = 0; i < ARRAY_SIZE(slot); i++) {
        hostile_send(fe, VHOST_ADD_MEM_REG, &slot[i], sizeof(slot[i]), &fe->arena.fd, 1);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        hostile_send(fe, requests[i], &index, sizeof(index), &fd, 1);
    }
}

/* ---- files that are none of those that are asked for ---- */

static int sealed_file(unsigned seals)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && ftruncate(fd, 1 << 20) == 0) {
        (void)fcntl(fd, F_ADD_SEALS, seals);
    }
    return fd;
}

static int readonly_file(void)
{
    char path[48];
    int fd = sealed_file(0);
    int again;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    return again;
}

/* Where the host has no such pages, they cannot be touched. */
static int huge_file(void)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_HUGETLB);

    if (fd >= 0) {
        (void)!ftruncate(fd, 2 << 20);
    }
    return fd >= 0 ? fd : sealed_file(F_SEAL_WRITE);
}

/* The other end is closed, if there is one. */
static int odd_file(unsigned kind)
{
    int ends[2];

    switch (kind) {
    case 0:
        return sealed_file(F_SEAL_WRITE);
    case 1:
        return sealed_file(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    case 2:
        return readonly_file();
    case 3:
        return huge_file();
    case 4:
    case 5:
        if (pipe2(ends, O_CLOEXEC) < 0) {
            return -1;
        }
        close(ends[kind == 4]);
        return ends[kind != 4];
    case 6:
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) < 0) {
            return -1;
        }
        close(ends[1]);
        return ends[0];
    case 7:
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 8:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 9:
        return open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    default:
        return eventfd(0, EFD_CLOEXEC);
    }
}

static void odd_fds(struct frontend *fe)
{
    static const uint32_t requests[] = {
        VHOST_SET_MEM_TABLE,   VHOST_ADD_MEM_REG,        VHOST_SET_LOG_BASE,
        VHOST_SET_INFLIGHT_FD, VHOST_SET_VRING_KICK,     VHOST_SET_VRING_CALL,
        VHOST_SET_VRING_ERR,   VHOST_SET_BACKEND_REQ_FD, VHOST_GET_FEATURES};
    const struct vhost_mem_reg_msg slot = slot_of(fe, 0);
    const struct vhost_mem_table_msg table = {.count = 1, .region = {slot.region}};
    const struct vhost_log_msg log = {.size = PAGE};
    const struct vhost_inflight_msg inflight = {
        .mmap_size = 2 * PAGE, .num_queues = 2, .queue_size = 64};
    const uint64_t index = 0;
    const struct {
        const void *payload;
        uint32_t len;
    } payloads[] = {{&table, 8 + sizeof(slot.region)},
                    {&slot, sizeof(slot)},
                    {&log, sizeof(log)},
                    {&inflight, sizeof(inflight)},
                    {&index, sizeof(index)},
                    {&index, sizeof(index)},
                    {&index, sizeof(index)},
                    {NULL, 0},
                    {NULL, 0}};
    unsigned which = hostile_below(ARRAY_SIZE(requests));
    int fd = odd_file(hostile_below(11));

    if (fd >= 0) {
        hostile_send(fe, requests[which], payloads[which].payload, payloads[which].len, &fd, 1);
        close(fd);
    }
    hostile_send(fe, 77, NULL, 0, NULL, 0); /* in case that was taken */
}

/* As many as there may be, and more; some go again. */
static void regions(struct frontend *fe)
{
    for (unsigned i = 0; i < 1000; i++) {
        const struct vhost_mem_reg_msg slot = slot_of(fe, i);

        hostile_send(fe, VHOST_ADD_MEM_REG, &slot, sizeof(slot), &fe->arena.fd, 1);
        if (hostile_below(8) == 0) {
            hostile_send(fe, VHOST_REM_MEM_REG, &slot, sizeof(slot), NULL, 0);
        }
    }
}

/* ---- who does not listen, or not to the end ---- */

static void unread(struct frontend *fe)
{
    const uint32_t header[3] = {VHOST_GET_FEATURES, VHOST_FLAG_VERSION, 0};
    int sock = frontend_sock(fe);

    (void)fcntl(sock, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < 20000; i++) {
        if (vhost_send_bytes(sock, header, sizeof(header), NULL, 0) < 0) {
            return;
        }
    }
}

static void half(struct frontend *fe)
{
    const struct vhost_mem_reg_msg slot = slot_of(fe, 0);
    uint8_t bytes[VHOST_HEADER_BYTES + sizeof(slot)];
    const uint32_t header[3] = {VHOST_ADD_MEM_REG, VHOST_FLAG_VERSION, sizeof(slot)};

    memcpy(bytes, header, sizeof(header));
    memcpy(bytes + sizeof(header), &slot, sizeof(slot));
    (void)vhost_send_bytes(frontend_sock(fe), bytes, 1 + hostile_below(sizeof(bytes) - 1),
                           &fe->arena.fd, 1);
}

/* With one byte of a header, again and again, which is no message yet. */
static void bare_fds(struct frontend *fe)
{
    const int fds[] = {fe->arena.fd, fe->ring[0].fds->kick, STDIN_FILENO};
    uint8_t byte = (uint8_t)VHOST_SET_OWNER;

    for (unsigned i = 0; i < VHOST_HEADER_BYTES; i++) {
        (void)vhost_send_bytes(frontend_sock(fe), &byte, 1, fds, 1 + hostile_below(3));
        byte = 0;
    }
}

static void noise(struct frontend *fe)
{
    uint8_t bytes[512];

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)hostile_random();
    }
    (void)vhost_send_bytes(frontend_sock(fe), bytes, sizeof(bytes), NULL, 0);
}

/* Messages that are answered, as fast as they are. */
static void chatter(struct frontend *fe)
{
    uint64_t features;
    unsigned rounds = 20;

    while (rounds-- > 0 || hostile_goes_on()) {
        if (frontend_get_u64(fe, VHOST_GET_FEATURES, &features) < 0) {
            return;
        }
    }
}

/* Rules that are broken, one after the other: each a line of the log, if nobody counted. */
static void breaks(struct frontend *fe)
{
    const struct vhost_vring_state_msg state = {.index = 9999, .num = hostile_below(9999)};

    hostile_send(fe, VHOST_SET_VRING_NUM, &state, sizeof(state), NULL, 0);
}

/* ---- the log of a migration ---- */

static void log_features(struct frontend *fe)
{
    uint64_t protocol = frontend_protocol_features(fe) | 1u << VHOST_P_LOG_SHMFD;
    uint64_t features =
        fe->blk.features | 1ull << VHOST_F_LOG_ALL | 1ull << VHOST_F_PROTOCOL_FEATURES;

    hostile_send(fe, VHOST_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), NULL, 0);
    hostile_send(fe, VHOST_SET_FEATURES, &features, sizeof(features), NULL, 0);
}

static void log_shrinks(struct frontend *fe)
{
    const struct vhost_log_msg log = {.size = 64 * PAGE};
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    (void)!ftruncate(fd, 64 * PAGE);
    log_features(fe);
    hostile_send(fe, VHOST_SET_LOG_BASE, &log, sizeof(log), &fd, 1);
    hostile_load(fe);
    (void)!ftruncate(fd, 0);
    hostile_load(fe);
    hostile_kick(&fe->ring[0]);
    hostile_kick(&fe->ring[1]);
    close(fd);
}

/* In the guest's own memory, too short, past its end, or of no size. */
static void log_lies(struct frontend *fe)
{
    const struct vhost_log_msg log = {.size = hostile_below(3) * 8192ull,
                                      .offset = hostile_below(4) * 4096ull * 1024};

    hostile_load(fe);
    log_features(fe);
    hostile_send(fe, VHOST_SET_LOG_BASE, &log, sizeof(log), &fe->arena.fd, 1);
    hostile_load(fe);
}

#define MESSAGES(name, round) \
    {                         \
        name, false, round    \
    }

const struct hostile hostile_messages[] = {
    MESSAGES("same-fd", same_fd), MESSAGES("odd-fds", odd_fds),
    MESSAGES("regions", regions), MESSAGES("unread", unread),
    MESSAGES("half", half),       MESSAGES("bare-fds", bare_fds),
    MESSAGES("garbage", noise),   MESSAGES("chatter", chatter),
    MESSAGES("breaks", breaks),   {"log-shrinks", true, log_shrinks},
    {"log-lies", true, log_lies}, {0},
};
