/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The life of a struct op: sent, back with the answer or past its deadline, kept, freed.
 * Thread: control.
 */

#include "daemon/registry.h"

/* NULL without memory.  `within_ms` from now it is late. */
struct op *op_new(struct disk *disk, enum plane_verb verb, uint64_t within_ms,
                  void (*done)(struct op *op), void *arg);

/* The same with the memory that was set aside for this, if that is not in use yet. */
struct op *op_new_own(struct disk *disk, enum plane_verb verb, uint64_t within_ms,
                      void (*done)(struct op *op));

void op_send(struct op *op);

/* Instead of that: it is as if the disk's thread had done it. */
void op_grant(struct op *op);

/* One that was not sent. */
void op_drop(struct op *op);

/* Why a disk with a late op is asked nothing more. */
int op_refuse_stuck(const struct disk *disk, struct err *err);
