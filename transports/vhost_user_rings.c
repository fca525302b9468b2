/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transports/vhost_user_msgs.h"

static bool index_ok(struct vu_session *session, uint32_t index)
{
    if (index < session->dev->queues) {
        return true;
    }
    err_say(&session->err, -EPROTO, "ring %u of a device with %u", index, session->dev->queues);
    return false;
}

/* A ring that runs cannot change, but to say again what it is does no harm. */
enum vu_verdict vu_set_vring_num(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_state *state = &msg->payload.state;
    const struct device_ring *ring;

    if (!index_ok(session, state->index)) {
        return VU_BAD;
    }
    ring = &session->dev->ring[state->index];
    if (ring->ring.is_started && ring->size == state->num) {
        return VU_DONE;
    }
    return vu_verdict_of(
        device_ring_set_size(session->dev, state->index, state->num, &session->err));
}

static bool same_addr(const struct device_ring *ring, const struct device_ring_addr *addr)
{
    return ring->ring.is_started && ring->addr.desc == addr->desc &&
           ring->addr.used == addr->used && ring->addr.avail == addr->avail;
}

/* The log address counts with its flag only, and some front-ends fill it in without. */
enum vu_verdict vu_set_vring_addr(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_addr *payload = &msg->payload.addr;
    const struct device_ring_addr addr = {
        .desc = payload->desc, .used = payload->used, .avail = payload->avail};

    if (!index_ok(session, payload->index)) {
        return VU_BAD;
    }
    if (payload->flags & VHOST_USER_VRING_F_LOG) {
        return vu_fault(session, VU_BAD, "ring %u: logging of writes was not offered",
                        payload->index);
    }
    if (same_addr(&session->dev->ring[payload->index], &addr)) {
        return VU_DONE;
    }
    return vu_verdict_of(device_ring_set_addr(session->dev, payload->index, &addr, &session->err));
}

enum vu_verdict vu_set_vring_base(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_state *state = &msg->payload.state;

    if (!index_ok(session, state->index)) {
        return VU_BAD;
    }
    return vu_verdict_of(
        device_ring_set_base(session->dev, state->index, state->num, &session->err));
}

static enum vu_verdict stop_ring(struct vu_session *session, struct vu_msg *msg)
{
    struct vhost_user_vring_state *state = &msg->payload.state;

    state->num = device_ring_stop(session->dev, state->index);
    msg->header.size = sizeof(*state);
    vu_memory_settle(session);
    return VU_REPLY;
}

/* Source: vhost-user, "Ring states": this message stops the ring. */
enum vu_verdict vu_get_vring_base(struct vu_session *session, struct vu_msg *msg)
{
    if (!index_ok(session, msg->payload.state.index)) {
        return VU_BAD;
    }
    return vu_wait_for_ring(session, msg->payload.state.index, stop_ring);
}

/*
 * An eventfd, or the pipe that takes its place where there are none.  Anything else may be
 * readable for ever, or block the disk's thread: a file of a network or FUSE filesystem.
 * Source: vhost-user, "Support for platforms other than Linux".
 */
static bool is_event_fd(int fd)
{
    static const char eventfd_link[] = "anon_inode:[eventfd]";
    char path[32], link[sizeof(eventfd_link)];
    struct stat st;
    ssize_t len;

    if (fstat(fd, &st) < 0 || S_ISFIFO(st.st_mode)) {
        return S_ISFIFO(st.st_mode);
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    len = readlink(path, link, sizeof(link));
    return (st.st_mode & S_IFMT) == 0 &&
           (len < 0 || (len == sizeof(link) - 1 && memcmp(link, eventfd_link, (size_t)len) == 0));
}

/* Neither reading nor writing may ever wait; `wrong_mode` is O_RDONLY or O_WRONLY. */
static bool prepare_fd(int fd, int wrong_mode)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != wrong_mode && is_event_fd(fd) &&
           ((flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

/* What a message with a ring's fd says: the ring, and the fd or -1 for "none". */
static bool ring_fd(struct vu_session *session, const struct vu_msg *msg, int wrong_mode,
                    unsigned *index, int *fd)
{
    bool says_none = msg->payload.u64 & VHOST_USER_VRING_NO_FD;

    *index = msg->payload.u64 & VHOST_USER_VRING_INDEX_MASK;
    *fd = msg->fd_count > 0 ? msg->fd[0] : -1;
    if (!index_ok(session, *index)) {
        return false;
    }
    if (says_none != (*fd < 0)) {
        err_say(&session->err, -EPROTO, "ring %u: %s", *index,
                says_none ? "an fd came with the flag that says there is none"
                          : "no fd came, nor the flag that says so");
        return false;
    }
    if (*fd >= 0 && !prepare_fd(*fd, wrong_mode)) {
        err_say(&session->err, -EPROTO, "ring %u: what came is no eventfd", *index);
        return false;
    }
    return true;
}

/* The device has taken the fd if it was content with it. */
static enum vu_verdict fd_given(struct vu_msg *msg, int ret)
{
    if (ret >= 0) {
        msg->fd[0] = -1;
    }
    return vu_verdict_of(ret);
}

/*
 * A kick fd is what starts a ring.
 * Source: vhost-user, "Ring states": enabled at once if the protocol feature bit is not
 * negotiated, else by SET_VRING_ENABLE.
 */
enum vu_verdict vu_set_vring_kick(struct vu_session *session, struct vu_msg *msg)
{
    struct device *dev = session->dev;
    unsigned index;
    int fd;
    int ret = 0;

    if (!ring_fd(session, msg, O_WRONLY, &index, &fd)) {
        return VU_BAD;
    }
    if (fd < 0) {
        return vu_fault(session, VU_BAD, "ring %u: polling without a kick fd is not supported",
                        index);
    }
    if (!session->has_protocol_features) {
        ret = device_ring_enable(dev, index, true, &session->err);
    }
    if (ret == 0) {
        ret = device_ring_set_kick(dev, index, fd, &session->err);
    }
    return fd_given(msg, ret);
}

enum vu_verdict vu_set_vring_call(struct vu_session *session, struct vu_msg *msg)
{
    unsigned index;
    int fd;

    if (!ring_fd(session, msg, O_RDONLY, &index, &fd)) {
        return VU_BAD;
    }
    return fd_given(msg, device_ring_set_call(session->dev, index, fd, &session->err));
}

enum vu_verdict vu_set_vring_err(struct vu_session *session, struct vu_msg *msg)
{
    unsigned index;
    int fd;

    if (!ring_fd(session, msg, O_RDONLY, &index, &fd)) {
        return VU_BAD;
    }
    return fd_given(msg, device_ring_set_err(session->dev, index, fd, &session->err));
}

enum vu_verdict vu_set_vring_enable(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_state *state = &msg->payload.state;

    if (!index_ok(session, state->index)) {
        return VU_BAD;
    }
    if (state->num > 1) {
        return vu_fault(session, VU_BAD, "ring %u: %u is neither on nor off", state->index,
                        state->num);
    }
    return vu_verdict_of(
        device_ring_enable(session->dev, state->index, state->num == 1, &session->err));
}

static enum vu_verdict stop_all(struct vu_session *session, struct vu_msg *msg)
{
    struct device *dev = session->dev;

    (void)msg;
    for (unsigned i = 0; i < dev->queues; i++) {
        (void)device_ring_stop(dev, i);
        (void)device_ring_enable(dev, i, false, NULL); /* the index is good: it cannot fail */
    }
    vu_memory_settle(session);
    return VU_DONE;
}

/*
 * RESET_DEVICE and RESET_OWNER: all rings stopped and disabled.  Memory stays, for QEMU keeps
 * count of the regions that it has shared and does not share them again after a reset.
 * Source: vhost-user, "VHOST_USER_RESET_DEVICE", "VHOST_USER_RESET_OWNER"; QEMU 10.0,
 * hw/virtio/vhost-user.c, shadow_regions.
 */
enum vu_verdict vu_reset_rings(struct vu_session *session, struct vu_msg *msg)
{
    (void)msg;
    return vu_wait_for_device(session, stop_all);
}
