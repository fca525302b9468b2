/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver switches between writeback and writethrough, by the only field of the config space
 * that can be written.
 *
 * One that was told that it has writethrough sends no flushes, so nothing may ever serve it
 * writeback: writethrough begins before it is acknowledged, and lasts until a driver has been told
 * of writeback.  Nothing else ends it, no reset and no other connection: front-ends show their
 * drivers what they read of the config space long ago.
 * Source: VIRTIO 1.2, 5.2.5 "Device Initialization" and 5.2.6.2 (CONFIG_WCE); QEMU 10.0,
 * hw/block/vhost-user-blk.c, vhost_user_blk_set_config, vhost_user_blk_update_config.
 */
#include <errno.h>
#include <linux/virtio_blk.h>

#include "transports/vhost_user_msgs.h"

static void on_patience_end(uv_timer_t *timer)
{
    struct vu_session *session = containerof(timer, struct vu_session, patience);
    struct err err = {0};

    (void)err_say(&err, -ETIMEDOUT, "that was not on stable storage after %u ms; it goes on",
                  session->cache->patience_ms);
    vu_session_kept(session, &err);
}

/*
 * Nothing is in flight that was not to be stable.  What was answered before is flushed, as Linux
 * sends no flush of its own, before or after.
 */
static enum vu_verdict keep_writethrough(struct vu_session *session, struct vu_msg *msg)
{
    (void)msg;
    if (!session->cache->keep) {
        return VU_DONE;
    }
    session->is_keeping = true;
    uv_update_time(session->patience.loop);
    (void)uv_timer_start(&session->patience, on_patience_end, session->cache->patience_ms, 0);
    session->cache->keep(session->cache->arg);
    return VU_LATER;
}

/* Also when it has it already: it may not have been kept. */
enum vu_verdict vu_begin_writethrough(struct vu_session *session)
{
    device_set_writeback(session->dev, false);
    return vu_wait_for_device(session, keep_writethrough);
}

enum vu_verdict vu_switch_cache(struct vu_session *session, uint8_t is_writeback)
{
    if (!(device_accepted(session->dev) & BIT(VIRTIO_BLK_F_CONFIG_WCE))) {
        return vu_fault(session, VU_REFUSED,
                        "writeback cannot be written, the driver has not accepted CONFIG_WCE");
    }
    if (is_writeback > 1) {
        return vu_fault(session, VU_REFUSED, "writeback is 0 or 1, and not %u", is_writeback);
    }
    if (is_writeback == 0) {
        return vu_begin_writethrough(session);
    }
    session->ends_writethrough = true;
    return VU_DONE;
}

/*
 * In this order: a daemon that is killed in between serves writethrough to a driver that flushes.
 */
void vu_end_writethrough(struct vu_session *session)
{
    session->ends_writethrough = false;
    device_set_writeback(session->dev, true);
    if (session->cache->keep) {
        session->cache->keep(session->cache->arg);
    }
}
