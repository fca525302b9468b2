/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The guest's memory: one memfd, so that back-ends can share it, its size sealed, mapped in one
 * piece; the guest sees it in up to two, below and above the hole for devices.
 * Owner: the launcher.
 */

#include "core/base/base.h"
#include "core/base/err.h"
#include "transports/vmm/kvm.h"

struct ram {
    int fd;        /* owned */
    uint8_t *host; /* owned mapping of all of it */
    uint64_t low;  /* bytes at guest address 0 */
    uint64_t high; /* bytes at LAYOUT_RAM_HIGH */
};

/* Can processors with addresses of so many bits reach so much memory?  0, or -EINVAL. */
int ram_check(uint64_t bytes, unsigned address_bits, struct err *err);

int ram_open(struct ram *ram, uint64_t bytes, struct err *err);

/* Let the guest see it. */
int ram_show(const struct ram *ram, struct kvm *kvm, struct err *err);
void ram_close(struct ram *ram);

/* Our address of a range of the guest's; NULL when it is not all memory. */
void *ram_at(const struct ram *ram, uint64_t addr, uint64_t len);
