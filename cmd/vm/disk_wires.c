/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/disk_wires.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONFIG_BYTES 256u

/* Report what nobody above can; the guest sees a device that needs a reset, at most. */
static int report(struct disk *disk, enum disk_line kind, int ret, const struct err *err)
{
    if (ret < 0) {
        log_limited(&disk->limit[kind], LOG_LEVEL_ERROR, "%s: %s", disk->name,
                    err_text_after(err, disk->name));
    }
    return ret;
}

/*
 * The wire of a source.  An edge interrupt has one for all: KVM raises and lowers the line for
 * each irqfd on its own, and when two do so at the same time, the second rise is no edge.  One
 * irqfd does it once more when it is signalled meanwhile.  (virt/kvm/eventfd.c, irqfd_inject)
 */
static struct disk_call *wire_of(struct disk *disk, unsigned source)
{
    return &disk->call[disk->is_mmio ? disk->queues : source];
}

/* ---- the back-end ---- */

static uint64_t host_features(void *arg)
{
    struct disk *disk = arg;

    return vhost_user_client_features(disk->client);
}

static int host_set_features(void *arg, uint64_t features)
{
    struct disk *disk = arg;
    struct err err = {0};

    disk->is_packed = features >> VIRTIO_F_RING_PACKED & 1;
    return report(disk, DISK_LINE_FEATURES,
                  vhost_user_client_set_features(disk->client, features, &err), &err);
}

/* The guest is told of as many queues as it has registers for. */
static void host_config_read(void *arg, uint32_t offset, void *to, uint32_t len)
{
    struct disk *disk = arg;
    uint8_t config[CONFIG_BYTES] = {0};
    uint16_t queues = (uint16_t)disk->queues;

    if (!range_ok(offset, len, sizeof(config))) {
        memset(to, 0, len);
        return;
    }
    vhost_user_client_config_read(disk->client, offset, config + offset, len);
    if (vhost_user_client_features(disk->client) & BIT(VIRTIO_BLK_F_MQ)) {
        memcpy(config + offsetof(struct virtio_blk_config, num_queues), &queues, sizeof(queues));
    }
    memcpy(to, config + offset, len);
}

static void host_config_write(void *arg, uint32_t offset, const void *from, uint32_t len)
{
    struct disk *disk = arg;
    struct err err = {0};

    (void)report(disk, DISK_LINE_CONFIG,
                 vhost_user_client_config_write(disk->client, offset, from, len, &err), &err);
}

static int host_queue_start(void *arg, unsigned queue, const struct virtio_queue *set)
{
    struct disk *disk = arg;
    struct err err = {0};
    struct vhost_user_client_ring ring = {
        .size = set->size,
        .desc = set->desc,
        .avail = set->avail,
        .used = set->used,
        .base = disk->is_packed ? VHOST_USER_CLIENT_PACKED_BASE : 0,
        .kick_fd = disk->kick_fd[queue],
        .call_fd = wire_of(disk, queue)->fd,
        .err_fd = -1,
    };
    int ret = disk_used_start(&disk->used[queue], disk->ram, set, disk->is_packed);

    ret = ret < 0 ? err_set(&err, ret, "queue %u", queue)
                  : vhost_user_client_ring_start(disk->client, queue, &ring, &err);
    return report(disk, DISK_LINE_QUEUE, ret, &err);
}

static void forget_signal(int fd)
{
    eventfd_t count;

    (void)eventfd_read(fd, &count); /* none there is as good */
}

/* Interrupts of requests that ended meanwhile are still delivered: their wire comes off later. */
static void host_queue_stop(void *arg, unsigned queue)
{
    struct disk *disk = arg;
    struct err err = {0};

    disk->is_stopping = true;
    (void)report(disk, DISK_LINE_QUEUE,
                 vhost_user_client_ring_stop(disk->client, queue, NULL, &err), &err);
    disk->is_stopping = false;
    disk_used_stop(&disk->used[queue]);
    forget_signal(disk->kick_fd[queue]);
    if (!wire_of(disk, queue)->is_on) {
        forget_signal(wire_of(disk, queue)->fd);
    }
}

/* A full counter is a signal too. */
static void host_kick(void *arg, unsigned queue)
{
    struct disk *disk = arg;

    (void)eventfd_write(disk->kick_fd[queue], 1);
}

static void host_signal(void *arg, unsigned source)
{
    struct disk *disk = arg;

    (void)eventfd_write(wire_of(disk, source)->fd, 1);
}

static bool host_is_pending(void *arg, unsigned source)
{
    struct disk *disk = arg;
    const struct disk_call *call = wire_of(disk, source);
    struct pollfd pollfd = {.fd = call->fd, .events = POLLIN};

    return !call->is_on && poll(&pollfd, 1, 0) == 1;
}

static bool host_was_used(void *arg, bool mark)
{
    struct disk *disk = arg;
    bool was_used = false;

    for (unsigned i = 0; i < disk->queues; i++) {
        was_used = disk_used_was(&disk->used[i], mark) || was_used;
    }
    return was_used;
}

/* ---- KVM's wires ---- */

static struct kvm_door door_of(const struct virtio_doorbell *door)
{
    return (struct kvm_door){
        .addr = door->addr,
        .len = door->len,
        .is_port = door->is_port,
        .has_match = door->has_match,
        .match = door->match,
    };
}

/* Without this wire each kick leaves the guest, is counted, and arrives all the same. */
static int host_kick_on(void *arg, unsigned queue, const struct virtio_doorbell *door)
{
    struct disk *disk = arg;
    struct kvm_door at = door_of(door);
    struct err err = {0};

    return report(disk, DISK_LINE_KICK, kvm_kick_on(disk->kvm, disk->kick_fd[queue], &at, &err),
                  &err);
}

static void host_kick_off(void *arg, unsigned queue, const struct virtio_doorbell *door)
{
    struct disk *disk = arg;
    struct kvm_door at = door_of(door);
    struct err err = {0};

    (void)report(disk, DISK_LINE_KICK, kvm_kick_off(disk->kvm, disk->kick_fd[queue], &at, &err),
                 &err);
}

static void unwire_call(struct disk *disk, struct disk_call *call)
{
    struct err err = {0};

    if (call->is_on) {
        (void)report(disk, DISK_LINE_CALL, kvm_call_off(disk->kvm, call->fd, call->gsi, &err),
                     &err);
        call->is_on = false;
    }
}

static void host_call_off(void *arg, unsigned source)
{
    struct disk *disk = arg;
    bool is_used = false;

    disk->call[source].is_wanted = false;
    for (unsigned i = 0; i <= disk->queues; i++) {
        is_used = is_used || (disk->call[i].is_wanted && wire_of(disk, i) == wire_of(disk, source));
    }
    if (!is_used) {
        unwire_call(disk, wire_of(disk, source));
    }
}

static int wire_call(struct disk *disk, struct disk_call *call, unsigned gsi, int resample_fd)
{
    struct err err = {0};
    int ret = kvm_call_on(disk->kvm, call->fd, gsi, resample_fd, &err);

    call->is_on = ret == 0;
    call->gsi = gsi;
    return report(disk, DISK_LINE_CALL, ret, &err);
}

/* A number of its own for each source: the wire stays while the message changes. */
static int set_message(struct disk *disk, struct disk_call *call,
                       const struct virtio_message *message)
{
    struct err err = {0};
    int ret = 0;

    _Static_assert(VM_DISKS_MAX * (VIRTIO_REGS_MAX_QUEUES + 1) <= KVM_MESSAGES,
                   "a message for each source of each disk");
    if (call->message < 0) {
        call->message = kvm_message_new(disk->kvm);
    }
    ret = call->message < 0 ? err_say(&err, call->message, "no interrupt message is left")
                            : kvm_message_set(disk->kvm, (unsigned)call->message, message->addr,
                                              message->data, &err);
    return report(disk, DISK_LINE_CALL, ret, &err);
}

static int host_call_on(void *arg, unsigned source, const struct virtio_message *message)
{
    struct disk *disk = arg;
    struct disk_call *call = wire_of(disk, source);
    unsigned gsi;

    disk->call[source].is_wanted = true;
    if (message && set_message(disk, call, message) < 0) {
        return -EIO;
    }
    gsi = message ? (unsigned)call->message : disk->line;
    if (call->is_on && call->gsi == gsi) {
        return 0;
    }
    unwire_call(disk, call);
    return wire_call(disk, call, gsi, message ? -1 : disk->resample_fd);
}

const struct virtio_host_ops disk_host_ops = {
    .features = host_features,
    .set_features = host_set_features,
    .config_read = host_config_read,
    .config_write = host_config_write,
    .queue_start = host_queue_start,
    .queue_stop = host_queue_stop,
    .kick = host_kick,
    .kick_on = host_kick_on,
    .kick_off = host_kick_off,
    .call_on = host_call_on,
    .call_off = host_call_off,
    .is_pending = host_is_pending,
    .signal = host_signal,
    .was_used = host_was_used,
};

/* ---- eventfds ---- */

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void disk_wires_close(struct disk *disk)
{
    for (unsigned i = 0; i < disk->queues; i++) {
        disk_used_stop(&disk->used[i]);
        close_fd(disk->kick_fd[i]);
    }
    for (unsigned i = 0; i <= disk->queues; i++) {
        host_call_off(disk, i);
        close_fd(disk->call[i].fd);
    }
    close_fd(disk->resample_fd);
    close_fd(disk->stop_fd);
}

static int new_eventfd(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int disk_wires_open(struct disk *disk, struct err *err)
{
    bool failed = false;
    int code;

    for (unsigned i = 0; i < disk->queues; i++) {
        disk->kick_fd[i] = new_eventfd();
        failed = failed || disk->kick_fd[i] < 0;
    }
    for (unsigned i = 0; i <= disk->queues; i++) {
        bool is_own = wire_of(disk, i) == &disk->call[i];

        disk->call[i] = (struct disk_call){.fd = is_own ? new_eventfd() : -1, .message = -1};
        failed = failed || (is_own && disk->call[i].fd < 0);
    }
    disk->resample_fd = disk->is_mmio ? -1 : new_eventfd();
    disk->stop_fd = new_eventfd();
    if (!failed && disk->stop_fd >= 0 && (disk->is_mmio || disk->resample_fd >= 0)) {
        return 0;
    }
    code = err_set(err, -errno, "%s: eventfd", disk->name);
    disk_wires_close(disk);
    return code;
}
