/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */

/*
 * Messages about the log of requests in flight.  It is made here, when a front-end asks for it, and
 * is the front-end's from then on: it hands it in before its rings start, and again to whoever
 * serves them next.
 * Source: vhost-user, "Inflight I/O tracking"; QEMU 10.0, hw/block/vhost-user-blk.c,
 * vhost_user_blk_start.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "transports/vhost_user.h"
#include "transports/vhost_user_msgs.h"

/* Set before there are threads. */
static bool is_recovery_off;

void vhost_user_debug_no_recovery(void)
{
    is_recovery_off = true;
    log_warn("vhost-user: logs of requests in flight are ignored, as --debug-no-recovery says: "
             "what is in flight when this daemon comes or goes may be lost");
}

/* A file of zeroes, of a size that nobody takes away.  Returns an fd, or -errno. */
static int make_log(uint64_t bytes)
{
    int fd = memfd_create("vblkd-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
        int code = -errno;

        close(fd);
        return code;
    }
    return fd;
}

static bool has_inflight(const struct vu_session *session)
{
    return session->protocol_features & VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD;
}

/*
 * One that has negotiated nothing takes us for the daemon that it was connected to before, and
 * would not send the guest's memory, as that one had it: accepted, its rings could not run.
 * Source: QEMU 7.2 to 9.0, hw/virtio/vhost-user.c, vhost_user_async_close_bh: a device that is
 * stopped is not told that its back-end left.
 */
static enum vu_verdict refuse_stranger(struct vu_session *session)
{
    if (session->protocol_features == 0) {
        return vu_fault(session, VU_BAD,
                        "INFLIGHT_SHMFD was not negotiated, nor was anything else: QEMU 7.2 to 9.0 "
                        "whose guest was paused, or did not use the disk, while its back-end was "
                        "started anew does not know of that; start that QEMU anew");
    }
    return vu_fault(session, VU_BAD, "INFLIGHT_SHMFD was not negotiated");
}

/*
 * The answer is as long as the question, which has padding at its end in most front-ends.  Without
 * a log they go on, as with a back-end that knows of none: it has no bytes then.
 */
enum vu_verdict vu_get_inflight_fd(struct vu_session *session, struct vu_msg *msg)
{
    struct vhost_user_inflight *inflight = &msg->payload.inflight;
    uint64_t bytes;
    int fd;

    if (!has_inflight(session)) {
        return refuse_stranger(session);
    }
    if (device_inflight_need(session->dev, inflight->num_queues, inflight->queue_size, &bytes,
                             &session->err) < 0) {
        return VU_BAD;
    }
    fd = make_log(bytes);
    inflight->mmap_offset = 0;
    inflight->mmap_size = bytes;
    if (fd < 0) {
        log_limited(&session->log, LOG_LEVEL_WARN,
                    "%s: no memory to log requests in flight: %s; what is under way when the "
                    "daemon is killed may be lost",
                    session->label, strerror(-fd));
        inflight->mmap_size = 0;
    } else {
        vu_conn_reply_with(session->conn, fd);
    }
    return VU_REPLY;
}

/*
 * Rings that are disabled, and no more than that, are started anew with the log that comes.
 * Source: cloud-hypervisor v25.0, virtio-devices/src/vhost_user/vu_common_ctrl.rs,
 * setup_vhost_user.
 */
enum vu_verdict vu_set_inflight_fd(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_inflight *inflight = &msg->payload.inflight;
    const struct device_inflight log = {.bytes = inflight->mmap_size,
                                        .offset = inflight->mmap_offset,
                                        .queues = inflight->num_queues};
    const struct foreign *foreign = &msg->fd[0];

    if (!has_inflight(session)) {
        return refuse_stranger(session);
    }
    if (foreign->kind != FOREIGN_MEMORY && foreign->kind != FOREIGN_FILE) {
        return vu_fault(session, VU_BAD,
                        "what came is %s; a log must be a memfd, or a file on tmpfs "
                        "or a local file system",
                        foreign->what);
    }
    if (is_recovery_off) {
        return VU_DONE;
    }
    if (device_rings_running(session->dev) > 0 && !vu_has_enabled_ring(session->dev)) {
        return vu_wait_for_device(session, vu_set_all_up_anew);
    }
    return vu_verdict_of(device_inflight_open(session->dev, &log, foreign->fd, &session->err));
}
