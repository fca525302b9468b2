/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A machine without KVM for tests: two disks by PCI and one by virtio-mmio, each with a
 * virtio_host behind its registers in place of a back-end.  There is one; owned by the test.
 */

#include "cmd/vm/machine.h"
#include "tests/unit/virtio_host.h"

#define WORLD_DISKS 3u
#define WORLD_SLOW 0u  /* by PCI, with the ops that are given */
#define WORLD_QUICK 1u /* by PCI */
#define WORLD_MMIO 2u

/* In the common configuration. */
#define WORLD_STATUS 0x14u

extern struct machine machine;
extern struct virtio_host world_host[WORLD_DISKS];

void machine_world_start(const struct virtio_host_ops *slow);
void machine_world_stop(void);

/* A register of the common configuration of a disk by PCI. */
void world_set(unsigned disk, uint32_t offset, uint64_t value, unsigned len);
uint64_t world_get(unsigned disk, uint32_t offset, unsigned len);

/* As a driver sets up a disk by PCI and its first queue. */
void world_drive(unsigned disk);
