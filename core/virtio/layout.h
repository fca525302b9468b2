/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Where the front-end says that the guest's memory lies, and a ring in it.
 * Plain values.
 */

#include <stdint.h>

/*
 * As many as QEMU, crosvm and cloud-hypervisor may use (vhost-user, "CONFIGURE_MEM_SLOTS").  Proofs
 * have fewer.
 */
#ifndef MEM_MAX_REGIONS
#define MEM_MAX_REGIONS 509
#endif

/* One region as the front-end describes it.  Bytes. */
struct mem_layout {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr; /* where the front-end itself has it mapped; ring addresses use it */
    uint64_t offset;    /* in the file */
};

/*
 * Addresses of a ring's parts in the front-end's address space (vhost-user SET_VRING_ADDR), and
 * ours.  Source: VIRTIO 1.2, 2.6 "Virtqueues": Descriptor Area, Driver Area, Device Area.
 */
struct ring_addr {
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
};
