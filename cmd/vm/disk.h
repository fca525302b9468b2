/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk of the guest: registers on its side, a vhost-user back-end behind, and between them
 * the eventfds which KVM wires to both.  Once a queue runs, none of this code does: a kick goes
 * from the guest's register to the back-end, an interrupt from the back-end to the guest.
 *
 * Owner: the machine.  Thread: a processor by its registers, or the disk's own thread, which
 * serves the back-end; one at a time by the lock.
 */

#include <pthread.h>

#include "cmd/vm/disk_used.h"
#include "cmd/vm/options.h"
#include "cmd/vm/ram.h"
#include "core/base/log.h"
#include "transports/vmm/kvm.h"
#include "transports/client/vhost_user_client.h"
#include "transports/vmm/virtio_mmio.h"
#include "transports/vmm/virtio_pci.h"

/*
 * An interrupt source: its eventfd, and the wire at it.  The sources of a virtio-mmio disk share
 * those of its config, see disk_wires.c.
 */
struct disk_call {
    bool is_wanted; /* the registers want this source wired */
    int fd;         /* owned; -1: shared */
    int message;    /* number of its messages, -1: none yet */
    bool is_on;
    unsigned gsi; /* that the wire goes to */
};

struct disk_opts {
    const struct disk_options *options; /* lent */
    const char *socket;
    unsigned queues;
    uint16_t queue_size;
    unsigned line;      /* interrupt number, if it uses one */
    uint64_t mmio_addr; /* for virtio-mmio */
};

/* What the log says of a disk: a guest or a back-end can cause each at will. */
enum disk_line {
    DISK_LINE_CONFIG,
    DISK_LINE_FEATURES,
    DISK_LINE_QUEUE,
    DISK_LINE_KICK, /* KVM's wires */
    DISK_LINE_CALL,
    DISK_LINE_GONE, /* the back-end */
    DISK_LINE_AWAY,
    DISK_LINE_BACK,
    DISK_LINE_KINDS,
};

struct disk {
    const char *name;                        /* for people; lent */
    struct log_limit limit[DISK_LINE_KINDS]; /* so that one kind does not hide another */
    pthread_mutex_t lock;
    pthread_t thread;
    bool is_served;
    _Atomic bool is_stopping; /* waits for the requests in flight of a queue */
    int stop_fd;              /* owned; ends the thread */
    struct kvm *kvm;          /* parent */
    const struct ram *ram;
    struct vhost_user_client *client; /* owned */
    bool is_mmio;
    unsigned queues;
    unsigned line;
    int resample_fd; /* owned; signalled when the guest has acknowledged the line */
    int kick_fd[VIRTIO_REGS_MAX_QUEUES];
    struct disk_call call[VIRTIO_REGS_MAX_QUEUES + 1]; /* the last is of the config */
    bool is_packed;                                    /* its rings, as the guest accepted */
    struct disk_used used[VIRTIO_REGS_MAX_QUEUES];
    union {
        struct virtio_pci pci;
        struct virtio_mmio mmio;
    };
};

int disk_open(struct disk *disk, struct kvm *kvm, const struct ram *ram,
              const struct disk_opts *opts, struct err *err);

/* Stop the rings, hang up. */
void disk_close(struct disk *disk);

/*
 * Follow the back-end and the guest's acknowledgements from now on, by a thread: it may have to
 * wait for the back-end's answers, and shall keep nobody waiting who does not want this disk.
 */
int disk_serve(struct disk *disk, struct err *err);

uint32_t disk_mmio_read(struct disk *disk, uint32_t offset, unsigned len);
void disk_mmio_write(struct disk *disk, uint32_t offset, uint32_t value, unsigned len);

/* Writes to notify registers that left the guest. */
uint64_t disk_notify_writes(const struct disk *disk);
