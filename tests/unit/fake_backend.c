/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fake_backend.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INFLIGHT_BYTES 8192u /* at an offset of as much */
#define CONFIG_CHANGE 2      /* a back-end message */

struct message {
    struct {
        uint32_t request;
        uint32_t flags;
        uint32_t size;
    } header;
    union {
        uint64_t u64;
        struct vhost_vring_state_msg state;
        struct vhost_vring_addr_msg addr;
        struct vhost_mem_table_msg table;
        struct vhost_config_msg config;
        struct vhost_inflight_msg inflight;
        uint8_t bytes[VHOST_MAX_PAYLOAD];
    } payload;
    int fd[VHOST_MAX_FDS];
    unsigned fd_count;
};

static bool receive(int sock, struct message *msg)
{
    struct iovec iov = {&msg->header, sizeof(msg->header)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_MAX_FDS)];
    } control;
    struct msghdr hdr = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *cmsg;

    msg->fd_count = 0;
    if (recvmsg(sock, &hdr, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof(msg->header)) {
        return false;
    }
    cmsg = CMSG_FIRSTHDR(&hdr);
    if (cmsg) {
        msg->fd_count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(msg->fd, CMSG_DATA(cmsg), sizeof(int) * msg->fd_count);
    }
    assert(msg->header.size <= sizeof(msg->payload));
    return msg->header.size == 0 || recv(sock, msg->payload.bytes, msg->header.size, MSG_WAITALL) ==
                                        (ssize_t)msg->header.size;
}

static void reply_fds(struct fake_backend *fake, struct message *msg, uint32_t size, int fd,
                      unsigned count)
{
    struct iovec iov[2] = {{&msg->header, sizeof(msg->header)}, {&msg->payload, size}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_MAX_FDS)];
    } control = {0};
    struct msghdr hdr = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t ret;

    if (count > 0) {
        hdr.msg_control = control.bytes;
        hdr.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * count),
                                         .cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS};
        for (unsigned i = 0; i < count; i++) {
            memcpy(CMSG_DATA(&control.align) + sizeof(int) * i, &fd, sizeof(fd));
        }
    }

    msg->header.flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY;
    msg->header.size = size;
    (void)poll(NULL, 0, (int)fake->opts.delay_ms);
    ret = sendmsg(fake->sock, &hdr, MSG_NOSIGNAL);
    (void)ret; /* a front-end that has left is what some tests are about */
}

static void reply(struct fake_backend *fake, struct message *msg, uint32_t size)
{
    reply_fds(fake, msg, size, -1, 0);
}

static void send_on_channel(struct fake_backend *fake, uint32_t flags)
{
    const uint32_t header[3] = {CONFIG_CHANGE, VHOST_FLAG_VERSION | flags, 0};
    ssize_t ret = send(fake->channel, header, sizeof(header), MSG_NOSIGNAL);

    assert(ret == sizeof(header));
}

/* The deadlock that a front-end has to avoid: nothing goes on until it answers. */
static void ask_first(struct fake_backend *fake)
{
    uint32_t words[5];

    send_on_channel(fake, VHOST_FLAG_NEED_REPLY);
    if (recv(fake->channel, words, sizeof(words), MSG_WAITALL) == sizeof(words) &&
        words[0] == CONFIG_CHANGE && words[3] == 0) {
        fake->channel_answers++;
    }
}

static uint64_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void get(struct fake_backend *fake, struct message *msg, uint64_t value)
{
    msg->payload.u64 = value;
    reply(fake, msg, sizeof(value));
}

static void get_config(struct fake_backend *fake, struct message *msg)
{
    memset(msg->payload.config.data, 0, msg->payload.config.size);
    memcpy(msg->payload.config.data, &fake->opts.capacity, sizeof(fake->opts.capacity));
    reply(fake, msg, msg->header.size);
}

static void get_inflight(struct fake_backend *fake, struct message *msg)
{
    struct vhost_inflight_msg *inflight = &msg->payload.inflight;
    int fd = memfd_create("inflight", MFD_CLOEXEC);

    assert(fd >= 0);
    fake->inflight = *inflight;
    fake->inflight_inode = inode_of(fd);
    *inflight = (struct vhost_inflight_msg){0};
    if (!fake->opts.tracks_nothing) {
        inflight->mmap_size = inflight->mmap_offset = INFLIGHT_BYTES;
    }
    reply_fds(fake, msg, sizeof(*inflight), fd, fake->opts.inflight_fds);
    close(fd);
}

/* Returns false for a message that has no answer of its own. */
static bool answer(struct fake_backend *fake, struct message *msg)
{
    switch (msg->header.request) {
    case VHOST_GET_FEATURES:
        get(fake, msg, fake->opts.features);
        return true;
    case VHOST_GET_PROTOCOL_FEATURES:
        get(fake, msg, fake->opts.protocol_features);
        return true;
    case VHOST_GET_QUEUE_NUM:
        get(fake, msg, FAKE_RINGS);
        return true;
    case VHOST_GET_CONFIG:
        get_config(fake, msg);
        return true;
    case VHOST_GET_INFLIGHT_FD:
        get_inflight(fake, msg);
        return true;
    case VHOST_GET_VRING_BASE:
        if (fake->opts.asks_first) {
            ask_first(fake);
        }
        (void)poll(NULL, 0, (int)fake->opts.drain_ms);
        msg->payload.state.num = fake->opts.base ? fake->opts.base : FAKE_BASE;
        reply(fake, msg, sizeof(msg->payload.state));
        return true;
    default:
        return false;
    }
}

/* Until the channel is shut down. */
static void *flood(void *arg)
{
    struct fake_backend *fake = arg;
    uint32_t messages[100][3];

    for (unsigned i = 0; i < ARRAY_SIZE(messages); i++) {
        messages[i][0] = CONFIG_CHANGE;
        messages[i][1] = VHOST_FLAG_VERSION;
        messages[i][2] = 0;
    }
    while (send(fake->channel, messages, sizeof(messages), MSG_NOSIGNAL) > 0) {
    }
    return NULL;
}

static void open_channel(struct fake_backend *fake, int fd)
{
    fake->channel = fd;
    for (unsigned i = 0; fake->opts.floods && i < FAKE_FLOODS; i++) {
        if (pthread_create(&fake->flood[i], NULL, flood, fake) != 0) {
            abort();
        }
    }
}

static void note(struct fake_backend *fake, struct message *msg)
{
    struct fake_ring *ring = &fake->ring[msg->payload.state.index % FAKE_RINGS];

    switch (msg->header.request) {
    case VHOST_SET_FEATURES:
        fake->features = msg->payload.u64;
        break;
    case VHOST_SET_PROTOCOL_FEATURES:
        fake->protocol_features = msg->payload.u64;
        break;
    case VHOST_SET_MEM_TABLE:
        fake->regions = msg->payload.table.count;
        break;
    case VHOST_ADD_MEM_REG:
        fake->regions++;
        break;
    case VHOST_SET_INFLIGHT_FD:
        fake->inflight_set = msg->payload.inflight;
        fake->inflight_set_inode = msg->fd_count == 1 ? inode_of(msg->fd[0]) : 0;
        break;
    case VHOST_SET_VRING_NUM:
        ring->size = msg->payload.state.num;
        break;
    case VHOST_SET_VRING_BASE:
        ring->base = msg->payload.state.num;
        break;
    case VHOST_SET_VRING_ADDR:
        ring->addr = msg->payload.addr;
        break;
    case VHOST_SET_VRING_KICK:
        ring->has_kick = msg->fd_count == 1;
        break;
    case VHOST_SET_VRING_CALL:
        ring->has_call = msg->fd_count == 1;
        break;
    case VHOST_SET_VRING_ENABLE:
        ring->is_enabled = msg->payload.state.num == 1;
        break;
    case VHOST_SET_BACKEND_REQ_FD:
        open_channel(fake, msg->fd[0]);
        msg->fd_count = 0;
        break;
    default:
        break;
    }
}

static void acknowledge(struct fake_backend *fake, struct message *msg)
{
    if (msg->header.flags & VHOST_FLAG_NEED_REPLY) {
        msg->payload.u64 = msg->header.request == fake->opts.refuse;
        reply(fake, msg, sizeof(uint64_t));
    }
}

static void serve(struct fake_backend *fake)
{
    struct message msg;

    while (receive(fake->sock, &msg)) {
        uint32_t request = msg.header.request;

        fake->seen[request % ARRAY_SIZE(fake->seen)]++;
        fake->order[fake->order_count++ % ARRAY_SIZE(fake->order)] = request;
        if (request == fake->opts.hang_up) {
            return;
        }
        note(fake, &msg);
        for (unsigned i = 0; i < msg.fd_count; i++) {
            close(msg.fd[i]);
        }
        if (request != fake->opts.mute && !answer(fake, &msg)) {
            acknowledge(fake, &msg);
        }
        if (request == fake->opts.leave_after) {
            return;
        }
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void close_channel(struct fake_backend *fake)
{
    if (fake->opts.floods && fake->channel >= 0) {
        shutdown(fake->channel, SHUT_RDWR);
        for (unsigned i = 0; i < FAKE_FLOODS; i++) {
            pthread_join(fake->flood[i], NULL);
        }
    }
    close_fd(&fake->channel);
}

/* Close the one that is there. */
static void set_sock(struct fake_backend *fake, int sock)
{
    pthread_mutex_lock(&fake->lock);
    close_fd(&fake->sock);
    fake->sock = sock;
    pthread_mutex_unlock(&fake->lock);
}

static void *run(void *arg)
{
    struct fake_backend *fake = arg;

    for (;;) {
        int sock = accept(fake->listen_fd, NULL, NULL);

        if (sock < 0) {
            return NULL;
        }
        set_sock(fake, sock);
        fake->connections++;
        if (!fake->is_ending) {
            serve(fake);
        }
        close_channel(fake);
        set_sock(fake, -1);
        if (fake->is_ending) {
            return NULL;
        }
    }
}

void fake_return(struct fake_backend *fake, const struct fake_opts *opts)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    fake->opts = *opts;
    fake->sock = -1;
    fake->channel = -1;
    fake->regions = 0;
    fake->features = 0;
    memset(fake->ring, 0, sizeof(fake->ring));
    memset(fake->seen, 0, sizeof(fake->seen));
    fake->order_count = 0;
    fake->is_ending = false;
    unlink(fake->path);
    strcpy(addr.sun_path, fake->path);
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fake->listen_fd >= 0);
    if (bind(fake->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fake->listen_fd, 4) < 0 || pthread_create(&fake->thread, NULL, run, fake) != 0) {
        abort();
    }
}

void fake_start(struct fake_backend *fake, const struct fake_opts *opts)
{
    memset(fake, 0, sizeof(*fake));
    pthread_mutex_init(&fake->lock, NULL);
    strcpy(fake->dir, "/tmp/vblk-fake-XXXXXX");
    if (!mkdtemp(fake->dir)) {
        abort();
    }
    snprintf(fake->path, sizeof(fake->path), "%s/disk.sock", fake->dir);
    fake_return(fake, opts);
}

void fake_leave(struct fake_backend *fake)
{
    fake->is_ending = true;
    shutdown(fake->listen_fd, SHUT_RDWR);
    pthread_mutex_lock(&fake->lock);
    if (fake->sock >= 0) {
        shutdown(fake->sock, SHUT_RDWR);
    }
    pthread_mutex_unlock(&fake->lock);
    pthread_join(fake->thread, NULL);
    close_fd(&fake->listen_fd);
}

void fake_change_config(struct fake_backend *fake, uint64_t capacity)
{
    fake->opts.capacity = capacity;
    send_on_channel(fake, 0);
}

void fake_end(struct fake_backend *fake)
{
    fake_leave(fake);
    unlink(fake->path);
    rmdir(fake->dir);
}
