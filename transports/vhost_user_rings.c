/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>

#include "transports/vhost_user_msgs.h"

static bool index_ok(struct vu_session *session, uint32_t index)
{
    if (index < device_queues(session->dev)) {
        return true;
    }
    err_say(&session->err, -EPROTO, "ring %u of a device with %u", index,
            device_queues(session->dev));
    return false;
}

/*
 * A ring that runs cannot change, but to say again what it is does no harm.  A disabled one that
 * is told something else is set up anew: nothing of it is in flight, so it is stopped, and starts
 * with the next kick fd.  Some front-ends reset a device by disabling its rings and nothing else.
 * Source: cloud-hypervisor v25.0, virtio-devices/src/vhost_user/vu_common_ctrl.rs,
 * reset_vhost_user; Linux 6.1, arch/um/drivers/virtio_uml.c, vu_del_vqs.
 */
static enum vu_verdict set_up_anew(struct vu_session *session, struct vu_msg *msg)
{
    device_ring_renew(session->dev, (unsigned)session->drain.ring);
    vu_memory_settle(session);
    return session->handler->handle(session, msg);
}

static bool is_disabled(const struct device *dev, unsigned index)
{
    const struct device_ring_told ring = device_ring_told(dev, index);

    return ring.is_running && !ring.is_enabled;
}

enum vu_verdict vu_set_vring_num(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_state *state = &msg->payload.state;
    struct device_ring_told ring;

    if (!index_ok(session, state->index)) {
        return VU_BAD;
    }
    ring = device_ring_told(session->dev, state->index);
    if (ring.is_running && ring.size == state->num) {
        return VU_DONE;
    }
    if (is_disabled(session->dev, state->index)) {
        return vu_wait_for_ring(session, state->index, set_up_anew);
    }
    return vu_verdict_of(
        device_ring_set_size(session->dev, state->index, state->num, &session->err));
}

/*
 * Of a ring that runs only logging can change.  The log address counts with its flag only, and some
 * front-ends fill it in without.
 */
enum vu_verdict vu_set_vring_addr(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_addr *payload = &msg->payload.addr;
    const struct ring_addr addr = {
        .desc = payload->desc, .used = payload->used, .avail = payload->avail};
    bool logs = payload->flags & VHOST_USER_VRING_F_LOG;
    struct device *dev = session->dev;
    bool is_same;
    int ret;

    if (!index_ok(session, payload->index)) {
        return VU_BAD;
    }
    if (logs && !vu_has_log(session)) {
        return vu_fault(session, VU_BAD,
                        "ring %u: its writes cannot be logged, LOG_SHMFD was not negotiated",
                        payload->index);
    }
    is_same = device_ring_told(dev, payload->index).is_running &&
              device_ring_has_addr(dev, payload->index, &addr);
    if (!is_same && is_disabled(dev, payload->index)) {
        return vu_wait_for_ring(session, payload->index, set_up_anew);
    }
    ret = device_ring_set_log(dev, payload->index, logs, payload->log, &session->err);
    if (ret == 0 && !is_same) {
        ret = device_ring_set_addr(dev, payload->index, &addr, &session->err);
    }
    return vu_verdict_of(ret);
}

enum vu_verdict vu_set_vring_base(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_state *state = &msg->payload.state;

    if (!index_ok(session, state->index)) {
        return VU_BAD;
    }
    if (is_disabled(session->dev, state->index) &&
        device_ring_base(session->dev, state->index) != state->num) {
        return vu_wait_for_ring(session, state->index, set_up_anew);
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

/*
 * Has it been agreed that requests may stay in the log of requests in flight when a ring stops?
 * Source: vhost-user, "VHOST_USER_GET_VRING_BASE_SKIP_DRAIN": only with both of the others.
 */
static bool may_suspend(const struct vu_session *session)
{
    const uint64_t needed =
        VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD | VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT;

    return (session->protocol_features & needed) == needed;
}

static bool may_skip_drain(const struct vu_session *session)
{
    return may_suspend(session) &&
           (session->protocol_features & VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN);
}

/*
 * This message stops the ring.  In the protocol's first version of it the feature alone says that
 * requests may be suspended; with a message for that, this one has them all done.
 * Source: vhost-user, "Ring states", "VHOST_USER_GET_VRING_BASE"; QEMU 11.0 for the first version.
 */
enum vu_verdict vu_get_vring_base(struct vu_session *session, struct vu_msg *msg)
{
    unsigned index = msg->payload.state.index;

    if (!index_ok(session, index)) {
        return VU_BAD;
    }
    return may_suspend(session) && !may_skip_drain(session)
               ? vu_wait_to_suspend(session, index, stop_ring)
               : vu_wait_for_ring(session, index, stop_ring);
}

enum vu_verdict vu_get_vring_base_skip_drain(struct vu_session *session, struct vu_msg *msg)
{
    if (!may_skip_drain(session)) {
        return vu_fault(session, VU_BAD,
                        "GET_VRING_BASE_SKIP_DRAIN was not negotiated, or not "
                        "with INFLIGHT_SHMFD and GET_VRING_BASE_INFLIGHT");
    }
    if (!index_ok(session, msg->payload.state.index)) {
        return VU_BAD;
    }
    return vu_wait_to_suspend(session, msg->payload.state.index, stop_ring);
}

/* What a ring's fd may be: bits are of enum foreign_kind. */
#define KIND(kind) (1u << (kind))
#define KICK_KINDS (KIND(FOREIGN_EVENT) | KIND(FOREIGN_PIPE))
#define SIGNAL_KINDS (KICK_KINDS | KIND(FOREIGN_SOCKET))

struct ring_fd {
    unsigned index;
    int fd; /* -1: "none" */
};

/* Neither reading nor writing may ever wait; `wrong_mode` is O_RDONLY or O_WRONLY. */
static bool prepare_fd(int fd, int wrong_mode)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != wrong_mode &&
           ((flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

/*
 * An eventfd, or the pipe that takes its place where there are none; Linux's own virtio_uml is
 * signalled by one end of a socketpair.  Anything else may be readable for ever, or hold up who
 * touches it.
 * Source: vhost-user, "Support for platforms other than Linux"; Linux 6.1,
 * arch/um/drivers/virtio_uml.c, vu_setup_vq_call_fd().
 */
static bool check_fd(struct vu_session *session, const struct foreign *foreign, unsigned kinds,
                     unsigned index)
{
    int wrong_mode = kinds == KICK_KINDS ? O_WRONLY : O_RDONLY;

    if (!(KIND(foreign->kind) & kinds)) {
        err_say(&session->err, -EPROTO, "ring %u: what came is no eventfd but %s", index,
                foreign->what);
        return false;
    }
    if (!prepare_fd(foreign->fd, wrong_mode)) {
        err_say(&session->err, -EPROTO, "ring %u: what came cannot be %s", index,
                wrong_mode == O_WRONLY ? "read" : "written");
        return false;
    }
    return true;
}

/* What a message with a ring's fd says. */
static bool parse_ring_fd(struct vu_session *session, const struct vu_msg *msg, unsigned kinds,
                          struct ring_fd *given)
{
    bool says_none = msg->payload.u64 & VHOST_USER_VRING_NO_FD;

    given->index = msg->payload.u64 & VHOST_USER_VRING_INDEX_MASK;
    given->fd = msg->fd_count > 0 ? msg->fd[0].fd : -1;
    if (!index_ok(session, given->index)) {
        return false;
    }
    if (says_none != (msg->fd_count == 0)) {
        err_say(&session->err, -EPROTO, "ring %u: %s", given->index,
                says_none ? "an fd came with the flag that says there is none"
                          : "no fd came, nor the flag that says so");
        return false;
    }
    return says_none || check_fd(session, &msg->fd[0], kinds, given->index);
}

/* The device has taken the fd if it was content with it. */
static enum vu_verdict fd_given(struct vu_msg *msg, int ret)
{
    if (ret >= 0) {
        msg->fd[0].fd = -1;
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
    struct ring_fd given;
    int ret = 0;

    if (!parse_ring_fd(session, msg, KICK_KINDS, &given)) {
        return VU_BAD;
    }
    if (given.fd < 0) {
        return vu_fault(session, VU_BAD, "ring %u: polling without a kick fd is not supported",
                        given.index);
    }
    if (session->has_protocol_features && is_disabled(dev, given.index)) {
        return vu_wait_for_ring(session, given.index, set_up_anew);
    }
    if (!session->has_protocol_features) {
        ret = device_ring_enable(dev, given.index, true, &session->err);
    }
    if (ret == 0) {
        ret = device_ring_set_kick(dev, given.index, given.fd, &session->err);
    }
    return fd_given(msg, ret);
}

enum vu_verdict vu_set_vring_call(struct vu_session *session, struct vu_msg *msg)
{
    struct ring_fd given;

    if (!parse_ring_fd(session, msg, SIGNAL_KINDS, &given)) {
        return VU_BAD;
    }
    return fd_given(msg, device_ring_set_call(session->dev, given.index, given.fd, &session->err));
}

enum vu_verdict vu_set_vring_err(struct vu_session *session, struct vu_msg *msg)
{
    struct ring_fd given;

    if (!parse_ring_fd(session, msg, SIGNAL_KINDS, &given)) {
        return VU_BAD;
    }
    return fd_given(msg, device_ring_set_err(session->dev, given.index, given.fd, &session->err));
}

static enum vu_verdict disabled(struct vu_session *session, struct vu_msg *msg)
{
    device_ring_resume(session->dev, msg->payload.state.index);
    return VU_DONE;
}

/*
 * Answered when nothing of a ring that is now disabled is in flight: where that is all that a
 * front-end does to reset it, the driver uses the memory for something else at once.  One that has
 * requests suspended disables its rings before, and stops them in any case.
 * Source: QEMU 10.0, hw/virtio/vhost.c, vhost_dev_stop.
 */
enum vu_verdict vu_set_vring_enable(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_vring_state *state = &msg->payload.state;
    struct device *dev = session->dev;
    int ret;

    if (!index_ok(session, state->index)) {
        return VU_BAD;
    }
    if (state->num > 1) {
        return vu_fault(session, VU_BAD, "ring %u: %u is neither on nor off", state->index,
                        state->num);
    }
    ret = device_ring_enable(dev, state->index, state->num == 1, &session->err);
    if (ret == 0 && is_disabled(dev, state->index) &&
        !(may_suspend(session) && device_ring_has_inflight(dev, state->index))) {
        return vu_wait_for_ring(session, state->index, disabled);
    }
    return vu_verdict_of(ret);
}

static enum vu_verdict stop_all(struct vu_session *session, struct vu_msg *msg)
{
    struct device *dev = session->dev;

    (void)msg;
    for (unsigned i = 0; i < device_queues(dev); i++) {
        (void)device_ring_stop(dev, i);
        (void)device_ring_enable(dev, i, false, NULL); /* the index is good: it cannot fail */
    }
    vu_memory_settle(session);
    return VU_DONE;
}

enum vu_verdict vu_stop_rings(struct vu_session *session)
{
    return vu_wait_for_reset(session, stop_all);
}

/*
 * Of old; it is to disable rings and to do nothing else.
 * Source: vhost-user, "VHOST_USER_RESET_OWNER".
 */
enum vu_verdict vu_reset_owner(struct vu_session *session, struct vu_msg *msg)
{
    (void)msg;
    return vu_stop_rings(session);
}

static enum vu_verdict reset_all(struct vu_session *session, struct vu_msg *msg)
{
    (void)msg;
    device_reset_rings(session->dev);
    session->status = 0;
    session->has_features = false;
    vu_memory_settle(session);
    return VU_DONE;
}

/*
 * All is as new but the memory, for QEMU keeps count of the regions that it has shared and does
 * not share them again after a reset.  What was agreed on for the connection stays as well.
 * Source: vhost-user, "VHOST_USER_RESET_DEVICE"; QEMU 10.0, hw/virtio/vhost-user.c,
 * shadow_regions.
 */
enum vu_verdict vu_reset_device(struct vu_session *session, struct vu_msg *msg)
{
    (void)msg;
    return vu_wait_for_reset(session, reset_all);
}
