/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a driver sees of a virtio device, whichever register file shows it: status, features,
 * queues, config space.  The register files (virtio_pci, virtio_mmio) translate accesses into
 * calls here; the host below wires kicks and interrupts and speaks to the back-end.  Neither
 * side knows the other, and nothing here knows KVM.
 *
 * Order for each queue, so that no kick and no interrupt is lost:
 *   start: interrupt wired, kick wired, back-end told, one kick by hand
 *   stop:  kick unwired, back-end drained, interrupt unwired
 *
 * Owner: the register file that embeds it.  Thread: one at a time, the VMM serializes.
 * Source: VIRTIO 1.2, 2 "Basic Facilities of a Virtio Device".
 */

#include "core/base/base.h"

#define VIRTIO_REGS_MAX_QUEUES 64u
#define VIRTIO_NO_VECTOR 0xffffu
#define VIRTIO_ID_BLOCK 2u

/* Returned by reads of what is not there. */
#define VIRTIO_NOTHING 0u

/* VIRTIO 1.2, 2.1 "Device Status Field". */
#define VIRTIO_STATUS_DRIVER_OK 4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u

/* VIRTIO 1.2, 6 "Reserved Feature Bits". */
#define VIRTIO_FEATURE_VERSION_1 (1ull << 32)
#define VIRTIO_FEATURE_RING_RESET (1ull << 40)

/* VIRTIO 1.2, 4.1.4.5 "ISR status capability". */
#define VIRTIO_ISR_QUEUE 1u
#define VIRTIO_ISR_CONFIG 2u

struct virtio_queue {
    uint16_t size;
    uint16_t vector; /* MSI-X */
    bool is_ready;   /* enabled by the driver */
    bool is_running; /* the back-end has it */
    uint64_t desc;   /* guest addresses */
    uint64_t avail;
    uint64_t used;
    bool is_kick_on;
    struct virtio_doorbell {
        uint64_t addr;
        uint8_t len; /* bytes, 0: any */
        bool is_port;
        bool has_match;
        uint32_t match; /* only writes of this value */
    } door;             /* where the kick is wired, when it is */
};

/* An interrupt message.  Source: PCI 3.0, 6.8.2.6 "MSI-X Table". */
struct virtio_message {
    uint64_t addr;
    uint32_t data;
};

/*
 * What the VMM does for a device; `arg` is its own.  An interrupt source is a queue, or the
 * number of queues for config changes.  A source without a wire keeps what was signalled, and
 * wiring it delivers that: so the masks of MSI-X need no more than a wire less.
 */
struct virtio_host_ops {
    uint64_t (*features)(void *arg);
    int (*set_features)(void *arg, uint64_t features);
    void (*config_read)(void *arg, uint32_t offset, void *to, uint32_t len);
    void (*config_write)(void *arg, uint32_t offset, const void *from, uint32_t len);
    int (*queue_start)(void *arg, unsigned queue, const struct virtio_queue *set);
    void (*queue_stop)(void *arg, unsigned queue);
    void (*kick)(void *arg, unsigned queue); /* by hand */

    int (*kick_on)(void *arg, unsigned queue, const struct virtio_doorbell *door);
    void (*kick_off)(void *arg, unsigned queue, const struct virtio_doorbell *door);
    /* NULL: the interrupt line.  May be called again with another message. */
    int (*call_on)(void *arg, unsigned source, const struct virtio_message *message);
    void (*call_off)(void *arg, unsigned source);
    bool (*is_pending)(void *arg, unsigned source); /* signalled, and no wire took it */
    void (*signal)(void *arg, unsigned source);
    /* Was a buffer used since the last call with `mark`, in any queue? */
    bool (*was_used)(void *arg, bool mark);
};

struct virtio_regs;

/* What differs between register files. */
struct virtio_file_ops {
    /* Where the driver kicks a queue.  Returns false when that is nowhere at present. */
    bool (*door)(struct virtio_regs *regs, unsigned queue, struct virtio_doorbell *door);
    /* Wire an interrupt source as the registers say, or take the wire away. */
    void (*wire_call)(struct virtio_regs *regs, unsigned source);
    /* What the file itself keeps: back to power-on.  May be NULL. */
    void (*reset)(struct virtio_regs *regs);
};

struct virtio_regs {
    const struct virtio_host_ops *host; /* lent, as arg */
    void *arg;
    const struct virtio_file_ops *file;
    unsigned queue_count;
    uint16_t queue_max;
    bool is_legacy; /* the driver speaks the interface from before VIRTIO 1.0 */

    uint8_t status;
    uint8_t isr; /* only VIRTIO_ISR_CONFIG is kept; the queues' part is asked for */
    uint32_t generation;
    uint64_t driver_features;
    uint32_t device_select; /* of 32 feature bits */
    uint32_t driver_select;
    uint16_t queue_select;
    uint16_t config_vector;
    struct virtio_queue queue[VIRTIO_REGS_MAX_QUEUES];
    uint64_t notify_writes; /* that reached us, not the ioeventfd */
};

void virtio_regs_init(struct virtio_regs *regs, const struct virtio_file_ops *file,
                      const struct virtio_host_ops *host, void *arg, unsigned queue_count,
                      uint16_t queue_max);

/* The queues stopped, and what a driver's reset clears back to power-on. */
void virtio_regs_reset(struct virtio_regs *regs);

uint64_t virtio_regs_offered(const struct virtio_regs *regs);
uint32_t virtio_regs_read_features(const struct virtio_regs *regs);
uint32_t virtio_regs_read_accepted(const struct virtio_regs *regs);
void virtio_regs_write_features(struct virtio_regs *regs, uint32_t value);
void virtio_regs_set_status(struct virtio_regs *regs, uint8_t status);

/* The selected queue; NULL when there is none of that number. */
struct virtio_queue *virtio_regs_queue(struct virtio_regs *regs);

/* The selected queue if the driver may set it up now, else NULL. */
struct virtio_queue *virtio_regs_queue_setup(struct virtio_regs *regs);

void virtio_regs_set_size(struct virtio_regs *regs, uint32_t size);

/* Half of the address of a queue's descriptors, available or used ring. */
enum virtio_area { VIRTIO_DESC, VIRTIO_AVAIL, VIRTIO_USED };
void virtio_regs_set_address(struct virtio_regs *regs, enum virtio_area area, bool is_high,
                             uint32_t value);
void virtio_regs_queue_ready(struct virtio_regs *regs);
void virtio_regs_queue_reset(struct virtio_regs *regs);

/* A legacy queue in one piece of `align`: page number 0 takes it away.  Not for other drivers. */
void virtio_regs_queue_pfn(struct virtio_regs *regs, uint32_t pfn, uint32_t page, uint32_t align);
uint32_t virtio_regs_read_pfn(const struct virtio_queue *queue, uint32_t page);

/* A notify register's write came here: no ioeventfd was there. */
void virtio_regs_notify(struct virtio_regs *regs, uint32_t queue);

/* The place where kicks arrive has changed. */
void virtio_regs_move_doors(struct virtio_regs *regs);

bool virtio_regs_is_live(const struct virtio_regs *regs);

/* `len` is 1, 2 or 4. */
uint32_t virtio_regs_config_read(struct virtio_regs *regs, uint32_t offset, uint32_t len);
void virtio_regs_config_write(struct virtio_regs *regs, uint32_t offset, uint32_t value,
                              uint32_t len);

/* The config space is another one now: tell the driver. */
void virtio_regs_config_changed(struct virtio_regs *regs);
