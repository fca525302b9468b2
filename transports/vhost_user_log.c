/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Messages about the log of a live migration.  A front-end that begins one sends the log, and then
 * SET_FEATURES and SET_VRING_ADDR with their flags, while rings run; one that starts a device
 * meanwhile sends the log last, before it enables rings.
 * Source: vhost-user, "Migration"; QEMU 10.0, hw/virtio/vhost.c, vhost_dev_set_log,
 * vhost_dev_start.
 */

#include "transports/vhost_user_msgs.h"

bool vu_has_log(const struct vu_session *session)
{
    return session->protocol_features & VHOST_USER_PROTOCOL_F_LOG_SHMFD;
}

/*
 * The file is touched at each mark, so it is to be what guest memory may be.  Answered when all
 * threads mark in this log, and none in the one before: the front-end unmaps that, or looks at it
 * for the last time.
 */
enum vu_verdict vu_set_log_base(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_log *log = &msg->payload.log;
    const struct foreign *foreign = &msg->fd[0];

    if (!vu_has_log(session)) {
        return vu_fault(session, VU_BAD, "LOG_SHMFD was not negotiated");
    }
    if (foreign->kind != FOREIGN_MEMORY && foreign->kind != FOREIGN_FILE) {
        return vu_fault(session, VU_BAD,
                        "what came is %s; a log must be a memfd, or a file on tmpfs "
                        "or a local file system",
                        foreign->what);
    }
    if (device_log_open(session->dev, log->size, log->offset, foreign->fd, &session->err) < 0) {
        return VU_BAD;
    }
    return vu_reply_u64(msg, 0);
}

/* It may be signalled when something was marked.  Who migrates looks by itself, so it is not. */
enum vu_verdict vu_set_log_fd(struct vu_session *session, struct vu_msg *msg)
{
    const struct foreign *foreign = &msg->fd[0];

    if (!vu_has_log(session)) {
        return vu_fault(session, VU_BAD, "LOG_SHMFD was not negotiated");
    }
    if (foreign->kind != FOREIGN_EVENT) {
        return vu_fault(session, VU_BAD, "what came is no eventfd but %s", foreign->what);
    }
    return VU_DONE;
}
