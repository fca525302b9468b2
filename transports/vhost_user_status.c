/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The status of the device, as the front-end has it from the driver or says it for one.
 *
 * QEMU sets 0 at each stop, a pause and the end of a migration included: up to 8.0 before it asks
 * where rings are, later afterwards.  So 0 stops rings that run, drained, and they keep where they
 * are; nothing that outlasts a stop is forgotten: memory, features, the log of a migration, what
 * the driver has said of its cache.
 *
 * QEMU 7.2 that connects again while its guest goes on may ask before it has accepted STATUS, by
 * what it knows of the connection before; so both are served whenever they come.
 *
 * Source: vhost-user, "VHOST_USER_SET_STATUS"; VIRTIO 1.2, 2.1 "Device Status Field"; QEMU 7.2 and
 * 10.0, hw/virtio/vhost-user.c, vhost_user_dev_start, vhost_user_reset_status.
 */

#include <inttypes.h>
#include <linux/virtio_config.h>

#include "transports/vhost_user_msgs.h"

#define RESET 0u

static enum vu_verdict reset(struct vu_session *session)
{
    session->status = RESET;
    return device_rings_running(session->dev) > 0 ? vu_stop_rings(session) : VU_DONE;
}

/*
 * FEATURES_OK is kept if features were accepted: who sets it before looks whether it is still
 * there. That the device needs a reset is ours to say, and front-ends that add to what they have
 * read write it back.
 */
enum vu_verdict vu_set_status(struct vu_session *session, struct vu_msg *msg)
{
    uint64_t status = msg->payload.u64;

    if (status > UINT8_MAX) {
        return vu_fault(session, VU_BAD, "0x%" PRIx64 " has more than 8 bits", status);
    }
    if (status == RESET) {
        return reset(session);
    }
    if (!session->has_features) {
        status &= ~(uint64_t)VIRTIO_CONFIG_S_FEATURES_OK;
    }
    session->status = (uint8_t)(status & ~(uint64_t)VIRTIO_CONFIG_S_NEEDS_RESET);
    return VU_DONE;
}

enum vu_verdict vu_get_status(struct vu_session *session, struct vu_msg *msg)
{
    return vu_reply_u64(
        msg, session->status |
                 (device_has_broken_ring(session->dev) ? VIRTIO_CONFIG_S_NEEDS_RESET : 0u));
}
