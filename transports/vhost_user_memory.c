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
 * A page fault waits for whoever serves the file, with the lock in hand that all threads of the
 * process need for their memory: so only what the kernel itself serves is memory.
 */
static int map_region(struct vu_session *session, const struct mem_layout *layout,
                      const struct foreign *foreign)
{
    int ret;

    if (foreign->kind != FOREIGN_MEMORY && foreign->kind != FOREIGN_FILE) {
        err_say(&session->err, -EINVAL, "memory region at 0x%" PRIx64 ": what came is %s",
                layout->guest_addr, foreign->what);
        err_hint(&session->err, "guest memory must be a memfd, or a file on hugetlbfs, tmpfs or a "
                                "local file system");
        return -EINVAL;
    }
    device_park(session->dev);
    ret = device_memory_add(session->dev, layout, foreign->fd, &session->err);
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

static void settled(struct vu_session *session)
{
    (void)uv_timer_stop(&session->settle);
    session->is_settling = false;
    device_memory_changed(session->dev);
}

static void on_settle_timer(uv_timer_t *timer)
{
    struct vu_session *session = containerof(timer, struct vu_session, settle);
    int lost = device_lost_ring(session->dev);

    if (lost >= 0) {
        log_limited(&session->log, LOG_LEVEL_WARN,
                    "%s: ring %d lies in memory that was removed, the disk waits for it",
                    session->label, lost);
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
    (void)uv_timer_start(&session->settle, on_settle_timer, SETTLE_MS, 0);
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

    device_memory_clear(dev);
    for (unsigned i = 0; ret == 0 && i < table->count; i++) {
        struct mem_layout layout = layout_of(&table->region[i]);

        ret = map_region(session, &layout, &msg->fd[i]);
    }
    settled(session);
    return vu_verdict_of(ret);
}

/*
 * Some front-ends send room for more regions than they count.
 * Source: Linux 6.1, arch/um/drivers/virtio_uml.c, vhost_user_set_mem_table.
 */
static bool is_table_size(uint32_t size, const struct vhost_user_table *table)
{
    uint32_t room = (size - 8) / (uint32_t)sizeof(table->region[0]);

    return size == 8 + room * sizeof(table->region[0]) && room >= table->count;
}

enum vu_verdict vu_set_mem_table(struct vu_session *session, struct vu_msg *msg)
{
    const struct vhost_user_table *table = &msg->payload.table;

    if (table->count == 0 || table->count > VHOST_USER_TABLE_REGIONS) {
        return vu_fault(session, VU_BAD, "%u regions instead of 1 to %u", table->count,
                        VHOST_USER_TABLE_REGIONS);
    }
    if (!is_table_size(msg->header.size, table)) {
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
    if (map_region(session, &layout, &msg->fd[0]) < 0) {
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
    if (device_memory_remove(session->dev, &layout, &session->err) < 0) {
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
