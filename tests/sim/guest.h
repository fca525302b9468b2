/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The guest: its memory, its driver, its requests; and what its monitor does not let it touch. */

#include "core/base/base.h"
#include "core/block/io.h"
#include "core/virtio/layout.h"
#include "tests/sim/kernel.h"
#include "tests/sim/sim.h"

#define GUEST_ADDR 0x100000ull
#define GUEST_USER 0x7e0000000000ull
#define GUEST_QUEUE_BYTES (12 * 4096u)
#define GUEST_BYTES (SIM_QUEUES * GUEST_QUEUE_BYTES)
#define LOG_QUEUE_BYTES 2048u
#define LOG_BYTES (SIM_QUEUES * LOG_QUEUE_BYTES)

/* Files that are mapped by whoever serves them, and by us at `guest_memory` and `guest_log`. */
extern int guest_fd, guest_log_fd;
extern uint8_t *guest_memory, *guest_log;

void guest_reset(void);

/* Steps that it could make, and one of them. */
unsigned guest_ready(void);
void guest_step(unsigned which);

/* Requests that were offered and not answered, of a queue and of all. */
unsigned guest_pending(unsigned index);
unsigned guest_pending_all(void);

/* The image fails an operation: requests of this kind that it may be of. */
void guest_may_fail(enum io_op op, uint64_t offset, uint64_t bytes);

/* All of a queue may fail. */
void guest_forgive(unsigned index);

/* The ring as a front-end tells of it. */
struct ring_addr guest_addr(unsigned index);
int guest_kick_fd(unsigned index);
int guest_call_fd(unsigned index);

/* Where a device goes on that has answered all, by the guest's word. */
uint32_t guest_used_base(unsigned index);

/* It stands still, and nobody may store to its part of memory; and it goes on. */
void guest_freeze(unsigned index);
void guest_thaw(unsigned index);

/* Its driver begins anew: nothing is under way for it. */
void guest_begin_anew(unsigned index);
