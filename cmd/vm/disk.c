/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/disk.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmd/vm/disk_wires.h"
#include "cmd/vm/layout.h"

static struct virtio_regs *regs_of(struct disk *disk)
{
    return disk->is_mmio ? &disk->mmio.regs : &disk->pci.regs;
}

static void on_config_changed(void *arg)
{
    struct disk *disk = arg;

    virtio_regs_config_changed(regs_of(disk));
}

static void on_gone(void *arg, const struct err *why)
{
    struct disk *disk = arg;

    log_limited(&disk->limit[DISK_LINE_GONE], LOG_LEVEL_WARN,
                "%s: %s; the guest waits until it is back", disk->name,
                err_text_after(why, disk->name));
}

static void on_retry_failed(void *arg, const struct err *why)
{
    struct disk *disk = arg;

    log_limited(&disk->limit[DISK_LINE_AWAY], LOG_LEVEL_WARN, "%s: still away: %s", disk->name,
                err_text_after(why, disk->name));
}

static void on_back(void *arg)
{
    struct disk *disk = arg;

    log_limited(&disk->limit[DISK_LINE_BACK], LOG_LEVEL_WARN, "%s: back", disk->name);
}

/* What the user asked for, or one for each processor; the back-end may have fewer. */
static unsigned wanted_queues(const struct disk_opts *opts)
{
    return opts->options->queues ? opts->options->queues : opts->queues;
}

static int connect_client(struct disk *disk, const struct disk_opts *wanted, struct err *err)
{
    struct vhost_user_client_opts opts = {
        .socket = wanted->socket,
        .rings = wanted_queues(wanted),
        .ring_size = wanted->queue_size,
        .refuse = wanted->options->packed == DISK_PACKED_OFF ? BIT(VIRTIO_F_RING_PACKED) : 0,
        .stop_patience = VHOST_USER_CLIENT_FOR_EVER,
        .config_changed = on_config_changed,
        .gone = on_gone,
        .retry_failed = on_retry_failed,
        .back = on_back,
        .arg = disk,
    };

    return vhost_user_client_open(&disk->client, &opts, err);
}

static int share_memory(struct disk *disk, struct err *err)
{
    const struct ram *ram = disk->ram;
    struct vhost_user_client_region low = {.size = ram->low, .host = ram->host, .fd = ram->fd};
    struct vhost_user_client_region high = {
        .guest_addr = LAYOUT_RAM_HIGH,
        .size = ram->high,
        .offset = ram->low,
        .host = ram->host + ram->low,
        .fd = ram->fd,
    };
    int ret = vhost_user_client_add_memory(disk->client, &low, err);

    if (ret == 0 && ram->high > 0) {
        ret = vhost_user_client_add_memory(disk->client, &high, err);
    }
    return ret;
}

/* Rings are packed when the guest takes them; what the user insists on is there. */
static int check_packed(const struct disk *disk, const struct disk_options *options,
                        struct err *err)
{
    uint64_t features = vhost_user_client_features(disk->client);

    return options->packed == DISK_PACKED_ON && !(features & BIT(VIRTIO_F_RING_PACKED))
               ? err_say(err, -ENOTSUP,
                         "%s: the back-end does not offer packed rings and an in-flight region "
                         "for them; leave out packed=on",
                         disk->name)
               : 0;
}

static int choose_queues(struct disk *disk, const struct disk_opts *opts, struct err *err)
{
    unsigned most = min_of(vhost_user_client_max_rings(disk->client), VIRTIO_REGS_MAX_QUEUES);

    if (opts->options->queues > most) {
        return err_say(err, -EINVAL, "%s: the back-end has %u queues, not %u", disk->name, most,
                       opts->options->queues);
    }
    disk->queues = min_of(wanted_queues(opts), most);
    return 0;
}

static void init_registers(struct disk *disk, const struct disk_opts *opts)
{
    enum disk_transport transport = opts->options->transport;
    struct virtio_mmio_opts mmio = {
        .host = &disk_host_ops,
        .arg = disk,
        .base = opts->mmio_addr,
        .queue_count = disk->queues,
        .queue_max = opts->queue_size,
        .is_version_1 = transport == DISK_MMIO_LEGACY,
    };
    struct virtio_pci_opts pci = {
        .host = &disk_host_ops,
        .arg = disk,
        .queue_count = disk->queues,
        .queue_max = opts->queue_size,
        .lock = &disk->lock,
        .has_modern = transport == DISK_PCI,
        .has_legacy = true,
    };

    if (disk->is_mmio) {
        virtio_mmio_init(&disk->mmio, &mmio);
    } else {
        virtio_pci_init(&disk->pci, &pci);
    }
}

int disk_open(struct disk *disk, struct kvm *kvm, const struct ram *ram,
              const struct disk_opts *opts, struct err *err)
{
    int ret;

    memset(disk, 0, sizeof(*disk));
    (void)pthread_mutex_init(&disk->lock, NULL); /* does not fail with these arguments */
    disk->name = opts->options->name;
    disk->kvm = kvm;
    disk->ram = ram;
    disk->is_mmio = disk_is_mmio(opts->options);
    disk->line = opts->line;
    ret = connect_client(disk, opts, err);
    if (ret < 0) {
        return ret;
    }
    ret = share_memory(disk, err);
    if (ret == 0) {
        ret = choose_queues(disk, opts, err);
    }
    if (ret == 0) {
        ret = check_packed(disk, opts->options, err);
    }
    if (ret == 0) {
        ret = disk_wires_open(disk, err);
    }
    if (ret < 0) {
        vhost_user_client_close(disk->client);
        return ret;
    }
    init_registers(disk, opts);
    return 0;
}

/* ---- its thread ---- */

static void serve_resample(struct disk *disk)
{
    eventfd_t count;

    if (eventfd_read(disk->resample_fd, &count) == 0) {
        virtio_pci_line_acked(&disk->pci);
    }
}

static void *serve(void *arg)
{
    struct disk *disk = arg;
    struct pollfd polled[] = {
        {.fd = disk->stop_fd, .events = POLLIN},
        {.fd = vhost_user_client_fd(disk->client), .events = POLLIN},
        {.fd = disk->resample_fd, .events = POLLIN},
    };

    while (!polled[0].revents) {
        if (poll(polled, ARRAY_SIZE(polled), -1) < 0) {
            continue; /* EINTR */
        }
        (void)pthread_mutex_lock(&disk->lock);
        if (polled[1].revents) {
            vhost_user_client_dispatch(disk->client);
        }
        if (polled[2].revents) {
            serve_resample(disk);
        }
        (void)pthread_mutex_unlock(&disk->lock);
    }
    return NULL;
}

int disk_serve(struct disk *disk, struct err *err)
{
    int code = pthread_create(&disk->thread, NULL, serve, disk);

    if (code != 0) {
        return err_set(err, -code, "%s: cannot start a thread", disk->name);
    }
    disk->is_served = true;
    return 0;
}

void disk_close(struct disk *disk)
{
    if (disk->is_served) {
        (void)eventfd_write(disk->stop_fd, 1);
        (void)pthread_join(disk->thread, NULL);
    }
    virtio_regs_reset(regs_of(disk));
    disk_wires_close(disk);
    vhost_user_client_close(disk->client);
    (void)pthread_mutex_destroy(&disk->lock);
}

uint32_t disk_mmio_read(struct disk *disk, uint32_t offset, unsigned len)
{
    uint32_t value;

    (void)pthread_mutex_lock(&disk->lock);
    value = virtio_mmio_read(&disk->mmio, offset, len);
    (void)pthread_mutex_unlock(&disk->lock);
    return value;
}

void disk_mmio_write(struct disk *disk, uint32_t offset, uint32_t value, unsigned len)
{
    (void)pthread_mutex_lock(&disk->lock);
    virtio_mmio_write(&disk->mmio, offset, value, len);
    (void)pthread_mutex_unlock(&disk->lock);
}

uint64_t disk_notify_writes(const struct disk *disk)
{
    return disk->is_mmio ? disk->mmio.regs.notify_writes : disk->pci.regs.notify_writes;
}
