/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages about guest memory.
 *
 * SET_MEM_TABLE replaces all of it at once.  With ADD_MEM_REG and REM_MEM_REG a front-end that
 * moves a border between two regions removes the old ones and then adds the new ones, one
 * message each, while rings run (QEMU does when the firmware unlocks the memory below 1 MiB).
 * In between, rings or buffers lie in no region.  So after a removal the device stays paused
 * until no such message has come for SETTLE_MS and all rings are in memory again.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "transports/vhost_user_msgs.h"

/* Far longer than a front-end takes from one of its messages to the next. */
#define SETTLE_MS 20

static struct mem_layout layout_of(const struct vhost_user_region *region)
{
    return (struct mem_layout){.guest_addr = region->guest_addr,
                               .size = region->size,
                               .user_addr = region->user_addr,
                               .offset = region->mmap_offset};
}

/*
 * Memory comes as a file or a device.  Files without a type (an io_uring, a device of KVM) can
 * be mapped as well, but hold on to other files, so that the socket may never be closed.
 */
static int map_region(struct vu_session *session, const struct mem_layout *layout, int fd)
{
    struct stat st;
    int ret;

    if (fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0) {
        return err_say(&session->err, -EINVAL,
                       "memory region at 0x%" PRIx64 ": what came is no file", layout->guest_addr);
    }
    device_park(session->dev);
    ret = mem_add(&session->dev->mem, layout, fd, &session->err);
    device_unpark(session->dev);
    return ret;
}

/* Some front-ends send the region without the padding before it. */
static bool single_region(struct vu_session *session, const struct vu_msg *msg,
                          struct mem_layout *layout)
{
    if (msg->header.size == sizeof(msg->payload.single)) {
        *layout = layout_of(&msg->payload.single.region);
        return true;
    }
    if (msg->header.size == sizeof(msg->payload.region)) {
        *layout = layout_of(&msg->payload.region);
        return true;
    }
    err_say(&session->err, -EPROTO, "payload of %u bytes is no memory region", msg->header.size);
    return false;
}

/* Refusing is enough where the front-end learns of it. */
static enum vu_verdict refuse_region(const struct vu_session *session)
{
    return vu_wants_ack(session) ? VU_REFUSED : VU_BAD;
}

static bool has_memory(struct device *dev, const struct device_ring *ring)
{
    return mem_at_user(&dev->mem, ring->addr.desc, ring_desc_bytes(ring->size)) &&
           mem_at_user(&dev->mem, ring->addr.avail, ring_avail_bytes(ring->size)) &&
           mem_at_user(&dev->mem, ring->addr.used, ring_used_bytes(ring->size));
}

/* A running ring that lies in no memory, NULL: none. */
static const struct device_ring *lost_ring(struct device *dev)
{
    for (unsigned i = 0; i < dev->queues; i++) {
        const struct device_ring *ring = &dev->ring[i];

        if (ring->ring.is_started && !has_memory(dev, ring)) {
            return ring;
        }
    }
    return NULL;
}

static void settled(struct vu_session *session)
{
    (void)uv_timer_stop(&session->settle);
    session->is_settling = false;
    device_memory_changed(session->dev);
}

void vu_memory_on_settle(uv_timer_t *timer)
{
    struct vu_session *session = containerof(timer, struct vu_session, settle);
    const struct device_ring *lost = lost_ring(session->dev);

    if (lost) {
        log_limited(&session->log, LOG_LEVEL_WARN,
                    "%s: ring %u lies in memory that was removed, the disk waits for it",
                    session->label, lost->index);
        return; /* until the next message about memory or rings */
    }
    settled(session);
    if (!session->is_device_paused) {
        device_resume(session->dev, PAUSE_MESSAGE);
    }
}

/* The device is paused; keep it so. */
static void start_settling(struct vu_session *session)
{
    session->is_settling = true;
    (void)uv_timer_start(&session->settle, vu_memory_on_settle, SETTLE_MS, 0);
}

void vu_memory_settle(struct vu_session *session)
{
    if (session->is_settling) {
        start_settling(session);
    }
}

/*
 * Drained: the old regions go, the new ones come.  When one cannot be mapped nothing is left
 * to go on with, so whatever the reason, the connection ends.
 */
static enum vu_verdict replace_table(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_table *table = &msg->payload.table;
    struct device *dev = session->dev;
    int ret = 0;

    mem_clear(&dev->mem);
    for (unsigned i = 0; ret == 0 && i < table->count; i++) {
        struct mem_layout layout = layout_of(&table->region[i]);

        ret = map_region(session, &layout, msg->fd[i]);
    }
    settled(session);
    return vu_verdict_of(ret);
}

enum vu_verdict vu_set_mem_table(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_table *table = &msg->payload.table;

    if (table->count == 0 || table->count > VHOST_USER_TABLE_REGIONS) {
        return vu_fault(session, VU_BAD, "%u regions instead of 1 to %u", table->count,
                        VHOST_USER_TABLE_REGIONS);
    }
    if (msg->header.size != 8 + table->count * sizeof(table->region[0])) {
        return vu_fault(session, VU_BAD, "%u regions in a payload of %u bytes", table->count,
                        msg->header.size);
    }
    if (msg->fd_count != table->count) {
        return vu_fault(session, VU_BAD, "%u regions with %u file descriptors", table->count,
                        msg->fd_count);
    }
    return vu_wait_for_device(session, replace_table);
}

enum vu_verdict vu_get_max_mem_slots(struct vu_session *session, struct vu_msg *msg)
{
    (void)session;
    return vu_reply_u64(msg, MEM_MAX_REGIONS);
}

/* What is there stays where it is, so no request needs to end first. */
enum vu_verdict vu_add_mem_reg(struct vu_session *session, struct vu_msg *msg)
{
    struct mem_layout layout;

    if (!single_region(session, msg, &layout)) {
        return VU_BAD;
    }
    if (map_region(session, &layout, msg->fd[0]) < 0) {
        return refuse_region(session);
    }
    if (session->is_settling) {
        start_settling(session);
    } else {
        device_memory_changed(session->dev);
    }
    return VU_DONE;
}

static enum vu_verdict remove_region(struct vu_session *session, struct vu_msg *msg)
{
    struct mem_layout layout;

    if (!single_region(session, msg, &layout)) {
        return VU_BAD;
    }
    if (mem_remove(&session->dev->mem, &layout, &session->err) < 0) {
        return refuse_region(session);
    }
    if (device_rings_running(session->dev) > 0) {
        start_settling(session);
    }
    return VU_DONE;
}

/*
 * The region is known by its addresses and size; an fd that comes along is closed unused.
 * Source: vhost-user, "VHOST_USER_REM_MEM_REG".
 */
enum vu_verdict vu_rem_mem_reg(struct vu_session *session, struct vu_msg *msg)
{
    (void)msg;
    return vu_wait_for_device(session, remove_region);
}
