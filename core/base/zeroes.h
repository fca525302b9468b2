/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Are bytes all zero?  They may be another party's, who changes them meanwhile: each is read once,
 * so what is told is that each was zero when it was read.  memcmp with itself does not tell that:
 * it looks again at where it found a difference, and what has become the same there ends it.
 * Thread: any.
 */

#include <sys/uio.h>

#include "core/base/base.h"

#define ZEROES_BYTES (1u << 20)

/* To be written from, aligned as direct I/O asks for.  Nobody writes to it, so it takes no memory.
 */
extern uint8_t zeroes_bytes[ZEROES_BYTES];

bool zeroes_fill(const struct iovec *iov, unsigned count);
