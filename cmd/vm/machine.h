/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The guest's machine as its processors meet it: whoever answers at a port or an address.
 * The disks' data does not pass here; only set-up, the console and a few ports do.
 *
 * Each disk has a lock of its own, which a processor holds for the time of one access: that may
 * have to wait for the disk's back-end, and keeps nobody waiting but who wants the same disk.
 * Another lock is for the serial line.  Nobody takes one of these while it holds another.
 */

#include <pthread.h>

#include "cmd/vm/console.h"
#include "cmd/vm/disk.h"
#include "cmd/vm/ports.h"
#include "cmd/vm/serial.h"

struct machine {
    struct kvm kvm;
    struct ram ram;
    pthread_mutex_t lock; /* of the serial line and the console */
    struct console console;
    struct serial serial;
    struct ports ports;
    struct pci_host pci;
    struct disk disk[VM_DISKS_MAX];
    _Atomic unsigned disk_count; /* only grows, before the guest runs */

    /* How it ends: the first to say so counts. */
    pthread_mutex_t end_lock;
    int end_fd; /* eventfd for the main loop */
    bool has_ended;
    int status;
    char why[256];
};

/* All but memory and disks, which the launcher adds.  */
int machine_init(struct machine *machine, struct err *err);
void machine_fini(struct machine *machine);

/* Accesses of the guest; `len` is 1 to 8.  Reads of nothing give all ones. */
uint64_t machine_read(struct machine *machine, bool is_port, uint64_t addr, unsigned len);
void machine_write(struct machine *machine, bool is_port, uint64_t addr, unsigned len,
                   uint64_t value);

/* The guest is over.  `fmt` NULL: nothing to say about it.  Thread: any. */
void machine_end(struct machine *machine, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
