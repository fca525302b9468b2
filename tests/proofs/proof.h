/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What each proof includes first, for CBMC: whatever the inputs are, what is asserted holds, and no
 * access is out of its object.  A proof is a function `prove_...`; the code that it is about is
 * included as it is, so that its statics can be reached.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define prove(condition, claim) __CPROVER_assert(condition, claim)
#define given(condition) __CPROVER_assume(condition)

/* Any value at all: CBMC has none for what begins like that. */
uint16_t nondet_16(void);
uint32_t nondet_32(void);
uint64_t nondet_64(void);
bool nondet_bool(void);
