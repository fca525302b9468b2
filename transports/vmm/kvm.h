/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A virtual machine of KVM: memory, interrupt chips, timer, and the two wires by which a disk's
 * thread meets the guest without anybody between: an ioeventfd (guest's register -> eventfd)
 * and an irqfd (eventfd -> guest's interrupt).  Every call that KVM refuses is named.
 *
 * Owner: the launcher.  Thread: any, once it is open and has its memory.
 * Source: Linux documentation, "The Definitive KVM (Kernel-based Virtual Machine) API".
 */

#include <pthread.h>

#include "core/base/base.h"
#include "core/base/err.h"

/* Inputs of the IOAPIC, which are also the first interrupt numbers (GSIs). */
#define KVM_IOAPIC_PINS 24u

/* Numbers for messages behind them; one for each queue of each disk, and its config. */
#define KVM_MESSAGES 2048u

struct kvm {
    int fd;    /* /dev/kvm */
    int vm_fd; /* owned, as fd */
    bool has_any_length;
    unsigned slots; /* of memory, in use */

    pthread_mutex_t lock; /* of what follows: routes are set as a whole */
    unsigned messages;    /* given out */
    struct kvm_message {
        uint64_t addr;
        uint32_t data;
        bool is_set;
    } message[KVM_MESSAGES];
};

/* Where a guest's write becomes a signal. */
struct kvm_door {
    uint64_t addr;
    uint8_t len; /* bytes, 0: any */
    bool is_port;
    bool has_match;
    uint32_t match;
};

/* A machine with interrupt chips and timer, without memory or processors. */
int kvm_open(struct kvm *kvm, struct err *err);
void kvm_close(struct kvm *kvm);

int kvm_add_memory(struct kvm *kvm, uint64_t guest_addr, uint64_t size, void *host,
                   struct err *err);

/* Processors: `*fd` is the caller's to close.  Returns the bytes to map of it, -errno. */
int kvm_vcpu_open(struct kvm *kvm, unsigned index, int *fd, struct err *err);

int kvm_kick_on(struct kvm *kvm, int fd, const struct kvm_door *door, struct err *err);
int kvm_kick_off(struct kvm *kvm, int fd, const struct kvm_door *door, struct err *err);

/* A number for interrupt messages.  Returns it, -ENOSPC. */
int kvm_message_new(struct kvm *kvm);

/* What the message of that number says from now on. */
int kvm_message_set(struct kvm *kvm, unsigned gsi, uint64_t addr, uint32_t data, struct err *err);

/*
 * `fd` raises `gsi` from now on, and at once if it has been signalled.  With a `resample_fd`
 * (else -1) the line stays up until the guest acknowledges it, which signals that fd.
 */
int kvm_call_on(struct kvm *kvm, int fd, unsigned gsi, int resample_fd, struct err *err);
int kvm_call_off(struct kvm *kvm, int fd, unsigned gsi, struct err *err);

/* Set an interrupt line of our own devices. */
void kvm_line(const struct kvm *kvm, unsigned gsi, bool is_up);
