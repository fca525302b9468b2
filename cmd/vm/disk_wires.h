/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The host's side of a disk's registers: eventfds, KVM's wires, the back-end.
 */

#include "cmd/vm/disk.h"

extern const struct virtio_host_ops disk_host_ops;

/* Eventfds for all queues and the config.  Closes what it has when it fails. */
int disk_wires_open(struct disk *disk, struct err *err);
void disk_wires_close(struct disk *disk);
