/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What vblkvm can be told.  Texts are lent from argv.
 */

#include "core/base/base.h"
#include "core/base/err.h"

#define VM_DISKS_MAX 31u /* slots of the bus behind the bridge's */
#define VM_CPUS_MAX 64u

enum disk_transport {
    DISK_PCI, /* transitional */
    DISK_PCI_LEGACY,
    DISK_MMIO,
    DISK_MMIO_LEGACY,
};

/* Are packed rings offered to the guest? */
enum disk_packed {
    DISK_PACKED_MAYBE, /* if the back-end offers them */
    DISK_PACKED_OFF,
    DISK_PACKED_ON, /* and the back-end has to */
};

struct disk_options {
    char name[108]; /* a disk of vblkd, or a socket's path if there is a '/' */
    enum disk_transport transport;
    enum disk_packed packed;
    unsigned queues; /* 0: as many as processors, if the back-end has them */
};

struct vm_options {
    const char *kernel;
    const char *initrd; /* NULL: none */
    const char *append;
    uint64_t memory_bytes;
    unsigned cpus;
    struct disk_options disk[VM_DISKS_MAX];
    unsigned disk_count;
    const char *control; /* NULL: vblkd's default */
    const char *console;
    bool shows_exits;
};

bool disk_is_mmio(const struct disk_options *disk);

/* Returns an exit status, or -1 to go on. */
int options_parse(struct vm_options *options, int argc, char **argv);
