/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_given.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device/device_given.h"
#include "transports/vhost_user_session.h"

void vu_given_init(struct vu_given *given)
{
    *given = (struct vu_given){.listener = {.fd = -1, .lock_fd = -1}, .fd = -1};
}

static void close_given(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void vu_given_fini(struct vu_given *given, bool ours)
{
    for (unsigned i = 0; ours && i < given->count; i++) {
        close_given(&given->msg[i].fd);
    }
    for (unsigned i = 0; ours && i < given->fd_count; i++) {
        close_given(&given->fds[i]);
    }
    if (ours) {
        close_given(&given->fd);
        close_given(&given->listener.fd);
        close_given(&given->listener.lock_fd);
    }
    free(given->msg);
    given->msg = NULL;
    given->count = 0;
    given->fd_count = 0;
}

/* ---- give ---- */

/* Room for all that there can be: messages of the connection, of memory, of each ring. */
#define MOST_MESSAGES (8u + MEM_MAX_REGIONS + 8u * BLK_MAX_QUEUES)

static void add_msg(struct vu_given *given, uint32_t request, const void *payload, size_t size,
                    int fd)
{
    struct vu_given_msg *msg = &given->msg[given->count++];

    assert(given->count <= MOST_MESSAGES && size <= sizeof(msg->payload));
    *msg = (struct vu_given_msg){
        .header = {.request = request, .flags = VHOST_USER_VERSION, .size = (uint32_t)size},
        .fd = fd,
    };
    memcpy(msg->payload, payload, size);
}

static void add_u64(struct vu_given *given, uint32_t request, uint64_t value, int fd)
{
    add_msg(given, request, &value, sizeof(value), fd);
}

static void give_features(struct vu_given *given, const struct vu_session *session)
{
    const struct device *dev = session->dev;
    uint64_t features = device_accepted(dev);

    if (session->has_protocol_features) {
        features |= VHOST_USER_F_PROTOCOL_FEATURES;
    }
    if (device_wants_log(dev)) {
        features |= VHOST_USER_F_LOG_ALL;
    }
    add_u64(given, VHOST_USER_SET_PROTOCOL_FEATURES, session->protocol_features, -1);
    if (session->has_features) {
        add_u64(given, VHOST_USER_SET_FEATURES, features, -1);
    }
    if (session->status) {
        add_u64(given, VHOST_USER_SET_STATUS, session->status, -1);
    }
    if (session->backend_fd >= 0) {
        add_msg(given, VHOST_USER_SET_BACKEND_REQ_FD, "", 0, session->backend_fd);
    }
}

static int refuse_fd(struct err *err, const char *what)
{
    err_say(err, -ENOTSUP, "no file descriptor was left to keep one of %s", what);
    err_hint(err,
             "raise the limit of open files (LimitNOFILE=, ulimit -n), and start the guest anew");
    return -ENOTSUP;
}

/* One by one, and not as a table, which has no more than eight. */
static int give_memory(struct vu_given *given, const struct vu_session *session, struct err *err)
{
    struct mem_layout layout;
    int fd;

    for (unsigned i = 0; device_give_region(session->dev, i, &layout, &fd) == 0; i++) {
        const struct vhost_user_single_region single = {
            .region = {.guest_addr = layout.guest_addr,
                       .size = layout.size,
                       .user_addr = layout.user_addr,
                       .mmap_offset = layout.offset},
        };

        if (fd < 0) {
            return refuse_fd(err, "its guest's memory");
        }
        add_msg(given, VHOST_USER_ADD_MEM_REG, &single, sizeof(single), fd);
    }
    return 0;
}

static int give_logs(struct vu_given *given, const struct vu_session *session, struct err *err)
{
    struct device_given_log dirty;
    struct device_given_log inflight;

    device_give_dirty_log(session->dev, &dirty);
    device_give_inflight_log(session->dev, &inflight);
    if ((dirty.is_there && dirty.fd < 0) || (inflight.is_there && inflight.fd < 0)) {
        return refuse_fd(err, "the logs of its front-end");
    }
    if (dirty.is_there) {
        const struct vhost_user_log log = {.size = dirty.bytes, .offset = dirty.offset};

        add_msg(given, VHOST_USER_SET_LOG_BASE, &log, sizeof(log), dirty.fd);
    }
    if (inflight.is_there) {
        const struct vhost_user_inflight log = {.mmap_size = inflight.bytes,
                                                .mmap_offset = inflight.offset,
                                                .num_queues = (uint16_t)inflight.queues};

        add_msg(given, VHOST_USER_SET_INFLIGHT_FD, &log, sizeof(log), inflight.fd);
    }
    return 0;
}

static void add_state(struct vu_given *given, uint32_t request, unsigned index, uint32_t value)
{
    const struct vhost_user_vring_state state = {.index = index, .num = value};

    add_msg(given, request, &state, sizeof(state), -1);
}

static void give_parts(struct vu_given *given, unsigned index, const struct device_given_ring *ring)
{
    const struct vhost_user_vring_addr addr = {
        .index = index,
        .flags = ring->is_logged ? VHOST_USER_VRING_F_LOG : 0,
        .desc = ring->addr.desc,
        .used = ring->addr.used,
        .avail = ring->addr.avail,
        .log = ring->log_addr,
    };

    if (ring->size) {
        add_state(given, VHOST_USER_SET_VRING_NUM, index, ring->size);
    }
    if (ring->has_base) {
        add_state(given, VHOST_USER_SET_VRING_BASE, index, ring->base);
    }
    if (ring->has_addr) {
        add_msg(given, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    }
    if (ring->err_fd >= 0) {
        add_u64(given, VHOST_USER_SET_VRING_ERR, index, ring->err_fd);
    }
    if (ring->is_enabled) {
        add_state(given, VHOST_USER_SET_VRING_ENABLE, index, 1);
    }
    given->has_started |= ring->has_started ? BIT(index) : 0;
    given->is_broken |= ring->is_broken ? BIT(index) : 0;
}

/*
 * What a ring holds stands in the log of requests in flight, if there is one, and is tried once
 * more when it starts.
 */
static int give_rings(struct vu_given *given, const struct vu_session *session, struct err *err)
{
    struct device_given_ring ring[BLK_MAX_QUEUES];
    unsigned count = device_queues(session->dev);

    for (unsigned i = 0; i < count; i++) {
        device_give_ring(session->dev, i, &ring[i]);
        if (ring[i].held > 0 && !ring[i].has_inflight_log) {
            (void)err_say(err, -ENOTSUP,
                          "%u of its requests failed and wait, and its front-end keeps no log of "
                          "requests in flight",
                          ring[i].held);
            err_hint(err, "have them tried again first, by a start of the disk");
            return -ENOTSUP;
        }
        give_parts(given, i, &ring[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        if (ring[i].call_fd >= 0) {
            add_u64(given, VHOST_USER_SET_VRING_CALL, i, ring[i].call_fd);
        }
        if (ring[i].kick_fd >= 0) {
            add_u64(given, VHOST_USER_SET_VRING_KICK, i, ring[i].kick_fd);
        }
    }
    return 0;
}

static void give_part_of_message(struct vu_given *given, const struct vu_conn *conn)
{
    const struct vu_msg *msg = &conn->msg;
    size_t header = sizeof(msg->header);

    given->have = conn->have;
    memcpy(given->bytes, &msg->header, header);
    memcpy(given->bytes + header, msg->payload.bytes, VHOST_USER_MAX_PAYLOAD);
    for (unsigned i = 0; i < msg->fd_count; i++) {
        if (msg->fd[i].fd >= 0) {
            given->fds[given->fd_count++] = msg->fd[i].fd;
        }
    }
}

int vu_given_fill(struct vu_given *given, const struct vu_session *session, struct err *err)
{
    int ret;

    given->msg = calloc(MOST_MESSAGES, sizeof(*given->msg));
    if (!given->msg) {
        return err_set(err, -ENOMEM, "what its front-end has told");
    }
    given->fd = session->conn->fd;
    given->read_capacity = session->read_capacity;
    given->is_in_doubt = device_is_in_doubt(session->dev);
    given->is_vouched = device_is_vouched(session->dev);
    give_features(given, session);
    ret = give_memory(given, session, err);
    if (ret == 0) {
        ret = give_logs(given, session, err);
    }
    if (ret == 0) {
        ret = give_rings(given, session, err);
    }
    if (ret == 0) {
        give_part_of_message(given, session->conn);
    }
    return ret;
}

/* ---- take ---- */

static void look_at(struct foreign *foreign, int *fd)
{
    foreign->fd = *fd;
    *fd = -1;
    foreign_look(foreign);
}

static int repeat_one(struct vu_given_msg *given, struct vu_session *session, struct err *err)
{
    struct vu_msg msg = {.header = given->header};

    if (given->header.size > sizeof(given->payload)) {
        return err_say(err, -EPROTO, "a message of %u bytes", given->header.size);
    }
    memcpy(msg.payload.bytes, given->payload, given->header.size);
    if (given->fd >= 0) {
        msg.fd_count = 1;
        look_at(&msg.fd[0], &given->fd);
    }
    return vu_session_repeat(session, &msg, err);
}

/* Does it touch what is the other process's as long as that may go on? */
static bool is_last(const struct vu_given_msg *msg)
{
    return msg->header.request == VHOST_USER_SET_VRING_KICK ||
           msg->header.request == VHOST_USER_SET_VRING_CALL;
}

static int repeat_all(struct vu_given *given, struct vu_session *session, bool are_last,
                      struct err *err)
{
    int ret = 0;

    for (unsigned i = 0; i < given->count && ret == 0; i++) {
        if (is_last(&given->msg[i]) == are_last) {
            ret = repeat_one(&given->msg[i], session, err);
        }
    }
    return ret;
}

static void take_part_of_message(struct vu_given *given, struct vu_conn *conn)
{
    size_t header = sizeof(struct vhost_user_header);
    struct vu_msg msg = {.fd_count = given->fd_count};

    memcpy(&msg.header, given->bytes, header);
    memcpy(msg.payload.bytes, given->bytes + header, VHOST_USER_MAX_PAYLOAD);
    for (unsigned i = 0; i < given->fd_count; i++) {
        look_at(&msg.fd[i], &given->fds[i]);
    }
    given->fd_count = 0;
    vu_conn_take(conn, &msg, given->have);
}

int vu_given_repeat(struct vu_given *given, struct vu_session *session, struct err *err)
{
    int ret = repeat_all(given, session, false, err);

    if (ret < 0) {
        return ret;
    }
    session->read_capacity = given->read_capacity;
    device_take_cache(session->dev, given->is_in_doubt, given->is_vouched);
    take_part_of_message(given, session->conn);
    return 0;
}

/* A ring that has run is no other driver's, and its log is not forgotten: told after its base. */
int vu_given_kick(struct vu_given *given, struct vu_session *session, struct err *err)
{
    unsigned count = device_queues(session->dev);
    int ret;

    for (unsigned i = 0; i < count; i++) {
        if (given->has_started & BIT(i)) {
            device_take_started(session->dev, i);
        }
    }
    ret = repeat_all(given, session, true, err);
    for (unsigned i = 0; i < count && ret == 0; i++) {
        if (given->is_broken & BIT(i)) {
            device_take_broken(session->dev, i);
        }
    }
    vu_session_repeated(session);
    return ret;
}
