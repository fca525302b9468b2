/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The state in which a processor begins: CPUID, and for the first one long mode at the kernel's
 * entry.  The others wait for the first one's start-up message, as in every PC.
 */

#include "core/base/err.h"

struct cpu_start {
    int kvm_fd;
    int fd; /* the processor's */
    unsigned index;
    unsigned count;
    uint64_t entry; /* of the first processor */
};

/* Bits of an address that a processor of the guest has. */
int cpu_address_bits(int kvm_fd, unsigned *bits, struct err *err);

int cpu_setup(const struct cpu_start *start, struct err *err);
